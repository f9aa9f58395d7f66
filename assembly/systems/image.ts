// The kernel image: mapping it, and building the copies of its text, read-only data and tables that the other views have
// (x86: numa_replicate_kernel, arm64: ktext_replication_init of the patch series; docs/replication.md).

import { Lane, Option, PageSize, Part, System } from '../layout';
import { alignUp } from '../memory/frames';
import { allocateTables, DESCRIPTOR, newReplicaTable, newTableOn } from '../memory/tables';
import {
  addressOf,
  isLeaf,
  isPresent,
  kernelLeaf,
  pageOfBlock,
  tableDescriptor,
  withAddress,
  withoutRun,
  writableLeaf,
} from '../paging/descriptor';
import { SIZE } from '../paging/map';
import { rootSlot } from '../paging/space';
import { ENTRY_AT, SHIFT_AT } from '../paging/stage';
import { addCopy, Copy, COPY, frameIn } from '../paging/copies';
import { isPerView, subtreeNode } from '../paging/views';
import { HAS_OPTION, ImagePart, Kernel, KERNEL, MAX_PARTS, PART } from './kernel';
import { kernelContext } from './operations';
import { pageInside } from './protect';

const BLOCK_SHIFT: u32 = 21;
const RUN_SHIFT: u32 = 16;
/** The top of x86's fixmap (FIXADDR_TOP). */
const FIXMAP: u64 = 0xffff_ffff_ff7f_f000;

/**
 * Adds a part of the image; `pa` is where the home node has it, or all ones. Parts come in the order of their addresses and are whole pages: one that
 * two parts share belongs to the later.
 */
