// What the tests of the unpackers share: unpacking in one go, and every kind of damage.

import { expect } from 'vitest';
import { InputError } from '../../../traces/errors.js';
import { type Unpacker } from '../../../traces/unpack/packed.js';
import { damaged, MUTANTS } from '../mutations.js';

/** The plain bytes, of packed ones that come in pieces of `pieceBytes`. */
export async function unpack(unpacker: Unpacker, packed: Uint8Array, pieceBytes = 1000): Promise<Buffer> {
  const pieces = async function* () {
    for (let at = 0; at < packed.length; at += pieceBytes) yield packed.subarray(at, at + pieceBytes);
  };
  const plain: Uint8Array[] = [];
  for await (const piece of unpacker(pieces(), 'packed')) plain.push(piece);
  return Buffer.concat(plain);
}

/** Damages `packed` in many ways; what is not refused has to be `plain`, or a part of it that `accept` takes. */
export async function expectDamageSeen(
  unpacker: Unpacker,
  packed: Uint8Array,
  accept: (plain: Buffer) => boolean,
): Promise<void> {
  let refused = 0;
  for (let seed = 1; seed <= MUTANTS; seed++) {
    const outcome = await unpack(unpacker, damaged(packed, seed)).catch((error: unknown) => error);
    if (outcome instanceof Buffer) expect(accept(outcome), `seed ${seed}`).toBe(true);
    else {
      expect(outcome, `seed ${seed}: ${String(outcome)}`).toBeInstanceOf(InputError);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(MUTANTS / 2);
}
