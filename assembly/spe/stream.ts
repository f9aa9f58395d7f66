// Bytes of records: what the unit has emitted and the guest has not been shown yet, beside which the guest's buffer is compared (F-I1), and streams
// for the host.

import { allocate } from '../memory/arena';
import { Stream, Vcpu } from './records';

/** A block of twice the room, or of what is needed, with what the old one held. */
function wider(bytes: usize, used: u32, room: u32): usize {
  const block = allocate(room);
  memory.copy(block, bytes, used);
  return block;
}

const FIRST_ROOM: u32 = 4096;

export function append(stream: Stream, bytes: usize, count: u32): void {
  if (stream.length + count > stream.room) {
    stream.room = max(max(stream.room * 2, FIRST_ROOM), stream.length + count);
    stream.bytes = wider(stream.bytes, stream.length, stream.room);
  }
  memory.copy(stream.bytes + stream.length, bytes, count);
  stream.length += count;
}

/** A record is emitted. */
export function shadowAppend(v: Vcpu, bytes: usize, count: u32): void {
  if (v.shadowTo + count > v.shadowRoom) {
    v.shadowRoom = max(v.shadowRoom * 2, FIRST_ROOM);
    v.shadow = wider(v.shadow, v.shadowTo, v.shadowRoom);
  }
  memory.copy(v.shadow + v.shadowTo, bytes, count);
  v.shadowTo += count;
}

/** The last bytes that were emitted are reported as lost. */
export function shadowDrop(v: Vcpu, count: u32): void {
  v.shadowTo -= min(count, v.shadowTo - v.shadowFrom);
}

/** Whether `count` bytes are what was emitted next; they are done with. */
export function shadowTake(v: Vcpu, bytes: usize, count: u32): bool {
  if (v.shadowTo - v.shadowFrom < count) return false;
  const same = memory.compare(v.shadow + v.shadowFrom, bytes, count) == 0;
  v.shadowFrom += count;
  return same;
}

/** The next bytes are in a page that the guest has unmapped: nobody looks. */
export function shadowSkip(v: Vcpu, count: u32): void {
  v.shadowFrom += min(count, v.shadowTo - v.shadowFrom);
}

/** Nothing more is expected; whether something was. */
export function shadowClear(v: Vcpu): bool {
  const gap = v.shadowTo != v.shadowFrom;
  v.shadowFrom = 0;
  v.shadowTo = 0;
  return gap;
}
