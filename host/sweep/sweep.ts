// A sweep: traces x configurations on all cores, into a directory. What is there already is not replayed again, and
// what is finished is kept whatever happens to the rest.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Experiment } from '../config/experiment.js';
import { number } from '../format.js';
import { progress } from '../progress.js';
import { type Manifest } from '../results/manifest.js';
import {
  earlierManifest,
  isDone,
  manifestOf,
  prepareDirectory,
  REPORT_FILE,
  RESULTS_FILE,
  saveCell,
  saveManifest,
} from './directory.js';
import { untilInterrupted } from './interrupt.js';
import { type Outcome } from './messages.js';
import { hashedFiles, type Plan, type PlannedCell, planSweep } from './plan.js';
import { runTasks } from './pool.js';
import { writeResults } from './results.js';
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
  manifest: Manifest;
  failures: Failure[];
  /** The signal that ended it before all cells were done. */
  interrupted: NodeJS.Signals | null;
}

/** The manifest is kept up to date, but not after every task of a sweep of thousands of cells. */
const SAVE_MS = 1000;

/** Runs what is missing in `dir`; writes results.arrow when every cell is done. */
export async function runSweep(experiment: Experiment, dir: string, options: SweepOptions): Promise<SweepOutcome> {
  const { jobs, quiet, workerFile, say = () => {} } = options;
  const earlier = earlierManifest(dir);
  const plan = await planSweep(experiment, hashedFiles(earlier), { quiet });
  prepareDirectory(dir);
  const hashes = new Set(plan.cells.map(({ hash }) => hash));
  const done = new Set([...hashes].filter((hash) => isDone(dir, hash)));
  const were = plan.cells.filter(({ hash }) => done.has(hash)).length;
  if (were > 0) say(`${number(were)} of ${number(plan.cells.length)} cells were there already`);
  const save = () => saveManifest(dir, manifestOf(plan, done));
  if (isOther(earlier, plan)) for (const name of [RESULTS_FILE, REPORT_FILE]) rmSync(join(dir, name), { force: true });
  save();

  const tasks = tasksOf(missing(plan, done), jobs);
  const failures: Failure[] = [];
  let saved = performance.now();
  const onOutcome = (task: CellTask, outcome: Outcome) => {
    switch (outcome.kind) {
      case 'done':
        task.cells.forEach(({ hash }, i) => {
          saveCell(dir, hash, outcome.summaries[i]);
          done.add(hash);
        });
        break;
      case 'failed':
        failures.push(failureOf(task, outcome, plan));
        break;
    }
    if (performance.now() - saved < SAVE_MS) return;
    save();
    saved = performance.now();
  };
  const bar = progress(
    'replaying',
    tasks.reduce((sum, task) => sum + rowsOf(task), 0),
    { quiet: quiet || tasks.length === 0 },
  );
  let interrupted: NodeJS.Signals | null;
  try {
    interrupted = await untilInterrupted((signal) =>
      runTasks(tasks, { jobs, signal, workerFile, onOutcome, onProgress: (rows) => bar.update(rows) }),
    );
  } finally {
    bar.stop();
  }
  save();
  const manifest = manifestOf(plan, done);
  if (!interrupted && failures.length === 0) await writeResults(dir, manifest);
  return { manifest, failures: merged(failures), interrupted };
}

/** The cells that are not done, the first of those that have the same hash. */
function missing({ cells }: Plan, done: ReadonlySet<string>): PlannedCell[] {
  const seen = new Set(done);
  return cells.filter(({ hash }) => !seen.has(hash) && seen.add(hash));
}

/** Whether results that lie in the directory belong to other cells than the plan's. */
function isOther(earlier: Manifest | null, { cells }: Plan): boolean {
  const hashes = (list: readonly { hash: string }[]) => list.map(({ hash }) => hash).join();
  return hashes(earlier?.cells ?? []) !== hashes(cells);
}

/** Cells with the same hash share their fate. */
function failureOf(task: CellTask, { message, exitCode }: Omit<Failure, 'cells'>, plan: Plan): Failure {
  const hashes = new Set(task.cells.map(({ hash }) => hash));
  return { cells: plan.cells.filter(({ hash }) => hashes.has(hash)).map(({ index }) => index), message, exitCode };
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
