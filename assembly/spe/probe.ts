// Streams for the host: what the unit of a CPU has written, and what the guest there has read, since they were cleared last.

import { Lane } from '../layout';
import { SPE, SPE_CPU, Stream } from './records';

function streamOf(lane: Lane, cpu: u32, read: bool): Stream {
  const own = SPE_CPU(SPE(lane), cpu);
  return read ? own.read : own.emitted;
}

/** Where the bytes of a stream lie; valid until the next row or event. */
export function speStream(lane: Lane, cpu: u32, read: bool): usize {
  return streamOf(lane, cpu, read).bytes;
}

export function speStreamBytes(lane: Lane, cpu: u32, read: bool): u32 {
  return streamOf(lane, cpu, read).length;
}

export function clearSpeStream(lane: Lane, cpu: u32): void {
  streamOf(lane, cpu, false).length = 0;
  streamOf(lane, cpu, true).length = 0;
}
