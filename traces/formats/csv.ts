// Delimited text with a header: comma, semicolon or tab, one access a line.
//   cpu,kind,va,size
//   0,R,0x7ffd5b6f8e48,8
//   1,W,140726139915856,4
// The header says what the columns are (named.ts), or --set does. Numbers are hexadecimal after 0x and decimal else;
// --set base=16 reads the addresses (va, pa) as hexadecimal either way. Kinds are words or numbers. An empty pa is
// unknown. Quoted fields go through csv-parse, plain ones are read as bytes.

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CsvError, parse as csvParse } from 'csv-parse';
import { type Batch } from '../batch.js';
import { InputError, UsageError } from '../errors.js';
import { type TraceFormat } from '../format.js';
import { type Input } from '../input.js';
import { Rows } from '../rows.js';
import { headLines, parseText, type Scanner } from '../scan.js';
import { shorten } from '../sniff.js';
import {
  areNamed,
  columnsOf,
  KIND_KEYS,
  mapColumns,
  NAMED_OPTIONS,
  passedOver,
  Sink,
  type NamedMapping,
} from './named.js';

const NEWLINE = 10;
const RETURN = 13;
const QUOTE = '"';
const DELIMITERS = [',', ';', '\t'];
/** Letters of the longest word for a kind. */
const MAX_LETTERS = 10;
/** Longest record with quotes, in bytes. */
const MAX_RECORD = 1 << 20;

/** How the file is written. */
interface Dialect {
  delimiter: string;
  names: string[];
  /** Whether the first line is the header. */
  header: boolean;
  quoted: boolean;
}

const unquoted = (field: string) => field.trim().replace(/^"(.*)"$/, '$1');

/** The delimiter and the names of the first line, or of --set columns. */
function dialectOf(head: Uint8Array, columns?: string): Dialect {
  const first = (headLines(head)[0] ?? '').replace(/^\xef\xbb\xbf/, '');
  const delimiter = DELIMITERS.find((d) => first.includes(d)) ?? ',';
  return {
    delimiter,
    names: columns === undefined ? first.split(delimiter).map(unquoted) : columns.split(',').map((name) => name.trim()),
    header: columns === undefined,
    quoted: Buffer.from(head.buffer, head.byteOffset, head.length).includes(QUOTE),
  };
}

/** Puts the fields of lines where they belong. */
class Fields {
  private readonly sinks: (Sink | null)[];
  private readonly cpuGiven: boolean;

  constructor(
    private readonly rows: Rows,
    private readonly mapping: NamedMapping,
    names: readonly string[],
    private readonly base: number,
  ) {
    this.sinks = names.map((_, index) => {
      const column = mapping.columns.find((c) => c.index === index);
      return column ? new Sink(column.name, rows[column.name]) : null;
    });
    this.cpuGiven = mapping.columns.some(({ name }) => name === 'cpu');
  }

  /** Begins a row with what no column gives. */
  begin(): number {
    const row = this.rows.count++;
    if (!this.cpuGiven) this.rows.cpu[row] = 0;
    if (this.mapping.kind !== null) this.rows.kind[row] = this.mapping.kind;
    return row;
  }

  /** Takes a line; false when it is malformed. */
  line(scan: Scanner, delimiter: number): boolean {
    const row = this.begin();
    const last = this.sinks.length - 1;
    for (let i = 0; i <= last; i++) {
      const sink = this.sinks[i];
      if (sink === null) skipField(scan, delimiter);
      else if (!this.field(scan, sink, row, delimiter)) return false;
      if (i < last && !scan.take(delimiter)) return false;
    }
    return scan.end();
  }

  /** Takes one field as the value of a column. */
  field(scan: Scanner, sink: Sink, row: number, delimiter: number): boolean {
    while (scan.peek === 32) scan.at++;
    const code = scan.peek;
    if (code === delimiter || code === NEWLINE || code === RETURN) return sink.putMissing(row);
    if (sink.name === 'kind' && !(code >= 48 && code <= 57)) {
      const kind = takeKind(scan);
      return kind >= 0 && sink.put(row, kind, 0);
    }
    const hex = this.base === 16 && (sink.name === 'va' || sink.name === 'pa');
    if (!(hex ? scan.hex0x() || scan.hex() : scan.number()) || !sink.put(row, scan.low, scan.high)) return false;
    while (scan.peek === 32) scan.at++;
    return true;
  }

