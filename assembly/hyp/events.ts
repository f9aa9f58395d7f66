// What events do to the EL2 side (docs/hypinit.md, Events). The kernel's own part of an event comes before it.

import { Check, Cost, Fault, Lane } from '../layout';
import { ADD, Stat } from '../stats';
import { Event } from '../systems/events';
import { HAS_FAULT, KERNEL, violated } from '../systems/kernel';
import { barriers, BLOCK, count } from '../systems/operations';
import {
  HYP,
  Hyp,
  HYP_CPU,
  HYP_PAGE,
  HYP_PAGE_SHIFT,
  HypCpu,
  HypScheme,
  HypState,
  isExtended,
  kernHypVa,
  layoutOf,
  newTable,
  switchesTables,
} from './machine';
import { hvc } from './pc';
import { startCpu, switchTable } from './start';
import { eachPage, freeTables, link, mapPage, newRoot, NOWHERE, unmapPage } from './tables';
import { dropAll, dropPage, speculate } from './tlb';

/** Expands one event, after the kernel's part. */
export function hypEvent(lane: Lane, cpu: u32, kind: u32, va: u64, arg: u64, pages: u64): void {
  const hyp = HYP(lane);
  switch (kind) {
    case Event.HypInit:
      if (!hyp.made || va != hyp.tracedVa || arg != hyp.tracedPa) makeTables(lane, cpu, va, arg);
      else if (!hyp.refused) initialise(lane, HYP_CPU(hyp, cpu));
      break;
    case Event.CpuUp:
    case Event.CpuResume:
      if (hyp.made && !hyp.refused) startCpu(lane, HYP_CPU(hyp, <u32>va));
      break;
    case Event.CpuDown:
    case Event.CpuSuspend:
      stop(hyp, HYP_CPU(hyp, <u32>va));
      if (HAS_FAULT(KERNEL(lane), Fault.FreeBootTable)) freeTables(lane, hyp.boot, false);
      break;
    case Event.HypMap:
      if (hyp.made && !hyp.refused) map(lane, cpu, va, arg, pages);
      break;
    case Event.HypUnmap:
      if (hyp.made && !hyp.refused) unmap(lane, cpu, va, pages);
      break;
    default:
      return;
  }
  for (let other: u32 = 0; other < lane.cpus; other++) speculate(lane, HYP_CPU(hyp, other));
  KERNEL(lane).changed = true;
}

/** kvm_mmu_init: the tables anew, for an init page at `va` and `pa`. Every CPU has the stub's vectors. */
function makeTables(lane: Lane, cpu: u32, va: u64, pa: u64): void {
  const hyp = HYP(lane);
  for (let other: u32 = 0; other < lane.cpus; other++) {
    stop(hyp, HYP_CPU(hyp, other));
    dropAll(HYP_CPU(hyp, other));
  }
  freeTables(lane, hyp.merged, true);
  freeTables(lane, hyp.boot, false);
  freeTables(lane, hyp.runtime, false);
  hyp.made = true;
  hyp.switched = false;
  hyp.tracedVa = va;
  hyp.tracedPa = pa;
  const stated = ~hyp.statedPa ? hyp.statedPa : pa;
  hyp.initPa = hyp.random ? randomPa(hyp) : stated & ~(HYP_PAGE - 1);
  hyp.inits++;
  const one = hyp.scheme == HypScheme.Merged || hyp.scheme == HypScheme.PkvmSwitch;
  hyp.refused = one && collides(hyp, va);
  if (hyp.refused) {
    ADD(BLOCK(lane, cpu), Stat.FaultHyp_Refused, 1);
    return;
  }
  newRoot(lane, cpu, hyp.runtime, one && isExtended(hyp) ? hyp.wide : hyp.narrow);
  if (one) mapPage(lane, cpu, hyp.runtime, hyp.initPa, hyp.initPa);
  if (hyp.scheme != HypScheme.Trampoline) return;
  newRoot(lane, cpu, hyp.boot, hyp.narrow);
  mapPage(lane, cpu, hyp.boot, hyp.trampolineVa, hyp.initPa);
  mapPage(lane, cpu, hyp.runtime, hyp.trampolineVa, hyp.initPa);
  if (switchesTables(hyp)) {
    mapPage(lane, cpu, hyp.boot, hyp.initPa, hyp.initPa);
    return;
  }
  // The boot table serves as the next level of the identity mapping: its index is what is left of the address.
  mapPage(lane, cpu, hyp.boot, hyp.initPa & (((<u64>1) << hyp.vaBits) - 1), hyp.initPa);
  newRoot(lane, cpu, hyp.merged, hyp.wide);
  link(lane, cpu, hyp.merged, 0, hyp.runtime);
  link(lane, cpu, hyp.merged, hyp.initPa, hyp.boot);
}

/** splitmix64 of the seed and of how often tables were made: any page below the trampoline. */
function randomPa(hyp: Hyp): u64 {
  let z = (hyp.seed << 32) + (hyp.inits + 1) * 0x9e37_79b9_7f4a_7c15;
  z = (z ^ (z >> 30)) * 0xbf58_476d_1ce4_e5b9;
  z = (z ^ (z >> 27)) * 0x94d0_49bb_1331_11eb;
  z ^= z >> 31;
  return (z % (hyp.trampolineVa >> HYP_PAGE_SHIFT)) << HYP_PAGE_SHIFT;
}

