// The formats that convert writes besides its own trace.

import { UsageError } from '../errors.js';
import { champsim } from './champsim.js';
import { csv, ndjson } from './csv.js';
import { din } from './din.js';
import { drmemtrace } from './drmemtrace.js';
import { type TraceExporter } from './format.js';
import { parquet } from './parquet.js';
import { perfData } from './perfData.js';

export const EXPORTERS: readonly TraceExporter[] = [drmemtrace, champsim, din, csv, ndjson, parquet, perfData];

/** The exporter called `name`. Throws UsageError when there is none. */
export function exporterNamed(name: string): TraceExporter {
  const exporter = EXPORTERS.find((e) => e.name === name);
  if (exporter) return exporter;
  throw new UsageError(`--to: unknown format "${name}"; known are ${EXPORTERS.map((e) => e.name).join(', ')}`);
}
