// What the kernels of both architectures do alike: address spaces, mappings in the kernel's half, copies of a patch.

import { CONTEXT, Fault, Mapping, Lane, Option, PA_UNKNOWN, Stage, System, NODE_OF_CPU } from '../layout';
import { DESCRIPTOR, freeReplicaTable, freeTable } from '../memory/tables';
import { forgetCaptured, importRoot } from '../paging/captured';
import { addressOf, isLeaf, isPresent } from '../paging/descriptor';
import { unmapPage } from '../paging/edit';
import { findPage, mapPage, openTables, TABLE } from '../paging/map';
import { forgetSpace, rootSlot } from '../paging/space';
import { ENTRY_AT, SHIFT_AT } from '../paging/stage';
import { Copy, copyAt, writeLine } from '../replica/copies';
import { rootViews } from '../replica/views';
import { Stat } from '../stats';
import { Invalidation, invalidateOn } from '../tlb/invalidate';
import { findMm, HAS_FAULT, HAS_OPTION, Kernel, KERNEL, Mm, openMm } from './kernel';
import { allocatedPages, BLOCK, copied, kernelContext, spend, syncedStores, tableStores } from './operations';

/** The context of an address space, in user and kernel mode alike. */
export function contextOf(mm: Mm): u64 {
  return CONTEXT(0, mm.asid, 0);
}

/** Whether the tables are a captured kernel's, which its own stores change; events then only cost. */
export function followsStores(lane: Lane): bool {
  return lane.mapping == <u32>Mapping.Tables;
}

export function pairsOf(lane: Lane): u32 {
  return pairs(KERNEL(lane));
}

/** How often a store to a user's top-level entry happens: KPTI has a second copy of the table on x86. */
function pairs(kernel: Kernel): u32 {
  return kernel.system == System.TextX86 && HAS_OPTION(kernel, Option.Kpti) ? 2 : 1;
}

/** A new address space: a root for each view, zeroed, with the kernel's entries copied on x86 (pgd_alloc). */
export function createMm(lane: Lane, cpu: u32, number: u64, asid: u32): void {
  const kernel = KERNEL(lane);
  const known = findMm(kernel, number);
  if (known) return;
  const mm = openMm(kernel, number, asid);
  // An ASID that is used again must not find what it left behind (asid rollover; x86: a new context id flushes).
  for (let other: u32 = 0; other < lane.cpus; other++) {
    invalidateOn(lane, BLOCK(lane, other), Invalidation.InvpcidContext, contextOf(mm), 0, 0);
  }
  kernel.changed = true;
  if (followsStores(lane)) importRoot(lane, NODE_OF_CPU(lane, cpu), number, contextOf(mm), 0);
  else openTables(lane, NODE_OF_CPU(lane, cpu), contextOf(mm), 0, lane.stage1.depth - 1);
  const x86 = kernel.system == System.TextX86;
  const pages: u64 = pairs(kernel);
  for (let view: u32 = 0; view < rootViews(lane, 0); view++) {
    const node = lane.views > 1 ? view : NODE_OF_CPU(lane, cpu);
    allocatedPages(lane, cpu, node, pages);
    // Half of a root page belongs to the kernel.
    if (x86) copied(lane, cpu, node, node, pages << (lane.stage1.pageShift - 1));
  }
}

