// LZ4: frames, one or several, with skippable ones between (lz4/doc/lz4_Frame_format.md), and the
// legacy frames of `lz4 -l`, block by block.
//   frame  = 04 22 4d 18, flags, block size, [content size 8], [dictionary 4], header checksum, block..., 0, [checksum 4]
//   block  = length 4 (bit 31: stored as it is), bytes, [checksum 4]         flags | 01 version | linked not | block sum | size | sum | 0 | dictionary |
//   legacy = 02 21 4c 18, (length 4, bytes)... until the end or another frame

import { ByteReader, unpackFault, word } from './packed.js';
import { Xxh32 } from './xxh32.js';

const FRAME = 0x184d_2204;
const LEGACY = 0x184c_2102;
const SKIPPABLE = 0x184d_2a50;
const isSkippable = (magic: number) => (magic & 0xffff_fff0) >>> 0 === SKIPPABLE;

const VERSION_MASK = 0xc0;
const VERSION = 0x40;
const INDEPENDENT = 0x20;
const BLOCK_SUM = 0x10;
const CONTENT_SIZE = 0x08;
const CONTENT_SUM = 0x04;
const DICTIONARY = 0x01;
const STORED = 0x8000_0000;
/** Bytes of a block by the number in the header. */
const BLOCK_BYTES: Readonly<Record<number, number>> = { 4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22 };
const LEGACY_BLOCK_BYTES = 1 << 23;
/** How far back a match may reach. */
const WINDOW_BYTES = 1 << 16;

export async function* unlz4(packed: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(packed);
  try {
    let magic = await nextMagic(reader);
    while (magic !== null) {
      if (magic === LEGACY) magic = yield* legacyFrame(reader);
      else {
        if (magic === FRAME) yield* frame(reader);
        else if (isSkippable(magic)) await reader.skip(word(await reader.exactly(4)));
        else throw new RangeError(`0x${magic.toString(16).padStart(8, '0')} instead of the start of a frame`);
        magic = await nextMagic(reader);
      }
    }
  } catch (error) {
    throw unpackFault(error, path, 'lz4');
  }
}

/** The four bytes that begin a frame; null at the end of the stream. */
async function nextMagic(reader: ByteReader): Promise<number | null> {
  const bytes = await reader.upTo(4);
  if (bytes.length === 0) return null;
  if (bytes.length < 4) throw new RangeError('unexpected end of file');
  return word(bytes);
}

async function* frame(reader: ByteReader): AsyncGenerator<Uint8Array> {
  const [flags, sizeByte] = await reader.exactly(2);
  if ((flags & VERSION_MASK) !== VERSION) throw new RangeError(`a frame of version ${flags >>> 6}`);
  if ((flags & DICTIONARY) !== 0) throw new RangeError('a frame that needs a dictionary');
  const blockBytes = BLOCK_BYTES[(sizeByte >>> 4) & 7];
  if (blockBytes === undefined) throw new RangeError(`a block size numbered ${(sizeByte >>> 4) & 7}`);
  const header = new Xxh32().update(Uint8Array.of(flags, sizeByte));
  if ((flags & CONTENT_SIZE) !== 0) header.update(await reader.exactly(8));
  const [headerSum] = await reader.exactly(1);
  if (((header.digest() >>> 8) & 0xff) !== headerSum) throw new RangeError('a wrong checksum of a frame header');

  const sum = new Xxh32();
  const window = new Window(blockBytes, (flags & INDEPENDENT) === 0);
  for (;;) {
    const length = word(await reader.exactly(4));
    if (length === 0) break;
    const bytes = length & ~STORED;
    if (bytes > blockBytes) throw new RangeError(`a block of ${bytes} bytes`);
    const block = await reader.exactly(bytes);
    const plain = length >= STORED ? window.stored(block) : window.unpack(block);
    if ((flags & BLOCK_SUM) !== 0) {
      const found = new Xxh32().update(block).digest();
      if (found !== word(await reader.exactly(4))) throw new RangeError('a wrong checksum of a block');
    }
    if ((flags & CONTENT_SUM) !== 0) sum.update(plain);
    yield plain;
  }
  if ((flags & CONTENT_SUM) !== 0 && sum.digest() !== word(await reader.exactly(4))) {
    throw new RangeError('a wrong checksum of the content');
  }
}

/** The blocks of a legacy frame; returns the magic number of the frame after it, null at the end. */
async function* legacyFrame(reader: ByteReader): AsyncGenerator<Uint8Array, number | null> {
  const window = new Window(LEGACY_BLOCK_BYTES, false);
  for (;;) {
    const length = await nextMagic(reader);
    if (length === null || length === FRAME || length === LEGACY || isSkippable(length)) return length;
    if (length > 2 * LEGACY_BLOCK_BYTES) throw new RangeError(`a block of ${length} bytes`);
    yield window.unpack(await reader.exactly(length));
  }
}

/** The last plain bytes, to which matches of linked blocks refer, and room for a block behind them. */
class Window {
  private readonly bytes: Uint8Array;
  /** Where the next block begins; matches may reach back to the start of `bytes`. */
  private start = 0;

  constructor(
    private readonly blockBytes: number,
    private readonly linked: boolean,
  ) {
    this.bytes = new Uint8Array(blockBytes + (linked ? WINDOW_BYTES : 0));
  }

  /** The plain bytes of a packed block. */
  unpack(block: Uint8Array): Uint8Array {
    const limit = this.start + this.blockBytes;
    return this.taken(unpackBlock(block, this.bytes, this.start, limit));
  }

  /** A block that is not packed. */
  stored(block: Uint8Array): Uint8Array {
    this.bytes.set(block, this.start);
    return this.taken(this.start + block.length);
  }

  private taken(end: number): Uint8Array {
    const plain = this.bytes.slice(this.start, end);
    if (this.linked) {
      const keep = Math.min(end, WINDOW_BYTES);
      this.bytes.copyWithin(0, end - keep, end);
      this.start = keep;
    }
    return plain;
  }
}

/**
 * Unpacks a block (lz4/doc/lz4_Block_format.md) into `to` from `at` on, no further than `limit`; returns where it ends.
 * Throws RangeError for a length or an offset that leads outside.
 */
function unpackBlock(block: Uint8Array, to: Uint8Array, at: number, limit: number): number {
  for (let from = 0; from < block.length;) {
    const token = block[from++];
    let literals = token >>> 4;
    if (literals === 15) {
      let more: number;
      do literals += more = block[from++];
      while (more === 255);
    }
    const literalsEnd = from + literals;
    // Written so that NaN, the sum when the block ends within a length, is outside too.
    if (!(literalsEnd <= block.length && at + literals <= limit)) throw new RangeError('a length beyond the block');
    if (literals > 32) {
      to.set(block.subarray(from, literalsEnd), at);
      at += literals;
      from = literalsEnd;
    } else while (from < literalsEnd) to[at++] = block[from++];
    if (from === block.length) break;

    const offset = block[from] | (block[from + 1] << 8);
    from += 2;
    let length = (token & 15) + 4;
    if (length === 19) {
      let more: number;
      do length += more = block[from++];
      while (more === 255);
    }
    if (!(from <= block.length && at + length <= limit)) throw new RangeError('a length beyond the block');
    if (offset === 0 || offset > at) throw new RangeError('an offset beyond the data');
    if (length > 32 && length <= offset) {
      to.copyWithin(at, at - offset, at - offset + length);
      at += length;
    } else for (const end = at + length; at < end; at++) to[at] = to[at - offset];
  }
  return at;
}
