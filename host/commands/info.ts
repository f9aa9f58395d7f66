// nodewalk info: prints what traces/info.ts finds in a trace.

import { type Command } from 'commander';
import { inspect, type PageCounts, type TraceInfo } from '../../traces/info.js';
import { UsageError } from '../../traces/errors.js';
import { missesOf, powerSteps, type ReuseHistogram, type ReuseUnit } from '../../traces/reuse.js';
import { bytes, number, percent } from '../format.js';
import { progress, type Progress } from '../progress.js';
import { table } from '../table.js';
import { dumpInfo, dumpPage } from '../tables/dumpInfo.js';
import { parseSet } from './sets.js';

const EXAMPLES = `
Pages count distinct addresses: the same VA in two address spaces is one page.

A reuse distance is the number of other pages (or lines of 64 bytes) that the CPU touched since it touched this one last. Every CPU has
its own order of touches, fetches and data have one each and one together; an array of s entries, fully associative and LRU,
misses the accesses at distance s and above and the first touches.

Examples:
  nodewalk info trace.arrow
  nodewalk info trace.arrow --reuse --reuse-lines
  nodewalk info guest.ptdump --host host.ptdump
  nodewalk info trace.arrow --json | jq '.phases[] | {name, cpu, rows}'
`;

export function register(program: Command): void {
  program
    .command('info')
    .description('what is in a trace: records, mix, CPUs, phases, pages, regions, provenance')
    .argument('<trace>', 'an Arrow trace, or a page-table dump (ptdump, dmt)')
    .option('--json', 'print a JSON document instead of tables')
    .option('--host <dump>', 'of a page-table dump: that of the host, and where the leaf tables of both lie')
    .option('--set <key=value>', 'of a page-table dump: process, snapshot or unit, as for convert', parseSet, {})
    .option('--reuse', 'reuse distances in pages of 4 KiB as well')
    .option('--reuse-lines', 'reuse distances in lines of 64 bytes as well')
    .addHelpText('after', EXAMPLES)
    .action(run);
}

interface Options {
  json?: boolean;
  reuse?: boolean;
  reuseLines?: boolean;
  host?: string;
  set: Record<string, string>;
}

async function run(path: string, { json, reuse, reuseLines, host, set }: Options): Promise<void> {
  const warn = (message: string) => process.stderr.write(`nodewalk info: ${message}\n`);
  const tables = await dumpInfo(path, host, { set, warn });
  if (tables) {
    process.stdout.write(json ? `${JSON.stringify(tables, null, 2)}\n` : dumpPage(tables));
    return;
  }
  if (host !== undefined) throw new UsageError(`--host: ${path} is no page-table dump`);
  const units: ReuseUnit[] = [...(reuse ? ['pages' as const] : []), ...(reuseLines ? ['lines' as const] : [])];
  let bar: Progress | undefined;
  const onProgress = (done: number, total: number) => {
    bar ??= progress('reading', total, { quiet: json });
    bar.update(done);
  };
  const info = await inspect(path, onProgress, units).finally(() => bar?.stop());
  process.stdout.write(json ? `${JSON.stringify(documentOf(info), null, 2)}\n` : page(info));
}

/** The document of --json: reuse distances by powers of two. */
function documentOf({ reuse, ...info }: TraceInfo): object {
  if (!reuse) return info;
  const histogram = (h: ReuseHistogram) => ({ accesses: h.accesses, cold: h.cold, distances: stepsOf(h) });
  const sides = (list: ReuseHistogram[]) => Object.fromEntries(list.map((h) => [h.side, histogram(h)]));
  return { ...info, reuse: Object.fromEntries(Object.entries(reuse).map(([unit, list]) => [unit, sides(list)])) };
}

/** The steps of a histogram, with the misses of an array that holds what is nearer than the step's end. */
function stepsOf(histogram: ReuseHistogram) {
  return powerSteps(histogram).map((step) => ({ ...step, misses: missesOf(histogram, step.to + 1) }));
}

