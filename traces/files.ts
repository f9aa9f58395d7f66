// Files on disk: what the system's errors mean for the user, and writing a file so that nobody ever sees half of it.

import { unlinkSync } from 'node:fs';
import { open, rename, stat } from 'node:fs/promises';
import { InputError, NodewalkError, UsageError } from './errors.js';

/** Why a file could not be read, as an error for the user; other errors come back as they are. */
export function readFault(error: unknown, path: string, expected: string): unknown {
  const found: Record<string, string> = {
    ENOENT: 'no such file',
    EISDIR: 'a directory',
    EACCES: 'no permission to read it',
    EPERM: 'no permission to read it',
    ENOTDIR: 'a path through something that is not a directory',
  };
  const code = (error as NodeJS.ErrnoException).code;
  return code && code in found ? new InputError({ source: path, expected, found: found[code] }) : error;
}

/** Why a file could not be written, as an error for the user; other errors come back as they are. */
export function writeFault(error: unknown, path: string): unknown {
  if (error instanceof NodewalkError) return error;
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (!code || !syscall) return error;
  const reason = code === 'ENOSPC' ? 'no space left on the device' : code === 'ENOENT' ? 'no such directory' : message;
  return new NodewalkError(`${path}: cannot write: ${reason}`, 1, { cause: error });
}

/**
 * Lets `write` fill a temporary file beside `path` and renames it when that succeeded. The temporary file is removed on
 * an error and when the process is interrupted. Throws NodewalkError naming `path` when it cannot be written, UsageError for what is
 * no file.
 */
export async function writeWhole<T>(path: string, write: (temporary: string) => Promise<T>): Promise<T> {
  if (path === '-') throw new UsageError('-: names a file; what is written cannot go to standard output');
  const existing = await stat(path).catch(() => null);
  if (existing && !existing.isFile()) throw new UsageError(`${path}: is not a regular file; name a file to write`);
  const temporary = `${path}.tmp-${process.pid}`;
  const remove = () => {
    try {
      unlinkSync(temporary);
    } catch {
      // It was never created, or is renamed already.
    }
  };
  const interrupted = (signal: NodeJS.Signals) => {
    remove();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    const result = await write(temporary);
    await rename(temporary, path);
    return result;
  } catch (error) {
    remove();
    throw writeFault(error, path);
  } finally {
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
  }
}

/** Writes pieces of bytes, each valid until the next is asked for, to a file that appears whole; returns its bytes. */
export async function writeBytes(path: string, pieces: AsyncIterable<Uint8Array>): Promise<number> {
  return writeWhole(path, async (temporary) => {
    const file = await open(temporary, 'w');
    let bytes = 0;
    try {
      for await (const piece of pieces) {
        await file.writeFile(piece);
        bytes += piece.length;
      }
    } finally {
      await file.close();
    }
    return bytes;
  });
}
