// The kernel image: mapping it, and building the copies of its text, read-only data and tables that the other views have
// (x86: numa_replicate_kernel, arm64: ktext_replication_init of the patch series; docs/replication.md).

import { Lane, Option, Part, System } from '../layout';
import { alignUp } from '../memory/frames';
import { allocateTables, DESCRIPTOR, freeReplicaTable, newReplicaTable } from '../memory/tables';
import {
  addressOf,
  isLeaf,
  isPresent,
  kernelLeaf,
  pageOfBlock,
  tableDescriptor,
  withAddress,
  withoutRun,
} from '../paging/descriptor';
import { SIZE, sizeOfLeaf } from '../paging/map';
import { rootSlot } from '../paging/space';
import { ENTRY_AT, SHIFT_AT } from '../paging/stage';
import { addCopy, Copy, copyAt, COPY, frameIn } from '../replica/copies';
import { isPerView, subtreeNode } from '../replica/views';
import { HAS_OPTION, ImagePart, Kernel, KERNEL, MAX_PARTS, PART } from './kernel';
import { kernelContext } from './operations';

const BLOCK_SHIFT: u32 = 21;
const RUN_SHIFT: u32 = 16;

/** Adds a part of the image; `pa` is where the home node has it, or all ones. Parts come in the order of their addresses. */
export function addPart(lane: Lane, kind: Part, va: u64, bytes: u64, pa: u64): void {
  const kernel = KERNEL(lane);
  if (kernel.partCount == MAX_PARTS) return;
  const part = PART(kernel, kernel.partCount++);
  part.kind = kind;
  part.va = va;
  // The series aligns text and read-only data to 2M on x86, so that large leaves stay.
  const padded = kernel.system == System.TextX86 && kind <= Part.Rodata && !(va & (((<u64>1) << BLOCK_SHIFT) - 1));
  part.bytes = padded ? alignUp(bytes, BLOCK_SHIFT) : bytes;
  part.pa = pa;
}

/** Takes physical memory on a node for `bytes` that are mapped at `va`, in step with it but for `skew` bytes, modulo 2 MiB. */
export function takeMemory(lane: Lane, node: u32, va: u64, bytes: u64, skew: u64): u64 {
  const next = lane.nextData + node * 8;
  const inside = ((<u64>1) << BLOCK_SHIFT) - 1;
  const pa = alignUp(load<u64>(next), BLOCK_SHIFT) + ((va + skew) & inside);
  store<u64>(next, pa + bytes);
  return pa;
}

/** How far a copy is out of step with its addresses, modulo 2 MiB: as little as its alignment allows, but never in step by chance. */
function skewOf(kernel: Kernel): u64 {
  return kernel.copyShift >= BLOCK_SHIFT ? 0 : (<u64>1) << kernel.copyShift;
}

/** Whether the system copies parts of this kind. */
function isCopied(kernel: Kernel, part: ImagePart): bool {
  if (part.kind == Part.Text) return true;
  return part.kind == Part.Rodata && HAS_OPTION(kernel, Option.Rodata);
}

/**
 * Maps the image for view 0, unless `mapped` says that captured tables do, and gives every further view its tables; its copies too unless
 * `later`: then views lead to the home's bytes until the boot event.
 */
