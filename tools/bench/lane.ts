// One pass of nodewalk's own loop over columns in memory, timed, with its counters.

import { type Config } from '../../host/config/schema.js';
import { counterKeys } from '../../host/core/counters.js';
import { Replayer, type ReplaySource } from '../../host/replay/replayer.js';
import { type Topology } from '../../host/replay/topology.js';
import { type Batch } from '../../traces/batch.js';

/** Best times in nanoseconds per row. */
export interface Times {
  /** The replay loop over columns that are in the core's memory. */
  loopNs: number;
  /** The same with copying the columns there. */
  feedNs: number;
}

/** Times, and the counts of the first lane over all CPUs by key. */
export interface Pass extends Times {
  counts: Record<string, number>;
}

/** Replays the columns once for all configurations. */
export function replayOnce(
  columns: Batch,
  source: ReplaySource,
  configs: readonly Config[],
  topologies: readonly Topology[],
): Pass {
  const replayer = new Replayer(source, configs, topologies);
  const { core } = replayer;
  const replayRows = core.replayRows;
  let loop = 0;
  core.replayRows = (from, to) => {
    const start = performance.now();
    const stop = replayRows(from, to);
    loop += performance.now() - start;
    return stop;
  };
  const start = performance.now();
  replayer.feed(columns);
  const feed = performance.now() - start;
  const [{ counters }] = replayer.finish();
  const keys = counterKeys(core.Stat);
  const counts: Record<string, number> = {};
  counters.forEach(
    (n, i) => (counts[keys[i % keys.length].key] = (counts[keys[i % keys.length].key] ?? 0) + Number(n)),
  );
  return { loopNs: (loop * 1e6) / columns.rows, feedNs: (feed * 1e6) / columns.rows, counts };
}

/** The better of two passes, each time for itself. */
export const best = <T extends Times>(a: T | null, b: T): T =>
  a ? { ...b, loopNs: Math.min(a.loopNs, b.loopNs), feedNs: Math.min(a.feedNs, b.feedNs) } : b;