/** kvm_mmu_init since 4.8: the identity mapping in the midst of the linear map's HYP addresses, unless it is the same mapping. */
function collides(hyp: Hyp, va: u64): bool {
  const layout = layoutOf(hyp);
  return hyp.initPa >= layout.from && hyp.initPa < layout.end && hyp.initPa != va;
}

/** A CPU that was up when KVM began, or a second time: __pkvm_init. */
function initialise(lane: Lane, cpu: HypCpu): void {
  const hyp = HYP(lane);
  const wasUp = cpu.state == HypState.Up;
  if (hyp.scheme == HypScheme.Legacy) {
    mapIdentity(lane, cpu.number);
    startCpu(lane, cpu);
    // The host cannot invalidate EL2's entries, and nobody asks HYP to.
    unmapPage(lane, cpu.number, hyp.runtime, hyp.initPa, false);
    return;
  }
  startCpu(lane, cpu);
  if (hyp.scheme == HypScheme.PkvmSwitch && cpu.state == HypState.Up && (wasUp || !hyp.switched)) {
    switchAll(lane, cpu.number);
  }
}

function mapIdentity(lane: Lane, cpu: u32): void {
  const hyp = HYP(lane);
  const before = mapPage(lane, cpu, hyp.runtime, hyp.initPa, hyp.initPa);
  if (before != NOWHERE && before != hyp.initPa) violated(lane, Check.IdmapOverlap, hyp.initPa, cpu);
  barriers(lane, cpu, 0, 1);
}

/** A table of the hypervisor's own with all that is mapped; every CPU that is up takes it. The fault: only the one that asks, and the others stay. */
function switchAll(lane: Lane, cpu: u32): void {
  const hyp = HYP(lane);
  const old = hyp.runtime;
  const fresh = hyp.spare;
  newRoot(lane, cpu, fresh, old.stage);
  hyp.visitor = HYP_CPU(hyp, cpu);
  hyp.target = fresh;
  eachPage(lane, old, copyVisited);
  barriers(lane, cpu, 0, 1);
  const forgets = HAS_FAULT(KERNEL(lane), Fault.SkipTableSwitch);
  for (let other: u32 = 0; other < lane.cpus; other++) {
    if (HYP_CPU(hyp, other).state != HypState.Up || (forgets && other != cpu)) continue;
    switchTable(lane, HYP_CPU(hyp, other), fresh);
  }
  if (!forgets) freeTables(lane, old, false);
  hyp.runtime = fresh;
  hyp.spare = forgets ? newTable() : old;
  hyp.switched = true;
}

function copyVisited(lane: Lane, va: u64, pa: u64): void {
  const hyp = HYP(lane);
  mapPage(lane, hyp.visitor!.number, hyp.target!, va, pa);
}

/** EL2's registers are lost. What the TLB holds then is unknown: for the adversary all that it held. */
function stop(hyp: Hyp, cpu: HypCpu): void {
  cpu.state = HypState.Stub;
  cpu.mmu = false;
  cpu.table = null;
  cpu.pc = 0;
  if (!hyp.speculates) dropAll(cpu);
}

/** create_hyp_mappings: entries that were not valid, so no TLBI. */
function map(lane: Lane, cpu: u32, va: u64, pa: u64, pages: u64): void {
  const hyp = HYP(lane);
  for (let i: u64 = 0; i < pages; i++) {
    const to = kernHypVa(hyp, va + (i << HYP_PAGE_SHIFT)) & ~(HYP_PAGE - 1);
    const frame = (pa + (i << HYP_PAGE_SHIFT)) & ~(HYP_PAGE - 1);
    const before = mapPage(lane, cpu, hyp.runtime, to, frame);
    if (before == NOWHERE || before == frame) continue;
    violated(lane, to == hyp.initPa ? Check.IdmapOverlap : Check.BreakBeforeMake, to, cpu);
  }
  barriers(lane, cpu, 0, 1);
}

/** Entries are cleared; EL2's TLBs are told by HYP, which an HVC asks for. The legacy scheme does not. */
function unmap(lane: Lane, cpu: u32, va: u64, pages: u64): void {
  const hyp = HYP(lane);
  const asks = hyp.scheme != HypScheme.Legacy && HYP_CPU(hyp, cpu).state == HypState.Up;
  let cleared: u64 = 0;
  for (let i: u64 = 0; i < pages; i++) {
    const from = kernHypVa(hyp, va + (i << HYP_PAGE_SHIFT)) & ~(HYP_PAGE - 1);
    if (!unmapPage(lane, cpu, hyp.runtime, from, true)) continue;
    cleared++;
    for (let other: u32 = 0; asks && other < lane.cpus; other++) dropPage(lane, HYP_CPU(hyp, other), from);
  }
  if (!asks || !cleared) return;
  hvc(lane, HYP_CPU(hyp, cpu));
  count(lane, cpu, Stat.MaintenanceTlbiVae2is, cleared, Cost.TlbiBroadcast);
  barriers(lane, cpu, 1, 2);
}