export function bootImage(lane: Lane, mapped: bool, later: bool): void {
  const kernel = KERNEL(lane);
  kernel.booted = true;
  const context = kernelContext(lane);
  const first = PART(kernel, 0);
  if (!kernel.partCount) return;
  const end = PART(kernel, kernel.partCount - 1);
  lane.windowFrom = first.va & ~(((<u64>1) << BLOCK_SHIFT) - 1);
  lane.windowLast = (end.va + end.bytes - 1) | (((<u64>1) << BLOCK_SHIFT) - 1);
  if (kernel.system == System.TextX86) {
    // The top 2 GiB: image, modules and fixmap.
    lane.windowFrom = ((<u64>-1) >> 31) << 31;
    lane.windowLast = u64.MAX_VALUE;
  }
  const root = rootSlot(lane, context, first.va, 0);
  if (!load<u64>(root)) store<u64>(root, allocateTables(lane, 0, 1, lane.stage1.pageShift) + 1);
  for (let i: u32 = 0; i < kernel.partCount; i++) {
    const part = PART(kernel, i);
    if (part.pa == u64.MAX_VALUE) part.pa = takeMemory(lane, kernel.home, part.va, part.bytes, 0);
    if (!mapped) mapStretch(lane, load<u64>(root) - 1, part, part.va, part.pa, 0);
  }
  if (kernel.system == System.TextX86 && !mapped) {
    // The table of the fixmap.
    tableFor(lane, load<u64>(root) - 1, u64.MAX_VALUE, 1, 0);
  }
  extraRoots(lane, 0);
  if (lane.views == 1) return;
  for (let view: u32 = 1; view < lane.views; view++) extraRoots(lane, view);
  if (!later) takeCopies(lane);
  copyTables(lane);
}

/** Copies text and read-only data to every view's node. */
export function takeCopies(lane: Lane): void {
  const kernel = KERNEL(lane);
  kernel.copied = true;
  for (let i: u32 = 0; i < kernel.partCount; i++) {
    const part = PART(kernel, i);
    if (!isCopied(kernel, part)) continue;
    const copy = copyPart(lane, part.va, part.bytes, part.pa, kernel.home);
    if (copy) kernel.bootBytes += part.bytes * (lane.views - 1);
  }
}

/** Gives every further view tables that lead to its copies, as far as there are any; what it had before is freed. */
export function copyTables(lane: Lane): void {
  const kernel = KERNEL(lane);
  const va = PART(kernel, 0).va;
  const root = load<u64>(rootSlot(lane, kernelContext(lane), va, 0)) - 1;
  kernel.bootStores = 0;
  for (let view: u32 = 1; view < lane.views; view++) {
    const slot = rootSlot(lane, kernelContext(lane), va, view);
    if (load<u64>(slot)) freeCopied(lane, load<u64>(slot) - 1, root, lane.stage1.depth - 1);
    store<u64>(slot, copyTable(lane, root, va, lane.stage1.depth - 1, view) + 1);
  }
}

/** Frees a view's table and those below it that view 0 does not have. */
function freeCopied(lane: Lane, table: u64, original: u64, height: u32): void {
  const stage = lane.stage1;
  const bits = height == stage.depth - 1 ? stage.rootBits : stage.indexBits;
  for (let i: u64 = 0; height && i >> bits == 0; i++) {
    const entry = load<u64>(DESCRIPTOR(lane.tables, table + i * 8));
    const other = load<u64>(DESCRIPTOR(lane.tables, original + i * 8));
    if (entry == other || !isPresent(stage, entry, height) || isLeaf(stage, entry, height)) continue;
    freeCopied(lane, addressOf(stage, entry, height), addressOf(stage, other, height), height - 1);
  }
  freeReplicaTable(lane, table);
}

/** Pages beside a root: of KPTI, and arm64's empty root. */
function extraRoots(lane: Lane, view: u32): void {
  const kernel = KERNEL(lane);
  const pages: u32 = (kernel.system == System.TextArm ? 1 : 0) + (HAS_OPTION(kernel, Option.Kpti) ? 1 : 0);
  for (let i: u32 = 0; i < pages; i++) {
    if (view) newReplicaTable(lane, view);
    else allocateTables(lane, 0, 1, lane.stage1.pageShift);
  }
}

/** Gives every view but the home's its own bytes of a stretch; null when there is no room for more stretches. */
export function copyPart(lane: Lane, va: u64, bytes: u64, pa: u64, home: u32): Copy | null {
  const copy = addCopy(lane, va, bytes);
  if (!copy) return null;
  copy.home = home;
  for (let view: u32 = 0; view < lane.views; view++) {
    const own = view == home ? pa : takeMemory(lane, view, va, bytes, skewOf(KERNEL(lane)));
    store<u64>(copy.frames + view * 8, own);
  }
  return copy;
}

