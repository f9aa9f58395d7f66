// The door of the simulation and its scheduler. Rows between two phase rows are taken up and then run concurrently, each CPU's in order: the walker with the lowest
// clock makes the next step (ties by number), or, to search interleavings, any one that can.

import { Check, Cost, Lane } from '../layout';
import { allocate } from '../memory/arena';
import { ADD, Stat } from '../stats';
import { Event } from '../systems/events';
import { KERNEL, violated } from '../systems/kernel';
import { BLOCK, COST } from '../tlb/maintenance';
import { faultStep } from './fault';
import { createGuest, destroyGuest, guestOf, lastAddress, loadVcpu, mostHeight } from './guest';
import { checkQuiet } from './invariants';
import { pass } from './lock';
import { nextRandom } from './random';
import { rangeStep } from './range';
import { ranOn } from './domain';
import { countDeferred, freeOldest, graceIsOver } from './rcu';
import { reach, reachEnd } from './timeline';
import {
  Guest,
  Known,
  MOST_HEIGHTS,
  MOST_SPARES,
  NO_TABLE,
  Operation,
  SIM,
  Sim,
  Step,
  TLB_ENTRIES,
  Walker,
  WALKER,
} from './records';
import { newStates } from './tables';
import { SHIFT_AT } from '../paging/stage';

/** Gives a lane the simulation. */
export function newSim(lane: Lane): void {
  const sim = changetype<Sim>(allocate(offsetof<Sim>()));
  sim.lane = lane;
  sim.walkers = allocate(lane.cpus * 4);
  sim.states = newStates();
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    const w = changetype<Walker>(allocate(offsetof<Walker>()));
    store<u32>(sim.walkers + cpu * 4, changetype<usize>(w));
    w.cpu = cpu;
    w.random = (<u64>(cpu + 1) * 0x9e37_79b9_7f4a_7c15) | 1;
    w.spare = NO_TABLE;
    w.child = NO_TABLE;
    w.unlinked = NO_TABLE;
    w.path = allocate(MOST_HEIGHTS * 8);
    w.spares = allocate(MOST_SPARES * 8);
    w.awaited = allocate(lane.cpus * 8);
    w.combined = allocate(TLB_ENTRIES * offsetof<Known>());
    w.stage2 = allocate(TLB_ENTRIES * offsetof<Known>());
  }
  lane.stage2Sim = changetype<usize>(sim);
}

/** From now on any walker that can may make the next step, as a generator with this seed chooses; clocks do not matter. */
export function setStage2Seed(lane: Lane, seed: u32): void {
  SIM(lane).random = ((<u64>seed + 1) * 0x9e37_79b9_7f4a_7c15) | 1;
}

/** Takes a row up, unless it is none of the simulation's. Guests are made and destroyed when all rows before have been run. */
export function stage2Event(
  lane: Lane,
  record: u64,
  cpu: u32,
  kind: u32,
  va: u64,
  arg: u64,
  a: u64,
  b: u64,
  c: u64,
): bool {
  const sim = SIM(lane);
  switch (kind) {
    case Event.VmCreate:
      runRows(lane);
      createGuest(sim, cpu, <u32>va, <u32>arg);
      return true;
    case Event.VmDestroy:
      runRows(lane);
      destroyGuest(sim, guestOf(sim, <u32>va));
      return true;
    case Event.VcpuLoad: {
      const operation = enqueue(sim, record, cpu, kind, guestOf(sim, <u32>arg), 0, 1);
      operation.vcpu = <u32>va;
      return true;
    }
    case Event.Stage2Fault: {
      const operation = enqueue(sim, record, cpu, kind, guestOf(sim, <u32>a), va, arg);
      operation.faultClass = <u32>b;
      operation.shift = leafShift(operation.guest, c ? c : arg);
      return true;
    }
    case Event.Stage2Unmap:
    case Event.Stage2WriteProtect:
    case Event.Stage2Age:
    case Event.Stage2Split:
      enqueue(sim, record, cpu, kind, guestOf(sim, <u32>a), va, arg);
      return true;
  }
  return kind > <u32>Event.VcpuLoad && kind <= <u32>Event.VmExit;
}

/** log2 of the largest leaf of no more than these bytes: a page, a block of 2M, with 4K pages one of 1G (else in the granule's own size). */
function leafShift(guest: Guest, bytes: u64): u32 {
  let height = min<u32>(guest.stage.depth - 1, mostHeight(guest.stage));
  while (height > 0 && (<u64>1) << SHIFT_AT(guest.stage, height) > bytes) height--;
  return SHIFT_AT(guest.stage, height);
}

