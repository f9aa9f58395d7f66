// The parameters of a kernel working set, shared by the scenarios that fetch kernel text, and the set that they describe. The
// defaults of the shape are those of redis on Debian's 6.1 for arm64, as captured: 7 instructions and 1.75 lines per run of
// fetches, 420 pages that each hold about 10 of the lines in use, a Zipf exponent of 0.65 to 0.75.

import { z } from 'zod';
import { key } from '../config/key.js';
import { LINE, textOf } from './kernels.js';
import { bytes, type CommonParameters, type Contradiction, count, kernelFor, type Run, unless } from './scenario.js';
import { fits, WorkingSet } from './workingSet.js';

/** The parameters; the working set has `size` unless stated. */
export const codeParameters = (size: string) => ({
  textBytes: key(bytes(LINE).prefault(size), 'kernel text in use', 'bytes'),
  functionLines: key(count(10, 1, 1024), 'lines of a function; functions are spread evenly over the text', 'lines'),
  insnsPerLine: key(count(7, 1, 16), 'instructions of a fetch row', 'instructions'),
});

/** How a working set is walked at random. */
export const WALK = {
  runLines: key(z.number().min(1).max(1024).default(1.75), 'mean length of a run of lines (geometric)', 'lines'),
  skew: key(
    z.number().min(0).max(4).default(0.7),
    'exponent of the Zipf law that draws where a run starts; 0: uniform',
  ),
};

interface Code {
  textBytes: number;
  functionLines: number;
  runLines?: number;
  skew?: number;
}

/** What does not fit. */
export function checkCode(values: CommonParameters & Code): Contradiction[] {
  const text = textOf(kernelFor(values).image);
  const { textBytes, functionLines } = values;
  return unless(
    fits(text, { bytes: textBytes, functionLines }),
    'textBytes',
    `expected functions that fit the kernel's text of ${text.bytes} bytes`,
  );
}

/** The kernel text in use. */
export function kernelCode({ parameters, kernel, random }: Run<Code>): WorkingSet {
  return new WorkingSet(textOf(kernel.image), shapeOf(parameters, parameters.textBytes), random);
}

/** The shape of a working set of `size` bytes that is like the kernel's. */
export function shapeOf({ functionLines, runLines = 1, skew = 0 }: Code, size: number) {
  return { bytes: size, functionLines, runLines, skew };
}
