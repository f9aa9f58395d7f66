// The replay of one batch: segment by segment, each filter once, and behind each filter its lanes.

import { coolLines } from '../cache/cold';
import { LINE_CACHE } from '../cache/hierarchy';
import { readOwnMemory } from '../cache/pollution';
import { LINE_SLOTS } from '../cache/slots';
import { BatchColumns, Cache, Caches, Column, CONTEXT, Lane, Level, Mapping, Scope, Status, TlbLevel } from '../layout';
import { allocate } from '../memory/arena';
import { storeInImage } from '../memory/image';
import { forgetFrames } from '../paging/frame';
import { protectPage, unmapPage } from '../paging/edit';
import { Stat } from '../stats';
import { endStage2, runRows } from '../stage2/schedule';
import { expandEvent, followStore } from '../event';
import { Event } from '../systems/events';
import { KERNEL } from '../systems/kernel';
import { clearLevel, LEVEL, missesAlways, PROBE } from '../tlb/hierarchy';
import { Invalidation, invalidateOn } from '../tlb/invalidate';
import { clearWalkCaches } from '../tlb/walkcache';
import { coolHyp, hypLook, isHypLook } from './el2';
import { CPU_BYTES, Filter, FILTER_CPU, forget, initFilter, LINES, MAX_SLOTS, runFilter, switchAsid } from './filter';
import { runLane } from './lane';
import { Look, LOOK_BYTES } from './look';
import { afterStop, beforeStop, isStopRow, passStop, stretchEnd } from './spe';

/** Rows of a segment: enough to make the calls free, few enough for its columns and look-ups to stay in the CPU's cache. */
const SEGMENT_ROWS: u32 = 16384;
export const MAX_LANES: u32 = 256;

/** What the instance replays: lanes, their filters and the batch in memory. */
@unmanaged
class Replay {
  laneCount: u32;
  filterCount: u32;
  status: Status;
  /** Lane[laneCount] and, lane by lane, the number of its filter. */
  lanes: usize;
  filterOf: usize;
  /** Filter[filterCount]. */
  filters: usize;
  looks: usize;
  pas: usize;
  columns: BatchColumns;
  /** A lane whose CPUs have profiling units; null: none has. */
  profiled: Lane | null;
}

const replay = changetype<Replay>(allocate(offsetof<Replay>()));
replay.lanes = allocate(MAX_LANES * 4);
replay.filterOf = allocate(MAX_LANES * 4);
replay.filters = allocate(MAX_LANES * 4);
/** Every row can pass, and twice where accesses are split; one more is written to before it is known not to pass. */
const MAX_LOOKS: u32 = SEGMENT_ROWS * 2 + 1;
replay.looks = allocate(MAX_LOOKS * LOOK_BYTES);
replay.pas = allocate(MAX_LOOKS * 8);
replay.columns = changetype<BatchColumns>(allocate(offsetof<BatchColumns>()));

// @ts-ignore: decorator
@inline
function LANE(i: u32): Lane {
  return changetype<Lane>(load<u32>(replay.lanes + i * 4));
}

// @ts-ignore: decorator
@inline
function FILTER(i: u32): Filter {
  return changetype<Filter>(load<u32>(replay.filters + i * 4));
}

/** A buffer for a column of the batch, of `bytes` bytes, that replayRows reads from now on. */
export function attachColumn(column: Column, bytes: u32): usize {
  const buffer = allocate(bytes);
  store<usize>(changetype<usize>(replay.columns) + column * sizeof<usize>(), buffer);
  return buffer;
}

/** Adds a lane that is set up, behind a filter of its kind. */
export function addLane(lane: Lane): void {
  const i = replay.laneCount++;
  store<u32>(replay.lanes + i * 4, changetype<usize>(lane));
  if (lane.spe) replay.profiled = lane;
  const f = filterFor(lane);
  store<u32>(replay.filterOf + i * 4, f);
  const caches = lane.caches;
  if (!caches) return;
  const filter = FILTER(f);
  store<u32>(filter.lanes + filter.laneCount++ * 4, changetype<usize>(lane));
  caches.slots = changetype<usize>(FILTER_CPU(filter, 0)) + LINES;
  caches.slotStride = CPU_BYTES;
  caches.slotMask = (filter.lineSlots - 1) << 3;
}

