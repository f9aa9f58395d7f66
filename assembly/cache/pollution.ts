// Pollution: a CPU reads memory of its own between two passes (docs/caches.md, Cold, hot, repeated).

import { Lane } from '../layout';
import { allocate } from '../memory/arena';
import { Stat } from '../stats';
import { ownMemoryLine } from './hierarchy';

const LINE_BYTES: u64 = 64;

/** Counters that nobody reads. */
const uncounted = allocate(Stat.Count * 8);

/** Reads the first `bytes` of a CPU's own memory, line by line. */
export function readOwnMemory(lane: Lane, cpu: u32, bytes: u64): void {
  for (let line: u64 = 0; line * LINE_BYTES < bytes; line++) ownMemoryLine(lane, uncounted, cpu, line);
}
