// The numbers and the working sets that scenarios draw from.

import { describe, expect, it } from 'vitest';
import { Random } from '../../../host/synth/random.js';
import { fits, WorkingSet } from '../../../host/synth/workingSet.js';

describe('Random', () => {
  it('is sfc32 as PractRand defines it', () => {
    // The definition in 32-bit arithmetic of BigInt: tmp = a + b + counter++; a = b ^ (b >> 9); b = c + (c << 3);
    // c = rotl(c, 21) + tmp; seeded a = 0, b and c the seed's halves, counter = 1, 12 rounds thrown away.
    const word = (n: bigint) => BigInt.asUintN(32, n);
    const seed = 0x1_2345_6789_abcdn;
    let [a, b, c, counter] = [0n, word(seed), seed >> 32n, 1n];
    const next = () => {
      const sum = word(a + b + counter++);
      a = b ^ (b >> 9n);
      b = word(c + (c << 3n));
      c = word(word((c << 21n) | (c >> 11n)) + sum);
      return Number(sum);
    };
    for (let i = 0; i < 12; i++) next();
    const random = new Random(Number(seed));
    for (let i = 0; i < 1000; i++) expect(random.word()).toBe(next());
  });

  it('permutes', () => {
    const order = new Random(3).permutation(1000);
    expect([...order].sort((x, y) => x - y)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect([...order]).not.toEqual([...order].sort((x, y) => x - y));
  });

  it('draws geometric lengths of the mean', () => {
    const random = new Random(1);
    const draws = Array.from({ length: 20_000 }, () => random.geometric(4));
    const mean = draws.reduce((sum, n) => sum + n, 0) / draws.length;
    // Standard deviation sqrt(4 x 3) = 3.46, of the mean 0.0245: five of them.
    expect(Math.abs(mean - 4)).toBeLessThan(0.13);
    expect(Math.min(...draws)).toBe(1);
    expect(random.geometric(1)).toBe(1);
  });
});

describe('WorkingSet', () => {
  const text = { va: 0x1000_0000n, bytes: 1000 * 64 };
  const shape = { bytes: 50 * 64, functionLines: 5, runLines: 2, skew: 1 };

  it('spreads its functions evenly and sweeps every line once', () => {
    const lines = [...new WorkingSet(text, shape, new Random(1)).sweep()].map((va) => Number(va - text.va) / 64);
    // 10 functions of 5 lines in 1,000 lines of text: function i at line 100 i.
    const expected = Array.from({ length: 50 }, (_, i) => 100 * Math.floor(i / 5) + (i % 5));
    expect([...lines].sort((x, y) => x - y)).toEqual(expected);
    expect(lines.slice(0, 5).map((line) => line % 100)).toEqual([0, 1, 2, 3, 4]);
  });

  it('fits where the text has a line for every line of its functions', () => {
    expect(fits({ va: 0n, bytes: 50 * 64 }, shape)).toBe(true);
    expect(fits({ va: 0n, bytes: 49 * 64 }, shape)).toBe(false);
    expect(fits({ va: 0n, bytes: 49 * 64 }, { ...shape, bytes: 46 * 64 })).toBe(false);
  });

  it('draws the starts of runs by a Zipf law', () => {
    // Runs of one line, exponent 1, 50 lines: rank r has the share (1 / r) / H(50), H(50) = 4.4992.
    const walk = new WorkingSet(text, { ...shape, runLines: 1 }, new Random(1)).walk();
    const counts = new Map<bigint, number>();
    const draws = 50_000;
    for (let i = 0; i < draws; i++) {
      const va = walk.next().value;
      counts.set(va, (counts.get(va) ?? 0) + 1);
    }
    const shares = [...counts.values()].sort((x, y) => y - x).map((n) => n / draws);
    // Standard deviation of a share s: sqrt(s (1 - s) / 50,000), at most 0.0019.
    for (const rank of [1, 2, 3]) expect(Math.abs(shares[rank - 1] - 1 / rank / 4.4992)).toBeLessThan(0.01);
  });

  it('goes on from line to line in a run', () => {
    const walk = new WorkingSet(text, { ...shape, runLines: 1000, skew: 0 }, new Random(2)).walk();
    const sorted = [...new WorkingSet(text, shape, new Random(2)).sweep()].sort((x, y) => Number(x - y));
    const [first, second, third] = [walk.next().value, walk.next().value, walk.next().value];
    const at = sorted.indexOf(first);
    expect([second, third]).toEqual([sorted[(at + 1) % 50], sorted[(at + 2) % 50]]);
  });
});
