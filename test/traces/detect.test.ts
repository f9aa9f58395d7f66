// Which format every fixture is in: the right one, and no other format claims it.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FORMATS } from '../../traces/detect.js';
import { fixture } from './converted.js';
import { openInput } from '../../traces/input.js';

const FIXTURES: Readonly<Record<string, readonly string[]>> = {
  trace: ['traces/pyarrow-plain.arrow', 'traces/pyarrow-lz4.arrow', 'traces/pyarrow-stream.arrows'],
  arrow: ['named/plain.arrow', 'named/dictionary-zstd.arrow', 'named/floats.arrows'],
  parquet: ['named/plain.parquet', 'named/snappy.parquet', 'named/zstd.parquet', 'named/delta.parquet'],
  gem5: ['gem5/hand.trc'],
  raw24: ['traces/x86-1000.raw24'],
  emt: ['emt/hand.bin', 'emt/ecpt.bin'],
  champsim: ['champsim/gzip-100.champsimtrace', 'champsim/cloudsuite-3.bin'],
  lackey: ['twotools/lackey.txt.zst'],
  execlog: ['execlog/machine.txt', 'execlog/execlog-user.txt.zst', 'execlog/execlog-system.txt.zst'],
  pinatrace: ['pinatrace/manual.out', 'pinatrace/simple.out'],
  memtrace: ['memtrace/hand.txt'],
  prospero: ['prospero/hand.txt'],
  din: ['din/hand.din'],
  ramulator: ['ramulator/dram.trace', 'ramulator/cpu.trace', 'ramulator/loadstore.trace', 'ramulator/readwrite.trace'],
  ndjson: ['named/members.ndjson'],
  csv: ['named/plain.csv', 'named/quoted.csv'],
};

/** Traces have named columns too. */
const ALSO: Readonly<Record<string, readonly string[]>> = { trace: ['arrow'] };

describe('detection by content', () => {
  it('has fixtures of every format', () => {
    for (const { name } of FORMATS.filter(({ name }) => name in FIXTURES))
      expect(FIXTURES[name].length).toBeGreaterThan(0);
    expect(FORMATS.map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(FIXTURES)));
  });

  const files = Object.entries(FIXTURES).flatMap(([format, names]) => names.map((name) => [name, format] as const));
  it.each(files)('%s is %s and nothing else', async (name, format) => {
    const input = await openInput(fixture(name));
    try {
      const claims = FORMATS.filter((f) => f.detect(input.head)).map((f) => f.name);
      expect(claims).toEqual([format, ...(ALSO[format] ?? [])]);
    } finally {
      await input.close();
    }
  });

  it.each([
    ['an empty file', Buffer.alloc(0)],
    ['zeros', Buffer.alloc(4096)],
    ['ones', Buffer.alloc(4096, 0xff)],
    ['prose', Buffer.from('hello, world\nthis is text, with commas\n')],
    ['a table of something else', Buffer.from('name,age\nx,1\n')],
    ['an object of something else', Buffer.from('{"name":"x"}\n')],
    ['this program', readFileSync(new URL(import.meta.url))],
  ])('%s is in none', (_, head) => {
    expect(FORMATS.filter((f) => f.detect(head)).map((f) => f.name)).toEqual([]);
  });

  it('tells din from CPU traces of Ramulator where addresses have decimal digits only', () => {
    const first = (text: string) => FORMATS.find((f) => f.detect(Buffer.from(text)))?.name;
    // Labels 0 to 2 can be both: a bubble count stays that small for hardly ever more than a few lines.
    expect(first('2 1000\n0 2000\n1 3000\n')).toBe('din');
    expect(first('3 20734016\n1 20846400\n')).toBe('ramulator');
    expect(first('0 7fffcca8\n4 0\n')).toBe('din');
  });
});
