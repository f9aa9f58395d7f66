// Files of bytes that come piece by piece while a trace is replayed, one per CPU: cpuN.bin in a folder. Each grows beside its name and gets it when the replay
// is complete; what was begun and not completed is removed.

import { closeSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { writeFault } from '../../traces/files.js';

/** The file of a CPU. */
export interface CpuFile {
  cpu: number;
  path: string;
  bytes: number;
}

export class CpuStreams {
  private readonly files = new Map<number, { path: string; temporary: string; file: number }>();

  constructor(private readonly folder: string) {}

  /** Adds bytes to the file of a CPU. */
  append(cpu: number, bytes: Uint8Array): void {
    const path = join(this.folder, `cpu${cpu}.bin`);
    try {
      let open = this.files.get(cpu);
      if (!open) {
        mkdirSync(this.folder, { recursive: true });
        const temporary = `${path}.tmp-${process.pid}`;
        open = { path, temporary, file: openSync(temporary, 'w') };
        this.files.set(cpu, open);
      }
      for (let done = 0; done < bytes.length;) done += writeSync(open.file, bytes, done);
    } catch (error) {
      throw writeFault(error, path);
    }
  }

  /** Gives the files their names; returns them with their bytes, by CPU. */
  complete(): CpuFile[] {
    const complete: CpuFile[] = [];
    for (const [cpu, { path, temporary, file }] of this.files) {
      complete.push({ cpu, path, bytes: fstatSync(file).size });
      closeSync(file);
      try {
        renameSync(temporary, path);
      } catch (error) {
        throw writeFault(error, path);
      }
    }
    this.files.clear();
    return complete.sort((a, b) => a.cpu - b.cpu);
  }

  /** Removes what was not completed. */
  discard(): void {
    for (const { temporary, file } of this.files.values()) {
      closeSync(file);
      rmSync(temporary, { force: true });
    }
    this.files.clear();
  }
}
