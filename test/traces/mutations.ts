// Damaged files for the readers: bytes flipped, cut off, doubled, left out, or set to the extremes of a number. A reader
// has to answer each with rows or with an InputError, soon and in bounded memory. NODEWALK_FUZZ_RUNS says how many.

import { writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { InputError, NodewalkError } from '../../traces/errors.js';
import { type TraceFormat } from '../../traces/format.js';
import { openInput } from '../../traces/input.js';
import { OPTIONS } from './support.js';

/** How many damaged files each format is tried with. */
export const MUTANTS = Number(process.env.NODEWALK_FUZZ_RUNS ?? 300);

/** A generator of numbers below `bound`; mulberry32. */
export function numbersFrom(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

/** One to four kinds of damage done to a copy of `bytes`. */
export function damaged(bytes: Uint8Array, seed: number): Uint8Array {
  const below = numbersFrom(seed);
  let copy = Uint8Array.from(bytes);
  for (let left = 1 + below(4); left > 0; left--) {
    const at = below(copy.length + 1);
    const span = 1 + below(Math.min(64, copy.length + 1));
    const extreme = [0x00, 0xff, 0x7f, 0x80][below(4)];
    switch (below(6)) {
      case 0:
        if (at < copy.length) copy[at] ^= 1 << below(8);
        break;
      case 1:
        copy = copy.slice(0, at);
        break;
      case 2:
        copy = Uint8Array.from([...copy.subarray(0, at), ...copy.subarray(at, at + span), ...copy.subarray(at)]);
        break;
      case 3:
        copy = Uint8Array.from([...copy.subarray(0, at), ...copy.subarray(at + span)]);
        break;
      case 4:
        copy.fill(extreme, at, at + [1, 2, 4, 8][below(4)]);
        break;
      default:
        if (at < copy.length) copy[at] = below(256);
    }
  }
  return copy;
}

/** Bytes of rows that no file of some KiB may turn into: a reader that makes more of them is not bounded. */
const MAX_ROWS = 50_000_000;

/**
 * Reads `MUTANTS` damaged copies of a small file in `format`. Fails, naming the seed, when one of them ends in anything
 * but rows or an InputError, or takes longer than `milliseconds`. Returns how many of them were read and how many refused.
 */
export async function readMutants(
  format: TraceFormat,
  bytes: Uint8Array,
  file: string,
  milliseconds = 10_000,
): Promise<{ read: number; refused: number }> {
  const outcome = { read: 0, refused: 0 };
  for (let seed = 1; seed <= MUTANTS; seed++) {
    writeFileSync(file, damaged(bytes, seed));
    const began = performance.now();
    let rows = 0;
    try {
      const input = await openInput(file);
      try {
        const parsed = await format.parse(input, OPTIONS);
        for await (const batch of parsed.batches) {
          rows += batch.rows;
          if (rows > MAX_ROWS) throw new Error(`more than ${MAX_ROWS} rows`);
        }
        parsed.metadata();
      } finally {
        await input.close();
      }
      outcome.read++;
    } catch (error) {
      const seen = error instanceof Error ? error.stack : error;
      expect(error, `${format.name}, seed ${seed}: ${seen as string}`).toBeInstanceOf(NodewalkError);
      if (error instanceof InputError) expect(error.message, `${format.name}, seed ${seed}`).toContain(file);
      outcome.refused++;
    }
    expect(performance.now() - began, `${format.name}, seed ${seed}: milliseconds`).toBeLessThan(milliseconds);
  }
  return outcome;
}
