// What a lane with SPE in KVM guests keeps (docs/spe.md): guests with their memory and two stages of tables, vCPUs with the registers that the guest
// wrote and those that the unit has, and the parameters that the host sets.

import { Lane, PageMap, Stage } from '../layout';

/** Who owns the buffer that the unit writes to, and what is pinned for it. */
export enum SpeStrategy {
  PinVm,
  PinBuffer,
  Copy,
  CopyOnRead,
}

/** Numbers that the host sets. Flags are 0 or 1. */
export enum SpeParameter {
  Strategy,
  /** Operations from one sample to the next, how far that is off by chance, and the seed of the chance. */
  Period,
  Jitter,
  Seed,
  /** Bytes of the buffer that the system programs itself; the most of KVM's own buffer; of the guest's memory. */
  BufferBytes,
  KernelBytes,
  GuestBytes,
  /** The node of KVM's own buffer, plus one; 0: that of the vCPU. */
  KernelNode,
  /** Share of the recorded pages that the guest reads, in 65536ths. */
  ShareRead,
  /** Operations between context switches of the guest; 0: those of the trace. */
  SwitchOps,
  /** Cycles of an operation, times 256, and of a hit in the second-level TLB. */
  CyclesPerOp,
  TlbCycles,
  /** Exception levels that are sampled where the guest does not say: SAMPLE_EL0, SAMPLE_EL1. */
  Filter,
  /** Flag: the CPU has erratum 1978083, so KVM looks at pointers before the unit does. */
  Erratum,
  /** Flag: reads of PMBIDR can be trapped (FEAT_FGT). */
  FineTraps,
  /** Flag: the unit sets access flags (PMBIDR.F). */
  HardwareAf,
  /** Flag: every context switch stops and starts the buffer. */
  Toggles,
  /** Flag: the system programs a buffer where the trace does not. */
  Always,
  /** Flag: streams are kept for the host. */
  Keep,
  Count,
}

/** A page of a guest's memory, or of KVM's own buffers: its bytes are real. */
@unmanaged
export class Page {
  next: Page | null;
  /** Its intermediate address; of KVM's own, none. */
  ipa: u64;
  /** Where the host has it, plus one; 0: reclaimed. */
  frame: u64;
  node: u32;
  pins: u32;
  bytes: usize;
  /** Bytes [keptFrom, keptTo) of it that KVM has and the guest has not read, in a page of their own. */
  kept: Page | null;
  keptFrom: u32;
  keptTo: u32;
}

/** One set of tables: a root (plus one), a format, and whose memory they are in: a guest's, or the host's. */
@unmanaged
export class Tree {
  stage: Stage;
  root: u64;
  guest: Guest | null;
}

/** A virtual machine. */
@unmanaged
export class Guest {
  next: Guest | null;
  number: u32;
  live: bool;
  /** Tells this machine's pages from those of another that had the number before. */
  serial: u64;
  /** The guest kernel's own tables, and stage 2. */
  stage1: Tree;
  stage2: Tree;
  /** Stage-2 tables in use. */
  tables: u64;
  nextTable: u64;
  nextPage: u64;
  /** Memory that is pinned as a whole, in pages. */
  pinned: u64;
}

/** No time. */
export const NEVER: u64 = u64.MAX_VALUE;

/** A virtual CPU. Times are operations of the CPU that it is on. */
@unmanaged
export class Vcpu {
  next: Vcpu | null;
  guest: Guest;
  number: u32;
  /** The CPU that it is on; -1: none. */
  cpu: i32;
  /** The one that it was on last. */
  lastCpu: u32;
  random: u64;

  // The guest's view: PMBPTR, PMBLIMITR, PMBSR, where the buffer begins
  base: u64;
  pointer: u64;
  limit: u64;
  enabled: bool;
  status: u64;
  filter: u32;
  /** The guest or the system has programmed a buffer. */
  begun: bool;

  // The unit: whether it writes, where, what stopped it, the record that it has not written yet
  on: bool;
  hwPointer: u64;
  hwLimit: u64;
  hwStatus: u64;
  hasPending: bool;
  pending: usize;
  /** Its translation: the page's address plus one, and the frame. */
  entryVa: u64;
  entryFrame: u64;
  /** The intermediate address at which stage 2 faulted. */
  faultIpa: u64;

  sampleAt: u64;
  irqAt: u64;
  switchAt: u64;
  /** Operations to the next sample while the vCPU is on no CPU. */
  left: u64;
  /** Until when the sample before is in flight. */
  busyUntil: u64;
  /** Operations of software's time for which no sample is counted yet. */
  missedOps: u64;

  // KVM's own buffer: its address in the host's tables, and bytes
  kernelBase: u64;
  kernelBytes: u64;

  /** Page[] pinned for the buffer: u32 addresses. */
  pins: usize;
  pinCount: u32;

  // The emitted records that the guest has not been shown: shadow[shadowFrom, shadowTo)
  shadow: usize;
  shadowRoom: u32;
  shadowFrom: u32;
  shadowTo: u32;
  /** Up to where the guest's buffer was compared, and read. */
  checked: u64;
  read: u64;
  shareLeft: u32;
  lastPointer: u64;
  /** Records that were lost or collided since the guest cleared PMBSR. */
  unreported: u64;
}

/** Bytes for the host: what a CPU's unit has written, or its guest has read. */
@unmanaged
export class Stream {
  bytes: usize;
  length: u32;
  room: u32;
}

/** What a physical CPU has. */
@unmanaged
export class SpeCpu {
  vcpu: Vcpu | null;
  emitted: Stream;
  read: Stream;
}


@unmanaged
export class Spe {
  /** u64[SpeParameter.Count] */
  parameters: usize;
  guests: Guest | null;
  guestCount: u64;
  vcpus: Vcpu | null;
  /** SpeCpu[cpus] */
  cpus: usize;
  /** The trace programs buffers itself. */
  traced: bool;
  /** The host kernel's tables, for KVM's own buffers, and the next address there. */
  host: Tree;
  nextKernel: u64;
  /** Pages by intermediate address (context: serial of the guest) and by frame. */
  byIpa: PageMap;
  byFrame: PageMap;
  freePages: Page | null;
  /** Pages that are pinned, KVM's own ones, and the most of each. */
  pinned: u64;
  mostPinned: u64;
  kernel: u64;
  mostKernel: u64;
  /** The last-level table that software walked through last, plus one. */
  softTable: u64;
  /** Counters of the CPU before the row in work: u64[Stat.Count]. */
  before: usize;
}

// @ts-ignore: decorator
@inline
export function SPE(lane: Lane): Spe {
  return changetype<Spe>(lane.spe);
}

// @ts-ignore: decorator
@inline
export function SPE_CPU(spe: Spe, cpu: u32): SpeCpu {
  return changetype<SpeCpu>(spe.cpus + cpu * offsetof<SpeCpu>());
}

// @ts-ignore: decorator
@inline
export function PARAMETER(spe: Spe, parameter: SpeParameter): u64 {
  return load<u64>(spe.parameters + parameter * 8);
}

/** The buffer that the unit writes to is KVM's own. */
export function copies(spe: Spe): bool {
  return PARAMETER(spe, SpeParameter.Strategy) >= <u64>SpeStrategy.Copy;
}

export function isStrategy(spe: Spe, strategy: SpeStrategy): bool {
  return PARAMETER(spe, SpeParameter.Strategy) == <u64>strategy;
}

/** The guest's accesses to the buffer's registers trap. */
export function traps(spe: Spe): bool {
  return !isStrategy(spe, SpeStrategy.PinVm) || PARAMETER(spe, SpeParameter.Erratum) != 0;
}
