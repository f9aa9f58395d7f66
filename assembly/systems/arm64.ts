// arm64: kernel events as Linux expands them, with per-node TTBR1 tables and copies of kernel text of the King and Jia series where there
// is more than one view (docs/replication.md, arm64). With one view it is the kernel as it is.

import { Check, Cost, Fault, Lane, Option, PA_UNKNOWN, NODE_OF_CPU } from '../layout';
import { findPage } from '../paging/map';
import { isPerView } from '../replica/views';
import { Stat } from '../stats';
import { Invalidation, invalidateOn } from '../tlb/invalidate';
import { reaches } from '../tlb/maintenance';
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
import { Area, Event, Method } from './events';
import { findMm, HAS_FAULT, HAS_OPTION, KERNEL, violated } from './kernel';
import { copyTables, takeCopies } from './image';
import { addModule, removeModule } from './modules';
import {
  barriers,
  BLOCK,
  cleanedLines,
  copied,
  count,
  flushArm,
  interrupt,
  kernelContext,
  rootWrites,
  tableStores,
} from './operations';
import { protectKernel } from './protect';

/** Expands one event; operands as in traces/events.ts. */
export function armEvent(lane: Lane, cpu: u32, kind: u32, va: u64, arg: u64, a: u64, b: u64, c: u64): void {
  const kernel = KERNEL(lane);
  switch (kind) {
    case Event.Boot:
      boot(lane, cpu);
      break;
    case Event.CpuUp:
      store<u8>(kernel.online + <u32>va, 1);
      // The MMU starts on the node's root; CnP is then set by replacing it.
      rootWrites(lane, <u32>va, 1, false);
      if (HAS_OPTION(kernel, Option.Cnp)) replaceRoot(lane, <u32>va);
      break;
    case Event.CpuResume:
      store<u8>(kernel.online + <u32>va, 1);
      replaceRoot(lane, <u32>va);
      break;
    case Event.CpuDown:
    case Event.CpuSuspend:
      store<u8>(kernel.online + <u32>va, 0);
      break;
    case Event.CtxSwitch:
      store<u64>(kernel.cpuMm + cpu * 8, va);
      store<u32>(kernel.cpuAsid + cpu * 4, <u32>arg);
      createMm(lane, cpu, va, <u32>arg);
      // cpu_do_switch_mm: TTBR1 with the ASID, its base kept, then TTBR0.
      rootWrites(lane, cpu, 2, false);
      barriers(lane, cpu, 2, 0);
      break;
    case Event.KernelEnter:
    case Event.KernelExit:
      if (!HAS_OPTION(kernel, Option.Kpti)) break;
      // The trampoline's root lies at a fixed distance from the kernel's, in every view.
      rootWrites(lane, cpu, 1, false);
      barriers(lane, cpu, 1, 0);
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
      if (mm && clearTop(lane, cpu, mm, va)) flushAsid(lane, cpu, contextOf(mm));
      break;
    }
    case Event.UserUnmap: {
      const mm = findMm(kernel, a);
      if (!mm) break;
      tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), unmapUser(lane, mm, va, arg));
      flushArm(lane, cpu, contextOf(mm), va, arg);
      break;
    }
    case Event.UserProt: {
      const mm = findMm(kernel, a);
      if (mm) flushArm(lane, cpu, contextOf(mm), va, arg);
      break;
    }
    case Event.Kmap:
      kmap(lane, cpu, va, (arg * a) >> lane.stage1.pageShift);
      break;
    case Event.Kunmap:
      kunmap(lane, cpu, va, (arg * a) >> lane.stage1.pageShift, <u32>b);
      break;
    case Event.SetMemory:
      setMemory(lane, cpu, va, arg, a);
      break;
    case Event.TextPatch:
      patch(lane, cpu, va, arg, <u32>a, max<u64>(b, 1), c ? c : arg);
      break;
    case Event.ModuleLoad:
      addModule(lane, cpu, va, arg, a, b, false);
      break;
    case Event.ModuleUnload:
      removeModule(lane, cpu, va);
      break;
    case Event.BpfLoad:
      kmap(lane, cpu, va, (arg + ((<u64>1) << lane.stage1.pageShift) - 1) >> lane.stage1.pageShift);
      break;
  }
}

/** ktext_replication_init: the copies, cleaned to the point of unification. */
function boot(lane: Lane, cpu: u32): void {
  const kernel = KERNEL(lane);
  if (lane.views > 1 && !kernel.copied) {
    takeCopies(lane);
    copyTables(lane);
  }
  for (let view: u32 = 0; view < lane.views; view++) {
    if (view == kernel.home || lane.views == 1) continue;
    const bytes = kernel.bootBytes / (lane.views - 1);
    copied(lane, cpu, kernel.home, view, bytes);
    cleanedLines(lane, cpu, bytes >> 6);
  }
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), kernel.bootStores);
}

