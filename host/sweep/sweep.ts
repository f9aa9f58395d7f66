// A sweep: traces x configurations on all cores, into a directory. What is there already is not replayed again, and
// what is finished is kept whatever happens to the rest.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Piscina } from 'piscina';
import { expand, type Experiment } from '../config/experiment.js';
import { number } from '../format.js';
import { progress } from '../progress.js';
import { type Manifest } from '../results/manifest.js';
import {
  earlierManifest,
  isDone,
  manifestOf,
  prepareDirectory,
  PUBLISHED_FILE,
  REPORT_FILE,
  RESULTS_FILE,
  saveCell,
  saveManifest,
} from './directory.js';
import { untilInterrupted } from './interrupt.js';
import { type Outcome } from './messages.js';
import { cellHash } from './hash.js';
import { type Draft, type DraftCell, draftSweep, hashedFiles, type Plan, type PlannedCell, planSweep } from './plan.js';
import { runTasks, startWorkers } from './pool.js';
import { writePublished } from './published.js';
import { writeResults } from './results.js';
import { makeScenarios } from './scenarios.js';
import { type CellTask, rowsOf, tasksOf } from './tasks.js';

export interface SweepOptions {
  /** Worker threads. */
  jobs: number;
  /** Told what a user wants to know while it runs. */
  say?: (message: string) => void;
  quiet?: boolean;
  /** The module that runs in the workers, for tests. */
  workerFile?: string;
}

/** Cells that could not be replayed, and why. */
export interface Failure {
  cells: number[];
  message: string;
  exitCode: 1 | 2;
}

export interface SweepOutcome {
  /** As it was saved; null when the sweep was interrupted before there was anything to save. */
  manifest: Manifest | null;
  /** Cells of the experiment. */
  cells: number;
  failures: Failure[];
  /** The signal that ended it before all cells were done. */
  interrupted: NodeJS.Signals | null;
}

/** The manifest is kept up to date, but not after every task of a sweep of thousands of cells. */
const SAVE_MS = 1000;

/** Runs what is missing in `dir`; writes results.arrow and published.csv when every cell is done. */
export async function runSweep(planned: Experiment, dir: string, options: SweepOptions): Promise<SweepOutcome> {
  const { jobs, workerFile, say = () => {} } = options;
  const earlier = earlierManifest(dir);
  const cells = expand(planned);
  const experiment = await makeScenarios(planned, dir, say);
  const workers = startWorkers(Math.min(jobs, cells.length), workerFile);
  try {
    return await sweepWith(workers, await draftSweep(experiment, cells), earlier, dir, options);
  } finally {
    await workers.destroy();
  }
}

