// A guest's access and the fault that it may take: user_mem_abort and handle_access_fault of KVM (arch/arm64/kvm/mmu.c), kvm_pgtable_stage2_map, _relax_perms and
// _mkyoung (hyp/pgtable.c of Linux 6.12; with the exclusive lock those of 6.1). One step is one load, CAS, store or lock operation.

import { Check, Cost, Fault, Option } from '../layout';
import {
  addressOf,
  isLeaf,
  isPresent,
  isValid,
  isYoung,
  leafDescriptor,
  protectedLeaf,
  STAGE2_LOCKED,
  tableDescriptor,
  youngLeaf,
} from '../paging/descriptor';
import { SHIFT_AT } from '../paging/stage';
import { ADD, Stat } from '../stats';
import { HAS_FAULT, HAS_OPTION, KERNEL, violated } from '../systems/kernel';
import { BLOCK, COST } from '../tlb/maintenance';
import { largestHeight, lastAddress, primaryAddress } from './guest';
import { acquire, pass, release } from './lock';
import { deferFree, interruptAll, interruptsOn } from './rcu';
import {
  ACCESS_FLAG,
  Action,
  Flush,
  Hold,
  MOST_SPARES,
  NO_TABLE,
  PERMISSION,
  Sim,
  Step,
  TRANSLATION,
  Walker,
} from './records';
import {
  enterTable,
  entryOf,
  freePage,
  freeTree,
  mayRead,
  newTable,
  refer,
  setEntry,
  stateOf,
  swapEntry,
  unlinkTree,
} from './tables';
import { allows, complete, fill, flush, flushLocal, issue, lookup, openWindow } from './tlb';
import { nextRandom } from './random';

/** Faults in a row on one access after which it never ends. */
const ENDLESS: u32 = 256;

export function isExclusive(sim: Sim): bool {
  return HAS_OPTION(KERNEL(sim.lane), Option.ExclusiveLock);
}

export function isShared(sim: Sim): bool {
  return !isExclusive(sim);
}

function injected(sim: Sim, fault: Fault): bool {
  return HAS_FAULT(KERNEL(sim.lane), fault);
}

/** One step of a fault, or of what faults and operations on ranges share. */
export function faultStep(sim: Sim, w: Walker): void {
  switch (w.step) {
    case Step.Access:
      return access(sim, w);
    case Step.HardwareWalk:
      return hardwareWalk(sim, w);
    case Step.Fault:
      return takeFault(sim, w);
    case Step.Pfn:
      return getPage(sim, w);
    case Step.Lock:
      return lockFor(sim, w);
    case Step.Enter:
      return enterSection(sim, w);
    case Step.Walk:
      return walk(sim, w);
    case Step.Break:
      return breakEntry(sim, w);
    case Step.Make:
      return make(sim, w);
    case Step.FreeChild:
      return freeChild(sim, w);
    case Step.Relax:
    case Step.Young:
      return setLeaf(sim, w);
    case Step.RelaxFlush:
      return relaxFlush(sim, w);
    case Step.Done:
      return done(sim, w);
    case Step.Again:
      // kvm_pgtable_stage2_map has its DSB ISHST all the same.
      if (w.action == Action.Map) ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceBarrier, 1);
      return retry(sim, w);
    case Step.Exit:
      return exitSection(sim, w);
    case Step.Interrupt:
      w.step = Step.FreeAnswered;
      return interruptAll(sim, w);
    case Step.FreeAnswered:
      freeTree(sim, w.guest, w.unlinked, w.unlinkedHeight);
      w.unlinked = NO_TABLE;
      w.step = Step.Unlock;
      return;
    case Step.Unlock:
      release(sim, w);
      w.step = Step.Access;
      return;
    case Step.TlbiIssue:
      return issue(sim, w);
    case Step.TlbiComplete:
      return complete(sim, w);
  }
}

/** -EAGAIN: the vCPU goes back to its access. */
function retry(sim: Sim, w: Walker): void {
  ADD(BLOCK(sim.lane, w.cpu), Stat.FaultRetry, 1);
  w.step = Step.Exit;
}

/** The guest makes its access: what the TLB has decides, else a walk. */
function access(sim: Sim, w: Walker): void {
  if (w.ipa > lastAddress(w.guest)) {
    // The guest is told of it; no table changes.
    ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceTrap, 1);
    ADD(BLOCK(sim.lane, w.cpu), Stat.FaultTranslation, 1);
    pass(sim, w, COST(sim.lane, Cost.FaultOutside), Stat.CyclesFault);
    w.step = Step.Idle;
    return;
  }
  const known = lookup(w);
  if (!known) {
    enterTable(sim, w, w.guest.root, w.guest.stage.depth - 1);
    w.step = Step.HardwareWalk;
    return;
  }
  if (allows(w, known.leaf, w.operation!.faultClass != ACCESS_FLAG)) return nextPage(w);
  abort(w, PERMISSION, (known.shift - w.guest.stage.pageShift) / w.guest.stage.indexBits);
}

