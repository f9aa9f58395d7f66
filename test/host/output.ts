// What commands print, for tests that call them in their own process.

import { afterEach, beforeEach, vi } from 'vitest';

/** Catches what is written to stdout and stderr in every test of the file; empty at the start of each. */
export function caughtOutput(): { stdout: string; stderr: string } {
  const output = { stdout: '', stderr: '' };
  const into = (stream: 'stdout' | 'stderr') =>
    vi.spyOn(process[stream], 'write').mockImplementation((text) => ((output[stream] += String(text)), true));
  beforeEach(() => {
    output.stdout = output.stderr = '';
    into('stdout');
    into('stderr');
  });
  afterEach(() => vi.restoreAllMocks());
  return output;
}
