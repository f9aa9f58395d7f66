// V3: a buffer of KVM's own at EL2, and what was recorded in it on its way to the guest: copied page by page, or, for V3L, kept until the guest reads the page,
// which stage 2 does not map until then (MODEL: kept bytes are moved, not copied: KVM keeps the buffer's page and takes another).

import { Cost, Fault, Lane, NODE_OF_CPU } from '../layout';
import { addressOf, kernelLeaf } from '../paging/descriptor';
import { ADD, Stat } from '../stats';
import { HAS_FAULT, KERNEL } from '../systems/kernel';
import { allocatedPages, BLOCK, copied, COST, spend, tableStores } from '../systems/operations';
import { pageAtVa, softWalk } from './guest';
import { countKernel, dropKept, freePage, giveFrame, INSIDE, newPage, PAGE_BYTES, pageAt } from './pages';
import { Page, PARAMETER, SPE, SpeParameter, Vcpu } from './records';
import { getPage, mapGuestPage, noteDirty, unmapGuestPage } from './stage2';
import { findEntry, kernelHalf, madeTables, makeEntry, openHost } from './tables';

/** What KVM's buffer holds before the unit writes to it: the host's own data, which no guest may see. */
export const HOST_DATA: u64 = 0x5ec2_e75e_c2e7_5ec2;

/** The node of KVM's buffers for a CPU. */
function nodeOf(lane: Lane, cpu: u32): u32 {
  const node = PARAMETER(SPE(lane), SpeParameter.KernelNode);
  return node ? <u32>node - 1 : NODE_OF_CPU(lane, cpu);
}

/** A buffer for what the guest has programmed: as long as its own, and no longer than allowed. */
export function openBuffer(lane: Lane, v: Vcpu, cpu: u32): void {
  const step = PAGE_BYTES(lane);
  const most = min(v.limit - v.base, PARAMETER(SPE(lane), SpeParameter.KernelBytes));
  const bytes = (most + step - 1) & ~(step - 1);
  if (v.kernelBytes == bytes) return;
  closeBuffer(lane, v);
  openHost(lane, cpu);
  const spe = SPE(lane);
  if (!spe.nextKernel) spe.nextKernel = kernelHalf(lane);
  v.kernelBase = spe.nextKernel;
  v.kernelBytes = bytes;
  spe.nextKernel += bytes;
  const node = nodeOf(lane, cpu);
  const pages = bytes / step;
  let stores: u64 = pages;
  for (let va = v.kernelBase; va < v.kernelBase + bytes; va += step) {
    const page = newPage(lane);
    giveFrame(lane, page, node);
    for (let i: usize = 0; i < <usize>step; i += 8) store<u64>(page.bytes + i, HOST_DATA);
    const entry = makeEntry(lane, spe.host, va, cpu);
    stores += madeTables;
    store<u64>(entry, kernelLeaf(lane.stage1, page.frame - 1, 0, false, true, false, true));
  }
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), stores);
  allocatedPages(lane, cpu, node, pages);
  countKernel(lane, cpu, pages);
}

/** KVM's buffer goes. */
export function closeBuffer(lane: Lane, v: Vcpu): void {
  const step = PAGE_BYTES(lane);
  for (let va = v.kernelBase; va < v.kernelBase + v.kernelBytes; va += step) {
    freePage(lane, kernelPage(lane, va));
    store<u64>(findEntry(lane, SPE(lane).host, va), 0);
  }
  SPE(lane).kernel -= v.kernelBytes / step;
  v.kernelBytes = 0;
  v.entryVa = 0;
}

function kernelPage(lane: Lane, va: u64): Page {
  return pageAt(lane, addressOf(lane.stage1, load<u64>(findEntry(lane, SPE(lane).host, va)), 0))!;
}

/** Bytes that the unit has written to KVM's buffer. */
export function recorded(v: Vcpu): u64 {
  const inside = v.hwPointer >= v.kernelBase && v.hwPointer <= v.kernelBase + v.kernelBytes;
  return inside ? v.hwPointer - v.kernelBase : 0;
}

/**
 * Hands what was recorded to the guest, from its pointer on; `lazy`: when it reads. Returns the bytes that it could not hand over, because the guest does not map
 * its buffer there.
 */
