// One row that the interval counter chose, as a record of 64 bytes: packets of the architecture in this order, then padding.
//
//   b0 PC (8)   64 context of EL1 (4)   49 load or store, 48 other (1)   62 events (4)
//   98 99 9a total, issue and translation latency (2 each)   b2 data VA (8)   43 data source (1)   b3 data PA (8)   71 timestamp (8)
//
// What the operation was is in the row; what the CPU's TLBs and caches did with it is the difference of the CPU's counters.

import { FETCH, Lane, LOAD, NODE_OF_CPU, PA_UNKNOWN, STORE } from '../layout';
import { addressOf } from '../paging/descriptor';
import { findPage, SIZE } from '../paging/map';
import { SHIFT_AT } from '../paging/stage';
import { stage2Address, stage2Leaf, vmOf } from '../paging/vm';
import { VIEW_OF } from '../paging/views';
import { ADD, Stat } from '../stats';
import { BLOCK } from '../systems/operations';
import { OPERATIONS } from './operations';
import { PARAMETER, SPE, SpeParameter, SPE_CPU, Vcpu } from './records';
import { COLLISION, RECORD_BYTES, SAMPLE_EL0, SAMPLE_EL1 } from './registers';
import { beginProfiling } from './events';
import { switchTask, takeInterrupt } from './kvm';
import { acceptRecord, interval, loseSample, recordIsComplete } from './unit';

/** A row that was replayed. */
@unmanaged
export class SampledRow {
  kind: u8;
  mode: u8;
  va: u64;
  context: u64;
}

// Packet headers
const PC: u8 = 0xb0;
const CONTEXT_EL1: u8 = 0x64;
const OTHER: u8 = 0x48;
const LOAD_STORE: u8 = 0x49;
const EVENTS: u8 = 0x62;
const TOTAL: u8 = 0x98;
const ISSUE: u8 = 0x99;
const TRANSLATION: u8 = 0x9a;
const DATA_VA: u8 = 0xb2;
const SOURCE: u8 = 0x43;
const DATA_PA: u8 = 0xb3;
const TIMESTAMP: u8 = 0x71;

// Bits of the events packet
const RETIRED: u32 = 1 << 1;
const L1D_ACCESS: u32 = 1 << 2;
const L1D_REFILL: u32 = 1 << 3;
const TLB_ACCESS: u32 = 1 << 4;
const TLB_WALK: u32 = 1 << 5;
const LLC_ACCESS: u32 = 1 << 8;
const LLC_MISS: u32 = 1 << 9;
const REMOTE_ACCESS: u32 = 1 << 10;

// Data sources of Neoverse cores
const FROM_L1D: u8 = 0x00;
const FROM_L2: u8 = 0x08;
const FROM_SYSTEM_CACHE: u8 = 0x0b;
const FROM_REMOTE: u8 = 0x0d;
const FROM_DRAM: u8 = 0x0e;

/** Where the counters of today's cores stop. */
const MOST_CYCLES: u64 = 4095;
const ADDRESS: u64 = ((<u64>1) << 56) - 1;
const NON_SECURE: u64 = (<u64>1) << 63;
const EL_SHIFT: u64 = 61;

/** Notes a CPU's counters before a row. */
export function beforeRow(lane: Lane, cpu: u32): void {
  if (!SPE_CPU(SPE(lane), cpu).vcpu) beginProfiling(lane, cpu);
  memory.copy(SPE(lane).before, BLOCK(lane, cpu), Stat.Count * 8);
}

/** What the row has added to a counter. */
function added(lane: Lane, block: usize, stat: Stat): u64 {
  return load<u64>(block + stat * 8) - load<u64>(SPE(lane).before + stat * 8);
}

/** Behind a row: what is due on its CPU by then. */
export function afterRow(lane: Lane, cpu: u32, row: SampledRow): void {
  const v = SPE_CPU(SPE(lane), cpu).vcpu;
  if (!v) return;
  const now = OPERATIONS(cpu).now;
  while (true) {
    const due = nextTime(v);
    if (due > now) return;
    if (due == v.irqAt) takeInterrupt(lane, v);
    else if (due == v.sampleAt) sample(lane, v, row);
    else switchTask(lane, v);
  }
}

/** The next operation of a vCPU's CPU at which something is due. */
export function nextTime(v: Vcpu): u64 {
  return min(v.irqAt, min(v.sampleAt, v.switchAt));
}

/** The interval counter has reached 0. */
function sample(lane: Lane, v: Vcpu, row: SampledRow): void {
  const block = BLOCK(lane, v.cpu);
  const due = v.sampleAt;
  v.sampleAt = due + interval(lane, v);
  const level = row.mode & 15;
  if (level > 1 || !(v.filter & (level ? SAMPLE_EL1 : SAMPLE_EL0))) {
    ADD(block, Stat.SpeFiltered, 1);
    return;
  }
  if (!v.on) {
    loseSample(lane, v);
    return;
  }
  measure(lane, v, row);
  const each = PARAMETER(SPE(lane), SpeParameter.CyclesPerOp);
  if (due * each < v.busyUntil) {
    v.hwStatus |= COLLISION;
    v.unreported++;
    ADD(block, Stat.SpeCollisions, 1);
    return;
  }
  v.busyUntil = due * each + (total << 8);
  // The record before is written while this one is made.
  if (acceptRecord(lane, v)) {
    compose(lane, v, row);
    recordIsComplete(v);
  } else loseSample(lane, v);
}

