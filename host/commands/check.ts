// nodewalk check: prints what traces/check finds against the invariants of a trace.

import { type Command, InvalidArgumentError } from 'commander';
import { type CheckReport, checkTrace } from '../../traces/check/check.js';
import { type Finding } from '../../traces/check/findings.js';
import { number } from '../format.js';
import { progress, type Progress } from '../progress.js';
import { table } from '../table.js';

const EXAMPLES = `
A broken invariant makes the exit code 1. A note is worth knowing and may be right: without address spaces, for example, a page
with another physical address may be mapped again or be the page of another process. docs/traces.md explains every invariant.

Examples:
  nodewalk check trace.arrow
  nodewalk check trace.arrow --json --limit 100 | jq '.invariants[] | select(.violations > 0)'
`;

export function register(program: Command): void {
  program
    .command('check')
    .description('check the invariants of a trace: every kind of violation with its first records')
    .argument('<trace>', 'an Arrow trace')
    .option('--json', 'print a JSON document instead of tables')
    .option('--limit <n>', 'records to show of each kind of violation', records, 5)
    .addHelpText('after', EXAMPLES)
    .action(run);
}

async function run(path: string, { json, limit }: { json?: boolean; limit: number }): Promise<void> {
  let bar: Progress | undefined;
  const onProgress = (done: number, total: number) => (bar ??= progress('checking', total)).update(done);
  const report = await checkTrace(path, { limit, onProgress }).finally(() => bar?.stop());
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : page(report));
  if (!report.ok) process.exitCode = 1;
}

function page({ path, records, invariants }: CheckReport): string {
  const seen = invariants.filter(({ violations }) => violations > 0);
  return [
    table(
      [{ name: 'invariant' }, { name: 'result' }, { name: 'what has to hold' }],
      invariants.map((finding) => [finding.name, result(finding), finding.holds]),
    ),
    ...seen.map(({ name, first }) =>
      table(
        [{ name }, { name: 'CPU' }, { name: 'found' }],
        first.map(({ row, cpu, found }) => [row === null ? 'metadata' : `row ${row}`, cpu, found]),
      ),
    ),
    `${path}: ${number(records)} rows, ${verdict(invariants)}\n`,
  ].join('\n');
}

function result({ violations, severity, skipped }: Finding): string {
  if (violations === 0) return skipped === null ? 'ok' : `not checked: ${skipped}`;
  const what = severity === 'note' ? 'note' : 'violation';
  return `${number(violations)} ${what}${violations === 1 ? '' : 's'}`;
}

function verdict(invariants: readonly Finding[]): string {
  const broken = invariants.filter(({ severity, violations }) => severity === 'error' && violations > 0).length;
  return broken === 0 ? 'no invariant is broken' : `${broken} invariant${broken === 1 ? ' is' : 's are'} broken`;
}

function records(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a number of records.');
}
