// host-stage2: a pKVM host whose stage 2 leads to a copy of the kernel's text on every node (docs/hoststage2.md). Stage 1 and the kernel's own
// part of an event are as in arm64 with one view; here is what the hypervisor adds.

import {
  CONTEXT,
  Cost,
  Fault,
  HostText,
  HostTree,
  Lane,
  Mapping,
  Option,
  Part,
  REGIME_GUEST,
  NODE_OF_CPU,
} from '../layout';
import { allocate } from '../memory/arena';
import { ANY_SIZE, breakLeaf, disown, fillHost, openHostRoots } from '../paging/hostfill';
import { addHostText, findHostLeaf, hostIpa, hostShift, newHostTree, OWN_IPA, TEXT, textAt } from '../paging/hosttree';
import { PatchedLine } from '../paging/copies';
import { Stat } from '../stats';
import { endPool, flushHost, hostFault, hostStores, hostTrap, planHostCaches, recyclePool } from '../tlb/hostwalk';
import { Invalidation, invalidateOn } from '../tlb/invalidate';
import { armEvent } from './arm64';
import { Event } from './events';
import { takeMemory } from './image';
import { HAS_FAULT, HAS_OPTION, KERNEL, PART } from './kernel';
import {
  allocatedPages,
  barriers,
  BLOCK,
  cleanedLines,
  copied,
  count,
  kernelContext,
  rootWrites,
  tableStores,
} from './operations';

/** Bytes that one store instruction of the kernel's patching writes: an instruction. */
const STORE_BYTES: u64 = 4;

export function initHostStage2(lane: Lane, options: u32, faults: u32): void {
  const tree = newHostTree(lane);
  tree.full = (options & Option.FullTables) != 0;
  tree.eager = (options & Option.LazyFill) == 0;
  tree.node0 = (options & Option.PoolNode0) != 0;
  tree.textPages = (options & Option.TextPages) != 0;
  tree.vmidPerNode = (faults & Fault.VmidPerNode) != 0;
  planHostCaches(lane, tree);
  lane.hostTree = tree;
}

/** Once the image is mapped: the roots, the text and, unless `later`, its copies. */
export function bootHostStage2(lane: Lane, later: bool): void {
  const kernel = KERNEL(lane);
  const tree = lane.hostTree!;
  for (let i: u32 = 0; i < kernel.partCount; i++) {
    const part = PART(kernel, i);
    if (part.kind > <u32>Part.Rodata) continue;
    const from = hostIpa(lane, kernelContext(lane), part.va);
    if (~from) addHostText(tree, from, from + part.bytes - 1);
  }
  openHostRoots(lane, tree, kernel.home);
  if (later || tree.roots == 1) return;
  // Before the first row: no TLB knows anything, and what it takes is counted when the trace says that it happens.
  replicate(lane, 0, false);
  for (let node: u32 = 0; node < lane.nodes; node++) {
    kernel.bootStores += load<u32>(tree.stores + node * 4);
    store<u32>(tree.stores + node * 4, 0);
  }
  tree.syncStores = 0;
}

/** Bytes of text that copies take on a node. */
export function hostCopyBytes(lane: Lane, node: u32): u64 {
  const tree = lane.hostTree;
  if (!tree || !tree.replicated || node == tree.home) return 0;
  let bytes: u64 = 0;
  for (let i: u32 = 0; i < tree.textCount; i++) bytes += bytesOf(TEXT(tree, i));
  return bytes;
}

function bytesOf(text: HostText): u64 {
  return text.last - text.from + 1;
}

/** Expands one event: the kernel's part, and the hypervisor's. */
export function hostStage2Event(lane: Lane, cpu: u32, kind: u32, va: u64, arg: u64, a: u64, b: u64, c: u64): void {
  const tree = lane.hostTree!;
  switch (kind) {
    case Event.Boot:
      boot(lane, cpu, tree);
      return;
    case Event.CpuUp:
    case Event.CpuResume:
      startCpu(lane, cpu, <u32>va);
      break;
    case Event.VmEntry:
      rootWrites(lane, cpu, 1, false);
      return;
    case Event.VmExit:
      exitVm(lane, cpu);
      return;
    case Event.Stage2Fault:
      // The stage 2 of a guest is none of the host's.
      if (!a) stage2Fault(lane, cpu, tree, va, arg, b);
      return;
    case Event.Stage2Unmap:
      if (a) flushGuest(lane, cpu, <u16>a);
      else unmapHost(lane, cpu, tree, va, arg);
      return;
    case Event.Stage2WriteProtect:
      if (a) flushGuest(lane, cpu, <u16>a);
      return;
  }
  armEvent(lane, cpu, kind, va, arg, a, b, c);
  if (kind == Event.TextPatch) patch(lane, cpu, tree, va, arg, max<u64>(b, 1), c ? c : arg);
}

