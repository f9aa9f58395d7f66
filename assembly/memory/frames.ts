// Frames of data: only their addresses exist. Each node hands them out upwards from the middle of its range.

import { Lane, Policy } from '../layout';
import { allocate } from './arena';
import { NODE_SHIFT } from './tables';

/** The offset within a node's range at which its data frames start. */
const DATA_OFFSET: u64 = (<u64>1) << (NODE_SHIFT - 1);

/** Sets up the nodes' free pointers. */
export function initFrames(lane: Lane): void {
  lane.nextData = allocate(lane.nodes * 8);
  for (let node: u32 = 0; node < lane.nodes; node++) {
    store<u64>(lane.nextData + node * 8, ((<u64>node) << NODE_SHIFT) | DATA_OFFSET);
  }
}

/** The first address at or above `nextFree` that is aligned to 2^shift bytes. */
export function alignUp(nextFree: u64, shift: u32): u64 {
  const bytes: u64 = (<u64>1) << shift;
  return (nextFree + bytes - 1) & ~(bytes - 1);
}

/** Allocates a frame of 2^shift bytes for the page at `address`, first touched from node `cpuNode`, by `policy`. */
export function allocateFrame(lane: Lane, cpuNode: u32, address: u64, shift: u32, policy: Policy, node: u32): u64 {
  const home: u32 =
    policy == Policy.Interleave ? <u32>((address >> shift) % <u64>lane.nodes) : policy == Policy.Node ? node : cpuNode;
  const next = lane.nextData + home * 8;
  const pa = alignUp(load<u64>(next), shift);
  const end = pa + ((<u64>1) << shift);
  store<u64>(next, end);
  // Behind a guest's table there must be a frame of the node that it is counted on.
  if (lane.stage2 && end > (<u64>home + 1) << NODE_SHIFT) lane.memoryFull = true;
  return pa;
}
