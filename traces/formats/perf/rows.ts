// Rows of sampled accesses as columns, filled by every format of perf.

import { MODE_KERNEL, MODE_USER, PA_UNKNOWN, type ColumnName } from '../../batch.js';
import { Rows } from '../../rows.js';

/** The mode of code at an address, where nothing else tells: the upper half of the address space is the kernel's. */
export function modeOfCode(pc: bigint): number {
  return ((pc >> 55n) & 1n) === 1n ? MODE_KERNEL : MODE_USER;
}

export class SampleRows extends Rows {
  static readonly COLUMNS: readonly ColumnName[] = ['cpu', 'kind', 'va', 'pa', 'mode', 'tid', 'time'];

  constructor() {
    super(SampleRows.COLUMNS);
  }

  addSample(cpu: number, kind: number, va: bigint, pa: bigint | null, mode: number, tid: number, time: bigint): void {
    const row = this.count++;
    this.cpu[row] = cpu;
    this.kind[row] = kind;
    this.va[row] = va;
    this.pa[row] = pa ?? PA_UNKNOWN;
    this.mode[row] = mode;
    this.tid[row] = tid;
    this.time[row] = time;
  }
}
