// The invariants, asked after every event (docs/replication.md, Invariants): each violation names the event that broke it.

import { Check, Fault, Lane, Level, Option, Part, NODE_OF_CPU } from '../layout';
import { DESCRIPTOR } from '../memory/tables';
import { addressOf, isExecutable, isLeaf, isPresent, isWritable } from '../paging/descriptor';
import { behindHost } from '../paging/hosttree';
import { findPage, SIZE } from '../paging/map';
import { IS_UPPER, rootSlot } from '../paging/space';
import { SHIFT_AT } from '../paging/stage';
import { COPY, copyAt, divergentView, frameIn } from '../paging/copies';
import { isPerView, rootViews, VIEW_OF, tableOf } from '../paging/views';
import { ARRAY, LEVEL } from '../tlb/hierarchy';
import { ENTRY_BYTES } from '../tlb/set';
import { endCheck, renew, shadowOf } from '../tlb/shadow';
import { CACHE, CACHE_ENTRY_BYTES, NEXT, STAGE1_CACHES } from '../tlb/walkcache';
import { checkHostStage2 } from './checkhost';
import { contextOf } from './common';
import { HAS_FAULT, HAS_OPTION, Kernel, KERNEL, PART, violated } from './kernel';
import { BLOCK, kernelContext } from './operations';

const LOW_BYTE: u64 = 0xff;
const SHIFT_BITS: u64 = 0x7f;

export function checkAll(lane: Lane): void {
  checkCopies(lane);
  checkImage(lane);
  checkRoots(lane);
  checkSharing(lane);
  checkAccounts(lane);
  checkHostStage2(lane);
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    checkTlbs(lane, cpu);
    checkWalkCaches(lane, cpu);
  }
  endCheck(lane);
}

/** G4: every copy has the same bytes. */
function checkCopies(lane: Lane): void {
  for (let i: u32 = 0; i < lane.copyCount; i++) {
    const copy = COPY(lane, i);
    if (copy.live && divergentView(lane, copy)) violated(lane, Check.Divergence, copy.from, KERNEL(lane).cpu);
  }
}

/** G4 and G7: all views map the image and modules alike, each to its own bytes; text and read-only data of the image cannot be written. */
function checkImage(lane: Lane): void {
  const kernel = KERNEL(lane);
  for (let i: u32 = 0; i < kernel.partCount; i++) {
    const part = PART(kernel, i);
    const end = part.va + part.used;
    checkStretch(lane, part.va, end, part.kind <= <u32>Part.Rodata);
    // A captured kernel has given its padding away, to be written.
    checkStretch(lane, end, part.va + part.bytes, false);
  }
  let module = kernel.modules;
  while (module) {
    if (module.live) checkStretch(lane, module.va, module.va + (module.pages << lane.stage1.pageShift), false);
    module = module.next;
  }
}

function checkStretch(lane: Lane, from: u64, end: u64, isReadOnly: bool): void {
  const kernel = KERNEL(lane);
  const context = kernelContext(lane);
  for (let va = from; va < end;) {
    let step: u64 = u64.MAX_VALUE;
    let present = false;
    for (let view: u32 = 0; view < lane.views; view++) {
      const page = findPage(lane, context, va, view);
      const shift = page ? SIZE(lane, page.size).shift : lane.stage1.pageShift;
      step = min(step, (<u64>1) << shift);
      if (view == 0) present = page != null;
      else if (present != (page != null)) violated(lane, Check.Divergence, va, kernel.cpu);
      if (!page) continue;
      const leaf = load<u64>(page.leaf);
      const pa = frameAt(lane, leaf, page.size, va);
      if (isReadOnly && isWritable(lane.stage1, leaf)) violated(lane, Check.Writable, va, kernel.cpu);
      if (present && pa != expectedFrame(lane, kernel, va, view)) violated(lane, Check.Divergence, va, kernel.cpu);
    }
    va = (va | (step - 1)) + 1;
  }
}

/** The physical address that a leaf gives `va`. */
function frameAt(lane: Lane, leaf: u64, size: u32, va: u64): u64 {
  const height = SIZE(lane, size).height;
  const inside = ((<u64>1) << SHIFT_AT(lane.stage1, height)) - 1;
  return addressOf(lane.stage1, leaf, height) | (va & inside);
}

/** Where a view must find the image's byte at `va`: in its own copy, else where view 0 has it. */
function expectedFrame(lane: Lane, kernel: Kernel, va: u64, view: u32): u64 {
  const copy = copyAt(lane, va);
  if (copy && kernel.copied) return frameIn(copy, view, va);
  const page = findPage(lane, kernelContext(lane), va, 0);
  return page ? frameAt(lane, load<u64>(page.leaf), page.size, va) : 0;
}

/** Tables agree in what is not replicated: the user's halves (x86), and the kernel's half outside the window. */
function checkRoots(lane: Lane): void {
  if (lane.views == 1) return;
  checkRoot(lane, kernelContext(lane), u64.MAX_VALUE);
  let mm = KERNEL(lane).mms;
  while (mm) {
    if (mm.live) checkRoot(lane, contextOf(mm), 0);
    mm = mm.next;
  }
}

function checkRoot(lane: Lane, context: u64, half: u64): void {
  const stage = lane.stage1;
  const height = stage.depth - 1;
  const first = load<u64>(rootSlot(lane, context, half, 0));
  if (!first) return;
  const from = half ? ~(((<u64>1) << (SHIFT_AT(stage, height) + stage.rootBits)) - 1) : 0;
  for (let view: u32 = 1; view < rootViews(lane, half); view++) {
    const own = load<u64>(rootSlot(lane, context, half, view));
    if (own) checkTable(lane, first - 1, own - 1, from, height);
  }
}

