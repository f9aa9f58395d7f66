// Traces written in other formats: what comes back, and what is told to be lost.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ColumnName } from '../../traces/batch.js';
import { convert } from '../../traces/convert.js';
import { EVENTS } from '../../traces/events.js';
import { EXPORTERS } from '../../traces/export/index.js';
import { metadataWith } from '../../traces/metadata.js';
import { COLUMNS } from '../../traces/schema.js';
import { writeTrace } from '../../traces/writer.js';
import { converter } from './converted.js';
import { batchOf, eachOf, FIXTURES, rowsOf, scratch, type Row } from './support.js';

const path = scratch();
const { ofFile } = converter(path);

const columnsOf = (optional: readonly ColumnName[]) =>
  COLUMNS.filter(({ name, required }) => required || optional.includes(name));
const value: Readonly<Record<string, fc.Arbitrary<number | bigint>>> = Object.fromEntries(
  COLUMNS.map(({ name, array }) => {
    const bits = 8 * array.BYTES_PER_ELEMENT;
    if (name === 'kind') return [name, fc.constantFrom(0, 1, 2, ...EVENTS.map(({ kind }) => kind))];
    if (bits < 64) return [name, fc.integer({ min: 0, max: 2 ** bits - 1 })];
    return [name, fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.constant(2n ** 64n - 1n))];
  }),
);

/** Traces with any columns and any values. */
const anyTrace = fc
  .subarray(COLUMNS.filter(({ required }) => !required).map(({ name }) => name))
  .map(columnsOf)
  .chain((columns) =>
    fc.record({
      columns: fc.constant(columns.map(({ name }) => name)),
      rows: fc.array(fc.record(Object.fromEntries(columns.map(({ name }) => [name, value[name]]))), { minLength: 1 }),
    }),
  );

async function traceOf(columns: readonly ColumnName[], rows: readonly Row[]): Promise<string> {
  await writeTrace(path('in.arrow'), columns, eachOf([batchOf(columns, rows)]), () => metadataWith());
  return path('in.arrow');
}

describe.each(['csv', 'ndjson', 'parquet'])('%s', (format) => {
  it('holds every row of any trace', async () => {
    await fc.assert(
      fc.asyncProperty(anyTrace, async ({ columns, rows }) => {
        const warnings: string[] = [];
        const input = await traceOf(columns, rows as Row[]);
        await convert([input], path('out'), { to: format, warn: (message) => warnings.push(message) });
        const { trace, format: seen } = await ofFile(path('out'));
        expect(seen).toBe(format);
        expect(trace).toEqual(rows);
        expect(warnings).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  it('holds a capture of more rows than a batch', async () => {
    const columns: ColumnName[] = ['cpu', 'kind', 'va', 'size'];
    const rows = Array.from({ length: 300_000 }, (_, i) => ({
      cpu: i & 3,
      kind: i % 3,
      va: BigInt(i * 64),
      size: 1 + (i & 7),
    }));
    // 300,000 rows are more than one row group of 262,144.
    const input = await traceOf(columns, rows);
    await convert([input], path('large'), { to: format });
    const { trace } = await ofFile(path('large'));
    expect(trace.length).toBe(300_000);
    for (const i of [0, 65_535, 65_536, 262_143, 262_144, 299_999]) expect(trace[i]).toEqual(rows[i]);
  });
});

describe('din', () => {
  it('holds kinds and addresses, and tells how many events it left out', async () => {
    const warnings: string[] = [];
    const input = await traceOf(
      ['cpu', 'kind', 'va'],
      [
        { cpu: 0, kind: 0, va: 0x40_8ed4n },
        { cpu: 1, kind: 1, va: 2n ** 64n - 1n },
        { cpu: 0, kind: 18, va: 1n },
        { cpu: 0, kind: 2, va: 0n },
      ],
    );
    await convert([input], path('out.din'), { to: 'din', warn: (message) => warnings.push(message) });
    expect(readFileSync(path('out.din'), 'latin1')).toBe('2 408ed4\n0 ffffffffffffffff\n1 0\n');
    expect(warnings).toEqual([`${path('out.din')}: left out 1 rows of events: din has none`]);
    expect((await ofFile(path('out.din'))).trace).toEqual([
      { cpu: 0, kind: 0, va: 0x40_8ed4n },
      { cpu: 0, kind: 1, va: 2n ** 64n - 1n },
      { cpu: 0, kind: 2, va: 0n },
    ]);
  });
});

it('Parquet carries the metadata, and brings it back', async () => {
  await convert([join(FIXTURES, 'x86-1000.raw24')], path('x.parquet'), { to: 'parquet' });
  expect(readFileSync(path('x.parquet'), 'latin1')).toContain('"tool":"QEMU TCG plugin (raw24)"');
  const own = await convert([join(FIXTURES, 'x86-1000.raw24')], path('x.arrow'));
  expect(own.rows).toBe(1000);
  const { trace, metadata } = await ofFile(path('x.parquet'));
  expect(trace).toEqual(await rowsOf(path('x.arrow')));
  const history = [{ step: 'convert', input: [{ name: 'x.parquet' }] }];
  expect(metadata).toMatchObject({ ...own.metadata, history });
});

it('the same trace gives the same bytes in every format', async () => {
  for (const { name } of EXPORTERS) {
    const bytes = [];
    for (const output of ['first', 'second']) {
      await convert([join(FIXTURES, 'x86-1000.raw24')], path(output), { to: name });
      bytes.push(readFileSync(path(output)).toString('latin1'));
    }
    expect(bytes[0] === bytes[1], name).toBe(true);
  }
});
