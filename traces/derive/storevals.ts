// storevals.bin of a capture: the value in memory just after each recorded store, one u64 each, little-endian, in trace
// order. Packed or not; read in step with the records.

import { InputError } from '../errors.js';
import { openInput, type Input } from '../input.js';
import { packedFile } from './stores.js';

const FILE = 'storevals.bin';
const VALUE_BYTES = 8;

export class StoreValues {
  private readonly chunks: AsyncIterator<Uint8Array>;
  private rest = new Uint8Array(0);
  private taken = 0;

  private constructor(private readonly input: Input) {
    this.chunks = input.chunks[Symbol.asyncIterator]();
  }

  /** The values of a capture's folder; null when it has none. */
  static async open(folder: string): Promise<StoreValues | null> {
    const path = packedFile(folder, FILE);
    return path === null ? null : new StoreValues(await openInput(path));
  }

  /** Whether a capture's folder has them. */
  static areIn(folder: string): boolean {
    return packedFile(folder, FILE) !== null;
  }

  /** The values of the next stores, two words each, low word first. Throws InputError when there are fewer. */
  async take(count: number): Promise<Uint32Array> {
    const bytes = new Uint8Array(count * VALUE_BYTES);
    for (let filled = 0; filled < bytes.length;) {
      if (this.rest.length === 0) {
        const next = await this.chunks.next();
        if (next.done) throw this.refuse(`a value for every store, so at least ${this.taken + count}`, filled);
        this.rest = next.value.slice();
      }
      const part = this.rest.subarray(0, bytes.length - filled);
      bytes.set(part, filled);
      filled += part.length;
      this.rest = this.rest.subarray(part.length);
    }
    this.taken += count;
    return new Uint32Array(bytes.buffer);
  }

  /** Throws InputError when there are more values than stores. */
  async end(): Promise<void> {
    while (this.rest.length === 0) {
      const next = await this.chunks.next();
      if (next.done) return;
      this.rest = next.value.slice();
    }
    throw this.refuse(`${this.taken} values, one for every store`, null);
  }

  async close(): Promise<void> {
    await this.input.close();
  }

  private refuse(expected: string, filled: number | null): InputError {
    const found = filled === null ? 'more' : `${this.taken + Math.floor(filled / VALUE_BYTES)}`;
    const advice = 'the file belongs to another capture, or one of both is truncated';
    return new InputError({ source: this.input.path, expected, found, advice });
  }
}
