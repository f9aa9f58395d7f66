// The `replay` section: where pages come from, and which rows are replayed, how often and in what state of the machine.
// docs/caches.md defines passes, hot and cold.
import { z } from 'zod';
import { bytes } from './bytes.js';
import { key } from './key.js';

const PHASE = /^(0x[0-9a-f]+|[0-9]+)$/i;
const passes = z.int().min(1).max(1e9);

/** Passes by phase; numbers of phases come out as decimal text. */
const byPhase = z
  .record(z.string().regex(PHASE, { error: 'expected the number of a phase, such as "0x120" or 288' }), passes)
  .refine((stated) => new Set(Object.keys(stated).map(Number)).size === Object.keys(stated).length, {
    error: 'expected each phase once',
  })
  .transform((stated) => Object.fromEntries(Object.entries(stated).map(([phase, n]) => [String(Number(phase)), n])));

export const replay = key(
  z
    .strictObject({
      mapping: key(
        z.enum(['demand', 'captured', 'tables']).default('demand'),
        "demand: the first touch maps a page of the policy; captured: base pages at the physical addresses of the trace; tables: the captured machine's own tables, from replay.tables",
      ),
      events: key(
        z.boolean().nullable().default(null),
        'events of the trace (patches, forks, modules, ...) are expanded into what the kernel does; null: when a system is named or the mapping is tables',
      ),
      tables: key(
        z.string().min(1).nullable().default(null),
        'folder with the page tables of a capture, for mapping tables; relative to the working directory, in an experiment to its file, where {trace} is the path of the trace without .arrow',
      ),
      dirty: key(
        z.enum(['set', 'tracked']).default('set'),
        'set: pages are mapped dirty; tracked: mapped clean, and the first store to each is a counted update',
      ),
      splitPages: key(z.boolean().default(false), 'an access that crosses a page boundary is two look-ups'),
      warmup: key(z.int().min(0).default(0), 'first rows that change the state but are not counted', 'rows'),
      phases: key(
        z.array(z.int().min(0)).min(1).nullable().default(null),
        'replay only the rows of the phases with these numbers; null: all rows',
      ),
      hot: key(
        z.int().min(1).max(1e6).nullable().default(null),
        'passes over every phase before it is counted, 16 being usual; null: none. Excludes cold',
        'passes',
      ),
      cold: key(
        z.enum(['text', 'kernel', 'all']).nullable().default(null),
        'what is invalidated on all CPUs before the first pass of every phase: TLBs and walk caches, and of the line caches everything (all), the lines of the upper half (kernel) or of memory.textRegions (text); null: nothing',
      ),
      repeat: key(
        z.union([passes, byPhase]).prefault(1),
        'counted passes over every phase, or by phase as in { "0x120": 32 }, where phases that are not named have one',
        'passes',
      ),
      pollution: key(
        bytes.prefault(0),
        'bytes of its own that the CPU of a phase reads before every pass but a cold first one, a number or text such as 256K or 1M',
        'bytes',
      ),
      intervals: key(
        z.int().min(1).nullable().default(null),
        'the summary also has the counters of every stretch of so many rows of the trace; null: it has none',
        'rows',
      ),
      checks: key(
        z.boolean().default(false),
        'invariants are checked after every event that is expanded, which takes time',
      ),
    })
    .prefault({}),
  'how the trace is replayed',
);

/** What configurations have in common that replay the same rows equally often, so that their lanes can share passes. */
export function passKey({ phases, hot, repeat, intervals, tables }: z.output<typeof replay>): string {
  return JSON.stringify([phases, hot, repeat, intervals, tables]);
}

/** The counted passes over a phase. */
export function passesOf({ repeat }: z.output<typeof replay>, phase: number): number {
  return typeof repeat === 'number' ? repeat : (repeat[phase] ?? 1);
}
