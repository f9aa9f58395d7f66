// What vCPUs know of stage 2, as far as a stale translation can hide there (Arm ARM D8.16): combined entries, from the guest's address to the frame, and entries of
// stage 2 only, from which combined ones are made again. And the maintenance that takes both away, step by step: an instruction is issued, and has
// worked when its DSB completes; the time of that grows with the CPUs that are at it.

import { Cost, Fault } from '../layout';
import { isWritable } from '../paging/descriptor';
import { ADD, Stat } from '../stats';
import { HAS_FAULT, KERNEL } from '../systems/kernel';
import { BLOCK, COST } from '../tlb/maintenance';
import { domainsMeet, isInDomain } from './domain';
import { checkKnown } from './invariants';
import { pass } from './lock';
import { Flush, Guest, Known, Sim, Step, TLB_ENTRIES, Walker, WALKER } from './records';

export function KNOWN(entries: usize, i: u32): Known {
  return changetype<Known>(entries + i * offsetof<Known>());
}

function find(entries: usize, w: Walker): Known | null {
  for (let i: u32 = 0; i < TLB_ENTRIES; i++) {
    const known = KNOWN(entries, i);
    if (known.vm == w.guest.vm + 1 && (known.ipa ^ w.ipa) >> known.shift == 0) return known;
  }
  return null;
}

function enter(entries: usize, i: u32, w: Walker, shift: u32, leaf: u64): void {
  const known = KNOWN(entries, i % TLB_ENTRIES);
  known.vm = w.guest.vm + 1;
  known.shift = shift;
  known.ipa = (w.ipa >> shift) << shift;
  known.leaf = leaf;
}

/** What the TLB of the walker's CPU has for its page; a combined entry is made again from one of stage 2. */
export function lookup(w: Walker): Known | null {
  const combined = find(w.combined, w);
  if (combined) return combined;
  const known = find(w.stage2, w);
  if (known) enter(w.combined, w.nextCombined++, w, known.shift, known.leaf);
  return known;
}

/** Enters the leaf that a walk has read. */
export function fill(w: Walker, shift: u32, leaf: u64): void {
  enter(w.combined, w.nextCombined++, w, shift, leaf);
  enter(w.stage2, w.nextStage2++, w, shift, leaf);
}

export function allows(w: Walker, leaf: u64, writes: bool): bool {
  return !writes || isWritable(w.guest.stage, leaf);
}

function drop(entries: usize, vm: u32, from: u64, last: u64): void {
  for (let i: u32 = 0; i < TLB_ENTRIES; i++) {
    const known = KNOWN(entries, i);
    const end = known.ipa + (((<u64>1) << known.shift) - 1);
    if (known.vm == vm + 1 && known.ipa <= last && end >= from) known.vm = 0;
  }
}

/** A CPU forgets a guest; with `combined`, only what stage 1 has a part in. */
export function forgetGuest(w: Walker, guest: Guest, combinedOnly: bool): void {
  drop(w.combined, guest.vm, 0, u64.MAX_VALUE);
  if (!combinedOnly) drop(w.stage2, guest.vm, 0, u64.MAX_VALUE);
}

/** Begins maintenance for [from, last]; the walker goes on at `then` when it is complete. */
export function flush(w: Walker, kind: Flush, from: u64, last: u64, then: Step): void {
  w.flush = kind;
  w.phase = 0;
  w.flushFrom = from;
  w.flushLast = last;
  w.afterFlush = then;
  w.step = Step.TlbiIssue;
}

/** Whether the instruction in work is the one that names intermediate addresses. */
function isFirst(sim: Sim, w: Walker): bool {
  return (w.phase == 0) != HAS_FAULT(KERNEL(sim.lane), Fault.FlushReversed);
}

/** TLBI; the time to its completion is that of one for each CPU that has one under way to the same CPUs. */
export function issue(sim: Sim, w: Walker): void {
  const lane = sim.lane;
  let issuers: u64 = 1;
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    const other = WALKER(sim, cpu);
    if (cpu != w.cpu && other.flushUntil > w.clock && domainsMeet(sim, w.guest, other.guest)) issuers++;
  }
  const block = BLOCK(lane, w.cpu);
  if (w.flush == Flush.All) ADD(block, Stat.MaintenanceTlbiVmalls12e1is, 1);
  else if (!isFirst(sim, w)) ADD(block, Stat.MaintenanceTlbiVmalle1is, 1);
  else ADD(block, w.flush == Flush.Ipa ? Stat.MaintenanceTlbiIpas2e1is : Stat.MaintenanceTlbiRipas2e1is, 1);
  // A DSB before the first instruction, one behind each, an ISB at the end.
  if (!w.phase) barriers(sim, w, 2);
  ADD(block, Stat.MaintenanceBarrier, 1);
  pass(sim, w, issuers * COST(lane, Cost.TlbiBroadcast), Stat.CyclesMaintenance);
  w.flushUntil = w.clock;
  w.step = Step.TlbiComplete;
}

/** DSB and ISB, so many. */
export function barriers(sim: Sim, w: Walker, n: u64): void {
  ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceBarrier, n);
  pass(sim, w, n * COST(sim.lane, Cost.Dsb), Stat.CyclesMaintenance);
}

/** DSB: all CPUs have done it, and walks of theirs that began before start again. */
export function complete(sim: Sim, w: Walker): void {
  const guest = w.guest;
  const first = isFirst(sim, w);
  for (let cpu: u32 = 0; cpu < sim.lane.cpus; cpu++) {
    if (!isInDomain(sim, guest, cpu)) continue;
    const other = WALKER(sim, cpu);
    if (w.flush == Flush.All) forgetGuest(other, guest, false);
    else if (first) drop(other.stage2, guest.vm, w.flushFrom, w.flushLast);
    else forgetGuest(other, guest, true);
    if (other.step == Step.HardwareWalk && other.guest == guest) other.step = Step.Access;
  }
  const both = w.flush != Flush.All && !HAS_FAULT(KERNEL(sim.lane), Fault.FlushStage2Only);
  if (both && w.phase++ == 0) {
    w.step = Step.TlbiIssue;
    return;
  }
  w.step = w.afterFlush;
  if (w.keepsWindow) w.keepsWindow = false;
  else closeWindow(sim, w);
}

/** Stale translations may be known from now on, until the maintenance is complete. */
export function openWindow(w: Walker): void {
  if (w.hasWindow) return;
  w.hasWindow = true;
  w.guest.windows++;
}

function closeWindow(sim: Sim, w: Walker): void {
  if (!w.hasWindow) return;
  w.hasWindow = false;
  if (--w.guest.windows == 0 && sim.lane.checks) checkKnown(sim, w.guest, w.cpu);
}

/** __kvm_tlb_flush_vmid_ipa_nsh: this CPU only (IPAS2E1, VMALLE1 with DSB NSH). */
export function flushLocal(sim: Sim, w: Walker): void {
  const block = BLOCK(sim.lane, w.cpu);
  const inside = ((<u64>1) << w.guest.stage.pageShift) - 1;
  ADD(block, Stat.MaintenanceTlbiIpas2e1, 1);
  ADD(block, Stat.MaintenanceTlbiVmalle1, 1);
  barriers(sim, w, 4);
  pass(sim, w, 2 * COST(sim.lane, Cost.TlbiLocal), Stat.CyclesMaintenance);
  drop(w.stage2, w.guest.vm, w.ipa & ~inside, w.ipa | inside);
  forgetGuest(w, w.guest, true);
}
