// What the formats of perf take besides their bytes: options by name, and the CPUs of threads.

import { InputError, UsageError } from '../../errors.js';
import { type ParseOptions, type TraceFormat } from '../../format.js';
import { type Threads } from '../../threads.js';

/** ParseOptions with the options of a format and the CPUs of threads. */
export interface Settings extends ParseOptions {
  set: Readonly<Record<string, string>>;
  threads: Threads;
}

/** A format with options of its own. */
export interface OptionFormat extends TraceFormat {
  options?: Readonly<Record<string, string>>;
  concurrent?: boolean;
}

/** Whether `--set NAME=true` was given. */
export function flag({ set }: Settings, name: string): boolean {
  const value = set[name];
  if (value === undefined || value === 'false') return false;
  if (value === 'true') return true;
  throw new UsageError(`--set ${name}: expected true or false, found "${value}"`);
}

/** Fails when a capture has no address: what to record instead. */
export function noAddresses(source: string, found: string): InputError {
  return new InputError({
    source,
    expected: 'samples with data addresses',
    found,
    advice: 'record with "perf mem record", "perf record -d -e EVENT" or "perf record -e arm_spe//"',
  });
}
