// Operations on ranges, under mmu_lock as a writer: a notifier's unmap (E7), write-protection for the dirty log (E8), aging (E9) and splitting blocks ahead of faults (E3s)
// (Linux 6.12 hyp/pgtable.c: stage2_unmap_walker, stage2_update_leaf_attrs, stage2_split_walker). The walker goes from entry to entry.

import { Cost, Option } from '../layout';
import { DESCRIPTOR } from '../memory/tables';
import {
  addressOf,
  isLeaf,
  isPresent,
  isWritable,
  oldLeaf,
  pageOfBlock,
  protectedLeaf,
  tableDescriptor,
  withAddress,
} from '../paging/descriptor';
import { SHIFT_AT } from '../paging/stage';
import { ADD, Stat } from '../stats';
import { Event } from '../systems/events';
import { HAS_OPTION, KERNEL } from '../systems/kernel';
import { BLOCK, COST } from '../tlb/maintenance';
import { moveMemory } from './guest';
import { acquire, pass, release } from './lock';
import { Flush, Hold, NO_TABLE, Sim, Step, Walker } from './records';
import { enterTable, entryOf, newTable, refer, referencesOf, setEntry, stateOf } from './tables';
import { flush, openWindow } from './tlb';
import { unlinkChild } from './fault';

export function rangeStep(sim: Sim, w: Walker): void {
  switch (w.step) {
    case Step.RangeBegin:
      return begin(sim, w);
    case Step.RangeEnter:
      return enter(sim, w);
    case Step.RangeWalk:
      return visit(sim, w);
    case Step.RangeStore:
      return change(sim, w);
    case Step.Prune:
      return prune(sim, w);
    case Step.PruneFree:
      unlinkChild(sim, w, w.child, w.height - 1);
      w.child = NO_TABLE;
      w.step = Step.Prune;
      return;
    case Step.RangeUnlock:
      return unlock(sim, w);
    case Step.RangeFlush:
      w.step = Step.RangeEnd;
      if (w.hasWindow) flushRange(w, isByRange(sim) ? Flush.Range : Flush.All, Step.RangeEnd);
      return;
    case Step.RangeEnd:
      return end(sim, w);
  }
}

function isByRange(sim: Sim): bool {
  return HAS_OPTION(KERNEL(sim.lane), Option.TlbRange);
}

function unmaps(w: Walker): bool {
  return w.operation!.kind == <u32>Event.Stage2Unmap;
}

function begin(sim: Sim, w: Walker): void {
  w.step = Step.RangeEnter;
  acquire(sim, w, Hold.Write);
}

/** Under the lock; a notifier begins, and will flush its range whatever it finds there. */
function enter(sim: Sim, w: Walker): void {
  if (unmaps(w)) {
    w.guest.invalidating++;
    if (isByRange(sim)) openWindow(w);
  }
  toRoot(sim, w);
}

function toRoot(sim: Sim, w: Walker): void {
  descend(sim, w, w.guest.root, w.guest.stage.depth - 1);
  w.step = Step.RangeWalk;
}

function descend(sim: Sim, w: Walker, table: u64, height: u32): void {
  enterTable(sim, w, table, height);
  store<u64>(w.path + height * 8, table);
}

/** Reads an entry and decides. */
function visit(sim: Sim, w: Walker): void {
  const stage = w.guest.stage;
  pass(sim, w, COST(sim.lane, Cost.WalkStep), Stat.CyclesMaintenance);
  w.old = load<u64>(entryOf(sim, w));
  if (!isPresent(stage, w.old, w.height)) return advance(sim, w);
  if (!isLeaf(stage, w.old, w.height)) {
    if (w.splits && w.height == 1) return advance(sim, w);
    return descend(sim, w, addressOf(stage, w.old, w.height), w.height - 1);
  }
  if (w.splits) {
    if (w.height == 0) advance(sim, w);
    else build(sim, w);
    return;
  }
  w.fresh = changed(w);
  if (w.fresh == w.old) advance(sim, w);
  else w.step = Step.RangeStore;
}

function ages(w: Walker): bool {
  return w.operation!.kind == <u32>Event.Stage2Age;
}

/** What the operation makes of the walker's leaf. */
function changed(w: Walker): u64 {
  if (unmaps(w)) return 0;
  if (ages(w)) return oldLeaf(w.old);
  const stage = w.guest.stage;
  return isWritable(stage, w.old) ? protectedLeaf(stage, w.old, false, false) : w.old;
}

