// A TLB level: one or more arrays, each for some page sizes (docs/models.md, TLB level).

import { Lane, Level, MAX_ARRAYS, MAX_SIZES, Probe, TlbArray, TlbLevel } from '../layout';
import { allocate } from '../memory/arena';
import { SIZE } from '../paging/map';
import { clear, ENTRY_BYTES, insert, lookup, remove, touch } from './set';

// @ts-ignore: decorator
@inline
export function LEVEL(lane: Lane, level: Level): TlbLevel {
  return changetype<TlbLevel>(lane.levels + level * offsetof<TlbLevel>());
}

// @ts-ignore: decorator
@inline
export function ARRAY(level: TlbLevel, i: u32): TlbArray {
  return changetype<TlbArray>(level.arrays + i * offsetof<TlbArray>());
}

// @ts-ignore: decorator
@inline
export function PROBE(level: TlbLevel, i: u32): Probe {
  return changetype<Probe>(level.probes + i * offsetof<Probe>());
}

/** The set of `array` that `va` belongs to, in the CPU's block. */
// @ts-ignore: decorator
@inline
function SET(array: TlbArray, block: usize, va: u64): usize {
  const vpn = va >> array.indexShift;
  const sets = <u64>array.sets;
  const index = sets & (sets - 1) ? vpn % sets : vpn & (sets - 1);
  return block + array.offset + <usize>index * (array.ways * ENTRY_BYTES);
}

/** Allocates a lane's levels, all of them absent. */
export function initLevels(lane: Lane): void {
  lane.levels = allocate(Level.Count * offsetof<TlbLevel>());
  for (let i = 0; i < Level.Count; i++) {
    const level = LEVEL(lane, i);
    level.arrays = allocate(MAX_ARRAYS * offsetof<TlbArray>());
    level.probes = allocate(MAX_SIZES * offsetof<Probe>());
    level.entryOf = allocate(MAX_SIZES * 4);
    level.sizeOf = allocate(MAX_SIZES * 4);
  }
}

/** Adds an array to a level. */
export function addArray(lane: Lane, level: Level, sets: u32, ways: u32, sizes: u32): void {
  const l = LEVEL(lane, level);
  const array = ARRAY(l, l.arrayCount++);
  array.sets = sets;
  array.ways = ways;
  array.sizes = sizes;
  array.indexShift = SIZE(lane, ctz(sizes)).shift;
}

/**
 * Lays the level's arrays out from byte `offset` of a CPU's block and plans its look-ups; returns the offset behind them.
 * Only the page sizes that the lane's policy can produce are looked for: entries of other sizes never exist.
 */
export function planLevel(lane: Lane, level: TlbLevel, offset: u32): u32 {
  for (let i: u32 = 0; i < level.arrayCount; i++) {
    const array = ARRAY(level, i);
    array.offset = offset;
    offset += array.sets * array.ways * ENTRY_BYTES;
  }
  for (let size: u32 = 0; size < MAX_SIZES; size++) {
    const used = (lane.usedSizes >> size) & 1;
    const before = level.probeCount;
    const probe = used ? entryProbe(lane, level, size) : -1;
    store<i32>(level.entryOf + size * 4, probe);
    if (probe >= 0) store<i32>(level.sizeOf + probe * 4, level.probeCount > before ? <i32>size : -1);
  }
  level.simple = level.probeCount == 1 && !missesAlways(lane, level);
  return offset;
}

/** The number of the probe that finds a page of the given size; -1 when the level has no place for it. */
function entryProbe(lane: Lane, level: TlbLevel, size: u32): i32 {
  // A piece of the base page goes where the base page goes, and is no larger there.
  if (SIZE(lane, size).shift < SIZE(lane, 0).shift) {
    const array = arrayFor(level, 0);
    return array ? probeFor(level, array, SIZE(lane, size).shift) : -1;
  }
  for (let s = <i32>size; s >= 0; s--) {
    const array = arrayFor(level, s);
    if (array) return probeFor(level, array, SIZE(lane, s).shift);
  }
  return -1;
}

/** The array of a level that takes pages of a size. */
function arrayFor(level: TlbLevel, size: u32): TlbArray | null {
  for (let i: u32 = 0; i < level.arrayCount; i++) {
    const array = ARRAY(level, i);
    if ((array.sizes >> size) & 1) return array;
  }
  return null;
}

/** The number of the probe of an array for entries of 2^entryShift bytes, planned when it is new. */
function probeFor(level: TlbLevel, array: TlbArray, entryShift: u32): i32 {
  for (let p: u32 = 0; p < level.probeCount; p++) if (PROBE(level, p).entryShift == entryShift) return p;
  const probe = PROBE(level, level.probeCount);
  probe.array = array;
  probe.entryShift = entryShift;
  return level.probeCount++;
}

/** Whether pages of some size have no place in the level, so that every access to them is a miss. */
export function missesAlways(lane: Lane, level: TlbLevel): bool {
  for (let size: u32 = 0; size < MAX_SIZES; size++) {
    if ((lane.usedSizes >> size) & 1 && load<i32>(level.entryOf + size * 4) < 0) return true;
  }
  return false;
}

/** Empties a level of one CPU. */
export function clearLevel(level: TlbLevel, block: usize): void {
  for (let i: u32 = 0; i < level.arrayCount; i++) {
    const array = ARRAY(level, i);
    clear(block + array.offset, array.sets * array.ways);
  }
}

/** One look-up: every array, for every size that it may hold. The number of the probe that hit, or -1. */
// @ts-ignore: decorator
@inline
export function lookupLevel(level: TlbLevel, block: usize, va: u64, context: u64): i32 {
  const count = level.probeCount;
  for (let p: u32 = 0; p < count; p++) {
    const probe = PROBE(level, p);
    const array = probe.array;
    const shift = probe.entryShift;
    if (lookup(SET(array, block, va), array.ways, va >> shift, context | shift)) return p;
  }
  return -1;
}

/** Sets with more ways are searched from the front instead of as a whole. */
const WIDE: u32 = 16;

/** Look-up and insertion in one, for the probe of a simple level: true when the entry was there. */
// @ts-ignore: decorator
@inline
export function touchLevel(probe: Probe, block: usize, va: u64, context: u64): bool {
  const array = probe.array;
  const shift = probe.entryShift;
  const set = SET(array, block, va);
  const ways = array.ways;
  if (ways <= WIDE) return touch(set, ways, va >> shift, context | shift);
  if (lookup(set, ways, va >> shift, context | shift)) return true;
  insert(set, ways, va >> shift, context | shift);
  return false;
}

/** Enters the page of the given size that holds `va`. */
export function insertLevel(level: TlbLevel, block: usize, va: u64, context: u64, size: u32): void {
  const p = load<i32>(level.entryOf + size * 4);
  if (p < 0) return;
  const probe = PROBE(level, p);
  const array = probe.array;
  const shift = probe.entryShift;
  insert(SET(array, block, va), array.ways, va >> shift, context | shift);
}

/** Removes every entry of the page of base size that holds `va` from every TLB of one CPU. */
export function invalidatePage(lane: Lane, block: usize, va: u64, context: u64): void {
  for (let i = 0; i < Level.Count; i++) {
    const level = LEVEL(lane, i);
    for (let p: u32 = 0; p < level.probeCount; p++) {
      const probe = PROBE(level, p);
      const shift = probe.entryShift;
      remove(SET(probe.array, block, va), probe.array.ways, va >> shift, context | shift);
    }
  }
}
