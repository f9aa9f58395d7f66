// Filling and changing the host's stage 2: tables from the pool, leaves as a fault makes them, ownership, and the removal of device memory
// (docs/hoststage2.md, Faults). TLB maintenance is the caller's business.

import { HostTree, Lane, MemoryRange } from '../layout';
import { countTables, DESCRIPTOR, freeReplicaTable, freeTable, NODE_OF, NODE_SHIFT, takePages } from '../memory/tables';
import {
  addressOf,
  armHasBlocks,
  deviceLeaf,
  HYPERVISOR_OWNED,
  isDevice,
  isLeaf,
  isPresent,
  leafDescriptor,
  protectedLeaf,
  tableDescriptor,
} from './descriptor';
import { bitsAt, findHostLeaf, isOwnTable, NOT_MAPPED, OWN_IPA, ROOT, TEXT, textAt } from './hosttree';
import { ENTRY_AT, SHIFT_AT } from './stage';

/** No limit to the size of a leaf. */
export const ANY_SIZE: u32 = 64;
/** The largest leaf that maps text. */
const TEXT_SHIFT: u32 = 21;

// The region of memory that an address is in: all of it has one kind of leaf.
let regionFrom: u64 = 0;
let regionLast: u64 = 0;
let isDeviceRegion: bool = false;

/** Finds the region of `ipa`: a node's own memory, a captured range, or what is between those; text is a region of its own once it is replicated. */
function findRegion(lane: Lane, tree: HostTree, ipa: u64): void {
  isDeviceRegion = false;
  if (ipa & OWN_IPA) {
    regionFrom = (ipa >> NODE_SHIFT) << NODE_SHIFT;
    regionLast = regionFrom | (((<u64>1) << NODE_SHIFT) - 1);
  } else {
    regionFrom = 0;
    regionLast = OWN_IPA - 1;
    // Without ranges all that was captured is memory.
    isDeviceRegion = lane.rangeCount != 0;
    for (let i: u32 = 0; i < lane.rangeCount; i++) {
      const range = changetype<MemoryRange>(lane.ranges + i * offsetof<MemoryRange>());
      if (range.from <= ipa && ipa <= range.last) {
        regionFrom = range.from;
        regionLast = range.last;
        isDeviceRegion = false;
        break;
      }
      if (range.last < ipa) regionFrom = max(regionFrom, range.last + 1);
      else regionLast = min(regionLast, range.from - 1);
    }
  }
  if (!tree.replicated) return;
  for (let i: u32 = 0; i < tree.textCount; i++) {
    const text = TEXT(tree, i);
    if (text.last < ipa) regionFrom = max(regionFrom, text.last + 1);
    else if (text.from > ipa) regionLast = min(regionLast, text.from - 1);
    else {
      regionFrom = text.from;
      regionLast = text.last;
    }
  }
}

/** The height of the largest leaf that may map `ipa`: all of it in one region. Blocks of device memory and of text are those of height 1. */
function leafHeight(lane: Lane, tree: HostTree, ipa: u64, most: u32): u32 {
  const stage = tree.stage;
  findRegion(lane, tree, ipa);
  let height: u32 = isDeviceRegion ? 1 : stage.depth - 1;
  if (tree.replicated && textAt(tree, ipa)) {
    height = tree.textPages || SHIFT_AT(stage, 1) > TEXT_SHIFT ? 0 : 1;
  }
  for (; height; height--) {
    const inside = ((<u64>1) << SHIFT_AT(stage, height)) - 1;
    if (SHIFT_AT(stage, height) > most || !armHasBlocks(stage, height)) continue;
    if ((ipa & ~inside) >= regionFrom && (ipa | inside) <= regionLast) break;
  }
  return height;
}

/** A root's leaf of `height` for `ipa`: to its own copy of the text, else to the address itself. After leafHeight for it. */
function leafFor(tree: HostTree, root: u32, ipa: u64, height: u32): u64 {
  const stage = tree.stage;
  const from = (ipa >> SHIFT_AT(stage, height)) << SHIFT_AT(stage, height);
  const text = tree.replicated ? textAt(tree, ipa) : null;
  if (text) {
    const pa = load<u64>(text.frames + root * 8) + (from - text.from);
    return protectedLeaf(stage, leafDescriptor(stage, pa, height, false, false, false), false, true);
  }
  if (isDeviceRegion) return deviceLeaf(stage, from, height);
  return leafDescriptor(stage, from & ~OWN_IPA, height, false, false, false);
}

