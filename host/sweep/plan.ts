// From an experiment to what will be replayed, in two steps: a draft has every trace opened and every cell checked
// against its trace, so that whatever is wrong with an experiment is found before hours of work; the plan has the traces
// hashed and every cell its hash, by which its result is known again. Hashing a trace takes as long as replaying it.

import { statSync } from 'node:fs';
import { z } from 'zod';
import { type ColumnName } from '../../traces/batch.js';
import { NodewalkError, UsageError } from '../../traces/errors.js';
import { type TraceMetadata } from '../../traces/metadata.js';
import { TraceReader } from '../../traces/reader.js';
import { type Cell, type Experiment } from '../config/experiment.js';
import { progress } from '../progress.js';
import { hashTrace, requireOf } from '../replay/replay.js';
import { topologyOf } from '../replay/topology.js';
import { type Manifest } from '../results/manifest.js';
import { cellHash, hashFolder } from './hash.js';

const hashedFile = z.object({ path: z.string(), bytes: z.number(), mtimeMs: z.number(), sha256: z.string() });

/** A trace file as it was when it was hashed. The manifest keeps them, so that a rerun need not hash again. */
export type HashedFile = z.output<typeof hashedFile>;

export interface DraftTrace {
  path: string;
  /** Its name in the experiment. */
  name: string;
  /** As the experiment or the command line has it. */
  given: string;
  records: number;
  columns: readonly ColumnName[];
  metadata: TraceMetadata | null;
}

export interface DraftCell extends Cell {
  source: DraftTrace;
}

export interface Draft {
  experiment: Experiment;
  traces: DraftTrace[];
  cells: DraftCell[];
}

export interface PlannedTrace extends DraftTrace {
  file: HashedFile;
}

export interface PlannedCell extends DraftCell {
  source: PlannedTrace;
  /** SHA-256 of `replay.tables`. */
  tables?: string;
  hash: string;
}

/** A draft with hashes; its cells stand in the same order. */
export interface Plan extends Draft {
  traces: PlannedTrace[];
  cells: PlannedCell[];
}

/** The hashed files of an earlier manifest; none where it has none. */
export function hashedFiles(manifest: Manifest | null): HashedFile[] {
  return z.array(hashedFile).catch([]).parse(manifest?.files);
}

/** Opens the traces of an experiment and checks its cells. */
export async function draftSweep(experiment: Experiment, cells: readonly Cell[]): Promise<Draft> {
  const traces = await Promise.all(
    experiment.traces.map(async ({ name, given, path }): Promise<DraftTrace> => {
      return { name, given, path, ...(await openTrace(path)) };
    }),
  );
  const sourceOf = ({ name }: Cell) => traces.find((trace) => trace.name === name)!;
  for (const cell of cells) checkCell(cell, sourceOf(cell), experiment);
  return {
    experiment,
    traces,
    cells: cells.map((cell) => ({ ...cell, trace: sourceOf(cell).path, source: sourceOf(cell) })),
  };
}

/** Hashes the traces of a draft but those that are among the `known` files, and gives every cell its hash. */
export async function planSweep(
  draft: Draft,
  known: readonly HashedFile[] = [],
  options: { quiet?: boolean; signal?: AbortSignal } = {},
): Promise<Plan> {
  const files = await hashFiles(draft.traces, known, options);
  const traces = draft.traces.map((trace, i) => ({ ...trace, file: files[i] }));
  const folders = new Map<string | null, string>();
  for (const { config } of draft.cells) {
    const { tables } = config.replay;
    if (tables !== null && !folders.has(tables)) folders.set(tables, hashFolder(tables));
  }
  const cells = draft.cells.map((cell) => {
    const source = traces[draft.traces.indexOf(cell.source)];
    const tables = folders.get(cell.config.replay.tables);
    return { ...cell, source, tables, hash: cellHash(source.file.sha256, cell.config, tables) };
  });
  return { experiment: draft.experiment, traces, cells };
}

async function openTrace(path: string): Promise<Pick<DraftTrace, 'records' | 'columns' | 'metadata'>> {
  const reader = await TraceReader.open(path);
  await reader.close();
  return { records: reader.rows, columns: reader.columns, metadata: reader.metadata };
}

/**
 * A machine must have the CPUs of the trace and the nodes that its own placement names, and what is replayed must be in the
 * trace.
 */
function checkCell({ index, config }: Cell, source: DraftTrace, { file }: Experiment): void {
  const { metadata } = source;
  // A foreign trace does not say how many CPUs it has; the replay counts them.
  const cpus = metadata?.cpus ?? 1;
  try {
    requireOf(source, config);
    const { cpuNode } = topologyOf(config, { cpuNode: metadata?.cpuNode ?? null, cpus });
    if (cpuNode.length >= cpus) return;
    throw new UsageError(
      `expected a machine with the ${cpus} CPUs of ${source.path}, found one with ${cpuNode.length}; set machine.cpus or machine.cpuNode`,
    );
  } catch (error) {
    if (!(error instanceof NodewalkError)) throw error;
    throw new UsageError(`${file}: cell ${index}: ${error.message}`, { cause: error });
  }
}

async function hashFiles(
  traces: readonly DraftTrace[],
  known: readonly HashedFile[],
  { quiet, signal }: { quiet?: boolean; signal?: AbortSignal },
): Promise<HashedFile[]> {
  const stats = traces.map(({ path }) => statSync(path));
  const total = stats.reduce((sum, { size }) => sum + size, 0);
  const bar = progress('hashing traces', total, { unit: 'bytes', quiet });
  const files: HashedFile[] = [];
  try {
    let hashed = 0;
    for (const [i, { path }] of traces.entries()) {
      const { size: bytes, mtimeMs } = stats[i];
      const same = known.find((file) => file.path === path && file.bytes === bytes && file.mtimeMs === mtimeMs);
      files.push(same ?? { path, bytes, mtimeMs, sha256: await hashTrace(path, signal) });
      bar.update((hashed += bytes));
    }
  } finally {
    bar.stop();
  }
  return files;
}
