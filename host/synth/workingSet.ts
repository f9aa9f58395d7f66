// The lines of code that a load uses: small functions spread evenly over a text, as the hot code of a kernel is. They are
// fetched once each (`sweep`), or in runs whose first line is drawn by a Zipf law over the lines, rank 1 being any of them, and
// whose length is geometric, as basic blocks are between taken branches (`walk`).

import { LINE, type Range } from './kernels.js';
import { type Random } from './random.js';

export interface WorkingSetShape {
  /** Bytes of code that are used. */
  bytes: number;
  functionLines: number;
  /** Mean length of a run. */
  runLines: number;
  /** Exponent of the Zipf law; 0: all lines alike. */
  skew: number;
}

/** Whether a text has room for the functions. */
export function fits(text: Range, { bytes, functionLines }: Pick<WorkingSetShape, 'bytes' | 'functionLines'>): boolean {
  return Math.ceil(bytes / LINE / functionLines) * functionLines * LINE <= text.bytes;
}

export class WorkingSet {
  /** The address of every line. */
  private readonly va: BigUint64Array;
  /** The line of every rank. */
  private readonly ranked: Uint32Array;
  /** By rank: the sum of the weights up to it. */
  private readonly weights: Float64Array;
  private readonly order: Uint32Array;

  constructor(
    text: Range,
    private readonly shape: WorkingSetShape,
    private readonly random: Random,
  ) {
    const lines = shape.bytes / LINE;
    const functions = Math.ceil(lines / shape.functionLines);
    const textLines = Math.floor(text.bytes / LINE);
    this.va = BigUint64Array.from({ length: lines }, (_, i) => {
      const start = Math.floor((Math.floor(i / shape.functionLines) * textLines) / functions);
      return text.va + BigInt(LINE * (start + (i % shape.functionLines)));
    });
    this.ranked = random.permutation(lines);
    let sum = 0;
    this.weights = Float64Array.from({ length: lines }, (_, rank) => (sum += (rank + 1) ** -shape.skew));
    this.order = random.permutation(functions);
  }

  /** Every line once, function by function; the order of the functions is always the same. */
  *sweep(): Generator<bigint> {
    const { functionLines } = this.shape;
    for (const f of this.order) yield* this.va.subarray(f * functionLines, (f + 1) * functionLines);
  }

  /** One CPU's way through the lines, without end. */
  *walk(): Generator<bigint, never> {
    for (;;) {
      const start = this.ranked[this.draw()];
      const run = this.random.geometric(this.shape.runLines);
      for (let i = start; i < start + run; i++) yield this.va[i % this.va.length];
    }
  }

  /** A rank by its weight. */
  private draw(): number {
    const target = this.random.fraction() * this.weights[this.weights.length - 1];
    let [low, high] = [0, this.weights.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.weights[middle] > target) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
