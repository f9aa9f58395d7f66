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
  PHASE_BEGIN,
  PHASE_END,
  REGIME_MASK,
  Status,
  STORE,
} from '../layout';
import { allocate } from '../memory/arena';
import { CapturedPages, newCapturedPages, noteFrame } from './captured';
import { Look } from './look';

/** The most slots of a side. More would let less through, but also make more filters for the same set of lanes. */
export const MAX_SLOTS: u32 = 16;
/** Bytes of one side of a CPU's table. */
const SIDE_BYTES: u32 = MAX_SLOTS * 8;
/** A slot that no VPN equals, pages being at least 4 KiB. */
const EMPTY: u64 = u64.MAX_VALUE;

/** A filter. */
@unmanaged
export class Filter {
  // What it is for: lanes that agree in these share a filter.
  pageShift: u32;
  slots: u32;
  captured: bool;
  trackDirty: bool;
  splitPages: bool;
  /** No look-up may be dropped, because some miss the first level whenever they are made. */
  passAll: bool;

  cpus: u32;
  /** FilterCpu[cpus]. */
  perCpu: usize;
  pages: CapturedPages;
  /** Where the look-ups that passed are written, and how many. */
  looks: usize;
  lookCount: u32;
  /** How the last run ended. */
  status: Status;
}

/** One CPU's part of a filter. */
@unmanaged
export class FilterCpu {
  /** The context that the slots belong to: they are emptied when it changes. */
  context: u64;
  // Rows seen, by kind, and the look-ups that split accesses added.
  fetches: u64;
  loads: u64;
  stores: u64;
  events: u64;
  insns: u64;
  splitFetches: u64;
  splitData: u64;
}

// Behind the FilterCpu record: recent VPNs u64[2][MAX_SLOTS] (data, instruction), the frame numbers that go with them, and the VPNs
// of the data side whose page has been stored to.
const RECENT: u32 = offsetof<FilterCpu>();
const FRAMES: u32 = RECENT + 2 * SIDE_BYTES;
const STORED: u32 = FRAMES + 2 * SIDE_BYTES;
const CPU_BYTES: u32 = STORED + SIDE_BYTES;

// @ts-ignore: decorator
@inline
export function FILTER_CPU(filter: Filter, cpu: u32): FilterCpu {
  return changetype<FilterCpu>(filter.perCpu + <usize>cpu * CPU_BYTES);
}

/** Makes a filter whose kind and `cpus` are set ready to run; what passes it is written to `looks`. */
export function initFilter(filter: Filter, looks: usize): void {
  filter.looks = looks;
  filter.perCpu = allocate(filter.cpus * CPU_BYTES);
  if (filter.captured) filter.pages = newCapturedPages();
  for (let cpu: u32 = 0; cpu < filter.cpus; cpu++) forget(FILTER_CPU(filter, cpu));
}

/** Empties a CPU's slots: the next access to any page passes. Always safe. */
function forget(cpu: FilterCpu): void {
  memory.fill(changetype<usize>(cpu) + RECENT, 0xff, CPU_BYTES - RECENT);
}

/** The address of a slot: side 0 is data, 1 instruction. */
// @ts-ignore: decorator
@inline
function SLOT(cpu: usize, table: u32, side: u32, vpn: u64, mask: u32): usize {
  return cpu + table + side * SIDE_BYTES + ((<u32>vpn & mask) << 3);
}

const ONES: u64 = 0x0101_0101_0101_0101;

/** What a row adds to the differences of its group of eight: 0 when its page is the one in its slot. */
// @ts-ignore: decorator
@inline
function DIFFERENCE(recent: usize, vpn: u64, fetch: u64, mask: u32): u64 {
  return vpn ^ load<u64>(recent + ((<u32>vpn & mask) << 3) + (<u32>fetch & 1) * SIDE_BYTES);
}

/** The same for a row's frame number. */
// @ts-ignore: decorator
@inline
function FRAME_DIFFERENCE(frames: usize, vpn: u64, pfn: u64, fetch: u64, mask: u32): u64 {
  return pfn ^ load<u64>(frames + ((<u32>vpn & mask) << 3) + (<u32>fetch & 1) * SIDE_BYTES);
}

/** The sum of the eight bytes of `x`. */
// @ts-ignore: decorator
@inline
function SUM_OF_BYTES(x: u64): u64 {
  const pairs = (x & 0x00ff_00ff_00ff_00ff) + ((x >> 8) & 0x00ff_00ff_00ff_00ff);
  return (pairs * 0x0001_0001_0001_0001) >> 48;
}

