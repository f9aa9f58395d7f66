// What the kernels of both architectures do alike: address spaces, mappings in the kernel's half, copies of a patch.

import { CONTEXT, Fault, Lane, Mapping, Option, PA_UNKNOWN, System, NODE_OF_CPU } from '../layout';
import { allocateTables, DESCRIPTOR, freeReplicaTable, freeTable, newReplicaTable, newTableOn } from '../memory/tables';
import { forgetCaptured, importRoot } from '../paging/captured';
import { addressOf, isLeaf, isPresent } from '../paging/descriptor';
import { protectPage, unmapPage } from '../paging/edit';
import { findPage, mapPage, openTables, SIZE } from '../paging/map';
import { forgetSpace, rootSlot } from '../paging/space';
import { ENTRY_AT } from '../paging/stage';
import { copyAt, writeLine } from '../paging/copies';
import { rootViews } from '../paging/views';
import { findMm, HAS_FAULT, HAS_OPTION, Kernel, KERNEL, Mm, openMm } from './kernel';
import {
  allocatedPages,
  copied,
  forgetContext,
  kernelContext,
  syncedStores,
  tableStores,
  throughFixmap,
} from './operations';
import { unmapIn } from './protect';

/** The context of an address space, in user and kernel mode alike. */
export function contextOf(mm: Mm): u64 {
  return CONTEXT(0, mm.asid, 0);
}

/** Whether the tables are a captured kernel's, which its own stores change: then events only cost. */
export function followsStores(lane: Lane): bool {
  return lane.mapping == Mapping.Tables;
}

/** Pages of a root, and how often a store to a user's top-level entry happens: KPTI has a second copy of the table on x86. */
export function pairs(kernel: Kernel): u32 {
  return kernel.system == System.TextX86 && HAS_OPTION(kernel, Option.Kpti) ? 2 : 1;
}

/** A new address space: a root for each view, zeroed, with the kernel's entries copied on x86 (pgd_alloc). */
export function createMm(lane: Lane, cpu: u32, number: u64, asid: u32): void {
  const kernel = KERNEL(lane);
  if (findMm(kernel, number)) return;
  const mm = openMm(lane, number, asid);
  const own = NODE_OF_CPU(lane, cpu);
  // An ASID that is used again must not find what it left behind (asid rollover; x86: a new context id flushes).
  forgetContext(lane, contextOf(mm));
  if (followsStores(lane)) importRoot(lane, own, number, contextOf(mm), 0);
  else openTables(lane, own, contextOf(mm), 0, lane.stage1.depth - 1);
  const views = rootViews(lane, 0);
  const pages = pairs(kernel);
  for (let view: u32 = 0; view < views; view++) {
    const node = views > 1 ? view : own;
    allocatedPages(lane, cpu, node, pages);
    // Half of a root page belongs to the kernel.
    if (kernel.system == System.TextX86) copied(lane, cpu, node, node, (<u64>pages) << (lane.stage1.pageShift - 1));
    if (pages == 1) continue;
    const table = view
      ? newReplicaTable(lane, node)
      : views > 1
        ? newTableOn(lane, node)
        : allocateTables(lane, node, 1, lane.stage1.pageShift);
    store<u64>(mm.userRoots + view * 8, table);
  }
}

/**
 * A CPU switches to an address space; 0 is the kernel's own. A CPU that ran it before has lost its task to this one and is lazy: it goes on in the kernel
 * and is not interrupted for it (is_lazy in arch/x86/mm/tlb.c). So an address space runs on one CPU at a time.
 */
export function switchMm(lane: Lane, cpu: u32, number: u64, asid: u32): void {
  const kernel = KERNEL(lane);
  for (let other: u32 = 0; other < lane.cpus; other++) {
    const running = kernel.cpuMm + other * 8;
    if (load<u64>(running) == number) store<u64>(running, u64.MAX_VALUE);
  }
  store<u64>(kernel.cpuMm + cpu * 8, number);
  store<u32>(kernel.cpuAsid + cpu * 4, asid);
  if (number) createMm(lane, cpu, number, asid);
}

/** The end of an address space: its tables are freed, the roots of all views with them. */
export function destroyMm(lane: Lane, number: u64): void {
  const kernel = KERNEL(lane);
  const mm = findMm(kernel, number);
  if (!mm) return;
  for (let view: u32 = 0; view < rootViews(lane, 0); view++) {
    const slot = rootSlot(lane, contextOf(mm), 0, view);
    if (!load<u64>(slot)) continue;
    const root = load<u64>(slot) - 1;
    if (view == 0) {
      freeBelow(lane, root, lane.stage1.depth - 1);
      forgetCaptured(lane, root);
    }
    freeRoot(lane, root, view);
    if (pairs(kernel) == 2) freeRoot(lane, load<u64>(mm.userRoots + view * 8), view);
  }
  forgetSpace(lane, contextOf(mm));
  forgetContext(lane, contextOf(mm));
  mm.live = false;
}

