// x86-64: kernel events as Linux expands them, with per-node page tables, text and read-only data of the Kuzin series (6.5) where there
// is more than one view (docs/replication.md, x86-64). With one view it is the kernel as it is.

import { Fault, Lane, Option, PA_UNKNOWN, NODE_OF_CPU } from '../layout';
import { isPerView } from '../paging/views';
import { Stat } from '../stats';
import { switchMm, mapKernel, placesOf, unmapKernel, writeText } from './common';
import { takeCopies } from './image';
import { addModule, pagesOf, removeModule } from './modules';
import { Area, Event, Method } from './events';
import { HAS_FAULT, HAS_OPTION, KERNEL } from './kernel';
import {
  copied,
  emptyTlbs,
  flushAllX86,
  flushKernelX86,
  flushLocalX86,
  interrupt,
  rootWrites,
  tableStores,
} from './operations';
import { protectKernel } from './protect';
import { spaceEvent } from './spaces';

const READ: u64 = 1;
const READ_EXECUTE: u64 = 5;

/** Expands one event; operands as in traces/events.ts. */
export function x86Event(lane: Lane, cpu: u32, kind: u32, va: u64, arg: u64, a: u64, b: u64, c: u64): void {
  if (spaceEvent(lane, cpu, kind, va, arg, a, b)) return;
  const kernel = KERNEL(lane);
  switch (kind) {
    case Event.Boot:
      boot(lane, cpu);
      break;
    case Event.CpuUp:
    case Event.CpuResume:
      store<u8>(kernel.online + <u32>va, 1);
      rootWrites(lane, <u32>va, 1, false);
      // start_secondary: CR3 of the node's table over the one it came up with, then a local flush.
      if (lane.views == 1) break;
      rootWrites(lane, <u32>va, 1, false);
      flushLocalX86(lane, <u32>va);
      break;
    case Event.CpuDown:
    case Event.CpuSuspend:
      store<u8>(kernel.online + <u32>va, 0);
      emptyTlbs(lane, <u32>va);
      break;
    case Event.CtxSwitch:
      switchMm(lane, cpu, va, <u32>arg);
      // CR3 of the node's table; with PCIDs nothing is flushed.
      rootWrites(lane, cpu, 1, false);
      break;
    case Event.KernelEnter:
    case Event.KernelExit:
      if (HAS_OPTION(kernel, Option.Kpti)) rootWrites(lane, cpu, 1, false);
      break;
    case Event.Kmap:
      mapKernel(lane, cpu, va, arg * a, a, PA_UNKNOWN);
      break;
    case Event.Kunmap: {
      const pages = pagesOf(lane, arg * a);
      const one = b == Area.Image && HAS_FAULT(kernel, Fault.FreeInitMasterOnly);
      unmapKernel(lane, cpu, va, pages, one ? 1 : lane.views);
      flushKernelX86(lane, cpu, va, pages);
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
    case Event.ModuleUnload: {
      // vfree flushes at once what could be executed.
      const pages = removeModule(lane, cpu, va);
      if (pages) flushKernelX86(lane, cpu, va, pages);
      break;
    }
    case Event.BpfLoad:
      // Its pages are not replicated, but mapped and protected in the tables of every view.
      mapKernel(lane, cpu, va, arg, 0, PA_UNKNOWN);
      setMemory(lane, cpu, va, pagesOf(lane, arg), READ_EXECUTE);
      break;
  }
}

/** numa_replicate_kernel: text and tables, then read-only data and a flush of everything, which drops the global entries of before. */
function boot(lane: Lane, cpu: u32): void {
  const kernel = KERNEL(lane);
  if (lane.views == 1) return;
  if (!kernel.copied) takeCopies(lane);
  for (let view: u32 = 0; view < lane.views; view++) {
    if (view != kernel.home) copied(lane, cpu, kernel.home, view, kernel.bootBytes / (lane.views - 1));
  }
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), kernel.bootStores);
  rootWrites(lane, cpu, 1, false);
  flushLocalX86(lane, cpu);
  flushAllX86(lane, cpu, !HAS_FAULT(kernel, Fault.SkipGlobalFlush));
}

/**
 * set_memory_*: on the replicated window once per view, each time with a flush of its own (numa_set_memory_*), elsewhere once
 * (change_page_attr_set_clr, cpa_flush).
 */
function setMemory(lane: Lane, cpu: u32, va: u64, pages: u64, protection: u64): void {
  const views = isPerView(lane, va, 0) ? lane.views : 1;
  for (let view: u32 = 0; view < views; view++) {
    protectKernel(lane, cpu, va, pages, protection, view);
    if (!HAS_FAULT(KERNEL(lane), Fault.SkipSetMemoryTlbi)) flushKernelX86(lane, cpu, va, pages);
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
  if (method == Method.NoSync || method == Method.StopMachine) {
    if (method == Method.StopMachine) interrupt(lane, cpu, Stat.MaintenanceIpiStop_Machine, 0, true);
    for (let i: u64 = 0; i < sites; i++) poke(lane, cpu, va + i * stride, bytes);
    return;
  }
  // text_poke_bp_batch: INT3 over the first bytes, the tails, the first bytes; all CPUs are synchronised after each.
  for (let done: u64 = 0; done < sites; done += BATCH) {
    const first = va + done * stride;
    const n = min(sites - done, BATCH);
    pokeBatch(lane, cpu, first, stride, n, 1);
    if (bytes > 1) pokeBatch(lane, cpu, first + 1, stride, n, bytes - 1);
    pokeBatch(lane, cpu, first, stride, n, 1);
  }
}

/** One phase of a batch: `bytes` at each of `n` sites, then all CPUs are synchronised. */
function pokeBatch(lane: Lane, cpu: u32, va: u64, stride: u64, n: u64, bytes: u64): void {
  for (let i: u64 = 0; i < n; i++) poke(lane, cpu, va + i * stride, bytes);
  interrupt(lane, cpu, Stat.MaintenanceIpiText_Poke, 0, true);
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
 * The pages are on node 0 and mapped in the tables of every view; then text and read-only data get their copies, for which the entries of the other
 * views are cleared, set again and flushed once each (module_replicate_numa); then both are protected.
 */
function moduleLoad(lane: Lane, cpu: u32, va: u64, text: u64, rodata: u64, data: u64): void {
  const replicate = lane.views > 1 && HAS_OPTION(KERNEL(lane), Option.Modules);
  addModule(lane, cpu, va, text, rodata, data, replicate);
  const textPages = pagesOf(lane, text);
  const rodataPages = pagesOf(lane, rodata);
  const rodataVa = va + (textPages << lane.stage1.pageShift);
  if (replicate && textPages) flushKernelX86(lane, cpu, va, textPages);
  if (replicate && rodataPages) flushKernelX86(lane, cpu, rodataVa, rodataPages);
  if (textPages) setMemory(lane, cpu, va, textPages, READ_EXECUTE);
  if (rodataPages) setMemory(lane, cpu, rodataVa, rodataPages, READ);
}
