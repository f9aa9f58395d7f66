// A file's lines as text, one by one, packed or not.

import { lineBlocks } from '../blocks.js';
import { openInput } from '../input.js';

/** A line without its end; lines count from 1. */
export interface TextLine {
  line: number;
  text: string;
}

/** The lines of a file. Throws InputError where it cannot be read. */
export async function* textLines(path: string): AsyncGenerator<TextLine> {
  const input = await openInput(path);
  let line = 0;
  try {
    for await (const block of lineBlocks(input.chunks, path)) {
      const text = Buffer.from(block.buffer, block.byteOffset, block.length - 1).toString('latin1');
      for (const one of text.split('\n')) yield { line: ++line, text: one.endsWith('\r') ? one.slice(0, -1) : one };
    }
  } finally {
    await input.close();
  }
}

/** The start of a file as text, for detection. */
export function headText(head: Uint8Array): string {
  return Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 8192)).toString('latin1');
}
