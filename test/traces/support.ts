// What several tests of the trace library need: a folder per test, batches made of plain rows, and a trace as plain rows.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { type Batch, type ColumnName } from '../../traces/batch.js';
import { type ParseOptions } from '../../traces/format.js';
import { kindName } from '../../traces/events.js';
import { TraceReader, type RowRange } from '../../traces/reader.js';
import { columnOf } from '../../traces/schema.js';
import { Threads } from '../../traces/threads.js';

/** The value of every column in one row. */
export type Row = Partial<Record<ColumnName, number | bigint>>;

export const FIXTURES = fileURLToPath(new URL('../fixtures/traces/', import.meta.url));
export const CAPTURES = fileURLToPath(new URL('../../../shared/data/', import.meta.url));

/** What a format is given when the user says nothing. */
export const OPTIONS: ParseOptions = { meta: {}, set: {}, threads: new Threads(null), warn() {} };

/** A function that makes paths in a folder which is removed after the tests of the file. */
export function scratch(): (name: string) => string {
  const folder = mkdtempSync(join(tmpdir(), 'nodewalk-test-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  return (name) => join(folder, name);
}

/** A batch of these rows. */
export function batchOf(columns: readonly ColumnName[], rows: readonly Row[]): Batch {
  const batch = { rows: rows.length } as Batch;
  for (const name of columns) {
    const values = rows.map((row) => row[name]!);
    Object.assign(batch, { [name]: (columnOf(name).array as Uint8ArrayConstructor).from(values as number[]) });
  }
  return batch;
}

export async function* eachOf<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

/** A trace as rows. */
export async function rowsOf(path: string, range?: RowRange): Promise<Row[]> {
  const reader = await TraceReader.open(path);
  try {
    const rows: Row[] = [];
    for await (const batch of reader.batches(range)) rows.push(...plainRows(batch, reader.columns));
    return rows;
  } finally {
    await reader.close();
  }
}

export function plainRows(batch: Batch, columns: readonly ColumnName[]): Row[] {
  return Array.from({ length: batch.rows }, (_, i) =>
    Object.fromEntries(columns.map((name) => [name, batch[name]![i]])),
  );
}

/** A record of a capture that a test makes: a load of 8 bytes by the kernel on CPU 0 unless it says otherwise. */
export interface Made {
  va: bigint;
  pa?: bigint;
  cpu?: number;
  kind?: number;
  mode?: number;
  mmio?: boolean;
}

/** The 24 bytes of it. */
export function record({ va, pa = 0n, cpu = 0, kind = 1, mode = 1, mmio = false }: Made): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeBigUInt64LE(va, 0);
  bytes.writeBigUInt64LE(pa, 8);
  bytes.writeUInt32LE(cpu | (kind << 8) | (3 << 12) | (mode << 16) | (mmio ? 1 << 18 : 0), 16);
  return bytes;
}

/** Derived rows as text: row number of the capture before which they stand, CPU, event, operands. */
export function derivedOf(rows: readonly Row[]): string[] {
  const found: string[] = [];
  let captured = 0;
  for (const { cpu, kind, va, arg } of rows) {
    const operands = `0x${va!.toString(16)} 0x${arg!.toString(16)}`;
    if (kind === 19) found.push(`${found.pop()} ${operands}`);
    else if (Number(kind) > 19) found.push(`${captured}: cpu ${cpu} ${kindName(Number(kind))} ${operands}`);
    else captured++;
  }
  return found;
}
