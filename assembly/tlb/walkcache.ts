// Walk caches (paging-structure caches): fully associative, true LRU, one per height of table descriptor and stage, and the cache
// of stage-2 pages (IPA to PA). An entry of the former holds where the table is that the cached descriptor points to.
//
//   entry: u64 tag (address >> shift of the cache) | u64 context | u64 next table, or frame | u64 unused
//   the most recent first; an empty one is all ones

import { Lane, MAX_DEPTH, WalkCache } from '../layout';
import { allocate } from '../memory/arena';

const ENTRY_BYTES: u32 = 32;
export const CACHE_ENTRY_BYTES: u32 = ENTRY_BYTES;

/** The number of the cache for stage-1 table descriptors of height 1; those of greater heights follow. */
export const STAGE1_CACHES: u32 = 0;
/** The IPA cache. */
export const IPA_CACHE: u32 = MAX_DEPTH - 1;
/** The number of the cache for stage-2 table descriptors of height 1; those of greater heights follow. */
export const STAGE2_CACHES: u32 = MAX_DEPTH;
export const CACHES: u32 = 2 * MAX_DEPTH - 1;

export function initWalkCaches(lane: Lane): void {
  lane.walkCaches = allocate(CACHES * offsetof<WalkCache>());
}

// @ts-ignore: decorator
@inline
export function CACHE(lane: Lane, number: u32): WalkCache {
  return changetype<WalkCache>(lane.walkCaches + number * offsetof<WalkCache>());
}

/** Lays the caches out from byte `offset` of a CPU's block; returns the offset behind them. */
export function planWalkCaches(lane: Lane, offset: u32): u32 {
  for (let number: u32 = 0; number < CACHES; number++) {
    const cache = CACHE(lane, number);
    cache.offset = offset;
    offset += cache.entries * ENTRY_BYTES;
  }
  return offset;
}

/** Empties the walk caches of one CPU. */
export function clearWalkCaches(lane: Lane, block: usize): void {
  for (let number: u32 = 0; number < CACHES; number++) {
    const cache = CACHE(lane, number);
    memory.fill(block + cache.offset, 0xff, cache.entries * ENTRY_BYTES);
  }
}

/** The entry for `address`, which becomes the most recent; 0 on a miss. */
export function lookupCache(cache: WalkCache, block: usize, address: u64, context: u64): usize {
  const first = block + cache.offset;
  const end = first + cache.entries * ENTRY_BYTES;
  const tag = address >> cache.shift;
  for (let entry = first; entry < end; entry += ENTRY_BYTES) {
    if (load<u64>(entry) != tag || load<u64>(entry, 8) != context) continue;
    putFirst(first, entry, tag, context, load<u64>(entry, 16));
    return first;
  }
  return 0;
}

/** The next table, or the frame, of an entry, as an address of its own stage. */
// @ts-ignore: decorator
@inline
export function NEXT(entry: usize): u64 {
  return load<u64>(entry, 16);
}

/** Caches what the descriptor for `address` points to; it must not be cached yet. */
export function insertCache(cache: WalkCache, block: usize, address: u64, context: u64, next: u64): void {
  if (!cache.entries) return;
  const first = block + cache.offset;
  putFirst(first, first + (cache.entries - 1) * ENTRY_BYTES, address >> cache.shift, context, next);
}

/** Moves the entries before `entry` one place down, over it, and puts the given one first. */
function putFirst(first: usize, entry: usize, tag: u64, context: u64, next: u64): void {
  for (; entry > first; entry -= ENTRY_BYTES) {
    v128.store(entry, v128.load(entry - ENTRY_BYTES));
    v128.store(entry, v128.load(entry - ENTRY_BYTES, 16), 16);
  }
  store<u64>(first, tag);
  store<u64>(first, context, 8);
  store<u64>(first, next, 16);
}

/** Removes the entries for addresses in [from, last] whose context agrees with the given one in the bits of `mask`. */
export function removeFromCache(cache: WalkCache, block: usize, from: u64, last: u64, context: u64, mask: u64): void {
  const begin = block + cache.offset;
  const end = begin + cache.entries * ENTRY_BYTES;
  let to = begin;
  for (let entry = begin; entry < end; entry += ENTRY_BYTES) {
    const first = load<u64>(entry) << cache.shift;
    const covered = first <= last && first + (((<u64>1) << cache.shift) - 1) >= from;
    const known = load<u64>(entry, 8);
    if (covered && !((known ^ context) & mask) && ~known) continue;
    if (to != entry) memory.copy(to, entry, ENTRY_BYTES);
    to += ENTRY_BYTES;
  }
  memory.fill(to, 0xff, end - to);
}
