// Rows of the trace at EL2 (mode 2) in a lane with an EL2 side: they go through its TLB and tables. All others go the way of every lane.

import { Lane, REGIME_HYPERVISOR } from '../layout';
import { Look, LOOK_BYTES, LOOK_FETCH } from '../replay/look';
import { ADD, Stat } from '../stats';
import { BLOCK } from '../systems/operations';
import { HYP, HYP_CPU } from './machine';
import { Found, lookUp } from './tlb';

/** Whether a look-up is one of EL2. */
export function isHypLook(look: Look): bool {
  return <u8>(look.context >> 8) == REGIME_HYPERVISOR;
}

/** One look-up of EL2; a CPU whose MMU is off there uses physical addresses. */
export function hypLook(lane: Lane, look: Look): void {
  const cpu = HYP_CPU(HYP(lane), look.cpu);
  if (!cpu.mmu || lookUp(lane, cpu, look.va) == Found.Hit) return;
  ADD(BLOCK(lane, cpu.number), look.flags & LOOK_FETCH ? Stat.TlbL1iMiss : Stat.TlbL1dMiss, 1);
}
