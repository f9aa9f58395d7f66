// Captured page tables (replay.mapping: tables): the tables of a kernel as a table image has them, moved to table pages of the lane, so that they are
// walked like all others. Every captured page that is reached from a root becomes a table on its own node (or where memory.tables
// says); leaves keep their captured frames. Stores that the kernel did to its tables are applied one by one.
//
// A page is taken as it is in the image when it is imported with its root, and as zero when a store links it.

import { Format, Lane, PageMap, PA_UNKNOWN, Policy } from '../layout';
import { homeOfAddress } from '../memory/home';
import { allocate } from '../memory/arena';
import { clearImagePage, imageAt } from '../memory/image';
import { addWord, findWord, newPageMap } from '../memory/pagemap';
import { allocateTables, DESCRIPTOR, freeTable, newReplicaTable } from '../memory/tables';
import { isPerView, rootViews, tableOf } from './views';
import { addressOf, isLeaf, isPresent, withAddress } from './descriptor';
import { rootSlot } from './space';
import { SHIFT_AT } from './stage';

/** One captured table page. */
@unmanaged
class CapturedTable {
  pa: u64;
  /** Where the lane has it. */
  table: u64;
  height: u32;
  /** The first address that it translates, and for which address space (context of its tables). */
  va: u64;
  context: u64;
}

/** What a store did to translations, for TLB maintenance: nothing, or an address range of a context. */
@unmanaged
export class Change {
  any: bool;
  /** A table was unlinked: walk caches may lead to it. */
  tables: bool;
  from: u64;
  last: u64;
  context: u64;
  /** Further stores to keep other views in step. */
  synced: u32;
}

const change = changetype<Change>(allocate(offsetof<Change>()));

/** Keys of the lane's map of captured tables: by captured and by own address. */
const BY_PA: u64 = 2;
const BY_TABLE: u64 = 4;

// @ts-ignore: decorator
@inline
function MAP(lane: Lane): PageMap {
  if (!lane.capturedTables) lane.capturedTables = changetype<usize>(newPageMap());
  return changetype<PageMap>(lane.capturedTables);
}

function known(lane: Lane, address: u64, kind: u64): CapturedTable | null {
  const word = findWord(MAP(lane), address >> lane.stage1.pageShift, kind);
  return word ? changetype<CapturedTable | null>(<usize>load<u64>(word)) : null;
}

function note(lane: Lane, address: u64, kind: u64, captured: CapturedTable | null): void {
  const number = address >> lane.stage1.pageShift;
  const word = findWord(MAP(lane), number, kind);
  if (word) store<u64>(word, changetype<usize>(captured));
  else addWord(MAP(lane), number, kind, changetype<usize>(captured));
}

/**
 * Makes the captured table at `pa` the root of `context` for the half of the addresses that holds `va`, with all that it leads to. One that the image
 * does not hold is empty.
 */
export function importRoot(lane: Lane, cpuNode: u32, pa: u64, context: u64, va: u64): void {
  const stage = lane.stage1;
  const height = stage.depth - 1;
  const x86 = stage.format == Format.X86;
  const upper = va >> 63 != 0;
  const root = newTable(lane, cpuNode, pa);
  // An x86 root serves both halves: the kernel's is known as the kernel's, an address space's as its own.
  const above = upper ? ~(((<u64>1) << (SHIFT_AT(stage, height) + stage.rootBits)) - 1) : 0;
  const half: u64 = (<u64>1) << (stage.rootBits - 1);
  const from: u64 = x86 && upper ? half : 0;
  const to: u64 = x86 && !upper ? half : half * 2;
  if (!(x86 && upper)) enter(lane, pa, root, height, above, context);
  fill(lane, cpuNode, pa, root, height, above, context, from, to);
  store<u64>(rootSlot(lane, context, va, 0), root + 1);
  for (let view: u32 = 1; view < rootViews(lane, va) && !upper; view++) {
    const own = newReplicaTable(lane, view);
    memory.copy(DESCRIPTOR(lane.tables, own), DESCRIPTOR(lane.tables, root), (<usize>1) << stage.pageShift);
    store<u64>(rootSlot(lane, context, va, view), own + 1);
  }
}

function newTable(lane: Lane, cpuNode: u32, pa: u64): u64 {
  // Where the capture has it, unless the configuration moves tables.
  const home = lane.tablePolicy == Policy.FirstTouch ? homeOfAddress(lane, cpuNode, pa) : cpuNode;
  const inside = pa & (((<u64>1) << lane.stage1.pageShift) - 1);
  return allocateTables(lane, home, 1, lane.stage1.pageShift) + inside;
}

function enter(lane: Lane, pa: u64, table: u64, height: u32, va: u64, context: u64): void {
  const captured = changetype<CapturedTable>(allocate(offsetof<CapturedTable>(), 8));
  captured.pa = pa;
  captured.table = table;
  captured.height = height;
  captured.va = va;
  captured.context = context;
  note(lane, pa, BY_PA, captured);
  note(lane, table, BY_TABLE, captured);
}

