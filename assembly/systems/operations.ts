// The operations that events are made of: root writes, TLB maintenance, IPIs, barriers, traps, copies. Each counts itself at the CPU that
// does it and adds its cycles (machine.costs; Intel SDM vol. 3 4.10.4, Arm ARM D8.16, Linux arch/x86/mm/tlb.c, arm64 tlbflush.h).

import { Cost, GLOBAL_CONTEXT, CONTEXT, Lane, NODE_OF_CPU } from '../layout';
import { ADD, Stat } from '../stats';
import { Invalidation, invalidateOn } from '../tlb/invalidate';
import { barriers, BLOCK, COST, count, farther, reaches, spend, tableStores } from '../tlb/maintenance';
import { Kernel, KERNEL } from './kernel';

/** Above this many pages x86 flushes everything (tlb_single_page_flush_ceiling), and Arm (MAX_DVM_OPS) above the other. */
const X86_PAGES: u64 = 33;
const ARM_PAGES: u64 = 512;

export { barriers, BLOCK, COST, count, farther, spend, tableStores };

/** Stores to further copies of a descriptor, as paging/map.ts counted them since the last call: alike many in each view. */
export function syncedStores(lane: Lane, cpu: u32, factor: u32): void {
  const n = <u64>lane.syncStores * factor;
  lane.syncStores = 0;
  if (!n) return;
  ADD(BLOCK(lane, cpu), Stat.MaintenanceSync_Store, n);
  ADD(BLOCK(lane, cpu), Stat.MaintenanceTable_Store, n);
  let distance: u64 = 0;
  for (let view: u32 = 0; view < lane.views; view++) distance += farther(lane, cpu, view);
  spend(lane, cpu, n + (n * distance) / (lane.views - 1));
}

/** Copies bytes from one node's memory to another's. */
export function copied(lane: Lane, cpu: u32, from: u32, to: u32, bytes: u64): void {
  ADD(BLOCK(lane, cpu), Stat.MaintenanceBytes_Copied, bytes);
  const lines = (bytes + 63) >> 6;
  spend(lane, cpu, lines * (COST(lane, Cost.CopyLine) + farther(lane, cpu, from) + farther(lane, cpu, to)));
}

/** Allocates and zeroes a page on a node. */
export function allocatedPages(lane: Lane, cpu: u32, node: u32, pages: u64): void {
  const lines: u64 = ((<u64>1) << lane.stage1.pageShift) >> 6;
  spend(lane, cpu, pages * (COST(lane, Cost.PageAlloc) + lines * (1 + farther(lane, cpu, node))));
}

/** Cache maintenance by address: `lines` cleaned and as many invalidated, with the barriers of caches_clean_inval_pou. */
export function cleanedLines(lane: Lane, cpu: u32, lines: u64): void {
  count(lane, cpu, Stat.MaintenanceDc_Lines, lines, Cost.CmoLine);
  barriers(lane, cpu, 0, 1);
  count(lane, cpu, Stat.MaintenanceIc_Lines, lines, Cost.CmoLine);
  barriers(lane, cpu, 1, 1);
}

/** A write of a root register by a CPU. */
export function rootWrites(lane: Lane, cpu: u32, n: u64, flush: bool): void {
  count(lane, cpu, Stat.MaintenanceRoot_Write, n, flush ? Cost.RootWriteFlush : Cost.RootWrite);
}

/** Interrupts every other CPU that is online, or only those that run the address space `mm`; the sender waits for the slowest. */
export function interrupt(lane: Lane, cpu: u32, stat: Stat, mm: u64, everyone: bool): u32 {
  const kernel = KERNEL(lane);
  let targets: u32 = 0;
  let slowest: u64 = 0;
  for (let other: u32 = 0; other < lane.cpus; other++) {
    if (!isTarget(kernel, cpu, other, mm, everyone)) continue;
    targets++;
    const near = NODE_OF_CPU(lane, other) == NODE_OF_CPU(lane, cpu);
    slowest = max(slowest, COST(lane, near ? Cost.IpiLocal : Cost.IpiRemote));
    spend(lane, other, COST(lane, Cost.IpiHandler));
  }
  if (!targets) return 0;
  ADD(BLOCK(lane, cpu), stat, targets);
  spend(lane, cpu, COST(lane, Cost.Shootdown) + slowest + COST(lane, Cost.IpiHandler));
  return targets;
}