/**
 * Replays the rows [from, to) of the batch, up to the first phase row behind `from`, and returns the row where it stopped: `to`, a
 * phase row, or a row at fault (replayStatus).
 */
export function replayRows(from: u32, to: u32): u32 {
  let row = from;
  while (row < to) {
    let end = min(row + SEGMENT_ROWS, to);
    let profiles: bool = false;
    if (replay.profiled) {
      end = stretchEnd(replay.columns, row, end, replay.profiled!.cpus);
      profiles = isStopRow();
      if (profiles) beforeProfiles(row);
    }
    let stop = end;
    for (let f: u32 = 0; f < replay.filterCount; f++) {
      const filter = FILTER(f);
      // Every filter stops at the same row.
      stop = runFilter(filter, replay.columns, row, end, from);
      replay.status = filter.status;
      for (let i: u32 = 0; i < replay.laneCount; i++) {
        if (load<u32>(replay.filterOf + i * 4) != f) continue;
        // Lanes with line caches have run row by row.
        if (!filter.lineSlots) runLooks(LANE(i), filter);
        if (!LANE(i).memoryFull) continue;
        replay.status = Status.GuestMemoryFull;
        return stop;
      }
      if (filter.status != Status.Done) return stop;
    }
    if (stop < end) return stop;
    if (profiles) afterProfiles(row);
    row = stop;
  }
  return row;
}

/** A unit of a lane has something to do at a row, which is replayed alone: before it, and behind it. */
function beforeProfiles(row: u32): void {
  for (let i: u32 = 0; i < replay.laneCount; i++) if (LANE(i).spe) beforeStop(replay.columns, row, LANE(i));
}

function afterProfiles(row: u32): void {
  passStop(replay.columns, row);
  for (let i: u32 = 0; i < replay.laneCount; i++) {
    if (LANE(i).spe) afterStop(replay.columns, row, LANE(i), FILTER(load<u32>(replay.filterOf + i * 4)));
  }
}

/** The look-ups that passed a filter, in one of its lanes; those of EL2 apart where it has a side of its own. */
function runLooks(lane: Lane, filter: Filter): void {
  if (!lane.hyp) {
    runLane(lane, filter.looks, filter.pas, filter.lookCount);
    return;
  }
  for (let i: u32 = 0; i < filter.lookCount; i++) {
    const look = filter.looks + i * LOOK_BYTES;
    if (isHypLook(changetype<Look>(look))) hypLook(lane, changetype<Look>(look));
    else runLane(lane, look, filter.pas + i * 8, 1);
  }
}

/** Why the last replayRows stopped before its end, phase rows apart. */
export function replayStatus(): Status {
  return replay.status;
}

/**
 * Runs a TLB maintenance instruction on a lane: on one CPU, or on all when `cpu` is the number of CPUs (inner shareable). `mode`, `asid`
 * and `vm` are those of the address space, [from, last] the addresses that the instruction names.
 */
export function invalidate(
  lane: u32,
  cpu: u32,
  instruction: Invalidation,
  mode: u8,
  asid: u32,
  vm: u16,
  from: u64,
  last: u64,
): void {
  const machine = LANE(lane);
  const filter = FILTER(load<u32>(replay.filterOf + lane * 4));
  const context = CONTEXT(mode, asid, vm);
  for (let n: u32 = 0; n < machine.cpus; n++) {
    if (cpu != n && cpu != machine.cpus) continue;
    invalidateOn(machine, machine.cpuBlocks + <usize>n * machine.cpuBlockBytes, instruction, context, from, last);
    forget(filter, FILTER_CPU(filter, n));
  }
}

/** From now on replayRows stops at events, as at phase rows. */
export function stopAtEvents(): void {
  for (let f: u32 = 0; f < replay.filterCount; f++) FILTER(f).stopsAtEvents = true;
}

/** An event and its first three further operands; every lane with a kernel expands it. `record` is for messages. */
export function runEvent(record: u64, cpu: u32, kind: u32, va: u64, arg: u64, a: u64, b: u64, c: u64): void {
  for (let i: u32 = 0; i < replay.laneCount; i++) {
    if (!LANE(i).kernel) continue;
    expandEvent(LANE(i), record, cpu, kind, va, arg, a, b, c);
    settle(i);
  }
  if (kind != <u32>Event.CtxSwitch) return;
  for (let f: u32 = 0; f < replay.filterCount; f++) {
    switchAsid(FILTER(f), replay.columns, FILTER_CPU(FILTER(f), cpu), <u32>arg);
  }
}

