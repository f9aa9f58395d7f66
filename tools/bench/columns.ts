// A trace's columns as they are in memory for a benchmark.

import { type Batch, type ColumnName } from '../../traces/batch.js';
import { TraceReader } from '../../traces/reader.js';

/** Columns that only some replays read are left out, so that every contender reads the same bytes. */
const MEASURED: ColumnName[] = ['cpu', 'kind', 'va'];

/** Up to `limit` rows of a trace, as one batch. */
export async function loadColumns(path: string, limit: number): Promise<Batch> {
  const reader = await TraceReader.open(path);
  try {
    const rows = Math.min(limit, reader.rows);
    const columns: Batch = {
      rows,
      cpu: new Uint16Array(rows),
      kind: new Uint8Array(rows),
      va: new BigUint64Array(rows),
    };
    let at = 0;
    for await (const batch of reader.batches({ to: rows })) {
      for (const name of MEASURED) (columns[name] as Uint8Array).set(batch[name] as Uint8Array, at);
      at += batch.rows;
    }
    return columns;
  } finally {
    await reader.close();
  }
}
