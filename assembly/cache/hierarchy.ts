// The line caches of a lane: what one access, one descriptor read, one prefetch does to them (docs/caches.md, which numbers the steps).

import { Cache, Caches, FETCH, Lane, LATENCY, LineCache, LOCAL, NODE_OF_CPU, Policy, STORE } from '../layout';
import { IS_UPPER } from '../paging/space';
import { isText } from '../paging/text';
import { ADD, Stat } from '../stats';
import { ADDRESS, homeOf } from '../memory/home';
import { find, has, insert, KERNEL, KEY, OWNED, PREFETCHED, remove, TEXT, touch } from './lines';
import { emptyData, emptyFetch } from './slots';

/** Who asks; also the place of its counters among those of a cache, of memory and of cycles (stats.ts). */
enum Source {
  Fetch,
  Data,
  Walk,
  /** Counts no hits, misses and cycles. */
  Prefetch,
}

/**
 * In the address of a line: memory that belongs to one CPU, whose number is from bit OWNER_SHIFT up. The lines of each such memory are
 * numbered from 0.
 */
const PRIVATE: u64 = (<u64>1) << 62;
const OWNER_SHIFT: u64 = 36;
const PRIVATE_ADDRESS: u64 = ((<u64>1) << OWNER_SHIFT) - 64;
export const LINE_SHIFT: u64 = 6;
const LINE_BYTES: u64 = 64;
/** Prefetches stay within 2^PREFETCH_SHIFT bytes. */
const PREFETCH_SHIFT: u64 = 12;

/** No LLC. */
const NONE: u32 = u32.MAX_VALUE;

// @ts-ignore: decorator
@inline
export function LINE_CACHE(caches: Caches, cache: Cache): LineCache {
  return changetype<LineCache>(caches.caches + cache * offsetof<LineCache>());
}

/** Byte offset in a cache of the set of a line. */
// @ts-ignore: decorator
@inline
function SET_OFFSET(cache: LineCache, key: u64): usize {
  const sets = <u64>cache.sets;
  const index = sets & (sets - 1) ? numberOf(key) % sets : (key >> LINE_SHIFT) & (sets - 1);
  return <usize>index * cache.setBytes;
}

/** The number of a line, without what tells lines of other memories apart. */
function numberOf(key: u64): u64 {
  return (key & (key & PRIVATE ? PRIVATE_ADDRESS : ADDRESS)) >> LINE_SHIFT;
}

/** The set of a line in a CPU's own cache. */
// @ts-ignore: decorator
@inline
function SET(caches: Caches, cache: LineCache, cpu: u32, key: u64): usize {
  return caches.lines + <usize>cpu * caches.cpuBytes + cache.offset + SET_OFFSET(cache, key);
}

// @ts-ignore: decorator
@inline
function LLC_SET(caches: Caches, llc: u32, key: u64): usize {
  return caches.llcs + <usize>llc * caches.llcBytes + SET_OFFSET(LINE_CACHE(caches, Cache.Llc), key);
}

// @ts-ignore: decorator
@inline
function ACTIVE(caches: Caches, i: u32): u32 {
  return load<u32>(caches.active + i * 4);
}

/** The instruction at physical address `pa` (with CAPTURED) and `va` is fetched; `local` is LOCAL or 0. */
export function fetchLine(lane: Lane, block: usize, cpu: u32, pa: u64, va: u64, local: u64): void {
  const caches = lane.caches!;
  const l1i = LINE_CACHE(caches, Cache.L1i);
  const key = KEY(pa);
  const set = SET(caches, l1i, cpu, key);
  const entry = touch(set, l1i.setBytes, key);
  if (!entry || entry & PREFETCHED) fetchedLine(lane, block, cpu, pa, va, local, set, entry);
}

/** What is left of a fetch once L1i, in `set`, has been asked: the entry there, which is prefetched, or 0 after a miss. */
function fetchedLine(lane: Lane, block: usize, cpu: u32, pa: u64, va: u64, local: u64, set: usize, entry: u64): void {
  const caches = lane.caches!;
  const l1i = LINE_CACHE(caches, Cache.L1i);
  const key = KEY(pa);
  if (entry) {
    store<u64>(set, entry & ~PREFETCHED);
    prefetch(lane, caches, block, cpu, key, flagsOf(lane, va) | local);
    return;
  }
  const flags = flagsOf(lane, va) | local;
  ADD(block, Stat.CacheL1iFetchMiss, 1);
  belowFirst(lane, caches, block, cpu, key, flags, Source.Fetch);
  insert(set, l1i.ways, key | flags);
  prefetch(lane, caches, block, cpu, key, flags);
}

