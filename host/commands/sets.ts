// The option --set of commands whose keys are those of formats.

import { UsageError } from '../../traces/errors.js';

/** One more key=value. */
export function parseSet(text: string, before: Record<string, string>): Record<string, string> {
  const equals = text.indexOf('=');
  if (equals < 1) throw new UsageError(`--set ${text}: expected key=value`);
  return { ...before, [text.slice(0, equals)]: text.slice(equals + 1) };
}
