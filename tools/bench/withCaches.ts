// The contest with line caches: one lane of nodewalk against caches.c in alternating rounds, for a Haswell-EP, and whether
// both count the same.

import { basename } from 'node:path';
import { resolveConfig } from '../../host/config/load.js';
import { type Config } from '../../host/config/schema.js';
import { topologyOf } from '../../host/replay/topology.js';
import { CACHE_COLUMNS, loadColumns, type LoadedTrace } from './columns.js';
import { machineArguments, type NativeCaches } from './caches.js';
import { best, type Pass, replayOnce } from './lane.js';

/** What one trace and mapping came to. */
export interface CachesContest {
  trace: string;
  mapping: string;
  rows: number;
  loopNs: number;
  nativeNs: number | null;
  /** Speed relative to the native program: 1 is as fast. */
  speedOfNative: number | null;
  /** How many counters both have; all of them were equal. */
  equalCounters: number | null;
}

const CACHES = {
  l1i: { sets: 64, ways: 8 },
  l1d: { sets: 64, ways: 8 },
  l2: { sets: 512, ways: 8 },
  llc: { sets: 24576, ways: 20, inclusive: true, remoteCacheable: true },
  prefetchLines: 1,
  walks: 'l1d',
};

/** Haswell-EP with its caches, walking tables of the format that the trace was captured with. */
function haswell({ arch }: LoadedTrace['metadata'], mapping: string): Config {
  const paging = arch === 'arm64' ? { format: 'arm64', granule: '4K', vaBits: 48 } : { format: 'x86-64', levels: 4 };
  return resolveConfig({ extends: 'haswell-ep', machine: { caches: CACHES }, paging, replay: { mapping } }, 'bench');
}

/** How many counters both have; throws when one differs. */
export function compareCounters(what: string, mine: Record<string, number>, native: Record<string, number>): number {
  const shared = Object.keys(native).filter((key) => key in mine);
  const different = shared.filter((key) => mine[key] !== native[key]);
  if (different.length > 0) {
    const values = different.map((key) => `${key} is ${mine[key]}, in C ${native[key]}`);
    throw new Error(`${what}: ${values.join('; ')}`);
  }
  return shared.length;
}

/** The contest over one trace, in every mapping that it can be replayed in. */
export async function benchCaches(
  path: string,
  limit: number,
  rounds: number,
  native: NativeCaches | null,
): Promise<CachesContest[]> {
  const trace = await loadColumns(path, limit, CACHE_COLUMNS);
  await native?.load(trace);
  const contests = [];
  for (const mapping of trace.hasPhysical ? ['captured', 'demand'] : ['demand']) {
    contests.push(await contest(path, trace, haswell(trace.metadata, mapping), rounds, native));
  }
  return contests;
}

async function contest(
  path: string,
  { columns, metadata }: LoadedTrace,
  config: Config,
  rounds: number,
  native: NativeCaches | null,
): Promise<CachesContest> {
  const cpus = columns.cpu.reduce((highest, cpu) => Math.max(highest, cpu), 0) + 1;
  const topology = topologyOf(config, { cpuNode: metadata.cpuNode, cpus });
  const source = { ...metadata, path, columns: CACHE_COLUMNS };
  const program = machineArguments(config, topology, metadata.nodes);
  const { mapping } = config.replay;
  const name = basename(path);
  let nativeNs: number | null = null;
  let counters: Record<string, number> | null = null;
  let lane: Pass | null = null;
  for (let round = 0; round < rounds; round++) {
    const now = await native?.measure(columns.rows, program);
    if (now) {
      nativeNs = Math.min(now.ns, nativeNs ?? Infinity);
      ({ counters } = now);
    }
    lane = best(lane, replayOnce(columns, source, [config], [topology]));
    process.stderr.write(`${name} with line caches, ${mapping}: round ${round + 1} of ${rounds}\n`);
  }
  const { loopNs, counts } = lane!;
  return {
    trace: name,
    mapping,
    rows: columns.rows,
    loopNs,
    nativeNs,
    speedOfNative: nativeNs && nativeNs / loopNs,
    equalCounters: counters && compareCounters(`${path}, ${mapping}`, counts, counters),
  };
}