function enqueue(sim: Sim, record: u64, cpu: u32, kind: u32, guest: Guest, from: u64, bytes: u64): Operation {
  let operation = sim.freeOperations;
  if (operation) sim.freeOperations = operation.next;
  else operation = changetype<Operation>(allocate(offsetof<Operation>()));
  operation.next = null;
  operation.record = record;
  operation.kind = kind;
  operation.guest = guest;
  operation.from = from;
  operation.last = from + max<u64>(min(bytes, u64.MAX_VALUE - from), 1) - 1;
  const w = WALKER(sim, cpu);
  if (w.last) w.last!.next = operation;
  else w.first = operation;
  w.last = operation;
  sim.pending++;
  return operation;
}

/** Runs the rows that were taken up; then all CPUs wait for the last one. */
export function runRows(lane: Lane): void {
  const sim = SIM(lane);
  if (!sim.pending) return;
  while (sim.pending) {
    const w = sim.random ? anyWalker(sim) : firstWalker(sim);
    if (!w) {
      // All wait for each other.
      violated(lane, Check.Livelock, 0, 0);
      return;
    }
    if (sim.random) {
      if (graceIsOver(sim, 0) && drawn(sim) & 3) freeOldest(sim, 0);
    } else {
      while (graceIsOver(sim, w.clock)) freeOldest(sim, w.clock);
      reach(sim, w.clock);
    }
    run(sim, w);
  }
  const latest = stage2Clock(lane);
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) WALKER(sim, cpu).clock = latest;
  if (lane.checks) checkQuiet(sim);
}

/** The clock of the CPU that is farthest; at a border the clock of all. */
export function stage2Clock(lane: Lane): u64 {
  let latest: u64 = 0;
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) latest = max(latest, WALKER(SIM(lane), cpu).clock);
  return latest;
}

/** The trace ends: rows are run, what waits is counted, and the timeline has its last point. */
export function endStage2(lane: Lane): void {
  runRows(lane);
  const clock = stage2Clock(lane);
  countDeferred(SIM(lane), clock);
  reachEnd(SIM(lane), clock);
}

function canRun(w: Walker): bool {
  return !w.blocked && (w.operation != null || w.first != null);
}

/** The walker with the lowest clock. */
function firstWalker(sim: Sim): Walker | null {
  let first: Walker | null = null;
  for (let cpu: u32 = 0; cpu < sim.lane.cpus; cpu++) {
    const w = WALKER(sim, cpu);
    if (canRun(w) && (!first || w.clock < first.clock)) first = w;
  }
  return first;
}

function drawn(sim: Sim): u64 {
  sim.random = nextRandom(sim.random);
  return (sim.random * 0x2545_f491_4f6c_dd1d) >> 33;
}

/** Any walker that can make a step. */
function anyWalker(sim: Sim): Walker | null {
  let n: u64 = 0;
  for (let cpu: u32 = 0; cpu < sim.lane.cpus; cpu++) if (canRun(WALKER(sim, cpu))) n++;
  if (!n) return null;
  let skip = drawn(sim) % n;
  for (let cpu: u32 = 0; cpu < sim.lane.cpus; cpu++) {
    const w = WALKER(sim, cpu);
    if (canRun(w) && !skip--) return w;
  }
  return null;
}

/** One step of a walker; one that has nothing in work takes its next row up. */
function run(sim: Sim, w: Walker): void {
  if (!w.operation) begin(sim, w);
  const kernel = KERNEL(sim.lane);
  kernel.record = w.operation!.record;
  kernel.cpu = w.cpu;
  if (w.step >= Step.RangeBegin) rangeStep(sim, w);
  else faultStep(sim, w);
  if (w.step == Step.Idle) finish(sim, w);
}

function begin(sim: Sim, w: Walker): void {
  const operation = w.first!;
  w.first = operation.next;
  if (!w.first) w.last = null;
  w.operation = operation;
  w.guest = operation.guest;
  w.ipa = operation.from;
  w.tries = 0;
  w.splits = operation.kind == <u32>Event.Stage2Split;
  const isFault = operation.kind == <u32>Event.Stage2Fault;
  w.step = isFault ? Step.Access : Step.RangeBegin;
  if (isFault || operation.kind == <u32>Event.VcpuLoad) ranOn(w.guest, w.cpu);
  if (operation.kind == <u32>Event.VcpuLoad) loadVcpu(sim, w, operation);
  else if (isFault) return;
  // No table has anything beyond the guest's addresses.
  else if (operation.from <= lastAddress(w.guest)) {
    operation.last = min(operation.last, lastAddress(w.guest));
    return;
  }
  w.step = Step.Idle;
}

function finish(sim: Sim, w: Walker): void {
  const operation = w.operation!;
  w.operation = null;
  operation.next = sim.freeOperations;
  sim.freeOperations = operation;
  sim.pending--;
}
