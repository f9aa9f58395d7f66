// The small text formats, from lines to rows; the grammar of each is in the head of its file.

import { describe, expect, it } from 'vitest';
import { converter, fixture } from './converted.js';
import { scratch } from './support.js';

const { ofFile, ofText } = converter(scratch());

describe('pinatrace', () => {
  it('gives the data accesses, without sizes where the lines have none', async () => {
    const { trace } = await ofFile(fixture('pinatrace/manual.out'));
    expect(trace).toEqual([
      { cpu: 0, kind: 2, va: 0x7ffd_5b6f_8e48n },
      { cpu: 0, kind: 1, va: 0x7f5c_3a2f_b0c8n },
      { cpu: 0, kind: 1, va: 0xffff_ffff_ff60_0000n },
    ]);
  });

  it('takes sizes, and passes over values', async () => {
    const { trace } = await ofFile(fixture('pinatrace/simple.out'));
    expect(trace).toEqual([
      { cpu: 0, kind: 2, va: 0x7ffd_5b6f_8e48n, size: 8 },
      { cpu: 0, kind: 1, va: 0x7f5c_3a2f_b0c8n, size: 4 },
    ]);
  });

  it.each(['0x1: X 0x2', '0x1 R 0x2', '1: R 0x2', '0x1: R 2', '0x1: R 0x2y', '0x1: R 0x12345678123456781'])(
    'refuses the line %j by its number',
    async (line) => {
      await expect(ofText(`0x1: R 0x2\n# talk\n${line}\n`, { from: 'pinatrace' })).rejects.toThrow(
        /: line 3: expected a line of pinatrace/,
      );
    },
  );
});

describe('din', () => {
  it('gives fetches, reads and writes, and counts escapes and flushes', async () => {
    const { trace, metadata } = await ofFile(fixture('din/hand.din'));
    expect(trace).toEqual([
      { cpu: 0, kind: 0, va: 0x40_8ed4n },
      { cpu: 0, kind: 1, va: 0x7fff_cca8n },
      { cpu: 0, kind: 2, va: 0x7fff_ccb0n },
      { cpu: 0, kind: 0, va: 0x40_8ed8n },
      { cpu: 0, kind: 0, va: 0x40_8edcn },
    ]);
    expect(metadata.filters).toEqual(['passed over 2 escape and flush records']);
  });

  it.each(['5 1000', '0', '0 xyz', '0x0 1000', '2 12345678123456781', 'x'])('refuses the line %j', async (line) => {
    await expect(ofText(`0 1000\n\n${line}\n`, { from: 'din' })).rejects.toThrow(/: line 3: expected a label from 0/);
  });
});

describe('memtrace', () => {
  it('gives every access, and passes over Valgrind and times', async () => {
    const { trace } = await ofFile(fixture('memtrace/hand.txt'));
    expect(trace).toEqual([
      { cpu: 0, kind: 0, va: 0x0493_5cafn, size: 6 },
      { cpu: 0, kind: 2, va: 0x1f_feff_f6d0n, size: 4 },
      { cpu: 0, kind: 1, va: 0x04c0_ea48n, size: 4 },
      { cpu: 0, kind: 0, va: 0x0400_1df0n, size: 4 },
    ]);
  });

  it.each(['read 0x1 4', 'readd 1 4', 'readd 0x1', 'readd 0x1 0', 'readd 0x1 65536', '== talk'])(
    'refuses the line %j',
    async (line) => {
      await expect(ofText(`readi 0x1 4\n${line}\n`, { from: 'memtrace' })).rejects.toThrow(/: line 2: expected a line/);
    },
  );
});

describe('Prospero text', () => {
  it('gives accesses with their cycle, exact to the last bit', async () => {
    const { trace, metadata } = await ofFile(fixture('prospero/hand.txt'));
    expect(trace).toEqual([
      { cpu: 0, kind: 1, va: 140_736_912_035_424n, size: 8, time: 1203n },
      { cpu: 0, kind: 2, va: 0x7fff_c0a8_1260n, size: 4, time: 1204n },
      { cpu: 0, kind: 1, va: 4096n, size: 64, time: 2n ** 64n - 1n },
    ]);
    expect(metadata.clock).toBe('cycles');
  });

  it('refuses numbers beyond 64 bits', async () => {
    await expect(ofText('18446744073709551616 R 0 8\n', { from: 'prospero' })).rejects.toThrow(/line 1/);
    await expect(ofText('1 R 99999999999999999999 8\n', { from: 'prospero' })).rejects.toThrow(/line 1/);
  });
});

describe('Ramulator', () => {
  it('DRAM traces are physical: va repeats pa', async () => {
    const { trace, metadata } = await ofFile(fixture('ramulator/dram.trace'));
    expect(trace).toEqual([
      { cpu: 0, kind: 1, va: 0x1234_5680n, pa: 0x1234_5680n },
      { cpu: 0, kind: 2, va: 0x4cbd_56c0n, pa: 0x4cbd_56c0n },
    ]);
    expect(metadata.notes).toContain('physical addresses: va repeats pa');
  });

  it('CPU traces give a read, and a store where a line is written back; bubbles are counted', async () => {
    const { trace, metadata } = await ofFile(fixture('ramulator/cpu.trace'));
    expect(trace).toEqual(
      [
        [1, 20_734_016n],
        [1, 20_846_400n],
        [1, 20_734_208n],
        [2, 20_841_280n],
        [1, 20_841_280n],
        [2, 20_841_280n],
      ].map(([kind, va]) => ({ cpu: 0, kind, va })),
    );
    expect(metadata.counts.bubbles).toBe(3 + 1 + 6 + 8);
  });

  it('LoadStoreTrace has decimal and hexadecimal addresses', async () => {
    const { trace } = await ofFile(fixture('ramulator/loadstore.trace'));
    expect(trace.map(({ kind, va }) => [kind, va])).toEqual([
      [1, 0x1234_5680n],
      [2, 0x0123_4567_89ab_cdefn],
    ]);
  });

  it('ReadWriteTrace is refused: it has no addresses', async () => {
    await expect(ofFile(fixture('ramulator/readwrite.trace'))).rejects.toThrow(/DRAM coordinates/);
  });

  it('refuses a line of another dialect', async () => {
    await expect(ofText('0x1000 R\nLD 0x1000\n', { from: 'ramulator' })).rejects.toThrow(
      /: line 2: expected a line of a DRAM trace such as "0x4cbd56c0 W", found "LD 0x1000"/,
    );
  });
});

it('batches of a text keep their order', async () => {
  // 70,000 rows are one whole batch of 65,536 and a part.
  const lines = Array.from({ length: 70_000 }, (_, i) => `${i % 3} ${(0xa000 + i).toString(16)}\n`);
  const { trace } = await ofText(lines.join(''));
  expect(trace.length).toBe(70_000);
  expect(trace.every(({ va }, i) => va === BigInt(0xa000 + i))).toBe(true);
});
