// The filter in front of lanes with line caches. A row is dropped when its page is in its page slot (filter.ts) and its line in its line
// slot, of its CPU and kind, direct-mapped by address bits of the page offset: then the line is the most recent entry of its set in the
// first-level cache of every lane, not marked as prefetched, and owned if the row is a store.
//
// What lanes do to a first-level cache otherwise may end such a promise, so a row that passes goes through all lanes at once, and they empty the
// slots that they touch (cache/slots.ts).

import { KIND_BYTES, LINE_SLOTS, NO_LINE } from '../cache/slots';
import { BatchColumns, FETCH, LOAD, PA_UNKNOWN, STORE, Lane } from '../layout';
import { onlyLane, passAlone } from './alone';
import {
  countRows,
  CPU_BYTES,
  Filter,
  FILTER_CPU,
  FilterCpu,
  FRAMES,
  GROUP,
  LINES,
  look,
  MAX_SLOTS,
  RECENT,
  sameContext,
  SIDE_BYTES,
} from './filter';
import { accessLine, runLane } from './lane';

/** How a line is noted in a slot: its address with the bits below its number set. */
// @ts-ignore: decorator
@inline
export function LINE(va: u64): u64 {
  return va | 63;
}

/** The slot of a line among those of a CPU and kind; `mask` is that of a slot's byte offset. */
// @ts-ignore: decorator
@inline
export function LINE_SLOT(cpu: FilterCpu, kind: u8, va: u64, mask: u32): usize {
  return changetype<usize>(cpu) + LINES + <u32>kind * KIND_BYTES + ((<u32>(va >> 3)) & mask);
}

/** One look-up and the access that follows it: dropped when its page and its line are in their slots, else run through the lanes. */
export function lineLook(filter: Filter, cpu: FilterCpu, number: u32, kind: u8, va: u64, pa: u64): void {
  const slot = LINE_SLOT(cpu, kind, va, (filter.lineSlots - 1) << 3);
  filter.lookCount = 0;
  look(filter, cpu, changetype<usize>(cpu) + RECENT, number, kind, va, pa);
  if (!filter.lookCount) {
    if (load<u64>(slot) != LINE(va)) passLine(filter, cpu, number, kind, va, pa);
    return;
  }
  noteLine(filter, cpu, kind, va);
  const context = cpu.context;
  for (let i: u32 = 0; i < filter.laneCount; i++) {
    const lane = changetype<Lane>(load<u32>(filter.lanes + i * 4));
    runLane(lane, filter.looks, filter.pas, 1);
    accessLine(lane, number, kind, va, context, pa);
  }
}

/** An access whose look-up changes nothing, its page being in its slot, but whose line is not. */
function passLine(filter: Filter, cpu: FilterCpu, number: u32, kind: u8, va: u64, pa: u64): void {
  noteLine(filter, cpu, kind, va);
  const context = cpu.context;
  const count = filter.laneCount;
  for (let i: u32 = 0; i < count; i++) {
    accessLine(changetype<Lane>(load<u32>(filter.lanes + i * 4)), number, kind, va, context, pa);
  }
}

/** Notes the line of an access that passes. A load promises nothing to stores, and its line may have taken the place of the one that they know. */
// @ts-ignore: decorator
@inline
function noteLine(filter: Filter, cpu: FilterCpu, kind: u8, va: u64): void {
  const mask = (filter.lineSlots - 1) << 3;
  const line = LINE(va);
  store<u64>(LINE_SLOT(cpu, kind, va, mask), line);
  if (kind == STORE) store<u64>(LINE_SLOT(cpu, LOAD, va, mask), line);
  if (kind != LOAD) return;
  const stores = LINE_SLOT(cpu, STORE, va, mask);
  if (load<u64>(stores) != line) store<u64>(stores, NO_LINE);
}

/** Empties a CPU's line slots that are in the page `vpn`. */
export function emptyLines(cpu: FilterCpu, vpn: u64, pageShift: u32): void {
  const first = changetype<usize>(cpu) + LINES;
  for (let slot = first; slot < changetype<usize>(cpu) + CPU_BYTES; slot += 8) {
    if (load<u64>(slot) >> pageShift == vpn) store<u64>(slot, NO_LINE);
  }
}