// What the row in work came to: bits of the events packet, latencies, the source of its data.
let events: u32 = 0;
let issue: u64 = 0;
let translation: u64 = 0;
let total: u64 = 0;
let source: u8 = 0;

function measure(lane: Lane, v: Vcpu, row: SampledRow): void {
  const spe = SPE(lane);
  const block = BLOCK(lane, v.cpu);
  events = RETIRED;
  issue = max<u64>((PARAMETER(spe, SpeParameter.CyclesPerOp) + 128) >> 8, 1);
  total = issue;
  if (row.kind == FETCH) return;
  events |= TLB_ACCESS;
  if (added(lane, block, Stat.WalkCount)) events |= TLB_WALK;
  translation =
    added(lane, block, Stat.CyclesWalk) + added(lane, block, Stat.TlbL2Hit) * PARAMETER(spe, SpeParameter.TlbCycles);
  total += translation;
  if (!lane.caches) return;
  const misses = added(lane, block, Stat.CacheLlcDataMiss);
  const fromMemory = added(lane, block, Stat.CacheMemoryDataLocal);
  const fromRemote = added(lane, block, Stat.CacheMemoryDataRemote);
  const isRefill = added(lane, block, Stat.CacheL1dDataMiss) != 0;
  events |= L1D_ACCESS;
  if (isRefill) events |= L1D_REFILL;
  if (misses || added(lane, block, Stat.CacheLlcDataHit)) events |= LLC_ACCESS;
  if (misses) events |= LLC_MISS;
  if (fromRemote) events |= REMOTE_ACCESS;
  source = FROM_L1D;
  if (fromRemote) source = FROM_REMOTE;
  else if (fromMemory) source = FROM_DRAM;
  else if (added(lane, block, Stat.CacheLlcDataHit)) source = FROM_SYSTEM_CACHE;
  else if (isRefill) source = FROM_L2;
  total += added(lane, block, Stat.CyclesData);
}

let at: usize = 0;

function putWord(header: u8, value: u64): void {
  store<u8>(at, header);
  store<u64>(at, value, 1);
  at += 9;
}

function putLong(header: u8, value: u32): void {
  store<u8>(at, header);
  store<u32>(at, value, 1);
  at += 5;
}

function putCycles(header: u8, cycles: u64): void {
  store<u8>(at, header);
  store<u16>(at, <u16>min(cycles, MOST_CYCLES), 1);
  at += 3;
}

function putByte(header: u8, value: u8): void {
  store<u8>(at, header);
  store<u8>(at, value, 1);
  at += 2;
}

/** The record of a row that was measured. */
function compose(lane: Lane, v: Vcpu, row: SampledRow): void {
  const isData = row.kind != FETCH;
  const level = <u64>(row.mode & 15);
  const pc = isData ? OPERATIONS(v.cpu).pc : row.va;
  at = v.pending;
  memory.fill(at, 0, <usize>RECORD_BYTES);
  // A trace of data alone has none.
  if (pc) putWord(PC, (pc & ADDRESS) | NON_SECURE | (level << EL_SHIFT));
  putLong(CONTEXT_EL1, <u32>(row.context >> 32));
  putByte(isData ? LOAD_STORE : OTHER, row.kind == STORE ? 1 : 0);
  putLong(EVENTS, events);
  putCycles(TOTAL, total);
  putCycles(ISSUE, issue);
  if (isData) {
    putCycles(TRANSLATION, translation);
    putWord(DATA_VA, row.va);
    // Stores have no source.
    if (lane.caches && row.kind == LOAD) putByte(SOURCE, source);
    const pa = physicalAddress(lane, v.cpu, row);
    if (~pa) putWord(DATA_PA, (pa & ADDRESS) | NON_SECURE);
  }
  putWord(TIMESTAMP, clockOf(lane, v.cpu));
}

/** A CPU's clock: its operations, what its misses wait for without overlap, and software. */
function clockOf(lane: Lane, cpu: u32): u64 {
  const block = BLOCK(lane, cpu);
  const waited =
    load<u64>(block + Stat.CyclesFetch * 8) +
    load<u64>(block + Stat.CyclesData * 8) +
    load<u64>(block + Stat.CyclesWalk * 8) +
    load<u64>(block + Stat.CyclesMaintenance * 8);
  return ((OPERATIONS(cpu).now * PARAMETER(SPE(lane), SpeParameter.CyclesPerOp)) >> 8) + waited;
}

/** Where the data of a row is; PA_UNKNOWN where nothing is mapped. */
function physicalAddress(lane: Lane, cpu: u32, row: SampledRow): u64 {
  const page = findPage(lane, row.context, row.va, VIEW_OF(lane, NODE_OF_CPU(lane, cpu), row.va));
  if (!page) return PA_UNKNOWN;
  const height = SIZE(lane, page.size).height;
  const inside = ((<u64>1) << SHIFT_AT(lane.stage1, height)) - 1;
  const address = addressOf(lane.stage1, load<u64>(page.leaf), height) | (row.va & inside);
  const vm = vmOf(lane, row.context);
  if (!vm) return address;
  return stage2Leaf(lane, vm, address) ? stage2Address(lane, vm, address) : PA_UNKNOWN;
}
