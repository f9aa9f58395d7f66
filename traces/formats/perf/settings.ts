// What the formats of perf share: options that are true or false, and the error for captures without addresses.

import { InputError, UsageError } from '../../errors.js';
import { type ParseOptions } from '../../format.js';

/** Whether `--set NAME=true` was given. */
export function flag({ set }: ParseOptions, name: string): boolean {
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
