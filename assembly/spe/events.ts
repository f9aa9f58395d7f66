// SPE in KVM guests: set-up, and what events do (docs/spe.md, Events). The guest kernel's own part of an event comes before it.

import { Check, Lane } from '../layout';
import { allocate } from '../memory/arena';
import { newPageMap } from '../memory/pagemap';
import { Stat } from '../stats';
import { Event } from '../systems/events';
import { violated } from '../systems/kernel';
import { closeBuffer } from './copy';
import { destroyGuest, guestOf, ownBuffer, remapBuffer } from './guest';
import { disable, enable, enter, interruptGuest, leave, program, readPointer, switchTask } from './kvm';
import { initOperations, OPERATIONS } from './operations';
import { readBuffer } from './reader';
import { RECORD_BYTES } from './registers';
import { Guest, NEVER, PARAMETER, Spe, SPE, SPE_CPU, SpeCpu, SpeParameter, Stream, Tree, Vcpu } from './records';
import { hostEvent } from './stage2';
import { drainUnit } from './unit';

/** Gives a lane profiling. */
export function initSpe(lane: Lane): void {
  const spe = changetype<Spe>(allocate(offsetof<Spe>()));
  spe.parameters = allocate(SpeParameter.Count * 8);
  spe.cpus = allocate(lane.cpus * offsetof<SpeCpu>());
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    SPE_CPU(spe, cpu).emitted = changetype<Stream>(allocate(offsetof<Stream>()));
    SPE_CPU(spe, cpu).read = changetype<Stream>(allocate(offsetof<Stream>()));
  }
  spe.host = changetype<Tree>(allocate(offsetof<Tree>()));
  spe.byIpa = newPageMap();
  spe.byFrame = newPageMap();
  spe.before = allocate(Stat.Count * 8);
  lane.spe = changetype<usize>(spe);
  initOperations();
}

/** Sets a parameter; before the first row. */
export function setSpe(lane: Lane, parameter: SpeParameter, value: u64): void {
  store<u64>(SPE(lane).parameters + parameter * 8, value);
}

/** The virtual CPU of a guest, made where there is none. */
function vcpuOf(lane: Lane, guest: Guest, number: u32): Vcpu {
  const spe = SPE(lane);
  let v = spe.vcpus;
  while (v && !(v.guest == guest && v.number == number)) v = v.next;
  if (v) return v;
  v = changetype<Vcpu>(allocate(offsetof<Vcpu>()));
  v.guest = guest;
  v.number = number;
  v.cpu = -1;
  v.pending = allocate(<usize>RECORD_BYTES);
  // No two vCPUs of a machine draw the same.
  v.random = ((PARAMETER(spe, SpeParameter.Seed) << 20) + number + 1) * 0x9e37_79b9_7f4a_7c15;
  v.sampleAt = NEVER;
  v.irqAt = NEVER;
  v.switchAt = NEVER;
  v.next = spe.vcpus;
  spe.vcpus = v;
  return v;
}

/** The vCPU of a number, of the machine that the CPU runs: where it is not on the CPU it comes there. */
function vcpuOn(lane: Lane, cpu: u32, number: u32, vm: u32): Vcpu {
  const v = vcpuOf(lane, guestOf(lane, vm, cpu), number);
  enter(lane, v, cpu);
  return v;
}

/** The machine that runs on a CPU. */
function machineOn(lane: Lane, cpu: u32): u32 {
  const v = SPE_CPU(SPE(lane), cpu).vcpu;
  return v ? v.guest.number : 0;
}

/** Whether an event is one of profiling's own. */
function isOfSpe(kind: u32): bool {
  return kind >= <u32>Event.SpeProgram && kind <= <u32>Event.SpeIrq;
}

