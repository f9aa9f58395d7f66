// A trace written as drmemtrace and read again has the same rows; what the format cannot hold is told or refused.

import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ColumnName } from '../../traces/batch.js';
import { convert } from '../../traces/convert.js';
import { InputError, UsageError } from '../../traces/errors.js';
import { RecordWriter } from '../../traces/export/drmemtrace/writer.js';
import { metadataWith, type TraceMetadata } from '../../traces/metadata.js';
import { writeTrace } from '../../traces/writer.js';
import { batchOf, eachOf, rowsOf, scratch, type Row } from './support.js';

const path = scratch();
const ALL: ColumnName[] = ['cpu', 'kind', 'va', 'pa', 'size', 'asid', 'tid', 'time'];
const UNKNOWN_PA = 2n ** 64n - 1n;

async function write(columns: ColumnName[], rows: Row[], metadata: Partial<TraceMetadata> = {}): Promise<void> {
  await writeTrace(path('in.arrow'), columns, eachOf([batchOf(columns, rows)]), async () => metadataWith(metadata));
}

/** Writes rows as drmemtrace and reads them again. */
async function roundTrip(columns: ColumnName[], rows: Row[], name = 'out.trace') {
  const warnings: string[] = [];
  await write(columns, rows);
  await convert([path('in.arrow')], path(name), { to: 'drmemtrace', warn: (text) => warnings.push(text) });
  const { metadata } = await convert([path(name)], path('back.arrow'));
  return { rows: await rowsOf(path('back.arrow')), warnings, metadata };
}

const word = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const row = fc
  .record({
    cpu: fc.integer({ min: 0, max: 4095 }),
    kind: fc.nat(2),
    page: fc.bigInt({ min: 0n, max: 7n }),
    offset: fc.bigInt({ min: 0n, max: 4095n }),
    frame: fc.option(fc.bigInt({ min: 0n, max: 2n ** 52n - 2n })),
    size: fc.integer({ min: 1, max: 65_535 }),
    asid: fc.constantFrom(0, 1, 2 ** 31 - 1, 2 ** 32 - 1),
    tid: fc.constantFrom(0, 7, 2 ** 32 - 1),
    time: fc.oneof(fc.constant(5n), word),
  })
  .map(({ page, offset, frame, ...rest }): Row => {
    const pa = frame === null ? UNKNOWN_PA : (frame << 12n) | offset;
    return { ...rest, va: (page * 0x1000_0001_0000_1000n) | offset, pa };
  });

