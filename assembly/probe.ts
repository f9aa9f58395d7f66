// Reading a lane's state from outside: nothing here counts or changes anything.

import { CONTEXT, Lane } from './layout';
import { DESCRIPTOR } from './memory/tables';
import { ADDRESS, IS_LEAF, PRESENT } from './paging/descriptor';
import { ENTRY_PA } from './paging/map';
import { rootSlot } from './paging/space';

/** Table bytes that live on a node. */
export function tableBytesOf(lane: Lane, node: u32): u64 {
  return load<u64>(lane.tableBytes + node * 8);
}

/**
 * Writes the descriptors that a walk for `va` reads, root first, to `out`: u64 pairs (descriptor's physical address, value).
 * Returns their number, negative when the last one is not present; 0 when there is no root.
 */
export function probe(lane: Lane, va: u64, mode: u8, asid: u32, vm: u16, out: usize): i32 {
  const root = load<u64>(rootSlot(lane, CONTEXT(mode, asid, vm), va));
  if (!root) return 0;
  let tablePa = root - 1;
  let steps = 0;
  for (let height = <i32>lane.depth - 1; height >= 0; height--) {
    const pa = ENTRY_PA(lane, tablePa, va, height);
    const entry = load<u64>(DESCRIPTOR(lane, pa));
    store<u64>(out + steps * 16, pa);
    store<u64>(out + steps * 16, entry, 8);
    steps++;
    if (!PRESENT(lane.arch, entry)) return -steps;
    if (IS_LEAF(lane.arch, entry, height)) break;
    tablePa = ADDRESS(lane.arch, entry);
  }
  return steps;
}
