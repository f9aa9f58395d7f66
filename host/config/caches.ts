// The part of `machine` that describes line caches; docs/caches.md defines what they do. They are of no use where only
// translations are counted, so a machine has none unless it says so.
import { z } from 'zod';
import { key } from './key.js';

const sets = key(
  z
    .int()
    .min(1)
    .max(1 << 20),
  'sets, of any number: the bytes of the cache / 64 / ways',
);
const ways = key(z.int().min(1).max(1024), 'ways of each set, replaced by true LRU');
const lineCache = z.strictObject({ sets, ways }).meta({ id: 'LineCache' });

const llc = z.strictObject({
  sets,
  ways,
  inclusive: key(
    z.boolean().default(false),
    'a line that leaves it leaves the private caches behind it too; needs remoteCacheable',
  ),
  remoteCacheable: key(
    z.boolean().default(true),
    'true: it holds the lines that its CPUs ask for, of any node; false: it belongs to the memory of its node and holds lines of that only',
  ),
  cpus: key(
    z.int().min(1).max(4096).nullable().default(null),
    'CPUs of a node that share one, in ascending order; null: all of the node; needs remoteCacheable',
  ),
});

const present = z.strictObject({
  l1i: key(lineCache, 'first level for fetches'),
  l1d: key(lineCache, 'first level for loads and stores'),
  l2: key(lineCache.nullable().default(null), 'second level of each CPU for both; null: none'),
  llc: key(llc.nullable().default(null), 'last level, shared by CPUs; null: none'),
  prefetchLines: key(z.int().min(0).max(2).default(1), 'lines that a fetch prefetches behind its own', 'lines'),
  walks: key(
    z.enum(['l1d', 'l2']).default('l1d'),
    'where the reads of descriptors begin; l1d is usual for x86, l2 for Arm',
  ),
});

/** The resolved line caches of a machine that has them. */
export type Caches = z.output<typeof present>;

export const caches = key(
  present.nullable().default(null),
  'line caches of 64 bytes a line: l1i, l1d and l2 of each CPU, llc of a node or a part of one; null: none, and fetches and data cost nothing',
);

export const mlp = key(
  z
    .strictObject({
      fetch: key(
        z.number().min(1).max(100).default(1),
        'misses of fetches that overlap; 1 to 1.5 are usual, of which the lower end, as the next-line prefetcher is modelled apart',
      ),
      data: key(
        z.number().min(1).max(100).default(4),
        'misses of loads and stores that overlap; 2 to 4 are usual, of which the upper end, as no prefetcher for data is modelled',
      ),
      walk: key(
        z.number().min(1).max(100).default(1),
        'reads of descriptors that overlap; 1: each waits for the one before. How many walks run at once is not modelled',
      ),
    })
    .prefault({}),
  'memory-level parallelism: latencies count divided by these; those of descriptors also without line caches',
);
