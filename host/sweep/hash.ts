// What a cell's summary is kept under: the hash of everything that its counts depend on. A rerun replays only cells
// whose hash has no file yet, and an upgrade replays all.

import { createHash } from 'node:crypto';
import { coreHash } from '../core/instance.js';
import { packageVersion } from '../paths.js';
import { SUMMARY_SCHEMA } from '../results/summary.js';

const VERSION = packageVersion();

/** SHA-256 of a cell's inputs; `trace` is the SHA-256 of its trace. */
export function cellHash(trace: string, config: unknown): string {
  const inputs = { trace, config, core: coreHash(), schema: SUMMARY_SCHEMA, version: VERSION };
  return createHash('sha256').update(canonicalJson(inputs)).digest('hex');
}

/** JSON without white space and with sorted keys: equal documents give equal text. */
export function canonicalJson(document: unknown): string {
  return JSON.stringify(document, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}
