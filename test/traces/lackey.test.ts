// The lackey parser: what it reads, and that every other line is refused by its number.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../traces/errors.js';
import { lackey } from '../../traces/formats/lackey.js';
import { type Input } from '../../traces/input.js';
import { OPTIONS, plainRows, type Row } from './support.js';

/** An input of these bytes, in chunks of `chunkBytes`. */
function inputOf(text: string, chunkBytes = 7): Input {
  const bytes = Buffer.from(text, 'latin1');
  const chunks = async function* () {
    for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
  };
  return { path: 'test.txt', head: bytes.subarray(0, 65536), size: null, chunks: chunks() } as Partial<Input> as Input;
}

async function parse(text: string, chunkBytes?: number): Promise<Row[]> {
  const { batches, columns } = await lackey.parse(inputOf(text, chunkBytes), OPTIONS);
  const rows: Row[] = [];
  for await (const batch of batches) rows.push(...plainRows(batch, columns));
  return rows;
}

describe('lackey', () => {
  it('reads fetches, loads and stores, and a modify as a load and then a store', async () => {
    expect(await parse('I  0401ab70,3\n S 1fff000728,8\n L 04222c80,16\n M 04222c80,4\n')).toEqual([
      { cpu: 0, kind: 0, va: 0x0401_ab70n, size: 3 },
      { cpu: 0, kind: 2, va: 0x1f_ff00_0728n, size: 8 },
      { cpu: 0, kind: 1, va: 0x0422_2c80n, size: 16 },
      { cpu: 0, kind: 1, va: 0x0422_2c80n, size: 4 },
      { cpu: 0, kind: 2, va: 0x0422_2c80n, size: 4 },
    ]);
  });

  it('reads what it would print, at any address and cut into any chunks', async () => {
    const KINDS = ['I  ', ' L ', ' S '];
    const line = fc.record({
      kind: fc.nat(2),
      va: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      size: fc.integer({ min: 1, max: 65_535 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.integer({ min: 1, max: 50 }), async (lines, chunkBytes) => {
        const text = lines.map((l) => `${KINDS[l.kind]}${l.va.toString(16).padStart(8, '0')},${l.size}\n`).join('');
        expect(await parse(text, chunkBytes)).toEqual(lines.map((l) => ({ cpu: 0, ...l })));
      }),
    );
  });

  it('skips superblocks and what Valgrind says', async () => {
    const text = '==12== Lackey\n==12==\n--12-- warning\nSB 04001000\n SB 04001000\nI  04001000,2\n==12== done\n';
    expect(await parse(text)).toEqual([{ cpu: 0, kind: 0, va: 0x0400_1000n, size: 2 }]);
  });

  it('takes lines that end with CR LF, and a last line without an end', async () => {
    expect(await parse('I  00001000,2\r\n L 00002000,4')).toEqual([
      { cpu: 0, kind: 0, va: 0x1000n, size: 2 },
      { cpu: 0, kind: 1, va: 0x2000n, size: 4 },
    ]);
  });

  it('keeps rows in order across batches when a modify straddles two', async () => {
    // 65,535 fetches, then a modify: its load is row 65,535, the last of the first batch, its store opens the second.
    const rows = await parse(`${'I  00001000,1\n'.repeat(65_535)} M 00002000,8\n L 00003000,4\n`, 100_000);
    expect(rows.length).toBe(65_538);
    expect(rows.slice(65_534).map((row) => row.kind)).toEqual([0, 1, 2, 1]);
    expect(rows[65_536].va).toBe(0x2000n);
  });

  it.each([
    'X  00001000,2',
    'I 00001000,2',
    'I  ,2',
    'I  0000g000,2',
    'I  00001000',
    'I  00001000,',
    'I  00001000,x',
    'I  00001000,0',
    'I  00001000,65536',
    'I  00001000,2 ',
    'I  10000000000000000,2',
    '  L 00001000,2',
    ' SB',
    '==12= text',
    'hello',
    '',
  ])('refuses the line %j by its number', async (line) => {
    const error = await parse(`I  00001000,2\n==1== text\n${line}\nI  00001000,2\n`).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(InputError);
    expect((error as InputError).message).toMatch(/^test.txt: line 3: expected a line of lackey such as/);
    expect((error as InputError).fault.found).toBe(JSON.stringify(line));
  });

  it('refuses a last line that is cut', async () => {
    await expect(parse('I  00001000,2\nI  0000')).rejects.toThrow('test.txt: line 2');
  });

  it('refuses a line without end', async () => {
    await expect(parse(`I  00001000,2\n${'a'.repeat(3_000_000)}`, 65_536)).rejects.toThrow(/line of more than/);
  });

  it('is recognised by its first line, whatever Valgrind says before', () => {
    const seen = (text: string) => lackey.detect(Buffer.from(text));
    expect(seen('==1== Lackey, an example Valgrind tool\nI  04001000,3\n')).toBe(true);
    expect(seen(' L 1fff000728,8\n')).toBe(true);
    expect(seen(' L 1FFF000728,8\n')).toBe(true);
    expect(seen('0 1000\n1 2000\n')).toBe(false);
    expect(seen('==1== only talk\n')).toBe(false);
    expect(seen('')).toBe(false);
  });
});
