// The published numbers of an experiment beside what was measured: published.csv, and the table that a sweep prints.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { measurePublished, type Measured, unitOf } from '../report/published.js';
import { readSweep } from '../report/sweepData.js';
import { type Manifest } from '../results/manifest.js';
import { saveText } from '../results/save.js';
import { type Header, table } from '../table.js';
import { csvLine } from '../tables/csv.js';
import { PUBLISHED_FILE } from './directory.js';

const COLUMNS = ['row', 'case', 'measured', 'published', 'low', 'high', 'inBand'] as const;

/** Writes published.csv of a sweep whose cells are all done; none where the experiment publishes nothing. */
export function writePublished(dir: string, { published }: Manifest): void {
  const path = join(dir, PUBLISHED_FILE);
  if (published.length === 0) rmSync(path, { force: true });
  else saveText(path, publishedCsv(measurePublished(readSweep(dir))));
}

/** The file's text. Empty fields are numbers that there are not; `inBand` is empty where there is no band. */
export function publishedCsv(cases: readonly Measured[]): string {
  const lines = cases.map((entry) => csvLine(COLUMNS.map((name) => String(entry[name] ?? ''))));
  return [csvLine(COLUMNS), ...lines].join('');
}

/** The same for a terminal. */
export function publishedTable(cases: readonly Measured[]): string {
  const right = (name: string): Header => ({ name, align: 'right' });
  const headers = [
    ...[{ name: 'row' }, { name: 'case' }, ...['measured', 'published', 'low', 'high'].map(right)],
    ...[{ name: 'unit' }, { name: 'in band' }],
  ];
  return table(
    headers,
    cases.map((entry) => [
      ...[entry.row, entry.case, inUnit(entry, entry.measured)],
      ...[entry.published, entry.low, entry.high].map((value) => (value === null ? '-' : String(value))),
      ...[unitOf(entry), { true: 'yes', false: 'NO', null: '-' }[`${entry.inBand}`]],
    ]),
  );
}

/** Percentages with two decimals, events per second whole, all else with five digits; published.csv has every digit. */
function inUnit(entry: Measured, value: number | null): string {
  if (value === null) return '-';
  return (
    { '%': value.toFixed(2), 'per second': value.toFixed(0) }[unitOf(entry)] ??
    String(Number.isInteger(value) ? value : Number(value.toPrecision(5)))
  );
}
