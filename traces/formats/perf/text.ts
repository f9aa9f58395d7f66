// Lines of perf's text, and the errors that name them.

import { lineBlocks } from '../../blocks.js';
import { InputError } from '../../errors.js';
import { shorten } from '../../sniff.js';

/** The lines of a text, many at a time. */
export async function* lineLists(chunks: AsyncIterable<Uint8Array>, source: string): AsyncGenerator<string[]> {
  for await (const block of lineBlocks(chunks, source)) {
    const lines = Buffer.from(block.buffer, block.byteOffset, block.length).toString('latin1').split('\n');
    // A block ends with a newline.
    lines.pop();
    yield lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  }
}

/** The whole lines of a file's start. */
export function firstLines(head: Uint8Array): string[] {
  const lines = Buffer.from(head.buffer, head.byteOffset, head.length).toString('latin1').split(/\r?\n/);
  return lines.length > 1 ? lines.slice(0, -1) : lines;
}

/** A line that is not what it should be. */
export function malformed(source: string, line: number, text: string, expected: string, advice: string): InputError {
  return new InputError({ source, at: `line ${line}`, expected, found: JSON.stringify(shorten(text)), advice });
}

/** Seconds and a fraction, as text, in nanoseconds. */
export function nanoseconds(seconds: string, fraction: string): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0').slice(0, 9));
}