/** Stores an entry, and notes when a live one is changed into another without a break. */
function setEntry(lane: Lane, tree: HostTree, at: u64, height: u32, value: u64, ipa: u64): void {
  const stage = tree.stage;
  const slot = DESCRIPTOR(lane.tables, at);
  const old = load<u64>(slot);
  if (isPresent(stage, old, height) && isPresent(stage, value, height)) {
    const same = isLeaf(stage, old, height) == isLeaf(stage, value, height);
    if (!same || addressOf(stage, old, height) != addressOf(stage, value, height)) tree.unbroken = ipa | 1;
  }
  store<u64>(slot, value);
  const counter = tree.stores + NODE_OF(at) * 4;
  store<u32>(counter, load<u32>(counter) + 1);
  if (tree.syncing) tree.syncStores++;
}

/** Zeroed tables that adjoin, on a node; NOT_MAPPED when the pool has no more. `extra`: beyond one set of tables. */
function newTables(lane: Lane, tree: HostTree, node: u32, pages: u32, extra: bool): u64 {
  if (tree.poolPages && tree.usedPages + pages > tree.poolPages) return NOT_MAPPED;
  tree.usedPages += pages;
  const pool = lane.tables;
  const shift = pool.pageShift;
  const on = tree.node0 ? 0 : node;
  const before = pool.pages;
  const first = takePages(pool, pages);
  // What alignment skipped is free.
  for (let number = before; number < first; number++) {
    countTables(lane, on, (<u64>1) << shift);
    freeTable(lane, ((<u64>on) << NODE_SHIFT) | ((<u64>number) << shift));
  }
  countTables(lane, on, (<u64>pages) << shift);
  const total = lane.replicaTableBytes + on * 8;
  if (extra) store<u64>(total, load<u64>(total) + ((<u64>pages) << shift));
  return ((<u64>on) << NODE_SHIFT) | ((<u64>first) << shift);
}

/** The entry of `height` for `ipa` in another root's tables, where that leads to what both share; 0: none. */
function sharedEntry(lane: Lane, tree: HostTree, root: u32, ipa: u64, to: u32): u64 {
  const stage = tree.stage;
  if (isOwnTable(tree, ipa, to)) return 0;
  for (let other: u32 = 0; other < tree.roots; other++) {
    if (other == root) continue;
    let table = ROOT(tree, other);
    for (let height = stage.depth - 1; true; height--) {
      const entry = load<u64>(DESCRIPTOR(lane.tables, ENTRY_AT(stage, table, ipa, height)));
      if (!isPresent(stage, entry, height)) break;
      if (height == to && !isLeaf(stage, entry, height)) return entry;
      if (height == to || isLeaf(stage, entry, height)) break;
      table = addressOf(stage, entry, height);
    }
  }
  return 0;
}

/**
 * The table of height `to` for `ipa` in a root's tables, those that are missing made for a CPU of `node`, blocks on the way replaced;
 * NOT_MAPPED when the pool has no more. Stops above at a leaf when `keep`; openHeight says where.
 */
function openTable(lane: Lane, tree: HostTree, root: u32, ipa: u64, to: u32, node: u32, keep: bool): u64 {
  const stage = tree.stage;
  let table = ROOT(tree, root);
  let height = stage.depth - 1;
  while (true) {
    openHeight = height;
    const at = ENTRY_AT(stage, table, ipa, height);
    const entry = load<u64>(DESCRIPTOR(lane.tables, at));
    const live = isPresent(stage, entry, height);
    if (height == 0 || (live && keep && isLeaf(stage, entry, height))) return table;
    if (live && !isLeaf(stage, entry, height)) table = addressOf(stage, entry, height);
    else {
      const shared = sharedEntry(lane, tree, root, ipa, height);
      if (!shared && height <= to) return table;
      const own = isOwnTable(tree, ipa, height);
      table = shared
        ? addressOf(stage, shared, height)
        : newTables(lane, tree, own ? root : node, 1, own && root != tree.home);
      if (!~table) return table;
      setEntry(lane, tree, at, height, tableDescriptor(stage, table), ipa);
    }
    height--;
  }
}

let openHeight: u32 = 0;

/** Maps `ipa` in a root's tables as a fault of a CPU of `node` does; false when the pool has no page for a table. */
function fillRoot(lane: Lane, tree: HostTree, root: u32, ipa: u64, node: u32, most: u32): bool {
  const table = openTable(lane, tree, root, ipa, leafHeight(lane, tree, ipa, most), node, true);
  if (!~table) return false;
  const at = ENTRY_AT(tree.stage, table, ipa, openHeight);
  if (isPresent(tree.stage, load<u64>(DESCRIPTOR(lane.tables, at)), openHeight)) return true;
  setEntry(lane, tree, at, openHeight, leafFor(tree, root, ipa, openHeight), ipa);
  return true;
}

/**
 * Maps `ipa` for a CPU of `node`, in its own root, or in `all`, with leaves of at most 2^most bytes, but no smaller than a page; false when
 * the pool has no page for a table: what is done stays.
 */
