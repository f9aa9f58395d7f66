// x86-64: kernel events as Linux expands them, with per-node page tables, text and read-only data of the Kuzin series (6.5) where there
// is more than one view (docs/replication.md, x86-64). With one view it is the kernel as it is.

import { Fault, Lane, Option, PA_UNKNOWN, NODE_OF_CPU } from '../layout';
import { isPerView } from '../replica/views';
import { Stat } from '../stats';
import {
  allocateTop,
  clearTop,
  contextOf,
  createMm,
  destroyMm,
  mapKernel,
  placesOf,
  unmapKernel,
  unmapUser,
  writeText,
} from './common';
import { copyTables, takeCopies } from './image';
import { addModule, removeModule } from './modules';
import { Event, Method } from './events';
import { findMm, HAS_FAULT, HAS_OPTION, KERNEL } from './kernel';
import {
  copied,
  flushAllX86,
  flushLocalX86,
  flushX86,
  interrupt,
  kernelContext,
  rootWrites,
  tableStores,
} from './operations';
import { protectKernel } from './protect';

/** Expands one event; operands as in traces/events.ts. */
export function x86Event(lane: Lane, cpu: u32, kind: u32, va: u64, arg: u64, a: u64, b: u64, c: u64): void {
  const kernel = KERNEL(lane);
  switch (kind) {
    case Event.Boot:
      boot(lane, cpu);
      break;
    case Event.CpuUp:
    case Event.CpuResume:
      // start_secondary: CR3 of the node's table, then a local flush.
      store<u8>(kernel.online + <u32>va, 1);
      rootWrites(lane, <u32>va, 1, false);
      flushLocalX86(lane, <u32>va);
      break;
    case Event.CpuDown:
    case Event.CpuSuspend:
      store<u8>(kernel.online + <u32>va, 0);
      break;
    case Event.CtxSwitch:
      store<u64>(kernel.cpuMm + cpu * 8, va);
      store<u32>(kernel.cpuAsid + cpu * 4, <u32>arg);
      createMm(lane, cpu, va, <u32>arg);
      // CR3 of the node's table; with PCIDs nothing is flushed.
      rootWrites(lane, cpu, 1, false);
      break;
    case Event.KernelEnter:
    case Event.KernelExit:
      if (HAS_OPTION(kernel, Option.Kpti)) rootWrites(lane, cpu, 1, false);
      break;
    case Event.MmCreate:
      createMm(lane, cpu, va, <u32>arg);
      break;
    case Event.MmDestroy:
      destroyMm(lane, cpu, va);
      break;
    case Event.UserPudAlloc: {
      const mm = findMm(kernel, arg);
      if (mm) allocateTop(lane, cpu, mm, va);
      break;
    }
    case Event.UserPudFree: {
      const mm = findMm(kernel, arg);
      // The table is freed behind the gather's flush, whose IPI reaches lazy CPUs too.
      if (mm && clearTop(lane, cpu, mm, va)) flushX86(lane, cpu, contextOf(mm), va, u64.MAX_VALUE >> 13, arg, false);
      break;
    }
    case Event.UserUnmap: {
      const mm = findMm(kernel, a);
      if (!mm) break;
      tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), unmapUser(lane, mm, va, arg));
      flushX86(lane, cpu, contextOf(mm), va, arg, a, false);
      break;
    }
    case Event.UserProt: {
      const mm = findMm(kernel, a);
      if (mm) flushX86(lane, cpu, contextOf(mm), va, arg, a, false);
      break;
    }
    case Event.Kmap:
      mapKernel(lane, cpu, va, (arg * a) >> lane.stage1.pageShift, PA_UNKNOWN);
      break;
    case Event.Kunmap: {
      const pages = (arg * a) >> lane.stage1.pageShift;
      unmapKernel(lane, cpu, va, pages, lane.views);
      flushX86(lane, cpu, kernelContext(lane), va, pages, 0, true);
      break;
    }
    case Event.SetMemory:
      setMemory(lane, cpu, va, arg, a);
      break;
    case Event.TextPatch:
      patch(lane, cpu, va, arg, <u32>a, max<u64>(b, 1), c ? c : arg);
      break;
    case Event.ModuleLoad:
      moduleLoad(lane, cpu, va, arg, a, b);
      break;
    case Event.ModuleUnload:
      removeModule(lane, cpu, va);
      break;
    case Event.BpfLoad:
      // Its pages are not replicated, but mapped and protected in the tables of every view.
      mapKernel(lane, cpu, va, pagesOf(lane, arg), PA_UNKNOWN);
      setMemory(lane, cpu, va, pagesOf(lane, arg), READ_EXECUTE);
      break;
  }
}

