// The result of one configuration on one trace: `summary.json`, schema nodewalk.summary/1. The schema below says what
// a reader relies on; further groups and keys are kept and passed on. Counters are exact below 2^53.

import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../../traces/errors.js';

export const SUMMARY_SCHEMA = 'nodewalk.summary/1';
export const SUMMARY_FILE = 'summary.json';

const count = z.number();
const countsByName = z.record(z.string(), count);

const counters = z.looseObject({
  access: z.looseObject({ fetch: count, load: count, store: count, event: count, insns: count }),
  tlb: z.record(z.string(), z.looseObject({ hit: count, miss: count })),
  walk: z.looseObject({
    count: count,
    refs: count,
    local: count,
    remote: count,
    levels: countsByName,
    stage2Refs: count.optional(),
    cacheHits: countsByName,
    updates: count.optional(),
    remaps: count.optional(),
  }),
  /** By cache, then fetch, data and walk, each with hit and miss or local and remote; empty without line caches. */
  cache: z.record(z.string(), z.record(z.string(), z.union([count, countsByName]))).optional(),
  table: z.looseObject({ bytes: count, replicaBytes: count.optional() }).optional(),
  fault: countsByName,
  /** `own`, of a phase only: the cycles of the CPU that owns the phase. */
  cycles: z.looseObject({ total: count, critical: count.optional(), own: count.optional(), base: count, walk: count }),
});

/** What a simulation by clocks was like at one time. */
const timelinePoint = z.looseObject({
  us: count,
  /** The number of the phase; null outside of all. */
  phase: count.nullable(),
  /** Bytes of detached tables that are not yet free, and of all tables, these too. */
  deferredBytes: count,
  tableBytes: count,
  /** CPUs that hold mmu_lock, and that wait for it. */
  holding: count,
  waiting: count,
  /** Faults taken so far. */
  faults: count,
});

const summary = z.looseObject({
  schema: z.literal(SUMMARY_SCHEMA),
  /** `tables`: SHA-256 of the table image that was walked, where a sweep is planned. */
  trace: z.looseObject({
    path: z.string(),
    records: count,
    sha256: z.string().nullish(),
    tables: z.string().nullish(),
  }),
  config: z.record(z.string(), z.unknown()),
  totals: counters,
  phases: z.array(z.looseObject({ ...counters.shape, phase: count, name: z.string(), cpu: count.nullable() })),
  cpus: z.array(z.looseObject({ ...counters.partial().shape, cpu: count, node: count })),
  // Which groups are kept per node depends on what is modelled there.
  nodes: z.array(z.looseObject({ node: count })),
  /** The rows [from, to) of the trace; only with replay.intervals, and without stretches of which no row was replayed. */
  intervals: z.array(z.looseObject({ ...counters.shape, from: count, to: count })).optional(),
  /** stage2-faults: points of simulated time. */
  timeline: z.array(timelinePoint).optional(),
  /** Seeds of the random scheduler that were tried; only with system.s2Seeds. */
  search: z.looseObject({ seeds: count }).optional(),
  run: z.looseObject({ version: z.string().optional() }).optional(),
});

/** The counters of a trace, a phase, a CPU or a node, in groups. */
export type Counters = z.infer<typeof counters>;
/** The whole document. */
export type Summary = z.infer<typeof summary>;
export type TimelinePoint = z.infer<typeof timelinePoint>;
/** Counters by dotted path: `tlb.l1d.hit`. */
export type Flat = Record<string, number>;

/** Reads a summary; `path` is the file or a directory that `replay -o` wrote. */
export function readSummary(path: string): Summary {
  const directory = statSync(path, { throwIfNoEntry: false })?.isDirectory();
  return readDocument(directory ? join(path, SUMMARY_FILE) : path, summary, 'a summary (nodewalk.summary/1)');
}

/** Reads a JSON file that must fit a schema; every fault names the file and the place. */
export function readDocument<T>(path: string, schema: z.ZodType<T>, expected: string): T {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const found = code === 'ENOENT' ? 'no such file' : `an unreadable file (${code})`;
    throw new InputError({ source: path, expected, found, advice: 'name what replay -o or sweep -o wrote' });
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    const found = text === '' ? 'an empty file' : `no JSON (${(error as Error).message})`;
    throw new InputError({ source: path, expected, found, advice: 'run the replay or sweep again' });
  }
  const result = schema.safeParse(document);
  if (result.success) return result.data;
  const { path: at, message } = result.error.issues[0];
  throw new InputError({
    source: path,
    at: at.length > 0 ? `key ${at.join('.')}` : undefined,
    expected,
    found: `a document that does not fit: ${message}`,
    advice: 'run the replay or sweep again with this version',
  });
}

/** Every leaf of a document by its dotted path. A list is one leaf: lists are compared whole. */
export function leaves(document: unknown, prefix = ''): Map<string, unknown> {
  if (typeof document !== 'object' || document === null || Array.isArray(document))
    return new Map([[prefix, document]]);
  const dotted = (key: string) => (prefix === '' ? key : `${prefix}.${key}`);
  return new Map(Object.entries(document).flatMap(([key, value]) => [...leaves(value, dotted(key))]));
}

/** Counter groups as dotted paths; what is not a number (a phase's name) is left out. */
export function flatten(groups: object): Flat {
  const numbers = [...leaves(groups)].filter((leaf): leaf is [string, number] => typeof leaf[1] === 'number');
  return Object.fromEntries(numbers);
}

/** Both definitions of a gain in use: `speedup` = T_old/T_new - 1, `saved` = 1 - T_new/T_old. Null where undefined. */
export interface Gain {
  speedup: number | null;
  saved: number | null;
}

export function gain(oldCycles: number, newCycles: number): Gain {
  return {
    speedup: newCycles > 0 ? oldCycles / newCycles - 1 : null,
    saved: oldCycles > 0 ? 1 - newCycles / oldCycles : null,
  };
}

/**
 * The cycles that a phase's gain uses: those of its own CPU, as the others only happen to run meanwhile; of the slowest
 * CPU where a summary does not tell them apart.
 */
export function phaseCyclesKey(flats: Flat[]): 'cycles.own' | 'cycles.critical' | 'cycles.total' {
  const keys = ['cycles.own', 'cycles.critical'] as const;
  return keys.find((key) => flats.every((flat) => key in flat)) ?? 'cycles.total';
}

/** The gain of one phase, from its counters in both results. */
export function phaseGain(before: Flat, after: Flat): Gain {
  const key = phaseCyclesKey([before, after]);
  return gain(before[key], after[key]);
}
