// The report of a sweep: what was run, the best and the worst against the baseline, what each setting does, plots per
// trace, the full table, and every cell's configuration.

import { stringify } from 'yaml';
import { number, percent } from '../format.js';
import { type Gain, leaves, phaseCyclesKey, phaseGain } from '../results/summary.js';
import { cycleBars } from './cycleBars.js';
import { markup, type Markup } from './html.js';
import { keyPlot } from './keyPlot.js';
import { cellLabel, effects, groupBy, shortKey, valueLabel, values } from './keys.js';
import * as metrics from './metrics.js';
import { card, facts, page, plots, section } from './page.js';
import { phaseMap } from './phaseMap.js';
import { SPE_METRICS } from './speMetrics.js';
import { measurePublished } from './published.js';
import { publishedSection } from './publishedSection.js';
import { scalingSection } from './scaling.js';
import { type Column, gainColumns, metricColumn, resultTable } from './resultTable.js';
import { deferredSection } from './timelinePlot.js';
import { type CellData, cellGain, ownKeys, type PhaseData, type SweepData, type TraceData } from './sweepData.js';

/** Whose cycles the gain of a phase uses. */
const PHASE_CPUS = {
  'cycles.own': 'the CPU that owns the phase',
  'cycles.critical': 'the slowest CPU in the phase',
  'cycles.total': 'all CPUs in the phase',
};
/** Plots with a mark per cell show this many; the table has them all. */
const PLOTTED_CELLS = 32;
/** Phase rows beyond this make a page that browsers are slow to show; results.arrow has them all. */
const PHASE_ROWS = 5000;

export async function sweepPage(sweep: SweepData): Promise<string> {
  const { manifest, traces } = sweep;
  const keys = manifest.vary;
  const title = manifest.title || 'Sweep';
  return page(title, [
    markup`<header>
<h1>${title}</h1>
${manifest.description && markup`<p>${manifest.description}</p>`}
${whatWasRun(sweep)}
</header>`,
    await publishedSection(measurePublished(sweep)),
    await scalingSection(traces, keys),
    await deferredSection(traces, keys),
    ...traces.map((data) => headline(data, ownKeys(data, keys))),
    effectsSection(traces, keys),
    ...(await plotSections(traces, keys)),
    tableSection(sweep),
    appendix(sweep),
  ]);
}

function whatWasRun({ manifest, traces, missing, versions }: SweepData): Markup {
  const cells = traces.flatMap((trace) => trace.cells);
  const having = (key: string) => cells.filter(({ varied }) => Object.hasOwn(varied, key));
  const vary = manifest.vary.map(
    (key) => markup`<code>${key}</code>: ${values(having(key), key).map(valueLabel).join(', ')}<br />`,
  );
  const described = manifest.traces.map((trace) => {
    const { path, name, records, sha256, parameters: _, ...provenance } = trace;
    const known = [...leaves(provenance)]
      .filter(([key]) => key !== '')
      .map(([key, value]) => `${key} ${valueLabel(value)}`);
    const facts = [`${number(records)} records`, ...known, ...(sha256 ? [`SHA-256 ${sha256}`] : [])];
    return markup`<b>${name}</b>: ${facts.join('; ')} <span class="muted">(${path})</span><br />`;
  });
  const core = manifest.core ? [`core ${manifest.core}`] : [];
  const unfinished =
    missing.length > 0 ? `, of which ${number(missing.length)} have not been run: ${missing.join(', ')}` : '';
  return facts([
    [manifest.traces.length === 1 ? 'Trace' : 'Traces', markup`${described}`],
    ['Varied', markup`${vary}`],
    ['Cells', `${number(manifest.cells.length)}${unfinished}`],
    ['Baseline', baselineText(traces, manifest.vary)],
    ['Version', [...versions.map((version) => `nodewalk ${version}`), ...core].join(', ')],
  ]);
}

function baselineText(traces: TraceData[], keys: string[]): string {
  if (traces.every(({ baseline }) => baseline === null)) return 'none: gains are not stated';
  const named = traces.flatMap((data) => {
    const { baseline } = data;
    if (!baseline) return [];
    const values = ownKeys(data, keys).map((key) => `${shortKey(key, keys)} ${valueLabel(baseline.varied[key])}`);
    return { cell: `#${baseline.cell}`, values: values.join(', ') };
  });
  const same = groupBy(named, ({ values }) => values);
  return same.map((group) => `${group[0].values} (cell ${group.map(({ cell }) => cell).join(', ')})`).join('; ');
}

