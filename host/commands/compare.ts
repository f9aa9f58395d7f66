// nodewalk compare: prints what host/compare.ts finds, as a table or as JSON.

import { type Command } from 'commander';
import { comparePhases, compareTotals, differences, phaseGainOf, readSide, type Row } from '../compare.js';
import { percent } from '../format.js';
import { type Header, table } from '../table.js';

const EXAMPLES = `
A and B are a summary.json, a directory that "replay -o" wrote, or DIR#CELL: one cell of a sweep by its number.
A is the baseline. Difference is B - A, ratio is B / A; for cycles both definitions of a gain are printed.
With --metric, phases are listed too. A phase's gain in cycles.total is that of the CPU that owns it (cycles.own) or,
where the results do not have it, of the slowest CPU (cycles.critical); a message says which.

Examples:
  nodewalk compare base/ replicated/
  nodewalk compare base/summary.json replicated/summary.json --json
  nodewalk compare out/demo#0 out/demo#7 --metric cycles.total
`;

export function register(program: Command): void {
  program
    .command('compare')
    .description('two results side by side, with gains; A is the baseline')
    .argument('<a>', 'baseline: summary.json, replay directory, or DIR#CELL')
    .argument('<b>', 'the result compared with it, written likewise')
    .option('--metric <key>', 'one counter by its dotted path (walk.remote), with a row per phase')
    .option('--json', 'print a JSON document instead of a table')
    .addHelpText('after', EXAMPLES)
    .action((a: string, b: string, options: { metric?: string; json?: boolean }) => {
      const [before, after] = [readSide(a), readSide(b)];
      const totals = compareTotals(before, after, options.metric);
      const phases = options.metric === undefined ? [] : comparePhases(before, after, options.metric);
      const warnings = differences(before, after);
      for (const warning of warnings) process.stderr.write(`nodewalk compare: ${warning}\n`);
      if (options.json) {
        const document = { schema: 'nodewalk.compare/1', a, b, warnings, totals, phases };
        process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
        return;
      }
      process.stdout.write(
        table(
          [{ name: 'metric' }, ...VALUES],
          totals.map((row) => [row.metric, ...values(row)]),
        ),
      );
      if (phases.length === 0) return;
      if (options.metric === 'cycles.total') {
        process.stderr.write(`nodewalk compare: the gains of phases are those in ${phaseGainOf(before, after)}\n`);
      }
      const headers: Header[] = [{ name: 'phase', align: 'right' }, { name: 'name' }, { name: 'cpu' }, ...VALUES];
      const rows = phases.map((row) => [String(row.phase), row.name, row.cpu, ...values(row)]);
      process.stdout.write(`\n${table(headers, rows)}`);
    });
}

const VALUES: Header[] = ['A', 'B', 'difference', 'ratio', 'T_old/T_new-1', '1-T_new/T_old'].map((name) => ({
  name,
  align: 'right',
}));

function values({ a, b, difference, ratio, gain }: Row): (string | number | null)[] {
  const share = (value: number | null | undefined) =>
    value === null || value === undefined ? null : percent(value, true);
  return [a, b, difference, ratio, share(gain?.speedup), share(gain?.saved)];
}