function freeRoot(lane: Lane, table: u64, view: u32): void {
  if (view) freeReplicaTable(lane, table);
  else freeTable(lane, table);
}

/** Frees the tables that a table of `height` leads to. */
function freeBelow(lane: Lane, table: u64, height: u32): void {
  const stage = lane.stage1;
  if (!height) return;
  const bits = height == stage.depth - 1 ? stage.rootBits : stage.indexBits;
  for (let i: u64 = 0; i >> bits == 0; i++) {
    const at = DESCRIPTOR(lane.tables, table + i * 8);
    const entry = load<u64>(at);
    if (!isPresent(stage, entry, height) || isLeaf(stage, entry, height)) continue;
    const next = addressOf(stage, entry, height);
    freeBelow(lane, next, height - 1);
    forgetCaptured(lane, next);
    freeTable(lane, next);
    store<u64>(at, 0);
  }
}

/** Where a view's top-level entry for `va` lies in Wasm memory; 0 without a root. */
function topEntry(lane: Lane, context: u64, va: u64, view: u32): usize {
  const root = load<u64>(rootSlot(lane, context, va, view));
  return root ? DESCRIPTOR(lane.tables, ENTRY_AT(lane.stage1, root - 1, va, lane.stage1.depth - 1)) : 0;
}

/** Whether the kernel's own root, view 0's, has an entry for `va`. */
function hasTop(lane: Lane, context: u64, va: u64): bool {
  const at = topEntry(lane, context, va, 0);
  return at != 0 && isPresent(lane.stage1, load<u64>(at), lane.stage1.depth - 1);
}

/** The fault: the entry that was just made for `va` in the root of every view is in view 0's only. */
function forgetSync(lane: Lane, context: u64, va: u64): void {
  const views = rootViews(lane, va);
  for (let view: u32 = 1; view < views; view++) store<u64>(topEntry(lane, context, va, view), 0);
  lane.syncStores -= views - 1;
}

/** The kernel fills a user's top-level entry for `va` (__pud_alloc): one table, and an entry in the root of every view. */
export function allocateTop(lane: Lane, cpu: u32, mm: Mm, va: u64): void {
  const kernel = KERNEL(lane);
  const node = NODE_OF_CPU(lane, cpu);
  if (followsStores(lane)) {
    // The entries are the captured store's, which follows.
    allocatedPages(lane, cpu, node, 1);
    tableStores(lane, cpu, node, pairs(kernel));
    return;
  }
  if (hasTop(lane, contextOf(mm), va)) return;
  openTables(lane, node, contextOf(mm), va, lane.stage1.depth - 2);
  if (HAS_FAULT(kernel, Fault.SkipPudSync)) forgetSync(lane, contextOf(mm), va);
  allocatedPages(lane, cpu, node, 1);
  tableStores(lane, cpu, node, pairs(kernel));
  syncedStores(lane, cpu, pairs(kernel));
}

/** The kernel clears a user's top-level entry (free_pud_range) and frees what is below once the TLBs are clean; true when there was one. */
export function clearTop(lane: Lane, cpu: u32, mm: Mm, va: u64): bool {
  const kernel = KERNEL(lane);
  const top = lane.stage1.depth - 1;
  if (followsStores(lane)) return true;
  if (!hasTop(lane, contextOf(mm), va)) return false;
  const next = addressOf(lane.stage1, load<u64>(topEntry(lane, contextOf(mm), va, 0)), top);
  const views: u32 = HAS_FAULT(kernel, Fault.SkipPudClear) ? 1 : rootViews(lane, va);
  for (let view: u32 = 0; view < views; view++) store<u64>(topEntry(lane, contextOf(mm), va, view), 0);
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), pairs(kernel));
  lane.syncStores = views - 1;
  syncedStores(lane, cpu, pairs(kernel));
  freeBelow(lane, next, top - 1);
  freeTable(lane, next);
  return true;
}

