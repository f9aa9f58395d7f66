// What TLB entries were built from, kept beside the TLBs where invariants are checked: for every entry that a walk of a CPU made, the physical
// address and the rights that the tables gave then. What is known of an entry holds until the second check after it: a check that finds
// the entry in a TLB renews it, so that nothing is held against an entry that was made anew. An open-addressing hash table that
// doubles when it is half full.

import { Lane, Level } from '../layout';
import { allocate } from '../memory/arena';
import { isExecutable } from '../paging/descriptor';
import { findPage } from '../paging/map';
import { VIEW_OF } from '../paging/views';
import { LEVEL, PROBE } from './hierarchy';

/** One translation. */
@unmanaged
export class Shadow {
  /** VA >> shift of the entry. */
  tag: u64;
  /** Context and shift, as in the entry. */
  meta: u64;
  /** The CPU plus one; 0: free. */
  cpu: u32;
  writable: bool;
  executable: bool;
  /** The number of checks before which it was noted or renewed. */
  epoch: u32;
  /** Physical address of the entry's first byte. */
  pa: u64;
}

/** The table of a lane. */
@unmanaged
export class Shadows {
  entries: usize;
  mask: u32;
  used: u32;
  /** Checks so far. */
  epoch: u32;
}

const BYTES: u32 = <u32>offsetof<Shadow>();
const FIRST: u32 = 1024;

export function newShadows(): Shadows {
  const shadows = changetype<Shadows>(allocate(offsetof<Shadows>()));
  shadows.entries = allocate(FIRST * BYTES);
  shadows.mask = FIRST - 1;
  return shadows;
}

/** Notes what a walk of `cpu` for `va` gave, for every entry that the levels may make of it. */
export function noteTranslation(lane: Lane, cpu: u32, va: u64, context: u64, pa: u64, size: u32, writable: bool): void {
  const shadows = changetype<Shadows>(lane.shadows);
  const page = findPage(lane, context, va, VIEW_OF(lane, load<u32>(lane.cpuNode + cpu * 4), va));
  const executable = page != null && isExecutable(lane.stage1, load<u64>(page.leaf));
  for (let i = 0; i < Level.Count; i++) {
    const level = LEVEL(lane, i);
    if (!level.arrayCount) continue;
    const probe = load<i32>(level.entryOf + size * 4);
    if (probe < 0) continue;
    const shift = PROBE(level, probe).entryShift;
    const entry = place(shadows, cpu, va >> shift, context | shift);
    entry.pa = pa & ~(((<u64>1) << shift) - 1);
    entry.writable = writable;
    entry.executable = executable;
    entry.epoch = shadows.epoch;
  }
}

/** What is known of an entry; null when no walk made it. */
export function shadowOf(lane: Lane, cpu: u32, tag: u64, meta: u64): Shadow | null {
  const shadows = changetype<Shadows>(lane.shadows);
  const entry = slot(shadows.entries, shadows.mask, cpu, tag, meta);
  return entry.cpu && entry.epoch == shadows.epoch ? entry : null;
}

/** The entry is in a TLB and right: what is known of it holds for the next check too. */
export function renew(shadow: Shadow): void {
  shadow.epoch++;
}

/** Ends a check. */
export function endCheck(lane: Lane): void {
  changetype<Shadows>(lane.shadows).epoch++;
}

function place(shadows: Shadows, cpu: u32, tag: u64, meta: u64): Shadow {
  let entry = slot(shadows.entries, shadows.mask, cpu, tag, meta);
  if (entry.cpu) return entry;
  if (++shadows.used * 2 > shadows.mask) {
    grow(shadows);
    entry = slot(shadows.entries, shadows.mask, cpu, tag, meta);
  }
  entry.cpu = cpu + 1;
  entry.tag = tag;
  entry.meta = meta;
  return entry;
}

function slot(entries: usize, mask: u32, cpu: u32, tag: u64, meta: u64): Shadow {
  let i = (<u32>(((tag ^ meta ^ ((<u64>cpu) << 48)) * 0x9e37_79b9_7f4a_7c15) >> 32)) & mask;
  while (true) {
    const entry = changetype<Shadow>(entries + i * BYTES);
    if (!entry.cpu || (entry.cpu == cpu + 1 && entry.tag == tag && entry.meta == meta)) return entry;
    i = (i + 1) & mask;
  }
}

function grow(shadows: Shadows): void {
  const old = shadows.entries;
  const oldMask = shadows.mask;
  shadows.mask = oldMask * 2 + 1;
  shadows.entries = allocate((shadows.mask + 1) * BYTES);
  for (let i: u32 = 0; i <= oldMask; i++) {
    const from = changetype<Shadow>(old + i * BYTES);
    if (!from.cpu) continue;
    const to = slot(shadows.entries, shadows.mask, from.cpu - 1, from.tag, from.meta);
    memory.copy(changetype<usize>(to), changetype<usize>(from), BYTES);
  }
}