/** Bytes of text and data that copies take on a node. */
export function copyBytes(lane: Lane, node: u32): u64 {
  let bytes: u64 = 0;
  if (!lane.kernel) return 0;
  for (let i: u32 = 0; i < lane.copyCount; i++) {
    const copy = COPY(lane, i);
    if (copy.live && node < lane.views && node != KERNEL(lane).home) bytes += copy.last - copy.from + 1;
  }
  return bytes;
}

/** The largest leaf that kernels use for the image at `va`, mapped to `pa`, with `left` bytes to go: 2M, an Arm run of 64K, or a page. */
function leafShift(lane: Lane, va: u64, pa: u64, left: u64): u32 {
  const both = va | pa;
  if (!(both & (((<u64>1) << BLOCK_SHIFT) - 1)) && left >> BLOCK_SHIFT && SHIFT_AT(lane.stage1, 1) == BLOCK_SHIFT) {
    return BLOCK_SHIFT;
  }
  const runs = lane.stage1.pageShift == 12 && KERNEL(lane).system != System.TextX86;
  return runs && !(both & (((<u64>1) << RUN_SHIFT) - 1)) && left >> RUN_SHIFT ? RUN_SHIFT : lane.stage1.pageShift;
}

/** Maps a part from `va` on to `pa` in a view's tables under `root`. */
function mapStretch(lane: Lane, root: u64, part: ImagePart, va: u64, pa: u64, view: u32): void {
  const end = part.va + alignUp(part.bytes, lane.stage1.pageShift);
  while (va < end) {
    const shift = leafShift(lane, va, pa, end - va);
    putLeaf(lane, root, part, va, pa, shift, view);
    va += (<u64>1) << shift;
    pa += (<u64>1) << shift;
  }
}

/** Puts one leaf, or one run of them, into a view's tables. */
function putLeaf(lane: Lane, root: u64, part: ImagePart, va: u64, pa: u64, shift: u32, view: u32): void {
  const stage = lane.stage1;
  const height: u32 = shift == BLOCK_SHIFT ? 1 : 0;
  const table = tableFor(lane, root, va, height, view);
  const run = shift == RUN_SHIFT && stage.pageShift < RUN_SHIFT;
  const entries: u32 = run ? 1 << (RUN_SHIFT - stage.pageShift) : 1;
  for (let i: u32 = 0; i < entries; i++) {
    const offset = (<u64>i) << stage.pageShift;
    const text = part.kind == <u32>Part.Text;
    const writable = part.kind > <u32>Part.Rodata;
    const leaf = kernelLeaf(stage, pa + offset, height, text, writable, run, lane.globalKernel);
    store<u64>(DESCRIPTOR(lane.tables, ENTRY_AT(stage, table, va + offset, height)), leaf);
  }
}

/** The table of height `to` for `va` under `root`; missing ones are made, on the view's node. */
function tableFor(lane: Lane, root: u64, va: u64, to: u32, view: u32): u64 {
  const stage = lane.stage1;
  let table = root;
  for (let height = stage.depth - 1; height > to; height--) {
    const at = DESCRIPTOR(lane.tables, ENTRY_AT(stage, table, va, height));
    const entry = load<u64>(at);
    if (isPresent(stage, entry, height)) {
      table = addressOf(stage, entry, height);
      continue;
    }
    const node = subtreeNode(lane, view);
    table = view ? newReplicaTable(lane, node) : allocateTables(lane, node, 1, stage.pageShift);
    store<u64>(at, tableDescriptor(stage, table));
  }
  return table;
}

