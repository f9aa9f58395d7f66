// The formats that convert reads, and which of them a file is in, judged by its content.

import { InputError, UsageError } from './errors.js';
import { type TraceFormat } from './format.js';
import { arrow } from './formats/arrow.js';
import { champsim } from './formats/champsim.js';
import { csv } from './formats/csv.js';
import { din } from './formats/din.js';
import { drmemtrace } from './formats/drmemtrace.js';
import { emt } from './formats/emt.js';
import { execlog } from './formats/execlog.js';
import { gem5 } from './formats/gem5.js';
import { lackey } from './formats/lackey.js';
import { memtrace } from './formats/memtrace.js';
import { ndjson } from './formats/ndjson.js';
import { parquet } from './formats/parquet.js';
import { perfData } from './formats/perfData.js';
import { perfDump } from './formats/perfDump.js';
import { perfMem } from './formats/perfMem.js';
import { perfScript } from './formats/perfScript.js';
import { pinatrace } from './formats/pinatrace.js';
import { prospero } from './formats/prospero.js';
import { ramulator } from './formats/ramulator.js';
import { raw24 } from './formats/raw24.js';
import { spe } from './formats/spe.js';
import { trace } from './formats/trace.js';
import { type Input } from './input.js';
import { describe } from './sniff.js';

/** In the order in which they are tried: by their first bytes, by the form of their records, by that of their lines. */
export const FORMATS: readonly TraceFormat[] = [
  ...[trace, arrow, parquet, gem5, perfData, drmemtrace],
  ...[raw24, emt, champsim],
  ...[lackey, execlog, pinatrace, memtrace, perfMem, perfDump, perfScript, prospero, din, ramulator, ndjson, csv],
  spe,
];

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
    advice: '--from names the format if the file is in one of them all the same',
  });
}
