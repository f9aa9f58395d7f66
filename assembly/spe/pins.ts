// V2: the pages of the buffer, and those of the guest's tables that map it, are pinned while the buffer is enabled.

import { Check, Cost, Fault, Lane } from '../layout';
import { withRoom } from '../memory/arena';
import { ADD, Stat } from '../stats';
import { HAS_FAULT, KERNEL, violated } from '../systems/kernel';
import { BLOCK, COST, spend } from '../systems/operations';
import { softWalk } from './guest';
import { countPinned, PAGE_BYTES, pageOf } from './pages';
import { Page, SPE, Vcpu } from './records';
import { getPage, mapGuestPage } from './stage2';
import { GUEST_PAGES, tableAt } from './tables';

// @ts-ignore: decorator
@inline
function PINNED(v: Vcpu, i: u32): Page {
  return changetype<Page>(load<u32>(v.pins + i * 4));
}

/** Pins a page and has stage 2 map it; one that the vCPU has pinned already counts once. */
export function pinPage(lane: Lane, v: Vcpu, page: Page, cpu: u32): void {
  getPage(lane, page, cpu);
  spend(lane, cpu, COST(lane, Cost.Stage2Map));
  mapGuestPage(lane, v.guest, page, cpu, true);
  v.pins = withRoom(v.pins, v.pinCount, 4);
  store<u32>(v.pins + v.pinCount++ * 4, changetype<usize>(page));
  ADD(BLOCK(lane, cpu), Stat.SpePins, 1);
  if (!page.pins++) countPinned(lane, cpu, 1);
}

/** Pins the buffer; false where the guest does not map it. */
export function pinBuffer(lane: Lane, v: Vcpu, cpu: u32): bool {
  SPE(lane).softTable = 0;
  const step = PAGE_BYTES(lane);
  let last: u64 = 0;
  for (let va = v.base & ~(step - 1); va < v.limit; va += step) {
    const page = softWalk(lane, v.guest, va, cpu);
    if (!page) return false;
    pinPage(lane, v, page, cpu);
    if (SPE(lane).softTable != last) pinTables(lane, v, va, cpu);
    last = SPE(lane).softTable;
  }
  return true;
}

/** The guest's tables on the way to `va`, those that are not pinned yet. */
function pinTables(lane: Lane, v: Vcpu, va: u64, cpu: u32): void {
  if (HAS_FAULT(KERNEL(lane), Fault.SpeSkipTablePin)) return;
  const depth = lane.stage1.depth;
  for (let height: u32 = 0; height < depth; height++) {
    const page = pageOf(lane, v.guest, tableAt(lane, v.guest.stage1, va, height))!;
    if (!has(v, page)) pinPage(lane, v, page, cpu);
  }
}

function has(v: Vcpu, page: Page): bool {
  for (let i: u32 = 0; i < v.pinCount; i++) if (PINNED(v, i) == page) return true;
  return false;
}

/** Lets all pages go; with the fault, tables stay. */
export function unpinBuffer(lane: Lane, v: Vcpu, cpu: u32): void {
  const leaks = HAS_FAULT(KERNEL(lane), Fault.SpeLeakPins);
  let kept: u32 = 0;
  for (let i: u32 = 0; i < v.pinCount; i++) {
    const page = PINNED(v, i);
    if (leaks && page.ipa < GUEST_PAGES) {
      store<u32>(v.pins + kept++ * 4, changetype<usize>(page));
      continue;
    }
    spend(lane, cpu, COST(lane, Cost.Unpin));
    ADD(BLOCK(lane, cpu), Stat.SpeUnpins, 1);
    if (!--page.pins) SPE(lane).pinned--;
  }
  v.pinCount = kept;
  // F-I5
  if (kept) violated(lane, Check.SpePins, v.base, cpu);
}

/** Stage 2 stopped the unit: the page is made good, and pinned like the others. */
export function resolveFault(lane: Lane, v: Vcpu, pins: bool, cpu: u32): void {
  const page = pageOf(lane, v.guest, v.faultIpa);
  if (!page) return;
  if (pins) pinPage(lane, v, page, cpu);
  else mapGuestPage(lane, v.guest, page, cpu, true);
}
