// The configuration: the one definition from which types, defaults, ranges, --help, docs/configuration.md and the JSON
// Schema are derived. The sections are in machine.ts, paging.ts, system.ts and replaying.ts, rules across keys in contradictions.ts.
import { z } from 'zod';
import { key } from './key.js';
import { machine } from './machine.js';
import { pageRule, paging } from './paging.js';
import { replay } from './replaying.js';
import { system } from './system.js';

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
      text: key(
        placement.nullable().default(null),
        "node of the kernel's text and read-only data, for line caches; null: as other data, in captured mapping as captured",
      ),
      textRegions: key(
        z.array(z.string().min(1)).min(1).default(['text', 'rodata']),
        "regions in the metadata of the trace that are the kernel's text and read-only data, for text and for replay.cold: text",
      ),
    })
    .prefault({}),
  'where pages live',
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
