// What the tests of perf's formats share: an input made of bytes, and its rows and metadata.

import { type Input } from '../../traces/input.js';
import { type TraceMetadata } from '../../traces/metadata.js';
import { Threads } from '../../traces/threads.js';
import { type ParseOptions, type TraceFormat } from '../../traces/format.js';
import { plainRows, type Row } from './support.js';

export interface Read {
  rows: Row[];
  metadata: Partial<TraceMetadata>;
  warnings: string[];
}

/** Parses bytes, cut into chunks, as a format. */
export async function readAs(
  format: TraceFormat,
  bytes: Uint8Array,
  set: Record<string, string> = {},
  { chunkBytes = 1 << 16, name = 'test.data' } = {},
): Promise<Read> {
  const chunks = async function* () {
    for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
  };
  const input = { path: name, head: bytes.subarray(0, 65_536), size: null, chunks: chunks() } as Partial<Input>;
  const warnings: string[] = [];
  const settings: ParseOptions = {
    meta: {},
    set,
    threads: new Threads(null),
    warn: (text) => void warnings.push(text),
  };
  const parsed = await format.parse(input as Input, settings);
  const rows: Row[] = [];
  for await (const batch of parsed.batches) rows.push(...plainRows(batch, parsed.columns));
  return { rows, metadata: parsed.metadata(), warnings };
}

/** Number of mutations that a fuzz test makes. */
export const FUZZ_RUNS = Number(process.env.NODEWALK_FUZZ_RUNS ?? 300);

/** Numbers that look random, the same every time (Marsaglia's xorshift). */
export function random(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** A damaged copy: bits flipped, cut, spans doubled, removed, inserted or moved, words set to extremes. */
export function mutate(bytes: Uint8Array, below: (below: number) => number): Uint8Array {
  let mutated = Buffer.from(bytes);
  for (let changes = 1 + below(4); changes > 0 && mutated.length > 16; changes--) {
    const at = below(mutated.length);
    const span = 1 + below(Math.min(200, mutated.length - at));
    const piece = Buffer.from(mutated.subarray(at, at + span));
    switch (below(7)) {
      case 0:
        mutated[at] ^= 1 << below(8);
        break;
      case 1:
        mutated = mutated.subarray(0, at);
        break;
      case 2:
        mutated = Buffer.concat([mutated.subarray(0, at), piece, mutated.subarray(at)]);
        break;
      case 3:
        mutated = Buffer.concat([mutated.subarray(0, at), mutated.subarray(at + span)]);
        break;
      case 4:
        mutated = Buffer.concat([
          mutated.subarray(0, at),
          Buffer.from(piece.map(() => below(256))),
          mutated.subarray(at),
        ]);
        break;
      case 5: {
        // Sizes and counts are aligned words of 2, 4 or 8 bytes.
        const word = at & ~7;
        const width = [2, 4, 8][below(3)];
        mutated.fill([0, 0xff, 0x7f, 0x01][below(4)], word, Math.min(mutated.length, word + width));
        break;
      }
      case 6: {
        const to = below(mutated.length);
        piece.copy(mutated, to, 0, Math.min(span, mutated.length - to));
        break;
      }
    }
  }
  return mutated;
}
