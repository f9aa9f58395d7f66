// Published numbers beside measured ones: a table for each machine as it was published (a line per benchmark), a plot where
// there is something to compare with, what events cost, and a list of the cases that stand in no such table. What is out of its band
// is said in words.

import { number, percent } from '../format.js';
import { costTable } from './costTable.js';
import { markup, type Markup } from './html.js';
import { groupBy } from './keys.js';
import { facts, plots, section } from './page.js';
import { figure } from './plot.js';
import { seriesPlot } from './seriesPlot.js';
import { type Measured, unitOf } from './published.js';
import { type Column, resultTable } from './resultTable.js';

type Placed = Measured & { at: NonNullable<Measured['at']> };

const MEANING =
  'Gains in percent, measured beside published: the speed-up T_old/T_new - 1 and the cycles saved 1 - T_new/T_old, T being the cycles of the CPU that owns the phase. Tables of other numbers name their unit. A band is where a measurement is expected to be; where none is stated there is nothing to be in or out of.';

export async function publishedSection(cases: Measured[]): Promise<Markup | null> {
  const placed = cases.filter((entry): entry is Placed => entry.at !== undefined);
  const others = cases.filter(({ at }) => at === undefined);
  const tables = await Promise.all(groupBy(placed, ({ at }) => at.table).map(tableOf));
  const list = others.length > 0 && markup`${tables.length > 0 && markup`<h3>Other cases</h3>`}\n${caseList(others)}`;
  return section('Published numbers', MEANING, [verdict(cases), ...tables, list || null]);
}

function verdict(cases: Measured[]): Markup | null {
  const banded = cases.filter(({ inBand }) => inBand !== null);
  if (banded.length === 0) return null;
  const out = banded.filter(({ inBand }) => !inBand);
  const named = out.map(({ row, case: name }) => `${row} ${name}`).join('; ');
  return markup`<p><b>${number(banded.length - out.length)} of ${number(banded.length)}</b> cases with a band are inside it${out.length > 0 && `; out of band: ${named}`}.</p>`;
}

function tableOf(cases: Placed[]): Markup | Promise<Markup> {
  if (cases.every(({ measure }) => 'perSecond' in measure)) return costs(cases);
  return cases.every(({ measure }) => 'gain' in measure) ? machineTable(cases) : valueTable(cases);
}

const COSTS =
  'What an event takes with nothing replicated (marked) and with each system, on all CPUs together; bytes at the end. The gain of a case is the cycles that one CPU saves in a second; so many events a second, anywhere in the machine, cost as much. "-": the case gains nothing, or the event costs no more.';

function costs(cases: Placed[]): Markup {
  return markup`<h3>${cases[0].at.table}</h3>
<p class="muted">${COSTS}</p>
${costTable(cases) ?? markup`<p>not measured</p>`}`;
}

async function machineTable(cases: Placed[]): Promise<Markup> {
  const [{ at }] = cases;
  const lines = groupBy(cases, (entry) => entry.at.line);
  const names = [...new Set(cases.map((entry) => entry.at.column))];
  const columns: Column<Placed[]>[] = [
    { title: at.axis ?? 'Test', text: ([entry]) => entry.at.line },
    ...names.flatMap((name) =>
      columnsOf(
        name,
        (line: Placed[]) => line.find((entry) => entry.at.column === name),
        cases.filter(({ at }) => at.column === name),
      ),
    ),
  ];
  const stated = cases.some(({ published, inBand }) => published !== null || inBand !== null);
  const sources = [...new Set(cases.flatMap(({ source }) => source ?? []))];
  return markup`<h3>${at.table}</h3>
${resultTable(columns, lines)}
${facts([
  ['Upper bounds', boundsOf(cases)],
  ['Source', sources.join('; ')],
])}
${isSeries(cases) ? plots([await casePlot(cases, 'gain, percent')]) : stated && plots([await gainPlot(cases)], true)}`;
}