/** Maps those of a user's pages that are not mapped, to `pa` on or anywhere. */
export function mapUser(lane: Lane, cpu: u32, mm: Mm, va: u64, pages: u64, pa: u64): void {
  if (followsStores(lane)) return;
  const shift = lane.stage1.pageShift;
  const node = NODE_OF_CPU(lane, cpu);
  let mapped: u64 = 0;
  for (let i: u64 = 0; i < pages; i++) {
    const page = va + (i << shift);
    if (findPage(lane, contextOf(mm), page, 0)) continue;
    mapPage(lane, node, contextOf(mm), page, pa == PA_UNKNOWN ? PA_UNKNOWN : pa + (i << shift));
    mapped++;
  }
  tableStores(lane, cpu, node, mapped);
  syncedStores(lane, cpu, pairs(KERNEL(lane)));
}

/** Unmaps a user's pages where they are mapped; counts the stores. */
export function unmapUser(lane: Lane, cpu: u32, mm: Mm, va: u64, pages: u64): void {
  if (followsStores(lane)) return;
  const shift = lane.stage1.pageShift;
  let unmapped: u64 = 0;
  for (let i: u64 = 0; i < pages; i++) if (unmapPage(lane, contextOf(mm), va + (i << shift), 0)) unmapped++;
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), unmapped);
}

/** Changes the protection of a user's pages where they are mapped; counts the stores. */
export function protectUser(lane: Lane, cpu: u32, mm: Mm, va: u64, pages: u64, protection: u64): void {
  if (followsStores(lane)) return;
  const shift = lane.stage1.pageShift;
  const writable = (protection & 2) != 0;
  const executable = (protection & 4) != 0;
  let changed: u64 = 0;
  for (let i: u64 = 0; i < pages; i++) {
    if (protectPage(lane, contextOf(mm), va + (i << shift), 0, writable, executable)) changed++;
  }
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), changed);
}

/**
 * Maps `bytes` of kernel addresses in pages of `pageBytes` (the base size where TLBs have no place for those), to `pa` on or anywhere; in every view
 * where their tables are per view. Counts the stores: arm64 writes an entry of the root through the fixmap (set_swapper_pgd).
 */
export function mapKernel(lane: Lane, cpu: u32, va: u64, bytes: u64, pageBytes: u64, pa: u64): void {
  const kernel = KERNEL(lane);
  const context = kernelContext(lane);
  const node = NODE_OF_CPU(lane, cpu);
  const size = sizeOfBytes(lane, pageBytes);
  let mapped: u64 = 0;
  let at = va;
  while (at - va < bytes) {
    let page = findPage(lane, context, at, 0);
    if (!page) {
      const isNew = !hasTop(lane, context, at);
      mapPage(lane, node, context, at, pa == PA_UNKNOWN ? PA_UNKNOWN : pa + (at - va), size);
      if (isNew && HAS_FAULT(kernel, Fault.SkipPudSync)) forgetSync(lane, context, at);
      if (isNew && kernel.system == System.TextArm) throughFixmap(lane, cpu);
      page = findPage(lane, context, at, 0)!;
      mapped += page.entries;
    }
    at = (at | (((<u64>1) << SIZE(lane, page.size).shift) - 1)) + 1;
  }
  tableStores(lane, cpu, node, mapped);
  syncedStores(lane, cpu, 1);
}

/** The number of the plain page size of so many bytes, where TLBs can hold it; 0 else. */
function sizeOfBytes(lane: Lane, bytes: u64): u32 {
  for (let size = lane.sizeCount - 1; size > 0; size--) {
    const page = SIZE(lane, size);
    if ((<u64>1) << page.shift == bytes && !page.runBits && (lane.usedSizes >> size) & 1) return size;
  }
  return 0;
}

/** Unmaps kernel pages from the views [0, views); counts the stores. */
export function unmapKernel(lane: Lane, cpu: u32, va: u64, pages: u64, views: u32): void {
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), unmapIn(lane, va, pages, 0));
  for (let view: u32 = 1; view < views; view++) lane.syncStores += <u32>unmapIn(lane, va, pages, view);
  syncedStores(lane, cpu, 1);
}

/** The bytes at `va` are written in every view's copy (or in the only place): new content, the same everywhere. */
export function writeText(lane: Lane, cpu: u32, va: u64, bytes: u64): void {
  const kernel = KERNEL(lane);
  const copy = copyAt(lane, va);
  const token = ++kernel.token;
  const views = copy ? lane.views : 1;
  for (let view: u32 = 0; view < views; view++) {
    if (copy && HAS_FAULT(kernel, Fault.SkipReplicaPatch) && view == views - 1) continue;
    if (copy) writeLine(lane, copy, view, va, token);
    copied(lane, cpu, NODE_OF_CPU(lane, cpu), copy ? view : kernel.home, bytes);
  }
}

/** How many places hold the bytes at `va`. */
export function placesOf(lane: Lane, va: u64): u32 {
  return copyAt(lane, va) ? lane.views : 1;
}
