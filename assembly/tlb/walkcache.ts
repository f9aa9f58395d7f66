// Walk caches (paging-structure caches): one per height of table descriptor, fully associative, true LRU. An entry holds
// the address of the table that the cached descriptor points to.
//
//   entry: u64 tag (VA >> shift of the height) | u64 context | u64 next table's PA | u64 unused; the most recent first

import { Lane, MAX_DEPTH } from '../layout';
import { allocate } from '../memory/arena';
import { SHIFT_OF } from '../paging/map';

const ENTRY_BYTES: u32 = 32;

export function initWalkCaches(lane: Lane): void {
  lane.walkCacheEntries = allocate(MAX_DEPTH * 4);
  lane.walkCacheOffset = allocate(MAX_DEPTH * 4);
}

/** The number of entries of the cache for descriptors of `height`; 0: none. */
// @ts-ignore: decorator
@inline
export function WALK_CACHE_ENTRIES(lane: Lane, height: u32): u32 {
  return load<u32>(lane.walkCacheEntries + height * 4);
}

// @ts-ignore: decorator
@inline
function CACHE(lane: Lane, block: usize, height: u32): usize {
  return block + load<u32>(lane.walkCacheOffset + height * 4);
}

/** Lays the caches out from byte `offset` of a CPU's block; returns the offset behind them. */
export function planWalkCaches(lane: Lane, offset: u32): u32 {
  for (let height: u32 = 1; height < lane.depth; height++) {
    store<u32>(lane.walkCacheOffset + height * 4, offset);
    offset += WALK_CACHE_ENTRIES(lane, height) * ENTRY_BYTES;
  }
  return offset;
}

/** Empties the walk caches of one CPU. */
export function clearWalkCaches(lane: Lane, block: usize): void {
  for (let height: u32 = 1; height < lane.depth; height++) {
    memory.fill(CACHE(lane, block, height), 0xff, WALK_CACHE_ENTRIES(lane, height) * ENTRY_BYTES);
  }
}

/** The table that the cached descriptor of `height` for `va` points to, which becomes the most recent; NO_TABLE on a miss. */
export function lookupWalkCache(lane: Lane, block: usize, height: u32, va: u64, context: u64): u64 {
  const cache = CACHE(lane, block, height);
  const end = cache + WALK_CACHE_ENTRIES(lane, height) * ENTRY_BYTES;
  const tag = va >> SHIFT_OF(lane, height);
  for (let entry = cache; entry < end; entry += ENTRY_BYTES) {
    if (load<u64>(entry) != tag || load<u64>(entry, 8) != context) continue;
    const tablePa = load<u64>(entry, 16);
    putFirst(cache, entry, tag, context, tablePa);
    return tablePa;
  }
  return NO_TABLE;
}

export const NO_TABLE: u64 = u64.MAX_VALUE;

/** Caches the descriptor of `height` for `va`, which points to `tablePa`; it must not be cached yet. */
export function insertWalkCache(lane: Lane, block: usize, height: u32, va: u64, context: u64, tablePa: u64): void {
  const entries = WALK_CACHE_ENTRIES(lane, height);
  if (!entries) return;
  const cache = CACHE(lane, block, height);
  putFirst(cache, cache + (entries - 1) * ENTRY_BYTES, va >> SHIFT_OF(lane, height), context, tablePa);
}

/** Moves the entries before `entry` one place down, over it, and puts the given one first. */
function putFirst(cache: usize, entry: usize, tag: u64, context: u64, tablePa: u64): void {
  for (; entry > cache; entry -= ENTRY_BYTES) {
    v128.store(entry, v128.load(entry - ENTRY_BYTES));
    v128.store(entry, v128.load(entry - ENTRY_BYTES, 16), 16);
  }
  store<u64>(cache, tag);
  store<u64>(cache, context, 8);
  store<u64>(cache, tablePa, 16);
}
