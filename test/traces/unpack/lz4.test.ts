// LZ4: frames put together byte by byte, those of the lz4 program where it is installed, and damage.

import { execFileSync, spawnSync } from 'node:child_process';
import fc from 'fast-check';
import lz4 from 'lz4js';
import { describe, expect, it } from 'vitest';
import { unlz4 } from '../../../traces/unpack/lz4.js';
import { Xxh32 } from '../../../traces/unpack/xxh32.js';
import { expectDamageSeen, unpack } from './unpacking.js';

const hasLz4 = spawnSync('lz4', ['--version']).error === undefined;
/** Longer than two blocks of 64 KiB, with matches far and near. */
const PLAIN = Buffer.from(Array.from({ length: 20_000 }, (_, i) => `${(i * 7919) % 4093}\n`).join(''));

const le = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
/** The header of a frame with blocks of up to 64 KiB: 0x60 is version 1 and independent blocks. */
function header(flags = 0x60, size: number[] = []): Buffer {
  const descriptor = Buffer.from([flags, 0x40, ...size]);
  return Buffer.concat([
    le(0x184d_2204),
    descriptor,
    Buffer.from([(new Xxh32().update(descriptor).digest() >>> 8) & 0xff]),
  ]);
}
const END = le(0);
const block = (bytes: number[]) => Buffer.concat([le(bytes.length), Buffer.from(bytes)]);
const frame = (...blocks: number[][]) => Buffer.concat([header(), ...blocks.map(block), END]);
const read = (packed: Uint8Array, pieceBytes?: number) => unpack(unlz4, packed, pieceBytes);

describe('xxHash', () => {
  it('has the values of its specification, however the bytes come', () => {
    // xxhsum's own: the empty text, and "Nobody inspects the spammish repetition".
    expect(new Xxh32().digest()).toBe(0x02cc_5d05);
    const text = Buffer.from('Nobody inspects the spammish repetition');
    for (let cut = 0; cut <= text.length; cut++) {
      const hash = new Xxh32().update(text.subarray(0, cut)).update(text.subarray(cut));
      expect(hash.digest()).toBe(0xe229_3b2f);
    }
  });
});

