// The kernel of a lane whose events are expanded: its image, its address spaces and CPUs, and what was found wrong.

import { Check, Fault, Lane, Option, System } from '../layout';
import { allocate } from '../memory/arena';
import { Module } from './modules';

/** One address space that events have named. */
@unmanaged
export class Mm {
  next: Mm | null;
  number: u64;
  asid: u32;
  live: bool;
  /** u64[views]: with KPTI on x86 the second page of each root, the user's; 0: none. */
  userRoots: usize;
}

/** One part of the kernel image. */
@unmanaged
export class ImagePart {
  kind: u32;
  va: u64;
  bytes: u64;
  /** Bytes without what the part is padded with. */
  used: u64;
  /** Where the home node has it. */
  pa: u64;
}

/** The first violation of an invariant, and how many there were. */
@unmanaged
export class Violation {
  count: u64;
  /** Record of the event that broke it. */
  record: u64;
  va: u64;
  cpu: u32;
}

export const MAX_PARTS: u32 = 8;


@unmanaged
export class Kernel {
  system: System;
  /** Bits of Option and of Fault. */
  options: u32;
  faults: u32;
  /** The node that holds the image. */
  home: u32;
  /** log2 of the alignment of copies. */
  copyShift: u32;
  /** ImagePart[MAX_PARTS]. */
  parts: usize;
  partCount: u32;
  /** The image is mapped and copied. */
  booted: bool;
  /** The views lead to their own copies. */
  copied: bool;
  /** What booting did, for the boot event: stores of synchronisation and bytes copied. */
  bootStores: u64;
  bootBytes: u64;
  /** By CPU: the address space that it runs in (u64), its ASID (u32), whether it is online (u8). */
  cpuMm: usize;
  cpuAsid: usize;
  online: usize;
  mms: Mm | null;
  modules: Module | null;
  /** The content that the next patch writes. */
  token: u64;
  /** The event in work: its record and its CPU. */
  record: u64;
  cpu: u32;
  /** Violation[Check.Count]. */
  violations: usize;
  /** Translations in TLBs were changed: filters in front of the lane must forget. */
  changed: bool;
}

// @ts-ignore: decorator
@inline
export function KERNEL(lane: Lane): Kernel {
  return changetype<Kernel>(lane.kernel);
}

export function newKernel(lane: Lane, system: System, options: u32, faults: u32): Kernel {
  const kernel = changetype<Kernel>(allocate(offsetof<Kernel>()));
  kernel.system = system;
  kernel.options = options;
  kernel.faults = faults;
  kernel.copyShift = 21;
  kernel.parts = allocate(MAX_PARTS * offsetof<ImagePart>());
  kernel.cpuMm = allocate(lane.cpus * 8);
  // No address space until an event names one.
  memory.fill(kernel.cpuMm, 0xff, lane.cpus * 8);
  kernel.cpuAsid = allocate(lane.cpus * 4);
  kernel.online = allocate(lane.cpus);
  memory.fill(kernel.online, 1, lane.cpus);
  kernel.violations = allocate(Check.Count * offsetof<Violation>());
  return kernel;
}

// @ts-ignore: decorator
@inline
export function PART(kernel: Kernel, i: u32): ImagePart {
  return changetype<ImagePart>(kernel.parts + i * offsetof<ImagePart>());
}

// @ts-ignore: decorator
@inline
export function HAS_OPTION(kernel: Kernel, option: Option): bool {
  return (kernel.options & option) != 0;
}

// @ts-ignore: decorator
@inline
export function HAS_FAULT(kernel: Kernel, fault: Fault): bool {
  return (kernel.faults & fault) != 0;
}

/** The address space of a number; null when no event created it or it is gone. */
export function findMm(kernel: Kernel, number: u64): Mm | null {
  let mm = kernel.mms;
  while (mm && !(mm.live && mm.number == number)) mm = mm.next;
  return mm;
}

/** An address space of that number and ASID, made where there is none; records of those that are gone are used again. */
export function openMm(lane: Lane, number: u64, asid: u32): Mm {
  const kernel = KERNEL(lane);
  const known = findMm(kernel, number);
  if (known) return known;
  let mm = kernel.mms;
  while (mm && mm.live) mm = mm.next;
  if (!mm) {
    mm = changetype<Mm>(allocate(offsetof<Mm>()));
    mm.next = kernel.mms;
    mm.userRoots = allocate(lane.views * 8);
    kernel.mms = mm;
  }
  mm.number = number;
  mm.asid = asid;
  mm.live = true;
  return mm;
}

/** Notes that the event in work broke an invariant. */
export function violated(lane: Lane, check: Check, va: u64, cpu: u32): void {
  const kernel = KERNEL(lane);
  const violation = changetype<Violation>(kernel.violations + check * offsetof<Violation>());
  if (violation.count++) return;
  violation.record = kernel.record;
  violation.va = va;
  violation.cpu = cpu;
}

/** Whether any invariant was broken. */
export function hasViolations(lane: Lane): bool {
  for (let i = 0; i < Check.Count; i++) {
    if (changetype<Violation>(KERNEL(lane).violations + i * offsetof<Violation>()).count) return true;
  }
  return false;
}
