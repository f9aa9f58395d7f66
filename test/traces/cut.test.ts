// Cutting: each filter alone and together, sampling, and the rules of events and phases. Rows are told apart by their va.

import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BATCH_ROWS, type ColumnName } from '../../traces/batch.js';
import { checkTrace } from '../../traces/check/check.js';
import { cutTrace, type CutOptions } from '../../traces/cut/cut.js';
import { metadataWith, type TraceMetadata } from '../../traces/metadata.js';
import { TraceReader } from '../../traces/reader.js';
import { writeTrace } from '../../traces/writer.js';
import { batchOf, eachOf, rowsOf, scratch, type Row } from './support.js';

const path = scratch();
const SAMPLE = fileURLToPath(new URL('../../traces/samples/kernel-text/x86-64.arrow', import.meta.url));
const COLUMNS: ColumnName[] = ['cpu', 'kind', 'va', 'pa', 'mode', 'asid', 'tid', 'time', 'arg'];
const UNKNOWN = 0xffff_ffff_ffff_ffffn;
const [FETCH, LOAD, STORE, BEGIN, END, MARKER, OPERANDS, UNMAP, SWITCH] = [0, 1, 2, 16, 17, 18, 19, 52, 37];

const row = (va: number, changes: Row = {}): Row => ({
  ...{ cpu: 0, kind: LOAD, va: BigInt(va), pa: UNKNOWN, mode: 0, asid: 0, tid: 0, time: BigInt(va), arg: 0n },
  ...changes,
});
const begin = (va: number, changes: Row = {}) => row(va, { kind: BEGIN, ...changes });
const end = (va: number, changes: Row = {}) => row(va, { kind: END, ...changes });

async function cut(
  rows: Row[],
  options: Partial<CutOptions>,
  metadata: Partial<TraceMetadata> = {},
  columns = COLUMNS,
) {
  await writeTrace(path('t.arrow'), columns, eachOf([batchOf(columns, rows)]), () => metadataWith(metadata));
  const result = await cutTrace(path('t.arrow'), path('cut.arrow'), { description: 'cut', ...options });
  return { ...result, rows: await rowsOf(path('cut.arrow')) };
}

/** Kind and va of the rows that stay. */
async function kept(rows: Row[], options: Partial<CutOptions>, metadata?: Partial<TraceMetadata>): Promise<string[]> {
  const { rows: left } = await cut(rows, options, metadata);
  return left.map(({ kind, va }) => `${kind}:${va}`);
}

const vas = async (rows: Row[], options: Partial<CutOptions>, metadata?: Partial<TraceMetadata>) =>
  (await cut(rows, options, metadata)).rows.map(({ va }) => Number(va));

describe('a filter', () => {
  it.each<[string, Partial<CutOptions>, Row]>([
    ['cpu', { cpus: [1, 3] }, { cpu: 3 }],
    ['mode', { modes: ['kernel'] }, { mode: 1 }],
    ['guest mode', { modes: ['guest-kernel'] }, { mode: 17 }],
    ['any guest mode', { modes: ['guest'] }, { mode: 18 }],
    ['asid', { asids: [7] }, { asid: 7 }],
    ['tid', { tids: [9] }, { tid: 9 }],
    ['kind', { kinds: ['store'] }, { kind: STORE }],
    ['time', { time: { from: 50n, to: 60n } }, { time: 59n }],
    ['pa', { paRanges: [{ from: 0x1_0000_0000n, to: 0x1_0000_1000n }] }, { pa: 0x1_0000_0fffn }],
  ])('by %s keeps what has it', async (_, options, changes) => {
    expect(await vas([row(1), row(2, changes), row(3)], options)).toEqual([2]);
  });

  it('by range has its end outside, takes several, and regions by name', async () => {
    const rows = [0x0f, 0x10, 0x1f, 0x20, 0x40].map((va) => row(va));
    expect(await vas(rows, { ranges: [{ from: 0x10n, to: 0x20n }] })).toEqual([0x10, 0x1f]);
    const regions = [{ name: 'text', va: '0x40', bytes: 16, pa: null, pageSize: null, node: null }];
    expect(await vas(rows, { ranges: [{ from: 0n, to: 0x10n }, 'text'] }, { regions })).toEqual([0x0f, 0x40]);
    await expect(cut(rows, { ranges: ['data'] }, { regions })).rejects.toThrow(/a region of .*, found "data"; its regions are text/); // prettier-ignore
  });

  it('combines with others', async () => {
    const rows = [row(1, { cpu: 1, mode: 1 }), row(2, { cpu: 1 }), row(3, { mode: 1 }), row(4, { cpu: 1, mode: 1 })];
    expect(await vas(rows, { cpus: [1], modes: ['kernel'] })).toEqual([1, 4]);
  });

  it('takes the constant of a column that the trace has not, and refuses one that is nowhere', async () => {
    const columns: ColumnName[] = ['cpu', 'kind', 'va'];
    const constant = await cut([row(1)], { asids: [4] }, { constants: { asid: 4 } }, columns);
    expect(constant.rows).toHaveLength(1);
    const other = await cut([row(1)], { asids: [5] }, { constants: { asid: 4 } }, columns);
    expect(other.rows).toHaveLength(0);
    await expect(cut([row(1)], { tids: [5] }, {}, columns)).rejects.toThrow(
      /--tid: .*has no column tid; it has cpu, kind, va/,
    );
  });
});

