// NDJSON: one JSON object with named members a line.
//   {"cpu":0,"kind":"R","va":"0x7ffd5b6f8e48","size":8}
// The members of the first object say what they are (named.ts), or --set does; each object has to have those, in any
// order. Numbers are read from their digits, so that 64 bits stay exact; strings may be hexadecimal after 0x. pa may be
// null or missing. Members of other names may have any value.

import { type TraceFormat } from '../format.js';
import { Rows } from '../rows.js';
import { headLines, parseText, type Scanner } from '../scan.js';
import { baseOf, BASE_OPTION, takeKind } from './csv.js';
import { areNamed, columnsOf, mapColumns, NAMED_OPTIONS, passedOver, Sink, type NamedMapping } from './named.js';

const QUOTE = 34;
const COMMA = 44;
const COLON = 58;
const BACKSLASH = 92;
const OPEN = 123;
const CLOSE = 125;
const OPEN_LIST = 91;
const CLOSE_LIST = 93;
const NEWLINE = 10;

/** The names in the first object; undefined when the file begins otherwise. */
function namesOf(head: Uint8Array): string[] | undefined {
  const first = headLines(head)[0];
  if (!first?.startsWith('{')) return undefined;
  try {
    return Object.keys(JSON.parse(first) as object);
  } catch {
    return undefined;
  }
}

class Objects {
  /** By name, in the order of the first object. */
  private readonly sinks: (Sink | null)[];
  /** One bit for every column that an object has to have, and all of them together. */
  private readonly bits: number[];
  private readonly required: number;
  private readonly cpuGiven: boolean;
  private readonly pa: Sink | undefined;

  constructor(
    private readonly rows: Rows,
    private readonly mapping: NamedMapping,
    private readonly names: readonly string[],
    private readonly base: number,
  ) {
    this.sinks = names.map((_, index) => {
      const column = mapping.columns.find((c) => c.index === index);
      return column ? new Sink(column.name, rows[column.name]) : null;
    });
    const needed = this.sinks.filter((sink) => sink && sink.name !== 'pa');
    this.bits = this.sinks.map((sink) => (needed.includes(sink) ? 1 << needed.indexOf(sink) : 0));
    this.required = 2 ** needed.length - 1;
    this.cpuGiven = mapping.columns.some(({ name }) => name === 'cpu');
    this.pa = this.sinks.find((sink) => sink?.name === 'pa') ?? undefined;
  }

  line(scan: Scanner): boolean {
    const row = this.rows.count++;
    if (!this.cpuGiven) this.rows.cpu[row] = 0;
    if (this.mapping.kind !== null) this.rows.kind[row] = this.mapping.kind;
    this.pa?.putMissing(row);
    if (!scan.take(OPEN)) return false;
    let seen = 0;
    for (let position = 0; ; position++) {
      scan.blanks();
      const index = this.name(scan, position);
      scan.blanks();
      if (index === MALFORMED || !scan.take(COLON)) return false;
      scan.blanks();
      const sink = index < 0 ? null : this.sinks[index];
      if (sink === null ? !skipValue(scan) : !this.value(scan, sink, row)) return false;
      if (sink !== null) seen |= this.bits[index];
      scan.blanks();
      if (scan.take(CLOSE)) break;
      if (!scan.take(COMMA)) return false;
    }
    return seen === this.required && scan.end();
  }

  /** Takes a name; returns its position among the first object's, UNKNOWN or MALFORMED. */
  private name(scan: Scanner, position: number): number {
    const expected = this.names[position];
    const { at } = scan;
    if (expected !== undefined && scan.take(QUOTE) && scan.word(expected) && scan.take(QUOTE)) return position;
    scan.at = at;
    if (!skipString(scan)) return MALFORMED;
    try {
      return this.names.indexOf(JSON.parse(scan.slice(at, scan.at)) as string);
    } catch {
      return MALFORMED;
    }
  }

  private value(scan: Scanner, sink: Sink, row: number): boolean {
    if (scan.word('null')) return sink.putMissing(row);
    const isString = scan.take(QUOTE);
    const isDigit = scan.peek >= 48 && scan.peek <= 57;
    if (isString && sink.name === 'kind' && !isDigit) {
      const kind = takeKind(scan);
      return kind >= 0 && sink.put(row, kind, 0) && scan.take(QUOTE);
    }
    const hex = isString && this.base === 16 && (sink.name === 'va' || sink.name === 'pa');
    const taken = hex ? scan.hex0x() || scan.hex() : isString ? scan.number() : scan.decimal();
    return taken && sink.put(row, scan.low, scan.high) && (!isString || scan.take(QUOTE));
  }
}

const UNKNOWN = -1;
const MALFORMED = UNKNOWN - 1;

/** Takes a string with its quotes. */
function skipString(scan: Scanner): boolean {
  const { text } = scan;
  if (!scan.take(QUOTE)) return false;
  for (; text[scan.at] !== QUOTE; scan.at++) {
    if (text[scan.at] === BACKSLASH) scan.at++;
    if (text[scan.at] === NEWLINE || scan.at >= text.length) return false;
  }
  scan.at++;
  return true;
}

/** Takes a value of any type. */
function skipValue(scan: Scanner): boolean {
  const { text } = scan;
  const from = scan.at;
  for (let depth = 0; ;) {
    const code = text[scan.at];
    if (code === NEWLINE || scan.at >= text.length) return false;
    if (code === QUOTE) {
      if (!skipString(scan)) return false;
    } else if (depth === 0 && (code === COMMA || code === CLOSE)) return scan.at > from;
    else {
      if (code === OPEN || code === OPEN_LIST) depth++;
      if (code === CLOSE || code === CLOSE_LIST) depth--;
      scan.at++;
    }
  }
}

export const ndjson: TraceFormat = {
  name: 'ndjson',
  description: 'one JSON object with named members a line',
  addresses: 'as the members say',
  options: { ...NAMED_OPTIONS, ...BASE_OPTION },
  detect(head) {
    const names = namesOf(head);
    return names !== undefined && areNamed(names);
  },
  async parse(input, { set }) {
    const names = namesOf(input.head) ?? [];
    const mapping = mapColumns(names, set, input.path);
    const columns = columnsOf(mapping);
    const rows = new Rows(columns);
    const objects = new Objects(rows, mapping, names, baseOf(set));
    return {
      columns,
      batches: parseText(input.chunks, rows, {
        source: input.path,
        expected: `an object with ${mapping.columns.map(({ index }) => names[index]).join(', ')}`,
        parse: (scan) => objects.line(scan),
      }),
      metadata: () => ({ source: { tool: 'ndjson', command: null, input: [] }, notes: passedOver(mapping) }),
    };
  },
};
