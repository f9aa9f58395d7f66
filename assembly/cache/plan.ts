// Laying out a lane's line caches. Nothing here runs during a replay.

import { Cache, Caches, Lane, LineCache } from '../layout';
import { allocate } from '../memory/arena';
import { LINE_CACHE } from './hierarchy';
import { setBytesOf } from './lines';

/** The lane's line caches, made when there are none yet. */
export function cachesOf(lane: Lane): Caches {
  if (lane.caches) return lane.caches!;
  const caches = changetype<Caches>(allocate(offsetof<Caches>()));
  caches.caches = allocate(Cache.Count * offsetof<LineCache>());
  caches.clusterOf = allocate(lane.cpus * 4);
  caches.active = allocate(lane.cpus * 4);
  caches.isActive = allocate(lane.cpus);
  lane.caches = caches;
  return caches;
}

/** Allocates the lines, all empty. Memory that is never written costs nothing, so CPUs without accesses do not either. */
export function planCaches(lane: Lane, caches: Caches): void {
  let bytes: u32 = 0;
  for (let i = 0; i < Cache.Count; i++) {
    const cache = LINE_CACHE(caches, i);
    cache.setBytes = setBytesOf(cache.ways);
    if (i == Cache.Llc) break;
    cache.offset = bytes;
    bytes += cache.sets * cache.setBytes;
  }
  caches.cpuBytes = (bytes + 63) & ~63;
  caches.eightWays = isEightWays(LINE_CACHE(caches, Cache.L1i)) && isEightWays(LINE_CACHE(caches, Cache.L1d));
  caches.lines = allocate(<usize>caches.cpuBytes * lane.cpus);

  const llc = LINE_CACHE(caches, Cache.Llc);
  caches.hasAll = caches.inclusive;
  caches.llcCount = llc.sets ? llcsOf(lane, caches) : 0;
  caches.llcBytes = (llc.sets * llc.setBytes + 63) & ~63;
  caches.llcs = allocate(<usize>caches.llcBytes * caches.llcCount);
}

function isEightWays(cache: LineCache): bool {
  return cache.ways == 8 && !(cache.sets & (cache.sets - 1));
}

/** How many LLCs there are: one per cluster, or one per node. */
function llcsOf(lane: Lane, caches: Caches): u32 {
  if (!caches.remoteCacheable) return lane.nodes;
  let last: u32 = 0;
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) last = max(last, load<u32>(caches.clusterOf + cpu * 4));
  return last + 1;
}
