// nodewalk sweep: runs an experiment and prints what came out of it.

import { availableParallelism, constants } from 'node:os';
import { basename, extname, join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { NodewalkError } from '../../traces/errors.js';
import { experimentNames, loadExperiment, withSets, withTraces } from '../config/experiment.js';
import { number } from '../format.js';
import { type Measured, measurePublished } from '../report/published.js';
import { cellGain, readSweep, type SweepData } from '../report/sweepData.js';
import { readCell } from '../results/manifest.js';
import { saveText } from '../results/save.js';
import { brokenInvariants } from '../results/text.js';
import { PUBLISHED_FILE, REPORT_FILE, RESULTS_FILE } from '../sweep/directory.js';
import { publishedTable } from '../sweep/published.js';
import { type Failure, runSweep } from '../sweep/sweep.js';
import { sweepTable } from '../sweep/sweepTable.js';

const EXAMPLES = `
Experiments that ship with nodewalk: ${experimentNames().join(', ')}

The directory gets results.arrow (a row per cell and phase), cells/ (a summary for each cell), manifest.json and
report.html; published.csv where the experiment carries published numbers (docs/experiments.md). The same command resumes what was interrupted, and runs only cells whose trace or configuration changed.

Examples:
  nodewalk sweep demo
  nodewalk sweep my.yaml -o out/my --jobs 8
  nodewalk sweep kernel-text --traces x86-64.arrow arm64.arrow
  nodewalk sweep my.yaml --json | jq '.cells[] | {cell, varied, cycles: .totals.cycles.total}'
`;

interface Options {
  output?: string;
  jobs: number;
  json?: boolean;
  report: boolean;
  traces: string[];
  set: string[];
}

export function register(program: Command): void {
  program
    .command('sweep')
    .description('replay traces x configurations on all cores')
    .argument('<experiment>', 'an experiment file, or the name of one that ships with nodewalk')
    .option('-o, --output <dir>', 'directory of the results (default: out/ and the name of the experiment)')
    .option('--jobs <n>', 'worker threads', positive, availableParallelism())
    .option('-s, --set <key=value>', 'change a key of every base configuration (repeatable)', collect, [])
    .option('--traces <files...>', 'take these files for the traces of the experiment, in their order', [])
    .option('--json', 'print a JSON document instead of a table')
    .option('--no-report', 'do not write report.html')
    .addHelpText('after', EXAMPLES)
    .action(run);
}

const say = (message: string) => process.stderr.write(`nodewalk sweep: ${message}\n`);

async function run(source: string, { output, jobs, json, report, traces, set }: Options): Promise<void> {
  const experiment = withSets(withTraces(loadExperiment(source), traces), set);
  const dir = output ?? join('out', basename(experiment.file, extname(experiment.file)));
  const { manifest, cells, failures, interrupted } = await runSweep(experiment, dir, { jobs, say });
  const all = number(cells);
  const done = number(manifest?.cells.filter((cell) => cell.done).length ?? 0);
  if (interrupted) {
    say(`interrupted: ${done} of ${all} cells are in ${dir}; the same command does the rest`);
    process.exitCode = 128 + constants.signals[interrupted];
    return;
  }
  const results = readSweep(dir);
  const published = failures.length > 0 ? [] : measurePublished(results);
  if (json) process.stdout.write(`${JSON.stringify(documentOf(dir, results, published), null, 2)}\n`);
  else
    process.stdout.write(
      [sweepTable(results), ...(published.length > 0 ? [publishedTable(published)] : [])].join('\n'),
    );
  if (failures.length > 0) throw failed(failures, `${done} of ${all} cells are in ${dir}`);
  say(`all ${all} cells are in ${dir}: ${RESULTS_FILE} has every counter`);
  if (published.length > 0) say(`${join(dir, PUBLISHED_FILE)} has what was published beside what was measured`);
  const broken = brokenIn(dir, results);
  if (broken.length > 0) process.exitCode = 1;
  for (const line of broken) say(line);
  if (!report) return;
  // Vega takes a third of a second to load: only the report pays.
  const { reportPage } = await import('../report/report.js');
  const page = join(dir, REPORT_FILE);
  saveText(page, await reportPage(dir));
  say(`${page} shows them`);
}

/** The manifest, every finished cell with its counters and its gain over the baseline, and what was published. */
function documentOf(dir: string, { manifest, traces }: SweepData, measured: Measured[]): object {
  const gains = new Map(
    traces.flatMap(({ cells, baseline }) => cells.map((cell) => [cell.cell, cellGain(cell, baseline)])),
  );
  const cells = manifest.cells
    .filter(({ done }) => done)
    .map((cell) => {
      const { totals } = readCell(dir, cell);
      return { cell: cell.cell, trace: cell.trace, varied: cell.varied, gain: gains.get(cell.cell) ?? null, totals };
    });
  const published = measured.map(({ over: _over, cost: _cost, ...entry }) => entry);
  return { manifest, cells, published };
}

/** The invariants that were broken, cell by cell; where replay.checks asks for them. */
function brokenIn(dir: string, { manifest }: SweepData): string[] {
  return manifest.cells.flatMap((cell) =>
    brokenInvariants(readCell(dir, cell)).map((line) => `cell ${cell.cell}: ${line}`),
  );
}

function failed(failures: readonly Failure[], kept: string): NodewalkError {
  const lines = failures.map(
    ({ cells, message }) => `cell${cells.length > 1 ? 's' : ''} ${cells.join(', ')}: ${message}`,
  );
  const exitCode = failures.every((failure) => failure.exitCode === 2) ? 2 : 1;
  return new NodewalkError([...lines, `${kept}; the same command does the rest`].join('\n'), exitCode);
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('expected a whole number above 0');
  return value;
}