/** The data at physical address `pa` (with CAPTURED) and `va` is loaded or stored to; `local` is LOCAL or 0. */
export function dataLine(lane: Lane, block: usize, cpu: u32, pa: u64, va: u64, local: u64, isStore: bool): void {
  const caches = lane.caches!;
  const l1d = LINE_CACHE(caches, Cache.L1d);
  const key = KEY(pa);
  const set = SET(caches, l1d, cpu, key);
  const entry = touch(set, l1d.setBytes, key);
  if (!entry || (isStore && !(entry & OWNED))) accessedLine(lane, block, cpu, pa, va, local, isStore, set, entry);
}

/** What is left of a load or store once L1d, in `set`, has been asked: the entry there, or 0 after a miss. */
function accessedLine(
  lane: Lane,
  block: usize,
  cpu: u32,
  pa: u64,
  va: u64,
  local: u64,
  isStore: bool,
  set: usize,
  entry: u64,
): void {
  const caches = lane.caches!;
  const l1d = LINE_CACHE(caches, Cache.L1d);
  const key = KEY(pa);
  const flags = flagsOf(lane, va) | local;
  if (!entry) {
    ADD(block, Stat.CacheL1dDataMiss, 1);
    belowFirst(lane, caches, block, cpu, key, flags, Source.Data);
    insert(set, l1d.ways, key | flags);
  }
  if (isStore) own(lane, caches, block, cpu, key, flags);
}

/** Whether a row of `kind` that found `entry` in its first level, 0 being a miss, has changed all that it changes. */
// @ts-ignore: decorator
@inline
export function isDone(kind: u8, entry: u64): bool {
  // What an entry must not have, OWNED being turned round: for a store OWNED, for a fetch PREFETCHED.
  const unwanted = ((OWNED << (8 * STORE)) | (PREFETCHED << (8 * FETCH))) >> (<u64>kind * 8);
  return entry != 0 && !((entry ^ OWNED) & unwanted & 0xff);
}

/** The rest of a row's access that is not done. */
export function finishLine(lane: Lane, cpu: u32, kind: u8, pa: u64, va: u64, local: u64, set: usize, entry: u64): void {
  const block = lane.cpuBlocks + <usize>cpu * lane.cpuBlockBytes;
  if (kind == FETCH) fetchedLine(lane, block, cpu, pa, va, local, set, entry);
  else accessedLine(lane, block, cpu, pa, va, local, kind == STORE, set, entry);
}

/** A walk of a CPU reads the descriptor at `pa`, an address of the lane's own. */
export function walkLine(lane: Lane, block: usize, cpu: u32, pa: u64): void {
  const caches = lane.caches!;
  const key = KEY(pa);
  const flags = lane.tablePolicy == Policy.Local ? LOCAL : 0;
  if (!caches.walksAtL1d) {
    belowFirst(lane, caches, block, cpu, key, flags, Source.Walk);
    return;
  }
  readL1d(lane, caches, block, cpu, key, flags, Source.Walk);
}

/** A CPU loads line `line` of the memory that is its own and of its node. Counts are added to `block`. */
export function ownMemoryLine(lane: Lane, block: usize, cpu: u32, line: u64): void {
  const key = KEY(PRIVATE | ((<u64>cpu) << OWNER_SHIFT) | (line << LINE_SHIFT));
  readL1d(lane, lane.caches!, block, cpu, key, LOCAL, Source.Data);
}

/** A load that is no row: from L1d on. */
function readL1d(lane: Lane, caches: Caches, block: usize, cpu: u32, key: u64, flags: u64, source: Source): void {
  const l1d = LINE_CACHE(caches, Cache.L1d);
  const set = SET(caches, l1d, cpu, key);
  emptyData(caches, cpu, key);
  const hit = touch(set, l1d.setBytes, key) != 0;
  // Hits of data are derived from the rows (replay/replay.ts).
  if (hit && source == Source.Walk) ADD(block, Stat.CacheL1dWalkHit, 1);
  if (hit) return;
  ADD(block, source == Source.Walk ? Stat.CacheL1dWalkMiss : Stat.CacheL1dDataMiss, 1);
  belowFirst(lane, caches, block, cpu, key, flags, source);
  insert(set, l1d.ways, key | flags);
}

