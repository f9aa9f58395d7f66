// Operations of each CPU: what the replay counts and profiling is timed by. They depend on rows alone, so that all lanes of an instance share the
// count; a CPU stops at the first operation at which a lane has something to do.

import { allocate } from '../memory/arena';

/** The most CPUs that a machine can have. */
const MOST_CPUS: u32 = 4096;

/** A CPU's operations. */
@unmanaged
export class Operations {
  now: u64;
  /** The number of the operation at which the replay stops. */
  stopAt: u64;
  /** The address of its last fetch. */
  pc: u64;
}

let operations: usize = 0;

// @ts-ignore: decorator
@inline
export function OPERATIONS(cpu: u32): Operations {
  return changetype<Operations>(operations + cpu * offsetof<Operations>());
}

/** Makes room for the counts; the first operation of every CPU stops the replay. */
export function initOperations(): void {
  if (!operations) operations = allocate(MOST_CPUS * offsetof<Operations>());
}
