// The `data_src` of a perf sample (include/uapi/linux/perf_event.h, union perf_mem_data_src): what kind of access it was
// and what served it, in fields of bits.
//   4..0 operation | 18..5 level | 23..19 snoop | 25..24 lock | 32..26 TLB | 36..33 level number | 37 remote | ...

import { FETCH, LOAD, STORE } from '../../batch.js';
import { type Tally } from './tally.js';

const OP_LOAD = 2;
const OP_STORE = 4;
const OP_PREFETCH = 8;
const OP_EXEC = 16;
/** Other node's RAM, one or two hops away, and other caches, as bits 11..8 of the level. */
const LEVEL_REMOTE = 0xf00;
const LEVEL_HIT = 2;
const LEVEL_MISS = 4;
const LEVEL_L1 = 8;
const LEVEL_L3 = 0x40;
const TLB_HIT = 2;
const TLB_MISS = 4;
const REMOTE = 1 << 5;

/** The kind of row; null where the sample does not say. */
export function kindOf(dataSrc: bigint): number | null {
  const operation = Number(dataSrc & 0x1fn);
  if ((operation & OP_STORE) !== 0) return STORE;
  if ((operation & (OP_LOAD | OP_PREFETCH)) !== 0) return LOAD;
  return (operation & OP_EXEC) !== 0 ? FETCH : null;
}

/** Counts what served an access. */
export function tallyDataSrc(dataSrc: bigint, { counts }: Tally): void {
  const level = Number((dataSrc >> 5n) & 0x3fffn);
  const tlb = Number((dataSrc >> 26n) & 0x7fn);
  const above = Number((dataSrc >> 32n) & 0xffn);
  // A look-up that missed every TLB: the walk is what answered it, whoever did it.
  if ((tlb & (TLB_HIT | TLB_MISS)) !== 0) counts.tlbAccess++;
  if ((tlb & TLB_MISS) !== 0) counts.tlbWalk++;
  if ((above & REMOTE) !== 0 || (level & LEVEL_REMOTE) !== 0) counts.remoteAccess++;
  if ((level & (LEVEL_HIT | LEVEL_MISS)) === 0) return;
  if ((level & LEVEL_L1) !== 0) {
    counts.l1dAccess++;
    if ((level & LEVEL_MISS) !== 0) counts.l1dRefill++;
  }
  if ((level & LEVEL_L3) !== 0) {
    counts.llcAccess++;
    if ((level & LEVEL_MISS) !== 0) counts.llcMiss++;
  }
}
