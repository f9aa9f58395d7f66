// The JSON document under the schema's metadata key `nodewalk`: what the capture was, on which machine, and what was
// done to it since. A file without it (from another tool) is a trace all the same.

import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { InputError } from './errors.js';

/** The key of the document in the Arrow schema's metadata. */
export const METADATA_KEY = 'nodewalk';

const count = z.number().int().nonnegative();

/** An address: written as a hexadecimal string, in a hand-written file also as a number. */
const hex = z
  .union([z.string().regex(/^0x[0-9a-f]{1,16}$/i), count])
  .transform((v) => (typeof v === 'number' ? `0x${v.toString(16)}` : v.toLowerCase()));

const inputFile = z.looseObject({ name: z.string(), bytes: count, sha256: z.string() });

const fields = {
  version: z.literal(1),
  arch: z.enum(['x86-64', 'arm64']).nullable(),
  paging: z
    .looseObject({ levels: count.optional(), granule: z.string().optional(), vaBits: count.optional() })
    .nullable(),
  source: z.looseObject({
    tool: z.string(),
    command: z.string().nullable(),
    input: z.array(inputFile),
    origin: z.string().optional(),
  }),
  cpus: count.nullable(),
  cpuNode: z.array(count).nullable(),
  /** Physical ranges of each node; `to` is exclusive. */
  nodes: z.array(z.looseObject({ node: count, ranges: z.array(z.looseObject({ from: hex, to: hex })) })),
  regions: z.array(
    z.looseObject({
      name: z.string(),
      va: hex,
      pa: hex.nullable().default(null),
      bytes: count,
      pageSize: z.string().nullable().default(null),
      node: count.nullable().default(null),
    }),
  ),
  phases: z.array(z.looseObject({ number: count, name: z.string() })),
  clock: z.string().nullable(),
  /** The value of a column that the file does not have, where it is not the default. */
  constants: z.record(z.string(), z.number()),
  /** Events that were derived when the capture was converted; user rows, and how many of them its tables explain. */
  derived: z
    .looseObject({
      events: z.record(z.string(), count),
      userRows: count,
      explained: count,
      switchVa: hex.nullable(),
      /** Of a host under a hypervisor: its stays at EL2; rows of the host, and how many of them its stage 2 explains. */
      hypervisor: z
        .looseObject({ stays: count, mappedByHypercalls: count, hostRows: count, explained: count })
        .optional(),
    })
    .nullable(),
  /** What was done to the trace after it was captured or converted, in order, and the files that came in. */
  history: z.array(z.looseObject({ step: z.string(), input: z.array(inputFile) })),
  filters: z.array(z.string()),
  counts: z.record(z.string(), z.number()),
  notes: z.array(z.string()),
};

const document = z.looseObject(fields);

export type TraceMetadata = z.infer<typeof document>;

/** A document that claims nothing, with these keys filled in. */
export function metadataWith(known: Partial<TraceMetadata> = {}): TraceMetadata {
  return {
    version: 1,
    arch: null,
    paging: null,
    source: { tool: 'unknown', command: null, input: [] },
    cpus: null,
    cpuNode: null,
    nodes: [],
    regions: [],
    phases: [],
    clock: null,
    constants: {},
    derived: null,
    history: [],
    filters: [],
    counts: {},
    notes: [],
    ...known,
  };
}

/** Reads the document of a trace; keys that are missing get their empty value, keys of a later writer are kept. */
export function parseMetadata(text: string, source: string): TraceMetadata {
  const at = `metadata key "${METADATA_KEY}"`;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new InputError({ source, at, expected: 'a JSON document', found: (error as Error).message });
  }
  return metadataWith(checked(document.partial(), json, source, at));
}

/** Reads a `--meta` file, JSON or YAML with any of the document's keys. */
export function parseOverrides(text: string, source: string): Partial<TraceMetadata> {
  let json: unknown;
  try {
    json = parseYaml(text);
  } catch (error) {
    throw new InputError({ source, expected: 'JSON or YAML', found: (error as Error).message });
  }
  return checked(z.strictObject(fields).partial(), json ?? {}, source);
}

function checked<T>(schema: z.ZodType<T>, json: unknown, source: string, at?: string): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const key = issue.path.length ? `key "${issue.path.join('.')}"` : 'the document';
  throw new InputError({
    source,
    at: at ? `${at}: ${key}` : key,
    expected: `one of the keys ${Object.keys(fields).join(', ')} with a value of its type`,
    found: issue.message,
    advice: 'docs/formats.md describes the document',
  });
}
