// What the tests of the sweep share: small traces made on the spot, experiments over them, folders that go away.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { afterAll } from 'vitest';
import { type Batch, LOAD } from '../../../traces/batch.js';
import { PHASE_BEGIN, PHASE_END } from '../../../traces/events.js';
import { metadataWith } from '../../../traces/metadata.js';
import { writeTrace } from '../../../traces/writer.js';

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'nodewalk-sweep-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A worker of test/fixtures/sweep. */
export function fixtureWorker(name: string): string {
  return fileURLToPath(new URL(`../../fixtures/sweep/${name}.mjs`, import.meta.url));
}

export interface TraceOptions {
  rows?: number;
  /** Distinct pages. */
  pages?: number;
  seed?: number;
  /** The row that gets a kind that no trace has. */
  badRow?: number;
  phases?: boolean;
}

/**
 * A trace of two CPUs on two nodes that loads from random pages. With `phases`, the phase 5 ("first half", CPU 0) is
 * begun by the first row and ended by the one in the middle.
 */
export async function makeTrace(path: string, options: TraceOptions = {}): Promise<string> {
  const { rows = 2000, pages = 200, badRow, phases = false } = options;
  const batch: Batch = {
    rows,
    cpu: new Uint16Array(rows),
    kind: new Uint8Array(rows).fill(LOAD),
    va: new BigUint64Array(rows),
  };
  let state = options.seed ?? 1;
  for (let row = 0; row < rows; row++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    batch.cpu[row] = (state >>> 28) & 1;
    batch.va[row] = BigInt(0x10000 + ((state >>> 8) % pages)) << 12n;
  }
  if (phases) {
    const middle = rows >> 1;
    batch.kind[0] = PHASE_BEGIN;
    batch.kind[middle] = PHASE_END;
    for (const row of [0, middle]) {
      batch.cpu[row] = 0;
      batch.va[row] = 5n;
    }
  }
  if (badRow !== undefined) batch.kind[badRow] = 9;
  const metadata = metadataWith({
    cpus: 2,
    cpuNode: [0, 1],
    phases: phases ? [{ number: 5, name: 'first half' }] : [],
  });
  async function* batches() {
    yield batch;
  }
  await writeTrace(path, ['cpu', 'kind', 'va'], batches(), () => metadata);
  return path;
}

/** Writes an experiment file into a folder. */
export function makeExperiment(folder: string, document: object, name = 'experiment'): string {
  const path = join(folder, `${name}.yaml`);
  writeFileSync(path, stringify(document));
  return path;
}

/** The names of the files below a folder's `cells`, sorted. */
export function cellFiles(dir: string): string[] {
  return readdirSync(join(dir, 'cells')).sort();
}