/** Whether eight rows from `row` on all have the context that `cpu` is in. */
function sameContext(columns: BatchColumns, row: u32, cpu: FilterCpu): bool {
  const context = cpu.context;
  if (columns.mode) {
    const regime = ((context >> 8) & 0xff) * ONES;
    if ((load<u64>(columns.mode + row) & (REGIME_MASK * ONES)) != regime) return false;
  }
  if (columns.asid) {
    const asid = i32x4.splat(<i32>(context >> 32));
    const at = columns.asid + row * 4;
    if (v128.any_true(v128.or(v128.xor(v128.load(at), asid), v128.xor(v128.load(at, 16), asid)))) return false;
  }
  if (columns.vm) {
    const vm = i16x8.splat(<i16>(context >> 16));
    if (v128.any_true(v128.xor(v128.load(columns.vm + row * 2), vm))) return false;
  }
  return true;
}

/**
 * Runs the rows [from, to) through the filter, up to the first phase row other than `taken`, and returns the row where it
 * stopped. `filter.status` says when that row is at fault.
 */
export function runFilter(filter: Filter, columns: BatchColumns, from: u32, to: u32, taken: u32): u32 {
  filter.lookCount = 0;
  filter.status = Status.Done;
  const inEights = !filter.trackDirty && !filter.splitPages && !filter.passAll;
  const hasContext = columns.mode != 0 || columns.asid != 0 || columns.vm != 0;
  const pas = filter.captured ? columns.pa : 0;
  const insns = columns.insns;
  const mask = filter.slots - 1;
  const shift = <u64>filter.pageShift;

  // The CPU of the last group of eight, and its counts since then.
  let current: u32 = 0;
  let splat = i16x8.splat(0);
  let cpu = FILTER_CPU(filter, 0);
  let recent = changetype<usize>(cpu) + RECENT;

  let row = from;
  while (row < to) {
    if (inEights && row + 8 <= to) {
      const kinds = load<u64>(columns.kind + row);
      const cpus = v128.load(columns.cpu + row * 2);
      if (v128.any_true(v128.xor(cpus, splat))) {
        const first = load<u16>(columns.cpu + row * 2);
        const ofFirst = i16x8.splat(first);
        if (<u32>first < filter.cpus && !v128.any_true(v128.xor(cpus, ofFirst))) {
          current = first;
          splat = ofFirst;
          cpu = FILTER_CPU(filter, current);
          recent = changetype<usize>(cpu) + RECENT;
        } else {
          row = runRows(filter, columns, row, row + 8, taken);
          if (filter.status != Status.Done || isStop(columns, row, to, taken)) return row;
          continue;
        }
      }
      // Kinds 0, 1 and 2 only, in the CPU's context.
      const unusual = (kinds & ~(3 * ONES)) | (kinds & (kinds >> 1) & ONES);
      if (!unusual && (!hasContext || sameContext(columns, row, cpu))) {
        const fetch = ~(kinds | (kinds >> 1)) & ONES;
        const vas = columns.va + row * 8;
        const v0 = load<u64>(vas, 0) >> shift;
        const v1 = load<u64>(vas, 8) >> shift;
        const v2 = load<u64>(vas, 16) >> shift;
        const v3 = load<u64>(vas, 24) >> shift;
        const v4 = load<u64>(vas, 32) >> shift;
        const v5 = load<u64>(vas, 40) >> shift;
        const v6 = load<u64>(vas, 48) >> shift;
        const v7 = load<u64>(vas, 56) >> shift;
        let different =
          DIFFERENCE(recent, v0, fetch, mask) |
          DIFFERENCE(recent, v1, fetch >> 8, mask) |
          DIFFERENCE(recent, v2, fetch >> 16, mask) |
          DIFFERENCE(recent, v3, fetch >> 24, mask) |
          DIFFERENCE(recent, v4, fetch >> 32, mask) |
          DIFFERENCE(recent, v5, fetch >> 40, mask) |
          DIFFERENCE(recent, v6, fetch >> 48, mask) |
          DIFFERENCE(recent, v7, fetch >> 56, mask);
        if (pas) {
          const at = pas + row * 8;
          const frames = changetype<usize>(cpu) + FRAMES;
          different |=
            FRAME_DIFFERENCE(frames, v0, load<u64>(at, 0) >> shift, fetch, mask) |
            FRAME_DIFFERENCE(frames, v1, load<u64>(at, 8) >> shift, fetch >> 8, mask) |
            FRAME_DIFFERENCE(frames, v2, load<u64>(at, 16) >> shift, fetch >> 16, mask) |
            FRAME_DIFFERENCE(frames, v3, load<u64>(at, 24) >> shift, fetch >> 24, mask) |
            FRAME_DIFFERENCE(frames, v4, load<u64>(at, 32) >> shift, fetch >> 32, mask) |
            FRAME_DIFFERENCE(frames, v5, load<u64>(at, 40) >> shift, fetch >> 40, mask) |
            FRAME_DIFFERENCE(frames, v6, load<u64>(at, 48) >> shift, fetch >> 48, mask) |
            FRAME_DIFFERENCE(frames, v7, load<u64>(at, 56) >> shift, fetch >> 56, mask);
        }
        const fetches = popcnt(fetch);
        const stores = popcnt(kinds & (2 * ONES));
        cpu.fetches += fetches;
        cpu.stores += stores;
        cpu.loads += 8 - fetches - stores;
        if (insns) cpu.insns += SUM_OF_BYTES(load<u64>(insns + row) & (fetch * 255));
        if (different) {
          for (let at = row, end = row + 8, isFetch = fetch; at < end; at++, isFetch >>= 8) {
            const va = load<u64>(columns.va + at * 8);
            if (!pas && !DIFFERENCE(recent, va >> shift, isFetch, mask)) continue;
            look(filter, cpu, current, load<u8>(columns.kind + at), va, pas ? load<u64>(pas + at * 8) : PA_UNKNOWN);
          }
        }
        row += 8;
        continue;
      }
    }
    row = runRows(filter, columns, row, min(row + 8, to), taken);
    if (filter.status != Status.Done || isStop(columns, row, to, taken)) return row;
  }
  return row;
}

