// Freeing tables that walkers may still be in: after a grace period of RCU (a fixed delay, and all who were reading then have left), or after an interrupt to
// all CPUs, which those with interrupts off answer when they have left their walk.

import { Cost, NODE_OF_CPU } from '../layout';
import { allocate } from '../memory/arena';
import { ADD, Stat } from '../stats';
import { BLOCK, COST } from '../tlb/maintenance';
import { pass } from './lock';
import { Deferred, Sim, Walker, WALKER } from './records';
import { freeTree, unlinkTree } from './tables';

/** call_rcu for a detached subtree that the walker has unlinked. */
export function deferFree(sim: Sim, w: Walker, table: u64, height: u32): void {
  let deferred = sim.freeDeferred;
  if (deferred) sim.freeDeferred = deferred.next;
  else deferred = changetype<Deferred>(allocate(offsetof<Deferred>()));
  deferred.next = null;
  deferred.guest = w.guest;
  deferred.table = table;
  deferred.height = height;
  deferred.bytes = unlinkTree(sim, w.guest, table, height, w.cpu) << w.guest.stage.pageShift;
  deferred.since = w.clock;
  deferred.order = ++sim.rcuCounter;
  if (sim.lastDeferred) sim.lastDeferred!.next = deferred;
  else sim.firstDeferred = deferred;
  sim.lastDeferred = deferred;
  sim.deferredBytes += deferred.bytes;
  if (sim.deferredBytes <= sim.mostDeferred) return;
  // Its sum over the CPUs is the most there ever was.
  ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceDeferred_Max, sim.deferredBytes - sim.mostDeferred);
  sim.mostDeferred = sim.deferredBytes;
}

/** Whether the oldest subtree's grace period is over at `clock`; with a random scheduler time does not count. */
export function graceIsOver(sim: Sim, clock: u64): bool {
  const oldest = sim.firstDeferred;
  if (!oldest || (!sim.random && clock < oldest.since + COST(sim.lane, Cost.GracePeriod))) return false;
  for (let cpu: u32 = 0; cpu < sim.lane.cpus; cpu++) {
    const since = WALKER(sim, cpu).rcuSince;
    if (since && since < oldest.order) return false;
  }
  return true;
}

/** Frees the oldest subtree, at `clock`. */
export function freeOldest(sim: Sim, clock: u64): void {
  const oldest = sim.firstDeferred!;
  sim.firstDeferred = oldest.next;
  if (!oldest.next) sim.lastDeferred = null;
  freeTree(sim, oldest.guest, oldest.table, oldest.height);
  sim.deferredBytes -= oldest.bytes;
  if (clock > oldest.since) {
    ADD(BLOCK(sim.lane, 0), Stat.MaintenanceDeferred_Byte_Cycles, oldest.bytes * (clock - oldest.since));
  }
  oldest.next = sim.freeDeferred;
  sim.freeDeferred = oldest;
}

/** At the end of a trace, `clock`: what is still deferred has waited until then. */
export function countDeferred(sim: Sim, clock: u64): void {
  if (sim.random) return;
  while (graceIsOver(sim, clock)) freeOldest(sim, clock);
  let waits = sim.firstDeferred;
  while (waits) {
    ADD(BLOCK(sim.lane, 0), Stat.MaintenanceDeferred_Byte_Cycles, waits.bytes * (clock - waits.since));
    waits = waits.next;
  }
}

/** rcu_barrier: everything is freed, its grace period being over. */
export function freeAllDeferred(sim: Sim): void {
  while (sim.firstDeferred) freeOldest(sim, sim.firstDeferred!.since + COST(sim.lane, Cost.GracePeriod));
}

/** Interrupts all other CPUs; the walker goes on when they have answered. */
export function interruptAll(sim: Sim, w: Walker): void {
  const lane = sim.lane;
  let slowest: u64 = 0;
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    const other = WALKER(sim, cpu);
    if (cpu == w.cpu) continue;
    const near = NODE_OF_CPU(lane, cpu) == NODE_OF_CPU(lane, w.cpu);
    slowest = max(slowest, COST(lane, near ? Cost.IpiLocal : Cost.IpiRemote));
    store<u64>(w.awaited + cpu * 8, other.interruptsOff ? other.interruptsOn + 1 : 0);
    // A blocked walker's handler runs while it waits.
    if (!other.blocked) pass(sim, other, COST(lane, Cost.IpiHandler), Stat.CyclesMaintenance);
  }
  ADD(BLOCK(lane, w.cpu), Stat.MaintenanceIpiFree_Table, lane.cpus - 1);
  pass(sim, w, slowest + COST(lane, Cost.IpiHandler), Stat.CyclesMaintenance);
  w.waitsForAnswers = true;
  w.blocked = true;
  answered(sim, w, w.clock);
}

/** Lets the walker go on if all CPUs have answered. */
function answered(sim: Sim, w: Walker, clock: u64): void {
  for (let cpu: u32 = 0; cpu < sim.lane.cpus; cpu++) {
    const awaited = load<u64>(w.awaited + cpu * 8);
    if (awaited && awaited == WALKER(sim, cpu).interruptsOn + 1) return;
  }
  w.waitsForAnswers = false;
  w.blocked = false;
  if (clock > w.clock) pass(sim, w, clock - w.clock, Stat.CyclesMaintenance);
}

/** A walker turns its interrupts on again, and so answers those who wait. */
export function interruptsOn(sim: Sim, w: Walker): void {
  w.interruptsOff = false;
  w.interruptsOn++;
  for (let cpu: u32 = 0; cpu < sim.lane.cpus; cpu++) {
    const other = WALKER(sim, cpu);
    if (other.waitsForAnswers) answered(sim, other, w.clock);
  }
}
