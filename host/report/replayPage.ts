// The report of a single replay: totals, where walks start and where their references go, and a table each for phases,
// CPUs and nodes.

import { basename } from 'node:path';
import { stringify } from 'yaml';
import { number, percent } from '../format.js';
import { type Flat, flatten, leaves, type Summary } from '../results/summary.js';
import { invariantsText } from '../results/text.js';
import { unitOf } from '../results/units.js';
import { cycleBars } from './cycleBars.js';
import { markup, type Markup } from './html.js';
import * as metrics from './metrics.js';
import { card, facts, page, plots, section } from './page.js';
import { figure } from './plot.js';
import { timelineSection } from './timelinePlot.js';
import { type Column, metricColumn, resultTable } from './resultTable.js';

interface Part {
  label: string;
  flat: Flat;
}

export async function replayPage(summary: Summary): Promise<string> {
  const totals = flatten(summary.totals);
  const title = `Replay of ${basename(summary.trace.path)}`;
  const cpus = summary.cpus.map((cpu) => ({
    label: `CPU ${cpu.cpu} (node ${cpu.node})`,
    flat: counters(cpu, ['cpu', 'node']),
  }));
  // A CPU that the trace never uses has nothing to say.
  const busy = cpus.filter(({ flat }) => Object.values(flat).some((value) => value !== 0));
  const phases = summary.phases.map((phase) => ({
    label: `${phase.name} (${phase.phase})`,
    flat: counters(phase, ['phase', 'cpu']),
  }));
  const nodes = summary.nodes.map((node) => ({ label: `Node ${node.node}`, flat: counters(node, ['node']) }));
  return page(title, [
    markup`<header>
<h1>${title}</h1>
${header(summary)}
</header>`,
    cards(totals),
    await cyclesSection(totals, busy, phases),
    await timelineSection(summary.timeline),
    await walkSection(totals, busy, phases),
    section('Phases', PHASES, [partsTable('Phase', phases, true)]),
    section('CPUs', idle(cpus.length - busy.length), [partsTable('CPU', busy, false)]),
    section('Nodes', 'Every counter that is kept per node.', [countersTable(nodes)]),
    appendix(totals, summary),
  ]);
}

const PHASES = 'Counts of all CPUs between the begin and the end of each phase.';

/** The counters of a row, without the numbers that name it. */
function counters(row: object, names: string[]): Flat {
  return Object.fromEntries(Object.entries(flatten(row)).filter(([key]) => !names.includes(key)));
}

function idle(count: number): string {
  const plural = count === 1 ? 'CPU has no row in the trace and is' : 'CPUs have no row in the trace and are';
  return `Counts per CPU.${count > 0 ? ` ${number(count)} ${plural} left out.` : ''}`;
}

function header(summary: Summary): Markup {
  const { trace, run } = summary;
  const { path, records, sha256, ...provenance } = trace;
  const known = [...leaves(provenance)]
    .filter(([key]) => key !== '')
    .map(([key, value]): [string, string] => [key, String(value)]);
  return facts([
    ['Trace', path],
    ['Records', number(records)],
    ['SHA-256', sha256],
    ...known,
    ['Invariants', invariantsText(summary)],
    ['Version', run?.version && `nodewalk ${run.version}`],
  ]);
}

function cards(totals: Flat): Markup {
  const all = [
    metrics.CYCLES,
    metrics.CYCLES_PER_ACCESS,
    metrics.firstLevelMisses([totals]),
    metrics.WALKS,
    metrics.WALK_REFS,
    metrics.REMOTE_SHARE,
  ];
  const defined = all.filter(({ value }) => value(totals) !== null);
  const shown = defined.map((metric) => card(metrics.write(metric, totals), `${metric.title}, ${metric.unit}`));
  return markup`<div class="cards">${shown}</div>`;
}

async function cyclesSection(totals: Flat, cpus: Part[], phases: Part[]): Promise<Markup | null> {
  const measured = (parts: Part[]) => parts.filter(({ flat }) => flat['cycles.total'] > 0);
  const draw = async (caption: string, axis: string, parts: Part[]) =>
    parts.length === 0 ? null : cycleBars(caption, axis, parts);
  const all = { label: 'all CPUs', flat: totals };
  return section(
    'Where the cycles go',
    '"base" is executing the instructions, "fetch" and "data" waiting for lines, "walk" second-level TLB hits and table walks, "fault" demand faults.',
    [
      plots(
        [
          await draw('Cycles by CPU', 'CPU', measured(cpus).length > 1 ? [all, ...measured(cpus)] : [all]),
          await draw('Cycles by phase, all CPUs', 'phase', measured(phases)),
        ],
        true,
      ),
    ],
  );
}

