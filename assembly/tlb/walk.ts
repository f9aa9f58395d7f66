// The hardware walker of one CPU: walk caches first, then one descriptor per level from the tables in memory, with every
// reference counted by level and by the distance of the table page's node (docs/models.md, Walk and Two stages).

import { Format, Lane, NODE_OF_CPU, Vm } from '../layout';
import { DESCRIPTOR } from '../memory/tables';
import { addressOf, isLeaf, isPresent, isWritable } from '../paging/descriptor';
import { hostIpa, hostOf, hostShift, ipaOf, mayStore, OWN_IPA } from '../paging/hosttree';
import { mapPage, SIZE, sizeOfLeaf, TABLES } from '../paging/map';
import { OWNER, rootSlot } from '../paging/space';
import { ENTRY_AT, LEVEL_AT, SHIFT_AT } from '../paging/stage';
import { mapIpa, stage2Address, stage2Leaf, vmOf } from '../paging/vm';
import { VIEW_OF } from '../paging/views';
import { ADD, Stat } from '../stats';
import { translateHost } from './hostwalk';
import { countRef } from './reference';
import { noteTranslation } from './shadow';
import { CACHE, insertCache, IPA_CACHE, lookupCache, NEXT, STAGE1_CACHES, STAGE2_CACHES } from './walkcache';

/** The tag of a stage-2 entry: the virtual machine alone. */
// @ts-ignore: decorator
@inline
function VM_TAG(vm: Vm): u64 {
  return (<u64>vm.vm) << 16;
}

/** The size number of the page that maps `va`, as its TLB entry has it; -1 when it is not mapped. Counts nothing. */
export function mappedSize(lane: Lane, cpu: u32, va: u64, context: u64): i32 {
  const vm = vmOf(lane, context);
  const root = load<u64>(rootSlot(lane, context, va, VIEW_OF(lane, NODE_OF_CPU(lane, cpu), va)));
  const size = root ? leafSize(lane, vm, root - 1, lane.stage1.depth - 1, va) : -1;
  const host = hostOf(lane, context);
  if (!host || size < 0) return size;
  return combinedSize(lane, size, hostShift(lane, host, NODE_OF_CPU(lane, cpu), hostIpa(lane, context, va)));
}

/** The size number of the TLB entry for a page of number `size` under a stage-2 leaf of 2^shift bytes. */
function combinedSize(lane: Lane, size: u32, shift: u32): u32 {
  while (SIZE(lane, size).shift > shift) size--;
  return size;
}

/** The same for a walk that starts at a table of height `from`. */
function leafSize(lane: Lane, vm: Vm | null, table: u64, from: u32, va: u64): i32 {
  const stage = lane.stage1;
  const pool = TABLES(lane, vm);
  for (let height = <i32>from; height >= 0; height--) {
    const entry = load<u64>(DESCRIPTOR(pool, ENTRY_AT(stage, table, va, height)));
    if (!isPresent(stage, entry, height)) break;
    if (isLeaf(stage, entry, height)) return entrySize(lane, vm, entry, height);
    table = addressOf(stage, entry, height);
  }
  return -1;
}

/** The size number of the TLB entry for a leaf: the page's, under stage 2 at most that of the stage-2 page. */
function entrySize(lane: Lane, vm: Vm | null, leaf: u64, height: u32): i32 {
  const size = sizeOfLeaf(lane, leaf, height);
  return vm && SIZE(lane, lane.stage2Cap).shift < SIZE(lane, size).shift ? lane.stage2Cap : size;
}

/**
 * Walks for `va` and returns the size number for its TLB entry. A page that is not mapped is mapped first, `pa` being its captured
 * address or PA_UNKNOWN.
 */
