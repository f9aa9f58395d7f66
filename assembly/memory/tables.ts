// Table pages: simulated physical pages that hold descriptors, kept in Wasm memory.
//
// Physical layout of a lane: node k owns the addresses from k << 40. Table page i (counted over all nodes, in order of
// allocation) has the address (node << 40) + i * tableBytes; data starts half-way up (frames.ts). So a table's address
// names its node and, through a directory of chunks, its place in Wasm memory, by arithmetic alone.

import { Lane, Policy } from '../layout';
import { allocate } from './arena';

/** log2 of the bytes that one node owns. */
export const NODE_SHIFT: u32 = 40;
const CHUNK_SHIFT: u32 = 16;
/** Chunks of 64 KiB that can fill all of a Wasm memory. */
const MAX_CHUNKS: usize = 1 << (32 - CHUNK_SHIFT);
const NODE_MASK: u64 = ((<u64>1) << NODE_SHIFT) - 1;

/** Sets up an empty store of table pages. */
export function initTables(lane: Lane): void {
  lane.chunks = allocate(MAX_CHUNKS * 4);
  lane.tableBytes = allocate(lane.nodes * 8);
}

/** Where the descriptor at physical address `pa` lies in Wasm memory. */
// @ts-ignore: decorator
@inline
export function DESCRIPTOR(lane: Lane, pa: u64): usize {
  const offset = <usize>(pa & NODE_MASK);
  return <usize>load<u32>(lane.chunks + ((offset >> CHUNK_SHIFT) << 2)) + (offset & ((1 << CHUNK_SHIFT) - 1));
}

/** The node that owns a physical address of this layout. */
// @ts-ignore: decorator
@inline
export function NODE_OF(pa: u64): u32 {
  return <u32>(pa >> NODE_SHIFT);
}

/** Allocates a zeroed table page for a CPU of node `cpuNode` by the lane's policy and returns its physical address. */
export function allocateTable(lane: Lane, cpuNode: u32): u64 {
  const bytes: u64 = (<u64>1) << lane.pageShift;
  const number = lane.tablePages++;
  const offset: u64 = (<u64>number) << lane.pageShift;
  if (offset >= (<u64>1) << 32) unreachable();
  const chunk = lane.chunks + ((<usize>(offset >> CHUNK_SHIFT)) << 2);
  if (load<u32>(chunk) == 0) store<u32>(chunk, <u32>allocate(1 << CHUNK_SHIFT));
  const node = tableNode(lane, cpuNode, number);
  const total = lane.tableBytes + node * 8;
  store<u64>(total, load<u64>(total) + bytes);
  return ((<u64>node) << NODE_SHIFT) | offset;
}

function tableNode(lane: Lane, cpuNode: u32, number: u32): u32 {
  if (lane.tablePolicy == Policy.Interleave) return number % lane.nodes;
  if (lane.tablePolicy == Policy.Node) return lane.tableNode;
  return cpuNode;
}
