// What the simulation of guests' stage-2 faults keeps (docs/stage2faults.md): guests with their tables and mmu_lock, and a walker per CPU: the vCPU
// that is loaded there, its clock, the operation in work and where in it the walker is. Every step of a walker is one load, CAS, store, TLBI or
// lock operation.

import { Lane, PageMap, Stage } from '../layout';

/** Where a walker is: what its next step does. */
export enum Step {
  Idle,
  // The guest's access and a fault
  Access,
  HardwareWalk,
  Fault,
  Pfn,
  Lock,
  Enter,
  Walk,
  Break,
  Make,
  FreeChild,
  Relax,
  RelaxFlush,
  Young,
  Done,
  Again,
  Exit,
  Unlock,
  // TLB maintenance
  TlbiIssue,
  TlbiComplete,
  // Freeing after all CPUs have answered an interrupt
  Interrupt,
  FreeAnswered,
  // Operations on ranges
  RangeBegin,
  RangeEnter,
  RangeWalk,
  RangeStore,
  Prune,
  PruneFree,
  RangeUnlock,
  RangeFlush,
  RangeEnd,
}

/** What a software walk is for. */
export enum Action {
  Map,
  Relax,
  Young,
}

/** How translations leave the TLBs. */
export enum Flush {
  /** IPAS2E1IS or its range form, then VMALLE1IS. */
  Ipa,
  Range,
  /** VMALLS12E1IS. */
  All,
}

export enum Hold {
  None,
  Read,
  Write,
}

/** Classes of faults, as in the trace. */
export const TRANSLATION: u32 = 0;
export const PERMISSION: u32 = 1;
export const ACCESS_FLAG: u32 = 2;

/** A virtual machine. */
@unmanaged
export class Guest {
  next: Guest | null;
  vm: u32;
  live: bool;
  stage: Stage;
  root: u64;
  rootPages: u32;
  /** mmu_lock: readers, a writer, and who waits, first come first served. */
  readers: u32;
  writing: bool;
  firstWaiting: Walker | null;
  lastWaiting: Walker | null;
  /** The CPU that wrote the lock's line last, plus one, and when the line is free again. */
  lineOwner: u32;
  lineFree: u64;
  /** mmu_invalidate_seq, and notifiers that have begun. */
  sequence: u64;
  invalidating: u32;
  /** How often the kernel moved pages, by the sizes of leaves (guest.ts). */
  moves: PageMap;
  /** The CPUs that have run it (domain.ts). */
  ran: usize;
  /** u64[cpus]: of its vCPUs the one that was loaded last on the CPU, plus one; 0: none was. */
  lastVcpu: usize;
  /** Maintenance windows that are open. */
  windows: u32;
}

/** A row of the trace. */
@unmanaged
export class Operation {
  next: Operation | null;
  kind: u32;
  guest: Guest;
  from: u64;
  last: u64;
  /** Of a fault: log2 of the bytes of each mapping, and its class; of vcpu_load: the vCPU. */
  shift: u32;
  faultClass: u32;
  vcpu: u32;
  record: u64;
}

export const TLB_ENTRIES: u32 = 8;
/** No table: 0 is the address of one. */
export const NO_TABLE: u64 = u64.MAX_VALUE;
/** Pages that a vCPU has at hand: the most levels below the root. */
export const MOST_SPARES: u32 = 4;
export const MOST_HEIGHTS: u32 = 5;

/** What a vCPU knows of a page: a combined entry, or one of stage 2 only. */
@unmanaged
export class Known {
  /** The guest's number plus one; 0: free. */
  vm: u32;
  shift: u32;
  ipa: u64;
  /** The leaf that it was built from. */
  leaf: u64;
}


@unmanaged
export class Walker {
  cpu: u32;
  clock: u64;
  random: u64;
  first: Operation | null;
  last: Operation | null;
  /** The operation in work; null: none. */
  operation: Operation | null;
  guest: Guest;
  step: Step;
  ipa: u64;
  // The fault
  faultClass: u32;
  faultHeight: u32;
  tries: u32;
  sequence: u64;
  pa: u64;
  target: u32;
  action: Action;
  /** Time that the fault still spends in its critical section. */
  holdLeft: u64;
  // The walk: the table and what it was when the walker found it, the entry's value, what replaces it, the table that it led to
  table: u64;
  generation: u32;
  height: u32;
  old: u64;
  fresh: u64;
  spare: u64;
  child: u64;
  /** The entry that the walker has made a table is read again before it goes down. */
  reloads: bool;
  /** A table that is freed when all CPUs have answered. */
  unlinked: u64;
  unlinkedHeight: u32;
  /** u64[MOST_HEIGHTS]: of a range, the tables on the way. */
  path: usize;
  /** Blocks are split, by an event or behind a write-protection. */
  splits: bool;
  /** When a valid entry was broken. */
  brokeAt: u64;
  isBroken: bool;
  hasWindow: bool;
  /** The window stays open behind the maintenance in work. */
  keepsWindow: bool;
  // Maintenance
  flush: Flush;
  phase: u32;
  flushFrom: u64;
  flushLast: u64;
  afterFlush: Step;
  flushUntil: u64;
  // Lock, RCU, interrupts
  hold: Hold;
  wanted: Hold;
  blocked: bool;
  requestedAt: u64;
  nextWaiting: Walker | null;
  /** When the walker entered its RCU section, by the domain's counter; 0: it is in none. */
  rcuSince: u64;
  interruptsOff: bool;
  interruptsOn: u64;
  /** u64[cpus]: of every CPU that must answer, its interruptsOn + 1 when it was asked; 0: it has answered. */
  awaited: usize;
  waitsForAnswers: bool;
  /** u64[MOST_SPARES]: the memcache. */
  spares: usize;
  spareCount: u32;
  /** Known[TLB_ENTRIES] each, and where the next one goes. */
  combined: usize;
  stage2: usize;
  nextCombined: u32;
  nextStage2: u32;
}

/** A detached subtree that waits for the end of a grace period. */
@unmanaged
export class Deferred {
  next: Deferred | null;
  guest: Guest;
  table: u64;
  height: u32;
  bytes: u64;
  since: u64;
  /** The domain's counter. */
  order: u64;
}


@unmanaged
export class Sim {
  lane: Lane;
  /** Walker[cpus]: u32 addresses. */
  walkers: usize;
  guests: Guest | null;
  freeOperations: Operation | null;
  pending: u32;
  /** u32[]: chunks of TableState by number of the table's page. */
  states: usize;
  /** Tables in use. */
  tables: u64;
  firstDeferred: Deferred | null;
  lastDeferred: Deferred | null;
  freeDeferred: Deferred | null;
  deferredBytes: u64;
  mostDeferred: u64;
  rcuCounter: u64;
  /** The random scheduler's state; 0: the lowest clock is next. */
  random: u64;
  /** The timeline (timeline.ts): cycles between two points, 0: there is none; when the next one is due, and the points. */
  spacing: u64;
  nextPoint: u64;
  points: usize;
  pointCount: u32;
}

// @ts-ignore: decorator
@inline
export function SIM(lane: Lane): Sim {
  return changetype<Sim>(lane.stage2Sim);
}

// @ts-ignore: decorator
@inline
export function WALKER(sim: Sim, cpu: u32): Walker {
  return changetype<Walker>(load<u32>(sim.walkers + cpu * 4));
}