export function walk(lane: Lane, block: usize, cpu: u32, va: u64, context: u64, pa: u64): u32 {
  ADD(block, Stat.WalkCount, 1);
  const stage = lane.stage1;
  const cpuNode = NODE_OF_CPU(lane, cpu);
  const view = VIEW_OF(lane, cpuNode, va);
  const vm = vmOf(lane, context);
  const host = hostOf(lane, context);

  // The cached descriptor closest to the leaf gives the table where the walk starts.
  let from = stage.depth - 1;
  let cached: usize = 0;
  for (let height: u32 = 1; height < stage.depth && !cached; height++) {
    const number = STAGE1_CACHES + height - 1;
    if (!CACHE(lane, number).entries) continue;
    cached = lookupCache(CACHE(lane, number), block, va, context);
    if (!cached) continue;
    from = height - 1;
    ADD(block, (stage.format == Format.X86 ? Stat.WalkCache_HitsPde : Stat.WalkCache_HitsL2) + from, 1);
  }
  let table = cached ? NEXT(cached) : load<u64>(rootSlot(lane, context, va, view)) - 1;

  // The root slot is 0, and the table all ones, while the context has no tables.
  let size = cached || ~table ? leafSize(lane, vm, table, from, va) : -1;
  if (size < 0) {
    ADD(block, Stat.FaultDemand, 1);
    ADD(block, Stat.FaultStage2, mapPage(lane, cpuNode, context, va, pa));
    if (!cached) table = load<u64>(rootSlot(lane, context, va, view)) - 1;
    size = leafSize(lane, vm, table, from, va);
  }

  const pool = TABLES(lane, vm);
  let height = from;
  while (true) {
    const at = ENTRY_AT(stage, table, va, height);
    // The table that a cached descriptor points to is known by its physical address already.
    const known = cached && height == from;
    if (host && !known) translateHost(lane, block, cpu, host, at | OWN_IPA);
    const atPa = !vm ? at : known ? stage2Address(lane, vm, at) : translateIpa(lane, block, cpu, vm, at);
    countRef(lane, block, cpu, atPa);
    ADD(block, Stat.WalkLevels_0 + LEVEL_AT(stage, height), 1);
    const entry = load<u64>(DESCRIPTOR(pool, at));
    const next = addressOf(stage, entry, height);
    if (isLeaf(stage, entry, height)) {
      let out = next | (va & (((<u64>1) << SHIFT_AT(stage, height)) - 1));
      let writable = isWritable(stage, entry);
      if (vm) translateIpa(lane, block, cpu, vm, out);
      if (host) {
        const ipa = ipaOf(lane, context, va, out);
        out = translateHost(lane, block, cpu, host, ipa);
        size = combinedSize(lane, size, hostShift(lane, host, cpuNode, ipa));
        writable = writable && mayStore(lane, host, cpuNode, ipa);
      }
      if (lane.checks) noteTranslation(lane, cpu, va, OWNER(lane, context, va), out, size, writable);
      return size;
    }
    table = next;
    insertCache(CACHE(lane, STAGE1_CACHES + height - 1), block, va, context, table);
    height--;
  }
}

/** A stage-2 translation: the IPA cache, else a walk of stage 2. Returns the physical address. */
function translateIpa(lane: Lane, block: usize, cpu: u32, vm: Vm, ipa: u64): u64 {
  const inside = ((<u64>1) << lane.stage2Shift) - 1;
  const tag = VM_TAG(vm);
  const ipaCache = CACHE(lane, IPA_CACHE);
  const known = lookupCache(ipaCache, block, ipa, tag);
  if (known) {
    ADD(block, Stat.WalkCache_HitsIpa, 1);
    return NEXT(known) | (ipa & inside);
  }
  if (!stage2Leaf(lane, vm, ipa)) {
    ADD(block, Stat.FaultStage2, 1);
    mapIpa(lane, vm, NODE_OF_CPU(lane, cpu), ipa);
  }
  const framePa = walkStage2(lane, block, cpu, vm, ipa);
  insertCache(ipaCache, block, ipa, tag, framePa);
  return framePa | (ipa & inside);
}

/** Walks stage 2 for a mapped `ipa` and returns its frame. */
function walkStage2(lane: Lane, block: usize, cpu: u32, vm: Vm, ipa: u64): u64 {
  const stage = lane.stage2!;
  const tag = VM_TAG(vm);
  let from = stage.depth - 1;
  let tablePa = vm.root - 1;
  for (let height: u32 = 1; height < stage.depth; height++) {
    const number = STAGE2_CACHES + height - 1;
    if (!CACHE(lane, number).entries) continue;
    const cached = lookupCache(CACHE(lane, number), block, ipa, tag);
    if (!cached) continue;
    from = height - 1;
    tablePa = NEXT(cached);
    ADD(block, Stat.WalkCache_HitsS2l2 + from, 1);
    break;
  }
  let height = from;
  while (true) {
    const at = ENTRY_AT(stage, tablePa, ipa, height);
    countRef(lane, block, cpu, at);
    ADD(block, Stat.WalkStage2_Refs, 1);
    const entry = load<u64>(DESCRIPTOR(lane.tables, at));
    tablePa = addressOf(stage, entry, height);
    if (isLeaf(stage, entry, height)) return tablePa;
    insertCache(CACHE(lane, STAGE2_CACHES + height - 1), block, ipa, tag, tablePa);
    height--;
  }
}
