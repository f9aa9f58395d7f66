// One set-associative cache of line numbers with true LRU. A set is a plain list, the most recent entry first; a line that is
// lost leaves room, so that the next one entered in its set drops nothing.
import { type CacheGeometry } from './types.js';

/**
 * Where the address of a byte in its memory ends. The bits above tell memories apart: the machine's own (0), what CPUs read to pollute, the
 * captured machine's. Equal addresses in two of them are different lines with the same index.
 */
export const MEMORY_SHIFT = 52n;
/** Lines of 64 bytes. */
export const LINE_SHIFT = 6n;

/** The access that entered a line: whether its address is in the upper half, and in a text or read-only region. */
export interface Enterer {
  kernel: boolean;
  text: boolean;
}

/** A line in a cache. */
export interface CacheEntry {
  readonly line: bigint;
  readonly by: Enterer;
  /** Written by the CPU whose `l1d` this is, and asked for by no other since. */
  owned: boolean;
  /** Brought to an `l1i` by a prefetch, and not fetched since. */
  prefetched: boolean;
}

/** One cache; its index is the line number in its memory modulo its sets, any number of them. */
export class LineCache {
  private sets: CacheEntry[][];

  constructor(private readonly geometry: CacheGeometry) {
    this.sets = Array.from({ length: geometry.sets }, () => []);
  }

  /** The entry of a line; changes nothing. */
  probe(line: bigint): CacheEntry | null {
    return this.setOf(line).find((entry) => entry.line === line) ?? null;
  }

  /** The entry of a line, which becomes the most recent of its set. */
  lookup(line: bigint): CacheEntry | null {
    const set = this.setOf(line);
    const at = set.findIndex((entry) => entry.line === line);
    if (at < 0) return null;
    set.unshift(...set.splice(at, 1));
    return set[0];
  }

  /** Enters a line that is not there and returns the line that it replaces, if any. */
  enter(line: bigint, by: Enterer, prefetched = false): bigint | null {
    const set = this.setOf(line);
    set.unshift({ line, by, owned: false, prefetched });
    return set.length > this.geometry.ways ? set.pop()!.line : null;
  }

  /** Drops a line; false when it is not there. */
  lose(line: bigint): boolean {
    const set = this.setOf(line);
    const at = set.findIndex((entry) => entry.line === line);
    if (at >= 0) set.splice(at, 1);
    return at >= 0;
  }

  /** Drops the lines that some access entered. */
  invalidate(isInScope: (by: Enterer) => boolean): void {
    this.sets = this.sets.map((set) => set.filter(({ by }) => !isInScope(by)));
  }

  private setOf(line: bigint): CacheEntry[] {
    const number = BigInt.asUintN(Number(MEMORY_SHIFT - LINE_SHIFT), line);
    return this.sets[Number(number % BigInt(this.sets.length))];
  }
}
