// Unpacking in a program of the system, where it is installed: a second core, and several times as fast as JavaScript.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { InputError } from '../errors.js';
import { type Compression } from '../sniff.js';
import { damaged } from './packed.js';

/** Unpacks in another process; undefined when the program is not there or not wanted (NODEWALK_NO_EXTERNAL=1). */
export function unpackWith(
  [program, ...args]: [Compression, ...string[]],
  packed: AsyncIterable<Uint8Array>,
  path: string,
): AsyncGenerator<Uint8Array> | undefined {
  if (process.env.NODEWALK_NO_EXTERNAL === '1' || !isInstalled(program)) return undefined;
  return (async function* () {
    const child = spawn(program, args, { stdio: 'pipe' });
    let complaint = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
    const exit = once(child, 'close') as Promise<[number | null]>;
    // When the program gives up, its input breaks too; only a fault of our own reading is worth more than its message.
    const fed = pipeline(Readable.from(packed), child.stdin).catch((error: unknown) => error);
    try {
      yield* child.stdout as AsyncIterable<Uint8Array>;
      const [code] = await exit;
      const fault = await fed;
      if (fault instanceof InputError) throw fault;
      // Programs put their own name and "stdin" in front.
      const reason = complaint
        .trim()
        .split('\n')[0]
        .replace(/^.*stdin\S* *: */, '');
      if (code !== 0) throw damaged(path, program, reason || `${program} ending with ${code}`);
    } finally {
      child.kill();
    }
  })();
}

function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
