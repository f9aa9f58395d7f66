// A sweep's directory: `manifest.json` (schema nodewalk.sweep/1) lists the traces, the varied keys and the cells, each
// cell with the file of its summary. Further keys of a trace (where it comes from) are kept.

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../../traces/errors.js';
import { publishedSchema } from '../config/published.js';
import { readDocument, readSummary, SUMMARY_FILE, type Summary } from './summary.js';

export const MANIFEST_SCHEMA = 'nodewalk.sweep/1';
export const MANIFEST_FILE = 'manifest.json';

const manifest = z.looseObject({
  schema: z.literal(MANIFEST_SCHEMA),
  title: z.string().nullish(),
  description: z.string().nullish(),
  core: z.string().nullish(),
  vary: z.array(z.string()),
  /** What the experiment is compared with. */
  published: z.array(publishedSchema).default([]),
  /** A trace that is a scenario has its name and parameters. */
  traces: z.array(
    z.looseObject({
      path: z.string(),
      name: z.string(),
      records: z.number(),
      sha256: z.string().nullish(),
      cpus: z.number().nullish(),
      scenario: z.string().nullish(),
      parameters: z.record(z.string(), z.unknown()).nullish(),
    }),
  ),
  cells: z.array(
    z.looseObject({
      cell: z.number().int(),
      hash: z.string(),
      trace: z.string(),
      /** The part of the experiment that it belongs to. */
      part: z.number().int().default(0),
      /** The cell that it is compared with. */
      baseline: z.number().int().nullable().default(null),
      varied: z.record(z.string(), z.unknown()),
      file: z.string(),
      done: z.boolean(),
    }),
  ),
});

export type Manifest = z.infer<typeof manifest>;
export type ManifestCell = Manifest['cells'][number];
export type ManifestTrace = Manifest['traces'][number];

export function readManifest(dir: string): Manifest {
  return readDocument(join(dir, MANIFEST_FILE), manifest, 'a sweep manifest (nodewalk.sweep/1)');
}

/** The summary of one cell that is done. */
export function readCell(dir: string, cell: ManifestCell): Summary {
  return readSummary(join(dir, cell.file));
}

/** What a directory holds. */
export function resultKind(dir: string): 'sweep' | 'replay' {
  const expected = `a directory with ${MANIFEST_FILE} (sweep -o) or ${SUMMARY_FILE} (replay -o)`;
  const entry = statSync(dir, { throwIfNoEntry: false });
  if (!entry) throw new InputError({ source: dir, expected, found: 'no such directory' });
  if (!entry.isDirectory()) throw new InputError({ source: dir, expected, found: 'a file' });
  const names = readdirSync(dir);
  if (names.includes(MANIFEST_FILE)) return 'sweep';
  if (names.includes(SUMMARY_FILE)) return 'replay';
  throw new InputError({ source: dir, expected, found: 'neither', advice: 'name the directory given to -o' });
}
