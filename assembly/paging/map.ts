// Demand mapping: the first touch of a page builds the stage-1 tables it needs and installs its leaf (docs/models.md).

import { Lane, PA_UNKNOWN, PageRule, PageSize, TablePool, Vm } from '../layout';
import { allocate } from '../memory/arena';
import { allocateFrame, alignUp } from '../memory/frames';
import {
  allocateTables,
  countTables,
  DESCRIPTOR,
  NODE_OF,
  newReplicaTable,
  newTableOn,
  takePages,
} from '../memory/tables';
import { copyAt, frameIn } from './copies';
import { isPerView, rootViews, subtreeNode } from './views';
import { addressOf, isInRun, isLeaf, isPresent, leafDescriptor, tableDescriptor } from './descriptor';
import { noteOwnFrame } from './own';
import { IS_UPPER, rootSlot } from './space';
import { ENTRY_AT } from './stage';
import { hasTextHome, noteTextFrame } from './text';
import { guestPages, mapIpa, stage2Address, stage2Leaf, vmOf } from './vm';

// @ts-ignore: decorator
@inline
export function SIZE(lane: Lane, size: u32): PageSize {
  return changetype<PageSize>(lane.sizes + size * offsetof<PageSize>());
}

/** The pool that holds a context's stage-1 tables. */
// @ts-ignore: decorator
@inline
export function TABLES(lane: Lane, vm: Vm | null): TablePool {
  return vm ? vm.tables : lane.tables;
}

/**
 * Maps the page at `va` for a CPU of node `cpuNode`; `pa` is its captured address or PA_UNKNOWN, `wanted` its size number where the policy does
 * not decide. Returns how many pages stage 2 had to map for new tables.
 */
export function mapPage(lane: Lane, cpuNode: u32, context: u64, va: u64, pa: u64, wanted: i32 = -1): u32 {
  const stage = lane.stage1;
  const vm = vmOf(lane, context);
  const pool = TABLES(lane, vm);
  let backed = openRoots(lane, vm, cpuNode, context, va);
  let size = wanted < 0 ? pageSize(lane, va) : <u32>wanted;
  for (let height = stage.depth - 1; true; height--) {
    // A page of a size whose entries are in use already is made smaller: smaller pages were mapped here before.
    while (height == SIZE(lane, size).height && size > 0 && inUse(lane, pool, TABLE(0), va, size)) {
      size = smallerSize(lane, size);
    }
    if (height == SIZE(lane, size).height) break;
    backed += descend(lane, vm, cpuNode, va, height);
  }
  const frame = vm ? guestPage(lane, vm, size) : hostPage(lane, cpuNode, va, pa, size);
  const copy = lane.copyCount ? copyAt(lane, va) : null;
  const inside = va & (((<u64>1) << SIZE(lane, size).shift) - 1);
  for (let view: u32 = 0; view < open; view++) {
    const own = copy && open > 1 ? frameIn(copy, view, va - inside) : frame;
    installLeaf(lane, pool, TABLE(view), va, size, own);
  }
  if (open > 1) lane.syncStores += (open - 1) << SIZE(lane, size).runBits;
  noteOwnFrame(lane, vm, context, va, pa == PA_UNKNOWN);
  return backed;
}

/**
 * Makes sure that the tables above height `to` for `va` are there, and opens those of that height: one, or one per view (TABLE).
 * Returns their number.
 */
export function openTables(lane: Lane, cpuNode: u32, context: u64, va: u64, to: u32): u32 {
  openRoots(lane, null, cpuNode, context, va);
  for (let height = lane.stage1.depth - 1; height > to; height--) descend(lane, null, cpuNode, va, height);
  return open;
}

// The tables that the present mapping is at, one for each view or one for all.
const MOST_VIEWS: u32 = 64;
const tables = allocate(MOST_VIEWS * 8);
let open: u32 = 1;

/** The open table of a view. */
// @ts-ignore: decorator
@inline
export function TABLE(view: u32): u64 {
  return load<u64>(tables + view * 8);
}