/** View 0's table of `height` for the addresses from `from` on, against another view's. */
function checkTable(lane: Lane, first: u64, own: u64, from: u64, height: u32): void {
  const stage = lane.stage1;
  const bits = height == stage.depth - 1 ? stage.rootBits : stage.indexBits;
  for (let i: u64 = 0; i >> bits == 0; i++) {
    const a = load<u64>(DESCRIPTOR(lane.tables, first + i * 8));
    const b = load<u64>(DESCRIPTOR(lane.tables, own + i * 8));
    if (a == b) continue;
    const va = from | (i << SHIFT_AT(stage, height));
    const hasFirst = isPresent(stage, a, height);
    const hasOwn = isPresent(stage, b, height);
    if (isPerView(lane, va, height)) {
      // Leaves of the window are checked by what they map (checkStretch).
      if (!hasFirst || !hasOwn || isLeaf(stage, a, height) || isLeaf(stage, b, height)) continue;
      checkTable(lane, addressOf(stage, a, height), addressOf(stage, b, height), va, height - 1);
    } else violated(lane, howTheyDiffer(lane, va, hasFirst, hasOwn), va, KERNEL(lane).cpu);
  }
}

/**
 * G2: an entry that the kernel has taken from its own root leads to what it freed. A user's entry that a root lacks makes CPUs of that view
 * fault for ever, because the fault handler finds it in the kernel's own. Else the roots just disagree.
 */
function howTheyDiffer(lane: Lane, va: u64, hasFirst: bool, hasOwn: bool): Check {
  if (!hasFirst) return Check.UseAfterFree;
  return hasOwn || IS_UPPER(lane, va) ? Check.RootSync : Check.Livelock;
}

/** Roots that differ must not be declared common to CPUs that share TLB entries. */
function checkSharing(lane: Lane): void {
  const kernel = KERNEL(lane);
  if (lane.views > 1 && HAS_OPTION(kernel, Option.Cnp) && HAS_FAULT(kernel, Fault.CnpAcrossNodes)) {
    violated(lane, Check.Sharing, 0, kernel.cpu);
  }
}

/** G8: the tables in use are those that are counted. */
function checkAccounts(lane: Lane): void {
  if (lane.stage2) return;
  const pool = lane.tables;
  let free: u64 = 0;
  for (let next = pool.free; next; free++) {
    next = load<u32>(DESCRIPTOR(pool, (<u64>(next - 1)) << pool.pageShift));
  }
  let counted: u64 = 0;
  for (let node: u32 = 0; node < lane.nodes; node++) counted += load<u64>(lane.tableBytes + node * 8);
  if ((<u64>pool.pages - free) << pool.pageShift != counted) violated(lane, Check.Accounting, 0, KERNEL(lane).cpu);
}

/** G1: every TLB entry is what the tables of its CPU say now; rights may have grown. */
function checkTlbs(lane: Lane, cpu: u32): void {
  const block = BLOCK(lane, cpu);
  for (let i = 0; i < Level.Count; i++) {
    const level = LEVEL(lane, i);
    for (let a: u32 = 0; a < level.arrayCount; a++) {
      const array = ARRAY(level, a);
      const end = block + array.offset + array.sets * array.ways * ENTRY_BYTES;
      for (let entry = block + array.offset; entry < end; entry += ENTRY_BYTES) {
        const meta = load<u64>(entry, 8);
        if (~meta) checkEntry(lane, cpu, load<u64>(entry), meta);
      }
    }
  }
}

function checkEntry(lane: Lane, cpu: u32, tag: u64, meta: u64): void {
  const shadow = shadowOf(lane, cpu, tag, meta);
  if (!shadow) return;
  const stage = lane.stage1;
  const bytes = (<u64>1) << (meta & SHIFT_BITS);
  const from = tag << (meta & SHIFT_BITS);
  const view = VIEW_OF(lane, NODE_OF_CPU(lane, cpu), from);
  for (let offset: u64 = 0; offset < bytes;) {
    const va = from + offset;
    const page = findPage(lane, meta & ~LOW_BYTE, va, view);
    const leaf = page ? load<u64>(page.leaf) : 0;
    const isSame =
      page != null &&
      behindHost(lane, cpu, meta & ~LOW_BYTE, va, frameAt(lane, leaf, page.size, va), shadow.writable) ==
        shadow.pa + offset &&
      (!shadow.writable || isWritable(stage, leaf)) &&
      (!shadow.executable || isExecutable(stage, leaf));
    if (!isSame || !page) {
      violated(lane, Check.Stale, va, cpu);
      return;
    }
    offset += (<u64>1) << SIZE(lane, page.size).shift;
  }
  renew(shadow);
}

/** G2: a walk cache leads to tables that are still in the tree. */
function checkWalkCaches(lane: Lane, cpu: u32): void {
  const stage = lane.stage1;
  if (lane.stage2) return;
  for (let height: u32 = 1; height < stage.depth; height++) {
    const cache = CACHE(lane, STAGE1_CACHES + height - 1);
    const first = BLOCK(lane, cpu) + cache.offset;
    for (let entry = first; entry < first + cache.entries * CACHE_ENTRY_BYTES; entry += CACHE_ENTRY_BYTES) {
      const context = load<u64>(entry, 8);
      if (!~context) continue;
      const va = load<u64>(entry) << cache.shift;
      if (tableOf(lane, context, va, height - 1, VIEW_OF(lane, NODE_OF_CPU(lane, cpu), va)) != NEXT(entry))
        violated(lane, Check.UseAfterFree, va, cpu);
    }
  }
}
