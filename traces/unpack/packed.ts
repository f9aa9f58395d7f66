// What every way of unpacking takes and gives, the error for data that cannot be unpacked, and a reader of exact lengths
// for the formats whose blocks are cut in JavaScript.

import { InputError } from '../errors.js';
import { type Compression } from '../sniff.js';

/** Turns packed bytes into plain ones. Throws InputError when they are damaged or end too early. */
export type Unpacker = (packed: AsyncIterable<Uint8Array>, path: string) => AsyncGenerator<Uint8Array>;

/** The error for data that cannot be unpacked; `found` is what is wrong with it. */
export function damaged(path: string, compression: Compression | 'zip', found: string): InputError {
  return new InputError({
    source: path,
    expected: `intact ${compression}-compressed data`,
    found,
    advice: 'the file is truncated or damaged; fetch it again',
  });
}

/** Any error of an unpacker as one for the user. */
export function unpackFault(error: unknown, path: string, compression: Compression | 'zip'): InputError {
  if (error instanceof InputError) return error;
  return damaged(path, compression, error instanceof Error ? error.message : String(error));
}

/** Bytes of a stream in the lengths asked for. */
export class ByteReader {
  private readonly chunks: AsyncIterator<Uint8Array>;
  private chunk: Uint8Array = new Uint8Array(0);
  private at = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.chunks = chunks[Symbol.asyncIterator]();
  }

  /** The next `length` bytes, or fewer at the end of the stream; valid until the stream's next chunk is asked for. */
  async upTo(length: number): Promise<Uint8Array> {
    if (this.chunk.length - this.at >= length) return this.take(length);
    const parts: Uint8Array[] = [];
    for (let missing = length; missing > 0;) {
      if (this.at === this.chunk.length) {
        const next = await this.chunks.next();
        if (next.done) break;
        this.chunk = next.value;
        this.at = 0;
      }
      const part = this.take(missing);
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  /** The next `length` bytes. Throws RangeError when the stream ends before. */
  async exactly(length: number): Promise<Uint8Array> {
    const bytes = await this.upTo(length);
    if (bytes.length < length) throw new RangeError('unexpected end of file');
    return bytes;
  }

  /** Passes over `length` bytes. Throws RangeError when the stream ends before. */
  async skip(length: number): Promise<void> {
    const STEP = 1 << 16;
    for (let left = length; left > 0; left -= STEP) await this.exactly(Math.min(left, STEP));
  }

  private take(length: number): Uint8Array {
    const part = this.chunk.subarray(this.at, this.at + length);
    this.at += part.length;
    return part;
  }
}

/** A little-endian number of four bytes. */
export function word(bytes: Uint8Array, at = 0): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}
