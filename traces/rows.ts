// Rows as a format's parser fills them, handed on as batches of exactly BATCH_ROWS. A parser may put a few rows more
// than a batch holds, so that it need not stop inside a record: they open the next batch.

import { BATCH_ROWS, type Batch, type ColumnName } from './batch.js';

/** Rows that one record may make: a batch's arrays are this much longer. */
export const RECORD_ROWS = 4096;
const ROOM = BATCH_ROWS + RECORD_ROWS;

/**
 * Rows being filled. Every column has its array, also those that the format does not give. A parser writes all columns
 * that it names in each of its rows: the arrays are used again.
 */
export class Rows {
  readonly cpu = new Uint16Array(ROOM);
  readonly kind = new Uint8Array(ROOM);
  readonly va = new BigUint64Array(ROOM);
  /** `va` as pairs of low and high words. */
  readonly vaWords = new Uint32Array(this.va.buffer);
  readonly pa = new BigUint64Array(ROOM);
  readonly paWords = new Uint32Array(this.pa.buffer);
  readonly size = new Uint16Array(ROOM);
  readonly insns = new Uint8Array(ROOM);
  readonly mode = new Uint8Array(ROOM);
  readonly asid = new Uint32Array(ROOM);
  readonly vm = new Uint16Array(ROOM);
  readonly tid = new Uint32Array(ROOM);
  readonly time = new BigUint64Array(ROOM);
  readonly timeWords = new Uint32Array(this.time.buffer);
  readonly arg = new BigUint64Array(ROOM);
  readonly argWords = new Uint32Array(this.arg.buffer);
  /** Rows so far. */
  count = 0;

  constructor(private readonly columns: readonly ColumnName[]) {}

  /** Whether a batch is complete. */
  get full(): boolean {
    return this.count >= BATCH_ROWS;
  }

  /** Begins a row; returns its number. */
  add(kind: number, low: number, high: number): number {
    const row = this.count++;
    this.kind[row] = kind;
    this.vaWords[2 * row] = low;
    this.vaWords[2 * row + 1] = high;
    return row;
  }

  /** The rows of the batch, valid until `next`. */
  batch(): Batch {
    const rows = Math.min(this.count, BATCH_ROWS);
    const batch = { rows } as Batch;
    for (const name of this.columns) Object.assign(batch, { [name]: this[name].subarray(0, rows) });
    return batch;
  }

  /** Begins the next batch with what lies beyond this one. */
  next(): void {
    const { count } = this;
    this.count = Math.max(0, count - BATCH_ROWS);
    if (this.count > 0) for (const name of this.columns) this[name].copyWithin(0, BATCH_ROWS, count);
  }
}