/** Takes the entries [from, to) of a captured table over from the image. */
function fill(
  lane: Lane,
  cpuNode: u32,
  pa: u64,
  table: u64,
  height: u32,
  va: u64,
  context: u64,
  from: u64,
  to: u64,
): void {
  const stage = lane.stage1;
  for (let i = from; i < to; i++) {
    const at = imageAt(pa + i * 8);
    if (!at) return;
    const entry = load<u64>(at);
    if (!entry) continue;
    const address = va | (i << SHIFT_AT(stage, height));
    store<u64>(DESCRIPTOR(lane.tables, table + i * 8), moved(lane, cpuNode, entry, height, address, context));
  }
}

/** An entry of the captured table as the lane has it; tables that it leads to are imported. */
function moved(lane: Lane, cpuNode: u32, entry: u64, height: u32, va: u64, context: u64): u64 {
  const stage = lane.stage1;
  if (!isPresent(stage, entry, height) || isLeaf(stage, entry, height)) return entry;
  const pa = addressOf(stage, entry, height);
  const there = known(lane, pa, BY_PA);
  if (there && there.height == height - 1) return withAddress(stage, entry, there.table, 0);
  const table = newTable(lane, cpuNode, pa);
  enter(lane, pa, table, height - 1, va, context);
  fill(lane, cpuNode, pa, table, height - 1, va, context, 0, (<u64>1) << stage.indexBits);
  return withAddress(stage, entry, table, 0);
}

/**
 * The captured kernel stores `value` to the entry at `pa` of one of its tables, which the image has already; `node` is that of its CPU. Returns what it
 * changed, valid until the next call.
 */
export function storeEntry(lane: Lane, node: u32, pa: u64, value: u64): Change {
  change.any = false;
  change.tables = false;
  change.synced = 0;
  const stage = lane.stage1;
  const page = known(lane, pa, BY_PA);
  if (!page) return change;
  const height = page.height;
  const i = (pa - page.pa) >> 3;
  const isRoot = height == stage.depth - 1;
  // The kernel's half of an x86 root is the kernel's business.
  if (isRoot && i >> (stage.rootBits - (stage.format == Format.X86 ? 1 : 0))) return change;
  const at = DESCRIPTOR(lane.tables, page.table + i * 8);
  const old = load<u64>(at);
  const va = page.va | (i << SHIFT_AT(stage, height));
  const wasTable = isPresent(stage, old, height) && !isLeaf(stage, old, height);
  const isTable = isPresent(stage, value, height) && !isLeaf(stage, value, height);
  const next = isTable ? addressOf(stage, value, height) : PA_UNKNOWN;
  const before = wasTable ? known(lane, addressOf(stage, old, height), BY_TABLE) : null;
  let entry = value;
  if (before && before.pa == next) entry = withAddress(stage, value, before.table, 0);
  else {
    if (wasTable) unlink(lane, addressOf(stage, old, height), height - 1);
    if (isTable) {
      clearImagePage(next, (<u32>1) << stage.pageShift);
      entry = moved(lane, node, value, height, va, page.context);
    }
    if (isPresent(stage, old, height)) noteChange(lane, old, value, height, va, page.context, wasTable);
  }
  store<u64>(at, entry);
  sync(lane, page, va, i, entry);
  return change;
}

/** A present entry changes: what it translated is void, unless it still leads to the same frame. */
function noteChange(lane: Lane, old: u64, value: u64, height: u32, va: u64, context: u64, wasTable: bool): void {
  const stage = lane.stage1;
  const same = !wasTable && isPresent(stage, value, height) && isLeaf(stage, value, height);
  if (same && addressOf(stage, value, height) == addressOf(stage, old, height)) return;
  change.any = true;
  change.tables = wasTable;
  change.from = va;
  change.last = va | (((<u64>1) << SHIFT_AT(stage, height)) - 1);
  change.context = context;
}

/** Keeps the other views' tables in step where they have their own. */
function sync(lane: Lane, page: CapturedTable, va: u64, i: u64, entry: u64): void {
  for (let view: u32 = 1; view < rootViews(lane, va); view++) {
    const own = tableOf(lane, page.context, va, page.height, view);
    if (!~own || own == page.table) continue;
    if (isPerView(lane, va, page.height)) continue;
    store<u64>(DESCRIPTOR(lane.tables, own + i * 8), entry);
    change.synced++;
  }
}

/** Gives back a table and those below it. */
export function unlink(lane: Lane, table: u64, height: u32): void {
  const stage = lane.stage1;
  for (let i: u64 = 0; height && i >> stage.indexBits == 0; i++) {
    const entry = load<u64>(DESCRIPTOR(lane.tables, table + i * 8));
    if (!isPresent(stage, entry, height) || isLeaf(stage, entry, height)) continue;
    unlink(lane, addressOf(stage, entry, height), height - 1);
  }
  forgetCaptured(lane, table);
  freeTable(lane, table);
}

/** The lane's table at this address is no captured one any more. */
export function forgetCaptured(lane: Lane, table: u64): void {
  if (!lane.capturedTables) return;
  const captured = known(lane, table, BY_TABLE);
  if (!captured) return;
  note(lane, captured.pa, BY_PA, null);
  note(lane, table, BY_TABLE, null);
}
