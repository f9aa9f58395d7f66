// arm64: kernel events as Linux expands them, with per-node TTBR1 tables and copies of kernel text of the King and Jia series where there
// is more than one view (docs/replication.md, arm64). With one view it is the kernel as it is.

import { Cost, Fault, Lane, Option, PA_UNKNOWN, NODE_OF_CPU } from '../layout';
import { isPerView } from '../paging/views';
import { Stat } from '../stats';
import { Invalidation, invalidateOn } from '../tlb/invalidate';
import { switchMm, mapKernel, placesOf, unmapKernel, writeText } from './common';
import { Area, Event, Method } from './events';
import { takeCopies } from './image';
import { HAS_FAULT, HAS_OPTION, KERNEL } from './kernel';
import { addModule, pagesOf, removeModule } from './modules';
import {
  barriers,
  BLOCK,
  cleanedLines,
  copied,
  count,
  emptyTlbs,
  flushKernelArm,
  interrupt,
  kernelContext,
  rootWrites,
  tableStores,
  throughFixmap,
} from './operations';
import { protectKernel } from './protect';
import { spaceEvent } from './spaces';

const READ: u64 = 1;
const READ_EXECUTE: u64 = 5;

/** Expands one event; operands as in traces/events.ts. */
export function armEvent(lane: Lane, cpu: u32, kind: u32, va: u64, arg: u64, a: u64, b: u64, c: u64): void {
  if (spaceEvent(lane, cpu, kind, va, arg, a, b)) return;
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
      // The register is restored; CnP, or the node's root, is then set by replacing it.
      if (lane.views > 1 || HAS_OPTION(kernel, Option.Cnp)) replaceRoot(lane, <u32>va);
      else rootWrites(lane, <u32>va, 1, false);
      break;
    case Event.CpuDown:
    case Event.CpuSuspend:
      store<u8>(kernel.online + <u32>va, 0);
      emptyTlbs(lane, <u32>va);
      break;
    case Event.CtxSwitch:
      switchMm(lane, cpu, va, <u32>arg);
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
    case Event.Kmap:
      mapKernel(lane, cpu, va, arg * a, a, PA_UNKNOWN);
      break;
    case Event.Kunmap:
      kunmap(lane, cpu, va, pagesOf(lane, arg * a), <u32>b);
      break;
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
      if (pages) flushKernelArm(lane, cpu, va, pages);
      break;
    }
    case Event.BpfLoad:
      mapKernel(lane, cpu, va, arg, 0, PA_UNKNOWN);
      setMemory(lane, cpu, va, pagesOf(lane, arg), READ_EXECUTE);
      break;
  }
}

/** ktext_replication_init: the copies, cleaned to the point of unification. CPUs of further views come up after it. */
function boot(lane: Lane, cpu: u32): void {
  const kernel = KERNEL(lane);
  if (lane.views == 1) return;
  if (!kernel.copied) {
    takeCopies(lane);
    for (let other: u32 = 0; other < lane.cpus; other++) if (NODE_OF_CPU(lane, other)) emptyTlbs(lane, other);
  }
  for (let view: u32 = 0; view < lane.views; view++) {
    if (view == kernel.home) continue;
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

/** Modules are not replicated; they are protected once loaded. */
function moduleLoad(lane: Lane, cpu: u32, va: u64, text: u64, rodata: u64, data: u64): void {
  addModule(lane, cpu, va, text, rodata, data, false);
  const textPages = pagesOf(lane, text);
  const rodataPages = pagesOf(lane, rodata);
  if (textPages) setMemory(lane, cpu, va, textPages, READ_EXECUTE);
  if (rodataPages) setMemory(lane, cpu, va + (textPages << lane.stage1.pageShift), rodataPages, READ);
}

/** Pages of the image (free_initmem) are unmapped in the kernel's own tables alone, unless the option mends that. */
function kunmap(lane: Lane, cpu: u32, va: u64, pages: u64, area: u32): void {
  const kernel = KERNEL(lane);
  const isMended = HAS_OPTION(kernel, Option.SyncImageUnmap) && !HAS_FAULT(kernel, Fault.FreeInitMasterOnly);
  const masterOnly = area == Area.Image && !isMended;
  unmapKernel(lane, cpu, va, pages, masterOnly ? 1 : lane.views);
  flushKernelArm(lane, cpu, va, pages);
}

/** set_memory_* and mark_rodata_ro: init_mm's own tables alone, unless the option protects the copies too. */
function setMemory(lane: Lane, cpu: u32, va: u64, pages: u64, protection: u64): void {
  const kernel = KERNEL(lane);
  const views = isPerView(lane, va, 0) && HAS_OPTION(kernel, Option.RoProtect) ? lane.views : 1;
  for (let view: u32 = 0; view < views; view++) protectKernel(lane, cpu, va, pages, protection, view);
  if (HAS_FAULT(kernel, Fault.SkipSetMemoryTlbi)) return;
  flushKernelArm(lane, cpu, va, pages);
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
  if (method == Method.StopMachine) {
    interrupt(lane, cpu, Stat.MaintenanceIpiStop_Machine, 0, true);
    for (let other: u32 = 0; other < lane.cpus; other++) {
      if (other != cpu && load<u8>(KERNEL(lane).online + other)) barriers(lane, other, 1, 0);
    }
  }
  for (let i: u64 = 0; i < sites; i++) patchOne(lane, cpu, va + i * stride, bytes);
}

/**
 * aarch64_insn_patch_text_nosync: a store through the fixmap, one through each copy's linear alias, and maintenance by address for every place: the
 * kernel's address reaches the copy of this node only, so a CPU of another node than the master's cleans the master through its alias.
 */
function patchOne(lane: Lane, cpu: u32, va: u64, bytes: u64): void {
  const kernel = KERNEL(lane);
  throughFixmap(lane, cpu);
  writeText(lane, cpu, va, bytes);
  const places = placesOf(lane, va);
  const away: u32 = places > 1 && NODE_OF_CPU(lane, cpu) != kernel.home ? 1 : 0;
  for (let i: u32 = 0; i < places + away; i++) cleanedLines(lane, cpu, 1);
}
