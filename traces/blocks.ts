// Cuts a byte stream where a parser wants it cut: whole records of a fixed size, or whole lines. A block is valid until
// the next one is asked for.

import { InputError } from './errors.js';

/** Bytes of a block of lines; also the longest line. */
const LINE_BLOCK_BYTES = 1 << 20;

/**
 * Blocks of `count` records of `recordBytes` bytes, aligned to 8 bytes; the last block may be shorter.
 * Throws InputError naming the record when the stream ends inside one.
 */
export async function* recordBlocks(
  chunks: AsyncIterable<Uint8Array>,
  recordBytes: number,
  count: number,
  source: string,
): AsyncGenerator<Uint8Array> {
  const block = new Uint8Array(new ArrayBuffer(recordBytes * count));
  let fill = 0;
  let records = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const taken = Math.min(chunk.length - at, block.length - fill);
      block.set(chunk.subarray(at, at + taken), fill);
      at += taken;
      fill += taken;
      if (fill < block.length) continue;
      yield block;
      records += count;
      fill = 0;
    }
  }
  const whole = fill - (fill % recordBytes);
  if (whole > 0) yield block.subarray(0, whole);
  if (whole < fill) {
    throw new InputError({
      source,
      at: `record ${records + whole / recordBytes}`,
      expected: `${recordBytes} bytes`,
      found: `the end of the file after ${fill - whole}`,
      advice: 'the file is truncated',
    });
  }
}

/** Blocks of whole lines, each ending in a newline; one is added where the last line has none. */
export async function* lineBlocks(chunks: AsyncIterable<Uint8Array>, source: string): AsyncGenerator<Uint8Array> {
  const NEWLINE = 10;
  const block = new Uint8Array(LINE_BLOCK_BYTES + 1);
  let fill = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const taken = Math.min(chunk.length - at, LINE_BLOCK_BYTES - fill);
      block.set(chunk.subarray(at, at + taken), fill);
      at += taken;
      fill += taken;
      if (fill < LINE_BLOCK_BYTES) continue;
      const cut = block.lastIndexOf(NEWLINE, fill - 1) + 1;
      if (cut === 0) {
        throw new InputError({
          source,
          expected: 'lines of text',
          found: `a line of more than ${LINE_BLOCK_BYTES} bytes`,
        });
      }
      yield block.subarray(0, cut);
      block.copyWithin(0, cut, fill);
      fill -= cut;
    }
  }
  if (fill === 0) return;
  if (block[fill - 1] !== NEWLINE) block[fill++] = NEWLINE;
  yield block.subarray(0, fill);
}
