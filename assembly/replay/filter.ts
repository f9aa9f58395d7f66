// The filter in front of the lanes: it drops the accesses that cannot change any lane's state (trace stripping, Puzak 1985).
//
// It is a direct-mapped table of the page last seen, per CPU and side (data, instruction), with `slots` entries indexed by
// low VPN bits. An access to the page in its slot would hit the most recent entry of its set in every true-LRU array whose set
// count is a multiple of `slots` and whose index starts at the same bit: it changes nothing there, and nothing below is asked.
// So such an access is only counted. Lanes whose first-level arrays allow the same filter share it.
//
// The common case is eight rows of one CPU and context at a time with a single branch; whatever is unusual goes row by row.

import {
  BatchColumns,
  CONTEXT,
  FETCH,
  FIRST_EVENT,
  FIRST_SYSTEM_EVENT,
  LAST_SYSTEM_EVENT,
  OPERANDS,
  PA_UNKNOWN,
  PageMap,
  PHASE_BEGIN,
  PHASE_END,
  REGIME_MASK,
  Status,
  STORE,
} from '../layout';
import { CPU_SLOT_BYTES } from '../cache/slots';
import { allocate } from '../memory/arena';
import { newPageMap } from '../memory/pagemap';
import { noteFrame } from './captured';
import { emptyLines, lineLook, runLineGroups } from './lines';
import { Look, LOOK_BYTES, LOOK_FETCH, LOOK_FETCH_SHIFT, LOOK_REMAPPED, LOOK_STORE } from './look';

/** The most slots of a side. More would let less through, but also make more filters for the same set of lanes. */
export const MAX_SLOTS: u32 = 16;
/** Bytes of one side of a CPU's table. */
export const SIDE_BYTES: u32 = MAX_SLOTS * 8;
/** No VPN, pages being at least 4 KiB. */
const NO_VPN: u64 = u64.MAX_VALUE;
/** Above every physical address, and no PA_UNKNOWN: goes with an empty slot where frames are compared. */
const NO_FRAME: u64 = 0xfff0_0000_0000_0000;

/** A filter. */
@unmanaged
export class Filter {
  // What it is for: lanes that agree in these share a filter.
  pageShift: u32;
  slots: u32;
  captured: bool;
  trackDirty: bool;
  splitPages: bool;
  /** log2 of the page at whose border accesses are split. */
  splitShift: u32;
  /** No look-up may be dropped, because some miss the first level whenever they are made. */
  passAll: bool;
  /** For lanes with line caches: the slots of a kind of row (lines.ts); 0: lanes without. */
  lineSlots: u32;

  cpus: u32;
  /** FilterCpu[cpus]. */
  perCpu: usize;
  pages: PageMap;
  /** Where the look-ups that passed are written (Look[]), and how many. */
  looks: usize;
  lookCount: u32;
  /** u64[], beside the look-ups: the captured address of each, or PA_UNKNOWN. */
  pas: usize;
  /** Its lanes take the address space of a CPU from the events, where the rows do not name it. */
  events: bool;
  /** The run stops at events: some lane of the instance expands them. */
  stopsAtEvents: bool;
  /** How the last run ended. */
  status: Status;
  /** With line caches, the lanes behind the filter: Lane[laneCount]. */
  lanes: usize;
  laneCount: u32;
}

/** One CPU's part of a filter. */
@unmanaged
export class FilterCpu {
  /** The context that the slots belong to: they are emptied when it changes. */
  context: u64;
  /** The address space that events switched to last. */
  asid: u32;
  /** With a single slot per side, bit `side`: it is empty. Otherwise 0: see EMPTY_SLOT. */
  cold: u64;
  // Rows seen, by kind, and the look-ups that split accesses added.
  fetches: u64;
  loads: u64;
  stores: u64;
  events: u64;
  insns: u64;
  splitFetches: u64;
  splitData: u64;
}

// Behind the FilterCpu record, each with MAX_SLOTS words of 64 bits per side: the addresses last seen (data, instruction), the
// physical addresses that go with them, and, of the data side only, the VPNs of pages that have been stored to.
// Then the line slots.
export const RECENT: u32 = offsetof<FilterCpu>();
export const FRAMES: u32 = RECENT + 2 * SIDE_BYTES;
const STORED: u32 = FRAMES + 2 * SIDE_BYTES;
export const LINES: u32 = STORED + SIDE_BYTES;
export const CPU_BYTES: u32 = LINES + CPU_SLOT_BYTES;