/** idmap_cpu_replace_ttbr1: an empty root, a local flush, the new root. */
function replaceRoot(lane: Lane, cpu: u32): void {
  rootWrites(lane, cpu, 2, false);
  count(lane, cpu, Stat.MaintenanceTlbiVmalle1, 1, Cost.TlbiLocal);
  barriers(lane, cpu, 3, 1);
  invalidateOn(lane, BLOCK(lane, cpu), Invalidation.TlbiVm, kernelContext(lane), 0, 0);
  KERNEL(lane).changed = true;
}

function flushAsid(lane: Lane, cpu: u32, context: u64): void {
  count(lane, cpu, Stat.MaintenanceTlbiAside1is, 1, Cost.TlbiBroadcast);
  barriers(lane, cpu, 1, 2);
  for (let other: u32 = 0; other < lane.cpus; other++) {
    if (reaches(lane, cpu, other)) invalidateOn(lane, BLOCK(lane, other), Invalidation.TlbiAsid, context, 0, 0);
  }
  KERNEL(lane).changed = true;
}

/** New kernel pages; an entry of the root is written through the fixmap, whose page is flushed (set_swapper_pgd). */
function kmap(lane: Lane, cpu: u32, va: u64, pages: u64): void {
  const shift = lane.stage1.pageShift;
  const top = lane.stage1.pageShift + (lane.stage1.depth - 1) * lane.stage1.indexBits;
  for (let from = va; from < va + (pages << shift); from = ((from >> top) + 1) << top) {
    if (findPage(lane, kernelContext(lane), from, 0)) continue;
    const before = load<u64>(BLOCK(lane, cpu) + Stat.MaintenanceSync_Store * 8);
    mapKernel(lane, cpu, from, 1, PA_UNKNOWN);
    const written = load<u64>(BLOCK(lane, cpu) + Stat.MaintenanceSync_Store * 8) != before;
    if (lane.views == 1 || written) fixmapFlush(lane, cpu);
  }
  mapKernel(lane, cpu, va, pages, PA_UNKNOWN);
}

/** The fixmap page that was used for a store is unmapped. */
function fixmapFlush(lane: Lane, cpu: u32): void {
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), 2);
  count(lane, cpu, Stat.MaintenanceTlbiVaale1is, 1, Cost.TlbiBroadcast);
  barriers(lane, cpu, 1, 2);
}

/** Pages of the image (free_initmem) are unmapped in the kernel's own tables alone, unless the option mends that. */
function kunmap(lane: Lane, cpu: u32, va: u64, pages: u64, area: u32): void {
  const kernel = KERNEL(lane);
  const masterOnly = area == Area.Image && !HAS_OPTION(kernel, Option.SyncImageUnmap);
  unmapKernel(lane, cpu, va, pages, masterOnly ? 1 : lane.views);
  flushArm(lane, cpu, kernelContext(lane), va, pages);
}

/** set_memory_* and mark_rodata_ro: init_mm's own tables alone, unless the option protects the copies too. */
function setMemory(lane: Lane, cpu: u32, va: u64, pages: u64, protection: u64): void {
  const kernel = KERNEL(lane);
  const views = isPerView(lane, va, 0) && HAS_OPTION(kernel, Option.RoProtect) ? lane.views : 1;
  for (let view: u32 = 0; view < views; view++) protectKernel(lane, cpu, va, pages, protection, view);
  if (HAS_FAULT(kernel, Fault.SkipSetMemoryTlbi)) return;
  flushArm(lane, cpu, kernelContext(lane), va, pages);
}

function patch(lane: Lane, cpu: u32, va: u64, bytes: u64, method: u32, sites: u64, stride: u64): void {
  if (method == Method.Alternatives || method == Method.Early) {
    // Words are written through the linear aliases; one invalidation of all instruction caches ends it.
    for (let i: u64 = 0; i < sites; i++) {
      writeText(lane, cpu, va + i * stride, bytes);
      count(lane, cpu, Stat.MaintenanceDc_Lines, placesOf(lane, va), Cost.CmoLine);
    }
    count(lane, cpu, Stat.MaintenanceIc_Lines, 1, Cost.CmoLine);
    barriers(lane, cpu, 1, 2);
    return;
  }
  if (method == Method.StopMachine) interrupt(lane, cpu, Stat.MaintenanceIpiStop_Machine, 0, true);
  for (let i: u64 = 0; i < sites; i++) patchOne(lane, cpu, va + i * stride, bytes);
}

/**
 * aarch64_insn_patch_text_nosync: a store through the fixmap, one through each copy's linear alias, and maintenance by address for every place: the
 * kernel's address reaches the copy of this node only, so a CPU of another node than the master's cleans the master through its alias.
 */
function patchOne(lane: Lane, cpu: u32, va: u64, bytes: u64): void {
  const kernel = KERNEL(lane);
  fixmapFlush(lane, cpu);
  writeText(lane, cpu, va, bytes);
  const places = placesOf(lane, va);
  const away: u32 = places > 1 && NODE_OF_CPU(lane, cpu) != kernel.home ? 1 : 0;
  for (let i: u32 = 0; i < places + away; i++) cleanedLines(lane, cpu, 1);
}
