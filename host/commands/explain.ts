// nodewalk explain: translations step by step, as text or JSON: through a table image, or through the tables that the replay of
// a trace builds.

import { statSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { UsageError } from '../../traces/errors.js';
import { loadConfig } from '../config/load.js';
import { number } from '../format.js';
import { explainReplay, type ReplayedWalk } from '../replay/explain.js';
import { explain, explainAll } from '../tables/explain.js';
import { descriptorText, explanationDocument, explanationText, hex } from '../tables/text.js';
import { Translator } from '../tables/translate.js';
import { addresses, type CheckOptions, checksOf, withChecks } from './checks.js';

const EXAMPLES = `
Without --root: every root whose tables cover the address, those that do the same together, but for the s2_ roots: they
take intermediate physical addresses.

Of a trace, the tables are those that its replay under the configuration has built after --row rows (all unless given): the descriptors of
stage 1 that a walk reads, for the CPUs of each node. --mode, --asid and --vm choose the address space (kernel mode, 0, 0).

Examples:
  nodewalk explain tables/x86 --va 0x401000 --root cr3_cpu1
  nodewalk explain tables/pkvm --va 0xffff800008000000 --access w
  nodewalk explain trace.arrow --va 0xffffffff81000000 --config haswell-ep --set system.name=text-replication --row 100000
`;

interface Options extends CheckOptions {
  root?: string;
  va: bigint[];
  config?: string;
  set: string[];
  row?: number;
  asid?: number;
  vm?: number;
  json?: boolean;
}

export function register(program: Command): void {
  const command = program
    .command('explain')
    .description('one translation step by step: every descriptor read, its fields, and the fault')
    .argument('<tables>', 'a table image (folder), or a trace')
    .requiredOption('--va <address...>', 'the address, hexadecimal with 0x or decimal', addresses)
    .option('--root <name>', 'the root to look it up in')
    .option('-c, --config <file or preset>', 'of a trace: the configuration of the replay')
    .option('-s, --set <key=value>', 'of a trace: change a key of the configuration (repeatable)', collect, [])
    .option('--row <n>', 'of a trace: replay n rows first', whole)
    .option('--asid <n>', 'of a trace: the address space', whole)
    .option('--vm <n>', 'of a trace: the virtual machine', whole);
  withChecks(command).option('--json', 'a JSON array instead of text').addHelpText('after', EXAMPLES).action(run);
}

async function run(tables: string, options: Options): Promise<void> {
  if (statSync(tables, { throwIfNoEntry: false })?.isFile()) return runTrace(tables, options);
  const { root, va, json } = options;
  if (options.config !== undefined || options.set.length > 0 || options.row !== undefined)
    throw new UsageError(`${tables}: --config, --set and --row are for a trace`);
  const checks = checksOf(options);
  const translator = await Translator.open(tables, { maxPhysBits: options.maxphyaddr });
  const leaveOut = (reason: Error) => process.stderr.write(`nodewalk explain: left out: ${reason.message}\n`);
  const explanations = va.flatMap((address) =>
    root === undefined
      ? explainAll(translator, address, checks, leaveOut)
      : [explain(translator, root, address, checks)],
  );
  process.stdout.write(
    json
      ? `${JSON.stringify(explanations.map(explanationDocument), null, 2)}\n`
      : explanations.map(explanationText).join('\n'),
  );
}

/** Translations through the tables of a replay. */
async function runTrace(trace: string, options: Options): Promise<void> {
  const { va, json, row, asid = 0, vm = 0, mode, root, access } = options;
  if (root !== undefined || access !== undefined)
    throw new UsageError(`${trace}: --root and --access are for a table image`);
  const { config } = loadConfig({ source: options.config, sets: options.set });
  const answers: object[] = [];
  for (const address of va) {
    const question = { address, mode: mode === 'user' ? 0 : 1, asid, vm, rows: row };
    const walks = await explainReplay(trace, config, question);
    const after = row === undefined ? 'all rows' : `${number(row)} rows`;
    if (json) answers.push({ va: hex(address), walks: walks.map(walkDocument) });
    else process.stdout.write(`${hex(address)} after ${after}\n\n${walks.map(walkText).join('\n')}`);
  }
  if (json) process.stdout.write(`${JSON.stringify(answers, null, 2)}\n`);
}

function walkText({ nodes, steps, pa }: ReplayedWalk): string {
  const lines = steps.flatMap(({ level, entryPa, node, entry, descriptor }) => [
    `level ${level}: entry at ${hex(entryPa)}, on node ${node}`,
    `  ${hex(entry)}: ${descriptorText(descriptor, false)}`,
  ]);
  const result = pa !== null ? `PA ${hex(pa)}` : steps.length > 0 ? 'not mapped' : 'no tables';
  return [`CPUs of node ${nodes.join(', ')}:`, ...lines, result, ''].join('\n');
}

function walkDocument({ nodes, steps, pa }: ReplayedWalk): object {
  return {
    nodes,
    pa: pa === null ? null : hex(pa),
    steps: steps.map(({ level, entryPa, node, entry, descriptor: { kind, address, fields } }) => ({
      ...{ level, entryPa: hex(entryPa), node, entry: hex(entry), kind },
      address: address === null ? null : hex(address),
      fields: Object.fromEntries(fields.map(({ name, value }) => [name, value])),
    })),
  };
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function whole(text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a number.');
}