/** The events that lanes have taken up to run concurrently are run: a phase begins or ends, or the trace. */
export function runTakenEvents(): void {
  for (let i: u32 = 0; i < replay.laneCount; i++) if (LANE(i).stage2Sim) runRows(LANE(i));
}

/** The trace ends: the same, and what systems count at the end is counted. */
export function endTakenEvents(): void {
  for (let i: u32 = 0; i < replay.laneCount; i++) if (LANE(i).stage2Sim) endStage2(LANE(i));
}

/** The captured kernel stored to its page tables, on a CPU: every lane that walks them follows. */
export function runTableStore(cpu: u32, pa: u64, value: u64): void {
  storeInImage(pa, value);
  for (let i: u32 = 0; i < replay.laneCount; i++) {
    if (LANE(i).mapping != Mapping.Tables) continue;
    followStore(LANE(i), cpu, pa, value);
    settle(i);
  }
}

/** Translations of a lane may have changed: whoever remembers them forgets. */
function settle(i: u32): void {
  const lane = LANE(i);
  if (!KERNEL(lane).changed) return;
  KERNEL(lane).changed = false;
  forgetFrames(lane);
  const filter = FILTER(load<u32>(replay.filterOf + i * 4));
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) forget(filter, FILTER_CPU(filter, cpu));
}

/** Invalidates what is in `scope` on all CPUs of a lane: all TLBs and walk caches, and lines. */
export function cool(lane: u32, scope: Scope): void {
  const machine = LANE(lane);
  const filter = FILTER(load<u32>(replay.filterOf + lane * 4));
  const caches = machine.caches;
  for (let cpu: u32 = 0; cpu < machine.cpus; cpu++) {
    const block = machine.cpuBlocks + <usize>cpu * machine.cpuBlockBytes;
    for (let i = 0; i < Level.Count; i++) clearLevel(LEVEL(machine, i), block);
    clearWalkCaches(machine, block);
    coolHyp(machine, cpu);
    forget(filter, FILTER_CPU(filter, cpu));
  }
  if (caches) coolLines(caches, scope);
}

/** A CPU of a lane reads `bytes` of its own through its line caches, uncounted. */
export function pollute(lane: u32, cpu: u32, bytes: u64): void {
  if (LANE(lane).caches) readOwnMemory(LANE(lane), cpu, bytes);
}

/** Unmaps the page at `va` in a lane's tables; false when there is none. */
export function unmap(lane: u32, mode: u8, asid: u32, vm: u16, va: u64): bool {
  return unmapPage(LANE(lane), CONTEXT(mode, asid, vm), va, 0);
}

/** Changes the permissions of the page at `va` in a lane's tables; false when there is none. */
export function protect(lane: u32, mode: u8, asid: u32, vm: u16, va: u64, writable: bool, executable: bool): bool {
  return protectPage(LANE(lane), CONTEXT(mode, asid, vm), va, 0, writable, executable);
}

/** Writes one CPU's counters (u64[Stat.Count]) of a lane to `out`: the lane's own, and those that its filter keeps. */
export function collectCounters(lane: u32, cpu: u32, out: usize): void {
  const own = LANE(lane);
  const seen = FILTER_CPU(FILTER(load<u32>(replay.filterOf + lane * 4)), cpu);
  memory.copy(out, own.cpuBlocks + <usize>cpu * own.cpuBlockBytes, Stat.Count * 8);
  put(out, Stat.AccessFetch, seen.fetches);
  put(out, Stat.AccessLoad, seen.loads);
  put(out, Stat.AccessStore, seen.stores);
  put(out, Stat.AccessEvent, seen.events);
  put(out, Stat.AccessInsns, replay.columns.insns ? seen.insns : seen.fetches);
  const fetches = seen.fetches + seen.splitFetches;
  const accesses = seen.loads + seen.stores + seen.splitData;
  put(out, Stat.TlbL1iHit, fetches - load<u64>(out + Stat.TlbL1iMiss * 8));
  put(out, Stat.TlbL1dHit, accesses - load<u64>(out + Stat.TlbL1dMiss * 8));
  if (!own.caches) return;
  put(out, Stat.CacheL1iFetchHit, fetches - load<u64>(out + Stat.CacheL1iFetchMiss * 8));
  put(out, Stat.CacheL1dDataHit, accesses - load<u64>(out + Stat.CacheL1dDataMiss * 8));
}

