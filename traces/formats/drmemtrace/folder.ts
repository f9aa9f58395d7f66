// A folder of `drrun -t drmemtrace -offline`: one trace file per thread or core, in the folder itself or in `trace/` below;
// schedules, logs and `aux/` beside them are none of its inputs, and `raw/` has to be post-processed first.

import { readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { InputError } from '../../errors.js';

const TRACE_FILE = /\.(trace|memtrace)(\.(zip|gz|lz4|sz|xz|zst))?$/;
const RAW_FILE = /\.raw(\.(gz|lz4|sz|zlib))?$/;

/** The trace files of a folder; undefined when it is none of DynamoRIO's. Throws InputError for one that is still raw. */
export function traceFiles(path: string, names: readonly string[]): readonly string[] | undefined {
  const here = names.filter((name) => TRACE_FILE.test(name));
  if (here.length) return here.map((name) => join(path, name));
  if (names.includes('trace')) {
    const below = join(path, 'trace');
    const files = listing(below).filter((name) => TRACE_FILE.test(name));
    if (files.length) return files.map((name) => join(below, name));
  }
  const raw = names.some((name) => RAW_FILE.test(name));
  if (!raw && !(names.includes('raw') && listing(join(path, 'raw')).some((name) => RAW_FILE.test(name))))
    return undefined;
  // The tool wants the folder above raw/.
  const above = raw && basename(path) === 'raw' ? dirname(path) : path;
  throw new InputError({
    source: path,
    expected: 'a drmemtrace after post-processing, with a folder trace/',
    found: 'the raw files of the tracer only',
    advice: `DynamoRIO makes the rest: drrun -t drmemtrace -indir ${above}, or drraw2trace -indir ${above}`,
  });
}

function listing(path: string): string[] {
  try {
    return readdirSync(path).sort();
  } catch {
    // No folder, or none that may be read: then it holds no traces.
    return [];
  }
}