/**
 * A view's copy of view 0's table of `height` that translates `va`: inside the window tables are copied too and leaves lead to the view's
 * bytes; all else is shared. Tables of 4K pages without copied bytes stay shared on x86.
 */
function copyTable(lane: Lane, table: u64, va: u64, height: u32, view: u32): u64 {
  const stage = lane.stage1;
  const isRoot = height == stage.depth - 1;
  const own = newReplicaTable(lane, isRoot ? view : subtreeNode(lane, view));
  const bits = isRoot ? stage.rootBits : stage.indexBits;
  // The addresses above this table's: those of `va`.
  const above = isRoot
    ? va & ~((((<u64>1) << bits) << SHIFT_AT(stage, height)) - 1)
    : (va >> SHIFT_AT(stage, height + 1)) << SHIFT_AT(stage, height + 1);
  for (let i: u64 = 0; i >> bits == 0; i++) {
    const address = above | (i << SHIFT_AT(stage, height));
    const entry = load<u64>(DESCRIPTOR(lane.tables, table + i * 8));
    if (!isPresent(stage, entry, height)) continue;
    const to = DESCRIPTOR(lane.tables, own + i * 8);
    KERNEL(lane).bootStores++;
    if (isLeaf(stage, entry, height)) store<u64>(to, copiedLeaf(lane, entry, address, height, view));
    else store<u64>(to, copiedTable(lane, entry, address, height, view));
  }
  return own;
}

/** The entry in a view's table for view 0's table descriptor `entry` of `height`. */
function copiedTable(lane: Lane, entry: u64, address: u64, height: u32, view: u32): u64 {
  const stage = lane.stage1;
  if (!isPerView(lane, address, height)) return entry;
  const x86 = KERNEL(lane).system == System.TextX86;
  if (x86 && height == 1 && !overlapsCopy(lane, address, SHIFT_AT(stage, 1))) return entry;
  const next = copyTable(lane, addressOf(stage, entry, height), address, height - 1, view);
  return withAddress(stage, entry, next, 0);
}

/** The entry in a view's table for view 0's leaf `entry` of `height`; a block whose copy is out of step becomes a table of pages. */
function copiedLeaf(lane: Lane, entry: u64, address: u64, height: u32, view: u32): u64 {
  const stage = lane.stage1;
  const copy = copyAt(lane, address);
  const inside = ((<u64>1) << SHIFT_AT(stage, height)) - 1;
  if (!copy || (address | inside) > copy.last) return entry;
  const pa = frameIn(copy, view, address);
  const shift = SIZE(lane, sizeOfLeaf(lane, entry, height)).shift;
  if (height == 0) {
    // A run stays one only where the whole of it is in step.
    const inStep = !((pa ^ address) & (((<u64>1) << shift) - 1));
    return withAddress(stage, inStep ? entry : withoutRun(stage, entry), pa, height);
  }
  if (!(pa & inside)) return withAddress(stage, entry, pa, height);
  const table = newReplicaTable(lane, subtreeNode(lane, view));
  const pages = (<u64>1) << (SHIFT_AT(stage, height) - stage.pageShift);
  for (let i: u64 = 0; i < pages; i++) {
    const page = pa + (i << stage.pageShift);
    const run = stage.pageShift == 12 && !(pa & (((<u64>1) << RUN_SHIFT) - 1));
    const leaf = pageOfBlock(stage, entry, page, run);
    store<u64>(DESCRIPTOR(lane.tables, table + i * 8), leaf);
    KERNEL(lane).bootStores++;
  }
  return tableDescriptor(stage, table);
}

/** Whether some copy lies in the 2^shift bytes from `address` on. */
function overlapsCopy(lane: Lane, address: u64, shift: u32): bool {
  const last = address | (((<u64>1) << shift) - 1);
  for (let i: u32 = 0; i < lane.copyCount; i++) {
    const copy = COPY(lane, i);
    if (copy.live && copy.from <= last && copy.last >= address) return true;
  }
  return false;
}
