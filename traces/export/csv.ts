// CSV with a header of the trace's column names, and NDJSON with the same names: every row and every column. Kinds are
// fetch, load and store, for events their number; addresses and arg are hexadecimal; a pa that is not known is empty or null.

import { PA_UNKNOWN, STORE, type Batch, type ColumnName } from '../batch.js';
import { kindName } from '../events.js';
import { type ExportOptions, type TraceExporter } from './format.js';
import { TextPiece, wordsOf } from './text.js';

const QUOTE = 34;
const HEXADECIMAL: readonly ColumnName[] = ['va', 'pa', 'arg'];

/** What a line has besides values. */
interface Style {
  header(columns: readonly ColumnName[]): string;
  /** Before the value of a column, and after the last one. */
  before(name: ColumnName, first: boolean): string;
  end: string;
  unknown: string;
  /** Whether words and hexadecimal numbers stand in quotes. */
  quotes: boolean;
}

const CSV: Style = {
  header: (columns) => `${columns.join(',')}\n`,
  before: (_, first) => (first ? '' : ','),
  end: '\n',
  unknown: '',
  quotes: false,
};

const NDJSON: Style = {
  header: () => '',
  before: (name, first) => `${first ? '{' : ','}"${name}":`,
  end: '}\n',
  unknown: 'null',
  quotes: true,
};

function writer(style: Style) {
  return async function* (batches: AsyncIterable<Batch>, { columns }: ExportOptions): AsyncGenerator<Uint8Array> {
    const piece = new TextPiece();
    const before = columns.map((name, i) => style.before(name, i === 0));
    piece.text(style.header(columns));
    for await (const batch of batches) {
      const values = columns.map((name) => batch[name]!);
      const words = values.map((array) => (array instanceof BigUint64Array ? wordsOf(array) : null));
      for (let row = 0; row < batch.rows; row++) {
        for (let i = 0; i < columns.length; i++) {
          piece.text(before[i]);
          const wide = words[i];
          if (wide) putWide(piece, style, columns[i], wide[2 * row], wide[2 * row + 1]);
          else if (columns[i] === 'kind' && batch.kind[row] <= STORE)
            putQuoted(piece, style, kindName(batch.kind[row]));
          else piece.decimal(Number(values[i][row]));
        }
        piece.text(style.end);
        if (piece.full) yield piece.take();
      }
    }
    yield piece.take();
  };
}

function putQuoted(piece: TextPiece, { quotes }: Style, text: string): void {
  if (quotes) piece.char(QUOTE);
  piece.text(text);
  if (quotes) piece.char(QUOTE);
}

function putWide(piece: TextPiece, style: Style, name: ColumnName, low: number, high: number): void {
  if (!HEXADECIMAL.includes(name)) piece.decimal(low, high);
  else if (name === 'pa' && low === UNKNOWN_WORD && high === UNKNOWN_WORD) piece.text(style.unknown);
  else {
    if (style.quotes) piece.char(QUOTE);
    piece.text('0x');
    piece.hex(low, high);
    if (style.quotes) piece.char(QUOTE);
  }
}

const UNKNOWN_WORD = Number(PA_UNKNOWN >> 32n);

export const csv: TraceExporter = {
  name: 'csv',
  description: 'delimited text with a header of column names',
  loses: 'metadata',
  encode: writer(CSV),
};

export const ndjson: TraceExporter = {
  name: 'ndjson',
  description: 'one JSON object a line',
  loses: 'metadata',
  encode: writer(NDJSON),
};
