// Rows that pass the filter of a lane with line caches that is alone behind it, in the common shape: one look-up in the first TLB level, eight
// ways in the first-level caches. What a row most often comes to, a hit in both, is done here without a detour; anything else as for any lane.

import { finishLine, isDone, LINE_CACHE, LINE_SHIFT } from '../cache/hierarchy';
import { KEY, OWNED, touchEight } from '../cache/lines';
import { KIND_BYTES, NO_LINE } from '../cache/slots';
import { Cache, FETCH, Lane, Level, LOAD, LOCAL, STORE } from '../layout';
import { FRAME_INSIDE, frameOf, NO_FRAME } from '../paging/frame';
import { OWNER } from '../paging/space';
import { ADD, Stat } from '../stats';
import { LEVEL, PROBE, touchLevel } from '../tlb/hierarchy';
import { isNoted } from './captured';
import { Filter, FilterCpu, FRAMES, RECENT } from './filter';
import { belowFirstLevel, capturedAddress, isAsCaptured } from './lane';
import { LINE, LINE_SLOT, lineLook, PAGE_SLOT } from './lines';

/** The lane behind a filter, where it is alone and of the common shape. */
export function onlyLane(filter: Filter): Lane | null {
  const lane = changetype<Lane>(load<u32>(filter.lanes));
  const isCommon = lane.caches!.eightWays && LEVEL(lane, Level.L1i).simple && LEVEL(lane, Level.L1d).simple;
  return filter.laneCount == 1 && isCommon ? lane : null;
}

/** A row whose page or line is not in its slot. */
export function passAlone(filter: Filter, lane: Lane, cpu: FilterCpu, number: u32, kind: u8, va: u64, pa: u64): void {
  const context = cpu.context;
  const page = PAGE_SLOT(cpu, kind, va, filter.pageShift, (filter.slots - 1) << 3);
  const frame = page + (FRAMES - RECENT);
  let different = load<u64>(page) ^ va;
  if (filter.captured) different |= load<u64>(frame) ^ pa;
  if (different >> filter.pageShift) {
    // A page that is new, or in another frame than before, and one of a filter that has a single slot.
    if (
      cpu.cold ||
      (filter.captured && !isNoted(filter.pages, va >> filter.pageShift, context, pa >> filter.pageShift))
    ) {
      lineLook(filter, cpu, number, kind, va, pa);
      return;
    }
    store<u64>(page, va);
    store<u64>(frame, pa);
    lookUp(lane, number, kind == FETCH, va, context, pa);
  }
  let address: u64;
  let local: u64 = 0;
  if (~pa && isAsCaptured(lane)) address = capturedAddress(lane, va, pa);
  else {
    const known = frameOf(lane, number, va, context);
    if (known == NO_FRAME) return;
    address = (known & ~FRAME_INSIDE) | (va & FRAME_INSIDE);
    local = known & LOCAL;
  }
  const caches = lane.caches!;
  const l1 = LINE_CACHE(caches, select<Cache>(Cache.L1i, Cache.L1d, kind == FETCH));
  // A set of eight ways takes as many bytes as a line.
  const setAt = (<usize>address) & ((l1.sets - 1) << (<u32>LINE_SHIFT));
  const set = caches.lines + <usize>number * caches.cpuBytes + l1.offset + setAt;
  const entry = touchEight(set, KEY(address));
  note(filter, cpu, kind, va, entry);
  if (!isDone(kind, entry)) finishLine(lane, number, kind, address, va, local, set, entry);
}

/** The page of a row, which is mapped as before, in the TLBs. */
// @ts-ignore: decorator
@inline
function lookUp(lane: Lane, cpu: u32, isFetch: bool, va: u64, context: u64, pa: u64): void {
  const tag = OWNER(lane, context, va);
  const block = lane.cpuBlocks + <usize>cpu * lane.cpuBlockBytes;
  if (touchLevel(PROBE(LEVEL(lane, select<Level>(Level.L1i, Level.L1d, isFetch)), 0), block, va, tag)) return;
  ADD(block, select<Stat>(Stat.TlbL1iMiss, Stat.TlbL1dMiss, isFetch), 1);
  belowFirstLevel(lane, block, cpu, va, context, tag, pa);
}

/** Notes the line of a row, of which L1i or L1d had `entry` or 0. A store ends with an owned line; a load may find one. */
// @ts-ignore: decorator
@inline
function note(filter: Filter, cpu: FilterCpu, kind: u8, va: u64, entry: u64): void {
  const slot = LINE_SLOT(cpu, FETCH, va, (filter.lineSlots - 1) << 3);
  const isData = kind != FETCH;
  const owned = kind != LOAD || (entry & OWNED) != 0;
  // Without branches: kinds cannot be predicted.
  store<u64>(slot + select<usize>(LOAD * KIND_BYTES, 0, isData), LINE(va));
  store<u64>(slot + select<usize>(STORE * KIND_BYTES, 0, isData), select<u64>(LINE(va), NO_LINE, owned));
}
