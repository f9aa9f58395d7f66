// Groups the cells of a plan into tasks: cells of one trace that replay its rows equally often share a pass over it, as long as all
// workers have work.

import { passKey } from '../config/replaying.js';
import { groupBy } from '../report/keys.js';
import { type Task } from './messages.js';
import { type DraftCell } from './plan.js';

/** A task with the cells that its summaries belong to, in the same order. */
export interface CellTask extends Task {
  cells: DraftCell[];
}

/** More lanes than this in one pass compete for the processor's caches. */
const MOST_LANES = 8;

/** Tasks for cells that differ, the longest first. */
export function tasksOf(cells: readonly DraftCell[], jobs: number): CellTask[] {
  const lanes = Math.max(1, Math.min(MOST_LANES, Math.ceil(cells.length / jobs)));
  const sharing = groupBy([...cells], ({ source, config }) => `${passKey(config.replay)} ${source.path}`);
  const groups = sharing.flatMap((own) => {
    const count = Math.ceil(own.length / lanes);
    // As even as can be: eight and one would leave a worker idle for most of the time.
    const start = (group: number) => Math.floor((group * own.length) / count);
    return Array.from({ length: count }, (_, group) => own.slice(start(group), start(group + 1)));
  });
  return groups
    .map((group) => ({
      path: group[0].source.path,
      configs: group.map(({ config }) => config),
      rowsDone: new BigInt64Array(new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT)),
      cells: group,
    }))
    .sort((a, b) => passesOf(b) * rowsOf(b) - passesOf(a) * rowsOf(a));
}

/** The most passes over a phase: what is replayed again often takes longest. */
function passesOf({ configs: [{ replay }] }: CellTask): number {
  const { hot, repeat } = replay;
  return (hot ?? 0) + (typeof repeat === 'number' ? repeat : Math.max(1, ...Object.values(repeat)));
}

/** Rows to replay, counted once per cell. */
export function rowsOf({ cells }: CellTask): number {
  return cells.length * cells[0].source.records;
}
