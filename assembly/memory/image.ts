// The memory of a table image: pages at arbitrary physical addresses, found by hashing their 4 KiB frame number.
//
// An open-addressing table that doubles when it is half full. Pages larger than 4 KiB are entered once per 4 KiB.

import { allocate } from './arena';


@unmanaged
class Frame {
  /** Frame number plus one; 0: free. */
  key: u64;
  /** Where its bytes lie in Wasm memory. */
  at: usize;
}

const FRAME_SHIFT: u32 = 12;
const FRAME_BYTES: u32 = <u32>offsetof<Frame>();

let frames: usize = 0;
let mask: u32 = 0;
let used: u32 = 0;

/** Memory for `bytes` (a multiple of 4 KiB) at physical address `pa`, zeroed; the host fills it. */
export function addTablePage(pa: u64, bytes: u32): usize {
  const at = allocate(bytes);
  for (let offset: u32 = 0; offset < bytes; offset += 1 << FRAME_SHIFT) {
    if (!frames || ++used * 2 > mask) grow();
    const frame = slot(frames, mask, ((pa + offset) >> FRAME_SHIFT) + 1);
    frame.key = ((pa + offset) >> FRAME_SHIFT) + 1;
    frame.at = at + offset;
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
  if (!frames) return 0;
  const frame = slot(frames, mask, (pa >> FRAME_SHIFT) + 1);
  return frame.key ? frame.at + <usize>(pa & ((1 << FRAME_SHIFT) - 8)) : 0;
}

function slot(table: usize, tableMask: u32, key: u64): Frame {
  let i = (<u32>((key * 0x9e37_79b9_7f4a_7c15) >> 32)) & tableMask;
  while (true) {
    const frame = changetype<Frame>(table + i * FRAME_BYTES);
    if (!frame.key || frame.key == key) return frame;
    i = (i + 1) & tableMask;
  }
}

function grow(): void {
  const old = frames;
  const oldMask = mask;
  mask = frames ? mask * 2 + 1 : 255;
  frames = allocate((mask + 1) * FRAME_BYTES);
  if (!old) return;
  for (let i: u32 = 0; i <= oldMask; i++) {
    const from = old + i * FRAME_BYTES;
    const frame = changetype<Frame>(from);
    if (frame.key) memory.copy(changetype<usize>(slot(frames, mask, frame.key)), from, FRAME_BYTES);
  }
}
