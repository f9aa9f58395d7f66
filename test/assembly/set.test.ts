// The set of a TLB array on its own: the step that looks an entry up and enters it without branching (SIMD) does exactly what a
// look-up followed by an insertion does.

import asc from 'assemblyscript/asc';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';

interface SetFunctions {
  memory: { buffer: ArrayBuffer };
  ENTRY_BYTES: { value: number };
  clear(set: number, ways: number): void;
  lookup(set: number, ways: number, tag: bigint, context: bigint): number;
  insert(set: number, ways: number, tag: bigint, context: bigint): void;
  touch(set: number, ways: number, tag: bigint, context: bigint): number;
  remove(set: number, ways: number, tag: bigint, context: bigint): void;
}

let sets: SetFunctions;

beforeAll(async () => {
  const options = ['--runtime', 'stub', '--enable', 'simd', '--initialMemory', '1', '-O3', '--outFile', 'set.wasm'];
  let binary: Uint8Array<ArrayBuffer> | undefined;
  const writeFile = (name: string, contents: Uint8Array<ArrayBuffer>) => {
    if (name.endsWith('.wasm')) binary = contents;
  };
  const { error, stderr } = await asc.main(['assembly/tlb/set.ts', ...options], { writeFile: writeFile as never });
  if (error) throw new Error(stderr.toString());
  const { instance } = await WebAssembly.instantiate(binary!, { env: { abort: () => {} } });
  sets = instance.exports as unknown as SetFunctions;
});

const A = 4096;
const B = 8192;
const words = (set: number, ways: number) => [...new BigUint64Array(sets.memory.buffer, set, ways * 2)];
const tags = (set: number, ways: number) => words(set, ways).filter((_, i) => i % 2 === 0);

/** Few tags and contexts, some of which agree in one half only. */
const key = fc.tuple(fc.constantFrom(0n, 1n, 2n, 7n, 0xffff_ffff_ffff_fffen), fc.constantFrom(0n, 12n, 7n));

describe('a set', () => {
  it('touch is lookup, then insert on a miss', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 16 }), fc.array(key, { maxLength: 60 }), (ways, keys) => {
        sets.clear(A, ways);
        sets.clear(B, ways);
        for (const [tag, context] of keys) {
          const hit = sets.lookup(A, ways, tag, context);
          if (!hit) sets.insert(A, ways, tag, context);
          expect(Boolean(sets.touch(B, ways, tag, context))).toBe(Boolean(hit));
          expect(words(B, ways)).toEqual(words(A, ways));
        }
      }),
    );
  });

  it('keeps entries in order of use and drops the least recent', () => {
    sets.clear(A, 3);
    for (const tag of [1n, 2n, 3n]) sets.touch(A, 3, tag, 0n);
    expect(tags(A, 3)).toEqual([3n, 2n, 1n]);
    sets.lookup(A, 3, 1n, 0n);
    expect(tags(A, 3)).toEqual([1n, 3n, 2n]);
    sets.insert(A, 3, 4n, 0n);
    expect(tags(A, 3)).toEqual([4n, 1n, 3n]);
  });

  it('removing an entry keeps the order of the others', () => {
    sets.clear(A, 3);
    for (const tag of [1n, 2n, 3n]) sets.touch(A, 3, tag, 0n);
    sets.remove(A, 3, 2n, 0n);
    expect(tags(A, 3)).toEqual([3n, 1n, 0xffff_ffff_ffff_ffffn]);
    sets.remove(A, 3, 3n, 5n);
    expect(tags(A, 3)).toEqual([3n, 1n, 0xffff_ffff_ffff_ffffn]);
  });
});
