// Where the accesses of a drmemtrace happen, as its records tell it on the way: thread, address space, CPU, time, mode.
// It changes seldom, so whole runs of rows are filled with it at once.

import { MODE_KERNEL, MODE_USER } from '../../batch.js';
import { type Rows } from '../../rows.js';
import { type Threads } from '../../threads.js';
import { MARKER } from './records.js';

const FOLDED = 0x8000_0000;
/** Of a CPU_ID of Linux; the bits above are the node. */
const CPU_MASK = 0xfff;

/** Bits of a thread's or process's own number, below that of the workload in merged traces. */
const WORKLOAD = 2 ** 22;

/** A thread or process as a number of 32 bits: its own, or for one of merged workloads the two folded, with bit 31 set. */
export function shortId(low: number, high: number): number {
  if (high === 0 && low < FOLDED) return low;
  return (FOLDED | (low + Math.imul(high, WORKLOAD))) >>> 0;
}

/** The value of a CPU_ID that could not be found out, of a target of either width. */
export function isUnknownCpu(low: number, high: number): boolean {
  return low === 0xffff_ffff && (high === 0xffff_ffff || high === 0);
}

/** How CPUs are found. */
export interface CpuRule {
  /** Whether the file is that of one core, on which threads take turns; else every thread is on a CPU of its own. */
  oneCore: boolean;
  /** The core, where the file's name tells it. */
  core: number | null;
  /** Whether CPU_ID markers count. */
  recorded: boolean;
  /** Where there is no marker that counts. */
  threads: Threads;
}

export class Context {
  /** Whether some thread's CPU was unknown. */
  private guessedCpu = false;
  private folded = false;
  /** null until the file says. */
  tid: number | null = null;
  pid: number | null = null;
  /** null until a marker names it or a row needs it. */
  cpu: number | null;
  time = 0n;
  mode = MODE_USER;
  private inTrace = false;
  private hardwareEvents = 0;
  private readonly pidOf = new Map<number, number>();
  private readonly cpuOf = new Map<number, number>();
  /** The first row that is not filled yet. */
  private filled = 0;

  constructor(private readonly rule: CpuRule) {
    this.cpu = rule.core;
  }

  /** Fills the rows so far with what holds for them; to be called before anything changes. */
  fill(rows: Rows): void {
    const { filled: from } = this;
    const { count: end } = rows;
    if (from === end) return;
    rows.cpu.fill((this.cpu ??= this.guess()), from, end);
    rows.tid.fill(this.tid!, from, end);
    rows.asid.fill(this.pid!, from, end);
    rows.time.fill(this.time, from, end);
    rows.mode.fill(this.mode, from, end);
    this.filled = end;
  }

  /** Whether there are rows still to be filled. */
  lacks({ count }: Rows): boolean {
    return this.filled < count;
  }

  /** Filled rows were handed on; of those left, all filled, there are `count`. */
  restart({ count }: Rows): void {
    this.filled = count;
  }

  /** The records from here on are of a thread; its process is the one that it was last seen in. */
  thread(low: number, high: number): void {
    this.tid = shortId(low, high);
    this.pid = this.pidOf.get(this.tid) ?? null;
    this.folded ||= this.tid >= FOLDED;
    if (!this.rule.oneCore) this.cpu = this.cpuOf.get(this.tid) ?? null;
  }

  process(low: number, high: number): void {
    this.pid = shortId(low, high);
    this.folded ||= this.pid >= FOLDED;
    if (this.tid !== null) this.pidOf.set(this.tid, this.pid);
  }

  /** The CPU that a marker names; all ones: it is not known. */
  cpuIs(low: number, high: number): void {
    if (this.rule.core !== null || !this.rule.recorded) return;
    if (isUnknownCpu(low, high)) {
      this.cpu = null;
      return;
    }
    this.cpu = low & CPU_MASK;
    if (this.tid !== null) this.cpuOf.set(this.tid, this.cpu);
    this.rule.threads.ran(this.cpu);
  }

  /** Follows the markers between which the kernel runs; true when the mode changed. */
  transfer(marker: number): boolean {
    if (marker === MARKER.SYSCALL_TRACE_START || marker === MARKER.CONTEXT_SWITCH_START) this.inTrace = true;
    else if (marker === MARKER.SYSCALL_TRACE_END || marker === MARKER.CONTEXT_SWITCH_END) this.inTrace = false;
    else if (marker === MARKER.HARDWARE_EVENT) this.hardwareEvents++;
    else if (marker === MARKER.HARDWARE_CONTEXT_RETURN) this.hardwareEvents = Math.max(0, this.hardwareEvents - 1);
    const mode = this.inTrace || this.hardwareEvents > 0 ? MODE_KERNEL : MODE_USER;
    const changed = mode !== this.mode;
    this.mode = mode;
    return changed;
  }

  /** What is to be known about the columns `cpu`, `tid` and `asid`. */
  notes(): string[] {
    const notes: string[] = [];
    if (this.guessedCpu)
      notes.push('no CPU is recorded: thread k, in order of appearance, runs on CPU k modulo the CPUs');
    if (this.folded) notes.push('threads and processes of merged workloads: bit 31, workload << 22, own number');
    return notes;
  }

  /** The CPU of a thread of which no record tells it. */
  private guess(): number {
    this.guessedCpu = true;
    const cpu = this.rule.threads.cpuOf(this.tid!);
    this.cpuOf.set(this.tid!, cpu);
    return cpu;
  }
}