// @ts-ignore: decorator
@inline
export function FILTER_CPU(filter: Filter, cpu: u32): FilterCpu {
  return changetype<FilterCpu>(filter.perCpu + <usize>cpu * CPU_BYTES);
}

/** Makes a filter whose kind and `cpus` are set ready to run; what passes it is written to `looks` and `pas`. */
export function initFilter(filter: Filter, looks: usize, pas: usize): void {
  filter.looks = looks;
  filter.pas = pas;
  filter.perCpu = allocate(filter.cpus * CPU_BYTES);
  if (filter.captured) filter.pages = newPageMap();
  for (let cpu: u32 = 0; cpu < filter.cpus; cpu++) forget(filter, FILTER_CPU(filter, cpu));
}

/** An address that no access in slot `i` can equal: it belongs to the slot's neighbour. A single slot has none. */
// @ts-ignore: decorator
@inline
function EMPTY_SLOT(filter: Filter, i: u32): u64 {
  return (<u64>(i ^ 1)) << filter.pageShift;
}

/** Empties a CPU's slots: the next access to any page passes. Always safe. */
export function forget(filter: Filter, cpu: FilterCpu): void {
  if (filter.slots == 1) cpu.cold = 3;
  for (let i: u32 = 0; i < MAX_SLOTS; i++) {
    const slot = changetype<usize>(cpu) + RECENT + i * 8;
    store<u64>(slot, EMPTY_SLOT(filter, i));
    store<u64>(slot + SIDE_BYTES, EMPTY_SLOT(filter, i));
    store<u64>(slot + (FRAMES - RECENT), NO_FRAME);
    store<u64>(slot + (FRAMES - RECENT) + SIDE_BYTES, NO_FRAME);
  }
  memory.fill(changetype<usize>(cpu) + STORED, 0xff, SIDE_BYTES);
  if (filter.lineSlots) memory.fill(changetype<usize>(cpu) + LINES, 0, CPU_SLOT_BYTES);
}

/** A CPU runs in the address space `asid` from now on. */
export function switchAsid(filter: Filter, columns: BatchColumns, cpu: FilterCpu, asid: u32): void {
  cpu.asid = asid;
  if (columns.asid || !filter.events) return;
  forget(filter, cpu);
  cpu.context = (cpu.context & 0xffff_ffff) | ((<u64>asid) << 32);
}

/** The address of a slot: side 0 is data, 1 instruction. */
// @ts-ignore: decorator
@inline
function SLOT(cpu: usize, table: u32, side: u32, vpn: u64, mask: u32): usize {
  return cpu + table + side * SIDE_BYTES + (((<u32>vpn) & mask) << 3);
}

// In the code for groups of rows, the slots of the group's CPU and the sides of its rows lie at fixed places, so that an address there is one
// offset: WINDOW is a copy of the CPU's addresses last seen, SIDES has SIDE_BYTES for every fetch of the group (u32 each), the offset of its
// side. `slotShift` is pageShift - 3 and `slotMask` the mask of a slot's byte offset, so that one shift and one mask make it.
const WINDOW: usize = memory.data(256, 16);
const SIDES: usize = memory.data(64, 16);

/** The byte offset in WINDOW of the slot of row `i` of the group, whose address is `va`. */
// @ts-ignore: decorator
@inline
function OFFSET(va: u64, i: usize, slotShift: u64, slotMask: u32): usize {
  return ((<u32>(va >> slotShift)) & slotMask) | load<u32>(SIDES + i * 4);
}

/**
 * What the addresses of eight rows from row `i` of the group on have that those in their slots have not: below pageShift anything, above it
 * 0 if no page differs.
 */
// @ts-ignore: decorator
@inline
function differences(vas: usize, i: usize, slotShift: u64, slotMask: u32): u64 {
  const a0 = load<u64>(vas, 0);
  const a1 = load<u64>(vas, 8);
  const a2 = load<u64>(vas, 16);
  const a3 = load<u64>(vas, 24);
  const a4 = load<u64>(vas, 32);
  const a5 = load<u64>(vas, 40);
  const a6 = load<u64>(vas, 48);
  const a7 = load<u64>(vas, 56);
  return (
    (a0 ^ load<u64>(WINDOW + OFFSET(a0, i, slotShift, slotMask))) |
    (a1 ^ load<u64>(WINDOW + OFFSET(a1, i + 1, slotShift, slotMask))) |
    (a2 ^ load<u64>(WINDOW + OFFSET(a2, i + 2, slotShift, slotMask))) |
    (a3 ^ load<u64>(WINDOW + OFFSET(a3, i + 3, slotShift, slotMask))) |
    (a4 ^ load<u64>(WINDOW + OFFSET(a4, i + 4, slotShift, slotMask))) |
    (a5 ^ load<u64>(WINDOW + OFFSET(a5, i + 5, slotShift, slotMask))) |
    (a6 ^ load<u64>(WINDOW + OFFSET(a6, i + 6, slotShift, slotMask))) |
    (a7 ^ load<u64>(WINDOW + OFFSET(a7, i + 7, slotShift, slotMask)))
  );
}

