// The hardware walker of one CPU: walk caches first, then one descriptor per level from the tables in memory, with every
// reference counted by level and by the distance of the table page's node (docs/models.md, Walk).

import { Arch, Lane, Policy } from '../layout';
import { DESCRIPTOR, NODE_OF } from '../memory/tables';
import { ADDRESS, IS_LEAF, PRESENT } from '../paging/descriptor';
import { ENTRY_PA, mapPage } from '../paging/map';
import { rootSlot } from '../paging/space';
import { Stat } from '../stats';
import { insertWalkCache, lookupWalkCache, NO_TABLE, WALK_CACHE_ENTRIES } from './walkcache';

/** Adds `n` to a counter of the CPU whose block is given: its counters come first in the block. */
// @ts-ignore: decorator
@inline
export function ADD(block: usize, stat: Stat, n: u64): void {
  const counter = block + ((<usize>stat) << 3);
  store<u64>(counter, load<u64>(counter) + n);
}

// @ts-ignore: decorator
@inline
export function NODE_OF_CPU(lane: Lane, cpu: u32): u32 {
  return load<u32>(lane.cpuNode + cpu * 4);
}

/**
 * Walks for `va` and returns the size number of the leaf. A page that is not mapped is mapped first, `pa` being its captured
 * address or PA_UNKNOWN.
 */
export function walk(lane: Lane, block: usize, cpu: u32, va: u64, context: u64, pa: u64): u32 {
  ADD(block, Stat.WalkCount, 1);
  const root = lane.depth - 1;
  // Height of the cached descriptor that the walk starts from; above the root when there is none.
  let cached: u32 = 1;
  let start = NO_TABLE;
  for (; cached <= root; cached++) {
    if (!WALK_CACHE_ENTRIES(lane, cached)) continue;
    start = lookupWalkCache(lane, block, cached, va, context);
    if (start != NO_TABLE) break;
  }
  if (start != NO_TABLE)
    ADD(block, lane.arch == Arch.X86 ? Stat.WalkCache_HitsPde + cached - 1 : Stat.WalkCache_HitsL2 + cached - 1, 1);
  const from = start != NO_TABLE ? cached - 1 : root;
  const cpuNode = NODE_OF_CPU(lane, cpu);
  let size = leafSize(lane, start, from, va, context);
  if (size < 0) {
    ADD(block, Stat.FaultDemand, 1);
    mapPage(lane, cpuNode, context, va, pa);
    size = leafSize(lane, start, from, va, context);
  }
  readTables(
    lane,
    block,
    cpuNode,
    start == NO_TABLE ? load<u64>(rootSlot(lane, context, va)) - 1 : start,
    from,
    va,
    context,
  );
  return <u32>size;
}

/** The size number of the leaf that maps `va`, or -1 when the page is not mapped. Counts nothing. */
export function mappedSize(lane: Lane, va: u64, context: u64): i32 {
  return leafSize(lane, NO_TABLE, lane.depth - 1, va, context);
}

/** The same for a walk that starts from a table of height `from`. */
function leafSize(lane: Lane, start: u64, from: u32, va: u64, context: u64): i32 {
  let tablePa = start;
  if (start == NO_TABLE) {
    const root = load<u64>(rootSlot(lane, context, va));
    if (!root) return -1;
    tablePa = root - 1;
  }
  for (let height = <i32>from; height >= 0; height--) {
    const entry = load<u64>(DESCRIPTOR(lane, ENTRY_PA(lane, tablePa, va, height)));
    if (!PRESENT(lane.arch, entry)) break;
    if (IS_LEAF(lane.arch, entry, height)) return height;
    tablePa = ADDRESS(lane.arch, entry);
  }
  return -1;
}

/** Reads the descriptors down to the leaf, counts them and caches the tables' ones. */
function readTables(lane: Lane, block: usize, cpuNode: u32, tablePa: u64, from: u32, va: u64, context: u64): void {
  const alwaysLocal = lane.tablePolicy == Policy.Local;
  for (let height = from; true; height--) {
    const node = alwaysLocal ? cpuNode : NODE_OF(tablePa);
    ADD(block, Stat.WalkRefs, 1);
    ADD(block, lane.arch == Arch.X86 ? Stat.WalkLevels_1 + height : Stat.WalkLevels_3 - height, 1);
    ADD(block, node == cpuNode ? Stat.WalkLocal : Stat.WalkRemote, 1);
    ADD(block, Stat.CyclesWalk, load<u32>(lane.latency + (cpuNode * lane.nodes + node) * 4));
    const entry = load<u64>(DESCRIPTOR(lane, ENTRY_PA(lane, tablePa, va, height)));
    if (IS_LEAF(lane.arch, entry, height)) return;
    tablePa = ADDRESS(lane.arch, entry);
    insertWalkCache(lane, block, height, va, context, tablePa);
  }
}