/** What an entry notes of the address whose access enters it. */
function flagsOf(lane: Lane, va: u64): u64 {
  const flags: u64 = IS_UPPER(lane, va) ? KERNEL : 0;
  return lane.textCount && isText(lane, va) ? flags | TEXT : flags;
}

/** Steps 2 to 5 for a line that the first level misses, or does not hold; enters it in L2 and LLC, counts, adds the latency. */
function belowFirst(lane: Lane, caches: Caches, block: usize, cpu: u32, key: u64, flags: u64, source: Source): void {
  const l2 = LINE_CACHE(caches, Cache.L2);
  if (!load<u8>(caches.isActive + cpu)) activate(caches, cpu);
  if (!l2.sets) {
    beyondL2(lane, caches, block, cpu, key, flags, source);
    return;
  }
  const set = SET(caches, l2, cpu, key);
  const hit = touch(set, l2.setBytes, key) != 0;
  count(block, hit ? Stat.CacheL2FetchHit : Stat.CacheL2FetchMiss, source);
  if (hit) {
    addCycles(block, source, caches.l2Cycles);
    return;
  }
  beyondL2(lane, caches, block, cpu, key, flags, source);
  insert(set, l2.ways, key | flags);
}

/** Steps 3 to 5. */
function beyondL2(lane: Lane, caches: Caches, block: usize, cpu: u32, key: u64, flags: u64, source: Source): void {
  const node = NODE_OF_CPU(lane, cpu);
  const owner = caches.activeCount > 1 ? disown(caches, cpu, key) : -1;
  const llc = llcOf(lane, caches, cpu, node, key | flags);
  const known = llc != NONE && touch(LLC_SET(caches, llc, key), LINE_CACHE(caches, Cache.Llc).setBytes, key) != 0;
  // The node whose memory, or whose CPU's cache, the line comes from where it is no LLC hit.
  let from: u32;
  let hit = known;
  if (owner >= 0) {
    from = NODE_OF_CPU(lane, owner);
    hit = llc != NONE && llcOf(lane, caches, owner, from, key | flags) == llc;
  } else from = known ? node : homeOf(lane, node, key | flags);

  if (hit) {
    count(block, Stat.CacheLlcFetchHit, source);
    addCycles(block, source, llcCycles(lane, caches, node, llc));
  } else {
    if (llc != NONE) count(block, Stat.CacheLlcFetchMiss, source);
    count(block, from == node ? Stat.CacheMemoryFetchLocal : Stat.CacheMemoryFetchRemote, source);
    addCycles(block, source, LATENCY(lane, node, from));
    if (source == Source.Prefetch && owner < 0) ADD(block, Stat.CachePrefetchMemory, 1);
  }
  if (llc != NONE && !known) enterLlc(lane, caches, block, llc, key | flags);
}

/** Counts a hit or miss, given the statistic of fetches. */
// @ts-ignore: decorator
@inline
function count(block: usize, stat: Stat, source: Source): void {
  if (source != Source.Prefetch) ADD(block, stat + 2 * source, 1);
}

// @ts-ignore: decorator
@inline
function addCycles(block: usize, source: Source, cycles: u32): void {
  if (source != Source.Prefetch) ADD(block, Stat.CyclesFetch + source, cycles);
}

/** From now on others look into this CPU's caches. */
function activate(caches: Caches, cpu: u32): void {
  store<u8>(caches.isActive + cpu, 1);
  store<u32>(caches.active + caches.activeCount++ * 4, cpu);
}

/** The LLC that a CPU of `node` uses for a line. */
function llcOf(lane: Lane, caches: Caches, cpu: u32, node: u32, key: u64): u32 {
  if (!LINE_CACHE(caches, Cache.Llc).sets) return NONE;
  return caches.remoteCacheable ? load<u32>(caches.clusterOf + cpu * 4) : homeOf(lane, node, key);
}

/** The latency of a hit in an LLC for a CPU of `node`. */
function llcCycles(lane: Lane, caches: Caches, node: u32, llc: u32): u32 {
  if (caches.remoteCacheable) return caches.llcCycles;
  const there = LATENCY(lane, node, llc);
  const here = LATENCY(lane, node, node);
  return caches.llcCycles + (there > here ? there - here : 0);
}

