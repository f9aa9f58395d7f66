// What a filter promises itself about the first-level caches: per CPU and kind of row, direct-mapped by bits of the page offset, the line
// whose access would change nothing (replay/lines.ts). Whoever changes a set of a first-level cache in another way than by the CPU's own row
// empties the slots that go with it, which is always safe.

import { Caches, FETCH, LOAD, STORE } from '../layout';

/** The most slots of a kind: as many as a page of 4 KiB has lines. */
export const LINE_SLOTS: u32 = 64;
/** Bytes of one kind's slots. */
export const KIND_BYTES: u32 = LINE_SLOTS * 8;
/** Bytes of a CPU's slots: fetch, load, store. */
export const CPU_SLOT_BYTES: u32 = 3 * KIND_BYTES;

/** No address has it in a slot: lines are noted with the bits below their number set. */
export const NO_LINE: u64 = 0;

/** Empties the slot of a CPU's fetches for the line at `key`, or at any address with the same page offset. */
// @ts-ignore: decorator
@inline
export function emptyFetch(caches: Caches, cpu: u32, key: u64): void {
  store<u64>(SLOT(caches, cpu, key) + FETCH * KIND_BYTES, NO_LINE);
}

/** Empties the slots of a CPU's loads and stores for the line at `key`. */
// @ts-ignore: decorator
@inline
export function emptyData(caches: Caches, cpu: u32, key: u64): void {
  const slot = SLOT(caches, cpu, key);
  store<u64>(slot + LOAD * KIND_BYTES, NO_LINE);
  store<u64>(slot + STORE * KIND_BYTES, NO_LINE);
}

// @ts-ignore: decorator
@inline
function SLOT(caches: Caches, cpu: u32, key: u64): usize {
  return caches.slots + <usize>cpu * caches.slotStride + ((<u32>(key >> 3)) & caches.slotMask);
}
