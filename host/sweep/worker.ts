// The half of the pool inside a worker thread: replays one task after another.

import { NodewalkError } from '../../traces/errors.js';
import { replayTrace } from '../replay/replay.js';
import { type Outcome, type Task } from './messages.js';

/** Replays a task. Errors become failures here, since their classes would not survive the way to the sweep. */
export async function run({ path, configs, rowsDone }: Task): Promise<Outcome> {
  const onProgress = (done: number, _rows: number, repeated: number) => {
    Atomics.store(rowsDone, 0, BigInt(done));
    Atomics.store(rowsDone, 1, BigInt(repeated));
  };
  try {
    return { kind: 'done', summaries: await replayTrace(path, configs, { onProgress }) };
  } catch (error) {
    if (error instanceof NodewalkError) return { kind: 'failed', message: error.message, exitCode: error.exitCode };
    const trail = error instanceof Error ? error.stack : String(error);
    return { kind: 'failed', message: `internal error, please report it:\n${trail}`, exitCode: 1 };
  }
}
