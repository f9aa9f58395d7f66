// Reuse distances: how many other pages (or lines) a CPU touched since it touched this one last. An access hits a fully
// associative LRU array of s entries exactly when its distance is below s (Mattson et al., Evaluation techniques for storage
// hierarchies, IBM Systems Journal 9(2), 1970), so one pass tells the misses of every size.
//
// The distance is the number of pages whose last touch is later than this page's: a Fenwick tree over the times of last
// touches answers in O(log n). Times are renumbered when they run out, so memory follows the footprint, not the trace.

import { FETCH, STORE, type Batch } from './batch.js';
import { PageMap, VALUE_WORDS } from './pageMap.js';
import { Spaces } from './spaces.js';

/** Bytes of what is counted, by its name. */
export const REUSE_UNITS = { pages: 4096, lines: 64 } as const;
export type ReuseUnit = keyof typeof REUSE_UNITS;

/** Which accesses share a stack: those of an instruction TLB or cache, of one for data, or of one for both. */
export type ReuseSide = 'fetch' | 'data' | 'all';

/** Accesses by distance. */
export interface ReuseHistogram {
  side: ReuseSide;
  accesses: number;
  /** First touches: they miss whatever the size. */
  cold: number;
  /** Accesses at every distance. */
  counts: Float64Array;
}

const INITIAL_TIMES = 1 << 16;
const INITIAL_PAGES = 1 << 10;
/** Times for each page that is known, so that renumbering costs little per access. */
const TIMES_PER_PAGE = 4;

/** Pages in the order of their last touches. Page 0 is never given out. */
class Stack {
  private readonly pages = new PageMap();
  private count = 0;
  /** Time of the last touch of every page. */
  private last = new Int32Array(INITIAL_PAGES);
  /** Page that was touched last at every time; 0: none. */
  private touched = new Int32Array(INITIAL_TIMES + 1);
  /** Fenwick tree over the times that are some page's last: Fenwick, A new data structure for cumulative frequency tables, 1994. */
  private tree = new Int32Array(INITIAL_TIMES + 1);
  private now = 0;
  private recent = 0;

  /** Touches a page; its distance, or -1 when it is new. */
  touch(high: number, low: number, space: number): number {
    const slot = VALUE_WORDS * this.pages.slotOf(high, low, space);
    const fresh = this.pages.fresh;
    if (fresh) this.pages.values[slot] = ++this.count;
    const page = this.pages.values[slot];
    if (page === this.recent) return 0;
    this.recent = page;
    if (this.now === this.touched.length - 1) this.renumber();
    if (page >= this.last.length) this.last = grown(this.last);
    let distance = -1;
    if (!fresh) {
      const before = this.last[page];
      distance = this.count - this.upTo(before);
      this.add(before, -1);
      this.touched[before] = 0;
    }
    const time = ++this.now;
    this.last[page] = time;
    this.touched[time] = page;
    this.add(time, 1);
    return distance;
  }

  private upTo(time: number): number {
    let sum = 0;
    for (let at = time; at > 0; at &= at - 1) sum += this.tree[at];
    return sum;
  }

  private add(time: number, change: number): void {
    const { tree } = this;
    for (let at = time; at < tree.length; at += at & -at) tree[at] += change;
  }

  /** Gives the last touches the first times, in their order. */
  private renumber(): void {
    const times = Math.max(INITIAL_TIMES, TIMES_PER_PAGE * this.count);
    const old = this.touched;
    this.touched = new Int32Array(times + 1);
    this.tree = new Int32Array(times + 1);
    this.now = 0;
    for (const page of old) {
      if (page === 0) continue;
      this.touched[++this.now] = page;
      this.last[page] = this.now;
      this.tree[this.now] = 1;
    }
    const { tree } = this;
    for (let at = 1; at < tree.length; at++) {
      const above = at + (at & -at);
      if (above < tree.length) tree[above] += tree[at];
    }
  }
}

/** Counts the distances of a trace's accesses. Every CPU has stacks of its own; their counts add up. */
export class ReuseDistances {
  private readonly shift: number;
  private readonly spaces = new Spaces();
  private readonly stacks: Record<ReuseSide, Stack>[] = [];
  private readonly sides: Record<ReuseSide, ReuseHistogram> = {
    fetch: emptyHistogram('fetch'),
    data: emptyHistogram('data'),
    all: emptyHistogram('all'),
  };

  constructor(readonly unit: ReuseUnit) {
    this.shift = Math.log2(REUSE_UNITS[unit]);
  }

  add(batch: Batch): void {
    const { rows, cpu, kind, va } = batch;
    const { shift, sides } = this;
    const words = new Uint32Array(va.buffer, va.byteOffset, 2 * rows);
    for (let i = 0; i < rows; i++) {
      const k = kind[i];
      if (k > STORE) continue;
      const low = ((words[2 * i + 1] << (32 - shift)) | (words[2 * i] >>> shift)) >>> 0;
      const high = words[2 * i + 1] >>> shift;
      const space = this.spaces.of(batch, i);
      const stacks = (this.stacks[cpu[i]] ??= { fetch: new Stack(), data: new Stack(), all: new Stack() });
      const side = k === FETCH ? 'fetch' : 'data';
      count(sides[side], stacks[side].touch(high, low, space));
      count(sides.all, stacks.all.touch(high, low, space));
    }
  }

  /** The counts, of fetches, of data and of both. */
  result(): ReuseHistogram[] {
    return Object.values(this.sides).map((histogram) => {
      const end = histogram.counts.findLastIndex((n) => n > 0) + 1;
      return { ...histogram, counts: histogram.counts.slice(0, end) };
    });
  }
}

/** Misses of a fully associative LRU array of `entries` entries per CPU. */
export function missesOf({ cold, counts }: ReuseHistogram, entries: number): number {
  let misses = cold;
  for (let distance = entries; distance < counts.length; distance++) misses += counts[distance];
  return misses;
}

/** The counts in steps of powers of two: distances 0, 1, 2 to 3, 4 to 7 ... */
export function powerSteps({ counts }: ReuseHistogram): { from: number; to: number; accesses: number }[] {
  const steps: { from: number; to: number; accesses: number }[] = [];
  for (let from = 0, to = 0; from < counts.length; from = to + 1, to = 2 * from - 1) {
    const accesses = counts.subarray(from, to + 1).reduce((sum, n) => sum + n, 0);
    steps.push({ from, to, accesses });
  }
  return steps;
}

function emptyHistogram(side: ReuseSide): ReuseHistogram {
  return { side, accesses: 0, cold: 0, counts: new Float64Array(INITIAL_PAGES) };
}

function count(histogram: ReuseHistogram, distance: number): void {
  histogram.accesses++;
  if (distance < 0) {
    histogram.cold++;
    return;
  }
  while (distance >= histogram.counts.length) {
    const larger = new Float64Array(2 * histogram.counts.length);
    larger.set(histogram.counts);
    histogram.counts = larger;
  }
  histogram.counts[distance]++;
}

function grown(values: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * values.length);
  larger.set(values);
  return larger;
}
