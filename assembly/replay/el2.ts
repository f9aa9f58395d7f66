// Rows of the trace at EL2 (mode 2) in a lane with an EL2 side: they go through its TLB and tables. All others go the way of every lane. EL2 has only the
// lower half of the addresses; a row with an address of the upper one, the kernel's, means kern_hyp_va of it.

import { Lane, REGIME_HYPERVISOR } from '../layout';
import { Look, LOOK_FETCH } from './look';
import { ADD, Stat } from '../stats';
import { BLOCK } from '../systems/operations';
import { HYP, HYP_CPU, HypState, kernHypVa } from '../hyp/machine';
import { dropAll, Found, lookUp } from '../hyp/tlb';

/** Whether a look-up is one of EL2. */
export function isHypLook(look: Look): bool {
  return <u8>(look.context >> 8) == REGIME_HYPERVISOR;
}

/** One look-up of EL2; a CPU on which HYP mode is not up translates nothing there. */
export function hypLook(lane: Lane, look: Look): void {
  const cpu = HYP_CPU(HYP(lane), look.cpu);
  const va = look.va >> 63 ? kernHypVa(HYP(lane), look.va) : look.va;
  if (cpu.state != HypState.Up || lookUp(lane, cpu, va) == Found.Hit) return;
  ADD(BLOCK(lane, cpu.number), look.flags & LOOK_FETCH ? Stat.TlbL1iMiss : Stat.TlbL1dMiss, 1);
}

/** Empties the EL2 TLB of a CPU. */
export function coolHyp(lane: Lane, cpu: u32): void {
  if (lane.hyp) dropAll(HYP_CPU(HYP(lane), cpu));
}