function isTarget(kernel: Kernel, cpu: u32, other: u32, mm: u64, everyone: bool): bool {
  if (other == cpu || !load<u8>(kernel.online + other)) return false;
  return everyone || load<u64>(kernel.cpuMm + other * 8) == mm;
}

/** The context of the kernel's own pages. */
export function kernelContext(lane: Lane): u64 {
  return GLOBAL_CONTEXT(CONTEXT(1, 0, 0));
}

/** A CPU loses its TLBs: it was switched off. */
export function emptyTlbs(lane: Lane, cpu: u32): void {
  invalidateOn(lane, BLOCK(lane, cpu), Invalidation.InvpcidAll, CONTEXT(0, 0, 0), 0, 0);
  KERNEL(lane).changed = true;
}

/** Everything of an address space but global pages leaves all TLBs, at nobody's cost: its ASID gets another owner. */
export function forgetContext(lane: Lane, context: u64): void {
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    invalidateOn(lane, BLOCK(lane, cpu), Invalidation.InvpcidContext, context, 0, 0);
  }
  KERNEL(lane).changed = true;
}

/** x86: removes kernel pages from the TLBs of all CPUs that are online, one by one or, if they are many, all at once (flush_tlb_kernel_range). */
export function flushKernelX86(lane: Lane, cpu: u32, from: u64, pages: u64): void {
  if (pages > X86_PAGES) {
    flushAllX86(lane, cpu, true);
    return;
  }
  const kernel = KERNEL(lane);
  const last = from + (pages << lane.stage1.pageShift) - 1;
  interrupt(lane, cpu, Stat.MaintenanceIpiShootdown, 0, true);
  for (let other: u32 = 0; other < lane.cpus; other++) {
    if (other != cpu && !isTarget(kernel, cpu, other, 0, true)) continue;
    const block = BLOCK(lane, other);
    count(lane, other, Stat.MaintenanceTlbiInvlpg, pages, Cost.Invlpg);
    // The walk-cache entries of whatever address space the CPU is in leave too.
    invalidateOn(lane, block, Invalidation.Invlpg, CONTEXT(0, load<u32>(kernel.cpuAsid + other * 4), 0), from, last);
    // Pages that are not global may be known under other PCIDs, which the CPU marks for a flush at their next use.
    if (!lane.globalKernel) invalidateOn(lane, block, Invalidation.TlbiVaAnyAsid, kernelContext(lane), from, last);
  }
  kernel.changed = true;
}

/**
 * x86: removes an address space's pages from the TLBs of this CPU and of those that run it (flush_tlb_mm_range). The others flush what they
 * have left of it when they return to it; here that leaves at once.
 */
export function flushUserX86(lane: Lane, cpu: u32, mm: u64, context: u64, from: u64, pages: u64): void {
  const kernel = KERNEL(lane);
  const last = from + (pages << lane.stage1.pageShift) - 1;
  interrupt(lane, cpu, Stat.MaintenanceIpiShootdown, mm, false);
  for (let other: u32 = 0; other < lane.cpus; other++) {
    const runs = other == cpu || isTarget(kernel, cpu, other, mm, false);
    if (runs && pages <= X86_PAGES) {
      count(lane, other, Stat.MaintenanceTlbiInvlpg, pages, Cost.Invlpg);
      invalidateOn(lane, BLOCK(lane, other), Invalidation.Invlpg, context, from, last);
      continue;
    }
    if (runs) count(lane, other, Stat.MaintenanceTlbiCr3, 1, Cost.RootWriteFlush);
    invalidateOn(lane, BLOCK(lane, other), Invalidation.InvpcidContext, context, 0, 0);
  }
  kernel.changed = true;
}