function abort(w: Walker, faultClass: u32, height: u32): void {
  w.faultClass = faultClass;
  w.faultHeight = height;
  w.step = Step.Fault;
}

/** The next page of the row, or the end of it. */
function nextPage(w: Walker): void {
  w.tries = 0;
  w.ipa = ((w.ipa >> w.operation!.shift) + 1) << w.operation!.shift;
  w.step = w.ipa > w.operation!.last ? Step.Idle : Step.Access;
}

/** The walker of hardware reads a descriptor. */
function hardwareWalk(sim: Sim, w: Walker): void {
  const stage = w.guest.stage;
  if (!mayRead(sim, w)) {
    w.step = Step.Access;
    return;
  }
  const at = entryOf(sim, w);
  let entry = load<u64>(at);
  pass(sim, w, COST(sim.lane, Cost.WalkStep), Stat.CyclesWalk);
  if (!isPresent(stage, entry, w.height)) return abort(w, TRANSLATION, w.height);
  if (!isLeaf(stage, entry, w.height)) return enterTable(sim, w, addressOf(stage, entry, w.height), w.height - 1);
  if (!isYoung(entry)) {
    if (!HAS_OPTION(KERNEL(sim.lane), Option.HardwareAf)) return abort(w, ACCESS_FLAG, w.height);
    entry = youngLeaf(entry);
    store<u64>(at, entry);
    ADD(BLOCK(sim.lane, w.cpu), Stat.WalkUpdates, 1);
  }
  fill(w, SHIFT_AT(stage, w.height), entry);
  w.step = Step.Access;
}

/** The fault: it counts, tops the memcache up and notes the notifiers' sequence. */
function takeFault(sim: Sim, w: Walker): void {
  const lane = sim.lane;
  const block = BLOCK(lane, w.cpu);
  if (w.tries++ == ENDLESS) {
    violated(lane, Check.Livelock, w.ipa, w.cpu);
    return nextPage(w);
  }
  ADD(block, Stat.MaintenanceTrap, 1);
  ADD(block, Stat.FaultTranslation + w.faultClass, 1);
  if (w.faultClass == TRANSLATION && stateOf(sim, w.table).split) ADD(block, Stat.FaultRefault, 1);
  // handle_access_fault makes no table.
  const needed: u32 = w.faultClass == ACCESS_FLAG ? 0 : w.guest.stage.depth - 1;
  while (w.spareCount < min(needed, MOST_SPARES)) {
    store<u64>(w.spares + w.spareCount++ * 8, newTable(sim, w.cpu));
  }
  w.sequence = w.guest.invalidating ? 0 : w.guest.sequence;
  w.holdLeft = spread(sim, w, COST(lane, Cost.FaultInside));
  pass(sim, w, spread(sim, w, COST(lane, Cost.FaultOutside)), Stat.CyclesFault);
  w.step = Step.Pfn;
}

/** A time of this mean, of which a part is exponentially distributed. */
function spread(sim: Sim, w: Walker, mean: u64): u64 {
  const share = <f64>COST(sim.lane, Cost.FaultSpread) / 256;
  if (share == 0) return mean;
  w.random = nextRandom(w.random);
  const uniform = (<f64>(w.random >> 11) + 1) / <f64>((<u64>1) << 53);
  return <u64>(<f64>mean * (1 - share - share * Math.log(uniform)));
}

/** The kernel's frame for the page, and how large a leaf can be. */
function getPage(sim: Sim, w: Walker): void {
  const stage = w.guest.stage;
  w.target = largestHeight(w.guest, w.ipa, (w.operation!.shift - stage.pageShift) / stage.indexBits);
  const inside = ((<u64>1) << SHIFT_AT(stage, w.target)) - 1;
  w.pa = primaryAddress(w.guest, w.ipa & ~inside);
  w.action = Action.Map;
  if (w.faultClass == ACCESS_FLAG) w.action = Action.Young;
  else if (w.faultClass == PERMISSION && w.faultHeight == w.target) w.action = Action.Relax;
  w.step = Step.Lock;
}

function lockFor(sim: Sim, w: Walker): void {
  w.step = Step.Enter;
  if (w.action != Action.Map && HAS_OPTION(KERNEL(sim.lane), Option.FastFaults)) return;
  // 6.1 had the first step already: pages that a dirty log protects are relaxed by readers.
  const isPage = w.action == Action.Relax && w.target == 0;
  acquire(sim, w, isExclusive(sim) && !isPage ? Hold.Write : Hold.Read);
}

