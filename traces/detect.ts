// The formats that convert reads, and which of them a file is in, judged by its content.

import { InputError, UsageError } from './errors.js';
import { type TraceFormat } from './format.js';
import { champsim } from './formats/champsim.js';
import { lackey } from './formats/lackey.js';
import { raw24 } from './formats/raw24.js';
import { trace } from './formats/trace.js';
import { type Input } from './input.js';
import { describe, isArrowFile } from './sniff.js';

/** In the order in which they are tried. */
export const FORMATS: readonly TraceFormat[] = [trace, raw24, champsim, lackey];

/** The format called `name`. Throws UsageError when there is none. */
export function formatNamed(name: string): TraceFormat {
  const format = FORMATS.find((f) => f.name === name);
  if (format) return format;
  throw new UsageError(`unknown format "${name}"; known are ${FORMATS.map((f) => f.name).join(', ')}`);
}

/** The format of an opened input. Throws InputError when it is none of them. */
export function detectFormat(input: Input): TraceFormat {
  const format = FORMATS.find((f) => f.detect(input.head));
  if (format) return format;
  throw new InputError({
    source: input.path,
    expected: `one of the formats ${FORMATS.map((f) => f.name).join(', ')}`,
    found: describe(input.head),
    advice: isArrowFile(input.head)
      ? 'its columns have to be named'
      : '--from names the format if the file is in one of them all the same',
  });
}
