// KVM's part, strategy by strategy (docs/spe.md): the guest's accesses to the buffer's registers, entries and exits, and the interrupt of the unit. What software
// spends while the guest believes that it is sampled is time for which samples are missed.

import { Check, Cost, Fault, Lane } from '../layout';
import { ADD, Stat } from '../stats';
import { HAS_FAULT, KERNEL, violated } from '../systems/kernel';
import { BLOCK, COST, count, spend } from '../systems/operations';
import { deliver, dropBuffer, openBuffer, recorded } from './copy';
import { mapBuffer } from './guest';
import { OPERATIONS } from './operations';
import { INSIDE } from './pages';
import { pinBuffer, resolveFault, unpinBuffer } from './pins';
import { readBuffer, seesOwner, showBuffer } from './reader';
import { copies, isStrategy, NEVER, PARAMETER, SPE, SPE_CPU, SpeParameter, SpeStrategy, traps, Vcpu } from './records';
import {
  BUFFER_FULL,
  CLASS_BUFFER,
  CLASS_STAGE1,
  CLASS_STAGE2,
  classOf,
  COLLISION,
  DATA_LOSS,
  faultCode,
  managementEvent,
  RECORD_BYTES,
  TRANSLATION_FAULT,
} from './registers';
import { cyclesOf, drainUnit, interval, startCounting, stopCounting } from './unit';
import { shadowClear, shadowDrop } from './stream';

/** Software's cycles of a CPU so far. */
function spent(lane: Lane, v: Vcpu): u64 {
  return load<u64>(BLOCK(lane, v.cpu) + Stat.CyclesMaintenance * 8);
}

/** Cycles during which the guest would have been sampled: samples that no row stands for. */
function miss(lane: Lane, v: Vcpu, cycles: u64): void {
  const spe = SPE(lane);
  const period = PARAMETER(spe, SpeParameter.Period);
  v.missedOps += (cycles << 8) / max<u64>(PARAMETER(spe, SpeParameter.CyclesPerOp), 1);
  ADD(BLOCK(lane, v.cpu), Stat.SpeMissed, v.missedOps / period);
  v.missedOps %= period;
}

/** The guest accesses a register of the buffer. */
function access(lane: Lane, v: Vcpu, register: Stat): void {
  if (!traps(SPE(lane))) return;
  ADD(BLOCK(lane, v.cpu), register, 1);
  count(lane, v.cpu, Stat.MaintenanceTrap, 1, Cost.Exit);
}

/** The guest's driver looks whether it may program the buffer: PMBIDR, which traps where KVM has something to hide. */
function identify(lane: Lane, v: Vcpu): void {
  const spe = SPE(lane);
  if (copies(spe) && PARAMETER(spe, SpeParameter.FineTraps)) access(lane, v, Stat.SpeTrapPmbidr);
  if (seesOwner(lane, v)) ADD(BLOCK(lane, v.cpu), Stat.SpeOwner_Seen, 1);
}

/** spe_program: a buffer [va, limit); the first time the guest's kernel takes memory for it. One that its memory has no room for is none. */
export function program(lane: Lane, v: Vcpu, va: u64, limit: u64, filter: u32): void {
  if (v.enabled) {
    disable(lane, v);
    readBuffer(lane, v, v.cpu);
  }
  if (v.begun && copies(SPE(lane))) dropBuffer(lane, v);
  v.begun = true;
  // The driver's pointer is one that a record can begin at: no record crosses a page.
  v.base = (va + RECORD_BYTES - 1) & ~(RECORD_BYTES - 1);
  const isBuffer = v.base >= va && limit > v.base && limit - v.base <= PARAMETER(SPE(lane), SpeParameter.GuestBytes);
  v.limit = isBuffer ? max(limit - INSIDE(lane, limit), v.base) : v.base;
  v.pointer = v.base;
  v.filter = filter ? filter : <u32>PARAMETER(SPE(lane), SpeParameter.Filter);
  mapBuffer(lane, v.guest, v.base, v.limit, v.cpu);
  identify(lane, v);
  access(lane, v, Stat.SpeTrapPmbptr);
  access(lane, v, Stat.SpeTrapPmblimitr);
  rewind(v);
  v.status = 0;
  v.unreported = 0;
  if (copies(SPE(lane)) && v.limit > v.base) openBuffer(lane, v, v.cpu);
}

/** What the guest has been shown and has read begins at its pointer. */
function rewind(v: Vcpu): void {
  v.checked = v.pointer;
  v.read = v.pointer;
  v.lastPointer = v.pointer;
  shadowClear(v);
}

