// Files that are no good trace: each gets an error that says what is wrong. Files of other tools: read as they are.

import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  makeData,
  makeVector,
  RecordBatchFileWriter,
  Table,
  tableToIPC,
  Uint64,
  Uint8,
  vectorFromArray,
} from 'apache-arrow';
import { CompressionType } from 'apache-arrow';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../traces/errors.js';
import { metadataWith } from '../../traces/metadata.js';
import { TraceReader } from '../../traces/reader.js';
import { writeTrace } from '../../traces/writer.js';
import { batchOf, eachOf, FIXTURES, rowsOf, scratch, type Row } from './support.js';

const path = scratch();

/** Random-looking rows that pack badly, in two record batches. */
const ROWS: Row[] = Array.from({ length: 70_000 }, (_, i) => ({
  cpu: i % 5,
  kind: i % 3,
  va: (BigInt(i) * 0x9e37_79b9_7f4a_7c15n) & 0xffff_ffff_ffff_ffffn,
}));

async function writeRows(name: string, compress?: 'lz4'): Promise<string> {
  const columns = ['cpu', 'kind', 'va'] as const;
  await writeTrace(path(name), columns, eachOf([batchOf(columns, ROWS)]), () => metadataWith(), { compress });
  return path(name);
}

async function errorOf(file: string): Promise<string> {
  const error = await rowsOf(file).then(
    () => null,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(InputError);
  return (error as Error).message;
}

async function errorFor(name: string, bytes: Uint8Array | string): Promise<string> {
  writeFileSync(path(name), bytes);
  return errorOf(path(name));
}

describe('a file that is cut off', () => {
  it('is called truncated wherever it is cut', async () => {
    const whole = readFileSync(await writeRows('whole.arrow'));
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 8, max: whole.length - 1 }), async (length) => {
        expect(await errorFor('cut.arrow', whole.subarray(0, length))).toMatch(/truncated/);
      }),
      { numRuns: 60, examples: [[8], [9], [17], [whole.length - 1], [whole.length - 10], [whole.length - 300]] },
    );
  });

  it('is called truncated when its end was kept but its middle is missing', async () => {
    const whole = readFileSync(await writeRows('whole.arrow'));
    const holed = Buffer.concat([whole.subarray(0, 1000), whole.subarray(whole.length - 2000)]);
    expect(await errorFor('holed.arrow', holed)).toMatch(/record batch 0 ending after the 3000 bytes.*truncated/);
  });

  it('is called truncated when it shrinks after it was opened', async () => {
    const file = await writeRows('shrinking.arrow');
    const reader = await TraceReader.open(file);
    writeFileSync(file, readFileSync(file).subarray(0, 1000));
    await expect(reader.batches().next()).rejects.toThrow(/truncated/);
    await reader.close();
  });

  it('never gives another number of rows or another error when packed values are damaged', async () => {
    const whole = readFileSync(await writeRows('packed.arrow', 'lz4'));
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2000, max: whole.length - 3000 }),
        fc.integer({ min: 1, max: 255 }),
        async (at, change) => {
          const damaged = Buffer.from(whole);
          damaged[at] ^= change;
          writeFileSync(path('damaged.arrow'), damaged);
          const result = await rowsOf(path('damaged.arrow')).then(
            (rows) => rows.length,
            (error: unknown) => error,
          );
          // Values may change (Arrow has no checksum); their number may not.
          if (result !== ROWS.length) expect(result).toBeInstanceOf(InputError);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('a file that is no trace', () => {
  it.each([
    ['nothing', '', /an empty file$/],
    ['lackey text', 'I  0401ab70,3\n S 1fff000728,8\n', /lackey text; nodewalk convert/],
    ['gzip', Buffer.from('1f8b0800', 'hex'), /gzip-compressed data; nodewalk convert/],
    ['zstd', Buffer.from('28b52ffd', 'hex'), /zstd-compressed data/],
    ['xz', Buffer.from('fd377a585a00', 'hex'), /xz-compressed data/],
    ['Parquet', 'PAR1....', /a file of kind Parquet/],
    ['text', 'hello\nworld\n', /text that starts with "hello"/],
    ['binary', Buffer.from([0, 1, 2, 3]), /binary data of an unknown kind/],
  ])('is named: %s', async (_, bytes, message) => {
    expect(await errorFor('other', bytes)).toMatch(message);
  });

  it('is named when it is missing or a directory', async () => {
    expect(await errorOf(path('missing.arrow'))).toMatch(/missing.arrow: .*no such file/);
    expect(await errorOf(FIXTURES)).toMatch(/a directory/);
  });

  it('is refused for metadata that is no JSON document', async () => {
    const table = new Table({ cpu: vectorFromArray([0]) });
    table.schema.metadata.set('nodewalk', '{');
    expect(await errorFor('metadata.arrow', tableToIPC(table, 'file'))).toMatch(/metadata key "nodewalk".*JSON/);
  });
});

describe('a file of another tool', () => {
  const expected = (first: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({
      cpu: (first + i) % 4,
      kind: (first + i) % 3,
      va: 0xffff_8000_0000_0000n + BigInt((first + i) * 4096),
    }));

  it.each(['pyarrow-plain.arrow', 'pyarrow-lz4.arrow', 'pyarrow-zstd.arrow', 'pyarrow-stream.arrows'])(
    'is read without metadata, among columns of other types: %s',
    async (name) => {
      const reader = await TraceReader.open(join(FIXTURES, name));
      expect(reader.metadata).toBeNull();
      expect(reader.columns).toEqual(['cpu', 'kind', 'va']);
      expect(reader.rows).toBe(300);
      await reader.close();
      expect(await rowsOf(join(FIXTURES, name))).toEqual(expected(0, 300));
      expect(await rowsOf(join(FIXTURES, name), { from: 95, to: 205 })).toEqual(expected(95, 110));
    },
  );

  it('is refused for nulls', async () => {
    expect(await errorOf(join(FIXTURES, 'pyarrow-nulls.arrow'))).toMatch(/column "va": expected no nulls, found 1/);
  });

  const cpu = makeVector(Uint16Array.of(1, 2));
  const kind = makeVector(Uint8Array.of(0, 1));
  const va = makeVector(BigUint64Array.of(5n, 6n));

  it('may have a validity buffer in which every row is valid', async () => {
    const valid = makeVector(
      makeData({ type: new Uint8(), nullBitmap: Uint8Array.of(0b11), data: Uint8Array.of(0, 1) }),
    );
    writeFileSync(path('valid.arrow'), tableToIPC(new Table({ cpu, kind: valid, va }), 'file'));
    expect(await rowsOf(path('valid.arrow'))).toEqual([
      { cpu: 1, kind: 0, va: 5n },
      { cpu: 2, kind: 1, va: 6n },
    ]);
  });

  it('is refused for a column of another type or one that is missing', async () => {
    const signed = makeVector(BigInt64Array.of(5n, 6n));
    const wrong = tableToIPC(new Table({ cpu, kind, va: signed }), 'file');
    expect(await errorFor('signed.arrow', wrong)).toMatch(/column "va": expected type Uint64, found Int64/);
    for (const [name, table] of Object.entries({
      cpu: new Table({ kind, va }),
      kind: new Table({ cpu, va }),
      va: new Table({ cpu, kind }),
    })) {
      expect(await errorFor('missing.arrow', tableToIPC(table, 'file'))).toContain(`expected a column "${name}"`);
    }
  });

  it('is read when apache-arrow itself packed it, with the packed length in front of each buffer', async () => {
    const many = makeVector(makeData({ type: new Uint64(), data: new BigUint64Array(1000).fill(7n) }));
    const table = new Table({
      cpu: makeVector(new Uint16Array(1000)),
      kind: makeVector(new Uint8Array(1000)),
      va: many,
    });
    const writer = new RecordBatchFileWriter({ compressionType: CompressionType.LZ4_FRAME });
    writer.writeAll(table);
    writeFileSync(path('js.arrow'), await writer.toUint8Array());
    expect(statSync(path('js.arrow')).size).toBeLessThan(8000);
    expect(await rowsOf(path('js.arrow'))).toEqual(new Array(1000).fill({ cpu: 0, kind: 0, va: 7n }));
  });
});