/** Cells from the fewest cycles to the most. */
function byCycles(cells: CellData[]): CellData[] {
  return [...cells].sort((a, b) => a.flat['cycles.total'] - b.flat['cycles.total'] || a.cell - b.cell);
}

function headline({ title, cells, baseline }: TraceData, keys: string[]): Markup {
  const sorted = byCycles(cells);
  const [best, worst] = [sorted[0], sorted[sorted.length - 1]];
  const roles: [string, CellData | null][] = [
    ['Baseline', baseline],
    ['Best', best],
    ['Worst', worst],
  ];
  const role = (cell: CellData) => roles.flatMap(([name, of]) => (of === cell ? [name] : [])).join(', ');
  const named = [...new Set([baseline, best, worst])].filter((cell) => cell !== null);
  const others = named.filter((cell) => cell !== baseline);
  const misses = metrics.firstLevelMisses(cells.map(({ flat }) => flat));
  const shown = [metrics.CYCLES, misses, metrics.WALKS, metrics.WALK_REFS, metrics.REMOTE_SHARE];
  const columns: Column<CellData>[] = [
    { title: '', text: role },
    { title: 'Cell', text: ({ cell }) => `#${cell}` },
    {
      title: 'Configuration',
      unit: keys.map((key) => shortKey(key, keys)).join(' · '),
      text: ({ varied }) => cellLabel(varied, keys),
    },
    ...(baseline ? gainColumns<CellData>((cell) => cellGain(cell, baseline)) : []),
    ...shown.map((metric) => metricColumn<CellData>(metric, ({ flat }) => flat)),
  ];
  const cards = baseline
    ? [
        ...others.map((cell) => gainCard(cell, baseline, keys, role(cell))),
        ...(best === baseline ? [] : [misses, metrics.WALK_REFS].map((metric) => changeCard(metric, best, baseline))),
      ]
    : [];
  return markup`<section>
<h2>${title}</h2>
${cards.length > 0 && markup`<div class="cards">${cards}</div>`}
${resultTable(columns, named, (cell) => cell === baseline)}
</section>`;
}

function gainCard(cell: CellData, baseline: CellData, keys: string[], name: string): Markup {
  const { speedup, saved } = cellGain(cell, baseline)!;
  if (speedup === null || saved === null) return card('-', `${name}: the cycles are zero`);
  const tone = speedup > 0 ? 'good' : speedup < 0 ? 'bad' : '';
  return card(
    percent(speedup, true),
    `${name}, #${cell.cell} ${cellLabel(cell.varied, keys)}: speed-up; ${percent(saved, true)} cycles saved`,
    tone,
  );
}

/** A metric before and after; nothing where the best cell does not change it. */
function changeCard(metric: metrics.Metric, best: CellData, baseline: CellData): Markup | null {
  const [before, after] = [baseline, best].map(({ flat }) => metrics.write(metric, flat));
  const meaning = `${metric.title}, ${metric.unit}: baseline \u2192 best`;
  return before === after ? null : card(`${before} \u2192 ${after}`, meaning);
}

function effectsSection(traces: TraceData[], keys: string[]): Markup | null {
  const rows = traces.flatMap((data) =>
    effects(data, ownKeys(data, keys)).map((effect) => ({ trace: data.title, ...effect })),
  );
  type Row = (typeof rows)[number];
  const share = (title: string, unit: string, value: (row: Row) => number): Column<Row> => ({
    title,
    unit,
    cell: (row) => ({ written: percent(value(row), true), value: value(row) }),
  });
  const columns: Column<Row>[] = [
    { title: 'Trace', text: ({ trace }) => trace },
    { title: 'Key', text: ({ key }) => key },
    { title: 'From', text: ({ from }) => valueLabel(from) },
    { title: 'To', text: ({ to }) => valueLabel(to) },
    share('Mean', 'T_old/T_new - 1', ({ mean }) => mean),
    share('Least', 'over the pairs', ({ least }) => least),
    share('Most', 'over the pairs', ({ most }) => most),
    { title: 'Pairs', unit: 'cells compared', cell: ({ pairs }) => ({ written: number(pairs), value: pairs }) },
  ];
  return section(
    'What each setting does',
    'One key is changed at a time, all others equal: cycles of every pair of cells that differ in that key only, as T_old/T_new - 1 (geometric mean, least, most). A wide range between least and most means that the keys depend on each other.',
    rows.length === 0 ? [] : [resultTable(columns, rows)],
  );
}

