// The derived numbers that reports show, each with the sentence that explains it. All are functions of flat counters,
// so one definition serves totals, phases and CPUs alike.

import { number, percent } from '../format.js';
import { type Flat } from '../results/summary.js';

export interface Metric {
  title: string;
  /** What one unit of the value is, for headers and axes. */
  unit: string;
  meaning: string;
  /** Null where the counters do not define it. */
  value: (flat: Flat) => number | null;
  /** Shares are written as percentages. */
  share?: boolean;
}

/** The value as text; "-" where there is none. */
export function write(metric: Metric, flat: Flat): string {
  const value = metric.value(flat);
  return value === null ? '-' : metric.share ? percent(value) : number(value);
}

export function accesses(flat: Flat): number {
  return (flat['access.fetch'] ?? 0) + (flat['access.load'] ?? 0) + (flat['access.store'] ?? 0);
}

function ratio(part: number | undefined, whole: number | undefined, scale = 1): number | null {
  return part === undefined || !whole ? null : (part * scale) / whole;
}

export const CYCLES: Metric = {
  title: 'Cycles',
  unit: 'sum of all CPUs',
  meaning: 'All cycles of all CPUs: the parts of the plot "Where the cycles go".',
  value: (flat) => flat['cycles.total'] ?? null,
};

export const CRITICAL: Metric = {
  title: 'Critical cycles',
  unit: 'slowest CPU',
  meaning: 'The cycles of the CPU that needed most: when all CPUs start together, this one ends last.',
  value: (flat) => flat['cycles.critical'] ?? null,
};

export const OWN: Metric = {
  title: 'Own cycles',
  unit: "the phase's CPU",
  meaning: 'The cycles of the CPU that owns the phase.',
  value: (flat) => flat['cycles.own'] ?? null,
};

export const CYCLES_PER_ACCESS: Metric = {
  title: 'Cycles',
  unit: 'per access',
  meaning: 'Cycles divided by the fetch, load and store rows of the trace.',
  value: (flat) => ratio(flat['cycles.total'], accesses(flat)),
};

export const TLB_MISSES: Metric = {
  title: 'L1 TLB misses',
  unit: 'per 1,000 accesses',
  meaning: 'Look-ups that missed the first-level TLBs (instruction and data) per thousand accesses.',
  value: (flat) => ratio((flat['tlb.l1i.miss'] ?? 0) + (flat['tlb.l1d.miss'] ?? 0), accesses(flat), 1000),
};

export const MISSES_PER_INSN: Metric = {
  title: 'L1 TLB misses',
  unit: 'per 1,000 instructions',
  meaning: 'Look-ups that missed the first-level TLBs (instruction and data) per thousand instructions.',
  value: (flat) => ratio((flat['tlb.l1i.miss'] ?? 0) + (flat['tlb.l1d.miss'] ?? 0), flat['access.insns'], 1000),
};

export const WALKS: Metric = {
  title: 'Walks',
  unit: 'per 1,000 accesses',
  meaning: 'Accesses that missed every TLB level and walked the page tables, per thousand accesses.',
  value: (flat) => ratio(flat['walk.count'], accesses(flat), 1000),
};

export const WALK_REFS: Metric = {
  title: 'Walk references',
  unit: 'descriptors',
  meaning: 'Table entries that walks read from memory; walk caches make it less than levels times walks.',
  value: (flat) => flat['walk.refs'] ?? null,
};

export const REFS_PER_WALK: Metric = {
  title: 'References',
  unit: 'per walk',
  meaning: 'Table entries read in an average walk: 1 when a walk cache serves all upper levels.',
  value: (flat) => ratio(flat['walk.refs'], flat['walk.count']),
};

export const REMOTE_SHARE: Metric = {
  title: 'Remote share',
  unit: 'of walk references',
  meaning: 'The share of walk references whose table page lives on another node than the walking CPU.',
  value: (flat) => ratio(flat['walk.remote'], (flat['walk.local'] ?? 0) + (flat['walk.remote'] ?? 0)),
  share: true,
};

