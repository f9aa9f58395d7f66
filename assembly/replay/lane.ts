// One lane's part of a replay: the look-ups of the accesses that the filter let through.

import { dataLine, fetchLine } from '../cache/hierarchy';
import { emptyData, emptyFetch } from '../cache/slots';
import { CAPTURED, FETCH, Lane, Level, LOCAL, Mapping, NODE_OF_CPU, PA_UNKNOWN, STORE } from '../layout';
import { dirtied } from '../paging/descriptor';
import { forgetFramesAt, FRAME_INSIDE, frameOf, NO_FRAME } from '../paging/frame';
import { findPage, newLeaf } from '../paging/map';
import { noteOwnFrame } from '../paging/own';
import { OWNER } from '../paging/space';
import { vmOf } from '../paging/vm';
import { copyAt } from '../paging/copies';
import { rootViews, VIEW_OF } from '../paging/views';
import { ADD, Stat } from '../stats';
import { insertLevel, invalidatePage, LEVEL, lookupLevel, PROBE, touchLevel } from '../tlb/hierarchy';
import { mappedSize, walk } from '../tlb/walk';
import { Look, LOOK_BYTES, LOOK_FETCH, LOOK_REMAPPED, LOOK_STORE } from './look';

/** Runs `count` look-ups (Look records at `looks`, their captured addresses at `pas`) through the lane. */
export function runLane(lane: Lane, looks: usize, pas: usize, count: u32): void {
  const l1i = LEVEL(lane, Level.L1i);
  const l1d = LEVEL(lane, Level.L1d);
  const blocks = lane.cpuBlocks;
  const blockBytes = lane.cpuBlockBytes;
  const captured = lane.mapping != Mapping.Demand;
  const trackDirty = lane.trackDirty;
  const simple = l1i.simple && l1d.simple;
  const l1iProbe = PROBE(l1i, 0);
  const l1dProbe = PROBE(l1d, 0);

  for (let i: u32 = 0; i < count; i++) {
    const look = changetype<Look>(looks + i * LOOK_BYTES);
    const va = look.va;
    const context = look.context;
    // Where the page's TLB entries are kept.
    const tag = OWNER(lane, context, va);
    const block = blocks + <usize>look.cpu * blockBytes;
    const fetch = (look.flags & LOOK_FETCH) != 0;
    if (look.flags & LOOK_REMAPPED && lane.mapping == Mapping.Captured)
      remap(lane, block, va, context, tag, load<u64>(pas + i * 8));
    if (simple) {
      if (!touchLevel(fetch ? l1iProbe : l1dProbe, block, va, tag)) {
        ADD(block, fetch ? Stat.TlbL1iMiss : Stat.TlbL1dMiss, 1);
        belowFirstLevel(lane, block, look.cpu, va, context, tag, captured ? load<u64>(pas + i * 8) : PA_UNKNOWN);
      }
    } else {
      const l1 = fetch ? l1i : l1d;
      if (lookupLevel(l1, block, va, tag) < 0) {
        ADD(block, fetch ? Stat.TlbL1iMiss : Stat.TlbL1dMiss, 1);
        insertLevel(
          l1,
          block,
          va,
          tag,
          belowFirstLevel(lane, block, look.cpu, va, context, tag, captured ? load<u64>(pas + i * 8) : PA_UNKNOWN),
        );
      }
    }
    if (trackDirty && look.flags & LOOK_STORE) markDirty(lane, block, look.cpu, va, context);
  }
}

/**
 * The access to its line that follows a look-up, in a lane with line caches; `pa` is the captured address or PA_UNKNOWN. A page that was
 * unmapped is still known to the TLBs until they are told: an access to it finds no line.
 */
