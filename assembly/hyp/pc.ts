// The steps of a CPU at EL2 while it starts: what it writes to its registers, and the fetch of the next instruction, which must come from the init page.
// Every change of the translation in force is asked whether the instruction stream survives it (C-I1).

import { Check, Cost, Lane } from '../layout';
import { Stat } from '../stats';
import { violated } from '../systems/kernel';
import { barriers, count, rootWrites } from '../systems/operations';
import { HYP, HypCpu, HypState, HypTable } from './machine';
import { NOWHERE, translateIn } from './tables';
import { dropAll, Found, lastPa, lookUp, speculate } from './tlb';

/** HVC: from EL1 to EL2. */
export function hvc(lane: Lane, cpu: HypCpu): void {
  count(lane, cpu.number, Stat.MaintenanceTrap, 1, Cost.Hvc);
}

export function isb(lane: Lane, cpu: HypCpu): void {
  barriers(lane, cpu.number, 1, 0);
}

/** Fetches from `va`, where the init page must be. False: the CPU is lost. */
export function fetch(lane: Lane, cpu: HypCpu, va: u64): bool {
  cpu.pc = va;
  if (!cpu.mmu) return true;
  speculate(lane, cpu);
  if (lookUp(lane, cpu, va) != Found.Fault && lastPa() == HYP(lane).initPa) return true;
  cpu.state = HypState.Lost;
  return false;
}

/** Writes TTBR0_EL2. */
export function writeRoot(lane: Lane, cpu: HypCpu, table: HypTable): void {
  rootWrites(lane, cpu.number, 1, false);
  // With the MMU on the adversary has what the old table maps up to the last moment.
  if (cpu.mmu) speculate(lane, cpu);
  const before = cpu.mmu ? translateIn(lane, cpu.table!, cpu.pc) : NOWHERE;
  cpu.table = table;
  if (cpu.mmu && (before == NOWHERE || translateIn(lane, table, cpu.pc) != before)) {
    violated(lane, Check.FellOff, cpu.pc, cpu.number);
  }
}

/** SCTLR_EL2.M: with the MMU off the program counter is a physical address, so the table must map it to itself. */
export function setMmu(lane: Lane, cpu: HypCpu, on: bool): void {
  if (translateIn(lane, cpu.table!, cpu.pc) != cpu.pc) violated(lane, Check.FellOff, cpu.pc, cpu.number);
  cpu.mmu = on;
}

/** TLBI ALLE2, for this CPU. */
export function flush(lane: Lane, cpu: HypCpu): void {
  count(lane, cpu.number, Stat.MaintenanceTlbiAlle2, 1, Cost.TlbiLocal);
  dropAll(cpu);
}

/** DSB. */
export function dsb(lane: Lane, cpu: HypCpu): void {
  barriers(lane, cpu.number, 0, 1);
}