export const FETCH_LINE_MISSES: Metric = {
  title: 'L1I cache misses',
  unit: 'per 1,000 instructions',
  meaning: 'Fetches whose line was not in the first-level instruction cache, per thousand instructions.',
  value: (flat) => ratio(flat['cache.l1i.fetch.miss'], flat['access.insns'], 1000),
};

export const MEMORY_LINES: Metric = {
  title: 'Lines from memory',
  unit: 'per 1,000 accesses',
  meaning: 'Lines that fetches, loads, stores and walks read from memory, per thousand accesses.',
  value: (flat) => ratio(memoryLines(flat, ['local', 'remote']), accesses(flat), 1000),
};

export const REMOTE_LINES: Metric = {
  title: 'Remote share',
  unit: 'of lines from memory',
  meaning: 'The share of the lines from memory that came from another node than that of the CPU.',
  value: (flat) => ratio(memoryLines(flat, ['remote']), memoryLines(flat, ['local', 'remote'])),
  share: true,
};

/** Lines that came from memory; undefined without line caches. */
function memoryLines(flat: Flat, places: string[]): number | undefined {
  const keys = ['fetch', 'data', 'walk'].flatMap((by) => places.map((place) => `cache.memory.${by}.${place}`));
  return keys.some((key) => key in flat) ? keys.reduce((sum, key) => sum + (flat[key] ?? 0), 0) : undefined;
}

export const FAULTS: Metric = {
  title: 'Demand faults',
  unit: 'faults',
  meaning: 'First touches of a page.',
  value: (flat) => flat['fault.demand'] ?? null,
};

export const TABLE_BYTES: Metric = {
  title: 'Tables',
  unit: 'bytes',
  meaning: 'Memory that page tables take, replicas not counted.',
  value: (flat) => flat['table.bytes'] ?? null,
};

/** The miss rate of one TLB level: `l1i`, `l1d`, `l2`. */
export function missRate(level: string): Metric {
  const hit = `tlb.${level}.hit`;
  const miss = `tlb.${level}.miss`;
  return {
    title: `${level} miss rate`,
    unit: 'of look-ups',
    meaning: `The share of the look-ups in the ${level} TLB that missed there.`,
    value: (flat) => ratio(flat[miss], (flat[hit] ?? 0) + (flat[miss] ?? 0)),
    share: true,
  };
}

/** First-level misses per thousand instructions; per thousand accesses where no result counts instructions. */
export function firstLevelMisses(flats: Flat[]): Metric {
  return flats.some((flat) => MISSES_PER_INSN.value(flat) !== null) ? MISSES_PER_INSN : TLB_MISSES;
}

/** The TLB levels that some of the results have, in order of look-up. */
export function tlbLevels(flats: Flat[]): string[] {
  const keys = flats.flatMap((flat) => Object.keys(flat));
  return [...new Set(keys.flatMap((key) => /^tlb\.(.+)\.miss$/.exec(key)?.[1] ?? []))];
}

/** The parts of `cycles.total` that are not zero everywhere, in the order of the summary. */
export function cycleParts(flats: Flat[]): string[] {
  const sums = ['cycles.total', 'cycles.critical', 'cycles.own'];
  const keys = new Set(flats.flatMap((flat) => Object.keys(flat)));
  return [...keys].filter((key) => key.startsWith('cycles.') && !sums.includes(key) && flats.some((flat) => flat[key]));
}

/** All metrics that tables show, in order. */
export function tableMetrics(flats: Flat[]): Metric[] {
  const all = [
    ...[CYCLES, CRITICAL, OWN, CYCLES_PER_ACCESS, firstLevelMisses(flats)],
    ...tlbLevels(flats).map(missRate),
    ...[
      WALKS,
      WALK_REFS,
      REFS_PER_WALK,
      REMOTE_SHARE,
      FETCH_LINE_MISSES,
      MEMORY_LINES,
      REMOTE_LINES,
      FAULTS,
      TABLE_BYTES,
    ],
  ];
  return all.filter(({ value }) => flats.some((flat) => value(flat) !== null));
}