/** A table of numbers that are no gains, in the unit that the table names. */
async function valueTable(cases: Placed[]): Promise<Markup> {
  const names = [...new Set(cases.map(({ at }) => at.column))];
  const columns: Column<Placed[]>[] = [
    { title: cases[0].at.axis ?? 'Case', text: ([entry]) => entry.at.line },
    ...names.flatMap((name) =>
      numberColumns(
        name,
        (line: Placed[]) => line.find((entry) => entry.at.column === name),
        cases.filter(({ at }) => at.column === name),
      ),
    ),
  ];
  const sources = [...new Set(cases.flatMap(({ source }) => source ?? []))];
  return markup`<h3>${cases[0].at.table}</h3>
${resultTable(
  columns,
  groupBy(cases, (entry) => entry.at.line),
)}
${facts([['Source', sources.join('; ')]])}
${isSeries(cases) && plots([await casePlot(cases, cases[0].at.table)], true)}`;
}

/** Measured and published numbers of one column of such a table, and the band where some case has one. */
function numberColumns<Row>(name: string, of: (row: Row) => Measured | undefined, cases: Measured[]): Column<Row>[] {
  const value = (title: string, key: 'measured' | 'published'): Column<Row> => ({
    ...{ title, group: name },
    cell: (row) => {
      const shown = of(row)?.[key] ?? null;
      return { written: shown === null ? '-' : number(shown), value: shown };
    },
  });
  return [
    value('measured', 'measured'),
    ...(cases.some(({ published }) => published !== null) ? [value('published', 'published')] : []),
    ...(cases.some(({ inBand }) => inBand !== null) ? bandColumns(name, of) : []),
  ];
}

/** Lines that are numbers: enough for a curve. */
function isSeries(cases: Placed[]): boolean {
  const lines = new Set(cases.map(({ at }) => Number(at.line)));
  return lines.size >= 3 && [...lines].every(Number.isFinite);
}

/** The cases of a table whose lines are numbers, over these. */
function casePlot(cases: Placed[], title: string): Promise<Markup> {
  const points = cases.flatMap((entry) =>
    (['measured', 'published'] as const).flatMap((kind) => {
      const y = entry[kind];
      return y === null ? [] : { series: entry.at.column, x: Number(entry.at.line), y, kind };
    }),
  );
  return seriesPlot(`Measured, ${cases[0].at.table}`, { x: cases[0].at.axis ?? null, y: title }, points, true);
}

/** The columns of one kind of run, such as hot; those of published numbers and of bands where some of its cases have them. */
function columnsOf<Row>(name: string, of: (row: Row) => Measured | undefined, cases: Measured[]): Column<Row>[] {
  const published = cases.some((entry) => entry.published !== null);
  const banded = cases.some(({ inBand }) => inBand !== null);
  const share = (title: string, unit: string, value: (entry: Measured) => number | null): Column<Row> => ({
    ...{ title, group: name, unit },
    cell: (row) => {
      const entry = of(row);
      const shown = entry ? value(entry) : null;
      return { written: shown === null ? '-' : percent(shown, true), value: shown };
    },
  });
  const statedColumn: Column<Row> = {
    ...{ title: 'published', group: name, unit: 'as stated' },
    cell: (row) => {
      const stated = of(row)?.published ?? null;
      return { written: stated === null ? '-' : `${stated}%`, value: stated };
    },
  };
  return [
    share('speed-up', 'T_old/T_new - 1', ({ gain }) => gain?.speedup ?? null),
    share('saved', '1 - T_new/T_old', ({ gain }) => gain?.saved ?? null),
    ...(published ? [statedColumn] : []),
    ...(banded ? bandColumns(name, of, '%') : []),
  ];
}

function bandColumns<Row>(group: string, of: (row: Row) => Measured | undefined, unit?: string): Column<Row>[] {
  return [
    { title: 'band', group, unit, text: (row) => bandOf(of(row)) },
    { title: 'inside', group, text: (row) => wordOf(of(row)) },
  ];
}

