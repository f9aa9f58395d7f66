// The `machine` section: CPUs and nodes, TLBs, walk caches, and the times that turn counts into cycles; line caches and
// the costs of software are in caches.ts and costs.ts.
import { z } from 'zod';
import { caches, mlp } from './caches.js';
import { costs } from './costs.js';
import { key } from './key.js';
import { type PagingFormat, pageSize, stage2Levels, type Stage2Format } from './paging.js';

const MAX_NODES = 64;
const MAX_CPUS = 4096;

export const tlbArray = z
  .strictObject({
    sets: key(
      z
        .int()
        .min(0)
        .max(1 << 20),
      'sets, of any number; with 1 the array is fully associative',
    ),
    ways: key(z.int().min(0).max(1024), 'ways of each set, replaced by true LRU'),
    pages: key(z.array(pageSize).min(1).nullable().default(null), 'page sizes that it takes; null: all of the format'),
  })
  .refine((array) => (array.sets === 0) === (array.ways === 0), {
    error: 'sets and ways must both be 0 (no array) or both be above 0',
  })
  .meta({ id: 'TlbArray' });

export type TlbArray = z.output<typeof tlbArray>;

const level = z.union([tlbArray, z.array(tlbArray)]).nullable();
const arrays = (stated: z.output<typeof level>): TlbArray[] =>
  (Array.isArray(stated) ? stated : stated === null ? [] : [stated]).filter((array) => array.sets > 0);

const tlb = z.strictObject({
  l1i: key(
    level.transform(arrays).prefault({ sets: 16, ways: 8 }),
    'first level for fetches: one array, or a list of arrays for different page sizes; null: none',
  ),
  l1d: key(level.transform(arrays).prefault({ sets: 16, ways: 4 }), 'first level for loads and stores, likewise'),
  l2: key(
    level.transform((stated) => (arrays(stated).length > 0 ? arrays(stated) : null)).prefault({ sets: 128, ways: 12 }),
    'second level for both, likewise; null: none',
  ),
});

const entries = z.int().min(0).max(4096);
const walkCaches = z.strictObject({
  pde: key(entries.default(32), 'x86: table entries that span 2M', 'entries'),
  pdpte: key(entries.default(4), 'x86: table entries that span 1G', 'entries'),
  pml4e: key(entries.default(2), 'x86: table entries that span 512G', 'entries'),
  pml5e: key(entries.default(2), 'x86 with 5 levels: table entries that span 256T', 'entries'),
  l2: key(entries.default(32), 'Arm: table descriptors of level 2', 'entries'),
  l1: key(entries.default(4), 'Arm: table descriptors of level 1', 'entries'),
  l0: key(entries.default(2), 'Arm: table descriptors of level 0', 'entries'),
  lm1: key(entries.default(2), 'Arm: table descriptors of level -1', 'entries'),
  // No source gives sizes of the stage-2 caches: those of the stage-1 caches at the same heights stand for them.
  ipa: key(entries.default(32), 'stage 2: its pages, by intermediate address', 'entries'),
  s2l2: key(entries.default(32), 'stage 2: table descriptors 1 level above the last (EPT: span 2M)', 'entries'),
  s2l1: key(entries.default(4), 'stage 2: table descriptors 2 levels above the last', 'entries'),
  s2l0: key(entries.default(2), 'stage 2: table descriptors 3 levels above the last', 'entries'),
  s2lm1: key(entries.default(2), 'stage 2: table descriptors 4 levels above the last', 'entries'),
});

export type WalkCache = keyof z.output<typeof walkCaches>;
export const WALK_CACHES = Object.keys(walkCaches.shape) as WalkCache[];

/** The caches of a second stage: of its pages, then of its tables, the one closest to the leaf first. */
export const STAGE2_CACHES: readonly WalkCache[] = ['ipa', 's2l2', 's2l1', 's2l0', 's2lm1'];

/** The stage-1 walk caches that machines of this format have, the one closest to the leaf first. */
export function walkCachesOf(paging: PagingFormat): WalkCache[] {
  if (paging.format === 'arm64') return ['l2', 'l1', 'l0', 'lm1'];
  return paging.levels === 5 ? ['pde', 'pdpte', 'pml4e', 'pml5e'] : ['pde', 'pdpte', 'pml4e'];
}

/** The stage-2 caches that a walk of this format asks: none without a second stage, else those of the levels it has. */
export function stage2CachesOf({ stage2 }: { stage2: Stage2Format | null }): WalkCache[] {
  // n levels have n - 1 levels of table descriptors, and the pages are one more cache.
  return stage2 ? STAGE2_CACHES.slice(0, stage2Levels(stage2)) : [];
}

const node = z
  .int()
  .min(0)
  .max(MAX_NODES - 1);
const distance = z.int().min(10).max(255);

export const machine = key(
  z
    .strictObject({
      cpuNode: key(
        z.array(node).min(1).max(MAX_CPUS).nullable().default(null),
        'node of each CPU; a document that states it drops inherited nodes, cpus and topology',
      ),
      nodes: key(
        z.int().min(1).max(MAX_NODES).nullable().default(null),
        'number of nodes; null: as many as cpuNode or the trace names',
      ),
      cpus: key(
        z.int().min(1).max(MAX_CPUS).nullable().default(null),
        'number of CPUs; null: as many as the trace has',
      ),
      topology: key(
        z.enum(['blocks', 'trace']).default('trace'),
        "node of each CPU where cpuNode is null. blocks: equal consecutive blocks of CPUs; trace: the trace's own map where it has one that fits the nodes, else blocks. A document that states nodes or cpus drops an inherited cpuNode and, unless it states topology too, means blocks",
      ),
      distances: key(
        z.array(z.array(distance)).min(1).max(MAX_NODES).nullable().default(null),
        'distance from each node (row) to each node as in the ACPI SLIT; null: 10 to itself, 20 to the others',
      ),
      clockGHz: key(z.number().min(0.001).max(100).default(2.6), 'core clock', 'GHz'),
      cpi: key(z.number().min(0).max(1000).default(1), 'cycles per instruction when nothing misses', 'cycles'),
      tlb: key(tlb.prefault({}), 'the TLBs of each CPU'),
      walkCaches: key(
        walkCaches.prefault({}),
        'walk caches of each CPU, fully associative; 0: none. No source gives sizes for those of stage 2',
      ),
      caches,
      latency: key(
        z
          .strictObject({
            localNs: key(z.number().min(0).max(1e6).default(90), 'reading memory at distance 10', 'ns'),
            remoteNs: key(
              z.number().min(0).max(1e6).default(140),
              'reading memory at the smallest distance above 10; others lie on the straight line through the two',
              'ns',
            ),
            l2TlbCycles: key(z.number().min(0).max(1e6).default(7), 'a hit in the second-level TLB', 'cycles'),
            l2Cycles: key(z.int().min(0).max(1e6).default(12), 'a hit in the second-level line cache', 'cycles'),
            llcNs: key(z.number().min(0).max(1e6).default(21), 'a hit in the last-level line cache', 'ns'),
          })
          .prefault({}),
        'times of what a look-up or an access waits for',
      ),
      mlp,
      costs,
    })
    .prefault({}),
  'CPUs, nodes, TLBs, walk caches, line caches and times',
);