/** Under the lock: rcu_read_lock, or interrupts off; a notifier that ran since the frame was asked for sends the vCPU back. */
function enterSection(sim: Sim, w: Walker): void {
  if (HAS_OPTION(KERNEL(sim.lane), Option.HypIpi)) w.interruptsOff = true;
  else if (isShared(sim)) w.rcuSince = ++sim.rcuCounter;
  enterTable(sim, w, w.guest.root, w.guest.stage.depth - 1);
  const isLate = w.guest.invalidating || w.guest.sequence != w.sequence;
  // user_mem_abort asks, which serves permissions too; handle_access_fault does not, nor can a walk without the lock.
  if (isLate && w.action != Action.Young && w.hold != Hold.None) retry(sim, w);
  else w.step = Step.Walk;
}

/** A step in the critical section takes of its time. */
export function stepInside(sim: Sim, w: Walker): void {
  const cycles = min(COST(sim.lane, Cost.WalkStep), w.holdLeft);
  w.holdLeft -= cycles;
  pass(sim, w, cycles, Stat.CyclesFault);
}

/** Reads an entry and decides. */
function walk(sim: Sim, w: Walker): void {
  const stage = w.guest.stage;
  stepInside(sim, w);
  if (!mayRead(sim, w)) {
    w.step = Step.Again;
    return;
  }
  const old = load<u64>(entryOf(sim, w));
  const isTable = isPresent(stage, old, w.height) && !isLeaf(stage, old, w.height);
  w.old = old;
  // Another has replaced the table that this one has just made: the entry is not visited twice.
  const isGone = w.reloads && !isTable;
  w.reloads = false;
  if (isGone) {
    w.step = Step.Done;
    return;
  }
  if (isTable && (w.action != Action.Map || w.height > w.target)) {
    return enterTable(sim, w, addressOf(stage, old, w.height), w.height - 1);
  }
  if (w.action != Action.Map) return adjust(sim, w);
  if (old == STAGE2_LOCKED) w.step = Step.Again;
  else if (w.height <= w.target) mapLeaf(w, isTable);
  else mapTable(sim, w);
}

/** The entry is where the leaf goes. */
function mapLeaf(w: Walker, isTable: bool): void {
  const stage = w.guest.stage;
  const leaf = leafDescriptor(stage, w.pa, w.height, false, false, false);
  w.fresh = protectedLeaf(stage, leaf, true, false);
  w.child = isTable ? addressOf(stage, w.old, w.height) : NO_TABLE;
  const isThere = isValid(w.old) && !isTable && isYoung(w.old) && addressOf(stage, w.old, w.height) == w.pa;
  // Another vCPU has mapped it; what it may not do yet is the next fault's matter.
  w.step = isThere ? Step.Again : Step.Break;
}

/** The entry is above the leaf: it needs a table, and a block that is there is broken. */
function mapTable(sim: Sim, w: Walker): void {
  w.spare = load<u64>(w.spares + --w.spareCount * 8);
  w.fresh = tableDescriptor(w.guest.stage, w.spare);
  w.child = NO_TABLE;
  w.step = Step.Break;
  if (!isValid(w.old)) return;
  stateOf(sim, w.spare).split = true;
  if (injected(sim, Fault.SkipBlockBreak)) w.step = Step.Make;
}

/** Relaxing permissions or setting the access flag: the leaf's new value. */
function adjust(sim: Sim, w: Walker): void {
  const stage = w.guest.stage;
  const relax = w.action == Action.Relax;
  w.fresh = relax ? protectedLeaf(stage, w.old, true, false) : youngLeaf(w.old);
  if (!isValid(w.old)) w.step = relax ? Step.RelaxFlush : Step.Again;
  else if (w.fresh != w.old) w.step = relax ? Step.Relax : Step.Young;
  else {
    if (relax) ADD(BLOCK(sim.lane, w.cpu), Stat.FaultSpurious, 1);
    w.step = relax ? Step.RelaxFlush : Step.Done;
  }
}

/** stage2_try_break_pte: the entry is taken out, and if it was valid, so is what TLBs know of it. The exclusive lock of 6.1 stores 0. */
export function breakEntry(sim: Sim, w: Walker): void {
  const stage = w.guest.stage;
  stepInside(sim, w);
  w.step = Step.Make;
  if (w.hold == Hold.Write) {
    if (isShared(sim) || w.old) setEntry(sim, w, isShared(sim) ? STAGE2_LOCKED : 0);
  } else if (!swapEntry(sim, w, STAGE2_LOCKED)) {
    if (w.spare != NO_TABLE) freePage(sim, w.spare);
    w.spare = NO_TABLE;
    w.step = Step.Again;
    return;
  }
  if (w.old) refer(sim, w, -1);
  if (!isValid(w.old)) return;
  w.brokeAt = w.clock;
  w.isBroken = true;
  openWindow(w);
  const bytes = (<u64>1) << SHIFT_AT(stage, w.height);
  const from = w.ipa & ~(bytes - 1);
  const isRange = HAS_OPTION(KERNEL(sim.lane), Option.TlbRange);
  const kind = isLeaf(stage, w.old, w.height) ? Flush.Ipa : isRange ? Flush.Range : Flush.All;
  flush(w, kind, from, from + bytes - 1, Step.Make);
}

