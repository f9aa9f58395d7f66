// Rows as objects, turned into a batch of columns.

import { type Batch } from '../../traces/batch.js';
import { type Row, type TraceContext } from '../oracle/types.js';

/** A batch of `rows` with the optional columns that `has` names. */
export function batchOf(rows: readonly Row[], has: TraceContext['has']): Batch {
  const batch: Batch = {
    rows: rows.length,
    cpu: Uint16Array.from(rows, (row) => row.cpu),
    kind: Uint8Array.from(rows, (row) => row.kind),
    va: BigUint64Array.from(rows, (row) => row.va),
  };
  if (has.pa) batch.pa = BigUint64Array.from(rows, (row) => row.pa ?? 0xffff_ffff_ffff_ffffn);
  if (has.size) batch.size = Uint16Array.from(rows, (row) => row.size ?? 0);
  if (has.insns) batch.insns = Uint8Array.from(rows, (row) => row.insns ?? 0);
  if (has.mode) batch.mode = Uint8Array.from(rows, (row) => row.mode ?? 0);
  if (has.asid) batch.asid = Uint32Array.from(rows, (row) => row.asid ?? 0);
  if (has.vm) batch.vm = Uint16Array.from(rows, (row) => row.vm ?? 0);
  return batch;
}
