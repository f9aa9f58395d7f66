// Walks of the stage 2 that the host runs under, as one-stage walks need them: the IPA cache, the stage-2 walk caches, then descriptors,
// leaves of any size. The IPA cache holds pages of the granule, whatever the size of the leaf. All nodes have the tag 0.

import { Cost, HostTree, Lane, NODE_OF_CPU } from '../layout';
import { DESCRIPTOR } from '../memory/tables';
import { addressOf, isLeaf } from '../paging/descriptor';
import { ANY_SIZE, dropDevices, fillHost } from '../paging/hostfill';
import { findHostLeaf, ROOT } from '../paging/hosttree';
import { ENTRY_AT, SHIFT_AT } from '../paging/stage';
import { ADD, Stat } from '../stats';
import { Invalidation, invalidateOn } from './invalidate';
import { barriers, BLOCK, count, reaches, tableStores } from './maintenance';
import { countRef } from './reference';
import { CACHE, insertCache, IPA_CACHE, lookupCache, NEXT, STAGE2_CACHES } from './walkcache';

/** The VMID of the host, on every node. */
const HOST_TAG: u64 = 0;

/** Gives the IPA cache and the stage-2 walk caches of a lane their shifts. */
export function planHostCaches(lane: Lane, tree: HostTree): void {
  CACHE(lane, IPA_CACHE).shift = tree.stage.pageShift;
  for (let height: u32 = 1; height < tree.stage.depth; height++) {
    CACHE(lane, STAGE2_CACHES + height - 1).shift = SHIFT_AT(tree.stage, height);
  }
}

/** Translates `ipa` for a CPU; a page that stage 2 does not map is mapped first. Returns the physical address. */
export function translateHost(lane: Lane, block: usize, cpu: u32, tree: HostTree, ipa: u64): u64 {
  const inside = ((<u64>1) << tree.stage.pageShift) - 1;
  const ipaCache = CACHE(lane, IPA_CACHE);
  const known = lookupCache(ipaCache, block, ipa, HOST_TAG);
  if (known) {
    ADD(block, Stat.WalkCache_HitsIpa, 1);
    return NEXT(known) | (ipa & inside);
  }
  if (!findHostLeaf(lane, tree, NODE_OF_CPU(lane, cpu), ipa)) hostFault(lane, cpu, tree, ipa, ANY_SIZE);
  const frame = walkHost(lane, block, cpu, tree, ipa) & ~inside;
  insertCache(ipaCache, block, ipa, HOST_TAG, frame);
  return frame | (ipa & inside);
}

/** Walks stage 2 for a mapped `ipa` and returns its physical address. */
function walkHost(lane: Lane, block: usize, cpu: u32, tree: HostTree, ipa: u64): u64 {
  const stage = tree.stage;
  let height = stage.depth - 1;
  let table = ROOT(tree, NODE_OF_CPU(lane, cpu));
  for (let above: u32 = 1; above < stage.depth; above++) {
    const cache = CACHE(lane, STAGE2_CACHES + above - 1);
    const cached = cache.entries ? lookupCache(cache, block, ipa, HOST_TAG) : 0;
    if (!cached) continue;
    height = above - 1;
    table = NEXT(cached);
    ADD(block, Stat.WalkCache_HitsS2l2 + height, 1);
    break;
  }
  while (true) {
    const at = ENTRY_AT(stage, table, ipa, height);
    countRef(lane, block, cpu, at);
    ADD(block, Stat.WalkStage2_Refs, 1);
    const entry = load<u64>(DESCRIPTOR(lane.tables, at));
    table = addressOf(stage, entry, height);
    if (isLeaf(stage, entry, height)) return table | (ipa & (((<u64>1) << SHIFT_AT(stage, height)) - 1));
    insertCache(CACHE(lane, STAGE2_CACHES + height - 1), block, ipa, HOST_TAG, table);
    height--;
  }
}

/** handle_host_mem_abort: the largest leaf that fits, of at most 2^most bytes, in the tables of this node or of all. Nothing to invalidate: the entry was not valid. */
export function hostFault(lane: Lane, cpu: u32, tree: HostTree, ipa: u64, most: u32): void {
  hostTrap(lane, cpu);
  const node = NODE_OF_CPU(lane, cpu);
  if (!fillHost(lane, tree, ipa, node, tree.eager, most)) {
    recyclePool(lane, cpu, tree);
    while (!fillHost(lane, tree, ipa, node, tree.eager, most)) endPool(lane, tree);
  }
  hostStores(lane, cpu, tree);
  barriers(lane, cpu, 0, 1);
}

/** A fault of the host is taken, whatever comes of it. */
export function hostTrap(lane: Lane, cpu: u32): void {
  ADD(BLOCK(lane, cpu), Stat.FaultStage2, 1);
  count(lane, cpu, Stat.MaintenanceTrap, 1, Cost.Stage2Fault);
}

/** -ENOMEM: all device memory is unmapped, to be mapped again on its next use. */
export function recyclePool(lane: Lane, cpu: u32, tree: HostTree): void {
  dropDevices(lane, tree);
  flushHost(lane, cpu, 0, u64.MAX_VALUE);
}

/** The pool is too small for what is not device memory: the replay ends, and until then there is no limit. */
export function endPool(lane: Lane, tree: HostTree): void {
  lane.memoryFull = true;
  tree.poolPages = 0;
}

/** Accounts for the stores to stage-2 tables since the last call. */
export function hostStores(lane: Lane, cpu: u32, tree: HostTree): void {
  for (let node: u32 = 0; node < lane.nodes; node++) {
    const counter = tree.stores + node * 4;
    if (load<u32>(counter)) tableStores(lane, cpu, node, load<u32>(counter));
    store<u32>(counter, 0);
  }
  ADD(BLOCK(lane, cpu), Stat.MaintenanceSync_Store, tree.syncStores);
  tree.syncStores = 0;
}

/**
 * A leaf for the intermediate addresses [from, last] was changed in some root: TLBI IPAS2E1IS, DSB, TLBI VMALLE1IS (entries that combine both
 * stages are found by it alone), DSB, ISB. One of each serves all nodes, because all have one VMID.
 */
export function flushHost(lane: Lane, cpu: u32, from: u64, last: u64): void {
  count(lane, cpu, Stat.MaintenanceTlbiIpas2e1is, 1, Cost.TlbiBroadcast);
  count(lane, cpu, Stat.MaintenanceTlbiVmalle1is, 1, Cost.TlbiBroadcast);
  barriers(lane, cpu, 1, 2);
  for (let other: u32 = 0; other < lane.cpus; other++) {
    if (!reaches(lane, cpu, other)) continue;
    invalidateOn(lane, BLOCK(lane, other), Invalidation.TlbiIpa, HOST_TAG, from, last);
    invalidateOn(lane, BLOCK(lane, other), Invalidation.TlbiVm, HOST_TAG, 0, 0);
  }
}