/** The same for the physical addresses of eight rows and those that go with their slots. */
function frameDifferences(vas: usize, pas: usize, i: usize, frames: usize, slotShift: u64, slotMask: u32): u64 {
  let different: u64 = 0;
  for (let row: u32 = 0; row < 8; row++) {
    const offset = OFFSET(load<u64>(vas + row * 8), i + row, slotShift, slotMask);
    different |= load<u64>(pas + row * 8) ^ load<u64>(frames + offset);
  }
  return different;
}

/**
 * Notes a row's address in its slot and writes its look-up to `at`; returns where the next one goes: the same place when the page was in
 * its slot already. Without a branch, because whether a row of such a group passes cannot be predicted.
 */
// @ts-ignore: decorator
@inline
function pass(at: usize, va: u64, i: usize, pageShift: u64, slotMask: u32, context: u64, number: u32): usize {
  const slot = WINDOW + OFFSET(va, i, pageShift - 3, slotMask);
  const different = (load<u64>(slot) ^ va) >> pageShift;
  store<u64>(slot, va);
  store<u64>(at, va);
  store<u64>(at, context, offsetof<Look>('context'));
  store<u32>(at, number | (load<u32>(SIDES + i * 4) << LOOK_FETCH_SHIFT), offsetof<Look>('cpu'));
  return different ? at + LOOK_BYTES : at;
}

/** Whether the rows of a group from `row` on all have the context `context`. */
// @ts-ignore: decorator
@inline
export function sameContext(columns: BatchColumns, row: u32, context: u64): bool {
  let different = i64x2.splat(0);
  if (columns.mode) {
    const regime = i8x16.splat(<i8>(context >> 8));
    different = v128.xor(v128.and(v128.load(columns.mode + row), i8x16.splat(REGIME_MASK)), regime);
  }
  if (columns.asid) {
    const asid = i32x4.splat(<i32>(context >> 32));
    const at = columns.asid + row * 4;
    for (let i: u32 = 0; i < GROUP * 4; i += 16) different = v128.or(different, v128.xor(v128.load(at + i), asid));
  }
  if (columns.vm) {
    const vm = i16x8.splat(<i16>(context >> 16));
    const at = columns.vm + row * 2;
    different = v128.or(different, v128.or(v128.xor(v128.load(at), vm), v128.xor(v128.load(at, 16), vm)));
  }
  return !v128.any_true(different);
}

/**
 * Runs the rows [from, to) through the filter, up to the first phase row other than `taken`, and returns the row where it
 * stopped. `filter.status` says when that row is at fault.
 */
export function runFilter(filter: Filter, columns: BatchColumns, from: u32, to: u32, taken: u32): u32 {
  filter.lookCount = 0;
  filter.status = Status.Done;
  const byRow = filter.trackDirty || filter.splitPages || filter.passAll;
  let row = from;
  while (row < to) {
    if (!byRow) row = filter.lineSlots ? runLineGroups(filter, columns, row, to) : runGroups(filter, columns, row, to);
    // What a group cannot take: the end, other CPUs, events, another context.
    const end = min(row + GROUP, to);
    row = runRows(filter, columns, row, end, taken);
    if (filter.status != Status.Done || row < end) return row;
  }
  return row;
}

/** Rows of a group. */
export const GROUP: u32 = 16;

