// The native yardstick of replays without line caches (native.c), run on the same columns.

import { type Batch } from '../../traces/batch.js';
import { writeColumns } from './columns.js';
import { Program } from './compile.js';

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

/** The compiled yardstick. */
export class Native {
  private constructor(private readonly program: Program) {}

  /** Compiles it; null when there is no C compiler. */
  static async build(): Promise<Native | null> {
    const program = await Program.build('native.c');
    return program && new Native(program);
  }

  /** Hands it the columns. */
  async load(columns: Batch): Promise<void> {
    await writeColumns(this.program.columns, columns, ['va', 'cpu', 'kind']);
  }

  async measure(rows: number): Promise<NativeResult> {
    return this.program.run<NativeResult>(String(rows), '1');
  }

  async remove(): Promise<void> {
    await this.program.remove();
  }
}
