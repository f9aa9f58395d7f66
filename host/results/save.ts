// Writes a small text file as a whole or not at all: to a temporary name beside it, then renamed. Synchronous, so that
// results are on disk before a command says so; traces, which take their time, go through traces/files.ts.

import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { writeFault } from '../../traces/files.js';

/** Writes the file. A full disk or a missing directory is an error that names it. */
export function saveText(path: string, text: string): void {
  const temporary = `${path}.tmp-${process.pid}`;
  // While a listener exists SIGINT does not end the process, so that no temporary file is left; this takes milliseconds.
  const hold = () => {};
  process.on('SIGINT', hold);
  try {
    writeFileSync(temporary, text);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw writeFault(error, path);
  } finally {
    process.off('SIGINT', hold);
  }
}
