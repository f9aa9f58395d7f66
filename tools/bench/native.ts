// The native yardstick (native.c): compiled when a C compiler is there, run on the same columns.

import { execFile } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Batch } from '../../traces/batch.js';
import { packageRoot } from '../../host/paths.js';

const run = promisify(execFile);

/** Best times in nanoseconds per access, and the counts that every contender must share. */
export interface NativeResult {
  scanNs: number;
  everyNs: number;
  changedNs: number;
  l1iMiss: number;
  l1dMiss: number;
  walks: number;
  refs: number;
}

/** A compiled yardstick in a directory of its own. */
export class Native {
  private constructor(private readonly directory: string) {}

  /** Compiles it; null when there is no C compiler. */
  static async build(): Promise<Native | null> {
    const directory = await mkdtemp(join(tmpdir(), 'nodewalk-bench-'));
    const source = join(packageRoot(), 'tools/bench/native.c');
    for (const compiler of ['cc', 'gcc', 'clang']) {
      const built = await run(compiler, ['-O3', '-march=native', '-o', join(directory, 'native'), source]).catch(
        () => null,
      );
      if (built) return new Native(directory);
    }
    await rm(directory, { recursive: true });
    return null;
  }

  /** Hands it the columns. */
  async load({ va, cpu, kind }: Batch): Promise<void> {
    const file = await open(join(this.directory, 'columns'), 'w');
    for (const column of [va, cpu, kind]) {
      await file.writeFile(new Uint8Array(column.buffer, column.byteOffset, column.byteLength));
    }
    await file.close();
  }

  async measure(rows: number): Promise<NativeResult> {
    const { stdout } = await run(join(this.directory, 'native'), [join(this.directory, 'columns'), String(rows), '1']);
    return JSON.parse(stdout) as NativeResult;
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}