/** Runs groups of rows of one CPU in its present context, without events, from `row` on; returns the row where it stopped. */
function runGroups(filter: Filter, columns: BatchColumns, row: u32, to: u32): u32 {
  if (row + GROUP > to) return row;
  const number = <u32>load<u16>(columns.cpu + row * 2);
  if (number >= filter.cpus) return row;
  const cpu = FILTER_CPU(filter, number);
  // With captured frames an empty slot is known by its frame.
  if (cpu.cold && !filter.captured) return row;
  // Everything that the loop needs in locals: its stores could change any record as far as the compiler knows.
  const context = cpu.context;
  const hasContext = (columns.mode | columns.asid | columns.vm) != 0;
  const pageShift = <u64>filter.pageShift;
  const slotMask = (filter.slots - 1) << 3;
  const pas = filter.captured ? columns.pa : 0;
  const insns = columns.insns;
  const number8 = i16x8.splat(<i16>number);
  let fetches: u64 = 0;
  let stores: u64 = 0;
  // A segment's rows have too few instructions to overflow a lane.
  let insnSums = i32x4.splat(0);
  let cpus = columns.cpu + row * 2;
  let kind = columns.kind + row;
  let vas = columns.va + row * 8;
  let at = filter.looks + filter.lookCount * LOOK_BYTES;
  const first = row;
  memory.copy(WINDOW, changetype<usize>(cpu) + RECENT, 2 * SIDE_BYTES);
  for (; row + GROUP <= to; row += GROUP, cpus += GROUP * 2, kind += GROUP, vas += GROUP * 8) {
    // One CPU, kinds 0, 1 and 2 only, its context.
    if (v128.any_true(v128.or(v128.xor(v128.load(cpus), number8), v128.xor(v128.load(cpus, 16), number8)))) break;
    const kinds = v128.load(kind);
    if (v128.any_true(i8x16.gt_u(kinds, i8x16.splat(STORE)))) break;
    if (hasContext && !sameContext(columns, row, context)) break;
    const isFetch = i8x16.eq(kinds, i8x16.splat(FETCH));
    putSides(isFetch);
    if (pas) {
      filter.lookCount = <u32>(at - filter.looks) / LOOK_BYTES;
      lookGroup(filter, columns, cpu, number, row);
      at = filter.looks + filter.lookCount * LOOK_BYTES;
    } else {
      if (differences(vas, 0, pageShift - 3, slotMask) >> pageShift) {
        at = passEight(at, vas, 0, pageShift, slotMask, context, number);
      }
      if (differences(vas + 64, 8, pageShift - 3, slotMask) >> pageShift) {
        at = passEight(at, vas + 64, 8, pageShift, slotMask, context, number);
      }
    }
    fetches += popcnt(i8x16.bitmask(isFetch));
    stores += popcnt(i8x16.bitmask(i8x16.eq(kinds, i8x16.splat(STORE))));
    if (insns) {
      const counted = v128.and(v128.load(insns + row), isFetch);
      insnSums = i32x4.add(insnSums, i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(counted)));
    }
  }
  memory.copy(changetype<usize>(cpu) + RECENT, WINDOW, 2 * SIDE_BYTES);
  filter.lookCount = <u32>(at - filter.looks) / LOOK_BYTES;
  countRows(cpu, row - first, fetches, stores, insnSums);
  return row;
}

/** Counts rows of groups: how many, which of them are fetches and stores, and their instructions in four sums. */
export function countRows(cpu: FilterCpu, rows: u32, fetches: u64, stores: u64, insnSums: v128): void {
  cpu.fetches += fetches;
  cpu.stores += stores;
  cpu.loads += <u64>rows - fetches - stores;
  cpu.insns += <u64>i32x4.extract_lane(insnSums, 0) + <u64>i32x4.extract_lane(insnSums, 1);
  cpu.insns += <u64>i32x4.extract_lane(insnSums, 2) + <u64>i32x4.extract_lane(insnSums, 3);
}

/** Widens the mask of a group's fetches to SIDES. */
// @ts-ignore: decorator
@inline
function putSides(isFetch: v128): void {
  const sides = v128.and(isFetch, i8x16.splat(<i8>SIDE_BYTES));
  const low = i16x8.extend_low_i8x16_u(sides);
  const high = i16x8.extend_high_i8x16_u(sides);
  v128.store(SIDES, i32x4.extend_low_i16x8_u(low));
  v128.store(SIDES, i32x4.extend_high_i16x8_u(low), 16);
  v128.store(SIDES, i32x4.extend_low_i16x8_u(high), 32);
  v128.store(SIDES, i32x4.extend_high_i16x8_u(high), 48);
}

