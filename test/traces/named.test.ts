// Files with named columns: CSV, NDJSON, Parquet and Arrow, and what --set says of them.

import { describe, expect, it } from 'vitest';
import { converter, fixture } from './converted.js';
import { scratch, type Row } from './support.js';

const { ofFile, ofText } = converter(scratch());
const UNKNOWN = 2n ** 64n - 1n;

/** The rows that test/fixtures/named/foreign.py wrote. */
const FOREIGN: Row[] = Array.from({ length: 250 }, (_, i) => ({
  cpu: i % 3,
  kind: [1, 2, 0][i % 3],
  va: 0xffff_8000_0000_0000n + BigInt(i) * 4096n,
  pa: i % 10 === 0 ? UNKNOWN : BigInt(i) * 8192n,
  size: 1 << (i % 4),
  time: BigInt(1000 + i),
}));

describe('Arrow and Parquet files of another tool', () => {
  it.each([
    'plain.arrow', // signed and narrow integers, text, times, nulls
    'dictionary-zstd.arrow', // the kind as a dictionary, bodies packed
    'floats.arrows', // a stream, sizes as floating-point numbers
    'plain.parquet',
    'snappy.parquet',
    'zstd.parquet',
    'delta.parquet',
  ])('%s', async (name) => {
    const { trace, metadata } = await ofFile(fixture(`named/${name}`));
    expect(trace).toEqual(FOREIGN);
    if (name !== 'delta.parquet') expect(metadata.notes).toEqual(['columns passed over: symbol']);
  });

  it.each(['plain.arrow', 'plain.parquet'])('%s: names given by the user count first', async (name) => {
    const file = fixture(`named/${name}`);
    const { trace } = await ofFile(file, { set: { tid: 'core', cpu: '-', pa: '-', va: 'ts', time: '-', kind: 'W' } });
    expect(trace[4]).toEqual({ cpu: 0, kind: 2, va: 1004n, size: 1, tid: 1 });
    await expect(ofFile(file, { set: { va: 'nothing' } })).rejects.toThrow(/a column "nothing", which --set va names/);
    await expect(ofFile(file, { set: { va: '-' } })).rejects.toThrow(/a column with the virtual address/);
    await expect(ofFile(file, { set: { kind: '-' } })).rejects.toThrow(/a column with the kind.*--set kind=R/);
    await expect(ofFile(file, { set: { size: 'symbol' } })).rejects.toThrow(
      /row 0: column "symbol": expected a value of the column size \(Uint16\), found f0, "g"/,
    );
    // Row 64 is the first with an address beyond 2^18 - 1, too large for 16 bits is any from row 8 (8192 * 8 = 65536).
    await expect(ofFile(file, { set: { size: 'phys_addr' } })).rejects.toThrow(
      /row 0: column "phys_addr": .*found null/,
    );
  });
});

describe('CSV', () => {
  it('has numbers in hexadecimal after 0x, kinds as words and numbers', async () => {
    expect((await ofFile(fixture('named/plain.csv'))).trace).toEqual([
      { cpu: 0, kind: 1, va: 0x7ffd_5b6f_8e48n, size: 8 },
      { cpu: 1, kind: 2, va: 140_726_139_915_856n, size: 4 },
      { cpu: 0, kind: 0, va: 0x40_1000n, size: 4 },
      { cpu: 2, kind: 33, va: 1n, size: 0 },
    ]);
  });

  it('may have quoted fields, with delimiters and lines in them, and an unknown pa', async () => {
    const { trace, metadata } = await ofFile(fixture('named/quoted.csv'));
    expect(trace).toEqual([
      { cpu: 0, kind: 1, va: 0x1000n, pa: 0x2000n },
      { cpu: 1, kind: 2, va: UNKNOWN, pa: UNKNOWN },
    ]);
    expect(metadata.notes).toEqual(['columns passed over: Function']);
  });

  it('may have no header, tabs, and addresses without 0x', async () => {
    const { trace } = await ofText('R\t7ffd5b6f8e48\t12\nS\t0xff\t1\n', {
      from: 'csv',
      set: { columns: 'op,address,size', base: '16' },
    });
    // The base is that of addresses only.
    expect(trace).toEqual([
      { cpu: 0, kind: 1, va: 0x7ffd_5b6f_8e48n, size: 12 },
      { cpu: 0, kind: 2, va: 0xffn, size: 1 },
    ]);
    const quoted = await ofText('"va";"kind"\n"ff";"R"\n', { set: { base: '16' } });
    expect(quoted.trace).toEqual([{ cpu: 0, kind: 1, va: 0xffn }]);
    await expect(ofText('va,kind\n1,R\n', { set: { base: '7' } })).rejects.toThrow(/--set base=7: expected 10 or 16/);
  });

  it.each([
    '0x1,R,70000',
    '0x1,R,-1',
    '0x1,Q,4',
    '0x1,250,4',
    'x,R,4',
    ',R,4',
    '0x1,R',
    '0x1,R,4,5',
    '0x1,R,4.5',
    '0x1,,4',
  ])('refuses the line %j', async (line) => {
    await expect(ofText(`va,kind,size\n0x1,R,4\n${line}\n`)).rejects.toThrow(/: line 3: expected a value of its type/);
  });

  it('refuses a wrong value and broken quotes in a file with quotes by their line', async () => {
    await expect(ofText('"va","kind"\n1,R\n"2","Q"\n')).rejects.toThrow(/: line 3: expected a value of its type/);
    await expect(ofText('"va","kind"\n1,R\n"2,R\n')).rejects.toThrow(/: line \d: expected a value of its type/);
  });
});

describe('NDJSON', () => {
  it('has members in any order, with exact numbers of 64 bits', async () => {
    expect((await ofFile(fixture('named/members.ndjson'))).trace).toEqual([
      { cpu: 0, kind: 1, va: 0x7ffd_5b6f_8e48n, size: 8 },
      { cpu: 1, kind: 2, va: UNKNOWN, size: 4 },
      { cpu: 2, kind: 0, va: 4096n, size: 1 },
    ]);
  });

  it('may leave out pa', async () => {
    const { trace } = await ofText('{"va":1,"kind":"R","pa":5}\n{"va":1,"kind":"R","pa":null}\n{"va":1,"kind":"R"}\n');
    expect(trace.map(({ pa }) => pa)).toEqual([5n, UNKNOWN, UNKNOWN]);
  });

  it.each([
    '{"va":1}',
    '{"va":1,"kind":"Q"}',
    '{"va":"x","kind":"R"}',
    '{"va":1 "kind":"R"}',
    '[1]',
    '{"va":1,"kind":"R"} x',
    '{"va":1.5,"kind":"R"}',
    '{"va":1,"kind":"R","z":"',
  ])('refuses the line %j', async (line) => {
    await expect(ofText(`{"va":1,"kind":"R"}\n${line}\n`)).rejects.toThrow(
      /: line 2: expected an object with kind, va|: line 2: expected an object with va, kind/,
    );
  });
});
