// The configuration: the one definition from which types, defaults, ranges, --help, docs/configuration.md and the JSON
// Schema are derived. The sections are in machine.ts and paging.ts, rules across keys in contradictions.ts.
import { z } from 'zod';
import { key } from './key.js';
import { machine } from './machine.js';
import { pageRule, paging } from './paging.js';

const nodePlacement = z
  .strictObject({ node: key(z.int().min(0).max(63), 'the node that has every page') })
  .meta({ id: 'OneNode' });

const placement = z.union([z.enum(['first-touch', 'local', 'interleave']), nodePlacement]).meta({
  id: 'Placement',
  description:
    'first-touch: the node of the CPU whose access mapped it; local: as if every node had its own, never remote; interleave: the nodes in turn; { node: N }: node N',
});

export type Placement = z.output<typeof placement>;

const memory = key(
  z
    .strictObject({
      data: key(placement.default('first-touch'), 'node of data pages in demand mapping'),
      tables: key(placement.default('first-touch'), 'node of table pages'),
    })
    .prefault({}),
  'where pages live',
);

const system = key(
  z
    .strictObject({ name: key(z.enum(['none']).default('none'), 'none: page tables are only filled on demand') })
    .prefault({}),
  'what the kernel or hypervisor does',
);

const replay = key(
  z
    .strictObject({
      mapping: key(
        z.enum(['demand', 'captured']).default('demand'),
        'demand: the first touch maps a page of the policy; captured: base pages at the physical addresses of the trace',
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
    })
    .prefault({}),
  'how the trace is replayed',
);

export const configSchema = z.strictObject({
  extends: key(z.string().nullable().default(null), 'preset that this document changes; null: generic'),
  machine,
  paging,
  memory,
  system,
  replay,
});

/** A resolved configuration: every key is there. */
export type Config = z.output<typeof configSchema>;

/** Objects that are stated as a whole; every other object may be stated in part and inherits the rest. */
export const wholeObjects = new Set<unknown>([nodePlacement, pageRule]);
