// Streams merged by time, against a stable sort of all rows where no time runs backwards, and by hand where one does.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeByTime } from '../../traces/merge.js';
import { batchOf, eachOf, plainRows, type Row } from './support.js';

const COLUMNS = ['cpu', 'kind', 'va', 'time'] as const;

async function merged(streams: readonly (readonly Row[][])[]): Promise<Row[]> {
  const rows: Row[] = [];
  const inputs = streams.map((batches) => eachOf(batches.map((b) => batchOf(COLUMNS, b))));
  for await (const batch of mergeByTime(inputs, COLUMNS)) rows.push(...plainRows(batch, COLUMNS));
  return rows;
}

const row = (cpu: number, time: bigint, kind = 1): Row => ({ cpu, kind, va: time, time });

describe('mergeByTime', () => {
  it('is a stable sort where times do not run backwards', async () => {
    // Times on both sides of 32 bits, with many ties.
    const time = fc.oneof(fc.bigInt(0n, 9n), fc.bigInt(0xffff_fffen, 0x1_0000_0003n));
    const stream = fc.array(time, { maxLength: 40 }).map((times) => times.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
    await fc.assert(
      fc.asyncProperty(fc.array(stream, { maxLength: 5 }), fc.integer({ min: 1, max: 9 }), async (streams, cut) => {
        const rows = streams.map((times, cpu) => times.map((time) => row(cpu, time)));
        const batches = rows.map((all) =>
          Array.from({ length: Math.ceil(all.length / cut) }, (_, i) => all.slice(i * cut, (i + 1) * cut)),
        );
        const sorted = rows.flat().sort((a, b) => (a.time! < b.time! ? -1 : a.time! > b.time! ? 1 : 0));
        expect(await merged(batches)).toEqual(sorted);
      }),
    );
  });

  it('keeps the order of a stream whose time runs backwards', async () => {
    // Of 5 and 4, 4 is earlier; behind 5 the 1 is overdue.
    const rows = await merged([[[row(0, 5n), row(0, 1n)]], [[row(1, 4n), row(1, 6n)]]]);
    expect(rows.map(({ cpu, time }) => [cpu, time])).toEqual([
      [1, 4n],
      [0, 5n],
      [0, 1n],
      [1, 6n],
    ]);
  });

  it('leaves rows of operands behind their event, across batches', async () => {
    const rows = await merged([[[row(0, 1n, 37)], [row(0, 9n, 19)]], [[row(1, 2n)]]]);
    expect(rows.map(({ cpu, time }) => [cpu, time])).toEqual([
      [0, 1n],
      [0, 9n],
      [1, 2n],
    ]);
  });
});
