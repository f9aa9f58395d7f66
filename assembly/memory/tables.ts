// Table pages: simulated pages that hold descriptors, kept in Wasm memory.
//
// Physical layout of a lane: node k owns the addresses from k << 40. Table page i of the lane's pool (counted over all nodes, in order of
// allocation) has the address (node << 40) + (i << pageShift); data starts half-way up (frames.ts). A guest's pool is laid out the
// same way in its intermediate addresses, without nodes. So a table's address gives its place in Wasm memory, through a
// directory of chunks, by arithmetic alone.

import { Lane, Policy, TablePool } from '../layout';
import { allocate } from './arena';

/** log2 of the bytes that one node owns. */
export const NODE_SHIFT: u32 = 40;
const NODE_MASK: u64 = ((<u64>1) << NODE_SHIFT) - 1;
const CHUNK_SHIFT: u32 = 16;

/** A pool with room for `room` chunks of 64 KiB. */
export function newTablePool(pageShift: u32, room: u32): TablePool {
  const pool = changetype<TablePool>(allocate(offsetof<TablePool>()));
  pool.chunks = allocate(room * 4);
  pool.room = room;
  pool.pageShift = pageShift;
  return pool;
}

/** Where the descriptor at address `at` of the pool lies in Wasm memory. */
// @ts-ignore: decorator
@inline
export function DESCRIPTOR(pool: TablePool, at: u64): usize {
  const offset = <usize>(at & NODE_MASK);
  return <usize>load<u32>(pool.chunks + ((offset >> CHUNK_SHIFT) << 2)) + (offset & ((1 << CHUNK_SHIFT) - 1));
}

/** The node that owns a physical address of this layout. */
// @ts-ignore: decorator
@inline
export function NODE_OF(pa: u64): u32 {
  return <u32>(pa >> NODE_SHIFT);
}

/** Takes `count` (a power of two) zeroed pages, the first at a multiple of `count`, and returns the number of the first. */
export function takePages(pool: TablePool, count: u32): u32 {
  if (count == 1 && pool.free) {
    const number = pool.free - 1;
    const at = DESCRIPTOR(pool, (<u64>number) << pool.pageShift);
    pool.free = load<u32>(at);
    memory.fill(at, 0, (<usize>1) << pool.pageShift);
    return number;
  }
  const first = (pool.pages + count - 1) & ~(count - 1);
  pool.pages = first + count;
  const from = (<u64>first) << pool.pageShift;
  const to = (<u64>pool.pages) << pool.pageShift;
  if ((to - 1) >> CHUNK_SHIFT >= <u64>pool.room) unreachable();
  for (let chunk = from >> CHUNK_SHIFT; chunk <= (to - 1) >> CHUNK_SHIFT; chunk++) {
    const slot = pool.chunks + ((<usize>chunk) << 2);
    if (!load<u32>(slot)) store<u32>(slot, <u32>allocate(1 << CHUNK_SHIFT));
  }
  return first;
}

/** Gives a table page back; its bytes are no longer counted. */
export function freeTable(lane: Lane, address: u64): void {
  const pool = lane.tables;
  const number = <u32>((address & NODE_MASK) >> pool.pageShift);
  const at = DESCRIPTOR(pool, (<u64>number) << pool.pageShift);
  store<u32>(at, pool.free);
  pool.free = number + 1;
  const total = lane.tableBytes + NODE_OF(address) * 8;
  store<u64>(total, load<u64>(total) - ((<u64>1) << lane.stage1.pageShift));
}

/** Gives back a table that only a further view needed. */
export function freeReplicaTable(lane: Lane, address: u64): void {
  const total = lane.replicaTableBytes + NODE_OF(address) * 8;
  store<u64>(total, load<u64>(total) - ((<u64>1) << lane.stage1.pageShift));
  freeTable(lane, address);
}

/** Counts `bytes` of tables on a node. */
export function countTables(lane: Lane, node: u32, bytes: u64): void {
  const total = lane.tableBytes + node * 8;
  store<u64>(total, load<u64>(total) + bytes);
}

/**
 * Allocates `count` adjoining table pages of 2^pageShift bytes for a CPU of node `cpuNode` by the lane's policy; returns the
 * physical address of the first.
 */
export function allocateTables(lane: Lane, cpuNode: u32, count: u32, pageShift: u32): u64 {
  const number = takePages(lane.tables, count);
  const node = tableNode(lane, cpuNode, number);
  countTables(lane, node, (<u64>count) << pageShift);
  return ((<u64>node) << NODE_SHIFT) | ((<u64>number) << lane.tables.pageShift);
}

/** A table page on `node`, whatever the policy. */
export function newTableOn(lane: Lane, node: u32): u64 {
  countTables(lane, node, (<u64>1) << lane.stage1.pageShift);
  return ((<u64>node) << NODE_SHIFT) | ((<u64>takePages(lane.tables, 1)) << lane.tables.pageShift);
}

/** A table page on `node` that only a further view needs (paging/views.ts). */
export function newReplicaTable(lane: Lane, node: u32): u64 {
  const total = lane.replicaTableBytes + node * 8;
  store<u64>(total, load<u64>(total) + ((<u64>1) << lane.stage1.pageShift));
  return newTableOn(lane, node);
}

function tableNode(lane: Lane, cpuNode: u32, number: u32): u32 {
  if (lane.tablePolicy == Policy.Interleave) return number % lane.nodes;
  if (lane.tablePolicy == Policy.Node) return lane.tableNode;
  return cpuNode;
}

/** Table pages that adjoin, aligned to their number, a power of two; page numbers that are skipped for that are free for others. */
export function allocateAligned(lane: Lane, node: u32, pages: u32): u64 {
  const pool = lane.tables;
  while (pool.pages & (pages - 1)) {
    const free = pool.free;
    pool.free = 0;
    const number = takePages(pool, 1);
    store<u32>(DESCRIPTOR(pool, (<u64>number) << pool.pageShift), free);
    pool.free = number + 1;
  }
  return allocateTables(lane, node, pages, pool.pageShift);
}
