// Table pages of guests' stage 2: a reference for each entry that is not 0 and one more, a state and a generation that changes when the page is freed, so that a
// walker that follows a pointer to it is found (G2); and the one place where entries are stored (G3).

import { Check, NODE_OF_CPU } from '../layout';
import { allocate } from '../memory/arena';
import { allocateAligned, DESCRIPTOR, freeTable, newTableOn } from '../memory/tables';
import { addressOf, isLeaf, isPresent, needsBreak } from '../paging/descriptor';
import { ENTRY_AT } from '../paging/stage';
import { ADD, Stat } from '../stats';
import { violated } from '../systems/kernel';
import { BLOCK } from '../tlb/maintenance';
import { Guest, Sim, Walker } from './records';

export enum State {
  Free,
  Live,
  Unlinked,
}


@unmanaged
export class TableState {
  references: u32;
  generation: u32;
  state: State;
  /** A block was broken for it: faults on it are faults again. */
  split: bool;
  /** The CPU that unlinked it. */
  unlinkedBy: u32;
}

const CHUNK_SHIFT: u32 = 10;
const CHUNKS: u32 = 4096;
const NODE_BITS: u64 = ((<u64>1) << 40) - 1;

export function newStates(): usize {
  return allocate(CHUNKS * 4);
}

/** The state of the table page at `table`. */
export function stateOf(sim: Sim, table: u64): TableState {
  const number = <u32>((table & NODE_BITS) >> sim.lane.tables.pageShift);
  const slot = sim.states + (number >> CHUNK_SHIFT) * 4;
  if (!load<u32>(slot)) store<u32>(slot, allocate(offsetof<TableState>() << CHUNK_SHIFT));
  return changetype<TableState>(load<u32>(slot) + (number & ((1 << CHUNK_SHIFT) - 1)) * offsetof<TableState>());
}

function open(sim: Sim, table: u64): u64 {
  const state = stateOf(sim, table);
  state.state = State.Live;
  state.references = 1;
  state.split = false;
  sim.tables++;
  return table;
}

/** A zeroed table on the CPU's node. */
export function newTable(sim: Sim, cpu: u32): u64 {
  return open(sim, newTableOn(sim.lane, NODE_OF_CPU(sim.lane, cpu)));
}

/** The tables of a root, which adjoin. */
export function newRoot(sim: Sim, cpu: u32, pages: u32): u64 {
  const root = allocateAligned(sim.lane, NODE_OF_CPU(sim.lane, cpu), pages);
  for (let i: u32 = 0; i < pages; i++) open(sim, root + ((<u64>i) << sim.lane.tables.pageShift));
  return root;
}

/** Frees a single table page. */
export function freePage(sim: Sim, table: u64): void {
  const state = stateOf(sim, table);
  state.state = State.Free;
  state.generation++;
  state.references = 0;
  sim.tables--;
  freeTable(sim.lane, table);
}

/** Frees a table of `height` with all below it. */
export function freeTree(sim: Sim, guest: Guest, table: u64, height: u32): void {
  if (height > 0) {
    for (let i: u32 = 0; i >> guest.stage.indexBits == 0; i++) {
      const entry = load<u64>(DESCRIPTOR(sim.lane.tables, table + i * 8));
      if (isPresent(guest.stage, entry, height) && !isLeaf(guest.stage, entry, height)) {
        freeTree(sim, guest, addressOf(guest.stage, entry, height), height - 1);
      }
    }
  }
  freePage(sim, table);
}

/** Marks a table of `height` and all below it as unlinked by a CPU; returns how many they are. */
export function unlinkTree(sim: Sim, guest: Guest, table: u64, height: u32, cpu: u32): u64 {
  let tables: u64 = 1;
  if (height > 0) {
    for (let i: u32 = 0; i >> guest.stage.indexBits == 0; i++) {
      const entry = load<u64>(DESCRIPTOR(sim.lane.tables, table + i * 8));
      if (isPresent(guest.stage, entry, height) && !isLeaf(guest.stage, entry, height)) {
        tables += unlinkTree(sim, guest, addressOf(guest.stage, entry, height), height - 1, cpu);
      }
    }
  }
  const state = stateOf(sim, table);
  state.state = State.Unlinked;
  state.unlinkedBy = cpu;
  return tables;
}

/** The table that an address's entry of the walker's height is in: the root may be several. */
function pageOf(w: Walker, table: u64, height: u32): u64 {
  return ENTRY_AT(w.guest.stage, table, w.ipa, height) & ~(((<u64>1) << w.guest.stage.pageShift) - 1);
}

export function entryOf(sim: Sim, w: Walker): usize {
  return DESCRIPTOR(sim.lane.tables, ENTRY_AT(w.guest.stage, w.table, w.ipa, w.height));
}

/** The walker goes to a table of the height. */
export function enterTable(sim: Sim, w: Walker, table: u64, height: u32): void {
  w.table = table;
  w.height = height;
  w.generation = stateOf(sim, table).generation;
}

/**
 * Whether the walker may read the table that it is in (G2): it is in the tree, or unlinked by another while this one may still be there. One
 * that the walker unlinked itself it has given away.
 */
export function mayRead(sim: Sim, w: Walker): bool {
  const state = stateOf(sim, w.table);
  const given = state.state == State.Unlinked && state.unlinkedBy == w.cpu;
  if (state.state != State.Free && state.generation == w.generation && !given) return true;
  violated(sim.lane, Check.UseAfterFree, w.ipa, w.cpu);
  return false;
}

/** Adds a reference to the table that the walker is in, or drops one. */
export function refer(sim: Sim, w: Walker, change: i32): void {
  stateOf(sim, pageOf(w, w.table, w.height)).references += change;
}

export function referencesOf(sim: Sim, table: u64): u32 {
  return stateOf(sim, table).references;
}

/** Stores to the walker's entry. A live entry must not become another one at once. */
export function setEntry(sim: Sim, w: Walker, value: u64): void {
  const at = entryOf(sim, w);
  if (needsBreak(w.guest.stage, load<u64>(at), value, w.height)) {
    violated(sim.lane, Check.BreakBeforeMake, w.ipa, w.cpu);
  }
  store<u64>(at, value);
  ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceTable_Store, 1);
}

/** Compares and swaps the walker's entry, which may be in a table that has gone. */
export function swapEntry(sim: Sim, w: Walker, value: u64): bool {
  if (mayRead(sim, w) && load<u64>(entryOf(sim, w)) == w.old) {
    setEntry(sim, w, value);
    return true;
  }
  ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceCas_Failed, 1);
  return false;
}
