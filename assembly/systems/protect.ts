// Changing kernel pages in one view: their protection, or unmapping them. A large page of which only a part changes is split first.

import { Lane, NODE_OF_CPU } from '../layout';
import { DESCRIPTOR, newReplicaTable, newTableOn } from '../memory/tables';
import { addressOf, pageOfBlock, tableDescriptor, withAddress, withoutRun } from '../paging/descriptor';
import { protectPage } from '../paging/edit';
import { findPage, MappedPage, SIZE } from '../paging/map';
import { SHIFT_AT } from '../paging/stage';
import { subtreeNode } from '../paging/views';
import { kernelContext, tableStores } from './operations';

// Stores of the last pageInside.
let splitStores: u64 = 0;

/** The page at `va` in a view, made small enough to lie in [va, end); null when there is none. */
export function pageInside(lane: Lane, va: u64, end: u64, view: u32): MappedPage | null {
  splitStores = 0;
  while (true) {
    const page = findPage(lane, kernelContext(lane), va, view);
    if (!page) return null;
    const size = SIZE(lane, page.size);
    const inside = ((<u64>1) << size.shift) - 1;
    const base = size.height == 0 && !size.runBits;
    if (base || !((va & inside) != 0 || va + inside >= end)) return page;
    if (size.runBits) breakRun(lane, page);
    else splitBlock(lane, page, view);
  }
}

/** Makes a contiguous run one of single entries. */
function breakRun(lane: Lane, page: MappedPage): void {
  for (let i: u32 = 0; i < page.entries; i++) {
    store<u64>(page.first + i * 8, withoutRun(lane.stage1, load<u64>(page.first + i * 8)));
  }
  splitStores += page.entries;
}

/** Replaces a block by a table of the next smaller ones, or of pages, with the same rights. */
function splitBlock(lane: Lane, page: MappedPage, view: u32): void {
  const stage = lane.stage1;
  const block = load<u64>(page.leaf);
  const height = SIZE(lane, page.size).height;
  const frame = addressOf(stage, block, height);
  const node = subtreeNode(lane, view);
  const table = view ? newReplicaTable(lane, node) : newTableOn(lane, node);
  const entries: u64 = (<u64>1) << stage.indexBits;
  for (let i: u64 = 0; i < entries; i++) {
    const part = frame + (i << SHIFT_AT(stage, height - 1));
    const leaf = height == 1 ? pageOfBlock(stage, block, part, false) : withAddress(stage, block, part, height - 1);
    store<u64>(DESCRIPTOR(lane.tables, table + i * 8), leaf);
  }
  store<u64>(page.leaf, tableDescriptor(stage, table));
  splitStores += entries + 1;
}

/** Sets the protection (bit 1 write, bit 2 execute) of the pages that are mapped from `va` on; counts the stores. */
export function protectKernel(lane: Lane, cpu: u32, va: u64, pages: u64, protection: u64, view: u32): void {
  const end = va + (pages << lane.stage1.pageShift);
  let stores: u64 = 0;
  while (va < end) {
    const page = pageInside(lane, va, end, view);
    stores += splitStores;
    if (page) {
      stores += page.entries;
      protectPage(lane, kernelContext(lane), va, view, (protection & 2) != 0, (protection & 4) != 0);
    }
    va += (<u64>1) << (page ? SIZE(lane, page.size).shift : lane.stage1.pageShift);
  }
  tableStores(lane, cpu, lane.views > 1 ? view : NODE_OF_CPU(lane, cpu), stores);
}

/** Unmaps the pages that are mapped from `va` on in a view; how many stores that takes. */
export function unmapIn(lane: Lane, va: u64, pages: u64, view: u32): u64 {
  const end = va + (pages << lane.stage1.pageShift);
  let stores: u64 = 0;
  while (va < end) {
    const page = pageInside(lane, va, end, view);
    stores += splitStores;
    if (page) {
      stores += page.entries;
      memory.fill(page.first, 0, page.entries * 8);
    }
    va += (<u64>1) << (page ? SIZE(lane, page.size).shift : lane.stage1.pageShift);
  }
  return stores;
}