async function plotSections(traces: TraceData[], keys: string[]): Promise<(Markup | null)[]> {
  const flats = traces.flatMap(({ cells }) => cells.map(({ flat }) => flat));
  const phases = traces.flatMap(({ cells }) => cells.flatMap((cell) => cell.phases.map(({ flat }) => flat)));
  const perTrace = (draw: (data: TraceData) => Promise<Markup | null>) => Promise.all(traces.map(draw));
  const byKey = async (...shown: metrics.Metric[]) =>
    plots(
      (await Promise.all(shown.map((metric) => perTrace((data) => keyPlot(metric, data, ownKeys(data, keys)))))).flat(),
    );
  const dashed = traces.some(({ baseline }) => baseline) ? ' The dashed line is the baseline.' : '';
  return [
    section(
      'Where the cycles go',
      `Cells from the fewest cycles to the most${dashed && '; the number is the speed-up T_old/T_new - 1'}. "base" is executing the instructions, "fetch" and "data" waiting for lines, "walk" second-level TLB hits and table walks, "fault" demand faults.${dashed}${limited(traces)}`,
      [plots(await perTrace((data) => cellBars(data, ownKeys(data, keys))), true)],
    ),
    section('Cycles per access', `${metrics.CYCLES_PER_ACCESS.meaning}${dashed}`, [
      await byKey(metrics.CYCLES_PER_ACCESS),
    ]),
    section('Walks', `${metrics.WALKS.meaning}${dashed}`, [await byKey(metrics.WALKS)]),
    section('References per walk', `${metrics.REFS_PER_WALK.meaning}${dashed}`, [await byKey(metrics.REFS_PER_WALK)]),
    section('Remote walk references', `${metrics.REMOTE_SHARE.meaning}${dashed}`, [await byKey(metrics.REMOTE_SHARE)]),
    section(
      'TLB miss rates',
      `The share of the look-ups in each TLB level that missed there; only first-level misses reach the second level.${dashed}`,
      [await byKey(...metrics.tlbLevels(flats).map(metrics.missRate))],
    ),
    section('Profiling', `${SPE_METRICS.map(({ title, meaning }) => `${title}: ${meaning}`).join(' ')}${dashed}`, [
      await byKey(...SPE_METRICS),
    ]),
    section(
      'Gain per phase',
      `Cycles of ${PHASE_CPUS[phaseCyclesKey(phases)]}, against the same phase of the baseline. Blue is faster, orange slower; darker (in dark mode: brighter) is more. Cells stand from the fewest cycles to the most.${limited(traces)}`,
      [plots(await perTrace((data) => phaseMap({ ...data, cells: plotted(data) }, ownKeys(data, keys))), true)],
    ),
  ];
}

/** The cells that fit a plot: all, or the fastest and the slowest half and the baseline. */
function plotted({ cells, baseline }: TraceData): CellData[] {
  const sorted = byCycles(cells);
  if (sorted.length <= PLOTTED_CELLS) return sorted;
  const half = PLOTTED_CELLS / 2;
  return sorted.filter((cell, i) => i < half || i >= sorted.length - half || cell === baseline);
}

function limited(traces: TraceData[]): string {
  const most = Math.max(0, ...traces.map(({ cells }) => cells.length));
  return most > PLOTTED_CELLS
    ? ` Of ${number(most)} cells per trace the ${PLOTTED_CELLS / 2} fastest and slowest are drawn.`
    : '';
}

async function cellBars(data: TraceData, keys: string[]): Promise<Markup> {
  const { title, baseline } = data;
  const bars = plotted(data).map((cell) => ({
    label: `#${cell.cell} ${cellLabel(cell.varied, keys)}${cell === baseline ? ' (baseline)' : ''}`,
    flat: cell.flat,
    speedup: cell === baseline ? null : cellGain(cell, baseline)?.speedup,
  }));
  const axis = keys.map((key) => shortKey(key, keys)).join(' · ');
  return cycleBars(`Cycles by cell, ${title}`, axis, bars, baseline?.flat['cycles.total']);
}

interface CellRow {
  data: TraceData;
  cell: CellData;
}

