import { beforeAll, describe, expect, it } from 'vitest';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { resolveConfig } from '../../../host/config/load.js';
import { type Outcome, type Task } from '../../../host/sweep/messages.js';
import { runTasks, startWorkers } from '../../../host/sweep/pool.js';
import { fixtureWorker, makeTrace, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const good = join(folder, 'good.arrow');
const dies = join(folder, 'dies.arrow');

beforeAll(async () => {
  await makeTrace(good);
});

function task(path: string): Task {
  return {
    path,
    configs: [resolveConfig({}, 'test')],
    rowsDone: new BigInt64Array(new SharedArrayBuffer(16)),
  };
}

/** The outcomes in the order of the tasks. */
async function run(paths: string[], jobs: number, workerFile?: string): Promise<Outcome[]> {
  const outcomes = new Map<Task, Outcome>();
  const tasks = paths.map(task);
  await runTasks(tasks, { jobs, workerFile, onOutcome: (done, outcome) => void outcomes.set(done, outcome) });
  return tasks.map((one) => outcomes.get(one)!);
}

describe('the pool', () => {
  it('replays every task and counts the rows that it replays', async () => {
    const tasks = [good, good, good].map(task);
    const kinds: string[] = [];
    await runTasks(tasks, { jobs: 2, onOutcome: (_, { kind }) => void kinds.push(kind) });
    expect(kinds).toEqual(['done', 'done', 'done']);
    expect(tasks.map(({ rowsDone }) => rowsDone[0])).toEqual([2000n, 2000n, 2000n]);
  });

  it('counts the rows that it replays again', async () => {
    const path = await makeTrace(join(folder, 'phased.arrow'), { phases: true });
    const twice = { ...task(path), configs: [resolveConfig({ replay: { hot: 2 } }, 'test')] };
    const reported: number[][] = [];
    await runTasks([twice], {
      ...{ jobs: 1, onOutcome: () => setTimeout(300) },
      onProgress: (...rows: number[]) => void reported.push(rows),
    });
    // The phase is the rows 0 to 1000, and is replayed two times more than once.
    expect([...twice.rowsDone]).toEqual([2000n, 2002n]);
    expect(reported.at(-1)).toEqual([4002, 2002]);
  });

  it.each([1, 2])('replaces a worker that dies, so that only its task fails (%i workers)', async (jobs) => {
    const outcomes = await run([good, dies, good, dies, good], jobs, fixtureWorker('dyingWorker'));
    expect(outcomes.map(({ kind }) => kind)).toEqual(['done', 'failed', 'done', 'failed', 'done']);
    expect(outcomes[1]).toEqual({
      kind: 'failed',
      message: 'its worker died: worker exited with code: 7',
      exitCode: 1,
    });
  });

  it.each(['brokenWorker', 'exitingWorker'])('fails every task when no worker can start (%s)', async (worker) => {
    const outcomes = await run([good, good, good, good, good], 2, fixtureWorker(worker));
    expect(outcomes.map(({ kind }) => kind)).toEqual(Array(5).fill('failed'));
  });

  it('fails every task when the workers died before there were any', async () => {
    const pool = startWorkers(2, fixtureWorker('brokenWorker'));
    while (pool.threads.length > 0) await setTimeout(20);
    const outcomes: Outcome[] = [];
    await runTasks([task(good), task(good)], { jobs: 2, pool, onOutcome: (_, outcome) => void outcomes.push(outcome) });
    expect(outcomes.map(({ kind }) => kind)).toEqual(['failed', 'failed']);
  });

  it('stops at once when it is told to, and drops the tasks that had not ended', async () => {
    const stop = new AbortController();
    let outcomes = 0;
    const workerFile = fixtureWorker('sleepingWorker');
    const { signal } = stop;
    const running = runTasks([task(good), task(good)], {
      jobs: 1,
      workerFile,
      signal,
      onOutcome: () => void outcomes++,
    });
    void setTimeout(200).then(() => stop.abort());
    await running;
    expect(outcomes).toBe(0);
  });

  it('ends with the error of whoever takes the outcomes', async () => {
    const onOutcome = () => {
      throw new Error('disk full');
    };
    await expect(runTasks([task(good), task(good)], { jobs: 1, onOutcome })).rejects.toThrow('disk full');
  });
});
