// One lane's part of a replay: the look-ups of the accesses that the filter let through.

import { FETCH, Lane, Level, Mapping, PA_UNKNOWN, STORE } from '../layout';
import { DIRTIED, leafDescriptor } from '../paging/descriptor';
import { findLeaf } from '../paging/map';
import { Stat } from '../stats';
import { insertLevel, invalidatePage, LEVEL, lookupLevel } from '../tlb/hierarchy';
import { ADD, mappedSize, walk } from '../tlb/walk';
import { Look } from './look';

/** Runs `count` look-ups (Look records at `looks`) through the lane. */
export function runLane(lane: Lane, looks: usize, count: u32): void {
  const l1i = LEVEL(lane, Level.L1i);
  const l1d = LEVEL(lane, Level.L1d);
  const l2 = LEVEL(lane, Level.L2);
  const hasL2 = l2.arrayCount > 0;
  const blocks = lane.cpuBlocks;
  const blockBytes = lane.cpuBlockBytes;
  const captured = lane.mapping == Mapping.Captured;
  const trackDirty = lane.trackDirty;
  const end = looks + count * offsetof<Look>();

  for (let at = looks; at < end; at += offsetof<Look>()) {
    const look = changetype<Look>(at);
    const va = look.va;
    const context = look.context;
    const block = blocks + <usize>look.cpu * blockBytes;
    const fetch = look.kind == FETCH;
    const l1 = fetch ? l1i : l1d;
    if (captured && look.remapped) remap(lane, block, va, context, look.pa);

    if (lookupLevel(l1, block, va, context) < 0) {
      ADD(block, fetch ? Stat.TlbL1iMiss : Stat.TlbL1dMiss, 1);
      let size: i32;
      const probe = hasL2 ? lookupLevel(l2, block, va, context) : -1;
      if (probe >= 0) {
        ADD(block, Stat.TlbL2Hit, 1);
        size = load<i32>(l2.sizeOf + probe * 4);
        if (size < 0) size = mappedSize(lane, va, context);
      } else {
        size = walk(lane, block, look.cpu, va, context, captured ? look.pa : PA_UNKNOWN);
        if (hasL2) {
          ADD(block, Stat.TlbL2Miss, 1);
          insertLevel(l2, block, va, context, size);
        }
      }
      insertLevel(l1, block, va, context, size);
    }
    if (trackDirty && look.kind == STORE) markDirty(lane, block, va, context);
  }
}

/** The first store to a page sets its dirty state in the leaf. */
function markDirty(lane: Lane, block: usize, va: u64, context: u64): void {
  const leaf = findLeaf(lane, context, va);
  const before = load<u64>(leaf);
  const after = DIRTIED(lane.arch, before);
  if (after == before) return;
  store<u64>(leaf, after);
  ADD(block, Stat.WalkUpdates, 1);
}

/** The capture shows the page at `va` in another frame than before: the leaf follows, its entries leave every TLB. */
function remap(lane: Lane, block: usize, va: u64, context: u64, pa: u64): void {
  const framePa = (pa >> lane.pageShift) << lane.pageShift;
  store<u64>(findLeaf(lane, context, va), leafDescriptor(lane.arch, framePa, 0, !lane.trackDirty));
  ADD(block, Stat.WalkRemaps, 1);
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    invalidatePage(lane, lane.cpuBlocks + <usize>cpu * lane.cpuBlockBytes, va, context);
  }
}
