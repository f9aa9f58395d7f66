// Rows of sampled accesses as columns, filled by every format of perf.

import { BATCH_ROWS, MODE_KERNEL, MODE_USER, PA_UNKNOWN, type Batch, type ColumnName } from '../../batch.js';

/** Rows that one piece of a capture may add between two looks at `full`. */
const SLACK = 8192;

/** The mode of code at an address, where nothing else tells: the upper half of the address space is the kernel's. */
export function modeOfCode(pc: bigint): number {
  return ((pc >> 55n) & 1n) === 1n ? MODE_KERNEL : MODE_USER;
}

export class SampleRows {
  static readonly COLUMNS: readonly ColumnName[] = ['cpu', 'kind', 'va', 'pa', 'mode', 'tid', 'time'];
  count = 0;
  readonly cpu = new Uint16Array(BATCH_ROWS);
  readonly kind = new Uint8Array(BATCH_ROWS);
  readonly va = new BigUint64Array(BATCH_ROWS);
  readonly pa = new BigUint64Array(BATCH_ROWS);
  readonly mode = new Uint8Array(BATCH_ROWS);
  readonly tid = new Uint32Array(BATCH_ROWS);
  readonly time = new BigUint64Array(BATCH_ROWS);

  /** Whether the batch is to be taken before more is added. */
  get full(): boolean {
    return this.count > BATCH_ROWS - SLACK;
  }

  add(cpu: number, kind: number, va: bigint, pa: bigint | null, mode: number, tid: number, time: bigint): void {
    const row = this.count++;
    this.cpu[row] = cpu;
    this.kind[row] = kind;
    this.va[row] = va;
    this.pa[row] = pa ?? PA_UNKNOWN;
    this.mode[row] = mode;
    this.tid[row] = tid;
    this.time[row] = time;
  }

  /** The rows; what is added next begins a new batch. */
  take(): Batch {
    const rows = this.count;
    this.count = 0;
    return {
      rows,
      cpu: this.cpu.subarray(0, rows),
      kind: this.kind.subarray(0, rows),
      va: this.va.subarray(0, rows),
      pa: this.pa.subarray(0, rows),
      mode: this.mode.subarray(0, rows),
      tid: this.tid.subarray(0, rows),
      time: this.time.subarray(0, rows),
    };
  }
}