/** Reuse distances as a table: the accesses of every step, and what an array with as many entries misses. */
function reuseTable(unit: string, histograms: readonly ReuseHistogram[]): string {
  const longest = powerSteps(histograms.find(({ side }) => side === 'all')!);
  const columns = histograms.map(stepsOf);
  const rows = longest.map(({ from, to }, i) => [
    from === to ? `${from}` : `${from} to ${to}`,
    ...columns.map((steps) => steps[i]?.accesses ?? 0),
    to + 1,
    ...columns.map((steps, side) => steps[i]?.misses ?? histograms[side].cold),
  ]);
  const sides = histograms.map(({ side }) => side);
  return table(
    [`reuse distance in ${unit}`, ...sides, 'entries', ...sides.map((side) => `${side} misses`)].map((name) => ({
      name,
    })),
    [...rows, ['first touch', ...histograms.map(({ cold }) => cold), null, ...sides.map(() => null)]],
  );
}

function page(info: TraceInfo): string {
  const { metadata } = info;
  return [
    table(
      [{ name: 'trace' }, { name: info.path }],
      [
        ['records', number(info.records)],
        ['size', bytes(info.bytes)],
        ['columns', info.columns.join(' ')],
        ...(metadata ? provenance(metadata) : [['made by', 'another tool: no nodewalk metadata']]),
      ],
    ),
    table([{ name: 'kind' }, { name: 'rows' }, { name: 'share', align: 'right' }], shares(info.kinds, info.records)),
    info.modes &&
      table(
        [{ name: 'mode' }, { name: 'accesses' }, { name: 'share', align: 'right' }],
        shares(
          info.modes,
          Object.values(info.modes).reduce((a, b) => a + b, 0),
        ),
      ),
    table(
      ['CPU', 'node', 'fetch', 'load', 'store', 'event', 'insns'].map((name) => ({ name })),
      info.cpus.map((c) => [c.cpu, c.node, c.fetch, c.load, c.store, c.event, c.insns]),
    ),
    info.phases.length > 0 &&
      table(
        ['phase', 'name', 'CPU', 'rows', 'fetch', 'load', 'store', 'insns'].map((name) => ({ name })),
        info.phases.map((p) => [
          ...[`0x${p.number.toString(16)}`, p.open ? `${p.name ?? ''} (no end)`.trim() : p.name, p.cpu],
          ...[p.rows, p.fetch, p.load, p.store, p.insns],
        ]),
      ),
    table(
      ['distinct pages', '4K', '2M', '1G'].map((name) => ({ name })),
      [
        pages('VA', info.pages.va),
        pages('VA, fetched', info.pages.fetchVa),
        ...(info.pages.pa ? [pages('PA', info.pages.pa)] : []),
      ],
    ),
    ...Object.entries(info.reuse ?? {}).map(([unit, histograms]) => reuseTable(unit, histograms)),
    metadata &&
      metadata.regions.length > 0 &&
      table(
        ['region', 'VA', 'PA', 'size', 'pages', 'node'].map((name) => ({ name })),
        metadata.regions.map((r) => [r.name, r.va, r.pa, bytes(r.bytes), r.pageSize, r.node]),
      ),
  ]
    .filter(Boolean)
    .join('\n');
}

function provenance(metadata: NonNullable<TraceInfo['metadata']>): string[][] {
  const { arch, paging, source, nodes, clock, constants, filters, notes } = metadata;
  const details = Object.entries(paging ?? {}).map(([key, value]) => `${key} ${String(value)}`);
  return [
    ['machine', [arch ?? 'unknown', ...details].join(', ')],
    ...nodes.map(({ node, ranges }) => [`node ${node}`, ranges.map(({ from, to }) => `${from} to ${to}`).join(', ')]),
    ['made by', source.tool],
    ...(source.command ? [['command', source.command]] : []),
    ...source.input.map((file) => ['input', `${file.name}, ${number(file.bytes)} bytes, SHA-256 ${file.sha256}`]),
    ...(source.origin ? [['origin', source.origin]] : []),
    ...(clock ? [['clock', clock]] : []),
    ...Object.entries(constants).map(([column, value]) => ['constant', `${column} = ${value}`]),
    ...filters.map((filter) => ['filter', filter]),
    ...notes.map((note) => ['note', note]),
  ];
}

function shares(counts: Record<string, number>, all: number): (string | number)[][] {
  return Object.entries(counts).map(([name, count]) => [name, count, percent(count / all)]);
}

function pages(name: string, counts: PageCounts): (string | number)[] {
  return [name, counts['4K'], counts['2M'], counts['1G']];
}
