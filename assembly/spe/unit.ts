// The profiling unit of a CPU: it writes a record at a time, behind the CPU's back, through the translation regime of the buffer's owner, and knows one
// translation. What stops it is a management event, told by an interrupt (MODEL: the record before is written when the next one comes, or at a drain).

import { Check, Cost, Fault, Lane } from '../layout';
import { DESCRIPTOR } from '../memory/tables';
import { addressOf, isPresent, isWritable, isYoung } from '../paging/descriptor';
import { ENTRY_AT, LEVEL_AT } from '../paging/stage';
import { ADD, Stat } from '../stats';
import { nextRandom } from '../stage2/random';
import { HAS_FAULT, KERNEL, violated } from '../systems/kernel';
import { barriers, BLOCK, COST } from '../systems/operations';
import { OPERATIONS } from './operations';
import { INSIDE, pageAt } from './pages';
import { copies, Guest, NEVER, PARAMETER, SPE, SPE_CPU, SpeParameter, Tree, Vcpu } from './records';
import {
  ACCESS_FLAG_FAULT,
  BUFFER_FULL,
  CLASS_BUFFER,
  CLASS_STAGE1,
  CLASS_STAGE2,
  classOf,
  DATA_LOSS,
  faultCode,
  managementEvent,
  PERMISSION_FAULT,
  RECORD_BYTES,
  SERVICE,
  TRANSLATION_FAULT,
} from './registers';
import { setYoung } from './stage2';
import { append, shadowAppend, shadowDrop } from './stream';
import { entryAt } from './tables';

const NOWHERE: u64 = u64.MAX_VALUE;

// What the walk in work has read and run into.
let refs: u64 = 0;
let event: u64 = 0;
let faultIpa: u64 = 0;
/** The walk changes nothing. */
let silent: bool = false;

function fault(eventClass: u64, kind: u64, level: i32): u64 {
  event = managementEvent(eventClass, faultCode(kind, level));
  return NOWHERE;
}

/** Stage 2 of the guest for one of its addresses; NOWHERE: an event. */
function stage2(lane: Lane, guest: Guest, ipa: u64, writes: bool): u64 {
  const stage = guest.stage2.stage;
  let table = guest.stage2.root - 1;
  faultIpa = ipa;
  for (let height = stage.depth - 1; true; height--) {
    const at = DESCRIPTOR(lane.tables, ENTRY_AT(stage, table, ipa, height));
    const entry = load<u64>(at);
    refs++;
    if (!isPresent(stage, entry, height)) return fault(CLASS_STAGE2, TRANSLATION_FAULT, LEVEL_AT(stage, height));
    table = addressOf(stage, entry, height);
    if (height) continue;
    if (!isYoung(entry)) {
      if (!PARAMETER(SPE(lane), SpeParameter.HardwareAf)) return fault(CLASS_STAGE2, ACCESS_FLAG_FAULT, 3);
      if (!silent) setYoung(at);
    }
    if (writes && !isWritable(stage, entry)) return fault(CLASS_STAGE2, PERMISSION_FAULT, 3);
    return table | INSIDE(lane, ipa);
  }
}

/** The owner's stage 1, for a write at `va`; where the owner is a guest each of its addresses goes through stage 2. */
function walk(lane: Lane, tree: Tree, va: u64): u64 {
  const stage = tree.stage;
  const guest = tree.guest;
  let table = tree.root - 1;
  for (let height = stage.depth - 1; true; height--) {
    const at = ENTRY_AT(stage, table, va, height);
    if (guest && stage2(lane, guest, at, false) == NOWHERE) return NOWHERE;
    const entry = load<u64>(entryAt(lane, tree, at));
    refs++;
    if (!isPresent(stage, entry, height)) return fault(CLASS_STAGE1, TRANSLATION_FAULT, LEVEL_AT(stage, height));
    table = addressOf(stage, entry, height);
    if (height) continue;
    if (!isWritable(stage, entry)) return fault(CLASS_STAGE1, PERMISSION_FAULT, 3);
    const out = table | INSIDE(lane, va);
    return guest ? stage2(lane, guest, out, true) : out;
  }
}

/** The tables that the unit's buffer is translated by. */
function ownerOf(lane: Lane, v: Vcpu): Tree {
  return copies(SPE(lane)) ? SPE(lane).host : v.guest.stage1;
}

/** Where a write at `va` goes; NOWHERE: `event` says why not. */
function translate(lane: Lane, v: Vcpu, va: u64): u64 {
  const number = (va >> lane.stage1.pageShift) + 1;
  if (v.entryVa == number) {
    if (lane.checks) checkEntry(lane, v, va);
    return v.entryFrame | INSIDE(lane, va);
  }
  refs = 0;
  const pa = walk(lane, ownerOf(lane, v), va);
  v.faultIpa = faultIpa;
  ADD(BLOCK(lane, v.cpu), Stat.SpeUnit_Walks, 1);
  ADD(BLOCK(lane, v.cpu), Stat.SpeUnit_Refs, refs);
  if (pa == NOWHERE) return NOWHERE;
  v.entryVa = number;
  v.entryFrame = pa - INSIDE(lane, va);
  return pa;
}