/** Stores it; what was unmapped leaves the TLBs at once, unless one instruction at the end names the range. */
function change(sim: Sim, w: Walker): void {
  setEntry(sim, w, w.fresh);
  pass(sim, w, COST(sim.lane, Cost.WalkStep), Stat.CyclesMaintenance);
  openWindow(w);
  if (!unmaps(w)) return advance(sim, w);
  refer(sim, w, -1);
  w.step = Step.Prune;
  if (!isByRange(sim)) flushEntry(w, Step.Prune);
}

/** What TLBs know behind the walker's entry goes. */
function flushEntry(w: Walker, then: Step): void {
  const inside = ((<u64>1) << SHIFT_AT(w.guest.stage, w.height)) - 1;
  flush(w, Flush.Ipa, w.ipa & ~inside, w.ipa | inside, then);
}

/** TABLE_POST: a table that has become empty goes, at once as there is no other walker; then the one above may be empty. */
function prune(sim: Sim, w: Walker): void {
  const isRoot = w.height == w.guest.stage.depth - 1;
  if (isRoot || referencesOf(sim, w.table) != 1) return advance(sim, w);
  w.child = w.table;
  enterTable(sim, w, load<u64>(w.path + (w.height + 1) * 8), w.height + 1);
  setEntry(sim, w, 0);
  refer(sim, w, -1);
  openWindow(w);
  // The range's own maintenance may be still to come.
  w.keepsWindow = isByRange(sim);
  flushEntry(w, Step.PruneFree);
}

/** To the next entry: of the same table, or from the root. */
function advance(sim: Sim, w: Walker): void {
  const stage = w.guest.stage;
  const before = w.ipa;
  const inside = ((<u64>1) << SHIFT_AT(stage, w.height)) - 1;
  w.ipa = (before | inside) + 1;
  if (w.ipa > w.operation!.last) w.step = Step.RangeUnlock;
  else if (w.height < stage.depth - 1 && (before ^ w.ipa) >> SHIFT_AT(stage, w.height + 1)) toRoot(sim, w);
  else w.step = Step.RangeWalk;
}

/** A table with what the block maps, which is then put in its place: 2 stores an entry. */
function build(sim: Sim, w: Walker): void {
  const stage = w.guest.stage;
  const height = w.height - 1;
  const block = addressOf(stage, w.old, w.height);
  w.spare = newTable(sim, w.cpu);
  const entries: u64 = (<u64>1) << stage.indexBits;
  for (let i: u64 = 0; i < entries; i++) {
    const pa = block + (i << SHIFT_AT(stage, height));
    const leaf = height ? withAddress(stage, w.old, pa, height) : pageOfBlock(stage, w.old, pa, false);
    store<u64>(DESCRIPTOR(sim.lane.tables, w.spare + i * 8), leaf);
  }
  stateOf(sim, w.spare).references += <u32>entries;
  ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceTable_Store, 2 * entries);
  pass(sim, w, COST(sim.lane, Cost.PageAlloc) + 2 * entries, Stat.CyclesMaintenance);
  w.fresh = tableDescriptor(stage, w.spare);
  w.child = NO_TABLE;
  w.step = Step.Break;
}

/** What a notifier changed leaves the TLBs before it leaves the lock (kvm_unmap_gfn_range; clear_flush_young), what a dirty log protects after. */
function unlock(sim: Sim, w: Walker): void {
  if (w.hasWindow && unmaps(w)) return flushRange(w, Flush.Range, Step.RangeUnlock);
  if (w.hasWindow && ages(w)) return flushRange(w, Flush.All, Step.RangeUnlock);
  // kvm_pgtable_stage2_split ends with a DSB ISHST.
  if (w.splits) ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceBarrier, 1);
  release(sim, w);
  w.step = Step.RangeFlush;
}

function flushRange(w: Walker, kind: Flush, then: Step): void {
  flush(w, kind, w.operation!.from, w.operation!.last, then);
}

function end(sim: Sim, w: Walker): void {
  const operation = w.operation!;
  const guest = w.guest;
  w.step = Step.Idle;
  if (unmaps(w)) {
    moveMemory(guest, operation.from, operation.last);
    guest.sequence++;
    guest.invalidating--;
  }
  const protects = operation.kind == <u32>Event.Stage2WriteProtect;
  if (!protects || w.splits || !HAS_OPTION(KERNEL(sim.lane), Option.EagerSplit)) return;
  w.splits = true;
  w.ipa = operation.from;
  w.step = Step.RangeBegin;
}
