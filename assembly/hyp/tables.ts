// The tables of EL2: real pages of the lane's pool, 4 KiB granule, pages only (create_hyp_mappings of arch/arm/kvm/mmu.c, kvm_pgtable_hyp_map).
// Descriptors are written and read here, and nowhere else of the EL2 side.

import { Lane, NODE_OF_CPU, PA_UNKNOWN, Stage } from '../layout';
import { DESCRIPTOR, freeTable, newTableOn, NODE_OF } from '../memory/tables';
import { addressOf, hypLeaf, isLeaf, isPresent, tableDescriptor } from '../paging/descriptor';
import { ENTRY_AT, SHIFT_AT } from '../paging/stage';
import { allocatedPages, tableStores } from '../systems/operations';
import { HYP, HYP_PAGE, HypTable } from './machine';

/** No address: nothing is mapped. */
export const NOWHERE: u64 = PA_UNKNOWN;

/** A new root on the node of a CPU. */
export function newRoot(lane: Lane, cpu: u32, table: HypTable, stage: Stage): void {
  table.stage = stage;
  table.root = newPage(lane, cpu) + 1;
}

function newPage(lane: Lane, cpu: u32): u64 {
  const node = NODE_OF_CPU(lane, cpu);
  allocatedPages(lane, cpu, node, 1);
  return newTableOn(lane, node);
}

function write(lane: Lane, cpu: u32, at: u64, value: u64): void {
  store<u64>(DESCRIPTOR(lane.tables, at), value);
  tableStores(lane, cpu, NODE_OF(at), 1);
}

function read(lane: Lane, at: u64): u64 {
  return load<u64>(DESCRIPTOR(lane.tables, at));
}

/** Index bits of a table of `height`. */
function bitsAt(stage: Stage, height: u32): u32 {
  return height == stage.depth - 1 ? stage.rootBits : stage.indexBits;
}

/** Whether a table translates `va` at all. */
function covers(stage: Stage, va: u64): bool {
  return va >> (SHIFT_AT(stage, stage.depth - 1) + stage.rootBits) == 0;
}

/** Where a table leads for `va`, or NOWHERE; what was read is in `steps` of the EL2 side. Counts nothing. */
export function translateIn(lane: Lane, table: HypTable, va: u64): u64 {
  const hyp = HYP(lane);
  const stage = table.stage;
  hyp.stepCount = 0;
  if (!table.root || !covers(stage, va)) return NOWHERE;
  let next = table.root - 1;
  for (let height = <i32>stage.depth - 1; height >= 0; height--) {
    const at = ENTRY_AT(stage, next, va, height);
    const entry = read(lane, at);
    const step = hyp.steps + hyp.stepCount++ * 16;
    store<u64>(step, at);
    store<u64>(step, entry, 8);
    if (!isPresent(stage, entry, height)) return NOWHERE;
    next = addressOf(stage, entry, height);
  }
  return next | (va & (HYP_PAGE - 1));
}

/** Whether a descriptor still has a value. */
export function stillHolds(lane: Lane, at: u64, value: u64): bool {
  return read(lane, at) == value;
}

/** The page for `va`, in tables that are made on the node of the CPU. Returns where it led before: NOWHERE when it was not mapped. */
export function mapPage(lane: Lane, cpu: u32, table: HypTable, va: u64, pa: u64): u64 {
  const stage = table.stage;
  if (!covers(stage, va)) return NOWHERE;
  let next = table.root - 1;
  for (let height = stage.depth - 1; height > 0; height--) {
    const at = ENTRY_AT(stage, next, va, height);
    const entry = read(lane, at);
    if (isPresent(stage, entry, height)) next = addressOf(stage, entry, height);
    else {
      next = newPage(lane, cpu);
      write(lane, cpu, at, tableDescriptor(stage, next));
    }
  }
  const at = ENTRY_AT(stage, next, va, 0);
  const old = read(lane, at);
  const leaf = hypLeaf(stage, pa);
  if (old != leaf) write(lane, cpu, at, leaf);
  return isPresent(stage, old, 0) ? addressOf(stage, old, 0) : NOWHERE;
}

/** Makes a table's top-level entry for `va` lead to another table's root. */
export function link(lane: Lane, cpu: u32, table: HypTable, va: u64, to: HypTable): void {
  const stage = table.stage;
  const at = ENTRY_AT(stage, table.root - 1, va, stage.depth - 1);
  write(lane, cpu, at, tableDescriptor(stage, to.root - 1));
}

/** Clears the leaf for `va`; false when there is none. Tables that are empty then are freed where `prunes`. */
export function unmapPage(lane: Lane, cpu: u32, table: HypTable, va: u64, prunes: bool): bool {
  if (translateIn(lane, table, va) == NOWHERE) return false;
  const stage = table.stage;
  const steps = HYP(lane).steps;
  for (let height: u32 = 0; height < stage.depth; height++) {
    const at = load<u64>(steps + (stage.depth - 1 - height) * 16);
    const entry = read(lane, at);
    write(lane, cpu, at, 0);
    if (height) freeTable(lane, addressOf(stage, entry, height));
    const page = at & ~(HYP_PAGE - 1);
    if (!prunes || height == stage.depth - 1 || !isEmpty(lane, page, bitsAt(stage, height))) break;
  }
  return true;
}

function isEmpty(lane: Lane, table: u64, bits: u32): bool {
  for (let i: u64 = 0; i >> bits == 0; i++) if (read(lane, table + i * 8)) return false;
  return true;
}

/** Calls `visit` with the address and the frame of every page of a table. */
export function eachPage(lane: Lane, table: HypTable, visit: (lane: Lane, va: u64, pa: u64) => void): void {
  if (table.root) below(lane, table.stage, table.root - 1, table.stage.depth - 1, 0, visit);
}

function below(
  lane: Lane,
  stage: Stage,
  table: u64,
  height: u32,
  from: u64,
  visit: (lane: Lane, va: u64, pa: u64) => void,
): void {
  const bits = bitsAt(stage, height);
  for (let i: u64 = 0; i >> bits == 0; i++) {
    const entry = read(lane, table + i * 8);
    if (!isPresent(stage, entry, height)) continue;
    const va = from | (i << SHIFT_AT(stage, height));
    const next = addressOf(stage, entry, height);
    if (isLeaf(stage, entry, height)) visit(lane, va, next);
    else below(lane, stage, next, height - 1, va, visit);
  }
}

/** Frees a table and, unless `rootOnly`, all that it leads to. */
export function freeTables(lane: Lane, table: HypTable, rootOnly: bool): void {
  if (!table.root) return;
  const stage = table.stage;
  if (!rootOnly) freeBelow(lane, stage, table.root - 1, stage.depth - 1);
  freeTable(lane, table.root - 1);
  table.root = 0;
}

function freeBelow(lane: Lane, stage: Stage, table: u64, height: u32): void {
  for (let i: u64 = 0; height > 0 && i >> bitsAt(stage, height) == 0; i++) {
    const entry = read(lane, table + i * 8);
    if (!isPresent(stage, entry, height)) continue;
    const next = addressOf(stage, entry, height);
    freeBelow(lane, stage, next, height - 1);
    freeTable(lane, next);
  }
}
