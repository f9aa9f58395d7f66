// Tables of the three regimes that profiling goes through: the guest kernel's, in pages of the guest's own memory; stage 2; and the host kernel's, which
// map KVM's own buffers. Descriptors are real; they are stored here and nowhere else.

import { Format, Lane, NODE_OF_CPU } from '../layout';
import { allocateAligned, DESCRIPTOR, freeTable, newTableOn } from '../memory/tables';
import { addressOf, isPresent, tableDescriptor } from '../paging/descriptor';
import { ENTRY_AT, newStage, SHIFT_AT } from '../paging/stage';
import { INSIDE, newGuestPage, PAGE_BYTES, pageOf } from './pages';
import { Guest, SPE, Tree } from './records';

/** Bits of a guest's intermediate addresses; tables that a stage-2 root may be made of, as a power of two (KVM). */
const IPA_BITS: u32 = 40;
const CONCATENATED: u32 = 4;
const OUTPUT_BITS: u32 = 48;

/** Where a guest's table pages and its other pages begin; both are taken in ascending order. */
export const GUEST_TABLES: u64 = 0x4000_0000;
export const GUEST_PAGES: u64 = 0x8000_0000;

/** Where the entry at address `at` of a tree's tables lies in Wasm memory. */
export function entryAt(lane: Lane, tree: Tree, at: u64): usize {
  const guest = tree.guest;
  if (!guest) return DESCRIPTOR(lane.tables, at);
  return pageOf(lane, guest, at)!.bytes + <usize>INSIDE(lane, at);
}

/** The tables of a guest's kernel; its root is its first table page. */
export function openStage1(lane: Lane, guest: Guest, cpu: u32): void {
  const tree = guest.stage1;
  tree.stage = lane.stage1;
  tree.guest = guest;
  tree.root = newTable(lane, tree, cpu) + 1;
}

/** A root of stage 2, of KVM's geometry: floor((bits - 8) / index bits) levels, at least 2. */
export function openStage2(lane: Lane, guest: Guest, cpu: u32): void {
  const tree = guest.stage2;
  const shift = lane.stage1.pageShift;
  if (!changetype<usize>(tree.stage)) tree.stage = newStage(Format.ArmStage2, shift, 0, 0, OUTPUT_BITS, 0);
  const stage = tree.stage;
  stage.depth = max((IPA_BITS - CONCATENATED - 4) / stage.indexBits, 2);
  stage.rootBits = IPA_BITS - shift - (stage.depth - 1) * stage.indexBits;
  tree.root = allocateAligned(lane, NODE_OF_CPU(lane, cpu), rootPages(tree)) + 1;
  guest.tables += rootPages(tree);
}

function rootPages(tree: Tree): u32 {
  const stage = tree.stage;
  return stage.rootBits > stage.indexBits ? 1 << (stage.rootBits - stage.indexBits) : 1;
}

function newTable(lane: Lane, tree: Tree, cpu: u32): u64 {
  const guest = tree.guest;
  if (!guest) return newTableOn(lane, NODE_OF_CPU(lane, cpu));
  const ipa = guest.nextTable;
  guest.nextTable += PAGE_BYTES(lane);
  newGuestPage(lane, guest, ipa, cpu);
  return ipa;
}

/** Tables that the last makeEntry made. */
export let madeTables: u32 = 0;

/** Where the last-level entry for an address lies in Wasm memory; missing tables are made on the node of the CPU. */
export function makeEntry(lane: Lane, tree: Tree, address: u64, cpu: u32): usize {
  const stage = tree.stage;
  let table = tree.root - 1;
  madeTables = 0;
  for (let height = stage.depth - 1; height > 0; height--) {
    const at = ENTRY_AT(stage, table, address, height);
    const entry = load<u64>(entryAt(lane, tree, at));
    if (isPresent(stage, entry, height)) table = addressOf(stage, entry, height);
    else {
      table = newTable(lane, tree, cpu);
      madeTables++;
      store<u64>(entryAt(lane, tree, at), tableDescriptor(stage, table));
    }
  }
  return entryAt(lane, tree, ENTRY_AT(stage, table, address, 0));
}

/** Where the last-level entry for an address lies in Wasm memory; 0: the tables do not reach so far. */
export function findEntry(lane: Lane, tree: Tree, address: u64): usize {
  const stage = tree.stage;
  let table = tree.root - 1;
  for (let height = stage.depth - 1; height > 0; height--) {
    const entry = load<u64>(entryAt(lane, tree, ENTRY_AT(stage, table, address, height)));
    if (!isPresent(stage, entry, height)) return 0;
    table = addressOf(stage, entry, height);
  }
  return entryAt(lane, tree, ENTRY_AT(stage, table, address, 0));
}

/** The table of a height on the way to a mapped address. */
export function tableAt(lane: Lane, tree: Tree, address: u64, to: u32): u64 {
  const stage = tree.stage;
  let table = tree.root - 1;
  for (let height = stage.depth - 1; height > to; height--) {
    const entry = load<u64>(entryAt(lane, tree, ENTRY_AT(stage, table, address, height)));
    table = addressOf(stage, entry, height);
  }
  return table;
}

/** Frees a guest's stage-2 tables. */
export function freeStage2(lane: Lane, guest: Guest): void {
  const tree = guest.stage2;
  const stage = tree.stage;
  freeBelow(lane, guest, tree.root - 1, stage.depth - 1, stage.rootBits);
  const pages = rootPages(tree);
  for (let i: u32 = 0; i < pages; i++) freeTable(lane, tree.root - 1 + ((<u64>i) << stage.pageShift));
  guest.tables -= pages;
  tree.root = 0;
}

function freeBelow(lane: Lane, guest: Guest, table: u64, height: u32, bits: u32): void {
  const stage = guest.stage2.stage;
  for (let i: u64 = 0; height > 0 && i >> bits == 0; i++) {
    const entry = load<u64>(DESCRIPTOR(lane.tables, table + i * 8));
    if (!isPresent(stage, entry, height)) continue;
    const next = addressOf(stage, entry, height);
    freeBelow(lane, guest, next, height - 1, stage.indexBits);
    freeTable(lane, next);
    guest.tables--;
  }
}

/** The tables of the host kernel for KVM's buffers. */
export function openHost(lane: Lane, cpu: u32): void {
  const tree = SPE(lane).host;
  if (tree.root) return;
  tree.stage = lane.stage1;
  tree.root = newTableOn(lane, NODE_OF_CPU(lane, cpu)) + 1;
}

/** The first address of the kernel's half, where the buffers of guests' and hosts' kernels are. */
export function kernelHalf(lane: Lane): u64 {
  const stage = lane.stage1;
  return ~(((<u64>1) << (SHIFT_AT(stage, stage.depth - 1) + stage.rootBits)) - 1);
}
