// The counters of every CPU of a lane, as the core keeps them.

/** u64[cpus][Stat.Count]. */
export type Counters = BigUint64Array;

export const total = (a: Counters, b: Counters): Counters => a.map((n, i) => n + b[i]);

export const difference = (after: Counters, before: Counters): Counters => after.map((n, i) => n - before[i]);
