// What the formats with named columns (CSV, NDJSON, Parquet, Arrow) share: which of a file's columns is which of the
// trace's, by name or by --set, and how a value becomes one of the column's.

import { FETCH, LOAD, PA_UNKNOWN, STORE, type Batch, type ColumnName } from '../batch.js';
import { InputError } from '../errors.js';
import { isKnownKind } from '../events.js';
import { columnOf, COLUMNS, inOrder } from '../schema.js';
import { shorten } from '../sniff.js';

/** Names that say what a column is, in the order in which they count; compared without case, blanks and punctuation. */
const SYNONYMS: Readonly<Record<ColumnName, readonly string[]>> = {
  cpu: ['cpu', 'cpuid', 'vcpu', 'core', 'coreid', 'hart'],
  kind: ['kind', 'accesstype', 'rw', 'access', 'op', 'operation', 'reftype', 'type'],
  va: ['va', 'vaddr', 'virtualaddress', 'virtaddr', 'effectiveaddress', 'ea', 'address', 'addr', 'memaddr'],
  pa: ['pa', 'paddr', 'physicaladdress', 'physaddr'],
  size: ['size', 'bytes', 'accesssize', 'length', 'len', 'width'],
  insns: ['insns', 'instructions'],
  mode: ['mode', 'privilege'],
  asid: ['asid', 'pcid'],
  vm: ['vm', 'vmid'],
  tid: ['tid', 'threadid', 'thread'],
  time: ['time', 'timestamp', 'ts', 'tick', 'cycle', 'cycles'],
  arg: ['arg'],
};

const KIND_WORDS: Readonly<Record<number, readonly string[]>> = {
  [FETCH]: ['i', 'f', 'x', 'e', 'if', 'fetch', 'ifetch', 'inst', 'instr', 'exec', 'execute'],
  [LOAD]: ['r', 'l', 'rd', 'ld', 'read', 'load'],
  [STORE]: ['w', 's', 'wr', 'st', 'write', 'store'],
};

/** The options of these formats: for every column of the trace the one of the file, and how numbers are written. */
export const NAMED_OPTIONS: Readonly<Record<string, string>> = Object.fromEntries(
  COLUMNS.map(({ name }) => [
    name,
    name === 'kind'
      ? 'name of the column with fetch, load or store; or R, W or I: every row is one'
      : `name of the column with ${name}; - for none`,
  ]),
);

/** The number of a kind by its word, also as a number; -1 for anything else. */
export function kindOfWord(word: string): number {
  const lower = word.toLowerCase();
  for (const [kind, words] of Object.entries(KIND_WORDS)) if (words.includes(lower)) return Number(kind);
  return /^\d{1,3}$/.test(word) && isKnownKind(Number(word)) ? Number(word) : -1;
}

/** Letters of a word as a number: five bits each, which is exact up to the ten letters of a double. */
export const KIND_KEYS: ReadonlyMap<number, number> = new Map(
  Object.entries(KIND_WORDS).flatMap(([kind, words]) => words.map((word) => [letterKey(word), Number(kind)] as const)),
);

function letterKey(word: string): number {
  return [...word].reduce((key, letter) => key * 32 + (letter.charCodeAt(0) & 31), 0);
}

const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '');

/** Which column of a file gives one of the trace. */
export interface NamedColumn {
  name: ColumnName;
  /** Position among the file's columns. */
  index: number;
}

/** What a file's columns mean. */
export interface NamedMapping {
  columns: readonly NamedColumn[];
  /** The kind of every row where no column tells it. */
  kind: number | null;
  /** Names of the columns that mean nothing here. */
  others: readonly string[];
}

/** Where a column of the trace is among names; -1 when none says so. */
function find(column: ColumnName, names: readonly string[]): number {
  for (const synonym of SYNONYMS[column]) {
    const index = names.findIndex((name) => plain(name) === synonym);
    if (index >= 0) return index;
  }
  return -1;
}

/** Whether names of columns are those of a trace: a virtual address is among them. */
export function areNamed(names: readonly string[]): boolean {
  return find('va', names) >= 0;
}

/** Finds the trace's columns among a file's names. Throws InputError when one of --set or the address is not there. */
export function mapColumns(
  names: readonly string[],
  set: Readonly<Record<string, string>>,
  source: string,
): NamedMapping {
  const missing = (expected: string, advice?: string) =>
    new InputError({ source, expected, found: `the columns ${shorten(names.join(', ')) || '(none)'}`, advice });
  const columns: NamedColumn[] = [];
  let kind: number | null = null;
  for (const { name } of COLUMNS) {
    const wanted = set[name];
    if (wanted === '-') continue;
    let index = wanted === undefined ? find(name, names) : names.indexOf(wanted);
    if (wanted !== undefined && index < 0) {
      index = names.findIndex((n) => plain(n) === plain(wanted));
      const word = name === 'kind' && index < 0 ? kindOfWord(wanted) : -1;
      if (word >= 0) kind = word;
      else if (index < 0) throw missing(`a column "${wanted}", which --set ${name} names`);
    }
    if (index >= 0) columns.push({ name, index });
  }
  if (!columns.some(({ name }) => name === 'va')) {
    throw missing('a column with the virtual address, such as va or address', '--set va=NAME names it');
  }
  if (kind === null && !columns.some(({ name }) => name === 'kind')) {
    throw missing(
      'a column with the kind of access, such as kind or op',
      '--set kind=NAME names it, --set kind=R reads all as loads',
    );
  }
  const used = new Set(columns.map(({ index }) => index));
  return { columns, kind, others: names.filter((_, index) => !used.has(index)) };
}

