// The generator of pseudo-random numbers behind every scenario: sfc32 of PractRand (Chris Doty-Humphrey), 128 bits of state,
// seeded as there from one 64-bit number. The same seed gives the same rows everywhere.

const WARM_UP = 12;
const TWO_32 = 2 ** 32;

/** A stream of numbers that its seed decides. */
export class Random {
  private a = 0;
  private b: number;
  private c: number;
  private counter = 1;

  constructor(seed: number) {
    this.b = (seed % TWO_32) | 0;
    this.c = Math.floor(seed / TWO_32) | 0;
    for (let i = 0; i < WARM_UP; i++) this.word();
  }

  /** 32 random bits. */
  word(): number {
    const sum = (this.a + this.b + this.counter++) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** At least 0, below 1. */
  fraction(): number {
    return this.word() / TWO_32;
  }

  /** A whole number of 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** How often to go on when every step is the last one with probability 1 / `mean`: 1, 2, ... with that mean. */
  geometric(mean: number): number {
    let steps = 1;
    while (this.fraction() * mean >= 1) steps++;
    return steps;
  }

  /** 0 to `count` - 1 in random order (Fisher and Yates). */
  permutation(count: number): Uint32Array {
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}
