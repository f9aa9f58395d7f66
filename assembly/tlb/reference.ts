// One reference of the hardware walker to a descriptor in memory.

import { walkLine } from '../cache/hierarchy';
import { Lane, LATENCY, NODE_OF_CPU, Policy } from '../layout';
import { NODE_OF } from '../memory/tables';
import { ADD, Stat } from '../stats';

/** Counts a descriptor read at `pa`. */
export function countRef(lane: Lane, block: usize, cpu: u32, pa: u64): void {
  const cpuNode = NODE_OF_CPU(lane, cpu);
  const node = lane.tablePolicy == Policy.Local ? cpuNode : NODE_OF(pa);
  ADD(block, Stat.WalkRefs, 1);
  ADD(block, node == cpuNode ? Stat.WalkLocal : Stat.WalkRemote, 1);
  if (lane.caches) walkLine(lane, block, cpu, pa);
  else ADD(block, Stat.CyclesWalk, LATENCY(lane, cpuNode, node));
}
