// The directory of a sweep: whether it may be used, what an earlier run left there, and which cells are done.

import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError, NodewalkError, UsageError } from '../../traces/errors.js';
import { variedKeys } from '../config/experiment.js';
import { coreHash } from '../core/instance.js';
import { type Manifest, MANIFEST_FILE, MANIFEST_SCHEMA, readManifest } from '../results/manifest.js';
import { saveText } from '../results/save.js';
import { readSummary, type Summary } from '../results/summary.js';
import { cellHash } from './hash.js';
import { type Plan, type PlannedTrace } from './plan.js';

export const CELLS = 'cells';
/** Traces that the experiment's scenarios made. */
export const SCENARIOS = 'scenarios';
export const RESULTS_FILE = 'results.arrow';
export const PUBLISHED_FILE = 'published.csv';
export const REPORT_FILE = 'report.html';

/** A file that was being written when a run was killed. */
const TEMPORARY = /\.tmp-\d+$/;

/** The manifest of an earlier sweep; null where there was none. UsageError for a directory of something else. */
export function earlierManifest(dir: string): Manifest | null {
  if (!existsSync(dir)) return null;
  const foreign = (found: string) =>
    new UsageError(
      `${dir}: expected a new or empty directory or one of an earlier sweep, found ${found}; name another with -o`,
    );
  if (!statSync(dir).isDirectory()) throw foreign('a file');
  const unfinished = (name: string) => name === SCENARIOS || (TEMPORARY.test(name) && name.startsWith(MANIFEST_FILE));
  const all = readdirSync(dir);
  const names = all.includes(MANIFEST_FILE) ? all : all.filter((name) => !unfinished(name));
  if (names.length === 0) return null;
  if (!names.includes(MANIFEST_FILE)) throw foreign(`${names[0]} and no ${MANIFEST_FILE}`);
  try {
    return readManifest(dir);
  } catch (error) {
    throw error instanceof InputError ? foreign(`another ${MANIFEST_FILE} (${error.message})`) : error;
  }
}

/** Makes the directory ready and removes what a killed run left half-written. */
export function prepareDirectory(dir: string): void {
  const cells = join(dir, CELLS);
  try {
    mkdirSync(cells, { recursive: true });
    for (const folder of [dir, cells, join(dir, SCENARIOS)].filter(existsSync)) {
      for (const name of readdirSync(folder)) if (TEMPORARY.test(name)) rmSync(join(folder, name), { force: true });
    }
  } catch (error) {
    throw new NodewalkError(`${cells}: cannot be made: ${(error as Error).message}`, 1, { cause: error });
  }
}

/** The path of a cell's summary below the sweep's directory. */
export function cellFile(hash: string): string {
  return `${CELLS}/${hash}.json`;
}

/** Whether the summary of a cell is there, whole, and what its name says. */
export function isDone(dir: string, hash: string): boolean {
  const path = join(dir, cellFile(hash));
  if (!existsSync(path)) return false;
  try {
    const { trace, config } = readSummary(path);
    return cellHash(trace.sha256 ?? '', config, trace.tables ?? undefined) === hash;
  } catch (error) {
    if (error instanceof InputError) return false;
    throw error;
  }
}

export function saveCell(dir: string, hash: string, summary: Summary): void {
  saveText(join(dir, cellFile(hash)), `${JSON.stringify(summary, null, 2)}\n`);
}

export function saveManifest(dir: string, manifest: Manifest): void {
  saveText(join(dir, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** The manifest of a plan; `done` has the hashes of the cells that are. */
export function manifestOf({ experiment, traces, cells }: Plan, done: ReadonlySet<string>): Manifest {
  return {
    schema: MANIFEST_SCHEMA,
    title: experiment.title ?? null,
    description: experiment.description ?? null,
    core: coreHash(),
    vary: variedKeys(experiment),
    published: experiment.published,
    traces: traces.map(manifestTrace),
    cells: cells.map(({ index, hash, source, part, baseline, varied }) => ({
      cell: index,
      hash,
      trace: source.name,
      part,
      baseline,
      varied,
      file: cellFile(hash),
      done: done.has(hash),
    })),
    files: traces.map(({ file }) => file),
  };
}

/** A trace with where it comes from, as far as it says; its path is as it was given. */
function manifestTrace({ file, name, given, records, metadata }: PlannedTrace): Manifest['traces'][number] {
  const { arch, cpus, source } = metadata ?? {};
  const { tool, origin, scenario, parameters } = (source ?? {}) as Record<string, unknown>;
  const provenance = { arch, cpus, tool, origin, scenario, parameters };
  const known = Object.entries(provenance).filter(([, value]) => value !== undefined && value !== null);
  return { path: given, name, records, sha256: file.sha256, ...Object.fromEntries(known) };
}