/** Opens the roots for `va`, allocating those that are missing; how many pages stage 2 had to map for them. */
function openRoots(lane: Lane, vm: Vm | null, cpuNode: u32, context: u64, va: u64): u32 {
  let backed: u32 = 0;
  open = vm ? 1 : rootViews(lane, va);
  for (let view: u32 = 0; view < open; view++) {
    const root = rootSlot(lane, context, va, view);
    if (!load<u64>(root)) {
      const table = view ? newReplicaTable(lane, view) : open > 1 ? newTableOn(lane, 0) : newTable(lane, vm, cpuNode);
      if (vm) backed += back(lane, vm, cpuNode, table);
      store<u64>(root, table + 1);
    }
    store<u64>(tables + view * 8, load<u64>(root) - 1);
  }
  return backed;
}

/** Goes one level down from the open tables of `height`, allocating what is missing. */
function descend(lane: Lane, vm: Vm | null, cpuNode: u32, va: u64, height: u32): u32 {
  const stage = lane.stage1;
  const pool = TABLES(lane, vm);
  const perView = open > 1 && isPerView(lane, va, height);
  let backed: u32 = 0;
  let next: u64 = 0;
  let fresh = false;
  for (let view: u32 = 0; view < open; view++) {
    const at = DESCRIPTOR(pool, ENTRY_AT(stage, TABLE(view), va, height));
    const entry = load<u64>(at);
    // A new shared table goes into every view, whatever stood there.
    if (isPresent(stage, entry, height) && (perView || !fresh)) next = addressOf(stage, entry, height);
    else {
      if (view == 0) {
        fresh = true;
        next = perView ? newTableOn(lane, subtreeNode(lane, 0)) : newTable(lane, vm, cpuNode);
      } else if (perView) next = newReplicaTable(lane, subtreeNode(lane, view));
      if (vm) backed += back(lane, vm, cpuNode, next);
      if (view) lane.syncStores++;
      store<u64>(at, tableDescriptor(stage, next));
    }
    store<u64>(tables + view * 8, next);
  }
  // Below a shared entry all is shared; so is a table of the window that was there before the copies (x86: of 4K pages).
  if (!perView || (open > 1 && TABLE(0) == TABLE(1))) open = 1;
  return backed;
}

/** A page of the guest's own table memory, or of the host's. */
function newTable(lane: Lane, vm: Vm | null, cpuNode: u32): u64 {
  const pageShift = lane.stage1.pageShift;
  return vm ? (<u64>takePages(vm.tables, 1)) << pageShift : allocateTables(lane, cpuNode, 1, pageShift);
}

/** Makes sure that stage 2 maps all of a guest's new table, and counts the table where it starts; how many pages that took. */
function back(lane: Lane, vm: Vm, cpuNode: u32, ipa: u64): u32 {
  const bytes: u64 = (<u64>1) << lane.stage1.pageShift;
  let mapped: u32 = 0;
  for (let offset: u64 = 0; offset < bytes; offset += (<u64>1) << lane.stage2Shift) {
    if (stage2Leaf(lane, vm, ipa + offset)) continue;
    mapIpa(lane, vm, cpuNode, ipa + offset);
    mapped++;
  }
  countTables(lane, NODE_OF(stage2Address(lane, vm, ipa)), bytes);
  return mapped;
}

function hostPage(lane: Lane, cpuNode: u32, va: u64, pa: u64, size: u32): u64 {
  const shift = SIZE(lane, size).shift;
  if (pa != PA_UNKNOWN) return (pa >> shift) << shift;
  if (!hasTextHome(lane, va)) return allocateFrame(lane, cpuNode, va, shift, lane.dataPolicy, lane.dataNode);
  const frame = allocateFrame(lane, cpuNode, va, shift, lane.textPolicy, lane.textNode);
  noteTextFrame(lane, frame);
  return frame;
}

function guestPage(lane: Lane, vm: Vm, size: u32): u64 {
  const shift = SIZE(lane, size).shift;
  const ipa = alignUp(vm.nextPage, shift);
  vm.nextPage = ipa + ((<u64>1) << shift);
  // The pages have the upper half of the intermediate addresses.
  if (vm.nextPage > guestPages(lane) * 2) lane.memoryFull = true;
  return ipa;
}