describe('sampling', () => {
  const rows = Array.from({ length: 12 }, (_, i) => row(i));

  it.each<[string, Partial<CutOptions>, number[]]>([
    ['first', { first: 3 }, [0, 1, 2]],
    ['skip', { skip: 10 }, [10, 11]],
    ['one in n', { every: 5 }, [0, 5, 10]],
    ['windows', { window: 2, period: 5 }, [0, 1, 5, 6, 10, 11]],
    ['all of it', { skip: 1, window: 2, period: 5, first: 3 }, [1, 2, 6]],
  ])('takes %s', async (_, options, expected) => {
    expect(await vas(rows, options)).toEqual(expected);
  });

  it('counts accesses that pass the filters, not events', async () => {
    const mixed = [row(0, { cpu: 1 }), row(1), row(2, { kind: MARKER }), row(3, { cpu: 1 }), row(4, { cpu: 1 })];
    expect(await vas(mixed, { cpus: [1], skip: 1, first: 1 })).toEqual([2, 3]);
  });

  it('is that of plain arithmetic, wherever batches end', async () => {
    const options = fc.record({
      skip: fc.nat(20),
      period: fc.integer({ min: 1, max: 9 }),
      first: fc.integer({ min: 1, max: 20 }),
    });
    await fc.assert(
      fc.asyncProperty(options, fc.nat(40), async ({ skip, period, first }, count) => {
        const all = Array.from({ length: count }, (_, i) => row(i));
        const expected = all.filter((_, i) => i >= skip && (i - skip) % period === 0).slice(0, first);
        expect(await vas(all, { skip, every: period, first })).toEqual(expected.map(({ va }) => Number(va)));
      }),
      { numRuns: 30 },
    );
  });
});

describe('events', () => {
  const switched = [row(100, { kind: SWITCH }), row(101, { kind: OPERANDS })];

  it('stay with their operands wherever they are, and go with --no-events', async () => {
    const rows = [...switched, row(1, { cpu: 1 }), row(5, { kind: MARKER }), row(2), row(60, { kind: UNMAP }), row(61, { kind: OPERANDS })]; // prettier-ignore
    expect(await kept(rows, { cpus: [1] })).toEqual(['37:100', '19:101', '1:1', '18:5', '52:60', '19:61']);
    expect(await kept(rows, { cpus: [1], events: false })).toEqual(['1:1']);
  });

  it('that are named are the only ones', async () => {
    const rows = [...switched, row(1), row(2, { kind: FETCH }), row(60, { kind: UNMAP }), row(61, { kind: OPERANDS })];
    expect(await kept(rows, { kinds: ['user_unmap', 'fetch'] })).toEqual(['0:2', '52:60', '19:61']);
    await expect(cut(rows, { kinds: ['unmap'] })).rejects.toThrow(/unknown kind "unmap"/);
  });

  it('end with the last access of --first and the end of --time', async () => {
    expect(await kept([row(1), ...switched], { first: 1 })).toEqual(['1:1']);
    expect(await kept([row(1), ...switched], { time: { from: 0n, to: 50n } })).toEqual(['1:1']);
  });
});

