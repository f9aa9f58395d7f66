// Reading the EL2 side of a lane from outside: nothing here counts or changes anything.

import { Lane } from '../layout';
import { HYP, HYP_CPU, HypState } from './machine';
import { NOWHERE, translateIn } from './tables';

/** What runs at EL2 of a CPU. */
export function hypStateOf(lane: Lane, cpu: u32): HypState {
  return HYP_CPU(HYP(lane), cpu).state;
}

/** Where the init page is. */
export function hypInitPa(lane: Lane): u64 {
  return HYP(lane).initPa;
}

/** Where the boot table, or else the runtime table, leads for an EL2 address; all ones where nothing is mapped. */
export function hypAddress(lane: Lane, boot: bool, va: u64): u64 {
  const hyp = HYP(lane);
  const table = boot ? hyp.boot : hyp.runtime;
  return table.root ? translateIn(lane, table, va) : NOWHERE;
}

/** The descriptor that step `step` of a walk of the same reads, 0 being the root's; 0 where the walk ends before. */
export function hypDescriptor(lane: Lane, boot: bool, va: u64, step: u32): u64 {
  const hyp = HYP(lane);
  hypAddress(lane, boot, va);
  return step < hyp.stepCount ? load<u64>(hyp.steps + step * 16, 8) : 0;
}
