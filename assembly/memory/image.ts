// The memory of a table image: pages at arbitrary physical addresses, found by their 4 KiB frame number. Pages larger than 4 KiB are entered
// once per 4 KiB.

import { allocate } from './arena';
import { addWord, findWord, newPageMap } from './pagemap';

const FRAME_SHIFT: u32 = 12;

/** Where the bytes of each frame lie in Wasm memory. */
const frames = newPageMap();

/** Memory for `bytes` (a multiple of 4 KiB) at physical address `pa`, zeroed; the host fills it. */
export function addTablePage(pa: u64, bytes: u32): usize {
  const at = allocate(bytes);
  for (let offset: u32 = 0; offset < bytes; offset += 1 << FRAME_SHIFT) {
    const known = findWord(frames, (pa + offset) >> FRAME_SHIFT, 0);
    if (known) store<u64>(known, at + offset);
    else addWord(frames, (pa + offset) >> FRAME_SHIFT, 0, at + offset);
  }
  return at;
}

/** Makes a page of the image zero; one that the image does not hold is added. */
export function clearImagePage(pa: u64, bytes: u32): void {
  for (let offset: u32 = 0; offset < bytes; offset += 1 << FRAME_SHIFT) {
    const at = imageAt(pa + offset);
    if (at) memory.fill(at, 0, 1 << FRAME_SHIFT);
    else addTablePage(pa + offset, 1 << FRAME_SHIFT);
  }
}

/** Stores a descriptor in the image; its page is added where the image does not hold it. */
export function storeInImage(pa: u64, value: u64): void {
  if (!imageAt(pa)) addTablePage((pa >> FRAME_SHIFT) << FRAME_SHIFT, 1 << FRAME_SHIFT);
  store<u64>(imageAt(pa), value);
}

/** The descriptor at `pa` of the image; 0 where it holds none. */
export function loadFromImage(pa: u64): u64 {
  const at = imageAt(pa);
  return at ? load<u64>(at) : 0;
}

/** Where the 8 bytes at `pa` (aligned down) lie in Wasm memory; 0 when the image does not hold them. */
export function imageAt(pa: u64): usize {
  const known = findWord(frames, pa >> FRAME_SHIFT, 0);
  return known ? <usize>load<u64>(known) + <usize>(pa & ((1 << FRAME_SHIFT) - 8)) : 0;
}
