// The columns of a drmemtrace's rows while they are filled.

import { BATCH_ROWS, type Batch, type ColumnName } from '../../batch.js';

export class RowColumns {
  readonly cpu = new Uint16Array(BATCH_ROWS);
  readonly kind = new Uint8Array(BATCH_ROWS);
  readonly va = new BigUint64Array(BATCH_ROWS);
  /** Addresses as pairs of low and high words. */
  readonly vaWords = new Uint32Array(this.va.buffer);
  readonly size = new Uint16Array(BATCH_ROWS);
  readonly asid = new Uint32Array(BATCH_ROWS);
  readonly tid = new Uint32Array(BATCH_ROWS);
  readonly time = new BigUint64Array(BATCH_ROWS);
  readonly pa?: BigUint64Array;
  readonly paWords?: Uint32Array;
  readonly mode?: Uint8Array;

  constructor(physical: boolean, kernel: boolean) {
    if (physical) {
      this.pa = new BigUint64Array(BATCH_ROWS);
      this.paWords = new Uint32Array(this.pa.buffer);
    }
    if (kernel) this.mode = new Uint8Array(BATCH_ROWS);
  }

  names(): ColumnName[] {
    return [
      'cpu',
      'kind',
      'va',
      ...(this.pa ? (['pa'] as const) : []),
      'size',
      ...(this.mode ? (['mode'] as const) : []),
      'asid',
      'tid',
      'time',
    ];
  }

  batch(rows: number): Batch {
    return {
      rows,
      cpu: this.cpu.subarray(0, rows),
      kind: this.kind.subarray(0, rows),
      va: this.va.subarray(0, rows),
      size: this.size.subarray(0, rows),
      asid: this.asid.subarray(0, rows),
      tid: this.tid.subarray(0, rows),
      time: this.time.subarray(0, rows),
      ...(this.pa && { pa: this.pa.subarray(0, rows) }),
      ...(this.mode && { mode: this.mode.subarray(0, rows) }),
    };
  }
}
