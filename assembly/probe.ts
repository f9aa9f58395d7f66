// Reading a lane's state from outside: nothing here counts or changes anything.

import { CONTEXT, Lane, NODE_OF_CPU, PA_UNKNOWN } from './layout';
import { DESCRIPTOR } from './memory/tables';
import { addressOf, isLeaf, isPresent } from './paging/descriptor';
import { behindHost } from './paging/hosttree';
import { findPage, SIZE, TABLES } from './paging/map';
import { rootSlot } from './paging/space';
import { ENTRY_AT, SHIFT_AT } from './paging/stage';
import { stage2Address, vmOf } from './paging/vm';
import { VIEW_OF } from './paging/views';

/** Table bytes that live on a node. */
export function tableBytesOf(lane: Lane, node: u32): u64 {
  return load<u64>(lane.tableBytes + node * 8);
}

/**
 * Writes the stage-1 descriptors that a walk for `va` reads, root first, to `out`: u64 pairs (descriptor's physical address, value).
 * Returns their number, negative when the last one is not present; 0 when there is no root.
 */
export function probe(lane: Lane, va: u64, mode: u8, asid: u32, vmNumber: u16, out: usize, view: u32): i32 {
  const context = CONTEXT(mode, asid, vmNumber);
  const root = load<u64>(rootSlot(lane, context, va, view));
  if (!root) return 0;
  const stage = lane.stage1;
  const vm = vmOf(lane, context);
  let table = root - 1;
  let steps = 0;
  for (let height = <i32>stage.depth - 1; height >= 0; height--) {
    const at = ENTRY_AT(stage, table, va, height);
    const entry = load<u64>(DESCRIPTOR(TABLES(lane, vm), at));
    store<u64>(out + steps * 16, vm ? stage2Address(lane, vm, at) : at);
    store<u64>(out + steps * 16, entry, 8);
    steps++;
    if (!isPresent(stage, entry, height)) return -steps;
    if (isLeaf(stage, entry, height)) break;
    table = addressOf(stage, entry, height);
  }
  return steps;
}

/** The physical address behind `va` for a CPU of a lane without virtual machines; all ones where there is none. */
export function physicalAddress(lane: Lane, cpu: u32, va: u64, mode: u8, asid: u32): u64 {
  const context = CONTEXT(mode, asid, 0);
  const page = findPage(lane, context, va, VIEW_OF(lane, NODE_OF_CPU(lane, cpu), va));
  if (!page) return PA_UNKNOWN;
  const height = SIZE(lane, page.size).height;
  const inside = ((<u64>1) << SHIFT_AT(lane.stage1, height)) - 1;
  const pa = addressOf(lane.stage1, load<u64>(page.leaf), height) | (va & inside);
  return behindHost(lane, cpu, context, va, pa, false);
}