/** The end of an address space: its tables are freed, the roots of all views with them. */
export function destroyMm(lane: Lane, cpu: u32, number: u64): void {
  const kernel = KERNEL(lane);
  const mm = findMm(kernel, number);
  if (!mm) return;
  const top = lane.stage1.depth - 1;
  for (let view: u32 = 0; view < rootViews(lane, 0); view++) {
    const slot = rootSlot(lane, contextOf(mm), 0, view);
    if (!load<u64>(slot)) continue;
    const root = load<u64>(slot) - 1;
    if (view == 0) {
      freeBelow(lane, root, top);
      forgetCaptured(lane, root);
    }
    if (view) freeReplicaTable(lane, root);
    else freeTable(lane, root);
    store<u64>(slot, 0);
  }
  forgetSpace(lane, contextOf(mm));
  for (let other: u32 = 0; other < lane.cpus; other++) {
    invalidateOn(lane, BLOCK(lane, other), Invalidation.InvpcidContext, contextOf(mm), 0, 0);
  }
  mm.live = false;
  kernel.changed = true;
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

/** The kernel fills a user's top-level entry for `va` (__pud_alloc): one table, and an entry in the root of every view. */
export function allocateTop(lane: Lane, cpu: u32, mm: Mm, va: u64): void {
  const kernel = KERNEL(lane);
  const node = NODE_OF_CPU(lane, cpu);
  if (followsStores(lane)) {
    allocatedPages(lane, cpu, node, 1);
    tableStores(lane, cpu, node, pairs(kernel));
    return;
  }
  const at = topEntry(lane, mm, va, 0);
  const present = at && isPresent(lane.stage1, load<u64>(at), lane.stage1.depth - 1);
  if (HAS_FAULT(kernel, Fault.SkipPudSync) && !present) {
    allocateTopOfOne(lane, node, mm, va);
    tableStores(lane, cpu, node, pairs(kernel));
    return;
  }
  lane.syncStores = 0;
  openTables(lane, node, contextOf(mm), va, lane.stage1.depth - 2);
  if (!present) {
    allocatedPages(lane, cpu, node, 1);
    tableStores(lane, cpu, node, pairs(kernel));
  }
  syncedStores(lane, cpu, pairs(kernel));
}

/** The fault: the entry is made in view 0 only. */
function allocateTopOfOne(lane: Lane, node: u32, mm: Mm, va: u64): void {
  openTables(lane, node, contextOf(mm), va, lane.stage1.depth - 2);
  lane.syncStores = 0;
  for (let view: u32 = 1; view < rootViews(lane, va); view++) store<u64>(topEntry(lane, mm, va, view), 0);
}

/** Where a view's top-level entry for `va` lies in Wasm memory; 0 without a root. */
export function topEntry(lane: Lane, mm: Mm, va: u64, view: u32): usize {
  const root = load<u64>(rootSlot(lane, contextOf(mm), va, view));
  return root ? DESCRIPTOR(lane.tables, ENTRY_AT(lane.stage1, root - 1, va, lane.stage1.depth - 1)) : 0;
}

/** The kernel clears a user's top-level entry (free_pud_range) and frees what is below once the TLBs are clean; true when there was one. */
export function clearTop(lane: Lane, cpu: u32, mm: Mm, va: u64): bool {
  const kernel = KERNEL(lane);
  if (followsStores(lane)) return true;
  const top = lane.stage1.depth - 1;
  const first = topEntry(lane, mm, va, 0);
  if (!first || !isPresent(lane.stage1, load<u64>(first), top)) return false;
  const next = addressOf(lane.stage1, load<u64>(first), top);
  const views: u32 = HAS_FAULT(kernel, Fault.SkipPudClear) ? 1 : rootViews(lane, va);
  for (let view: u32 = 0; view < views; view++) {
    const at = topEntry(lane, mm, va, view);
    if (at) store<u64>(at, 0);
  }
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), pairs(kernel));
  lane.syncStores = views - 1;
  syncedStores(lane, cpu, pairs(kernel));
  freeBelow(lane, next, top - 1);
  freeTable(lane, next);
  return true;
}

/** Unmaps a user's pages where they are mapped; how many were. */
export function unmapUser(lane: Lane, mm: Mm, va: u64, pages: u64): u64 {
  let unmapped: u64 = 0;
  if (followsStores(lane)) return 0;
  const shift = lane.stage1.pageShift;
  for (let i: u64 = 0; i < pages; i++) {
    if (findPage(lane, contextOf(mm), va + (i << shift), 0) && unmapPage(lane, contextOf(mm), va + (i << shift), 0))
      unmapped++;
  }
  return unmapped;
}

/** Maps kernel pages to `pa` on, or anywhere; in every view where their tables are per view. Counts the stores. */
export function mapKernel(lane: Lane, cpu: u32, va: u64, pages: u64, pa: u64): void {
  const shift = lane.stage1.pageShift;
  const context = kernelContext(lane);
  const node = NODE_OF_CPU(lane, cpu);
  lane.syncStores = 0;
  let mapped: u64 = 0;
  for (let i: u64 = 0; i < pages; i++) {
    const page = va + (i << shift);
    if (findPage(lane, context, page, 0)) continue;
    mapPage(lane, node, context, page, pa == PA_UNKNOWN ? PA_UNKNOWN : pa + (i << shift));
    mapped++;
  }
  tableStores(lane, cpu, node, mapped);
  syncedStores(lane, cpu, 1);
}

/** Unmaps kernel pages from the views [0, views). */
export function unmapKernel(lane: Lane, cpu: u32, va: u64, pages: u64, views: u32): void {
  const shift = lane.stage1.pageShift;
  const context = kernelContext(lane);
  for (let i: u64 = 0; i < pages; i++) {
    let first: usize = 0;
    for (let view: u32 = 0; view < views; view++) {
      const page = findPage(lane, context, va + (i << shift), view);
      if (!page || (view && page.first == first)) continue;
      first = page.first;
      unmapPage(lane, context, va + (i << shift), view);
      if (view) lane.syncStores++;
      else tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), 1);
    }
  }
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
