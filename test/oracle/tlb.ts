// TLBs: a level is one or more set-associative arrays with true LRU. A set is a plain list, the most recent entry first.
import { bytesOf, pageSizesOf, type Format } from './format.js';
import { type TlbArrayConfig } from './types.js';

interface Entry {
  context: string;
  /** Bytes covered; a fragment covers less than its mapping. */
  bytes: bigint;
  /** First VA covered. */
  va: bigint;
}

const covers = (entry: Entry, context: string, va: bigint) =>
  entry.context === context && entry.va <= va && va < entry.va + entry.bytes;

class TlbArray {
  /** Page sizes taken, in bytes, the smallest first. */
  readonly sizes: bigint[];
  private readonly sets: Entry[][];
  private readonly ways: number;

  constructor(config: TlbArrayConfig, formatSizes: bigint[]) {
    const taken = config.pages?.map(bytesOf);
    this.sizes = formatSizes.filter((bytes) => taken === undefined || taken.includes(bytes));
    this.sets = Array.from({ length: config.sets }, () => []);
    this.ways = config.ways;
  }

  lookup(context: string, va: bigint): boolean {
    const set = this.setOf(va);
    const at = set.findIndex((entry) => covers(entry, context, va));
    if (at < 0) return false;
    set.unshift(...set.splice(at, 1));
    return true;
  }

  insert(context: string, va: bigint, bytes: bigint): void {
    const set = this.setOf(va);
    set.unshift({ context, bytes, va: (va / bytes) * bytes });
    if (set.length > this.ways) set.pop();
  }

  invalidate(context: string, va: bigint): void {
    for (const set of this.sets) {
      for (let at = set.length - 1; at >= 0; at--) if (covers(set[at], context, va)) set.splice(at, 1);
    }
  }

  clear(): void {
    for (const set of this.sets) set.length = 0;
  }

  /** The set of the address that is accessed, so that a page larger than the array's smallest may be in several sets. */
  private setOf(va: bigint): Entry[] {
    return this.sizes.length === 0 ? [] : this.sets[Number((va / this.sizes[0]) % BigInt(this.sets.length))];
  }
}

/** One level of TLB of one CPU. */
export class TlbLevel {
  /** A level without any entry is absent: it is neither probed nor counted. */
  readonly present: boolean;
  private readonly arrays: TlbArray[];
  private readonly baseBytes: bigint;

  constructor(
    readonly name: 'l1i' | 'l1d' | 'l2',
    config: TlbArrayConfig[] | null,
    format: Format,
  ) {
    this.arrays = (config ?? [])
      .filter(({ sets, ways }) => sets > 0 && ways > 0)
      .map((array) => new TlbArray(array, pageSizesOf(format)));
    this.present = this.arrays.length > 0;
    this.baseBytes = 1n << format.baseShift;
  }

  /** Probes every array; a hit becomes the most recent of its set. */
  lookup(context: string, va: bigint): boolean {
    return this.arrays.map((array) => array.lookup(context, va)).includes(true);
  }

  /**
   * Enters the page of the given size that holds the VA, or the largest part of it that some array takes. What is smaller
   * than the base page goes where the base page would.
   */
  insert(context: string, va: bigint, pageBytes: bigint): void {
    const asBytes = pageBytes < this.baseBytes ? this.baseBytes : pageBytes;
    const sizes = this.arrays.flatMap((array) => array.sizes).filter((bytes) => bytes <= asBytes);
    if (sizes.length === 0) return;
    const taken = sizes.reduce((a, b) => (a > b ? a : b));
    const bytes = taken < pageBytes ? taken : pageBytes;
    this.arrays.find((array) => array.sizes.includes(taken))!.insert(context, va, bytes);
  }

  /** Removes what covers the VA in one context. */
  invalidate(context: string, va: bigint): void {
    for (const array of this.arrays) array.invalidate(context, va);
  }

  /** Removes everything. */
  clear(): void {
    for (const array of this.arrays) array.clear();
  }
}
