// snappy's framing: chunks put together here, their checksums, and damage.

import fc from 'fast-check';
import snappy from 'snappyjs';
import { describe, expect, it } from 'vitest';
import { compressionOf } from '../../../traces/sniff.js';
import { crc32c } from '../../../traces/unpack/crc32c.js';
import { unsnappy } from '../../../traces/unpack/snappy.js';
import { expectDamageSeen, unpack } from './unpacking.js';

const chunk = (type: number, ...body: Uint8Array[]) => {
  const bytes = Buffer.concat(body);
  return Buffer.concat([Buffer.from([type, bytes.length, bytes.length >> 8, bytes.length >> 16]), bytes]);
};
const START = chunk(0xff, Buffer.from('sNaPpY'));
/** The checksum of a chunk: rotated and added to (framing_format.txt, 3). */
function masked(plain: Uint8Array): Uint8Array {
  const crc = crc32c(plain);
  return new Uint8Array(Uint32Array.of(((crc >>> 15) | (crc << 17)) + 0xa282_ead8).buffer);
}
const packed = (plain: Uint8Array) => chunk(0, masked(plain), snappy.compress(new Uint8Array(plain)));
const stored = (plain: Uint8Array) => chunk(1, masked(plain), plain);
const read = (bytes: Uint8Array, pieceBytes?: number) => unpack(unsnappy, bytes, pieceBytes);
const ABC = Buffer.from('abc');

describe('CRC-32C', () => {
  it('has the values of RFC 3720, B.4', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a91_36aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8_ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd_794e);
    // The check value of the CRC catalogues, of a length that is no multiple of four.
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe306_9283);
  });
});

describe('snappy', () => {
  it('reads chunks packed and stored, and passes over padding and what it may skip', async () => {
    const bytes = Buffer.concat([
      START,
      packed(ABC),
      chunk(0xfe, Buffer.alloc(9)),
      chunk(0x80, ABC),
      START,
      stored(ABC),
    ]);
    expect(compressionOf(bytes)).toBe('snappy');
    for (const piece of [1, 5, 1000]) expect(String(await read(bytes, piece))).toBe('abcabc');
  });

  it('unpacks what snappyjs packs', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3)), fc.integer({ min: 1, max: 50 }), async (few, times) => {
        const plain = Buffer.from(Array.from({ length: times }, () => few).flat());
        expect((await read(Buffer.concat([START, packed(plain)]))).equals(plain)).toBe(true);
      }),
    );
  });

  it.each<[string, Buffer, RegExp]>([
    [
      'a wrong checksum',
      chunk(0, Buffer.alloc(4), snappy.compress(new Uint8Array(ABC))),
      /a wrong checksum of a chunk/,
    ],
    ['no checksum', chunk(1, ABC), /a chunk without its checksum/],
    ['a chunk that must not be skipped', chunk(2, ABC), /a chunk of type 2/],
    ['another identifier', chunk(0xff, Buffer.from('sNaPpX')), /another stream identifier/],
    ['a cut chunk', packed(ABC).subarray(0, -1), /unexpected end of file/],
    ['a cut header', packed(ABC).subarray(0, 3), /unexpected end of file/],
    ['more than 64 KiB stored', stored(Buffer.alloc(70_000)), /a chunk of 70000 bytes/],
    ['more than 64 KiB packed', packed(Buffer.alloc(70_000)), /too big/],
  ])('with %s is refused', async (_, bytes, message) => {
    await expect(read(Buffer.concat([START, bytes]))).rejects.toThrow(message);
    await expect(read(Buffer.concat([START, bytes]))).rejects.toThrow(
      /^packed: expected intact snappy-compressed data/,
    );
  });

  it('is refused when it is damaged, unless whole chunks are missing or double', async () => {
    const plain = Buffer.from(Array.from({ length: 400 }, (_, i) => `${(i * 7919) % 409}\n`).join(''));
    // The framing has no end: what is cut between chunks is whole.
    await expectDamageSeen(unsnappy, Buffer.concat([START, packed(plain)]), (got) => got.length % plain.length === 0);
  });
});
