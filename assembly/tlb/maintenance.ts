// Counting what software does: operations of a CPU, their cycles (machine.costs), stores to descriptors; and how far TLB maintenance by
// broadcast reaches.

import { Cost, Lane, NODE_OF_CPU } from '../layout';
import { ADD, Stat } from '../stats';

// @ts-ignore: decorator
@inline
export function BLOCK(lane: Lane, cpu: u32): usize {
  return lane.cpuBlocks + <usize>cpu * lane.cpuBlockBytes;
}

// @ts-ignore: decorator
@inline
export function COST(lane: Lane, cost: Cost): u64 {
  return load<u32>(lane.costs + cost * 4);
}

/** Adds cycles of maintenance to a CPU. */
export function spend(lane: Lane, cpu: u32, cycles: u64): void {
  ADD(BLOCK(lane, cpu), Stat.CyclesMaintenance, cycles);
}

/** Counts `n` operations of a CPU and their cycles. */
export function count(lane: Lane, cpu: u32, stat: Stat, n: u64, cost: Cost): void {
  ADD(BLOCK(lane, cpu), stat, n);
  spend(lane, cpu, n * COST(lane, cost));
}

/** Barriers: `isb` context synchronisations, `dsb` data barriers. */
export function barriers(lane: Lane, cpu: u32, isb: u32, dsb: u32): void {
  ADD(BLOCK(lane, cpu), Stat.MaintenanceBarrier, isb + dsb);
  spend(lane, cpu, isb * COST(lane, Cost.Isb) + dsb * COST(lane, Cost.Dsb));
}

/** What memory of `node` costs a CPU more than its own, as far as misses do not overlap. */
export function farther(lane: Lane, cpu: u32, node: u32): u64 {
  const own = NODE_OF_CPU(lane, cpu);
  const there = load<u32>(lane.latency + (own * lane.nodes + node) * 4);
  const here = load<u32>(lane.latency + (own * lane.nodes + own) * 4);
  return there > here ? ((there - here) << 8) / max<u64>(COST(lane, Cost.Overlap), 256) : 0;
}

/** Stores to descriptors in a table of `node`. */
export function tableStores(lane: Lane, cpu: u32, node: u32, n: u64): void {
  ADD(BLOCK(lane, cpu), Stat.MaintenanceTable_Store, n);
  spend(lane, cpu, n * (1 + farther(lane, cpu, node)));
}

/** Whether a broadcast TLBI of one CPU finds the entries of another: not where their tags, the VMIDs, differ (MODEL: forbidden). */
export function reaches(lane: Lane, cpu: u32, other: u32): bool {
  const tree = lane.hostTree;
  return !tree || !tree.vmidPerNode || NODE_OF_CPU(lane, cpu) == NODE_OF_CPU(lane, other);
}
