// Traces of one scenario that differ in CPUs: the time of their slowest CPU over the number of CPUs, in the whole trace and by phase.

import { type Markup } from './html.js';
import { groupBy, namedLabel } from './keys.js';
import { plots, section } from './page.js';
import { phaseOf } from './published.js';
import { type SeriesPoint, seriesPlot } from './seriesPlot.js';
import { type CellData, familyOf, ownKeys, type TraceData } from './sweepData.js';

/** Fewer numbers of CPUs are no curve. */
const LEAST_POINTS = 3;
const MOST_PHASES = 8;

export async function scalingSection(traces: TraceData[], keys: string[]): Promise<Markup | null> {
  const families = groupBy(traces, familyOf).filter(
    (family) => new Set(family.map(({ trace }) => trace.cpus)).size >= LEAST_POINTS,
  );
  return section(
    'Time over CPUs',
    'Traces of one scenario that differ in CPUs: cycles of the slowest CPU (cycles.critical) at the clock of the machine, in the whole trace and in each phase.',
    [plots(await Promise.all(families.flatMap((family) => familyPlots(family, keys))))],
  );
}

function familyPlots(family: TraceData[], keys: string[]): Promise<Markup>[] {
  const scenario = family[0].trace.scenario!;
  const phases = groupBy(
    family.flatMap(({ cells }) => cells.flatMap((cell) => cell.phases)),
    ({ phase }) => String(phase),
  );
  const draw = (name: string, cycles: (cell: CellData) => number | undefined) =>
    seriesPlot(`${scenario}: ${name}`, { x: 'CPUs', y: 'ms' }, pointsOf(family, keys, cycles));
  return [
    draw('whole trace', ({ flat }) => flat['cycles.critical']),
    ...phases
      .slice(0, MOST_PHASES)
      .map(([{ phase, name }]) => draw(`${name} (${phase})`, (cell) => phaseOf(cell, phase)?.['cycles.critical'])),
  ];
}

function pointsOf(family: TraceData[], keys: string[], cycles: (cell: CellData) => number | undefined): SeriesPoint[] {
  return family.flatMap((data) =>
    data.cells.flatMap((cell) => {
      const { clockGHz } = cell.config.machine as { clockGHz: number };
      const taken = cycles(cell);
      const series = namedLabel(cell.varied, ownKeys(data, keys));
      return taken === undefined
        ? []
        : { series, x: data.trace.cpus!, y: taken / (clockGHz * 1e6), kind: 'measured' as const };
    }),
  );
}
