// How a CPU gets from the stub to KVM's vectors, scheme by scheme (arch/arm/kvm/init.S, arch/arm64/kvm/hyp-init.S of Linux 3.11 to 4.6, later
// arch/arm64/kvm/hyp/nvhe/hyp-init.S). The init code lies in one page; a branch within it stays there, so addresses of steps are the page's.

import { Fault, Lane } from '../layout';
import { HAS_FAULT, KERNEL } from '../systems/kernel';
import { dsb, fetch, flush, hvc, isb, setMmu, writeRoot } from './pc';
import { HYP, HypCpu, HypScheme, HypState, HypTable, runningTable, switchesTables } from './machine';

/** cpu_init_hyp_mode; nothing where the stub's vectors are gone. */
export function startCpu(lane: Lane, cpu: HypCpu): void {
  const hyp = HYP(lane);
  if (cpu.state != HypState.Stub) return;
  hvc(lane, cpu);
  if (!switchesTables(hyp)) {
    // Tables that lead everywhere: no switch.
    if (enable(lane, cpu, runningTable(hyp), hyp.scheme != HypScheme.Legacy)) cpu.state = HypState.Up;
    return;
  }
  // (a); where the boot table was given up, there is only the other one.
  if (!enable(lane, cpu, hyp.boot.root ? hyp.boot : hyp.runtime, true)) return;
  if (hyp.arm32) {
    hvc(lane, cpu);
    if (!fetch(lane, cpu, hyp.initPa)) return;
  }
  // (b) The same page at the address that both tables have.
  if (!fetch(lane, cpu, hyp.trampolineVa)) return;
  // (c)
  writeRoot(lane, cpu, hyp.runtime);
  isb(lane, cpu);
  if (!fetch(lane, cpu, hyp.trampolineVa)) return;
  // (d)
  if (!HAS_FAULT(KERNEL(lane), Fault.SkipHypTlbi)) {
    flush(lane, cpu);
    dsb(lane, cpu);
  }
  if (fetch(lane, cpu, hyp.trampolineVa)) cpu.state = HypState.Up;
}

/** With the MMU off, at the physical address: the table, what earlier lives left in the TLB, the MMU. */
function enable(lane: Lane, cpu: HypCpu, table: HypTable, flushes: bool): bool {
  const hyp = HYP(lane);
  fetch(lane, cpu, hyp.initPa);
  writeRoot(lane, cpu, table);
  isb(lane, cpu);
  if (flushes) {
    flush(lane, cpu);
    dsb(lane, cpu);
  }
  setMmu(lane, cpu, true);
  isb(lane, cpu);
  return fetch(lane, cpu, hyp.initPa);
}

/** __pkvm_init_switch_pgd: a CPU that is up takes another table; no trampoline, because the code runs at its identity address. */
export function switchTable(lane: Lane, cpu: HypCpu, table: HypTable): void {
  const hyp = HYP(lane);
  hvc(lane, cpu);
  if (!fetch(lane, cpu, hyp.initPa)) return;
  setMmu(lane, cpu, false);
  isb(lane, cpu);
  flush(lane, cpu);
  writeRoot(lane, cpu, table);
  dsb(lane, cpu);
  isb(lane, cpu);
  setMmu(lane, cpu, true);
  fetch(lane, cpu, hyp.initPa);
}
