// A trace's columns as they are in memory for a benchmark.

import { open } from 'node:fs/promises';
import { type Batch, type ColumnName, PA_UNKNOWN } from '../../traces/batch.js';
import { metadataWith, type TraceMetadata } from '../../traces/metadata.js';
import { TraceReader } from '../../traces/reader.js';

/** What replays without line caches read: columns that only others read are left out, so that every contender reads the same bytes. */
export const TLB_COLUMNS = ['cpu', 'kind', 'va'] as const satisfies ColumnName[];

/** What replays with line caches read. */
export const CACHE_COLUMNS = ['cpu', 'kind', 'va', 'pa', 'insns', 'mode'] as const satisfies ColumnName[];

/** A trace in memory. */
export interface LoadedTrace {
  columns: Batch;
  metadata: TraceMetadata;
  /** Whether it has physical addresses. */
  hasPhysical: boolean;
}

/** Arrays for the columns, with what a column stands for that a trace does not have: unknown addresses, one instruction, user mode. */
function emptyColumns(rows: number, names: readonly ColumnName[]): Batch {
  const columns: Batch = { rows, cpu: new Uint16Array(rows), kind: new Uint8Array(rows), va: new BigUint64Array(rows) };
  if (names.includes('pa')) columns.pa = new BigUint64Array(rows).fill(PA_UNKNOWN);
  if (names.includes('insns')) columns.insns = new Uint8Array(rows).fill(1);
  if (names.includes('mode')) columns.mode = new Uint8Array(rows);
  return columns;
}

/** Up to `limit` rows of a trace, as one batch of these columns. */
export async function loadColumns(path: string, limit: number, names: readonly ColumnName[]): Promise<LoadedTrace> {
  const reader = await TraceReader.open(path);
  try {
    const rows = Math.min(limit, reader.rows);
    const columns = emptyColumns(rows, names);
    let at = 0;
    const present = names.filter((name) => reader.columns.includes(name));
    for await (const batch of reader.batches({ to: rows, columns: present })) {
      for (const name of present) (columns[name] as Uint8Array).set(batch[name] as Uint8Array, at);
      at += batch.rows;
    }
    return { columns, metadata: reader.metadata ?? metadataWith(), hasPhysical: present.includes('pa') };
  } finally {
    await reader.close();
  }
}

/** Writes whole columns, one after the other, for a program to read. */
export async function writeColumns(path: string, columns: Batch, names: readonly ColumnName[]): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (const name of names) {
      const { buffer, byteOffset, byteLength } = columns[name]!;
      await file.writeFile(new Uint8Array(buffer, byteOffset, byteLength));
    }
  } finally {
    await file.close();
  }
}