describe('phases', () => {
  const names = [7, 8].map((number) => ({ number, name: `phase ${number}, long` }));
  const rows = [row(1), begin(7), row(2), end(7), begin(8), row(3), row(4, { cpu: 1 }), end(8), row(5)];

  it('are chosen by number or by name, with their rows', async () => {
    expect(await kept(rows, { phases: ['7'] })).toEqual(['16:7', '1:2', '17:7']);
    expect(await kept(rows, { phases: ['phase 8, long'] }, { phases: names })).toEqual(['16:8', '1:3', '1:4', '17:8']);
    expect(await vas(rows, { phases: ['0x7,8'] })).toEqual([7, 2, 7, 8, 3, 4, 8]);
    await expect(cut(rows, { phases: ['fork'] }, { phases: names })).rejects.toThrow(
      /found "fork"; it names "phase 7, long"/,
    );
  });

  it('stay when something in them does, and so do their names', async () => {
    const { rows: left, metadata } = await cut(rows, { cpus: [1] }, { phases: names });
    expect(left.map(({ kind, va }) => `${kind}:${va}`)).toEqual(['16:8', '1:4', '17:8']);
    expect(metadata.phases).toEqual([names[1]]);
  });

  it('of events alone stay only where they are wanted', async () => {
    const made = [begin(7), row(60, { kind: UNMAP }), row(61, { kind: OPERANDS }), end(7), begin(8), row(3), end(8)];
    expect(await kept(made, {})).toEqual(['16:7', '52:60', '19:61', '17:7', '16:8', '1:3', '17:8']);
    expect(await kept(made, { phases: ['8'] })).toEqual(['52:60', '19:61', '16:8', '1:3', '17:8']);
  });

  it('that the cut leaves open are ended, the inner one first, on their own CPUs', async () => {
    const nested = [
      begin(7, { cpu: 2 }),
      begin(8, { cpu: 3 }),
      row(2, { time: 9n }),
      row(3),
      end(8, { cpu: 3 }),
      end(7, { cpu: 2 }),
    ];
    const { rows: left } = await cut(nested, { first: 1 });
    expect(left.map(({ kind, va, cpu, time }) => [kind, va, cpu, time])).toEqual([
      [BEGIN, 7n, 2, 7n],
      [BEGIN, 8n, 3, 8n],
      [LOAD, 2n, 0, 9n],
      [END, 8n, 3, 9n],
      [END, 7n, 2, 9n],
    ]);
  });

  it('that began in an earlier batch begin before their first row that stays', async () => {
    const long = [
      begin(7, { cpu: 2 }),
      ...Array.from({ length: BATCH_ROWS + 5 }, (_, i) => row(i)),
      end(7, { cpu: 2 }),
    ];
    expect(await kept(long, { ranges: [{ from: BigInt(BATCH_ROWS + 2), to: 1n << 20n }] })).toEqual([
      '16:7',
      ...[2, 3, 4].map((i) => `1:${BATCH_ROWS + i}`),
      '17:7',
    ]);
  });
});

describe('cut', () => {
  it('records what was done and counts anew', async () => {
    const known: Partial<TraceMetadata> = { counts: { load: 3, mmio: 5 }, filters: ['earlier'], notes: ['kept'] };
    const { metadata, from } = await cut([row(1), row(2), row(3, { kind: FETCH })], { kinds: ['load'], description: 'cut --kind load' }, known); // prettier-ignore
    expect(from).toBe(3);
    expect(metadata).toMatchObject({
      filters: ['earlier', 'cut --kind load'],
      history: [{ step: 'cut', input: [{ name: 't.arrow', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) }] }],
      notes: ['kept'],
    });
    expect(metadata.counts).toEqual({ fetch: 0, load: 2, store: 0, event: 0, insns: 0, unknownPa: 2 });
  });

  it('keeps everything when nothing is asked', async () => {
    await cutTrace(SAMPLE, path('whole.arrow'), { description: 'cut' });
    const [one, other] = await Promise.all([SAMPLE, path('whole.arrow')].map((file) => TraceReader.open(file)));
    const batches = other.batches();
    const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => Buffer.from(buffer, byteOffset, byteLength);
    for await (const batch of one.batches()) {
      const copy = (await batches.next()).value!;
      for (const name of one.columns) expect(bytes(copy[name]!).equals(bytes(batch[name]!))).toBe(true);
    }
    expect((await batches.next()).done).toBe(true);
    await Promise.all([one.close(), other.close()]);
  });

  it.each<[string, Partial<CutOptions>]>([
    ['a phase', { phases: ['fork/1, node 0'] }],
    ['a CPU', { cpus: [3] }],
    ['a sample', { window: 1000, period: 20_000 }],
    ['a head', { first: 100_000 }],
    ['the kernel', { modes: ['kernel'], events: false }],
  ])('leaves a whole trace of %s', async (_, options) => {
    const { rows } = await cutTrace(SAMPLE, path('part.arrow'), { description: 'cut', ...options });
    expect(rows).toBeGreaterThan(1000);
    const report = await checkTrace(path('part.arrow'));
    expect(report.invariants.filter((f) => f.severity === 'error' && f.violations > 0)).toEqual([]);
  });
});