function caseList(cases: Measured[]): Markup {
  const value = (title: string, of: (entry: Measured) => number | null): Column<Measured> => ({
    title,
    cell: (entry) => ({ written: of(entry) === null ? '-' : number(of(entry)!), value: of(entry) }),
  });
  return resultTable<Measured>(
    [
      { title: 'Row', text: ({ row }) => row },
      { title: 'Case', wraps: true, text: ({ case: name }) => name },
      value('Measured', ({ measured }) => measured),
      value('Published', ({ published }) => published),
      { title: 'Band', text: bandOf },
      { title: 'Unit', text: unitOf },
      { title: 'Inside', text: wordOf },
      { title: 'Source', wraps: true, text: ({ source }) => source ?? '' },
    ],
    cases,
  );
}

function bandOf(entry: Measured | undefined): string {
  if (!entry || (entry.low === null && entry.high === null)) return '-';
  if (entry.low === null) return `up to ${entry.high}`;
  if (entry.high === null) return `from ${entry.low}`;
  return entry.low === entry.high ? `${entry.low}` : `${entry.low} to ${entry.high}`;
}

function wordOf(entry: Measured | undefined): string {
  if (!entry || entry.inBand === null) return '-';
  if (entry.measured === null) return 'not measured';
  return entry.inBand ? 'inside' : 'OUT OF BAND';
}

/** What remote accesses that all become local could gain, by the latencies of the machine: nothing can gain more. */
function boundsOf(cases: Measured[]): string {
  // Where the systems that are compared are the same, no access becomes local.
  const machines = cases.flatMap(({ over, measure }) =>
    over && 'gain' in measure && 'system.name' in measure.of ? [over.config.machine as Machine] : [],
  );
  const texts = machines.map(({ latency: { localNs, remoteNs } }) => {
    const bounds = `speed-up ${percent(remoteNs / localNs - 1)}, saved ${percent(1 - localNs / remoteNs)}`;
    return `${bounds} (memory at ${number(localNs)} ns local, ${number(remoteNs)} ns remote)`;
  });
  return [...new Set(texts)].join('; ');
}

interface Machine {
  latency: { localNs: number; remoteNs: number };
}

/** A line per case: the band as a bar, the published number as a diamond, the measured one as a dot. */
async function gainPlot(cases: Placed[]): Promise<Markup> {
  const label = ({ at }: Placed) => `${at.line}, ${at.column}`;
  const kinds = ['measured', 'published'] as const;
  const points = cases.flatMap((entry) =>
    kinds.flatMap((kind) => (entry[kind] === null ? [] : [{ label: label(entry), kind, value: entry[kind] }])),
  );
  const bands = cases.flatMap((entry) =>
    entry.low === null || entry.high === null ? [] : [{ label: label(entry), low: entry.low, high: entry.high }],
  );
  const out = cases.flatMap((entry) =>
    entry.inBand === false && entry.measured !== null ? [{ label: label(entry) }] : [],
  );
  const y = {
    field: 'label',
    type: 'nominal' as const,
    sort: cases.map(label),
    title: null,
    axis: { labelLimit: 480 },
  };
  const title = 'gain, percent';
  const scale = { domain: [...kinds], range: ['var(--c1)', 'var(--c2)'] };
  return figure(`Measured and published gains, ${cases[0].at.table}; the grey bar is the band`, {
    width: 640,
    height: { step: 22 },
    layer: [
      {
        data: { values: bands },
        mark: { type: 'bar', color: 'var(--base)', height: 12, aria: false },
        encoding: { y, x: { field: 'low', type: 'quantitative', title }, x2: { field: 'high' } },
      },
      {
        data: { values: points },
        mark: { type: 'point', filled: true, size: 70, opacity: 1 },
        encoding: {
          y,
          x: { field: 'value', type: 'quantitative', title },
          color: { field: 'kind', type: 'nominal', title: null, scale },
          shape: {
            field: 'kind',
            type: 'nominal',
            title: null,
            scale: { domain: [...kinds], range: ['circle', 'diamond'] },
          },
        },
      },
      {
        data: { values: out },
        mark: { type: 'text', align: 'left', dx: 6, aria: false },
        encoding: { y, x: { value: 'width' }, text: { value: 'out of band' } },
      },
    ],
  });
}