/** Passes on those of eight rows, the first being row `i` of its group, whose page is not in its slot; returns the end of the look-ups. */
// @ts-ignore: decorator
@inline
function passEight(at: usize, vas: usize, i: usize, pageShift: u64, slotMask: u32, context: u64, number: u32): usize {
  at = pass(at, load<u64>(vas, 0), i, pageShift, slotMask, context, number);
  at = pass(at, load<u64>(vas, 8), i + 1, pageShift, slotMask, context, number);
  at = pass(at, load<u64>(vas, 16), i + 2, pageShift, slotMask, context, number);
  at = pass(at, load<u64>(vas, 24), i + 3, pageShift, slotMask, context, number);
  at = pass(at, load<u64>(vas, 32), i + 4, pageShift, slotMask, context, number);
  at = pass(at, load<u64>(vas, 40), i + 5, pageShift, slotMask, context, number);
  at = pass(at, load<u64>(vas, 48), i + 6, pageShift, slotMask, context, number);
  at = pass(at, load<u64>(vas, 56), i + 7, pageShift, slotMask, context, number);
  return at;
}

/** A group where frames are captured: half of it is looked at row by row when a page or a frame in it differs. */
function lookGroup(filter: Filter, columns: BatchColumns, cpu: FilterCpu, number: u32, row: u32): void {
  const pageShift = <u64>filter.pageShift;
  const slotMask = (filter.slots - 1) << 3;
  const frames = changetype<usize>(cpu) + FRAMES;
  for (let half: u32 = 0; half < GROUP; half += 8, row += 8) {
    const vas = columns.va + row * 8;
    const pas = columns.pa + row * 8;
    let different = differences(vas, half, pageShift - 3, slotMask);
    different |= frameDifferences(vas, pas, half, frames, pageShift - 3, slotMask);
    if (!(different >> pageShift)) continue;
    for (let i: u32 = 0; i < 8; i++) {
      const kind = load<u8>(columns.kind + row + i);
      look(filter, cpu, WINDOW, number, kind, load<u64>(vas + i * 8), load<u64>(pas + i * 8));
    }
  }
}

/** Whether the replay pauses before `row`: it is a phase row other than `taken`. */
// @ts-ignore: decorator
@inline
function isStop(filter: Filter, columns: BatchColumns, row: u32, to: u32, taken: u32): bool {
  if (row >= to || row == taken) return false;
  const kind = load<u8>(columns.kind + row);
  return kind == PHASE_BEGIN || kind == PHASE_END || (kind >= FIRST_SYSTEM_EVENT && filter.stopsAtEvents);
}

/** Runs rows one by one up to `end`, a phase row or a row at fault; returns where it stopped. */
function runRows(filter: Filter, columns: BatchColumns, row: u32, end: u32, taken: u32): u32 {
  for (; row < end; row++) {
    const kind = load<u8>(columns.kind + row);
    const number = <u32>load<u16>(columns.cpu + row * 2);
    if (number >= filter.cpus) {
      filter.status = Status.CpuOutsideMachine;
      return row;
    }
    const cpu = FILTER_CPU(filter, number);
    if (kind <= STORE) {
      access(filter, columns, row, number, cpu);
      continue;
    }
    if (kind < FIRST_EVENT || kind > LAST_SYSTEM_EVENT || (kind > OPERANDS && kind < FIRST_SYSTEM_EVENT)) {
      filter.status = Status.UnknownKind;
      return row;
    }
    if (isStop(filter, columns, row, end, taken)) return row;
    cpu.events++;
  }
  return row;
}

/** Counts one access and passes it on unless it changes nothing. */
function access(filter: Filter, columns: BatchColumns, row: u32, number: u32, cpu: FilterCpu): void {
  const kind = load<u8>(columns.kind + row);
  if (kind == FETCH) {
    cpu.fetches++;
    if (columns.insns) cpu.insns += load<u8>(columns.insns + row);
  } else if (kind == STORE) cpu.stores++;
  else cpu.loads++;

  const mode = columns.mode ? load<u8>(columns.mode + row) : 0;
  const asid = columns.asid ? load<u32>(columns.asid + row * 4) : filter.events ? cpu.asid : 0;
  const vm = columns.vm ? load<u16>(columns.vm + row * 2) : 0;
  const context = CONTEXT(mode, asid, vm);
  if (context != cpu.context) {
    forget(filter, cpu);
    cpu.context = context;
  }
  const va = load<u64>(columns.va + row * 8);
  const pa = filter.captured && columns.pa ? load<u64>(columns.pa + row * 8) : PA_UNKNOWN;
  const recent = changetype<usize>(cpu) + RECENT;
  if (filter.lineSlots) lineLook(filter, cpu, number, kind, va, pa);
  else look(filter, cpu, recent, number, kind, va, pa);

  if (!filter.splitPages || !columns.size) return;
  const size = load<u16>(columns.size + row * 2);
  if (size == 0) return;
  const nextPage = ((va >> filter.splitShift) + 1) << filter.splitShift;
  if (nextPage - va >= <u64>size) return;
  if (kind == FETCH) cpu.splitFetches++;
  else cpu.splitData++;
  if (filter.lineSlots) lineLook(filter, cpu, number, kind, nextPage, PA_UNKNOWN);
  else look(filter, cpu, recent, number, kind, nextPage, PA_UNKNOWN);
}