export function addPart(lane: Lane, kind: Part, va: u64, bytes: u64, pa: u64): void {
  const kernel = KERNEL(lane);
  if (kernel.partCount == MAX_PARTS) return;
  const part = PART(kernel, kernel.partCount++);
  part.kind = kind;
  const inside = va & (((<u64>1) << lane.stage1.pageShift) - 1);
  va -= inside;
  part.va = va;
  if (kernel.partCount > 1) {
    const before = PART(kernel, kernel.partCount - 2);
    before.bytes = min(before.bytes, va - before.va);
    before.used = min(before.used, before.bytes);
  }
  // The series aligns text and read-only data to 2M on x86, so that large leaves stay.
  const padded = kernel.system == System.TextX86 && kind <= Part.Rodata && !(va & (((<u64>1) << BLOCK_SHIFT) - 1));
  part.bytes = alignUp(bytes + inside, padded ? BLOCK_SHIFT : lane.stage1.pageShift);
  part.used = alignUp(bytes + inside, lane.stage1.pageShift);
  part.pa = pa == u64.MAX_VALUE ? pa : pa - inside;
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
function skewOf(lane: Lane): u64 {
  const shift = max(KERNEL(lane).copyShift, lane.stage1.pageShift);
  return shift >= BLOCK_SHIFT ? 0 : (<u64>1) << shift;
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
  const x86 = kernel.system == System.TextX86;
  if (x86) {
    // The top 2 GiB: image, modules and fixmap.
    lane.windowFrom = ((<u64>-1) >> 31) << 31;
    lane.windowLast = u64.MAX_VALUE;
  }
  if (!kernel.partCount) return;
  const first = PART(kernel, 0);
  const end = PART(kernel, kernel.partCount - 1);
  if (!x86) {
    lane.windowFrom = first.va & ~(((<u64>1) << BLOCK_SHIFT) - 1);
    lane.windowLast = (end.va + end.bytes - 1) | (((<u64>1) << BLOCK_SHIFT) - 1);
  }
  extraRoots(lane, 0);
  const slot = rootSlot(lane, kernelContext(lane), first.va, 0);
  if (!load<u64>(slot)) store<u64>(slot, newImageTable(lane, 0, 0) + 1);
  const root = load<u64>(slot) - 1;
  for (let i: u32 = 0; i < kernel.partCount; i++) {
    const part = PART(kernel, i);
    if (part.pa == u64.MAX_VALUE) part.pa = takeMemory(lane, kernel.home, part.va, part.bytes, 0);
    if (!mapped) mapStretch(lane, root, part);
  }
  if (x86 && !mapped) tableFor(lane, root, FIXMAP, 0);
  for (let view: u32 = 1; view < lane.views; view++) {
    extraRoots(lane, view);
    const own = copyTable(lane, root, first.va, lane.stage1.depth - 1, view);
    store<u64>(rootSlot(lane, kernelContext(lane), first.va, view), own + 1);
  }
  if (!later && lane.views > 1) takeCopies(lane);
}

/** Copies text and read-only data to every view's node, and makes its tables lead there. */
export function takeCopies(lane: Lane): void {
  const kernel = KERNEL(lane);
  kernel.copied = true;
  for (let i: u32 = 0; i < kernel.partCount; i++) {
    const part = PART(kernel, i);
    if (!isCopied(kernel, part) || !part.bytes) continue;
    const copy = copyPart(lane, part.va, part.bytes, part.pa, kernel.home);
    kernel.bootBytes += part.bytes * (lane.views - 1);
    for (let view: u32 = 0; view < lane.views; view++) leadTo(lane, copy, part, view);
  }
}

/** Makes a view's leaves lead to its own bytes. */
function leadTo(lane: Lane, copy: Copy, part: ImagePart, view: u32): void {
  // The series protects read-only data in the kernel's own tables only, unless the option mends that.
  const kernel = KERNEL(lane);
  const isOpen = kernel.system == System.TextArm && part.kind == Part.Rodata && !HAS_OPTION(kernel, Option.RoProtect);
  for (let va = copy.from; va <= copy.last;) {
    const page = pageInside(lane, va, copy.last + 1, view);
    if (!page) {
      va += (<u64>1) << lane.stage1.pageShift;
      continue;
    }
    const size = SIZE(lane, page.size);
    for (let i: u32 = 0; i < page.entries; i++) {
      const at = page.first + i * 8;
      const entry = load<u64>(at);
      const leaf = view && isOpen ? writableLeaf(lane.stage1, entry) : entry;
      const address = va + ((<u64>i) << (size.shift - size.runBits));
      store<u64>(at, view == copy.home ? leaf : copiedLeaf(lane, copy, leaf, address, size, view));
    }
    va += (<u64>1) << size.shift;
  }
}

/** Pages beside a root: of KPTI, and arm64's empty root. */
function extraRoots(lane: Lane, view: u32): void {
  const kernel = KERNEL(lane);
  const pages: u32 = (kernel.system == System.TextArm ? 1 : 0) + (HAS_OPTION(kernel, Option.Kpti) ? 1 : 0);
  for (let i: u32 = 0; i < pages; i++) {
    newImageTable(lane, view, view);
  }
}

/** Gives every view but the home's its own bytes of a stretch. */
export function copyPart(lane: Lane, va: u64, bytes: u64, pa: u64, home: u32): Copy {
  const copy = addCopy(lane, va, bytes, home);
  for (let view: u32 = 0; view < lane.views; view++) {
    const own = view == home ? pa : takeMemory(lane, view, va, bytes, skewOf(lane));
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
    if (copy.live && node < lane.views && node != copy.home) bytes += copy.last - copy.from + 1;
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

/** Maps a part in view 0's tables under `root`. */
function mapStretch(lane: Lane, root: u64, part: ImagePart): void {
  let va = part.va;
  let pa = part.pa;
  const end = part.va + part.bytes;
  while (va < end) {
    const shift = leafShift(lane, va, pa, end - va);
    putLeaf(lane, root, part, va, pa, shift);
    va += (<u64>1) << shift;
    pa += (<u64>1) << shift;
  }
}

/** Puts one leaf, or one run of them, into view 0's tables. */
function putLeaf(lane: Lane, root: u64, part: ImagePart, va: u64, pa: u64, shift: u32): void {
  const stage = lane.stage1;
  const height: u32 = shift == BLOCK_SHIFT ? 1 : 0;
  const table = tableFor(lane, root, va, height);
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

/** View 0's table of height `to` for `va` under `root`; missing ones are made. */
function tableFor(lane: Lane, root: u64, va: u64, to: u32): u64 {
  const stage = lane.stage1;
  let table = root;
  for (let height = stage.depth - 1; height > to; height--) {
    const at = DESCRIPTOR(lane.tables, ENTRY_AT(stage, table, va, height));
    const entry = load<u64>(at);
    if (isPresent(stage, entry, height)) {
      table = addressOf(stage, entry, height);
      continue;
    }
    table = newImageTable(lane, 0, subtreeNode(lane, 0));
    store<u64>(at, tableDescriptor(stage, table));
  }
  return table;
}

/** A table of a view on a node; where nothing is replicated the policy for tables has a say. */
function newImageTable(lane: Lane, view: u32, node: u32): u64 {
  if (view) return newReplicaTable(lane, node);
  return lane.views > 1 ? newTableOn(lane, node) : allocateTables(lane, 0, 1, lane.stage1.pageShift);
}

/**
 * A view's copy of view 0's table of `height` that translates `va`: inside the window tables are copied too, all else is shared. Tables
 * of 4K pages without bytes that are to be copied stay shared on x86.
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
    KERNEL(lane).bootStores++;
    store<u64>(DESCRIPTOR(lane.tables, own + i * 8), copiedEntry(lane, entry, address, height, view));
  }
  return own;
}

/** The entry in a view's table for view 0's `entry` of `height`. */
function copiedEntry(lane: Lane, entry: u64, address: u64, height: u32, view: u32): u64 {
  const stage = lane.stage1;
  if (isLeaf(stage, entry, height) || !isPerView(lane, address, height)) return entry;
  const x86 = KERNEL(lane).system == System.TextX86;
  if (x86 && height == 1 && !holdsCopied(lane, address, SHIFT_AT(stage, 1))) return entry;
  const next = copyTable(lane, addressOf(stage, entry, height), address, height - 1, view);
  return withAddress(stage, entry, next, 0);
}

/** A leaf that leads to a view's own bytes; a run or a block whose copy is out of step with its addresses becomes pages. */
function copiedLeaf(lane: Lane, copy: Copy, leaf: u64, va: u64, size: PageSize, view: u32): u64 {
  const stage = lane.stage1;
  const pa = frameIn(copy, view, va);
  const isInStep = !((pa ^ va) & (((<u64>1) << size.shift) - 1));
  if (size.height == 0 || isInStep) {
    return withAddress(stage, isInStep ? leaf : withoutRun(stage, leaf), pa, size.height);
  }
  const node = subtreeNode(lane, view);
  const table = view ? newReplicaTable(lane, node) : newTableOn(lane, node);
  const pages = (<u64>1) << (SHIFT_AT(stage, size.height) - stage.pageShift);
  const run = stage.pageShift == 12 && !((pa ^ va) & (((<u64>1) << RUN_SHIFT) - 1));
  for (let i: u64 = 0; i < pages; i++) {
    const page = pageOfBlock(stage, leaf, pa + (i << stage.pageShift), run);
    store<u64>(DESCRIPTOR(lane.tables, table + i * 8), page);
  }
  KERNEL(lane).bootStores += pages;
  return tableDescriptor(stage, table);
}

/** Whether some part that is copied lies in the 2^shift bytes from `address` on. */
function holdsCopied(lane: Lane, address: u64, shift: u32): bool {
  const kernel = KERNEL(lane);
  const last = address | (((<u64>1) << shift) - 1);
  for (let i: u32 = 0; i < kernel.partCount; i++) {
    const part = PART(kernel, i);
    if (isCopied(kernel, part) && part.va <= last && part.va + part.bytes - 1 >= address) return true;
  }
  return false;
}
