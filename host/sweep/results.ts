// results.arrow: one row per cell for the whole trace and one for each phase, with the varied keys and every counter as
// a column, so that pandas, polars or DuckDB need no other file. Nothing of when or how it was made is in it: the same
// inputs give the same bytes.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type DataType,
  Field,
  Float64,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableToIPC,
  Uint32,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import { writeWhole } from '../../traces/files.js';
import { type Manifest, readCell } from '../results/manifest.js';
import { type Flat, flatten, type Summary } from '../results/summary.js';
import { unitOf } from '../results/units.js';
import { RESULTS_FILE } from './directory.js';

export const RESULTS_SCHEMA = 'nodewalk.results/1';

/** One cell, for the whole trace (phase null) or for one phase. */
interface Row {
  cell: number;
  trace: string;
  phase: number | null;
  phaseName: string | null;
  phaseCpu: number | null;
  varied: Record<string, unknown>;
  counters: Flat;
}

interface Column {
  name: string;
  type: DataType;
  values: unknown[];
  unit?: string;
  nullable?: boolean;
}

/** Writes results.arrow from the summaries of a sweep whose cells are all done. */
export async function writeResults(dir: string, manifest: Manifest): Promise<void> {
  const bytes = encodeResults(
    manifest,
    manifest.cells.map((cell) => readCell(dir, cell)),
  );
  await writeWhole(join(dir, RESULTS_FILE), (temporary) => writeFile(temporary, bytes));
}

/** The file's bytes; `summaries` are in the order of the manifest's cells. */
export function encodeResults({ cells, vary, core, title }: Manifest, summaries: readonly Summary[]): Uint8Array {
  const rows = cells.flatMap((cell, i) => rowsOf(cell, summaries[i]));
  const columns: Column[] = [
    { name: 'cell', type: new Uint32(), values: rows.map(({ cell }) => cell) },
    { name: 'trace', type: new Utf8(), values: rows.map(({ trace }) => trace) },
    { name: 'phase', type: new Uint32(), values: rows.map(({ phase }) => phase), nullable: true },
    { name: 'phaseName', type: new Utf8(), values: rows.map(({ phaseName }) => phaseName), nullable: true },
    { name: 'phaseCpu', type: new Uint32(), values: rows.map(({ phaseCpu }) => phaseCpu), nullable: true },
    ...vary.map((key) => variedColumn(key, rows)),
    ...counterKeys(rows).map((key) => ({
      name: key,
      type: new Float64(),
      values: rows.map(({ counters }) => counters[key] ?? null),
      unit: unitOf(key),
      nullable: true,
    })),
  ];
  const document = JSON.stringify({ schema: RESULTS_SCHEMA, core: core ?? null, title: title ?? null });
  const fields = columns.map(
    ({ name, type, unit, nullable }) =>
      new Field(name, type, nullable, unit === undefined ? undefined : new Map([['unit', unit]])),
  );
  const schema = new Schema(fields, new Map([['nodewalk', document]]));
  const children = columns.map(({ type, values }) => vectorFromArray(values, type).data[0]);
  const data = makeData({ type: new Struct(fields), length: rows.length, nullCount: 0, children });
  return tableToIPC(new Table(new RecordBatch(schema, data)), 'file');
}

function rowsOf({ cell, trace, varied }: Manifest['cells'][number], { totals, phases }: Summary): Row[] {
  const whole = { phase: null, phaseName: null, phaseCpu: null, counters: flatten(totals) };
  const byPhase = phases.map(({ phase, name, cpu, ...counters }) => {
    return { phase, phaseName: name, phaseCpu: cpu, counters: flatten(counters) };
  });
  return [whole, ...byPhase].map((row) => ({ cell, trace, varied, ...row }));
}

/**
 * A key whose values are all numbers is a column of numbers, any other one of text: strings as they are, else JSON. Null
 * where the part of the experiment does not vary the key.
 */
function variedColumn(name: string, rows: readonly Row[]): Column {
  const values = rows.map(({ varied }) => varied[name]);
  const stated = values.filter((value) => value !== undefined);
  const nullable = stated.length < values.length;
  if (stated.every((value) => typeof value === 'number'))
    return { name, type: new Float64(), values: values.map((value) => value ?? null), nullable };
  const text = values.map((value) => (typeof value === 'string' ? value : (JSON.stringify(value) ?? null)));
  return { name, type: new Utf8(), values: text, nullable };
}

/** The counters that any row has; cells may have different ones (a TLB level less), groups stay together. */
function counterKeys(rows: readonly Row[]): string[] {
  const keys = [...new Set(rows.flatMap(({ counters }) => Object.keys(counters)))];
  const group = (key: string) => key.slice(0, key.indexOf('.'));
  const groups = [...new Set(keys.map(group))];
  return keys.sort((a, b) => groups.indexOf(group(a)) - groups.indexOf(group(b)));
}