const READ_EXECUTE: u64 = 5;

function pagesOf(lane: Lane, bytes: u64): u64 {
  return (bytes + ((<u64>1) << lane.stage1.pageShift) - 1) >> lane.stage1.pageShift;
}

/** numa_replicate_kernel: text and tables, then read-only data and a flush of everything, which drops the global entries of before. */
function boot(lane: Lane, cpu: u32): void {
  const kernel = KERNEL(lane);
  if (lane.views > 1) {
    if (!kernel.copied) {
      takeCopies(lane);
      copyTables(lane);
    }
    for (let view: u32 = 0; view < lane.views; view++) {
      if (view != kernel.home) copied(lane, cpu, kernel.home, view, kernel.bootBytes / (lane.views - 1));
    }
    tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), kernel.bootStores);
    rootWrites(lane, cpu, 1, false);
    flushLocalX86(lane, cpu);
    if (HAS_FAULT(kernel, Fault.SkipGlobalFlush)) return;
    flushAllX86(lane, cpu);
  }
}

/**
 * set_memory_*: on the replicated window once per view, each time with a flush of its own (numa_set_memory_*), elsewhere once
 * (change_page_attr_set_clr, cpa_flush).
 */
function setMemory(lane: Lane, cpu: u32, va: u64, pages: u64, protection: u64): void {
  const kernel = KERNEL(lane);
  const views = isPerView(lane, va, 0) ? lane.views : 1;
  for (let view: u32 = 0; view < views; view++) {
    protectKernel(lane, cpu, va, pages, protection, view);
    if (HAS_FAULT(kernel, Fault.SkipSetMemoryTlbi)) continue;
    flushX86(lane, cpu, kernelContext(lane), va, pages, 0, true);
  }
}

/** Sites of a batch that are patched between two synchronisations of all CPUs. */
const BATCH: u64 = 256;

function patch(lane: Lane, cpu: u32, va: u64, bytes: u64, method: u32, sites: u64, stride: u64): void {
  if (method == Method.Alternatives || method == Method.Early) {
    // memcpy into each copy through its linear alias.
    for (let i: u64 = 0; i < sites; i++) writeText(lane, cpu, va + i * stride, bytes);
    return;
  }
  if (method == Method.StopMachine) {
    interrupt(lane, cpu, Stat.MaintenanceIpiStop_Machine, 0, true);
    poke(lane, cpu, va, bytes);
    return;
  }
  // text_poke_bp_batch: INT3 over the first bytes, the tails, the first bytes; all CPUs are synchronised after each.
  const phases: u64 = bytes > 1 ? 3 : 2;
  for (let done: u64 = 0; done < sites; done += BATCH) {
    for (let phase: u64 = 0; phase < phases; phase++) {
      for (let i = done; i < min(sites, done + BATCH); i++) poke(lane, cpu, va + i * stride, bytes);
      interrupt(lane, cpu, Stat.MaintenanceIpiText_Poke, 0, true);
    }
  }
}

/** __text_poke: for every copy of the page, the poking address space is loaded (which flushes it) and left again. */
function poke(lane: Lane, cpu: u32, va: u64, bytes: u64): void {
  const places = placesOf(lane, va);
  const page = (<u64>1) << lane.stage1.pageShift;
  const pages: u64 = (va & (page - 1)) + bytes > page ? 2 : 1;
  for (let i: u32 = 0; i < places; i++) {
    rootWrites(lane, cpu, 1, true);
    rootWrites(lane, cpu, 1, false);
    tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), 2 * pages);
  }
  writeText(lane, cpu, va, bytes);
}

/**
 * The pages are on node 0 and mapped in the tables of every view; then text and read-only data get their copies, for which the entries of the other views
 * are cleared, set again and flushed once each (module_replicate_numa).
 */
function moduleLoad(lane: Lane, cpu: u32, va: u64, text: u64, rodata: u64, data: u64): void {
  const kernel = KERNEL(lane);
  const replicate = lane.views > 1 && HAS_OPTION(kernel, Option.Modules);
  addModule(lane, cpu, va, text, rodata, data, replicate);
  if (!replicate) return;
  flushX86(lane, cpu, kernelContext(lane), va, pagesOf(lane, text), 0, true);
  if (rodata)
    flushX86(lane, cpu, kernelContext(lane), va + (pagesOf(lane, text) << 12), pagesOf(lane, rodata), 0, true);
}
