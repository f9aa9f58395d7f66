// Runs tasks on worker threads. Every task ends with an outcome, whatever happens to its worker: one that dies fails
// the task it was at and is replaced; when no worker can be started, what is left fails too.

import { join } from 'node:path';
import { Piscina } from 'piscina';
import { packageRoot } from '../paths.js';
import { type Failed, type Outcome, type Task } from './messages.js';

export interface PoolOptions<T extends Task> {
  /** Worker threads. */
  jobs: number;
  /** Called once for every task that ends, except after `signal`. An error that it throws ends the run. */
  onOutcome: (task: T, outcome: Outcome) => void | Promise<void>;
  /** Called now and then with the rows replayed so far and those of them that were replayed again, counted once per configuration. */
  onProgress?: (rows: number, repeated: number) => void;
  /** Ends the run at once; tasks that had not ended are dropped. */
  signal?: AbortSignal;
  /** The workers, where they were started beforehand; they are ended when the tasks have. */
  pool?: Piscina;
  /** A module that exports `run(task): Promise<Outcome>`. */
  workerFile?: string;
}

const PROGRESS_MS = 100;

/** Workers are threads of JavaScript, so they come from the build also when the caller runs from the sources. */
const WORKER_FILE = join(packageRoot(), 'dist/host/sweep/worker.js');

/** Starts workers. They take a while to load their modules, so whoever has something else to do starts them first. */
export function startWorkers(threads: number, workerFile = WORKER_FILE): Piscina {
  const pool = new Piscina({ filename: workerFile, name: 'run', minThreads: threads, maxThreads: threads });
  // One that dies before there are tasks is missed when they are run; until then nobody listens.
  pool.on('error', () => {});
  return pool;
}

/** Runs the tasks in their order, `jobs` at a time. */
export async function runTasks<T extends Task>(tasks: readonly T[], options: PoolOptions<T>): Promise<void> {
  const { onOutcome, onProgress, signal, workerFile } = options;
  if (tasks.length === 0 || signal?.aborted) return;
  const pool = options.pool ?? startWorkers(Math.min(options.jobs, tasks.length), workerFile);
  let over = false;
  let startFailure = 'no worker could be started';
  const stop = () => {
    over = true;
    void pool.destroy();
  };
  signal?.addEventListener('abort', stop, { once: true });
  // Piscina reports a worker that dies without a task here, and gives up when one dies while it starts.
  pool.on('error', (error: Error) => (startFailure = `no worker could be started: ${error.message}`));
  pool.on('workerDestroy', () => {
    setImmediate(() => {
      if (!over && pool.threads.length === 0) void pool.destroy();
    });
  });
  const timer = onProgress && setInterval(() => report(tasks, onProgress), PROGRESS_MS);

  try {
    await Promise.all(
      tasks.map(async (task) => {
        const outcome = await (pool.run(task) as Promise<Outcome>).catch((error: Error): Failed => {
          const message = pool.threads.length === 0 ? startFailure : `its worker died: ${error.message}`;
          return { kind: 'failed', message, exitCode: 1 };
        });
        if (!over) await onOutcome(task, outcome);
      }),
    );
  } finally {
    over = true;
    clearInterval(timer);
    signal?.removeEventListener('abort', stop);
    await pool.destroy();
  }
}

function report(tasks: readonly Task[], onProgress: NonNullable<PoolOptions<Task>['onProgress']>): void {
  const [done, repeated] = [0, 1].map((slot) =>
    tasks.reduce((sum, { rowsDone, configs }) => sum + Number(Atomics.load(rowsDone, slot)) * configs.length, 0),
  );
  onProgress(done + repeated, repeated);
}