describe('LZ4', () => {
  it('copies literals and matches, which may overlap themselves', async () => {
    // Token 0x32: 3 literals and a match of 2 + 4 bytes at offset 2; then 5 literals, the end of every block.
    const bytes = [0x32, 97, 98, 99, 2, 0, 0x50, 100, 101, 102, 103, 104];
    expect(String(await read(frame(bytes)))).toBe('abcbcbcbcdefgh');
    // A length of 15 goes on: 15 + 255 + 1 literals.
    const literals = Array.from({ length: 271 }, (_, i) => i & 0xff);
    expect([...(await read(frame([0xf0, 255, 1, ...literals])))]).toEqual(literals);
    // A match of 19 + 3 bytes of the byte before.
    expect(String(await read(frame([0x1f, 120, 1, 0, 3, 0x50, 97, 97, 97, 97, 97])))).toBe(`${'x'.repeat(23)}aaaaa`);
  });

  it('lets matches of linked blocks reach into the blocks before', async () => {
    const blocks = [
      [0x50, 97, 98, 99, 100, 101],
      [0x00, 5, 0, 0x50, 102, 103, 104, 105, 106],
    ].map(block);
    expect(String(await read(Buffer.concat([header(0x40), ...blocks, END])))).toBe('abcdeabcdfghij');
    await expect(read(Buffer.concat([header(0x60), ...blocks, END]))).rejects.toThrow(/an offset beyond the data/);
  });

  it('reads frames one after another, stored blocks, sizes, and passes over skippable frames', async () => {
    const stored = Buffer.concat([header(), le(0x8000_0003), Buffer.from('abc'), END]);
    const sized = Buffer.concat([header(0x68, [3, 0, 0, 0, 0, 0, 0, 0]), le(0x8000_0003), Buffer.from('def'), END]);
    const skippable = Buffer.concat([le(0x184d_2a5f), le(2), Buffer.from('xx')]);
    for (const piece of [1, 7, 1000]) {
      expect(String(await read(Buffer.concat([stored, skippable, sized]), piece))).toBe('abcdef');
    }
    expect((await read(Buffer.alloc(0))).length).toBe(0);
  });

  it('unpacks what lz4js packs', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3)), fc.integer({ min: 1, max: 20 }), async (few, times) => {
        const plain = Buffer.from(Array.from({ length: times }, () => few).flat());
        expect((await read(lz4.compress(plain))).equals(plain)).toBe(true);
      }),
    );
  });

  it.skipIf(!hasLz4)('unpacks what the lz4 program packs, in each of its ways', async () => {
    // -B4: blocks of 64 KiB; -BD: linked; -BX: block checksums; -l: legacy.
    for (const args of [
      ['-B4'],
      ['-B4', '-BD'],
      ['-B5', '-BX'],
      ['-9', '-BD'],
      ['--content-size'],
      ['--no-frame-crc'],
      ['-l'],
    ]) {
      const packed = execFileSync('lz4', ['-qc', ...args], { input: PLAIN });
      expect((await read(packed)).equals(PLAIN), args.join(' ')).toBe(true);
      expect((await read(Buffer.concat([packed, lz4.compress(PLAIN)]))).length, args.join(' ')).toBe(2 * PLAIN.length);
    }
  });

  it.each<[string, Buffer, RegExp]>([
    ['a dictionary', header(0x61), /a frame that needs a dictionary/],
    ['another version', header(0x20), /a frame of version 0/],
    [
      'a wrong header',
      Buffer.concat([header().subarray(0, 6), Buffer.from([0])]),
      /a wrong checksum of a frame header/,
    ],
    ['a large block', Buffer.concat([header(), le(70_000)]), /a block of 70000 bytes/],
    ['no end', header(), /unexpected end of file/],
    ['half a magic number', Buffer.concat([frame(), Buffer.from([4, 34])]), /unexpected end of file/],
    [
      'another file behind',
      Buffer.concat([frame(), Buffer.from('text')]),
      /0x74786574 instead of the start of a frame/,
    ],
    ['literals beyond the block', frame([0x50, 1, 2]), /a length beyond the block/],
    ['a length that does not end', frame([0xf0, 255]), /a length beyond the block/],
    ['an offset of 0', frame([0x10, 97, 0, 0, 0x10, 97]), /an offset beyond the data/],
    ['an offset before the start', frame([0x10, 97, 2, 0, 0x10, 97]), /an offset beyond the data/],
    ['half an offset', frame([0x10, 97, 1]), /a length beyond the block/],
    [
      'more than a block holds',
      frame([0x1f, 97, 1, 0, ...Array<number>(300).fill(255), 0]),
      /a length beyond the block/,
    ],
  ])('with %s is refused', async (_, packed, message) => {
    await expect(read(packed)).rejects.toThrow(/^packed: expected intact lz4-compressed data, found /);
    await expect(read(packed)).rejects.toThrow(message);
  });

  it('is refused when checksums do not agree', async () => {
    const sum = new Xxh32().update(Buffer.from('abc')).digest();
    const body = (blockSum: number) => Buffer.concat([le(0x8000_0003), Buffer.from('abc'), le(blockSum), END]);
    const whole = (blockSum: number, contentSum: number) =>
      Buffer.concat([header(0x74), body(blockSum), le(contentSum)]);
    expect(String(await read(whole(sum, sum)))).toBe('abc');
    await expect(read(whole(sum ^ 1, sum))).rejects.toThrow(/a wrong checksum of a block/);
    await expect(read(whole(sum, sum ^ 1))).rejects.toThrow(/a wrong checksum of the content/);
  });

  it.skipIf(!hasLz4)('is whole or refused when it is damaged', async () => {
    const packed = execFileSync('lz4', ['-qc', '-B4', '-BD'], { input: PLAIN.subarray(0, 3000) });
    await expectDamageSeen(unlz4, packed, (plain) => plain.equals(PLAIN.subarray(0, 3000)) || plain.length === 0);
  });
});