/** The columns that rows of this mapping have. */
export function columnsOf({ columns }: NamedMapping): ColumnName[] {
  return inOrder([...new Set<ColumnName>(['cpu', 'kind', 'va', ...columns.map(({ name }) => name)])]);
}

/** What the metadata says of the columns that were passed over. */
export function passedOver({ others }: NamedMapping): string[] {
  return others.length ? [`columns passed over: ${others.join(', ')}`] : [];
}

/** Where the values of one column go: an array with its bounds. */
export class Sink {
  private readonly narrow: Uint8Array | Uint16Array | Uint32Array;
  private readonly words: Uint32Array | null;
  private readonly wide: BigUint64Array | null;
  private readonly max: number;

  constructor(
    readonly name: ColumnName,
    array: NonNullable<Batch[ColumnName]>,
  ) {
    this.wide = array instanceof BigUint64Array ? array : null;
    this.words = this.wide ? new Uint32Array(this.wide.buffer) : null;
    this.narrow = array instanceof BigUint64Array ? new Uint8Array(0) : array;
    this.max = 2 ** (8 * columnOf(name).array.BYTES_PER_ELEMENT) - 1;
  }

  /** Puts a number into a row; false when the column cannot hold it. */
  put(row: number, low: number, high: number): boolean {
    if (this.words) {
      this.words[2 * row] = low;
      this.words[2 * row + 1] = high;
      return true;
    }
    this.narrow[row] = low;
    return high === 0 && low <= this.max && (this.name !== 'kind' || isKnownKind(low));
  }

  /** Puts what a missing value means; false when the column has to have one. */
  putMissing(row: number): boolean {
    if (this.name !== 'pa') return false;
    this.wide![row] = PA_UNKNOWN;
    return true;
  }

  /** Puts a value of whatever type a column of a Parquet or Arrow file has; false when it is none for this column. */
  putValue(row: number, value: unknown): boolean {
    if (typeof value === 'number') {
      if (!Number.isInteger(value)) return false;
      if (!this.wide) return value >= 0 && this.put(row, value % 2 ** 32, Math.floor(value / 2 ** 32));
      this.wide[row] = BigInt(value);
      return true;
    }
    if (typeof value === 'bigint') {
      if (!this.wide) return value >= 0n && value <= 0xffff_ffffn && this.put(row, Number(value), 0);
      // A signed column has addresses with the top bit as negative numbers.
      this.wide[row] = value;
      return value < 1n << 64n && value >= -(1n << 63n);
    }
    if (typeof value === 'string') {
      if (this.name === 'kind') return this.put(row, kindOfWord(value), 0);
      if (/^(0x[0-9a-f]{1,16}|\d{1,20})$/i.test(value)) return this.putValue(row, BigInt(value));
    }
    return value === null || value === undefined ? this.putMissing(row) : false;
  }

  /**
   * Puts `count` values, from position `from`, into the rows from `row` on; returns the position of the first that does
   * not fit, or -1.
   */
  putAll(values: ArrayLike<unknown>, from: number, row: number, count: number): number {
    const target = this.wide ?? this.narrow;
    const sameBits =
      (this.wide && (values instanceof BigUint64Array || values instanceof BigInt64Array)) ||
      (this.name !== 'kind' && values.constructor === target.constructor);
    if (sameBits) {
      (target as Uint8Array).set((values as Uint8Array).subarray(from, from + count), row);
      return -1;
    }
    for (let i = 0; i < count; i++) if (!this.putValue(row + i, values[from + i])) return from + i;
    return -1;
  }
}

/** Rows of a file with typed columns, filled column by column. */
export class ColumnRows {
  readonly batch: Batch;
  private readonly sinks: readonly Sink[];

  constructor(
    private readonly mapping: NamedMapping,
    private readonly names: readonly string[],
    capacity: number,
  ) {
    this.batch = { rows: 0 } as Batch;
    for (const name of columnsOf(mapping)) {
      Object.assign(this.batch, { [name]: new (columnOf(name).array)(capacity) });
    }
    if (mapping.kind !== null) this.batch.kind.fill(mapping.kind);
    this.sinks = mapping.columns.map(({ name }) => new Sink(name, this.batch[name]!));
  }

  /**
   * Puts `count` values, from position `from`, into column `index` of the mapping from row `row` on. Throws InputError
   * for one that does not fit; row 0 is row `first` of the file.
   */
  fill(
    index: number,
    values: ArrayLike<unknown>,
    from: number,
    row: number,
    count: number,
    source: string,
    first: number,
  ): void {
    const wrong = this.sinks[index].putAll(values, from, row, count);
    if (wrong < 0) return;
    const { name, index: column } = this.mapping.columns[index];
    throw new InputError({
      source,
      at: `row ${first + row + wrong - from}: column "${this.names[column]}"`,
      expected: `a value of the column ${name} (${columnOf(name).type})`,
      found: shorten(String(values[wrong])),
      advice: `--set ${name}=NAME names another column`,
    });
  }
}
