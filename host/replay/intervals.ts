// Counters of stretches of equally many rows. A stretch may be entered again, when a phase is replayed more than once: its
// counts add up.

import { type Counters, difference, total } from './counters.js';

/** A lane's counts over the rows [from, to) of the trace. */
export interface IntervalCounters {
  from: number;
  to: number;
  counters: Counters;
}

export class Intervals {
  /** By number of the interval, by lane; one of which no row was replayed is not there. */
  private readonly counted = new Map<number, Counters[]>();
  private present = -1;
  /** What every lane had counted when the present interval was entered. */
  private begin: Counters[] = [];

  /** Intervals of `length` rows; `read` gives what every lane has counted so far. */
  constructor(
    private readonly length: number,
    private readonly read: () => Counters[],
  ) {}

  /** A row is to be replayed: returns the row after the last of its interval. */
  enter(row: number): number {
    const interval = Math.floor(row / this.length);
    if (interval !== this.present) {
      this.leave();
      this.present = interval;
      this.begin = this.read();
    }
    return (interval + 1) * this.length;
  }

  /** A lane forgets what it has counted, and starts again from zero. */
  restart(lane: number): void {
    for (const counted of this.counted.values()) counted[lane].fill(0n);
    this.begin[lane]?.fill(0n);
  }

  /** The intervals of a lane, in the order of the trace, which has `rows` rows. */
  of(lane: number, rows: number): IntervalCounters[] {
    this.leave();
    return [...this.counted.entries()]
      .sort(([a], [b]) => a - b)
      .map(([interval, counted]) => {
        const from = interval * this.length;
        return { from, to: Math.min(rows, from + this.length), counters: counted[lane] };
      });
  }

  private leave(): void {
    if (this.present < 0) return;
    const counted = this.read().map((now, lane) => difference(now, this.begin[lane]));
    const before = this.counted.get(this.present);
    this.counted.set(this.present, before ? counted.map((sum, lane) => total(sum, before[lane])) : counted);
    this.present = -1;
  }
}