/** The kernel asks for its copies (replicate), and each CPU for its stage 2 (finalize). */
function boot(lane: Lane, cpu: u32, tree: HostTree): void {
  const kernel = KERNEL(lane);
  if (tree.roots > 1) {
    if (tree.replicated) tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), kernel.bootStores);
    else replicate(lane, cpu, true);
    for (let i: u32 = 0; i < tree.textCount; i++) countCopies(lane, cpu, tree, bytesOf(TEXT(tree, i)));
  }
  for (let other: u32 = 0; other < lane.cpus; other++) finalize(lane, other);
  kernel.changed = true;
}

/** One hypercall per copy of a stretch: pages allocated and given away, bytes copied and cleaned. */
function countCopies(lane: Lane, cpu: u32, tree: HostTree, bytes: u64): void {
  for (let node: u32 = 0; node < tree.roots; node++) {
    if (node == tree.home) continue;
    allocatedPages(lane, cpu, node, bytes >> tree.stage.pageShift);
    count(lane, cpu, Stat.MaintenanceTrap, 1, Cost.Hvc);
    copied(lane, cpu, tree.home, node, bytes);
    cleanedLines(lane, cpu, bytes >> 6);
  }
}

/**
 * Takes memory for the copies, which the hypervisor owns from then on in all roots, and maps the text in every root: read-only, to the copy of its
 * node. Leaves that are in the way are broken first; with `flush` TLBs are told.
 */
function replicate(lane: Lane, cpu: u32, flush: bool): void {
  const tree = lane.hostTree!;
  const page: u64 = (<u64>1) << tree.stage.pageShift;
  for (let i: u32 = 0; i < tree.textCount; i++) {
    const text = TEXT(tree, i);
    for (let node: u32 = 0; node < tree.roots; node++) {
      const home = node == tree.home;
      // In step with the original, so that blocks stay blocks.
      const pa = home ? text.from & ~OWN_IPA : takeMemory(lane, node, text.from, bytesOf(text), 0);
      store<u64>(text.frames + node * 8, pa);
      if (home || HAS_FAULT(KERNEL(lane), Fault.SkipDonate)) continue;
      for (let ipa = pa | OWN_IPA; ipa < (pa | OWN_IPA) + bytesOf(text); ipa += page) {
        breakBefore(lane, cpu, tree, ipa, flush);
        while (!disown(lane, tree, ipa, node)) makeRoom(lane, cpu, tree);
      }
    }
  }
  tree.replicated = true;
  for (let i: u32 = 0; i < tree.textCount; i++) {
    const text = TEXT(tree, i);
    for (let ipa = text.from; ipa < text.last; ipa += (<u64>1) << hostShift(lane, tree, tree.home, ipa)) {
      breakBefore(lane, cpu, tree, ipa, flush);
      while (!fillHost(lane, tree, ipa, tree.home, true, ANY_SIZE)) makeRoom(lane, cpu, tree);
    }
  }
  if (flush) hostStores(lane, cpu, tree);
}

/** Break-before-make: the leaves for `ipa` become invalid in all roots, and TLBs forget them. */
function breakBefore(lane: Lane, cpu: u32, tree: HostTree, ipa: u64, flush: bool): void {
  if (HAS_FAULT(KERNEL(lane), Fault.SkipBreak)) return;
  const shift = breakLeaf(lane, tree, ipa);
  if (!shift || !flush) return;
  const inside = ((<u64>1) << shift) - 1;
  flushHost(lane, cpu, ipa & ~inside, ipa | inside);
}

/** No page for a table: device memory gives up its own, once. */
function makeRoom(lane: Lane, cpu: u32, tree: HostTree): void {
  const before = tree.usedPages;
  recyclePool(lane, cpu, tree);
  if (tree.usedPages == before) endPool(lane, tree);
}

/** __pkvm_prot_finalize: HCR, VTCR and VTTBR of the node's root, and a flush of both stages of VMID 0. */
function finalize(lane: Lane, cpu: u32): void {
  count(lane, cpu, Stat.MaintenanceTrap, 1, Cost.Hvc);
  rootWrites(lane, cpu, 1, false);
  count(lane, cpu, Stat.MaintenanceTlbiVmalls12e1, 1, Cost.TlbiLocal);
  barriers(lane, cpu, 2, 1);
  invalidateOn(lane, BLOCK(lane, cpu), Invalidation.TlbiVmBoth, kernelContext(lane), 0, 0);
}

/** PSCI through the hypervisor: TTBR0_EL2 and the node's VTTBR from the CPU's parameters, TLBI ALLE2 and ALLE1. */
function startCpu(lane: Lane, cpu: u32, started: u32): void {
  count(lane, cpu, Stat.MaintenanceTrap, 1, Cost.Hvc);
  rootWrites(lane, started, 2, false);
  count(lane, started, Stat.MaintenanceTlbiAlle2, 1, Cost.TlbiLocal);
  count(lane, started, Stat.MaintenanceTlbiAlle1, 1, Cost.TlbiLocal);
  barriers(lane, started, 1, 1);
  invalidateOn(lane, BLOCK(lane, started), Invalidation.TlbiEl2All, CONTEXT(2, 0, 0), 0, 0);
  invalidateOn(lane, BLOCK(lane, started), Invalidation.TlbiAll, 0, 0, 0);
  KERNEL(lane).changed = true;
}