/** G1: the tables still say what the unit knows. */
function checkEntry(lane: Lane, v: Vcpu, va: u64): void {
  silent = true;
  const now = walk(lane, ownerOf(lane, v), va);
  silent = false;
  if (now != (v.entryFrame | INSIDE(lane, va))) violated(lane, Check.Stale, va, v.cpu);
}

/** Operations that fit in cycles of a CPU, rounded up. */
export function operationsIn(lane: Lane, cycles: u64): u64 {
  const each = max<u64>(PARAMETER(SPE(lane), SpeParameter.CyclesPerOp), 1);
  return ((cycles << 8) + each - 1) / each;
}

/** Cycles of operations. */
export function cyclesOf(lane: Lane, operations: u64): u64 {
  return (operations * PARAMETER(SPE(lane), SpeParameter.CyclesPerOp)) >> 8;
}

/** The unit stops: its status, and when the interrupt comes. */
function stop(lane: Lane, v: Vcpu, status: u64): void {
  v.hwStatus |= status | SERVICE;
  v.on = false;
  v.irqAt = OPERATIONS(v.cpu).now + operationsIn(lane, COST(lane, Cost.SpeIrq));
}

/** A record is lost, which the unit reports when it is cleared. */
export function loseSample(lane: Lane, v: Vcpu): void {
  ADD(BLOCK(lane, v.cpu), Stat.SpeLost, 1);
  v.unreported++;
  v.hwStatus |= DATA_LOSS;
}

/** Writes the record that is not written yet. */
function writePending(lane: Lane, v: Vcpu): void {
  if (!v.hasPending) return;
  v.hasPending = false;
  const block = BLOCK(lane, v.cpu);
  const pa = translate(lane, v, v.hwPointer);
  if (pa == NOWHERE) {
    const isStage2 = classOf(event) == CLASS_STAGE2;
    shadowDrop(v, <u32>RECORD_BYTES);
    loseSample(lane, v);
    stop(lane, v, event);
    ADD(block, isStage2 ? Stat.SpeStage2_Events : Stat.SpeStage1_Events, 1);
    // F-I4
    if (isStage2) violated(lane, Check.SpeStage2, v.hwPointer, v.cpu);
    return;
  }
  // A stale translation may lead to a frame that is nobody's.
  const page = pageAt(lane, pa);
  if (page) memory.copy(page.bytes + <usize>INSIDE(lane, pa), v.pending, <usize>RECORD_BYTES);
  v.hwPointer += RECORD_BYTES;
  ADD(block, Stat.SpeSamples, 1);
  ADD(block, Stat.SpeBytes, RECORD_BYTES);
  if (PARAMETER(SPE(lane), SpeParameter.Keep)) {
    append(SPE_CPU(SPE(lane), v.cpu).emitted, v.pending, <u32>RECORD_BYTES);
  }
}

/** Makes room for a new record: the one before is written. False: the unit has stopped, or does so because its buffer is full. */
export function acceptRecord(lane: Lane, v: Vcpu): bool {
  writePending(lane, v);
  if (!v.on) return false;
  if (v.hwPointer + RECORD_BYTES > v.hwLimit) {
    ADD(BLOCK(lane, v.cpu), Stat.SpeFull, 1);
    stop(lane, v, managementEvent(CLASS_BUFFER, BUFFER_FULL));
    return false;
  }
  // F-I3
  const own = v.hwPointer >= v.kernelBase && v.hwPointer <= v.kernelBase + v.kernelBytes;
  if (copies(SPE(lane)) && !own) violated(lane, Check.SpeRegister, v.hwPointer, v.cpu);
  return true;
}

/** The record at `pending` is complete. */
export function recordIsComplete(v: Vcpu): void {
  v.hasPending = true;
  shadowAppend(v, v.pending, <u32>RECORD_BYTES);
}

/** PSB CSYNC; DSB; ISB: what is in flight is written. */
export function drainUnit(lane: Lane, v: Vcpu): void {
  if (v.cpu < 0) return;
  // Nothing is in flight behind it; on another CPU the time before means nothing.
  v.busyUntil = 0;
  if (HAS_FAULT(KERNEL(lane), Fault.SpeSkipDrain)) {
    v.hasPending = false;
    return;
  }
  barriers(lane, v.cpu, 1, 2);
  ADD(BLOCK(lane, v.cpu), Stat.SpeDrains, 1);
  writePending(lane, v);
}

/** The next interval: the period, off by up to the jitter. */
export function interval(lane: Lane, v: Vcpu): u64 {
  const spe = SPE(lane);
  const jitter = PARAMETER(spe, SpeParameter.Jitter);
  const period = PARAMETER(spe, SpeParameter.Period);
  if (!jitter) return period;
  v.random = nextRandom(v.random);
  return max<u64>(period - min(jitter, period) + ((v.random >> 33) % (2 * jitter + 1)), 1);
}

/** The interval counter runs from now on, with what was left of it. */
export function startCounting(v: Vcpu): void {
  v.sampleAt = OPERATIONS(v.cpu).now + v.left;
}

/** The interval counter stops. */
export function stopCounting(v: Vcpu): void {
  if (v.sampleAt == NEVER) return;
  v.left = v.sampleAt - OPERATIONS(v.cpu).now;
  v.sampleAt = NEVER;
}
