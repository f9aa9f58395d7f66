// Data frames: only their addresses exist. Each node hands them out upwards from the middle of its range.

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

/** Allocates a frame of 2^shift bytes, aligned to its size, for the page at `va` first touched from node `cpuNode`. */
export function allocateFrame(lane: Lane, cpuNode: u32, va: u64, shift: u32): u64 {
  const bytes: u64 = (<u64>1) << shift;
  const next = lane.nextData + dataNode(lane, cpuNode, va >> shift) * 8;
  const pa = (load<u64>(next) + bytes - 1) & ~(bytes - 1);
  store<u64>(next, pa + bytes);
  return pa;
}

function dataNode(lane: Lane, cpuNode: u32, vpn: u64): u32 {
  if (lane.dataPolicy == Policy.Interleave) return <u32>(vpn % <u64>lane.nodes);
  if (lane.dataPolicy == Policy.Node) return lane.dataNode;
  return cpuNode;
}