export function fillHost(lane: Lane, tree: HostTree, ipa: u64, node: u32, all: bool, most: u32): bool {
  let enough = fillRoot(lane, tree, node, ipa, node, most);
  tree.syncing = true;
  for (let root: u32 = 0; root < tree.roots && all && enough; root++) {
    if (root != node) enough = fillRoot(lane, tree, root, ipa, node, most);
  }
  tree.syncing = false;
  return enough;
}

/** Makes the page at `ipa` the hypervisor's in all roots; false as above. Its leaf is broken already. */
export function disown(lane: Lane, tree: HostTree, ipa: u64, node: u32): bool {
  for (let root: u32 = 0; root < tree.roots; root++) {
    tree.syncing = root > 0;
    const table = openTable(lane, tree, root, ipa, 0, node, false);
    const at = ENTRY_AT(tree.stage, table, ipa, 0);
    if (~table && load<u64>(DESCRIPTOR(lane.tables, at)) != HYPERVISOR_OWNED) {
      setEntry(lane, tree, at, 0, HYPERVISOR_OWNED, ipa);
    }
    tree.syncing = false;
    if (!~table) return false;
  }
  return true;
}

/** Makes the leaf for `ipa` invalid in all roots; log2 of its bytes, of the largest of them, or 0 where there was none. */
export function breakLeaf(lane: Lane, tree: HostTree, ipa: u64): u32 {
  let shift: u32 = 0;
  for (let root: u32 = 0; root < tree.roots; root++) {
    const leaf = findHostLeaf(lane, tree, root, ipa);
    if (!leaf) continue;
    tree.syncing = shift != 0;
    shift = max(shift, SHIFT_AT(tree.stage, leaf.height));
    setEntry(lane, tree, leaf.pa, leaf.height, 0, ipa);
  }
  tree.syncing = false;
  return shift;
}

/** Unmaps all device memory from all roots, and frees the tables that are empty then (host_stage2_unmap_dev_all). */
export function dropDevices(lane: Lane, tree: HostTree): void {
  for (let root: u32 = 0; root < tree.roots; root++) {
    dropBelow(lane, tree, root, ROOT(tree, root), tree.stage.depth - 1, 0);
  }
}

/** The same below a root's table of `height` for the addresses from `from` on; whether the table is empty now. */
function dropBelow(lane: Lane, tree: HostTree, root: u32, table: u64, height: u32, from: u64): bool {
  const stage = tree.stage;
  const bits = bitsAt(tree, height);
  let empty = true;
  for (let i: u64 = 0; i >> bits == 0; i++) {
    const at = table + i * 8;
    const ipa = from | (i << SHIFT_AT(stage, height));
    const entry = load<u64>(DESCRIPTOR(lane.tables, at));
    if (!entry) continue;
    const live = isPresent(stage, entry, height);
    if (live && isLeaf(stage, entry, height) && isDevice(entry)) setEntry(lane, tree, at, height, 0, ipa);
    else if (live && !isLeaf(stage, entry, height)) {
      const next = addressOf(stage, entry, height);
      if (dropBelow(lane, tree, root, next, height - 1, ipa)) unlink(lane, tree, root, ipa, height, next);
      else empty = false;
    } else empty = false;
  }
  return empty;
}

/** Frees an empty table, to which entries of `height` lead in a root's tables, or in all that share it. */
function unlink(lane: Lane, tree: HostTree, root: u32, ipa: u64, height: u32, table: u64): void {
  const own = isOwnTable(tree, ipa, height);
  for (let other: u32 = 0; other < tree.roots; other++) {
    if (own && other != root) continue;
    clearEntryTo(lane, tree, other, ipa, height, table);
  }
  tree.usedPages--;
  if (own && root != tree.home) freeReplicaTable(lane, table);
  else freeTable(lane, table);
}

/** Clears a root's entry of height `to` for `ipa` where it leads to `table`. */
function clearEntryTo(lane: Lane, tree: HostTree, root: u32, ipa: u64, to: u32, table: u64): void {
  const stage = tree.stage;
  let next = ROOT(tree, root);
  for (let height = stage.depth - 1; true; height--) {
    const at = ENTRY_AT(stage, next, ipa, height);
    const entry = load<u64>(DESCRIPTOR(lane.tables, at));
    if (!isPresent(stage, entry, height) || isLeaf(stage, entry, height)) return;
    next = addressOf(stage, entry, height);
    if (height > to) continue;
    if (next == table) setEntry(lane, tree, at, height, 0, ipa);
    return;
  }
}

/** Allocates the roots; `home` has the text. */
export function openHostRoots(lane: Lane, tree: HostTree, home: u32): void {
  tree.home = home;
  const bits = tree.stage.rootBits;
  const pages: u32 = bits > tree.stage.indexBits ? 1 << (bits - tree.stage.indexBits) : 1;
  for (let root: u32 = 0; root < tree.roots; root++) {
    store<u64>(tree.root + root * 8, newTables(lane, tree, root, pages, root != home));
  }
}