export function deliver(lane: Lane, v: Vcpu, lazy: bool, cpu: u32): u64 {
  const spe = SPE(lane);
  const bytes = recorded(v);
  // The fault: all of KVM's buffer, what it held before included.
  const all = HAS_FAULT(KERNEL(lane), Fault.SpeCopyWhole) ? min(v.kernelBytes, v.limit - v.pointer) : bytes;
  const step = PAGE_BYTES(lane);
  let page: Page | null = null;
  let done: u64 = 0;
  spe.softTable = 0;
  while (done < all) {
    const to = v.pointer + done;
    const from = v.kernelBase + done;
    if (!page || !INSIDE(lane, to)) {
      page = softWalk(lane, v.guest, to, cpu);
      if (!page) break;
      if (lazy) keepFor(lane, v, page, cpu);
      else {
        getPage(lane, page, cpu);
        if (page.kept) giveKept(lane, v, page, cpu);
        noteDirty(lane, v.guest, page, cpu);
      }
    }
    const n = min(all - done, min(step - INSIDE(lane, to), step - INSIDE(lane, from)));
    const source = kernelPage(lane, from);
    if (lazy) keep(lane, page, source, <u32>INSIDE(lane, to), <u32>INSIDE(lane, from), <u32>n);
    else copyBytes(lane, source, page, <u32>INSIDE(lane, from), <u32>INSIDE(lane, to), <u32>n, cpu);
    done += n;
  }
  const handed = min(done, bytes);
  v.pointer = HAS_FAULT(KERNEL(lane), Fault.SpeResetPointer) ? v.base + handed : v.pointer + handed;
  v.hwPointer = v.kernelBase;
  return bytes - handed;
}

function copyBytes(lane: Lane, source: Page, page: Page, from: u32, to: u32, n: u32, cpu: u32): void {
  memory.copy(page.bytes + to, source.bytes + from, n);
  copied(lane, cpu, source.node, page.node, n);
  ADD(BLOCK(lane, cpu), source.node == page.node ? Stat.SpeCopy_Local : Stat.SpeCopy_Remote, n);
}

/** The page is not the guest's to read until it has what KVM keeps for it. */
function keepFor(lane: Lane, v: Vcpu, page: Page, cpu: u32): void {
  if (page.kept) return;
  page.kept = newPage(lane);
  giveFrame(lane, page.kept!, nodeOf(lane, cpu));
  page.keptTo = 0;
  allocatedPages(lane, cpu, page.kept!.node, 1);
  countKernel(lane, cpu, 1);
  unmapGuestPage(lane, v.guest, page.ipa, cpu);
  ADD(BLOCK(lane, cpu), Stat.SpeUnmapped, 1);
}

function keep(lane: Lane, page: Page, source: Page, to: u32, from: u32, n: u32): void {
  memory.copy(page.kept!.bytes + to, source.bytes + from, n);
  if (!page.keptTo) page.keptFrom = to;
  page.keptTo = to + n;
}

/** A page gets what was kept for it. */
function giveKept(lane: Lane, v: Vcpu, page: Page, cpu: u32): void {
  copyBytes(lane, page.kept!, page, page.keptFrom, page.keptFrom, page.keptTo - page.keptFrom, cpu);
  dropKept(lane, page);
  spend(lane, cpu, COST(lane, Cost.Stage2Map));
  mapGuestPage(lane, v.guest, page, cpu, true);
}

/** The guest reads a page that stage 2 does not map: a fault, a copy, and no TLBI. */
export function readFault(lane: Lane, v: Vcpu, page: Page, cpu: u32): void {
  ADD(BLOCK(lane, cpu), Stat.SpeRead_Faults, 1);
  ADD(BLOCK(lane, cpu), Stat.MaintenanceTrap, 1);
  spend(lane, cpu, COST(lane, Cost.Exit));
  getPage(lane, page, cpu);
  giveKept(lane, v, page, cpu);
}

/** The guest gives up what it has not read of its buffer. */
export function dropBuffer(lane: Lane, v: Vcpu): void {
  const step = PAGE_BYTES(lane);
  for (let va = v.base & ~(step - 1); va < v.limit; va += step) {
    const page = keptPage(lane, v, va);
    if (page) dropKept(lane, page);
  }
}

function keptPage(lane: Lane, v: Vcpu, va: u64): Page | null {
  const page = pageAtVa(lane, v.guest, va);
  return page && page.kept ? page : null;
}
