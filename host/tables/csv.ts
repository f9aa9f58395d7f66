// CSV files read as a stream (RFC 4180, quotes included, but a record is one line): the columns
// that the reader asks for, by the names in the header. Strict: a record with fields missing or left over is an error.

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
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

/** The records of a file or, for "-", of standard input. Throws InputError naming the line. */
export async function* readCsv(path: string, { required, optional = [] }: CsvColumns): AsyncGenerator<CsvRow> {
  let header: string[] | undefined;
  let places: number[] = [];
  for await (const { line, fields } of records(path)) {
    if (!header) {
      header = fields;
      const missing = required.find((name) => !fields.includes(name));
      if (missing !== undefined) {
        throw new InputError({
          ...{ source: path, at: `line ${line}`, expected: `a header with the column "${missing}"` },
          found: `"${fields.join(',')}"`,
        });
      }
      places = [...required, ...optional].map((name) => fields.indexOf(name));
    } else if (fields.length !== header.length) {
      throw new InputError({
        ...{ source: path, at: `line ${line}`, expected: `${header.length} fields, as in the header` },
        found: String(fields.length),
      });
    } else {
      yield { line, fields: places.map((place) => fields[place]) };
    }
  }
  if (!header) {
    throw new InputError({ source: path, expected: `a header with ${required.join(', ')}`, found: 'an empty file' });
  }
}

async function* records(path: string): AsyncGenerator<{ line: number; fields: string[] }> {
  const input = path === '-' ? process.stdin : createReadStream(path);
  const lines = createInterface({ input, crlfDelay: Infinity });
  let failure: unknown;
  // readline ends quietly when its input fails.
  input.once('error', (error: Error) => {
    failure = readFault(error, path, 'a CSV file');
    lines.close();
  });
  let line = 0;
  try {
    for await (const text of lines) {
      line++;
      const record = line === 1 ? text.replace(/^\uFEFF/, '') : text;
      if (record === '') continue;
      const fields = split(record);
      if (fields === null) {
        throw new InputError({
          ...{ source: path, at: `line ${line}`, expected: 'fields in whole quotes, on one line' },
          found: 'a quote that is not closed, or text beside one',
        });
      }
      yield { line, fields };
    }
  } finally {
    input.destroy();
  }
  if (failure) throw failure;
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
