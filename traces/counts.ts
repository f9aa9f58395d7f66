// The counts of rows that a trace's metadata carries.

import { FETCH, LOAD, STORE, type Batch } from './batch.js';

/** Rows by kind, and instructions. */
export type RowCounts = Record<'fetch' | 'load' | 'store' | 'event' | 'insns', number>;

export function noRows(): RowCounts {
  return { fetch: 0, load: 0, store: 0, event: 0, insns: 0 };
}

/** Rows of every kind. */
export function totalRows({ fetch, load, store, event }: RowCounts): number {
  return fetch + load + store + event;
}

/** Adds the rows of a batch. */
export function countRows({ rows, kind, insns }: Batch, counts: RowCounts): void {
  const byKind = new Float64Array(256);
  let instructions = 0;
  for (let i = 0; i < rows; i++) {
    byKind[kind[i]]++;
    if (kind[i] === FETCH) instructions += insns ? insns[i] : 1;
  }
  counts.fetch += byKind[FETCH];
  counts.load += byKind[LOAD];
  counts.store += byKind[STORE];
  counts.event += rows - byKind[FETCH] - byKind[LOAD] - byKind[STORE];
  counts.insns += instructions;
}

/** What a document counts besides rows. */
export function otherCounts(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([name]) => !(name in noRows())));
}