/** Runs groups of rows of one CPU in its present context, without events, from `row` on; returns the row where it stopped. */
export function runLineGroups(filter: Filter, columns: BatchColumns, row: u32, to: u32): u32 {
  if (row + GROUP > to) return row;
  const number = <u32>load<u16>(columns.cpu + row * 2);
  if (number >= filter.cpus) return row;
  const cpu = FILTER_CPU(filter, number);
  if (cpu.cold && !filter.captured) return row;
  const end = countGroups(filter, columns, cpu, number, row, to);
  const lane = onlyLane(filter);
  const pas = filter.captured ? columns.pa : 0;
  while ((row = nextRow(filter, columns, cpu, row, end)) < end) {
    const kind = load<u8>(columns.kind + row);
    const va = load<u64>(columns.va + row * 8);
    const pa = pas ? load<u64>(pas + row * 8) : PA_UNKNOWN;
    if (lane) passAlone(filter, lane, cpu, number, kind, va, pa);
    else lineLook(filter, cpu, number, kind, va, pa);
    row++;
  }
  return end;
}

/** Counts the rows of the groups from `row` on that are of one CPU, in its context and without events; returns the row behind them. */
function countGroups(filter: Filter, columns: BatchColumns, cpu: FilterCpu, number: u32, row: u32, to: u32): u32 {
  const context = cpu.context;
  const hasContext = (columns.mode | columns.asid | columns.vm) != 0;
  const insns = columns.insns;
  const number8 = i16x8.splat(<i16>number);
  let fetches: u64 = 0;
  let stores: u64 = 0;
  // A segment's rows have too few instructions to overflow a lane.
  let insnSums = i32x4.splat(0);
  const first = row;
  for (; row + GROUP <= to; row += GROUP) {
    // One CPU, kinds 0, 1 and 2 only, its context.
    const cpus = columns.cpu + row * 2;
    if (v128.any_true(v128.or(v128.xor(v128.load(cpus), number8), v128.xor(v128.load(cpus, 16), number8)))) break;
    const kinds = v128.load(columns.kind + row);
    if (v128.any_true(i8x16.gt_u(kinds, i8x16.splat(STORE)))) break;
    if (hasContext && !sameContext(columns, row, context)) break;
    const isFetch = i8x16.eq(kinds, i8x16.splat(FETCH));
    fetches += popcnt(i8x16.bitmask(isFetch));
    stores += popcnt(i8x16.bitmask(i8x16.eq(kinds, i8x16.splat(STORE))));
    if (insns) {
      const counted = v128.and(v128.load(insns + row), isFetch);
      insnSums = i32x4.add(insnSums, i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(counted)));
    }
  }
  countRows(cpu, row - first, fetches, stores, insnSums);
  return row;
}

/** The first of the rows [row, end) that is not dropped; `end` when all are. */
function nextRow(filter: Filter, columns: BatchColumns, cpu: FilterCpu, row: u32, end: u32): u32 {
  const captured = filter.captured && columns.pa != 0;
  // The usual sizes as constants, so that what the loop needs fits the registers.
  if (filter.pageShift == 12 && filter.slots == MAX_SLOTS && filter.lineSlots == LINE_SLOTS) {
    if (captured) return skipRows(columns, cpu, row, end, true, 12, MAX_SLOTS, LINE_SLOTS);
    return skipRows(columns, cpu, row, end, false, 12, MAX_SLOTS, LINE_SLOTS);
  }
  return skipRows(columns, cpu, row, end, captured, filter.pageShift, filter.slots, filter.lineSlots);
}

// @ts-ignore: decorator
@inline
function skipRows(
  columns: BatchColumns,
  cpu: FilterCpu,
  row: u32,
  end: u32,
  captured: bool,
  pageShift: u64,
  pageSlots: u32,
  lineSlots: u32,
): u32 {
  const kinds = columns.kind;
  const vas = columns.va;
  const pas = columns.pa;
  for (; row < end; row++) {
    const kind = load<u8>(kinds + row);
    const va = load<u64>(vas + row * 8);
    const page = PAGE_SLOT(cpu, kind, va, pageShift, (pageSlots - 1) << 3);
    let different = load<u64>(page) ^ va;
    if (captured) different |= load<u64>(page + (FRAMES - RECENT)) ^ load<u64>(pas + row * 8);
    const differentLine = load<u64>(LINE_SLOT(cpu, kind, va, (lineSlots - 1) << 3)) ^ LINE(va);
    if ((different >> pageShift) | differentLine) break;
  }
  return row;
}

/** The slot of a page among those of a CPU and the side of `kind`; `mask` is that of a slot's byte offset. */
// @ts-ignore: decorator
@inline
export function PAGE_SLOT(cpu: FilterCpu, kind: u8, va: u64, pageShift: u64, mask: u32): usize {
  // Of the kinds, only FETCH becomes negative.
  const side = (<u32>kind - 1) & SIDE_BYTES;
  return changetype<usize>(cpu) + RECENT + side + ((<u32>(va >> (pageShift - 3))) & mask);
}
