// Demand mapping: the first touch of a page builds the tables it needs and installs its leaf (docs/models.md).

import { Lane, PA_UNKNOWN, PageRule } from '../layout';
import { allocateFrame } from '../memory/frames';
import { allocateTable, DESCRIPTOR } from '../memory/tables';
import { ADDRESS, IS_LEAF, leafDescriptor, PRESENT, tableDescriptor } from './descriptor';
import { rootSlot } from './space';

/** log2 of the bytes that an entry of the given height covers. */
// @ts-ignore: decorator
@inline
export function SHIFT_OF(lane: Lane, height: u32): u32 {
  return lane.pageShift + height * lane.indexBits;
}

/** The physical address of the entry for `va` in the table of the given height at `tablePa`. */
// @ts-ignore: decorator
@inline
export function ENTRY_PA(lane: Lane, tablePa: u64, va: u64, height: u32): u64 {
  const bits = height == lane.depth - 1 ? lane.rootBits : lane.indexBits;
  return tablePa + (((va >> SHIFT_OF(lane, height)) & (((<u64>1) << bits) - 1)) << 3);
}

/** Maps the page at `va` for a CPU of node `cpuNode`; `pa` is its captured address or PA_UNKNOWN. */
export function mapPage(lane: Lane, cpuNode: u32, context: u64, va: u64, pa: u64): void {
  const root = rootSlot(lane, context, va);
  if (!load<u64>(root)) store<u64>(root, allocateTable(lane, cpuNode) + 1);
  let tablePa = load<u64>(root) - 1;
  let size = pageSize(lane, va);
  for (let height = lane.depth - 1; true; height--) {
    const entryPa = ENTRY_PA(lane, tablePa, va, height);
    let entry = load<u64>(DESCRIPTOR(lane, entryPa));
    const present = PRESENT(lane.arch, entry);
    if (height == size) {
      if (!present) {
        const shift = SHIFT_OF(lane, size);
        const framePa = pa == PA_UNKNOWN ? allocateFrame(lane, cpuNode, va, shift) : (pa >> shift) << shift;
        store<u64>(DESCRIPTOR(lane, entryPa), leafDescriptor(lane.arch, framePa, size, !lane.trackDirty));
        return;
      }
      // Smaller pages were mapped under this entry before: a page of the next smaller size.
      size = smallerSize(lane, size);
    }
    if (!present) {
      entry = tableDescriptor(lane.arch, allocateTable(lane, cpuNode));
      store<u64>(DESCRIPTOR(lane, entryPa), entry);
    }
    tablePa = ADDRESS(lane.arch, entry);
  }
}

/** The size number of the next smaller page size. */
function smallerSize(lane: Lane, size: u32): u32 {
  do size--;
  while (!((lane.sizes >> size) & 1));
  return size;
}

/** The policy's size for the page at `va`: the largest that lies wholly inside the region that the rule names. */
function pageSize(lane: Lane, va: u64): u32 {
  for (let i: u32 = 0; i < lane.ruleCount; i++) {
    const rule = changetype<PageRule>(lane.rules + i * offsetof<PageRule>());
    if (rule.from > va || rule.last < va) continue;
    let size = rule.size;
    while (size > 0) {
      const inside = ((<u64>1) << SHIFT_OF(lane, size)) - 1;
      if ((va & ~inside) >= rule.from && (va | inside) <= rule.last) break;
      size = smallerSize(lane, size);
    }
    return size;
  }
  return lane.defaultSize;
}

/** Where the leaf of a mapped page lies in Wasm memory, or 0 when the page is not mapped. Nothing is counted or updated. */
export function findLeaf(lane: Lane, context: u64, va: u64): usize {
  const root = load<u64>(rootSlot(lane, context, va));
  if (!root) return 0;
  let tablePa = root - 1;
  for (let height = <i32>lane.depth - 1; height >= 0; height--) {
    const at = DESCRIPTOR(lane, ENTRY_PA(lane, tablePa, va, height));
    const entry = load<u64>(at);
    if (!PRESENT(lane.arch, entry)) return 0;
    if (IS_LEAF(lane.arch, entry, height)) return at;
    tablePa = ADDRESS(lane.arch, entry);
  }
  return 0;
}