async function walkSection(totals: Flat, cpus: Part[], phases: Part[]): Promise<Markup | null> {
  if (!totals['walk.count']) return null;
  const named = (prefix: string) =>
    Object.entries(totals).flatMap(([key, value]) =>
      key.startsWith(prefix) ? [{ name: key.slice(prefix.length), value }] : [],
    );
  const cached = named('walk.cacheHits.');
  const fromRoot = totals['walk.count'] - cached.reduce((sum, { value }) => sum + value, 0);
  const starts = [
    ...cached.map(({ name, value }) => ({ name: `${name} hit`, value })),
    { name: 'no hit: from the root', value: fromRoot },
  ];
  const numbered = named('walk.levels.').sort((a, b) => Number(a.name) - Number(b.name));
  const levels = numbered.map(({ name, value }) => ({ name: `level ${name}`, value }));
  const places = (parts: Part[]) => parts.filter(({ flat }) => flat['walk.refs'] > 0);
  return section(
    'Walks',
    'How far walks have to go, and how far away the tables are. Walk caches are asked from the one closest to the leaf upwards.',
    [
      plots([
        await shareBars('Where walks start: the walk cache that served them', 'share of walks', starts),
        await shareBars('Descriptors read, by level of the table', 'share of references', levels),
        await placeBars('Walk references by CPU, local and remote', places(cpus)),
        await placeBars('Walk references by phase, local and remote', places(phases)),
      ]),
    ],
  );
}

async function shareBars(
  caption: string,
  axis: string,
  parts: { name: string; value: number }[],
): Promise<Markup | null> {
  const sum = parts.reduce((total, { value }) => total + value, 0);
  if (sum === 0) return null;
  const values = parts.map(({ name, value }) => ({
    name,
    share: value / sum,
    text: `${percent(value / sum)} (${number(value)})`,
  }));
  const y = { field: 'name', type: 'nominal' as const, sort: parts.map(({ name }) => name), title: null };
  return figure(caption, {
    data: { values },
    width: 260,
    height: { step: 24 },
    encoding: { y, x: { field: 'share', type: 'quantitative', title: axis, axis: { format: '~%', tickCount: 5 } } },
    layer: [
      { mark: { type: 'bar', color: 'var(--c1)' } },
      {
        mark: { type: 'text', align: 'left', dx: 5, aria: false },
        encoding: { text: { field: 'text', type: 'nominal' } },
      },
    ],
  });
}

async function placeBars(caption: string, parts: Part[]): Promise<Markup | null> {
  if (parts.length === 0) return null;
  const places = ['local', 'remote'];
  const values = parts.flatMap(({ label, flat }) =>
    places.map((place) => ({ label, place, refs: flat[`walk.${place}`] ?? 0 })),
  );
  return figure(caption, {
    data: { values },
    width: 260,
    height: { step: 20 },
    mark: 'bar',
    encoding: {
      y: { field: 'label', type: 'nominal', sort: parts.map(({ label }) => label), title: null },
      x: { field: 'refs', type: 'quantitative', title: 'descriptors', axis: { format: '~s', tickCount: 5 } },
      color: {
        field: 'place',
        type: 'nominal',
        title: null,
        scale: { domain: places, range: ['var(--c1)', 'var(--c2)'] },
      },
    },
  });
}

function partsTable(title: string, parts: Part[], severalCpus: boolean): Markup | null {
  if (parts.length === 0) return null;
  const flat = (part: Part) => part.flat;
  const accesses: Column<Part> = {
    title: 'Accesses',
    unit: 'rows',
    cell: (part) => ({ written: number(metrics.accesses(part.flat)), value: metrics.accesses(part.flat) }),
  };
  // Critical is a statement about several CPUs.
  const defined = metrics.tableMetrics(parts.map(flat)).filter((metric) => severalCpus || metric !== metrics.CRITICAL);
  const shown = defined.map((metric) => metricColumn<Part>(metric, flat));
  return resultTable<Part>([{ title, text: ({ label }) => label }, accesses, ...shown], parts);
}

function countersTable(parts: Part[]): Markup | null {
  const keys = [...new Set(parts.flatMap(({ flat }) => Object.keys(flat)))];
  if (keys.length === 0) return null;
  const columns = keys.map((key): Column<Part> => ({
    title: key,
    unit: unitOf(key),
    cell: ({ flat }) => ({ written: flat[key] === undefined ? '-' : number(flat[key]), value: flat[key] ?? null }),
  }));
  return resultTable([{ title: 'Node', text: ({ label }) => label }, ...columns], parts);
}

function appendix(totals: Flat, summary: Summary): Markup | null {
  const rows = Object.entries(totals);
  type Row = (typeof rows)[number];
  const columns: Column<Row>[] = [
    { title: 'Counter', text: ([key]) => key },
    { title: 'Value', cell: ([, value]) => ({ written: number(value), value }) },
    { title: 'Unit', text: ([key]) => unitOf(key) },
  ];
  const terms = metrics
    .tableMetrics([totals])
    .map(({ title, unit, meaning }): [string, string] => [`${title} (${unit})`, meaning]);
  return section(
    'Appendix',
    'Every counter of the totals, what the columns above mean, and the configuration with all defaults filled in.',
    [
      resultTable(columns, rows),
      facts(terms),
      markup`<details><summary>Configuration</summary><pre>${stringify(summary.config)}</pre></details>`,
    ],
  );
}
