// What a cell's summary is kept under: the hash of everything that its counts depend on. A rerun replays only cells
// whose hash has no file yet, and an upgrade replays all.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readFault } from '../../traces/files.js';
import { coreHash } from '../core/instance.js';
import { packageVersion } from '../paths.js';
import { SUMMARY_SCHEMA } from '../results/summary.js';

const VERSION = packageVersion();

/** SHA-256 of a cell's inputs; `trace` is the SHA-256 of its trace, `tables` that of its table image, where it has one. */
export function cellHash(trace: string, config: unknown, tables?: string): string {
  const inputs = { trace, tables, config, core: coreHash(), schema: SUMMARY_SCHEMA, version: VERSION };
  return createHash('sha256').update(canonicalJson(inputs)).digest('hex');
}

/** SHA-256 of the files in a folder, their names included. */
export function hashFolder(folder: string): string {
  const hash = createHash('sha256');
  try {
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    const files = names.filter((name) => statSync(join(folder, name)).isFile()).sort();
    for (const name of files) hash.update(canonicalJson([name])).update(readFileSync(join(folder, name)));
  } catch (error) {
    throw readFault(error, folder, 'a folder with page tables');
  }
  return hash.digest('hex');
}

/** JSON without white space and with sorted keys: equal documents give equal text. */
export function canonicalJson(document: unknown): string {
  return JSON.stringify(document, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}
