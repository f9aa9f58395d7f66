// What the tables below one root map, as stores to them change it: which leaves go and which come. Arm, either stage.
// A page becomes a table when an entry points to it, and is taken as zero then, as in spaces.ts.

import { addressOf, entryBytes, isLeaf, isTable, type Geometry } from './geometry.js';

/** An entry at the end of a walk that is not zero: it maps `bytes` from `from` on, or says in a stage 2 whose they are. */
export interface Leaf {
  from: number;
  bytes: number;
  /** Where they are mapped; -1 where the entry is not valid. */
  pa: number;
  low: number;
  high: number;
}

/** A table page. */
interface Table {
  words: Uint32Array;
  /** Levels above the last one. */
  height: number;
  /** The address that its first entry covers; of a root that begins inside its page below 0. */
  from: number;
}

export class Translations {
  private readonly tables = new Map<number, Table>();
  /** Bytes of a table and of the smallest page. */
  readonly tableBytes: number;
  private readonly roots: Table[] = [];

  /** @param pages contents by physical address; a root of more than a page has them one after the other */
  constructor(
    private readonly geometry: Geometry,
    root: number,
    pages: ReadonlyMap<number, Uint8Array<ArrayBuffer>>,
  ) {
    this.tableBytes = 2 ** geometry.pageShift;
    const height = geometry.levels - 1;
    const inside = root % this.tableBytes;
    const covers = (this.tableBytes / 8) * entryBytes(geometry, height);
    let from = -(inside / 8) * entryBytes(geometry, height);
    for (let pa = root - inside; from < 2 ** geometry.userBits; pa += this.tableBytes, from += covers) {
      this.roots.push(this.load(pa, height, from, pages));
    }
  }

  /** Applies a store of an entry; the leaves that went and those that came, null when it is to none of these tables. */
  store(pa: number, low: number, high: number): { gone: Leaf[]; come: Leaf[] } | null {
    const page = pa - (pa % this.tableBytes);
    const table = this.tables.get(page);
    if (!table) return null;
    const index = (pa - page) / 8;
    const { words, height } = table;
    const [oldLow, oldHigh] = [words[2 * index], words[2 * index + 1]];
    if (low === oldLow && high === oldHigh) return { gone: [], come: [] };
    const [gone, come]: Leaf[][] = [[], []];
    this.collect(table, index, gone);
    const bytes = entryBytes(this.geometry, height);
    if (isTable(this.geometry, height, oldLow)) this.drop(addressOf(this.geometry, oldLow, oldHigh));
    words[2 * index] = low;
    words[2 * index + 1] = high;
    if (isTable(this.geometry, height, low)) {
      this.load(addressOf(this.geometry, low, high), height - 1, table.from + index * bytes, new Map());
    } else this.collect(table, index, come);
    return { gone, come };
  }

  /** Where an address is mapped; -1 where it is not. */
  walk(address: number): number {
    let table: Table | undefined = this.roots.findLast(({ from }) => from <= address);
    while (table) {
      const { words, height, from } = table;
      const bytes = entryBytes(this.geometry, height);
      const index = Math.floor((address - from) / bytes);
      const [low, high] = [words[2 * index], words[2 * index + 1]];
      if (isLeaf(this.geometry, height, low)) return this.frame(low, high, bytes) + (address % bytes);
      if (!isTable(this.geometry, height, low)) return -1;
      table = this.tables.get(addressOf(this.geometry, low, high));
    }
    return -1;
  }

  /** All leaves, in the order of addresses. */
  leaves(): Leaf[] {
    const found: Leaf[] = [];
    for (const root of this.roots) for (let i = 0; i < this.tableBytes / 8; i++) this.collect(root, i, found);
    return found;
  }

  private load(pa: number, height: number, from: number, pages: ReadonlyMap<number, Uint8Array<ArrayBuffer>>): Table {
    const table = { words: new Uint32Array(this.tableBytes / 4), height, from };
    this.tables.set(pa, table);
    const data = pages.get(pa);
    if (!data) return table;
    table.words.set(new Uint32Array(data.buffer, data.byteOffset, data.length / 4));
    for (let i = 0; i < this.tableBytes / 8; i++) {
      const [low, high] = [table.words[2 * i], table.words[2 * i + 1]];
      if (!isTable(this.geometry, height, low)) continue;
      this.load(addressOf(this.geometry, low, high), height - 1, from + i * entryBytes(this.geometry, height), pages);
    }
    return table;
  }

  private drop(pa: number): void {
    const table = this.tables.get(pa);
    if (!table || !this.tables.delete(pa)) return;
    const { words, height } = table;
    for (let i = 0; i < this.tableBytes / 8; i++) {
      if (isTable(this.geometry, height, words[2 * i])) {
        this.drop(addressOf(this.geometry, words[2 * i], words[2 * i + 1]));
      }
    }
  }

  /** Adds the leaves of an entry, or of the tables below it. */
  private collect({ words, height, from }: Table, index: number, found: Leaf[]): void {
    const [low, high] = [words[2 * index], words[2 * index + 1]];
    if (low === 0 && high === 0) return;
    const bytes = entryBytes(this.geometry, height);
    const below = isTable(this.geometry, height, low) && this.tables.get(addressOf(this.geometry, low, high));
    if (below) for (let i = 0; i < this.tableBytes / 8; i++) this.collect(below, i, found);
    else {
      const pa = isLeaf(this.geometry, height, low) ? this.frame(low, high, bytes) : -1;
      found.push({ from: from + index * bytes, bytes, pa, low, high });
    }
  }

  private frame(low: number, high: number, bytes: number): number {
    const pa = addressOf(this.geometry, low, high);
    return pa - (pa % bytes);
  }
}

/** A stretch of addresses with where it is mapped. */
export interface Stretch {
  from: number;
  bytes: number;
  pa: number;
}

/** What `leaves` map that `others` do not map to the same place, in the order of addresses. */
export function without(leaves: readonly Leaf[], others: readonly Leaf[]): Stretch[] {
  const found: Stretch[] = [];
  const add = (from: number, to: number, pa: number) => {
    const last = found.at(-1);
    if (from >= to) return;
    if (last && last.from + last.bytes === from && last.pa + last.bytes === pa) last.bytes += to - from;
    else found.push({ from, bytes: to - from, pa });
  };
  const inOrder = (list: readonly Leaf[]) => list.filter(({ pa }) => pa >= 0).sort((a, b) => a.from - b.from);
  const cutters = inOrder(others);
  for (const { from, bytes, pa } of inOrder(leaves)) {
    const end = from + bytes;
    let at = from;
    for (const other of cutters) {
      if (other.from + other.bytes <= at || other.from >= end || other.pa - other.from !== pa - from) continue;
      add(at, other.from, pa + at - from);
      at = Math.min(end, other.from + other.bytes);
    }
    add(at, end, pa + at - from);
  }
  return found;
}
