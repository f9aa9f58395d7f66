// Writing and reading a trace: what goes in comes out, in batches of the promised size, readable by Arrow itself.

import { readFileSync, statSync } from 'node:fs';
import { RecordBatchReader, tableFromIPC } from 'apache-arrow';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BATCH_ROWS, type Batch, type ColumnName } from '../../traces/batch.js';
import { METADATA_KEY, metadataWith } from '../../traces/metadata.js';
import { TraceReader } from '../../traces/reader.js';
import { COLUMNS } from '../../traces/schema.js';
import { writeTrace } from '../../traces/writer.js';
import { batchOf, eachOf, rowsOf, scratch, type Row } from './support.js';

const path = scratch();
const REQUIRED = COLUMNS.filter((c) => c.required).map((c) => c.name);
const OPTIONAL = COLUMNS.filter((c) => !c.required).map((c) => c.name);

/** Any value that a column's type holds. */
function valueOf(name: ColumnName): fc.Arbitrary<number | bigint> {
  const { array } = COLUMNS.find((c) => c.name === name)!;
  return array === BigUint64Array
    ? fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
    : fc.integer({ min: 0, max: 2 ** (8 * array.BYTES_PER_ELEMENT) - 1 });
}

const traces = fc.subarray(OPTIONAL).chain((optional) => {
  const columns = [...REQUIRED, ...optional];
  const row = fc.record(Object.fromEntries(columns.map((name) => [name, valueOf(name)]))) as fc.Arbitrary<Row>;
  return fc.record({
    columns: fc.constant(columns),
    batches: fc.array(fc.array(row, { maxLength: 40 }), { maxLength: 8 }),
    compress: fc.constantFrom(undefined, 'lz4' as const),
  });
});

/** `rows` consecutive rows from `first`, each told by its va. */
function numbered(first: number, rows: number): Batch {
  return {
    rows,
    cpu: new Uint16Array(rows),
    kind: new Uint8Array(rows),
    va: BigUint64Array.from({ length: rows }, (_, i) => BigInt(first + i)),
  };
}

const COLUMNS_3: ColumnName[] = ['cpu', 'kind', 'va'];

/** Writes numbered rows in batches of these sizes. */
async function writeNumbered(file: string, sizes: number[], compress?: 'lz4'): Promise<void> {
  let first = 0;
  const batches = sizes.map((rows) => numbered((first += rows) - rows, rows));
  await writeTrace(file, COLUMNS_3, eachOf(batches), () => metadataWith(), { compress });
}

describe('a written trace', () => {
  it('has the same rows when it is read again', async () => {
    const file = path('random.arrow');
    await fc.assert(
      fc.asyncProperty(traces, async ({ columns, batches, compress }) => {
        const written = await writeTrace(
          file,
          columns,
          eachOf(batches.map((rows) => batchOf(columns, rows))),
          () => metadataWith(),
          { compress },
        );
        expect(await rowsOf(file)).toEqual(batches.flat());
        expect(written).toEqual({ rows: batches.flat().length, bytes: statSync(file).size });
      }),
      { numRuns: 150 },
    );
  });

  it('consists of record batches of 65,536 rows and a rest, whatever came in', async () => {
    const sizes = [1, 70_000, 65_536, 0, 100_000, 65_536];
    await writeNumbered(path('regrouped.arrow'), sizes);
    const reader = await TraceReader.open(path('regrouped.arrow'));
    const got: number[] = [];
    let next = 0n;
    for await (const { rows, va } of reader.batches()) {
      got.push(rows);
      for (const value of va) if (value !== next++) throw new Error(`row ${next - 1n} has va ${value}`);
    }
    await reader.close();
    // The sum is 1 + 70,000 + 65,536 + 100,000 + 65,536 = 301,073 = 4 x 65,536 + 38,929.
    expect(got).toEqual([BATCH_ROWS, BATCH_ROWS, BATCH_ROWS, BATCH_ROWS, 38_929]);
  });

  it('gives any range of its rows', async () => {
    const file = path('ranges.arrow');
    await writeNumbered(file, [150_000]);
    await fc.assert(
      fc.asyncProperty(fc.nat(150_000), fc.nat(3_000), async (from, length) => {
        const rows = await rowsOf(file, { from, to: from + length });
        const count = Math.max(0, Math.min(length, 150_000 - from));
        expect(rows.map((row) => Number(row.va))).toEqual(Array.from({ length: count }, (_, i) => from + i));
      }),
      { numRuns: 40 },
    );
  });

  it('is the same bytes for the same input', async () => {
    for (const compress of [undefined, 'lz4'] as const) {
      await writeNumbered(path('a.arrow'), [100_000, 5], compress);
      await writeNumbered(path('b.arrow'), [3, 100_002], compress);
      expect(readFileSync(path('a.arrow')).equals(readFileSync(path('b.arrow')))).toBe(true);
    }
  });

  it('may be empty and still has its columns and metadata', async () => {
    await writeTrace(path('empty.arrow'), COLUMNS_3, eachOf([]), () => metadataWith({ notes: ['nothing'] }));
    const reader = await TraceReader.open(path('empty.arrow'));
    expect(reader.rows).toBe(0);
    expect(reader.columns).toEqual(COLUMNS_3);
    expect(reader.metadata?.notes).toEqual(['nothing']);
    await reader.close();
  });

  it('carries the metadata as it is after the last row', async () => {
    let seen = 0;
    const batches = async function* () {
      for (const batch of [numbered(0, 10), numbered(10, 7)]) {
        seen += batch.rows;
        yield batch;
      }
    };
    await writeTrace(path('late.arrow'), COLUMNS_3, batches(), () => metadataWith({ counts: { fetch: seen } }));
    const reader = await TraceReader.open(path('late.arrow'));
    expect(reader.metadata?.counts).toEqual({ fetch: 17 });
    await reader.close();
  });
});

describe('Arrow itself', () => {
  it.each([undefined, 'lz4' as const])('reads the file, compression %s', async (compress) => {
    await writeNumbered(path('arrow.arrow'), [70_000], compress);
    const table = tableFromIPC(readFileSync(path('arrow.arrow')));
    expect(table.numRows).toBe(70_000);
    expect(table.schema.fields.map((f) => `${f.name} ${f.type}`)).toEqual(['cpu Uint16', 'kind Uint8', 'va Uint64']);
    expect(table.getChild('va')!.get(69_999)).toBe(69_999n);
    expect(JSON.parse(table.schema.metadata.get(METADATA_KEY)!)).toMatchObject({ version: 1 });
  });

  it('reads it as a stream too: a schema message follows the magic', async () => {
    await writeNumbered(path('stream.arrow'), [70_000]);
    const MAGIC_AND_PADDING = 8;
    const reader = RecordBatchReader.from(readFileSync(path('stream.arrow')).subarray(MAGIC_AND_PADDING)).open();
    expect(JSON.parse(reader.schema.metadata.get(METADATA_KEY)!)).toMatchObject({ version: 1 });
    expect([...reader].map((batch) => batch.numRows)).toEqual([65_536, 4_464]);
  });
});