/** x86: everything on every CPU, global pages included (flush_tlb_all); without them it is a mere reload of CR3. */
export function flushAllX86(lane: Lane, cpu: u32, global: bool): void {
  const kernel = KERNEL(lane);
  interrupt(lane, cpu, Stat.MaintenanceIpiShootdown, 0, true);
  for (let other: u32 = 0; other < lane.cpus; other++) {
    if (other != cpu && !isTarget(kernel, cpu, other, 0, true)) continue;
    if (!global) {
      flushLocalX86(lane, other);
      continue;
    }
    count(lane, other, Stat.MaintenanceTlbiGlobal, 1, Cost.GlobalFlush);
    invalidateOn(lane, BLOCK(lane, other), Invalidation.InvpcidAll, CONTEXT(1, 0, 0), 0, 0);
  }
  kernel.changed = true;
}

/** x86: a CPU drops what is not global (native_flush_tlb_local). */
export function flushLocalX86(lane: Lane, cpu: u32): void {
  count(lane, cpu, Stat.MaintenanceTlbiCr3, 1, Cost.RootWriteFlush);
  invalidateOn(lane, BLOCK(lane, cpu), Invalidation.InvpcidNonGlobal, CONTEXT(1, 0, 0), 0, 0);
  KERNEL(lane).changed = true;
}

/** Arm: DSB ISHST, one TLBI for each page or a single one, DSB ISH, ISB; it reaches all CPUs without interrupts. */
function broadcast(lane: Lane, cpu: u32, stat: Stat, n: u64, instruction: Invalidation, context: u64, from: u64): void {
  count(lane, cpu, stat, n, Cost.TlbiBroadcast);
  barriers(lane, cpu, 1, 2);
  const last = from + (n << lane.stage1.pageShift) - 1;
  for (let other: u32 = 0; other < lane.cpus; other++) {
    if (reaches(lane, cpu, other)) invalidateOn(lane, BLOCK(lane, other), instruction, context, from, last);
  }
  KERNEL(lane).changed = true;
}

/** Arm: kernel pages leave all TLBs: VAALE1IS for each, VMALLE1IS when they are many (flush_tlb_kernel_range). */
export function flushKernelArm(lane: Lane, cpu: u32, from: u64, pages: u64): void {
  const context = kernelContext(lane);
  if (pages > ARM_PAGES) {
    broadcast(lane, cpu, Stat.MaintenanceTlbiVmalle1is, 1, Invalidation.TlbiVm, context, 0);
  } else {
    broadcast(lane, cpu, Stat.MaintenanceTlbiVaale1is, pages, Invalidation.TlbiVaAnyAsidLast, context, from);
  }
}

/** Arm: pages of an address space leave all TLBs: VALE1IS for each, ASIDE1IS when they are many (flush_tlb_range). */
export function flushUserArm(lane: Lane, cpu: u32, context: u64, from: u64, pages: u64): void {
  if (pages > ARM_PAGES) flushAsidArm(lane, cpu, context);
  else broadcast(lane, cpu, Stat.MaintenanceTlbiVale1is, pages, Invalidation.TlbiVaLast, context, from);
}

/** Arm: an address space leaves all TLBs and walk caches (flush_tlb_mm). */
export function flushAsidArm(lane: Lane, cpu: u32, context: u64): void {
  broadcast(lane, cpu, Stat.MaintenanceTlbiAside1is, 1, Invalidation.TlbiAsid, context, 0);
}

/** Arm: the page of the fixmap through which something read-only was written is mapped and unmapped again. */
export function throughFixmap(lane: Lane, cpu: u32): void {
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), 2);
  count(lane, cpu, Stat.MaintenanceTlbiVaale1is, 1, Cost.TlbiBroadcast);
  barriers(lane, cpu, 1, 2);
}
