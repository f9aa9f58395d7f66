// The door of the systems: set-up, and one event at a time. Above them all, so that those with folders of their own (hyp, stage2) use the kernel's parts
// in systems/ and not the other way round.

import { Check, Cost, Format, Lane, NODE_OF_CPU, Part, System } from './layout';
import { importRoot, storeEntry } from './paging/captured';
import { ADD, Stat } from './stats';
import { Invalidation, invalidateOn } from './tlb/invalidate';
import { allocate } from './memory/arena';
import { initSpaces } from './paging/space';
import { checkHyp } from './hyp/check';
import { hypEvent } from './hyp/events';
import { armEvent } from './systems/arm64';
import { newShadows } from './tlb/shadow';
import { checkAll } from './systems/check';
import { addPart, bootImage, copyBytes } from './systems/image';
import { bootHostStage2, hostCopyBytes, hostStage2Event, initHostStage2 } from './systems/hoststage2';
import { KERNEL, newKernel, Violation } from './systems/kernel';
import { pairs } from './systems/common';
import { BLOCK, kernelContext, syncedStores } from './systems/operations';
import { newSim, stage2Event } from './stage2/schedule';
import { initSpe, speEvent } from './spe/events';
import { x86Event } from './systems/x86';

/**
 * Gives a lane a kernel that expands events. `replicate`: one view per node. The kernel's half has the same tables in every address space.
 * To be called before anything is mapped.
 */
export function setSystem(lane: Lane, system: System, replicate: bool, options: u32, faults: u32, checks: bool): void {
  lane.views = replicate && system != System.HostStage2 ? lane.nodes : 1;
  lane.subtreeNode = -1;
  lane.sharedKernel = true;
  lane.checks = checks;
  // No window until an image is there: from above all addresses to below them.
  lane.windowFrom = u64.MAX_VALUE;
  lane.windowLast = 0;
  if (checks) lane.shadows = changetype<usize>(newShadows());
  lane.costs = allocate(Cost.Count * 4);
  lane.kernel = changetype<usize>(newKernel(lane, system, options, faults));
  initSpaces(lane);
  if (system == System.HostStage2) initHostStage2(lane, options, faults);
  if (system == System.Stage2Faults) newSim(lane);
  if (system == System.Spe) initSpe(lane);
}

/** Pages that there are for the tables of a host's stage 2 (0: as many as it takes); before startLane. */
export function setStage2Pool(lane: Lane, pages: u32): void {
  if (lane.hostTree) lane.hostTree!.poolPages = pages;
}

/** Cycles of an operation. */
export function setCost(lane: Lane, cost: Cost, cycles: u32): void {
  store<u32>(lane.costs + cost * 4, cycles);
}

/** The node that has the image, the alignment of copies (log2), and the node of all views' lower tables (-1: each view's own). */
export function setImage(lane: Lane, home: u32, copyShift: u32, subtreeNode: i32): void {
  const kernel = KERNEL(lane);
  kernel.home = home;
  kernel.copyShift = copyShift;
  lane.subtreeNode = subtreeNode;
}

/** A part of the image, in the order of addresses; `pa` is all ones where it is not known. */
export function addImagePart(lane: Lane, kind: Part, va: u64, bytes: u64, pa: u64): void {
  addPart(lane, kind, va, bytes, pa);
}

/** Expands an event of the trace, whose record is given for messages; further operands as in traces/events.ts. */
export function expandEvent(
  lane: Lane,
  record: u64,
  cpu: u32,
  kind: u32,
  va: u64,
  arg: u64,
  a: u64,
  b: u64,
  c: u64,
): void {
  if (lane.stage2Sim && stage2Event(lane, record, cpu, kind, va, arg, a, b, c)) return;
  const kernel = KERNEL(lane);
  kernel.record = record;
  kernel.cpu = cpu;
  lane.syncStores = 0;
  if (lane.stage1.format == Format.X86) x86Event(lane, cpu, kind, va, arg, a, b, c);
  else if (lane.hostTree) hostStage2Event(lane, cpu, kind, va, arg, a, b, c);
  // A guest's kernel under a second stage has no part of its own: its tables are the walks' alone.
  else if (!lane.spe || !lane.stage2) armEvent(lane, cpu, kind, va, arg, a, b, c);
  if (lane.hyp) hypEvent(lane, cpu, kind, va, arg, a);
  if (lane.spe) speEvent(lane, cpu, kind, va, arg, a, b);
  if (!lane.checks) return;
  checkHyp(lane);
  checkAll(lane);
}

/** Maps the image and, unless `later`, copies it; once, before the first row. */
export function bootKernel(lane: Lane, mapped: bool, later: bool): void {
  if (KERNEL(lane).booted) return;
  bootImage(lane, mapped, later);
  if (lane.hostTree) bootHostStage2(lane, later);
}

function violationOf(lane: Lane, check: Check): Violation {
  return changetype<Violation>(KERNEL(lane).violations + check * offsetof<Violation>());
}

/** How often an invariant was broken, and of the first time the record of the event, the address and the CPU. */
export function violationCount(lane: Lane, check: Check): u64 {
  return lane.kernel ? violationOf(lane, check).count : 0;
}

export function violationRecord(lane: Lane, check: Check): u64 {
  return violationOf(lane, check).record;
}

export function violationVa(lane: Lane, check: Check): u64 {
  return violationOf(lane, check).va;
}

export function violationCpu(lane: Lane, check: Check): u32 {
  return violationOf(lane, check).cpu;
}

/** Bytes of copied text and data on a node, and of tables there that only replication needs. */
export function replicaBytesOf(lane: Lane, node: u32): u64 {
  return copyBytes(lane, node) + hostCopyBytes(lane, node);
}

export function replicaTableBytesOf(lane: Lane, node: u32): u64 {
  return load<u64>(lane.replicaTableBytes + node * 8);
}

/** The kernel's captured root, for addresses of the half that holds `va`; before bootKernel. */
export function importKernelRoot(lane: Lane, pa: u64, va: u64): void {
  importRoot(lane, KERNEL(lane).home, pa, kernelContext(lane), va);
}

/**
 * The captured kernel stored a page-table entry: the lane's tables follow, in every view. What TLBs knew of it leaves them at no cost, as the capture does
 * not show the kernel's own maintenance.
 */
export function followStore(lane: Lane, cpu: u32, pa: u64, value: u64): void {
  const change = storeEntry(lane, NODE_OF_CPU(lane, cpu), pa, value);
  lane.syncStores = change.synced;
  syncedStores(lane, cpu, pairs(KERNEL(lane)));
  if (!change.any) return;
  ADD(BLOCK(lane, cpu), Stat.WalkRemaps, 1);
  const instruction = change.tables ? Invalidation.TlbiVaAnyAsid : Invalidation.TlbiVaAnyAsidLast;
  for (let other: u32 = 0; other < lane.cpus; other++) {
    invalidateOn(lane, BLOCK(lane, other), instruction, change.context & 0xffff_ff00, change.from, change.last);
  }
  KERNEL(lane).changed = true;
}