/** spe_enable: PMBLIMITR.E. */
export function enable(lane: Lane, v: Vcpu): void {
  if (v.enabled || !v.begun || v.limit <= v.base) return;
  const before = spent(lane, v);
  access(lane, v, Stat.SpeTrapPmblimitr);
  v.enabled = true;
  v.hwStatus = 0;
  v.left = interval(lane, v);
  if (isStrategy(SPE(lane), SpeStrategy.PinBuffer) && !pinBuffer(lane, v, v.cpu)) {
    v.status |= managementEvent(CLASS_STAGE1, faultCode(TRANSLATION_FAULT, 3));
    handle(lane, v);
  } else {
    startUnit(lane, v);
    startCounting(v);
  }
  miss(lane, v, spent(lane, v) - before);
}

/** The unit's registers are what they must be on this CPU. */
function startUnit(lane: Lane, v: Vcpu): void {
  v.on = true;
  v.hwStatus = 0;
  v.entryVa = 0;
  const own = copies(SPE(lane)) && !HAS_FAULT(KERNEL(lane), Fault.SpeLeakPointer);
  v.hwPointer = own ? v.kernelBase : v.pointer;
  v.hwLimit = own ? v.kernelBase + min(v.kernelBytes, v.limit - v.pointer) : v.limit;
}

/** What the unit has written is the guest's, and so is the pointer. `ends`: the guest looks at all of it next. */
function collect(lane: Lane, v: Vcpu, ends: bool): void {
  const spe = SPE(lane);
  if (!copies(spe)) {
    v.pointer = v.hwPointer;
    v.status |= v.hwStatus;
    return;
  }
  const lost = deliver(lane, v, ends && isStrategy(spe, SpeStrategy.CopyOnRead), v.cpu);
  if (v.hwStatus & DATA_LOSS && !HAS_FAULT(KERNEL(lane), Fault.SpeHideLoss)) v.status |= DATA_LOSS;
  v.status |= v.hwStatus & COLLISION;
  if (!lost) return;
  // Nothing that comes behind a hole is shown.
  shadowDrop(v, <u32>lost);
  ADD(BLOCK(lane, v.cpu), Stat.SpeLost, lost / RECORD_BYTES);
  ADD(BLOCK(lane, v.cpu), Stat.SpeStage1_Events, 1);
  v.unreported += lost / RECORD_BYTES;
  v.status |= DATA_LOSS | managementEvent(CLASS_STAGE1, faultCode(TRANSLATION_FAULT, 3));
}

/** The vCPU leaves the unit: nothing is in flight, an interrupt that is due is taken. */
function quiesce(lane: Lane, v: Vcpu): void {
  stopCounting(v);
  drainUnit(lane, v);
  if (v.irqAt != NEVER) takeInterrupt(lane, v);
  stopCounting(v);
  v.on = false;
}

/** spe_disable, and the stop at a context switch: PMSCR, PSB CSYNC, PMBLIMITR. False: a fault has ended the profiling before. */
export function disable(lane: Lane, v: Vcpu): bool {
  if (!v.enabled) return false;
  quiesce(lane, v);
  if (!v.enabled) return false;
  access(lane, v, Stat.SpeTrapPmblimitr);
  end(lane, v);
  showBuffer(lane, v);
  return true;
}

/** The buffer is no longer enabled. */
function end(lane: Lane, v: Vcpu): void {
  collect(lane, v, true);
  v.enabled = false;
  stopCounting(v);
  v.on = false;
  if (isStrategy(SPE(lane), SpeStrategy.PinBuffer)) unpinBuffer(lane, v, v.cpu);
}

/** spe_read_ptr. What was recorded before the read is in memory then. */
export function readPointer(lane: Lane, v: Vcpu): void {
  if (!v.enabled) return;
  identify(lane, v);
  stopCounting(v);
  drainUnit(lane, v);
  if (v.irqAt != NEVER) takeInterrupt(lane, v);
  access(lane, v, Stat.SpeTrapPmbptr);
  if (!v.enabled) return;
  stopCounting(v);
  collect(lane, v, false);
  showBuffer(lane, v);
  resume(lane, v);
}

/** Sampling goes on behind what was collected; a guest without room is told. */
function resume(lane: Lane, v: Vcpu): void {
  if (classOf(v.status) == CLASS_STAGE1) handle(lane, v);
  else if (copies(SPE(lane)) && v.limit - v.pointer < RECORD_BYTES) {
    v.status |= managementEvent(CLASS_BUFFER, BUFFER_FULL);
    handle(lane, v);
  }
  if (!v.enabled) return;
  startUnit(lane, v);
  startCounting(v);
}

