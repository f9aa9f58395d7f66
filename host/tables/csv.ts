// CSV files read as a stream (RFC 4180, quotes included, but a record is one line): the columns
// that the reader asks for, by the names in the header. Strict: a record with fields missing or left over is an error.

import { createReadStream } from 'node:fs';
import { InputError } from '../../traces/errors.js';
import { readFault } from '../../traces/files.js';

/** The asked-for fields of a record; undefined for an optional column that the file does not have. */
export interface CsvRow {
  /** Line of the file, from 1. */
  line: number;
  fields: (string | undefined)[];
}

/** Columns to read: `required` first, then `optional`, in this order in every row. */
export interface CsvColumns {
  required: readonly string[];
  optional?: readonly string[];
}

const READ_BYTES = 1 << 18;
/** Longer lines are no lines of addresses: something else was named. */
const MAX_LINE = 1 << 16;
const SHOWN = 100;

/** The records of a file or, for "-", of standard input, one by one. Throws InputError naming the line. */
export async function* readCsv(path: string, columns: CsvColumns): AsyncGenerator<CsvRow> {
  for await (const batch of readCsvBatches(path, columns)) yield* batch;
}

/** The same in batches as they come, for files with millions of records. */
export async function* readCsvBatches(path: string, columns: CsvColumns): AsyncGenerator<CsvRow[]> {
  const { required, optional = [] } = columns;
  let header: string[] | undefined;
  let places: number[] = [];
  let line = 0;
  for await (const lines of linesOf(path)) {
    const batch: CsvRow[] = [];
    for (const text of lines) {
      line++;
      if (text === '') continue;
      const at = `line ${line}`;
      const fields = split(text);
      if (fields === null) {
        const found = 'a quote that is not closed, or text beside one';
        throw new InputError({ source: path, at, expected: 'fields in whole quotes, on one line', found });
      }
      if (!header) {
        const missing = required.find((name) => !fields.includes(name));
        if (missing !== undefined) {
          const found = `"${text.slice(0, SHOWN)}"`;
          throw new InputError({ source: path, at, expected: `a header with the column "${missing}"`, found });
        }
        header = fields;
        places = [...required, ...optional].map((name) => fields.indexOf(name));
      } else if (fields.length !== header.length) {
        const expected = `${header.length} fields, as in the header`;
        throw new InputError({ source: path, at, expected, found: String(fields.length) });
      } else {
        batch.push({ line, fields: places.map((place) => fields[place]) });
      }
    }
    yield batch;
  }
  if (!header) {
    throw new InputError({ source: path, expected: `a header with ${required.join(', ')}`, found: 'an empty file' });
  }
}

/** The lines of a file, as many at a time as a read gives. */
async function* linesOf(path: string): AsyncGenerator<string[]> {
  const input = path === '-' ? process.stdin : createReadStream(path, { highWaterMark: READ_BYTES });
  input.setEncoding('utf8');
  const without = (lines: string[]) => lines.map((text) => (text.endsWith('\r') ? text.slice(0, -1) : text));
  let rest = '';
  let first = true;
  try {
    for await (const chunk of input as AsyncIterable<string>) {
      const text = first ? chunk.replace(/^\uFEFF/, '') : chunk;
      first = false;
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      if (rest.length > MAX_LINE) {
        const found = `a line of more than ${MAX_LINE} characters`;
        throw new InputError({ source: path, expected: 'a CSV file', found });
      }
      yield without(lines);
    }
    yield without([rest]);
  } catch (error) {
    throw readFault(error, path, 'a CSV file');
  } finally {
    input.destroy();
  }
}

/** A field and what ends it. */
const FIELD = /("(?:[^"]|"")*"|[^",]*)(,|$)/gy;

/** The fields of a record, or null when its quotes are wrong. */
function split(record: string): string[] | null {
  if (!record.includes('"')) return record.split(',');
  const fields: string[] = [];
  FIELD.lastIndex = 0;
  for (;;) {
    const match = FIELD.exec(record);
    if (!match) return null;
    const [, field, end] = match;
    fields.push(field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field);
    if (end === '') return fields;
  }
}

/** A record as a line, with quotes where a field needs them. */
export function csvLine(fields: readonly string[]): string {
  const quoted = fields.map((field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field));
  return `${quoted.join(',')}\n`;
}