export function accessLine(lane: Lane, cpu: u32, kind: u8, va: u64, context: u64, pa: u64): void {
  let address: u64;
  let local: u64 = 0;
  if (~pa && isAsCaptured(lane)) address = capturedAddress(lane, va, pa);
  else {
    const frame = frameOf(lane, cpu, va, context);
    if (frame == NO_FRAME) {
      if (kind == FETCH) emptyFetch(lane.caches!, cpu, va);
      else emptyData(lane.caches!, cpu, va);
      return;
    }
    address = (frame & ~FRAME_INSIDE) | (va & FRAME_INSIDE);
    local = frame & LOCAL;
  }
  const block = lane.cpuBlocks + <usize>cpu * lane.cpuBlockBytes;
  if (kind == FETCH) fetchLine(lane, block, cpu, address, va, local);
  else dataLine(lane, block, cpu, address, va, local, kind == STORE);
}

/** Whether captured addresses are those of the lane. A guest's captured frames are behind its own stage 2. */
export function isAsCaptured(lane: Lane): bool {
  return lane.mapping == Mapping.Captured && !lane.stage2 && !lane.copyCount && !lane.hostTree;
}

/** The address of an access in the frame of its captured address. */
// @ts-ignore: decorator
@inline
export function capturedAddress(lane: Lane, va: u64, pa: u64): u64 {
  const inside = ((<u64>1) << lane.stage1.pageShift) - 1;
  return CAPTURED | (pa & ~inside) | (va & inside);
}

/** The second level and, where that misses, a walk; returns the size number of the page. */
export function belowFirstLevel(lane: Lane, block: usize, cpu: u32, va: u64, context: u64, tag: u64, pa: u64): u32 {
  const l2 = LEVEL(lane, Level.L2);
  if (!l2.arrayCount) return walk(lane, block, cpu, va, context, pa);
  // A hit of the only probe is probe 0.
  const probe = l2.simple ? <i32>touchLevel(PROBE(l2, 0), block, va, tag) - 1 : lookupLevel(l2, block, va, tag);
  if (probe >= 0) {
    ADD(block, Stat.TlbL2Hit, 1);
    const size = load<i32>(l2.sizeOf + probe * 4);
    return size < 0 ? max(mappedSize(lane, cpu, va, context), 0) : size;
  }
  ADD(block, Stat.TlbL2Miss, 1);
  const size = walk(lane, block, cpu, va, context, pa);
  if (!l2.simple) insertLevel(l2, block, va, tag, size);
  return size;
}

/** The first store to a page sets its dirty state, in every entry of a contiguous run. */
function markDirty(lane: Lane, block: usize, cpu: u32, va: u64, context: u64): void {
  const page = findPage(lane, context, va, VIEW_OF(lane, NODE_OF_CPU(lane, cpu), va));
  // A page that was unmapped is still known to the TLBs until they are told.
  if (!page) return;
  const before = load<u64>(page.leaf);
  if (dirtied(lane.stage1, before) == before) return;
  for (let i: u32 = 0; i < page.entries; i++) {
    const entry = page.first + i * 8;
    store<u64>(entry, dirtied(lane.stage1, load<u64>(entry)));
  }
  ADD(block, Stat.WalkUpdates, 1);
}

/** The capture shows the page at `va` in another frame than before: the leaf follows, its entries leave every TLB. */
function remap(lane: Lane, block: usize, va: u64, context: u64, tag: u64, pa: u64): void {
  const shift = lane.stage1.pageShift;
  // What the kernel copied stays where its copies are.
  if (lane.copyCount && copyAt(lane, va)) return;
  for (let view: u32 = 0; view < rootViews(lane, va); view++) {
    const page = findPage(lane, context, va, view);
    if (page) store<u64>(page.leaf, newLeaf(lane, va, (pa >> shift) << shift, 0, false));
  }
  forgetFramesAt(lane, va, shift);
  noteOwnFrame(lane, vmOf(lane, context), context, va, false);
  ADD(block, Stat.WalkRemaps, 1);
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    invalidatePage(lane, lane.cpuBlocks + <usize>cpu * lane.cpuBlockBytes, va, tag);
  }
}
