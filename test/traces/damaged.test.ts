// Every format against damaged copies of its fixtures: rows or an InputError, soon, in bounded memory.

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { convert } from '../../traces/convert.js';
import { formatNamed } from '../../traces/detect.js';
import { MUTANTS, readMutants } from './mutations.js';
import { FIXTURES, scratch } from './support.js';

const path = scratch();
const fixture = (name: string) => readFileSync(new URL(`../fixtures/${name}`, import.meta.url));

/** Formats and the files that are damaged. */
const FILES: readonly [format: string, file: string][] = [
  ['trace', 'traces/pyarrow-plain.arrow'],
  ['trace', 'traces/pyarrow-lz4.arrow'],
  ['trace', 'traces/pyarrow-zstd.arrow'],
  ['trace', 'traces/pyarrow-stream.arrows'],
  ['raw24', 'traces/x86-1000.raw24'],
  ['champsim', 'champsim/gzip-100.champsimtrace'],
  ['champsim', 'champsim/cloudsuite-3.bin'],
  ['emt', 'emt/hand.bin'],
  ['execlog', 'execlog/machine.txt'],
  ['pinatrace', 'pinatrace/simple.out'],
  ['din', 'din/hand.din'],
  ['gem5', 'gem5/hand.trc'],
  ['ramulator', 'ramulator/dram.trace'],
  ['ramulator', 'ramulator/cpu.trace'],
  ['ramulator', 'ramulator/loadstore.trace'],
  ['memtrace', 'memtrace/hand.txt'],
  ['prospero', 'prospero/hand.txt'],
  ['csv', 'named/plain.csv'],
  ['csv', 'named/quoted.csv'],
  ['ndjson', 'named/members.ndjson'],
  ['arrow', 'named/plain.arrow'],
  ['arrow', 'named/dictionary-zstd.arrow'],
  ['arrow', 'named/floats.arrows'],
  ['parquet', 'named/plain.parquet'],
  ['parquet', 'named/snappy.parquet'],
  ['parquet', 'named/zstd.parquet'],
  ['parquet', 'named/delta.parquet'],
];

/** Longest that one small file may take; the machine may be busy. */
const TIMEOUT = 60_000 + 20 * MUTANTS;

describe('a damaged file', () => {
  it.each(FILES)(
    'of %s, %s',
    async (format, file) => {
      const { read, refused } = await readMutants(formatNamed(format), fixture(file), path(basename(file)));
      expect(read + refused).toBe(MUTANTS);
      // Damage that no reader notices would mean that the reader does not look.
      expect(refused).toBeGreaterThan(0);
    },
    TIMEOUT,
  );

  it(
    'of lackey',
    async () => {
      const text = '==1== Lackey\nI  0401ab70,3\n S 1fff000728,8\nSB 0401ab70\n L 04222c80,16\n M 04222c80,4\n'.repeat(
        5,
      );
      const { refused } = await readMutants(formatNamed('lackey'), Buffer.from(text), path('lackey.txt'));
      expect(refused).toBeGreaterThan(0);
    },
    TIMEOUT,
  );

  describe('of our own writing', () => {
    beforeAll(() => convert([`${FIXTURES}x86-1000.raw24`], path('own.arrow')));

    it(
      'of trace',
      async () => {
        const { refused } = await readMutants(
          formatNamed('trace'),
          readFileSync(path('own.arrow')),
          path('damaged.arrow'),
        );
        expect(refused).toBeGreaterThan(0);
      },
      TIMEOUT,
    );
  });
});