/** One look-up: dropped when its page is the one in its slot at `recent`, else noted there and passed on. */
export function look(filter: Filter, cpu: FilterCpu, recent: usize, number: u32, kind: u8, va: u64, pa: u64): void {
  const base = changetype<usize>(cpu);
  const side: u32 = kind == FETCH ? 1 : 0;
  const mask = filter.slots - 1;
  const pageShift = <u64>filter.pageShift;
  const vpn = va >> pageShift;
  const slot = SLOT(recent, 0, side, vpn, mask);
  const frame = SLOT(base, FRAMES, side, vpn, mask);
  const stored = SLOT(base, STORED, 0, vpn, mask);
  const samePage = !((load<u64>(slot) ^ va) >> pageShift) && !((cpu.cold >> side) & 1);
  const sameFrame = pa == PA_UNKNOWN || !((load<u64>(frame) ^ pa) >> pageShift);
  const firstStore = filter.trackDirty && kind == STORE && load<u64>(stored) != vpn;
  if (samePage && sameFrame && !firstStore && !filter.passAll) return;

  let remapped: bool = false;
  if (filter.captured) {
    remapped = noteFrame(filter.pages, vpn, cpu.context, pa == PA_UNKNOWN ? PA_UNKNOWN : pa >> pageShift);
    if (remapped) forgetPage(filter, vpn, cpu, recent);
  }
  cpu.cold &= ~(1 << side);
  store<u64>(slot, va);
  store<u64>(frame, pa);
  if (firstStore) store<u64>(stored, vpn);

  store<u64>(filter.pas + filter.lookCount * 8, pa);
  const next = changetype<Look>(filter.looks + filter.lookCount++ * LOOK_BYTES);
  next.va = va;
  next.context = cpu.context;
  next.cpu = <u16>number;
  next.flags = <u16>((side ? LOOK_FETCH : 0) | (kind == STORE ? LOOK_STORE : 0) | (remapped ? LOOK_REMAPPED : 0));
}

/** Empties every CPU's slots that hold the page `vpn`: its entries are about to leave every TLB. */
function forgetPage(filter: Filter, vpn: u64, running: FilterCpu, recent: usize): void {
  const mask = filter.slots - 1;
  for (let n: u32 = 0; n < filter.cpus; n++) {
    const cpu = FILTER_CPU(filter, n);
    // While a group runs, the slots of its CPU are in the window.
    const sides = emptySlots(filter, cpu == running ? recent : changetype<usize>(cpu) + RECENT, vpn);
    if (filter.slots == 1) cpu.cold |= sides;
    for (let side: u32 = 0; side < 2; side++) {
      if ((sides >> side) & 1) store<u64>(SLOT(changetype<usize>(cpu), FRAMES, side, vpn, mask), NO_FRAME);
    }
    const stored = SLOT(changetype<usize>(cpu), STORED, 0, vpn, mask);
    if (load<u64>(stored) == vpn) store<u64>(stored, NO_VPN);
    if (filter.lineSlots) emptyLines(cpu, vpn, filter.pageShift);
  }
}

/** Empties the slots at `recent` that hold `vpn`; returns a bit for each side that did. */
function emptySlots(filter: Filter, recent: usize, vpn: u64): u64 {
  const mask = filter.slots - 1;
  let sides: u64 = 0;
  for (let side: u32 = 0; side < 2; side++) {
    const slot = SLOT(recent, 0, side, vpn, mask);
    if (load<u64>(slot) >> filter.pageShift != vpn) continue;
    sides |= 1 << side;
    store<u64>(slot, EMPTY_SLOT(filter, (<u32>vpn) & mask));
  }
  return sides;
}