describe('the exporter drmemtrace', () => {
  it.each(['out.trace', 'out.trace.gz', 'out.trace.zip'])('gives back the rows of %s', async (name) => {
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 40 }), async (rows) => {
        expect((await roundTrip(ALL, rows, name)).rows).toEqual(rows);
      }),
      { numRuns: 30 },
    );
  });

  it('gives back rows of many pieces', async () => {
    const rows = Array.from({ length: 70_000 }, (_, i): Row => ({ cpu: i & 1, kind: i % 3, va: BigInt(i), size: 4 }));
    const { rows: back } = await roundTrip(['cpu', 'kind', 'va', 'size'], rows);
    // A trace without threads is of thread 1 of process 1, at time 0.
    expect(back).toEqual(rows.map((r) => ({ ...r, asid: 1, tid: 1, time: 0n })));
  });

  it('says what it leaves out or makes up', async () => {
    const { rows, warnings } = await roundTrip(
      ['cpu', 'kind', 'va'],
      [
        { cpu: 0, kind: 16, va: 1n },
        { cpu: 0, kind: 0, va: 2n },
        { cpu: 0, kind: 1, va: 3n },
      ],
    );
    expect(rows.map((r) => [r.kind, r.va, r.size])).toEqual([
      [0, 2n, 1],
      [1, 3n, 0],
    ]);
    expect(warnings).toEqual([
      expect.stringContaining('1 events left out'),
      expect.stringContaining('1 fetches of unknown size'),
    ]);
  });

  it('writes an empty trace', async () => {
    expect((await roundTrip(['cpu', 'kind', 'va'], [{ cpu: 0, kind: 16, va: 1n }])).rows).toEqual([]);
  });

  it('takes constants of columns that the trace does not have, and its architecture', async () => {
    await write(['cpu', 'kind', 'va'], [{ cpu: 0, kind: 0, va: 2n }], {
      arch: 'arm64',
      constants: { tid: 9, size: 4 },
    });
    await convert([path('in.arrow')], path('out.trace'), { to: 'drmemtrace' });
    const { metadata } = await convert([path('out.trace')], path('back.arrow'));
    expect(metadata.arch).toBe('arm64');
    expect(await rowsOf(path('back.arrow'))).toMatchObject([{ tid: 9, size: 4, asid: 1 }]);
  });

  it('writes nothing for a context that stays', async () => {
    const rows = [1n, 2n, 3n].map((va): Row => ({ cpu: 0, kind: 1, va, pa: va, size: 8, asid: 5, tid: 6, time: 7n }));
    await write(ALL, rows);
    await convert([path('in.arrow')], path('out.trace'), { to: 'drmemtrace' });
    // HEADER, VERSION, FILETYPE, THREAD, PID, CACHE_LINE_SIZE, PAGE_SIZE, TIMESTAMP, CPU_ID, PHYSICAL and VIRTUAL_ADDRESS,
    // three loads, THREAD_EXIT and FOOTER: 16 records of 12 bytes.
    expect(readFileSync(path('out.trace')).length).toBe(16 * 12);
    await convert([path('in.arrow')], path('out.trace.gz'), { to: 'drmemtrace' });
    expect(gunzipSync(readFileSync(path('out.trace.gz'))).equals(readFileSync(path('out.trace')))).toBe(true);
  });

  it('begins a chunk with the number of records, the time and the CPU', () => {
    const writer = new RecordWriter('out', metadataWith(), 2);
    writer.header();
    const rows = [1n, 2n, 3n].map((va): Row => ({ cpu: 3, kind: 0, va, size: 4, tid: 1, time: 5n }));
    const batch = batchOf(['cpu', 'kind', 'va', 'size', 'tid', 'time'], rows);
    expect(writer.rows(batch, 0)).toBe(2);
    expect(writer.atChunkEnd).toBe(true);
    writer.chunkFooter(1);
    const before = writer.take().length / 12;
    // HEADER, THREAD and PID are for the reader alone.
    const ordinal = before - 3;
    writer.chunkHeader();
    expect(writer.rows(batch, 2)).toBe(3);
    const [words, markers] = [new Uint32Array(writer.take().slice().buffer), [22, 2, 3]];
    expect([...words]).toEqual([
      ...markers.flatMap((marker, i) => [28 | (marker << 16), [ordinal, 5, 3][i], 0]),
      ...[10 | (4 << 16), 3, 0],
    ]);
  });

  it('refuses what the format cannot hold', async () => {
    const base: Row = { cpu: 0, kind: 1, va: 0x1234n, pa: 0x5234n, size: 8, asid: 5, tid: 6, time: 7n };
    await expect(roundTrip(ALL, [base, { ...base, pa: 0x5235n }])).rejects.toThrow(
      /out.trace: row 1: expected a physical address with the page offset of the virtual one, 0x1234, found 0x5235/,
    );
    await expect(roundTrip(ALL, [{ ...base, cpu: 4096 }], 'out.trace.zip')).rejects.toThrow(InputError);
    await expect(roundTrip(ALL, [base], 'out.trace.lz4')).rejects.toThrow(UsageError);
    writeFileSync(path('kept.trace.gz'), 'old');
    await expect(roundTrip(ALL, [{ ...base, cpu: 4096 }], 'kept.trace.gz')).rejects.toThrow(
      /row 0: expected a CPU up to/,
    );
    expect(readFileSync(path('kept.trace.gz'), 'utf8')).toBe('old');
  });
});
