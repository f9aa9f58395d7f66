// Replays rows through the core for tests.

import { type Config } from '../../host/config/schema.js';
import { counterKeys } from '../../host/core/counters.js';
import { type Build, instantiateCore } from '../../host/core/instance.js';
import { type Counters, type LaneResult, Replayer } from '../../host/replay/replayer.js';
import { topologyOf } from '../../host/replay/topology.js';
import { type ColumnName } from '../../traces/batch.js';
import { type Row, type TraceContext } from '../oracle/types.js';
import { batchOf } from './rows.js';

const keys = counterKeys(instantiateCore().Stat);

export interface Replayed {
  replayer: Replayer;
  /** One per configuration. */
  results: LaneResult[];
}

/** Replays `rows` for all configurations in one instance, `batchRows` at a time. */
export function replayRows(
  configs: readonly Config[],
  context: TraceContext,
  rows: readonly Row[],
  { batchRows = 1000, build = 'release' as Build } = {},
): Replayed {
  const { cpuNode } = context;
  const topologies = configs.map((config) => topologyOf(config, { cpuNode, cpus: cpuNode.length }));
  const columns = Object.keys(batchOf([], context.has)).filter((key) => key !== 'rows') as ColumnName[];
  const regions = context.regions.map(({ name, va, bytes }) => {
    return { name, va: `0x${va.toString(16)}`, bytes: Number(bytes), pa: null, pageSize: null, node: null };
  });
  const replayer = new Replayer({ path: 'random', columns, regions }, configs, topologies, build);
  for (let from = 0; from < rows.length; from += batchRows) {
    replayer.feed(batchOf(rows.slice(from, from + batchRows), context.has));
  }
  return { replayer, results: replayer.finish() };
}

/** A lane's counters per CPU by key, zeros left out. */
export function countersByKey(counters: Counters): Record<string, number>[] {
  return Array.from({ length: counters.length / keys.length }, (_, cpu) => {
    const named = keys.map(({ key, index }) => [key, Number(counters[cpu * keys.length + index])] as const);
    return Object.fromEntries(named.filter(([, n]) => n !== 0));
  });
}

/** The sum of a counter over all CPUs. */
export function sumOf({ counters }: LaneResult, key: string): number {
  return countersByKey(counters).reduce((sum, cpu) => sum + (cpu[key] ?? 0), 0);
}
