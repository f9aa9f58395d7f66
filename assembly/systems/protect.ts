// Changing the protection of kernel pages in one view; a large page of which only a part changes is split first.

import { Lane, NODE_OF_CPU } from '../layout';
import { allocateTables, DESCRIPTOR, newReplicaTable } from '../memory/tables';
import { addressOf, pageOfBlock, tableDescriptor } from '../paging/descriptor';
import { protectPage } from '../paging/edit';
import { findPage, SIZE } from '../paging/map';
import { subtreeNode } from '../replica/views';
import { kernelContext, tableStores } from './operations';

/** Sets the protection (bit 1 write, bit 2 execute) of mapped pages from `va` on; counts the stores. */
export function protectKernel(lane: Lane, cpu: u32, va: u64, pages: u64, protection: u64, view: u32): void {
  const context = kernelContext(lane);
  const base = lane.stage1.pageShift;
  const end = va + (pages << base);
  let stores: u64 = 0;
  while (va < end) {
    let page = findPage(lane, context, va, view);
    if (!page) {
      va += (<u64>1) << base;
      continue;
    }
    const size = SIZE(lane, page.size);
    const inside = ((<u64>1) << size.shift) - 1;
    if (size.height > 0 && (va & inside || va + inside >= end)) {
      stores += splitBlock(lane, va, view);
      continue;
    }
    stores += page.entries;
    protectPage(lane, context, va, view, (protection & 2) != 0, (protection & 4) != 0);
    va = (va | inside) + 1;
  }
  tableStores(lane, cpu, lane.views > 1 ? view : NODE_OF_CPU(lane, cpu), stores);
}

/** Replaces a block of height 1 by a table of pages with the same rights; how many stores that takes. */
function splitBlock(lane: Lane, va: u64, view: u32): u64 {
  const stage = lane.stage1;
  const page = findPage(lane, kernelContext(lane), va, view)!;
  const block = load<u64>(page.leaf);
  const height = SIZE(lane, page.size).height;
  const frame = addressOf(stage, block, height);
  const table = view
    ? newReplicaTable(lane, subtreeNode(lane, view))
    : allocateTables(lane, subtreeNode(lane, 0), 1, stage.pageShift);
  const entries: u64 = (<u64>1) << stage.indexBits;
  for (let i: u64 = 0; i < entries; i++) {
    const leaf = pageOfBlock(stage, block, frame + (i << stage.pageShift), false);
    store<u64>(DESCRIPTOR(lane.tables, table + i * 8), leaf);
  }
  store<u64>(page.leaf, tableDescriptor(stage, table));
  return entries + 1;
}