/** The exit and the entry before it; without VHE the node's root is loaded again. */
function exitVm(lane: Lane, cpu: u32): void {
  count(lane, cpu, Stat.MaintenanceTrap, 1, Cost.Exit);
  if (!HAS_OPTION(KERNEL(lane), Option.Vhe)) rootWrites(lane, cpu, 1, false);
}

/** A fault that the trace shows, with the bytes to map (0: as many as fit). One for permissions, or for what is mapped by now (-EAGAIN), only costs. */
function stage2Fault(lane: Lane, cpu: u32, tree: HostTree, address: u64, bytes: u64, faultClass: u64): void {
  const most: u32 = bytes ? 63 - <u32>clz(bytes) : ANY_SIZE;
  const ipa = stated(lane, address);
  if (faultClass || findHostLeaf(lane, tree, NODE_OF_CPU(lane, cpu), ipa)) hostTrap(lane, cpu);
  else hostFault(lane, cpu, tree, ipa, most);
}

/** An address that an event states: a captured one where there are such, else one of the lane's own. */
function stated(lane: Lane, address: u64): u64 {
  return lane.mapping == Mapping.Demand ? address | OWN_IPA : address;
}

/** The host gives memory away: every leaf that has some of it becomes invalid in all roots; the rest of a block is mapped again when it is used. */
function unmapHost(lane: Lane, cpu: u32, tree: HostTree, address: u64, bytes: u64): void {
  const from = stated(lane, address);
  const page: u64 = (<u64>1) << tree.stage.pageShift;
  let any = false;
  for (let ipa = from; ipa < from + bytes; ipa += page) any = breakLeaf(lane, tree, ipa) != 0 || any;
  hostStores(lane, cpu, tree);
  if (any) flushHost(lane, cpu, from, from + bytes - 1);
  KERNEL(lane).changed = true;
}

/** TLBI on behalf of a guest: its VTTBR is loaded, the TLBs are told, and the node's root is loaded again. */
function flushGuest(lane: Lane, cpu: u32, vm: u16): void {
  barriers(lane, cpu, 2, 3);
  rootWrites(lane, cpu, 2, false);
  count(lane, cpu, Stat.MaintenanceTlbiIpas2e1is, 1, Cost.TlbiBroadcast);
  count(lane, cpu, Stat.MaintenanceTlbiVmalle1is, 1, Cost.TlbiBroadcast);
  for (let other: u32 = 0; other < lane.cpus; other++) {
    invalidateOn(lane, BLOCK(lane, other), Invalidation.TlbiVm, CONTEXT(REGIME_GUEST, 0, vm), 0, 0);
  }
  KERNEL(lane).changed = true;
}

/**
 * The kernel's stores to its text trap, one by one, and are done by the hypervisor in all copies, each cleaned for the instruction side; or one HVC asks for
 * all bytes of a site.
 */
function patch(lane: Lane, cpu: u32, tree: HostTree, va: u64, bytes: u64, sites: u64, stride: u64): void {
  const kernel = KERNEL(lane);
  if (!tree.replicated) return;
  const hvc = HAS_OPTION(kernel, Option.PatchHvc);
  const traps: u64 = hvc ? 1 : (bytes + STORE_BYTES - 1) / STORE_BYTES;
  for (let i: u64 = 0; i < sites; i++) {
    const ipa = hostIpa(lane, kernelContext(lane), va + i * stride);
    const text = textAt(tree, ipa);
    if (!text) continue;
    const token = ++kernel.token;
    count(lane, cpu, Stat.MaintenanceTrap, traps, hvc ? Cost.Hvc : Cost.Stage2Fault);
    for (let root: u32 = 0; root < tree.roots; root++) {
      if (HAS_FAULT(kernel, Fault.SkipReplicaPatch) && root == (tree.home ? 0 : tree.roots - 1)) continue;
      writeToken(tree, text, ipa, root, token);
      // The home's bytes are those that the kernel wrote.
      if (root != tree.home) copied(lane, cpu, NODE_OF_CPU(lane, cpu), root, bytes);
      cleanedLines(lane, cpu, traps);
    }
  }
}

/** A root's copy of the line at `ipa` has new content. */
function writeToken(tree: HostTree, text: HostText, ipa: u64, root: u32, token: u64): void {
  const address = ipa & ~63;
  let line = changetype<PatchedLine | null>(text.lines);
  while (line && line.va != address) line = line.next;
  if (!line) {
    line = changetype<PatchedLine>(allocate(offsetof<PatchedLine>()));
    line.va = address;
    line.tokens = allocate(tree.roots * 8);
    line.next = changetype<PatchedLine | null>(text.lines);
    text.lines = changetype<usize>(line);
  }
  store<u64>(line.tokens + root * 8, token);
}