/** Enters a line (key and flags) in an LLC. */
function enterLlc(lane: Lane, caches: Caches, block: usize, llc: u32, entry: u64): void {
  const lost = insert(LLC_SET(caches, llc, entry), LINE_CACHE(caches, Cache.Llc).ways, entry);
  if (lost && caches.inclusive) backInvalidate(caches, block, llc, KEY(lost));
}

/** A line has left an inclusive LLC: it leaves the caches of its CPUs. */
function backInvalidate(caches: Caches, block: usize, llc: u32, key: u64): void {
  for (let i: u32 = 0; i < caches.activeCount; i++) {
    const cpu = ACTIVE(caches, i);
    if (load<u32>(caches.clusterOf + cpu * 4) == llc) {
      ADD(block, Stat.CacheLlcBack_Invalidated, removeFrom(caches, cpu, key));
    }
  }
}

/** Removes a line from the caches of one CPU; how many lost it. */
function removeFrom(caches: Caches, cpu: u32, key: u64): u32 {
  const l1i = LINE_CACHE(caches, Cache.L1i);
  const l1d = LINE_CACHE(caches, Cache.L1d);
  const l2 = LINE_CACHE(caches, Cache.L2);
  let lost: u32 = 0;
  if (remove(SET(caches, l1i, cpu, key), l1i.setBytes, key)) {
    emptyFetch(caches, cpu, key);
    lost++;
  }
  if (remove(SET(caches, l1d, cpu, key), l1d.setBytes, key)) {
    emptyData(caches, cpu, key);
    lost++;
  }
  if (l2.sets && remove(SET(caches, l2, cpu, key), l2.setBytes, key)) lost++;
  return lost;
}

/** Takes the ownership of a line from the CPU, other than `cpu`, that has it; the CPU's number, or -1. */
function disown(caches: Caches, cpu: u32, key: u64): i32 {
  const l1d = LINE_CACHE(caches, Cache.L1d);
  for (let i: u32 = 0; i < caches.activeCount; i++) {
    const other = ACTIVE(caches, i);
    if (other == cpu) continue;
    const at = find(SET(caches, l1d, other, key), l1d.setBytes, key);
    if (!at || !(load<u64>(at) & OWNED)) continue;
    store<u64>(at, load<u64>(at) & ~OWNED);
    emptyData(caches, other, key);
    return other;
  }
  return -1;
}

/** A store: the line, the most recent entry of its set in the CPU's L1d, becomes its own, and everybody else loses it. */
function own(lane: Lane, caches: Caches, block: usize, cpu: u32, key: u64, flags: u64): void {
  const set = SET(caches, LINE_CACHE(caches, Cache.L1d), cpu, key);
  store<u64>(set, load<u64>(set) | OWNED);
  const used = llcOf(lane, caches, cpu, NODE_OF_CPU(lane, cpu), key | flags);
  for (let llc: u32 = 0; llc < caches.llcCount; llc++) {
    if (llc == used) continue;
    const lost = remove(LLC_SET(caches, llc, key), LINE_CACHE(caches, Cache.Llc).setBytes, key);
    if (lost && caches.inclusive) backInvalidate(caches, block, llc, key);
  }
  for (let i: u32 = 0; i < caches.activeCount; i++) {
    const other = ACTIVE(caches, i);
    // What other LLCs lost has left their CPUs.
    const has = other != cpu && (!caches.hasAll || load<u32>(caches.clusterOf + other * 4) == used);
    if (has) removeFrom(caches, other, key);
  }
}

/** Prefetches the lines that follow one that was fetched. */
function prefetch(lane: Lane, caches: Caches, block: usize, cpu: u32, key: u64, flags: u64): void {
  const l1i = LINE_CACHE(caches, Cache.L1i);
  for (let n: u32 = 1; n <= caches.prefetchLines; n++) {
    const next = key + n * LINE_BYTES;
    if ((next ^ key) >> PREFETCH_SHIFT) return;
    const set = SET(caches, l1i, cpu, next);
    if (has(set, l1i.setBytes, next)) continue;
    belowFirst(lane, caches, block, cpu, next, flags, Source.Prefetch);
    insert(set, l1i.ways, next | flags | PREFETCHED);
    emptyFetch(caches, cpu, next);
    ADD(block, Stat.CachePrefetchLines, 1);
  }
}