/** Expands one event, after the kernel's part. */
export function speEvent(lane: Lane, cpu: u32, kind: u32, va: u64, arg: u64, a: u64, b: u64): void {
  const spe = SPE(lane);
  if (isOfSpe(kind) && !spe.traced) {
    // The system's own profiling ends where the trace's begins.
    finishSpe(lane);
    spe.traced = true;
  }
  switch (kind) {
    case Event.VmCreate:
      guestOf(lane, <u32>va, cpu);
      break;
    case Event.VmDestroy:
      destroy(lane, guestOf(lane, <u32>va, cpu), cpu);
      break;
    case Event.VcpuLoad:
    case Event.VmEntry:
      vcpuOn(lane, cpu, <u32>va, <u32>arg);
      break;
    case Event.VcpuPut:
    case Event.VmExit:
      leave(lane, vcpuOf(lane, guestOf(lane, <u32>arg, cpu), <u32>va));
      break;
    case Event.CpuDown:
    case Event.CpuSuspend:
      if (SPE_CPU(spe, <u32>va).vcpu) leave(lane, SPE_CPU(spe, <u32>va).vcpu!);
      break;
    case Event.CtxSwitch:
      if (SPE_CPU(spe, cpu).vcpu) switchTask(lane, SPE_CPU(spe, cpu).vcpu!);
      break;
    case Event.Kmap:
    case Event.Kunmap:
      remapBuffer(lane, guestOf(lane, machineOn(lane, cpu), cpu), va, arg * a, kind == <u32>Event.Kunmap, cpu);
      break;
    case Event.Stage2Fault:
    case Event.Stage2Unmap:
    case Event.Stage2WriteProtect:
    case Event.Stage2Age:
      hostEvent(lane, cpu, kind, guestOf(lane, <u32>a, cpu), va, arg);
      break;
    case Event.SpeProgram:
      program(lane, vcpuOn(lane, cpu, <u32>a, machineOn(lane, cpu)), va, arg, <u32>b);
      break;
    default:
      if (isOfSpe(kind)) bufferEvent(lane, kind, vcpuOn(lane, cpu, <u32>va, <u32>arg));
  }
  for (let other: u32 = 0; other < lane.cpus; other++) OPERATIONS(other).stopAt = 0;
}

function bufferEvent(lane: Lane, kind: u32, v: Vcpu): void {
  switch (kind) {
    case Event.SpeEnable:
      enable(lane, v);
      break;
    case Event.SpeDisable:
      stopProfiling(lane, v);
      break;
    case Event.SpeReadPtr:
      readPointer(lane, v);
      break;
    case Event.SpeDrain:
      if (v.enabled) drainUnit(lane, v);
      break;
    case Event.SpeIrq:
      interruptGuest(lane, v);
  }
}

/** The guest stops, and reads what there is. */
function stopProfiling(lane: Lane, v: Vcpu): void {
  if (!v.enabled) return;
  disable(lane, v);
  readBuffer(lane, v, v.cpu);
}

/** vm_destroy: its vCPUs stop on this CPU; nothing of it stays. */
function destroy(lane: Lane, guest: Guest, cpu: u32): void {
  const spe = SPE(lane);
  const there = SPE_CPU(spe, cpu).vcpu;
  let before: Vcpu | null = null;
  let next = spe.vcpus;
  while (next) {
    const v = next;
    next = v.next;
    if (v.guest != guest) {
      before = v;
      continue;
    }
    if (v.enabled) enter(lane, v, v.cpu >= 0 ? v.cpu : cpu);
    stopProfiling(lane, v);
    leave(lane, v);
    if (v.kernelBytes) closeBuffer(lane, v);
    if (before) before.next = v.next;
    else spe.vcpus = v.next;
  }
  // Another machine's goes on.
  if (there && there.guest != guest) enter(lane, there, cpu);
  destroyGuest(lane, guest, cpu);
  // G6
  if (guest.tables) violated(lane, Check.Accounting, 0, cpu);
  // F-I5
  let other = spe.guests;
  while (other && !other.live) other = other.next;
  if (!other && spe.pinned) violated(lane, Check.SpePins, 0, cpu);
}

/** The system's own profiling of a CPU begins, where the trace says nothing. */
export function beginProfiling(lane: Lane, cpu: u32): void {
  const spe = SPE(lane);
  if (spe.traced || !PARAMETER(spe, SpeParameter.Always)) return;
  const known = SPE_CPU(spe, cpu).vcpu;
  const v = known ? known : vcpuOn(lane, cpu, cpu, 0);
  if (v.begun) return;
  const from = ownBuffer(lane, v);
  program(lane, v, from, from + PARAMETER(spe, SpeParameter.BufferBytes), 0);
  enable(lane, v);
}

/** The end of the trace: every guest stops. */
export function finishSpe(lane: Lane): void {
  let v = SPE(lane).vcpus;
  while (v) {
    if (v.enabled) enter(lane, v, v.lastCpu);
    stopProfiling(lane, v);
    v = v.next;
  }
}
