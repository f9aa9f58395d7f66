// The invariants of the EL2 side, asked after every event (docs/hypinit.md, Invariants). That a stale translation is used, and that a CPU
// falls off its instruction stream, is noted where it happens.

import { Check, Lane } from '../layout';
import { KERNEL, violated } from '../systems/kernel';
import { HYP, Hyp, HYP_CPU, HypCpu, HypEntry, HypScheme, HypState, runningTable, switchesTables } from './machine';
import { NOWHERE, stillHolds, translateIn } from './tables';

/** The last pages of arm32's addresses: the vectors are there, and the init page must not be. */
const LAST_PAGES: u64 = 0x1_0000;

export function checkHyp(lane: Lane): void {
  if (!lane.hyp) return;
  const hyp = HYP(lane);
  if (!hyp.made || hyp.refused) return;
  checkPlace(lane, hyp);
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    const own = HYP_CPU(hyp, cpu);
    if (own.state != HypState.Up) continue;
    // C-I5
    if (own.table != runningTable(hyp)) violated(lane, Check.RuntimeRoot, 0, cpu);
    let entry = own.entries;
    while (entry) {
      if (entry.live) checkEntry(lane, hyp, own, entry);
      entry = entry.next;
    }
  }
}

/** C-I4: the trampoline is the init page in both tables. C-I6: the init page is not among the last 64 KiB of a 32-bit space. */
function checkPlace(lane: Lane, hyp: Hyp): void {
  const cpu = KERNEL(lane).cpu;
  const end = (<u64>1) << hyp.vaBits;
  if (hyp.arm32 && hyp.initPa < end && hyp.initPa >= end - LAST_PAGES) {
    violated(lane, Check.LastPages, hyp.initPa, cpu);
  }
  if (hyp.scheme != HypScheme.Trampoline) return;
  const missing = hyp.boot.root != 0 && translateIn(lane, hyp.boot, hyp.trampolineVa) != hyp.initPa;
  if (missing || translateIn(lane, hyp.runtime, hyp.trampolineVa) != hyp.initPa) {
    violated(lane, Check.Trampoline, hyp.trampolineVa, cpu);
  }
}

function checkEntry(lane: Lane, hyp: Hyp, cpu: HypCpu, entry: HypEntry): void {
  // G1
  for (let i: u32 = 0; i < entry.depth; i++) {
    const step = entry.source + i * 16;
    if (stillHolds(lane, load<u64>(step), load<u64>(step, 8))) continue;
    violated(lane, Check.Stale, entry.va, cpu.number);
    break;
  }
  // C-I2
  if (switchesTables(hyp) && hyp.boot.root && entry.root == hyp.boot.root - 1) {
    violated(lane, Check.BootEntry, entry.va, cpu.number);
  }
  // C-I3: the identity mapping is held, and the CPU's table has something else there.
  if (entry.va == hyp.initPa && entry.pa == hyp.initPa) {
    const now = translateIn(lane, cpu.table!, entry.va);
    if (now != NOWHERE && now != entry.pa) violated(lane, Check.IdmapOverlap, entry.va, cpu.number);
  }
  // G5
  let twin = entry.twin;
  while (twin) {
    if (twin.live && twin.pa != entry.pa) violated(lane, Check.Conflict, entry.va, cpu.number);
    twin = twin.twin;
  }
}
