// Copies of kernel text and read-only data: stretches of virtual addresses whose bytes every view has on its own node.
//
// A copy remembers what its bytes are as one token per 64-byte line that was ever written (0: as at boot), so that two copies can be
// compared without their bytes.

import { Lane } from '../layout';
import { allocate, withRoom } from '../memory/arena';

/** One stretch. */
@unmanaged
export class Copy {
  from: u64;
  /** The last address inside. */
  last: u64;
  /** The view whose bytes are the original. */
  home: u32;
  /** u64[views]: where each view has it. */
  frames: usize;
  /** It is in use: modules come and go. */
  live: bool;
  /** PatchedLine, the first; null: none. */
  lines: PatchedLine | null;
}

/** A line that was written since boot. */
@unmanaged
export class PatchedLine {
  next: PatchedLine | null;
  va: u64;
  /** u64[views] */
  tokens: usize;
}

// @ts-ignore: decorator
@inline
export function COPY(lane: Lane, i: u32): Copy {
  return changetype<Copy>(load<usize>(lane.copies + i * sizeof<usize>()));
}

/** A stretch of its own. */
export function addCopy(lane: Lane, from: u64, bytes: u64, home: u32): Copy {
  let i: u32 = 0;
  while (i < lane.copyCount && COPY(lane, i).live) i++;
  if (i == lane.copyCount) newCopy(lane);
  const copy = COPY(lane, i);
  copy.from = from;
  copy.last = from + bytes - 1;
  copy.home = home;
  copy.live = true;
  copy.lines = null;
  return copy;
}

/** A place behind the last; those before stay where they are. */
function newCopy(lane: Lane): void {
  const i = lane.copyCount++;
  lane.copies = withRoom(lane.copies, i, sizeof<usize>());
  const copy = changetype<Copy>(allocate(offsetof<Copy>(), 8));
  copy.frames = allocate(lane.views * 8);
  store<usize>(lane.copies + i * sizeof<usize>(), changetype<usize>(copy));
}

/** The stretch that holds `va`; null when its bytes are not replicated. */
export function copyAt(lane: Lane, va: u64): Copy | null {
  for (let i: u32 = 0; i < lane.copyCount; i++) {
    const copy = COPY(lane, i);
    if (copy.live && va >= copy.from && va <= copy.last) return copy;
  }
  return null;
}

/** Where a view has the bytes at `va` of a stretch. */
export function frameIn(copy: Copy, view: u32, va: u64): u64 {
  return load<u64>(copy.frames + view * 8) + (va - copy.from);
}

/** A view's copy of the line at `va` now has the content `token`. */
export function writeLine(lane: Lane, copy: Copy, view: u32, va: u64, token: u64): void {
  const address = va & ~63;
  let line = copy.lines;
  while (line && line.va != address) line = line.next;
  if (!line) {
    line = changetype<PatchedLine>(allocate(offsetof<PatchedLine>()));
    line.va = address;
    line.tokens = allocate(lane.views * 8);
    line.next = copy.lines;
    copy.lines = line;
  }
  store<u64>(line.tokens + view * 8, token);
}

/** The first view whose bytes differ from view 0's, plus one; 0 when all agree. */
export function divergentView(lane: Lane, copy: Copy): u32 {
  let line = copy.lines;
  while (line) {
    for (let view: u32 = 1; view < lane.views; view++) {
      if (load<u64>(line.tokens + view * 8) != load<u64>(line.tokens)) return view + 1;
    }
    line = line.next;
  }
  return 0;
}