/** The leaf that maps `va` to a frame, as demand and captured mapping install it. */
export function newLeaf(lane: Lane, va: u64, frame: u64, height: u32, contiguous: bool): u64 {
  const global = lane.globalKernel && IS_UPPER(lane, va);
  return leafDescriptor(lane.stage1, frame, height, lane.trackDirty, contiguous, global);
}

/** Where the first entry for a page of the given size lies in Wasm memory: its only one, or that of its contiguous run. */
function firstEntry(lane: Lane, pool: TablePool, table: u64, va: u64, size: u32): usize {
  const page = SIZE(lane, size);
  return DESCRIPTOR(pool, ENTRY_AT(lane.stage1, table, (va >> page.shift) << page.shift, page.height));
}

function inUse(lane: Lane, pool: TablePool, table: u64, va: u64, size: u32): bool {
  const first = firstEntry(lane, pool, table, va, size);
  const entries: u32 = 1 << SIZE(lane, size).runBits;
  for (let i: u32 = 0; i < entries; i++) {
    if (isPresent(lane.stage1, load<u64>(first + i * 8), SIZE(lane, size).height)) return true;
  }
  return false;
}

function installLeaf(lane: Lane, pool: TablePool, table: u64, va: u64, size: u32, frame: u64): void {
  const page = SIZE(lane, size);
  const first = firstEntry(lane, pool, table, va, size);
  const entries: u32 = 1 << page.runBits;
  const entryBytes: u64 = (<u64>1) << (page.shift - page.runBits);
  for (let i: u32 = 0; i < entries; i++) {
    store<u64>(first + i * 8, newLeaf(lane, va, frame + i * entryBytes, page.height, entries > 1));
  }
}

/** The next smaller size: contiguous runs are only used where the policy names them. */
function smallerSize(lane: Lane, size: u32): u32 {
  do size--;
  while (SIZE(lane, size).runBits);
  return size;
}

/** The policy's size for the page at `va`: the largest that lies wholly inside the region that the rule names. */
function pageSize(lane: Lane, va: u64): u32 {
  for (let i: u32 = 0; i < lane.ruleCount; i++) {
    const rule = changetype<PageRule>(lane.rules + i * offsetof<PageRule>());
    if (rule.from > va || rule.last < va) continue;
    let size = rule.size;
    for (; size > 0; size = smallerSize(lane, size)) {
      const inside = ((<u64>1) << SIZE(lane, size).shift) - 1;
      if ((va & ~inside) >= rule.from && (va | inside) <= rule.last) break;
    }
    return size;
  }
  return lane.defaultSize;
}

/** A mapped page. */
@unmanaged
export class MappedPage {
  /** Where its leaf for the address asked for lies in Wasm memory. */
  leaf: usize;
  /** The first of its entries, and how many there are: one, or a contiguous run. */
  first: usize;
  entries: u32;
  /** Its size number. */
  size: u32;
}

const found = changetype<MappedPage>(allocate(offsetof<MappedPage>()));

/** The page that holds `va`, valid until the next call; null when there is none. Nothing is counted or updated. */
export function findPage(lane: Lane, context: u64, va: u64, view: u32): MappedPage | null {
  const root = load<u64>(rootSlot(lane, context, va, view));
  if (!root) return null;
  const stage = lane.stage1;
  const pool = TABLES(lane, vmOf(lane, context));
  let table = root - 1;
  for (let height = <i32>stage.depth - 1; height >= 0; height--) {
    const at = DESCRIPTOR(pool, ENTRY_AT(stage, table, va, height));
    const entry = load<u64>(at);
    if (!isPresent(stage, entry, height)) return null;
    if (isLeaf(stage, entry, height)) {
      found.leaf = at;
      found.size = sizeOfLeaf(lane, entry, height);
      found.entries = 1 << SIZE(lane, found.size).runBits;
      found.first = firstEntry(lane, pool, table, va, found.size);
      return found;
    }
    table = addressOf(stage, entry, height);
  }
  return null;
}

/** The size number of a stage-1 leaf read at `height`: the height's own, or its contiguous run's, which follows it. */
export function sizeOfLeaf(lane: Lane, leaf: u64, height: u32): u32 {
  let size: u32 = 0;
  while (SIZE(lane, size).height != height) size++;
  return isInRun(lane.stage1, leaf) ? size + 1 : size;
}