function keyColumns(keys: string[]): Column<CellRow>[] {
  return [
    { title: 'Cell', cell: ({ cell }) => ({ written: `#${cell.cell}`, value: cell.cell }) },
    { title: 'Trace', text: ({ data }) => data.title },
    ...keys.map((key) => ({ title: shortKey(key, keys), text: ({ cell }: CellRow) => valueLabel(cell.varied[key]) })),
  ];
}

const BASELINE_ROWS =
  'One row per cell, the baseline marked. Speed-up is T_old/T_new - 1 and saved is 1 - T_new/T_old, T being cycles summed over CPUs.';

function tableSection({ traces, manifest }: SweepData): Markup | null {
  const rows = traces.flatMap((data) => data.cells.map((cell) => ({ data, cell })));
  const hasBaseline = traces.some(({ baseline }) => baseline);
  const columns = [
    ...keyColumns(manifest.vary),
    ...(hasBaseline ? gainColumns<CellRow>(({ data, cell }) => cellGain(cell, data.baseline)) : []),
    ...metrics
      .tableMetrics(rows.map(({ cell }) => cell.flat))
      .map((metric) => metricColumn<CellRow>(metric, ({ cell }) => cell.flat)),
  ];
  return section(
    'All cells',
    `${hasBaseline ? BASELINE_ROWS : 'One row per cell.'} A click on a header sorts; every counter is in results.arrow.`,
    [resultTable(columns, rows, ({ data, cell }) => cell === data.baseline), phaseTable(rows, manifest.vary)],
  );
}

function phaseTable(cells: CellRow[], keys: string[]): Markup | null {
  type Row = CellRow & { phase: PhaseData; before: PhaseData | undefined };
  const rows: Row[] = cells.flatMap(({ data, cell }) =>
    cell.phases.map((phase) => ({
      ...{ data, cell, phase },
      before: data.baseline?.phases.find((candidate) => candidate.phase === phase.phase),
    })),
  );
  if (rows.length === 0) return null;
  if (rows.length > PHASE_ROWS) {
    return markup`<p class="muted">${number(rows.length)} phase results are in results.arrow.</p>`;
  }
  const gainOf = ({ phase, before }: Row): Gain | null => (before ? phaseGain(before.flat, phase.flat) : null);
  const shown = [
    metrics.CYCLES,
    metrics.CRITICAL,
    metrics.OWN,
    metrics.firstLevelMisses(rows.map(({ phase }) => phase.flat)),
    metrics.WALKS,
    metrics.WALK_REFS,
    metrics.REMOTE_SHARE,
    metrics.FAULTS,
  ];
  const defined = shown.filter(({ value }) => rows.some(({ phase }) => value(phase.flat) !== null));
  const columns: Column<Row>[] = [
    ...(keyColumns(keys) as Column<Row>[]),
    { title: 'Phase', cell: ({ phase }) => ({ written: String(phase.phase), value: phase.phase }) },
    { title: 'Name', text: ({ phase }) => phase.name },
    { title: 'CPU', cell: ({ phase: { cpu } }) => ({ written: cpu === null ? '-' : String(cpu), value: cpu }) },
    ...(cells.some(({ data }) => data.baseline) ? gainColumns(gainOf) : []),
    ...defined.map((metric) => metricColumn<Row>(metric, ({ phase }) => phase.flat)),
  ];
  return markup`<details>
<summary>Every phase of every cell (${number(rows.length)} rows)</summary>
${resultTable(columns, rows, ({ data, cell }) => cell === data.baseline)}
</details>`;
}

function appendix({ traces }: SweepData): Markup | null {
  const rows = traces.flatMap(({ trace, cells }) => cells.map((cell) => ({ trace: trace.name, cell })));
  const flats = rows.map(({ cell }) => cell.flat);
  const terms = metrics
    .tableMetrics(flats)
    .map(({ title, unit, meaning }): [string, string] => [`${title} (${unit})`, meaning]);
  const same = groupBy(rows, ({ cell }) => JSON.stringify(cell.config));
  const configs = same.map((group) => {
    const [{ cell }] = group;
    const cells = group.map((row) => `#${row.cell.cell} (${row.trace})`).join(', ');
    return markup`<details>
<summary>${cellLabel(cell.varied, Object.keys(cell.varied))} <span class="muted">${cells}</span></summary>
<pre>${stringify(cell.config)}</pre>
</details>`;
  });
  return section('Appendix', 'What the columns mean, and the resolved configuration of every cell.', [
    facts(terms),
    markup`<h3>Configurations</h3>\n${configs}`,
  ]);
}
