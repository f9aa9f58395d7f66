// Root sets: a kernel that replicates its tables per node has one set of roots per node, its *views*; a CPU walks that of its node.
//
// The one rule for entries: a table is per view when it is a replicated root, or when it translates an address of the window (that of the kernel
// image). An entry in such a table leads to each view's own table or bytes inside the window, else to the one that all share; either way it is
// stored once per view: the first store is the kernel's, the others are synchronisation.

import { Format, Lane } from '../layout';
import { DESCRIPTOR } from '../memory/tables';
import { addressOf, isLeaf, isPresent } from './descriptor';
import { IS_UPPER, rootSlot } from './space';
import { ENTRY_AT, SHIFT_AT } from './stage';

/** How many roots an address space has for `va`: x86 has one root for user and kernel, Arm's user root is not replicated. */
export function rootViews(lane: Lane, va: u64): u32 {
  return lane.stage1.format == Format.X86 || IS_UPPER(lane, va) ? lane.views : 1;
}

/** The view in which a CPU of node `node` translates `va`. */
// @ts-ignore: decorator
@inline
export function VIEW_OF(lane: Lane, node: u32, va: u64): u32 {
  return lane.views > 1 && rootViews(lane, va) > 1 ? node : 0;
}

/** Whether the table that an entry of `height` for `va` leads to is per view: whether it translates any address of the window. */
// @ts-ignore: decorator
@inline
export function isPerView(lane: Lane, va: u64, height: u32): bool {
  const inside = ((<u64>1) << SHIFT_AT(lane.stage1, height)) - 1;
  return lane.views > 1 && (va | inside) >= lane.windowFrom && (va & ~inside) <= lane.windowLast;
}

/** The node that has a view's tables below the root: its own, or the one that the boot allocator prefers. */
export function subtreeNode(lane: Lane, view: u32): u32 {
  return lane.subtreeNode < 0 ? view : lane.subtreeNode;
}

/** A view's table of `height` that translates `va`; all ones when there is none. */
export function tableOf(lane: Lane, context: u64, va: u64, to: u32, view: u32): u64 {
  const stage = lane.stage1;
  const root = load<u64>(rootSlot(lane, context, va, view));
  if (!root) return u64.MAX_VALUE;
  let table = root - 1;
  for (let height = stage.depth - 1; height > to; height--) {
    const entry = load<u64>(DESCRIPTOR(lane.tables, ENTRY_AT(stage, table, va, height)));
    if (!isPresent(stage, entry, height) || isLeaf(stage, entry, height)) return u64.MAX_VALUE;
    table = addressOf(stage, entry, height);
  }
  return table;
}