/** Whether the replay pauses before `row`: it is a phase row other than `taken`. */
// @ts-ignore: decorator
@inline
function isStop(columns: BatchColumns, row: u32, to: u32, taken: u32): bool {
  if (row >= to || row == taken) return false;
  const kind = load<u8>(columns.kind + row);
  return kind == PHASE_BEGIN || kind == PHASE_END;
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
    if (isStop(columns, row, end, taken)) return row;
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
  const asid = columns.asid ? load<u32>(columns.asid + row * 4) : 0;
  const vm = columns.vm ? load<u16>(columns.vm + row * 2) : 0;
  const context = CONTEXT(mode, asid, vm);
  if (context != cpu.context) {
    forget(cpu);
    cpu.context = context;
  }
  const va = load<u64>(columns.va + row * 8);
  const pa = filter.captured && columns.pa ? load<u64>(columns.pa + row * 8) : PA_UNKNOWN;
  look(filter, cpu, number, kind, va, pa);

  if (!filter.splitPages || !columns.size) return;
  const size = load<u16>(columns.size + row * 2);
  if (size == 0) return;
  const nextPage = ((va >> filter.pageShift) + 1) << filter.pageShift;
  if (nextPage - va >= <u64>size) return;
  if (kind == FETCH) cpu.splitFetches++;
  else cpu.splitData++;
  look(filter, cpu, number, kind, nextPage, PA_UNKNOWN);
}

/** One look-up: dropped when its page is the one in its slot, else noted there and passed on. */
function look(filter: Filter, cpu: FilterCpu, number: u32, kind: u8, va: u64, pa: u64): void {
  const base = changetype<usize>(cpu);
  const side: u32 = kind == FETCH ? 1 : 0;
  const mask = filter.slots - 1;
  const vpn = va >> filter.pageShift;
  const pfn = pa == PA_UNKNOWN ? PA_UNKNOWN : pa >> filter.pageShift;
  const slot = SLOT(base, RECENT, side, vpn, mask);
  const frame = SLOT(base, FRAMES, side, vpn, mask);
  const firstStore = filter.trackDirty && kind == STORE && load<u64>(SLOT(base, STORED, 0, vpn, mask)) != vpn;
  const known = pfn == PA_UNKNOWN || load<u64>(frame) == pfn;
  if (load<u64>(slot) == vpn && known && !firstStore && !filter.passAll) return;

  let remapped: bool = false;
  if (filter.captured) {
    remapped = noteFrame(filter.pages, vpn, cpu.context, pfn);
    if (remapped) forgetPage(filter, vpn);
  }
  store<u64>(slot, vpn);
  store<u64>(frame, pfn);
  if (firstStore) store<u64>(SLOT(base, STORED, 0, vpn, mask), vpn);

  const next = changetype<Look>(filter.looks + filter.lookCount++ * offsetof<Look>());
  next.va = va;
  next.context = cpu.context;
  next.pa = pa;
  next.cpu = <u16>number;
  next.kind = kind;
  next.remapped = remapped;
}

/** Empties every CPU's slots that hold `vpn`: its entries are about to leave every TLB. */
function forgetPage(filter: Filter, vpn: u64): void {
  const mask = filter.slots - 1;
  for (let n: u32 = 0; n < filter.cpus; n++) {
    const cpu = changetype<usize>(FILTER_CPU(filter, n));
    for (let side: u32 = 0; side < 2; side++) {
      const slot = SLOT(cpu, RECENT, side, vpn, mask);
      if (load<u64>(slot) == vpn) store<u64>(slot, EMPTY);
    }
    const stored = SLOT(cpu, STORED, 0, vpn, mask);
    if (load<u64>(stored) == vpn) store<u64>(stored, EMPTY);
  }
}