// @ts-ignore: decorator
@inline
function put(out: usize, stat: Stat, n: u64): void {
  store<u64>(out + stat * 8, n);
}

/** The number of the filter that serves `lane`, made when there is none of its kind. */
function filterFor(lane: Lane): u32 {
  const wanted = changetype<Filter>(allocate(offsetof<Filter>()));
  const l1i = LEVEL(lane, Level.L1i);
  const l1d = LEVEL(lane, Level.L1d);
  wanted.cpus = lane.cpus;
  wanted.captured = lane.mapping != Mapping.Demand;
  wanted.trackDirty = lane.trackDirty;
  wanted.splitPages = lane.splitPages;
  wanted.events = lane.kernel != 0;
  wanted.passAll = missesAlways(lane, l1i) || missesAlways(lane, l1d);
  // When the pool of the host's stage 2 is used up, a walk empties the TLBs of all CPUs.
  if (lane.hostTree && lane.hostTree!.poolPages) wanted.passAll = true;
  // Rows that split and frames that change are seen by base pages.
  // EL2 maps base pages.
  const byBasePage = wanted.captured || wanted.splitPages || wanted.trackDirty || wanted.passAll || lane.hyp != 0;
  wanted.splitShift = lane.stage1.pageShift;
  const base = lane.stage1.pageShift;
  const finest = min(finestShift(l1i), finestShift(l1d));
  wanted.pageShift = byBasePage ? min(base, finest) : finest;
  wanted.slots = min(slotsFor(l1i, wanted.pageShift), slotsFor(l1d, wanted.pageShift));
  const caches = lane.caches;
  if (caches) {
    wanted.lineSlots = min(lineSlotsFor(caches, Cache.L1i), lineSlotsFor(caches, Cache.L1d));
    wanted.lanes = allocate(MAX_LANES * 4);
  }
  for (let f: u32 = 0; f < replay.filterCount; f++) if (sameKind(FILTER(f), wanted)) return f;
  initFilter(wanted, replay.looks, replay.pas);
  store<u32>(replay.filters + replay.filterCount * 4, changetype<usize>(wanted));
  return replay.filterCount++;
}

function sameKind(a: Filter, b: Filter): bool {
  return (
    a.cpus == b.cpus &&
    a.pageShift == b.pageShift &&
    a.slots == b.slots &&
    a.captured == b.captured &&
    a.trackDirty == b.trackDirty &&
    a.splitPages == b.splitPages &&
    a.splitShift == b.splitShift &&
    a.passAll == b.passAll &&
    a.events == b.events &&
    a.lineSlots == b.lineSlots
  );
}

/** log2 of the smallest stretch of addresses that a level tells apart, by the index of an array or by an entry. */
function finestShift(level: TlbLevel): u32 {
  let shift = u32.MAX_VALUE;
  for (let p: u32 = 0; p < level.probeCount; p++) {
    const probe = PROBE(level, p);
    shift = min(shift, min(probe.array.indexShift, probe.entryShift));
  }
  return shift;
}

/**
 * How many slots a filter by pages of 2^pageShift may have in front of a level: the largest power of two up to MAX_SLOTS that
 * divides the set counts of its arrays, if all are indexed from that bit; otherwise 1, for a page seen twice in a row
 * changes nothing anywhere.
 */
function slotsFor(level: TlbLevel, pageShift: u32): u32 {
  let slots = MAX_SLOTS;
  for (let p: u32 = 0; p < level.probeCount; p++) {
    const array = PROBE(level, p).array;
    if (array.indexShift != pageShift) return 1;
    slots = min(slots, 1 << ctz(array.sets));
  }
  return slots;
}

/** How many line slots a filter may have in front of a first-level cache: the largest power of two up to a page's lines that divides its sets. */
function lineSlotsFor(caches: Caches, cache: Cache): u32 {
  return min(LINE_SLOTS, 1 << ctz(LINE_CACHE(caches, cache).sets));
}
