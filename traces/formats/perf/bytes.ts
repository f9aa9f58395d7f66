// Reads a stream of chunks by sizes: so many bytes in one piece, or whatever comes next.

const NOTHING = new Uint8Array(0);

/** What is taken is valid until more is read. */
export class ByteReader {
  /** Offset in the stream of what is taken next. */
  position = 0;
  private readonly chunks: AsyncIterator<Uint8Array>;
  private buffer: Uint8Array = NOTHING;
  private at = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.chunks = chunks[Symbol.asyncIterator]();
  }

  /** Bytes at hand. */
  get ready(): number {
    return this.buffer.length - this.at;
  }

  /** Reads until `size` bytes are at hand; false when the stream ends before. */
  async fill(size: number): Promise<boolean> {
    if (this.ready >= size) return true;
    const parts = this.ready > 0 ? [this.buffer.subarray(this.at)] : [];
    for (let have = this.ready; have < size;) {
      const next = await this.chunks.next();
      if (next.done) break;
      parts.push(next.value);
      have += next.value.length;
    }
    this.buffer = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    this.at = 0;
    return this.ready >= size;
  }

  /** The next `size` bytes, which are at hand. */
  take(size: number): Uint8Array {
    const taken = this.buffer.subarray(this.at, this.at + size);
    this.at += taken.length;
    this.position += taken.length;
    return taken;
  }

  /** The next bytes, at least one and at most `most`; null at the end of the stream. */
  async some(most: number): Promise<Uint8Array | null> {
    if (!(await this.fill(1))) return null;
    return this.take(Math.min(most, this.ready));
  }

  /** The next `size` bytes at hand, without taking them. */
  peek(size: number): DataView {
    return new DataView(this.buffer.buffer, this.buffer.byteOffset + this.at, size);
  }
}