  /** Puts the fields of a record that csv-parse took apart. */
  record(fields: readonly string[]): boolean {
    const row = this.begin();
    return this.sinks.every((sink, i) => {
      if (sink === null) return true;
      const field = (fields[i] ?? '').trim();
      if (field === '') return sink.putMissing(row);
      const hex = this.base === 16 && (sink.name === 'va' || sink.name === 'pa') && /^[0-9a-f]+$/i.test(field);
      return sink.putValue(row, hex ? `0x${field}` : field);
    });
  }
}

/** Takes a word of letters for a kind; -1 when it is none. */
export function takeKind(scan: Scanner): number {
  const { text } = scan;
  const from = scan.at;
  let key = 0;
  for (let code = text[scan.at] | 32; code >= 97 && code <= 122; code = text[++scan.at] | 32)
    key = key * 32 + (code & 31);
  return scan.at - from <= MAX_LETTERS ? (KIND_KEYS.get(key) ?? -1) : -1;
}

function skipField(scan: Scanner, delimiter: number): void {
  const { text } = scan;
  let at = scan.at;
  while (text[at] !== delimiter && text[at] !== NEWLINE && text[at] !== RETURN) at++;
  scan.at = at;
}

/** The batches of a file with quoted fields, by csv-parse. */
async function* parseQuoted(
  input: Input,
  { delimiter, header }: Dialect,
  rows: Rows,
  fields: Fields,
): AsyncGenerator<Batch> {
  const parser = csvParse({
    delimiter,
    bom: true,
    info: true,
    from: header ? 2 : 1,
    relax_column_count: true,
    max_record_size: MAX_RECORD,
  });
  pipeline(Readable.from(input.chunks), parser).catch(() => {}); // The iteration below reports it.
  const records = parser as AsyncIterable<{ info: { lines: number }; record: string[] }>;
  try {
    for await (const { info, record } of records) {
      if (!fields.record(record)) throw malformed(input.path, info.lines, record.join(delimiter));
      if (rows.full) yield* rows.take();
    }
  } catch (error) {
    if (error instanceof CsvError) throw malformed(input.path, Number(error.lines ?? 0), error.message);
    throw error;
  }
  if (rows.count > 0) yield* rows.take();
}

function malformed(source: string, line: number, found: string): InputError {
  return new InputError({ source, at: `line ${line}`, expected: EXPECTED, found: JSON.stringify(shorten(found)) });
}

const EXPECTED = 'a value of its type for every column that the header names';

/** The base of --set base. */
export function baseOf(set: Readonly<Record<string, string>>): number {
  if (set.base === undefined || set.base === '10') return 10;
  if (set.base === '16') return 16;
  throw new UsageError(`--set base=${set.base}: expected 10 or 16`);
}

export const BASE_OPTION = { base: '16: addresses are hexadecimal also without 0x' };

export const csv: TraceFormat = {
  name: 'csv',
  description: 'delimited text with a header of column names',
  addresses: 'as the columns say',
  options: { ...NAMED_OPTIONS, ...BASE_OPTION, columns: 'names of the columns, a,b,c, of a file without a header' },
  detect: (head) => areNamed(dialectOf(head).names),
  async parse(input, { set }) {
    const dialect = dialectOf(input.head, set.columns);
    const mapping = mapColumns(dialect.names, set, input.path);
    const columns = columnsOf(mapping);
    const rows = new Rows(columns);
    const fields = new Fields(rows, mapping, dialect.names, baseOf(set));
    const delimiter = dialect.delimiter.charCodeAt(0);
    const bytes = () =>
      parseText(input.chunks, rows, {
        source: input.path,
        expected: EXPECTED,
        parse: (scan) => (scan.line === 1 && dialect.header ? scan.skipLine() : fields.line(scan, delimiter)),
      });
    return {
      columns,
      batches: dialect.quoted ? parseQuoted(input, dialect, rows, fields) : bytes(),
      metadata: () => ({ source: { tool: 'csv', command: null, input: [] }, notes: passedOver(mapping) }),
    };
  },
};