/** The unit's interrupt: host, and, where there is something that the guest must do, guest. */
export function takeInterrupt(lane: Lane, v: Vcpu): void {
  const spe = SPE(lane);
  const before = spent(lane, v);
  const status = v.hwStatus;
  const now = OPERATIONS(v.cpu).now;
  // A stop does not wait for it.
  const early = v.irqAt > now ? cyclesOf(lane, v.irqAt - now) : 0;
  v.irqAt = NEVER;
  stopCounting(v);
  ADD(BLOCK(lane, v.cpu), Stat.SpeIrqs, 1);
  count(lane, v.cpu, Stat.MaintenanceTrap, 1, Cost.Exit);
  if (classOf(status) == CLASS_STAGE2 && !HAS_FAULT(KERNEL(lane), Fault.SpeForwardFault)) {
    resolveFault(lane, v, isStrategy(spe, SpeStrategy.PinBuffer), v.cpu);
    // The guest learns that something was lost, and no more.
    v.pointer = v.hwPointer;
    v.status |= DATA_LOSS;
  } else if (copies(spe)) {
    const fills = v.limit - v.pointer - recorded(v) < RECORD_BYTES;
    collect(lane, v, fills);
  } else {
    collect(lane, v, true);
    handle(lane, v);
  }
  if (v.enabled) resume(lane, v);
  const cycles = spent(lane, v) - before;
  const waited = COST(lane, Cost.SpeIrq) - min<u64>(early, COST(lane, Cost.SpeIrq));
  ADD(BLOCK(lane, v.cpu), Stat.SpeBlackout, waited + cycles);
  miss(lane, v, cycles);
}

/** A virtual interrupt: the guest's driver reads status and pointer, takes what there is, and begins its buffer anew; a fault ends its profiling. */
function handle(lane: Lane, v: Vcpu): void {
  // F-I7
  if (classOf(v.status) == CLASS_STAGE2) violated(lane, Check.SpeVisible, v.hwPointer, v.cpu);
  ADD(BLOCK(lane, v.cpu), Stat.SpeGuest_Irqs, 1);
  spend(lane, v.cpu, COST(lane, Cost.SpeHandler));
  access(lane, v, Stat.SpeTrapPmbsr);
  access(lane, v, Stat.SpeTrapPmbptr);
  showBuffer(lane, v);
  readBuffer(lane, v, v.cpu);
  const isFatal = classOf(v.status) != CLASS_BUFFER;
  v.status = 0;
  v.unreported = 0;
  access(lane, v, Stat.SpeTrapPmbsr);
  if (isFatal) {
    v.enabled = false;
    v.on = false;
    v.hwStatus = 0;
    if (isStrategy(SPE(lane), SpeStrategy.PinBuffer)) unpinBuffer(lane, v, v.cpu);
  }
  beginAnew(lane, v);
  access(lane, v, Stat.SpeTrapPmbptr);
  access(lane, v, Stat.SpeTrapPmblimitr);
}

/** The guest's buffer is empty again. */
function beginAnew(lane: Lane, v: Vcpu): void {
  if (copies(SPE(lane))) dropBuffer(lane, v);
  v.pointer = v.base;
  rewind(v);
}

/** spe_irq: the guest's driver looks at its buffer now, as behind a full one. */
export function interruptGuest(lane: Lane, v: Vcpu): void {
  if (!v.enabled) return;
  quiesce(lane, v);
  if (!v.enabled) return;
  collect(lane, v, true);
  handle(lane, v);
  if (!v.enabled) return;
  startUnit(lane, v);
  startCounting(v);
}

/** A vCPU comes onto a CPU: vcpu_load, vm_entry. Whoever was there leaves. */
export function enter(lane: Lane, v: Vcpu, cpu: u32): void {
  const spe = SPE(lane);
  const there = SPE_CPU(spe, cpu).vcpu;
  if (there == v) return;
  if (there) leave(lane, there);
  if (v.cpu >= 0) leave(lane, v);
  SPE_CPU(spe, cpu).vcpu = v;
  v.cpu = cpu;
  v.lastCpu = cpu;
  v.switchAt = nextSwitch(lane, v);
  if (!v.enabled) return;
  v.on = true;
  v.entryVa = 0;
  startCounting(v);
}

/** A vCPU leaves its CPU: vm_exit, vcpu_put. Its registers are saved when the unit has written everything. */
export function leave(lane: Lane, v: Vcpu): void {
  if (v.cpu < 0) return;
  if (v.enabled) quiesce(lane, v);
  SPE_CPU(SPE(lane), v.cpu).vcpu = null;
  v.cpu = -1;
  v.switchAt = NEVER;
}

function nextSwitch(lane: Lane, v: Vcpu): u64 {
  const every = PARAMETER(SPE(lane), SpeParameter.SwitchOps);
  return every ? OPERATIONS(v.cpu).now + every : NEVER;
}

/** A context switch in the guest: perf that follows a task stops the buffer and starts it again. */
export function switchTask(lane: Lane, v: Vcpu): void {
  v.switchAt = nextSwitch(lane, v);
  if (!v.enabled || !PARAMETER(SPE(lane), SpeParameter.Toggles)) return;
  const left = v.sampleAt - OPERATIONS(v.cpu).now;
  if (!disable(lane, v)) return;
  if (v.pointer + RECORD_BYTES > v.limit) {
    readBuffer(lane, v, v.cpu);
    beginAnew(lane, v);
  }
  access(lane, v, Stat.SpeTrapPmbptr);
  enable(lane, v);
  if (!v.enabled) return;
  // The interval counter is saved and restored.
  v.left = left;
  startCounting(v);
}
