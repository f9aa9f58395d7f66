// Which virtual addresses are text: the named regions of kernel text and read-only data.

import { Lane, Policy, TextRange, Vm } from '../layout';
import { allocate } from '../memory/arena';

/** Ranges that there is room for at first. */
const FIRST_RANGES: u32 = 8;

/** Adds the addresses [from, last]. */
export function addText(lane: Lane, from: u64, last: u64): void {
  if (lane.textCount == lane.textRoom) {
    const old = lane.texts;
    lane.textRoom = lane.textRoom ? lane.textRoom * 2 : FIRST_RANGES;
    lane.texts = allocate(lane.textRoom * offsetof<TextRange>());
    memory.copy(lane.texts, old, lane.textCount * offsetof<TextRange>());
  }
  const range = changetype<TextRange>(lane.texts + lane.textCount++ * offsetof<TextRange>());
  range.from = from;
  range.last = last;
}

export function isText(lane: Lane, va: u64): bool {
  for (let i: u32 = 0; i < lane.textCount; i++) {
    const range = changetype<TextRange>(lane.texts + i * offsetof<TextRange>());
    if (range.from <= va && va <= range.last) return true;
  }
  return false;
}

/** Whether the frame of the page at `va` goes where text goes; a guest's frames are placed by its intermediate addresses. */
export function hasTextHome(lane: Lane, vm: Vm | null, va: u64): bool {
  return lane.textPlaced && !vm && isText(lane, va);
}
