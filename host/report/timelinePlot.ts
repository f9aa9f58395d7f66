// A simulation over its own time, where a summary has a timeline: memory that waits to be freed in the cells of a sweep, and all that a point has for a single replay.

import { number } from '../format.js';
import { type TimelinePoint } from '../results/summary.js';
import { type Markup } from './html.js';
import { groupBy, namedLabel } from './keys.js';
import { plots, section } from './page.js';
import { figure } from './plot.js';
import { familyOf, ownKeys, type TraceData } from './sweepData.js';

interface Run {
  label: string;
  timeline: TimelinePoint[];
}

type Value = (point: TimelinePoint) => number;

/** Lines that can be told apart. */
const MOST_LINES = 8;
/** What is over sooner than after so many points is not drawn. */
const LEAST_POINTS = 4;

/** Bytes that wait to be freed: a plot for the traces of each scenario in which there are some. */
export async function deferredSection(traces: TraceData[], keys: string[]): Promise<Markup | null> {
  const figures = groupBy(traces, familyOf).map((family) => {
    const runs = family.flatMap((data) =>
      data.cells.flatMap(({ varied, timeline }) =>
        timeline ? { label: labelOf(data, namedLabel(varied, ownKeys(data, keys)), family), timeline } : [],
      ),
    );
    const [{ trace, title }] = family;
    const caption = trace.scenario ?? title;
    return timePlot(caption, 'bytes', runs.map(sinceDeferral), ({ deferredBytes }) => deferredBytes);
  });
  return section(
    'Memory that waits to be freed',
    `Detached tables between their unlinking and the end of the grace period, over the simulated time since the first of them. At most ${MOST_LINES} cells a plot, those with the highest peaks; cells where they last for fewer than ${LEAST_POINTS} points of the timeline are left out.`,
    [plots(await Promise.all(figures), true)],
  );
}

/** The run from the last point before its first deferred bytes on, with its time from there. */
function sinceDeferral({ label, timeline }: Run): Run {
  const first = Math.max(0, timeline.findIndex(({ deferredBytes }) => deferredBytes > 0) - 1);
  return { label, timeline: timeline.slice(first).map((point) => ({ ...point, us: point.us - timeline[first].us })) };
}

function labelOf({ title }: TraceData, cell: string, family: TraceData[]): string {
  return family.length > 1 ? `${title} · ${cell}` : cell;
}

/** Everything that a replay's timeline has. */
export async function timelineSection(timeline: TimelinePoint[] | undefined): Promise<Markup | null> {
  if (!timeline) return null;
  const run = (label: string, value: Value) => ({ label, timeline, value });
  const draw = (caption: string, unit: string, ...lines: ReturnType<typeof run>[]) =>
    timePlot(caption, unit, lines, (point, i) => lines[i].value(point));
  return section('Over time', 'The simulation at points of its own time.', [
    plots(
      await Promise.all([
        draw(
          'Detached tables that wait to be freed',
          'bytes',
          run('deferred', (p) => p.deferredBytes),
        ),
        draw(
          'All tables of stage 2',
          'bytes',
          run('tables', (p) => p.tableBytes),
        ),
        draw(
          'CPUs at mmu_lock',
          'CPUs',
          run('holding', (p) => p.holding),
          run('waiting', (p) => p.waiting),
        ),
        draw(
          'Faults taken',
          'faults',
          run('faults', (p) => p.faults),
        ),
      ]),
    ),
  ]);
}

/** The runs with the highest peaks, as steps; null where none has enough to be drawn. */
async function timePlot(
  caption: string,
  unit: string,
  runs: Run[],
  value: (point: TimelinePoint, run: number) => number,
): Promise<Markup | null> {
  const lines = runs
    .map(({ label, timeline }, run) => ({
      label,
      points: timeline.map((point) => ({ us: point.us, value: value(point, run) })),
    }))
    .map((line) => ({ ...line, peak: Math.max(0, ...line.points.map((point) => point.value)) }))
    .filter(({ points }) => points.filter((point) => point.value > 0).length >= LEAST_POINTS);
  if (lines.length === 0) return null;
  const highest = new Set([...lines].sort((a, b) => b.peak - a.peak).slice(0, MOST_LINES));
  const shown = lines.filter((line) => highest.has(line));
  const values = shown.flatMap(({ label, points }) =>
    points.map(({ us, value: y }) => ({ label, ms: us / 1000, value: y })),
  );
  const left = lines.length - shown.length;
  const names = shown.map(({ label }) => label);
  return figure(`${caption}${left > 0 ? `; ${number(left)} cells with lower peaks are left out` : ''}`, {
    data: { values },
    width: 640,
    height: 190,
    mark: { type: 'line', interpolate: 'step-after', strokeWidth: 1.5, aria: false },
    encoding: {
      x: {
        field: 'ms',
        type: 'quantitative',
        title: 'simulated time, ms',
        scale: { zero: false, nice: false },
        axis: { tickCount: 8 },
      },
      y: { field: 'value', type: 'quantitative', title: unit, axis: { format: '~s', tickCount: 5 } },
      color: {
        field: 'label',
        type: 'nominal',
        title: null,
        legend: names.length > 1 ? { columns: 4, symbolStrokeWidth: 2 } : null,
        scale: { domain: names, range: names.map((_, i) => `var(--c${i + 1})`) },
      },
    },
  });
}
