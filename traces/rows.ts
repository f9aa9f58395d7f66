// Rows as a format's parser fills them, handed on as batches of exactly BATCH_ROWS. A parser may put a few rows more
// than a batch holds, so that it need not stop inside a record: they open the next batch.

import { BATCH_ROWS, type Batch, type ColumnName } from './batch.js';

/** Rows that one record may make, or one piece that is parsed at once: a batch's arrays are this much longer. */
export const RECORD_ROWS = 8192;
const ROOM = BATCH_ROWS + RECORD_ROWS;

/**
 * Rows being filled. A column that the format does not give has an empty array, which ignores what is put into it. A
 * parser writes all columns that it names in each of its rows: the arrays are used again.
 */
export class Rows {
  readonly cpu: Uint16Array;
  readonly kind: Uint8Array;
  readonly va: BigUint64Array;
  /** `va` as pairs of low and high words. */
  readonly vaWords: Uint32Array;
  readonly pa: BigUint64Array;
  readonly paWords: Uint32Array;
  readonly size: Uint16Array;
  readonly insns: Uint8Array;
  readonly mode: Uint8Array;
  readonly asid: Uint32Array;
  readonly vm: Uint16Array;
  readonly tid: Uint32Array;
  readonly time: BigUint64Array;
  readonly timeWords: Uint32Array;
  readonly arg: BigUint64Array;
  readonly argWords: Uint32Array;
  /** Rows so far. */
  count = 0;

  constructor(private readonly columns: readonly ColumnName[]) {
    const room = (name: ColumnName) => (columns.includes(name) ? ROOM : 0);
    this.cpu = new Uint16Array(room('cpu'));
    this.kind = new Uint8Array(room('kind'));
    this.va = new BigUint64Array(room('va'));
    this.vaWords = new Uint32Array(this.va.buffer);
    this.pa = new BigUint64Array(room('pa'));
    this.paWords = new Uint32Array(this.pa.buffer);
    this.size = new Uint16Array(room('size'));
    this.insns = new Uint8Array(room('insns'));
    this.mode = new Uint8Array(room('mode'));
    this.asid = new Uint32Array(room('asid'));
    this.vm = new Uint16Array(room('vm'));
    this.tid = new Uint32Array(room('tid'));
    this.time = new BigUint64Array(room('time'));
    this.timeWords = new Uint32Array(this.time.buffer);
    this.arg = new BigUint64Array(room('arg'));
    this.argWords = new Uint32Array(this.arg.buffer);
  }

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

  /** Hands the batch on, and begins the next one when its taker is done with it. */
  *take(): Generator<Batch, void> {
    yield this.batch();
    this.next();
  }
}
