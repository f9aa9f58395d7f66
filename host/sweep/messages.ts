// What the sweep and its workers tell each other: a task goes in, an outcome comes out. A worker that dies sends
// nothing; the pool makes a failure of that.

import { type Config } from '../config/schema.js';
import { type Summary } from '../results/summary.js';

/** One pass over a trace for some configurations. */
export interface Task {
  path: string;
  configs: Config[];
  /** Two numbers in shared memory: the rows of the trace replayed so far, and rows replayed again besides. */
  rowsDone: BigInt64Array;
}

/** The summaries in the order of the task's configurations, or why there are none. */
export type Outcome = { kind: 'done'; summaries: Summary[] } | Failed;

export interface Failed {
  kind: 'failed';
  message: string;
  exitCode: 1 | 2;
}
