// Compiles a C program of this folder into a temporary directory, when a C compiler is there.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../host/paths.js';

const run = promisify(execFile);

/** A compiled program in a directory of its own, beside the columns that it reads. */
export class Program {
  private constructor(private readonly directory: string) {}

  /** Compiles tools/bench/`source`; null when there is no C compiler. */
  static async build(source: string): Promise<Program | null> {
    const directory = await mkdtemp(join(tmpdir(), 'nodewalk-bench-'));
    const from = join(packageRoot(), 'tools/bench', source);
    for (const compiler of ['cc', 'gcc', 'clang']) {
      const to = join(directory, 'program');
      const built = await run(compiler, ['-std=gnu11', '-O3', '-march=native', '-o', to, from]).catch(() => null);
      if (built) return new Program(directory);
    }
    await rm(directory, { recursive: true });
    return null;
  }

  /** The file of columns. */
  get columns(): string {
    return join(this.directory, 'columns');
  }

  /** Runs it on the columns and reads the JSON that it prints. */
  async run<Result>(...args: string[]): Promise<Result> {
    const { stdout } = await run(join(this.directory, 'program'), [this.columns, ...args]);
    return JSON.parse(stdout) as Result;
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}