async function sweepWith(
  workers: Piscina,
  draft: Draft,
  earlier: Manifest | null,
  dir: string,
  { jobs, quiet, say = () => {} }: SweepOptions,
): Promise<SweepOutcome> {
  const done = new Set<string>();
  const failures: Failure[] = [];
  let plan = null as Plan | null;
  let saved = 0;

  /** The hashes are known: the directory can be used, and what is there already is found. */
  const begin = (hashed: Plan) => {
    prepareDirectory(dir);
    for (const hash of new Set(hashed.cells.map((cell) => cell.hash))) if (isDone(dir, hash)) done.add(hash);
    const were = hashed.cells.filter(({ hash }) => done.has(hash)).length;
    if (were > 0) say(`${number(were)} of ${number(hashed.cells.length)} cells were there already`);
    if (earlier && (earlier.title ?? null) !== (hashed.experiment.title ?? null))
      say(`${dir} held another sweep: its results are replaced`);
    if (isOther(earlier, hashed))
      for (const name of [RESULTS_FILE, PUBLISHED_FILE, REPORT_FILE]) rmSync(join(dir, name), { force: true });
    saveManifest(dir, manifestOf(hashed, done));
    return (plan = hashed);
  };
  const keep = (task: CellTask, outcome: Outcome, { cells, ...rest }: Plan) => {
    const planned = task.cells.map(({ index }) => cells[index]);
    if (outcome.kind === 'failed') failures.push(failureOf(planned, outcome, cells));
    else {
      planned.forEach(({ hash, source, tables }, i) => {
        const summary = outcome.summaries[i];
        saveCell(dir, hash, { ...summary, trace: { ...summary.trace, sha256: source.file.sha256, tables } });
        done.add(hash);
      });
    }
    if (performance.now() - saved < SAVE_MS) return;
    saveManifest(dir, manifestOf({ cells, ...rest }, done));
    saved = performance.now();
  };

  const interrupted = await untilInterrupted(async (signal) => {
    const stop = new AbortController();
    signal.addEventListener('abort', () => stop.abort(), { once: true });
    // In a new directory every cell is missing: replaying it need not wait for the hashes.
    const hashing = planSweep(draft, hashedFiles(earlier), { quiet: quiet || !earlier, signal: stop.signal }).then(
      begin,
    );
    hashing.catch(() => stop.abort());
    const cells = earlier ? missing((await hashing).cells, done) : distinct(draft.cells);
    const tasks = tasksOf(cells, jobs);
    const rows = tasks.reduce((sum, task) => sum + rowsOf(task), 0);
    const bar = progress('replaying', rows, { quiet: quiet || tasks.length === 0 });
    const onOutcome = async (task: CellTask, outcome: Outcome) => keep(task, outcome, await hashing);
    // How often rows are replayed again is known once they were.
    const onProgress = (rowsDone: number, repeated: number) => bar.update(rowsDone, rows + repeated);
    try {
      await runTasks(tasks, { jobs, pool: workers, signal: stop.signal, onOutcome, onProgress });
      await hashing;
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      bar.stop();
    }
  });
  // Without hashes nothing was kept: only an interruption can come so early.
  if (!plan) return { manifest: null, cells: draft.cells.length, failures: [], interrupted };
  const manifest = manifestOf(plan, done);
  saveManifest(dir, manifest);
  if (!interrupted && failures.length === 0) {
    await writeResults(dir, manifest);
    writePublished(dir, manifest);
  }
  return { manifest, cells: draft.cells.length, failures: merged(failures), interrupted };
}

/** The cells that are not done, the first of those that have the same hash. */
function missing(cells: readonly PlannedCell[], done: ReadonlySet<string>): PlannedCell[] {
  const seen = new Set(done);
  return cells.filter(({ hash }) => !seen.has(hash) && seen.add(hash));
}

/** The first of the cells that replay the same: their hashes will be equal. */
function distinct(cells: readonly DraftCell[]): DraftCell[] {
  const seen = new Set<string>();
  return cells.filter(({ source, config }) => {
    const key = cellHash(source.path, config);
    return !seen.has(key) && seen.add(key);
  });
}

/** Whether results that lie in the directory belong to other cells than the plan's. */
function isOther(earlier: Manifest | null, { cells }: Plan): boolean {
  const hashes = (list: readonly { hash: string }[]) => list.map(({ hash }) => hash).join();
  return hashes(earlier?.cells ?? []) !== hashes(cells);
}

/** Cells with the same hash share their fate. */
function failureOf(
  failed: readonly PlannedCell[],
  { message, exitCode }: Omit<Failure, 'cells'>,
  cells: readonly PlannedCell[],
): Failure {
  const hashes = new Set(failed.map(({ hash }) => hash));
  return { cells: cells.filter(({ hash }) => hashes.has(hash)).map(({ index }) => index), message, exitCode };
}

/** One failure for each message: a bad trace fails all its tasks alike. */
function merged(failures: readonly Failure[]): Failure[] {
  const byMessage = new Map<string, Failure>();
  for (const failure of failures) {
    const before = byMessage.get(failure.message)?.cells ?? [];
    byMessage.set(failure.message, { ...failure, cells: [...before, ...failure.cells].sort((a, b) => a - b) });
  }
  return [...byMessage.values()];
}