/** stage2_make_pte: the new entry, with a reference. */
export function make(sim: Sim, w: Walker): void {
  stepInside(sim, w);
  if (injected(sim, Fault.SkipBlockBreak) && isValid(w.old) && !w.isBroken && w.spare != NO_TABLE) {
    // MODEL: forbidden; the old entry keeps its reference.
    if (!swapEntry(sim, w, w.fresh)) freePage(sim, w.spare);
  } else if (mayRead(sim, w)) {
    refer(sim, w, 1);
    setEntry(sim, w, w.fresh);
  } else {
    if (w.spare != NO_TABLE) freePage(sim, w.spare);
    w.spare = NO_TABLE;
    w.isBroken = false;
    w.step = Step.Again;
    return;
  }
  if (w.isBroken) ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceBlackout, w.clock - w.brokeAt);
  w.isBroken = false;
  if (w.child != NO_TABLE) w.step = Step.FreeChild;
  else if (w.splits) w.step = Step.RangeWalk;
  // The entry is read again before the walk goes down (__kvm_pgtable_visit).
  else {
    w.reloads = w.spare != NO_TABLE;
    w.step = w.reloads ? Step.Walk : Step.Done;
  }
  w.spare = NO_TABLE;
}

/** What hung below a block that took its place. */
function freeChild(sim: Sim, w: Walker): void {
  unlinkChild(sim, w, w.child, w.height - 1);
  w.step = Step.Done;
  // MODEL: forbidden; the walk goes on in what it has unlinked.
  if (injected(sim, Fault.SkipReload)) {
    enterTable(sim, w, w.child, w.height - 1);
    w.step = Step.Walk;
  }
  w.child = NO_TABLE;
}

/** free_unlinked: at once where no other walker can be, after a grace period, or after all CPUs have answered. */
export function unlinkChild(sim: Sim, w: Walker, child: u64, height: u32): void {
  const kernel = KERNEL(sim.lane);
  const fast = HAS_OPTION(kernel, Option.FastFaults);
  if ((w.hold == Hold.Write && !fast) || injected(sim, Fault.FreeWithoutGrace)) {
    unlinkTree(sim, w.guest, child, height, w.cpu);
    freeTree(sim, w.guest, child, height);
  } else if (HAS_OPTION(kernel, Option.HypIpi)) {
    unlinkTree(sim, w.guest, child, height, w.cpu);
    w.unlinked = child;
    w.unlinkedHeight = height;
  } else deferFree(sim, w, child, height);
}

/** The CAS, or in 6.1 the store, of E4 and E5. */
function setLeaf(sim: Sim, w: Walker): void {
  stepInside(sim, w);
  const next = w.step == Step.Relax ? Step.RelaxFlush : Step.Done;
  w.step = next;
  if (isExclusive(sim)) setEntry(sim, w, w.fresh);
  else if (!swapEntry(sim, w, w.fresh) && next == Step.Done) w.step = Step.Again;
}

/** After relaxing, and where that failed: this CPU's entries (6.12), or all CPUs' (6.1). */
function relaxFlush(sim: Sim, w: Walker): void {
  w.step = Step.Exit;
  if (injected(sim, Fault.SkipRelaxTlbi)) return;
  if (!isExclusive(sim)) return flushLocal(sim, w);
  const inside = ((<u64>1) << SHIFT_AT(w.guest.stage, w.height)) - 1;
  flush(w, Flush.Ipa, w.ipa & ~inside, w.ipa | inside, Step.Exit);
}

/** DSB ISHST. */
function done(sim: Sim, w: Walker): void {
  ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceBarrier, 1);
  w.step = Step.Exit;
}

/** The rest of the time under the lock, then rcu_read_unlock or interrupts on. */
function exitSection(sim: Sim, w: Walker): void {
  if (w.holdLeft) {
    pass(sim, w, w.holdLeft, Stat.CyclesFault);
    w.holdLeft = 0;
    return;
  }
  w.rcuSince = 0;
  if (w.interruptsOff) interruptsOn(sim, w);
  w.step = w.unlinked != NO_TABLE ? Step.Interrupt : Step.Unlock;
}
