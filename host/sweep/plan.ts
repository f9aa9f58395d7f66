// From an experiment to what will be replayed: every trace opened and hashed, every cell checked against its trace and
// given its hash. Whatever is wrong with an experiment is found here, before hours of work.

import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { z } from 'zod';
import { UsageError } from '../../traces/errors.js';
import { type TraceMetadata } from '../../traces/metadata.js';
import { TraceReader } from '../../traces/reader.js';
import { type Cell, expand, type Experiment } from '../config/experiment.js';
import { progress } from '../progress.js';
import { hashTrace } from '../replay/replay.js';
import { topologyOf } from '../replay/topology.js';
import { type Manifest } from '../results/manifest.js';
import { cellHash } from './hash.js';

const hashedFile = z.object({ path: z.string(), bytes: z.number(), mtimeMs: z.number(), sha256: z.string() });

/** A trace file as it was when it was hashed. The manifest keeps them, so that a rerun need not hash again. */
export type HashedFile = z.output<typeof hashedFile>;

export interface PlannedTrace {
  file: HashedFile;
  /** The file's own name; where two traces share it, the path as the experiment has it. */
  name: string;
  records: number;
  metadata: TraceMetadata | null;
}

export interface PlannedCell extends Cell {
  source: PlannedTrace;
  hash: string;
}

export interface Plan {
  experiment: Experiment;
  traces: PlannedTrace[];
  cells: PlannedCell[];
}

/** The hashed files of an earlier manifest; none where it has none. */
export function hashedFiles(manifest: Manifest | null): HashedFile[] {
  return z.array(hashedFile).catch([]).parse(manifest?.files);
}

/** Plans a sweep; `known` are files that were hashed before. */
export async function planSweep(
  experiment: Experiment,
  known: readonly HashedFile[] = [],
  options: { quiet?: boolean } = {},
): Promise<Plan> {
  const cells = expand(experiment);
  const paths = [...new Set(cells.map(({ trace }) => trace))];
  if (paths.length < experiment.traces.length)
    throw new UsageError(`${experiment.file}: traces: one of them is listed twice`);
  const opened = await Promise.all(paths.map(openTrace));
  for (const cell of cells) checkMachine(cell, opened[paths.indexOf(cell.trace)].metadata, experiment);

  const files = await hashFiles(paths, known, options.quiet);
  const names = paths.map((path) => basename(path, '.arrow'));
  const traces = opened.map((trace, i) => {
    const clash = names.indexOf(names[i]) !== names.lastIndexOf(names[i]);
    return { ...trace, file: files[i], name: clash ? experiment.traces[i] : names[i] };
  });
  return {
    experiment,
    traces,
    cells: cells.map((cell) => {
      const source = traces[paths.indexOf(cell.trace)];
      return { ...cell, source, hash: cellHash(source.file.sha256, cell.config) };
    }),
  };
}

async function openTrace(path: string): Promise<Pick<PlannedTrace, 'records' | 'metadata'>> {
  const reader = await TraceReader.open(path);
  await reader.close();
  return { records: reader.rows, metadata: reader.metadata };
}

/** A machine must have the CPUs of the trace, and the nodes that its own placement names. */
function checkMachine({ index, config, trace }: Cell, metadata: TraceMetadata | null, { file }: Experiment): void {
  // A foreign trace does not say how many CPUs it has; the replay counts them.
  const cpus = metadata?.cpus ?? 1;
  try {
    const { cpuNode } = topologyOf(config, { cpuNode: metadata?.cpuNode ?? null, cpus });
    if (cpuNode.length >= cpus) return;
    throw new UsageError(
      `expected a machine with the ${cpus} CPUs of ${trace}, found one with ${cpuNode.length}; set machine.cpus or machine.cpuNode`,
    );
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${file}: cell ${index}: ${error.message}`, { cause: error });
  }
}

async function hashFiles(paths: string[], known: readonly HashedFile[], quiet?: boolean): Promise<HashedFile[]> {
  const stats = paths.map((path) => statSync(path));
  const bar = progress(
    'hashing traces',
    stats.reduce((sum, { size }) => sum + size, 0),
    { unit: 'bytes', quiet },
  );
  const files: HashedFile[] = [];
  try {
    let hashed = 0;
    for (const [i, path] of paths.entries()) {
      const { size: bytes, mtimeMs } = stats[i];
      const same = known.find((file) => file.path === path && file.bytes === bytes && file.mtimeMs === mtimeMs);
      files.push(same ?? { path, bytes, mtimeMs, sha256: await hashTrace(path) });
      bar.update((hashed += bytes));
    }
  } finally {
    bar.stop();
  }
  return files;
}
