// table_stores.bin of a capture: the recorded stores to page tables, three u64 each, little-endian, in trace order:
//   record number of the store, physical address of the 8-byte entry, the entry's new value
// Packed or not; a capture has a few 10,000 of them, so they are kept in memory.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../errors.js';
import { openInput } from '../input.js';

const STORE_BYTES = 24;
const WORDS = STORE_BYTES / 4;

/** The stores to page tables of a capture, in trace order. */
export class TableStores {
  /** @param words six of every store: record, address and value, each low word first */
  constructor(readonly words: Uint32Array = new Uint32Array(0)) {}

  get count(): number {
    return this.words.length / WORDS;
  }

  /** Number of the record in the capture, or of the row among the rows of kinds 0 to 18 in the trace. */
  record(index: number): number {
    return this.words[WORDS * index] + this.words[WORDS * index + 1] * 2 ** 32;
  }

  /** Physical address of the entry. */
  pa(index: number): number {
    return this.words[WORDS * index + 2] + this.words[WORDS * index + 3] * 2 ** 32;
  }

  valueLow(index: number): number {
    return this.words[WORDS * index + 4];
  }

  valueHigh(index: number): number {
    return this.words[WORDS * index + 5];
  }

  /** The entry's new value. */
  value(index: number): bigint {
    return (BigInt(this.valueHigh(index)) << 32n) | BigInt(this.valueLow(index));
  }

  /** The first store at or after a record. */
  firstAt(record: number): number {
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.record(middle) < record) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The name of a file as it is in `folder`, packed or not; null when it is not there. */
export function packedFile(folder: string, name: string): string | null {
  return (
    ['', '.gz', '.xz', '.zst'].map((suffix) => join(folder, name + suffix)).find((path) => existsSync(path)) ?? null
  );
}

/** All bytes of a file, unpacked, in a buffer of their own. */
export async function readUnpacked(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const input = await openInput(path);
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of input.chunks) chunks.push(chunk.slice());
  } finally {
    await input.close();
  }
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** The stores to page tables that a capture may know: to those of all address spaces; of the kernel, of stage 2 and of EL2. */
const FILES = ['table_stores.bin', 'kernel_table_stores.bin'];

/** Reads the stores of a capture's folder, each once; null when it has none. Throws InputError when they are damaged. */
export async function readTableStores(folder: string): Promise<TableStores | null> {
  const paths = FILES.flatMap((name) => packedFile(folder, name) ?? []);
  const read = await Promise.all(paths.map(readFile));
  return read.length === 0 ? null : read.reduce(merge);
}

/** The file with the stores to the tables of all address spaces, without which no events can be derived. */
export function hasUserStores(folder: string): boolean {
  return packedFile(folder, FILES[0]) !== null;
}

async function readFile(path: string): Promise<TableStores> {
  const bytes = await readUnpacked(path);
  const refuse = (at: number, expected: string, found: string) =>
    new InputError({ source: path, at: `entry ${at}`, expected, found, advice: 'the file is truncated or damaged' });
  const whole = Math.floor(bytes.length / STORE_BYTES);
  if (bytes.length % STORE_BYTES !== 0) {
    throw refuse(whole, `${STORE_BYTES} bytes`, `the end of the file after ${bytes.length % STORE_BYTES}`);
  }
  const stores = new TableStores(new Uint32Array(bytes.buffer));
  for (let i = 0; i < whole; i++) {
    const before = i > 0 ? stores.record(i - 1) : 0;
    if (stores.record(i) < before) {
      throw refuse(i, `a record number of at least ${before}, as they are in trace order`, `${stores.record(i)}`);
    }
    if (stores.pa(i) % 8 !== 0) throw refuse(i, 'the address of an 8-byte entry', `0x${stores.pa(i).toString(16)}`);
  }
  return stores;
}

/** Both in trace order; a record is one store, so what is in both is the same. */
function merge(a: TableStores, b: TableStores): TableStores {
  const words: number[] = [];
  for (let [i, j] = [0, 0]; i < a.count || j < b.count;) {
    const first = j >= b.count || (i < a.count && a.record(i) <= b.record(j));
    const [from, at] = first ? [a, i++] : [b, j++];
    const same =
      words.length > 0 &&
      from.words.subarray(WORDS * at, WORDS * at + WORDS).every((word, k) => word === words.at(k - WORDS));
    if (!same) words.push(...from.words.subarray(WORDS * at, WORDS * at + WORDS));
  }
  return new TableStores(Uint32Array.from(words));
}
