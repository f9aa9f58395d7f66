// An input file (or standard input as "-") as a stream of plain bytes: unpacked by its first bytes, whatever its name,
// while the bytes as they came are counted and hashed for the trace's provenance.

import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { digestOf } from './digest.js';
import { InputError } from './errors.js';
import { readFault } from './files.js';
import { type TraceMetadata } from './metadata.js';
import { readAhead } from './readAhead.js';
import { compressionOf } from './sniff.js';
import { UNPACKERS } from './unpack/index.js';

/** How much of the unpacked start a format may look at. */
const HEAD_BYTES = 64 << 10;

/** What is recorded of an input file. */
export type InputDigest = TraceMetadata['source']['input'][number];

/** An opened input: its unpacked bytes can be iterated once. */
export interface Input {
  path: string;
  /** The first bytes, unpacked. */
  head: Uint8Array;
  /** Size of the file as it is, null where unknown. */
  size: number | null;
  chunks: AsyncIterable<Uint8Array>;
  /** Bytes of the file taken so far, for progress. */
  taken(): number;
  /** The path, for a format that seeks in the file, which `why` explains. Throws InputError when it is none or packed. */
  seekable(why: string): string;
  /** Size and SHA-256 of the file as it is; reads what was not read yet. */
  digest(): Promise<InputDigest>;
  /** Stops reading. */
  close(): Promise<void>;
}

/**
 * Opens a file or, for "-", standard input; `expected` is what it should be, for messages. Throws InputError when it cannot
 * be read or is packed in an unknown way.
 */
export async function openInput(path: string, expected = 'a trace to convert'): Promise<Input> {
  const info = path === '-' ? null : await stat(path).catch((e) => Promise.reject(readFault(e, path, expected)));
  if (info?.isDirectory()) throw readFault({ code: 'EISDIR' }, path, expected);
  const hash = digestOf(path, info?.isFile() ? info.size : null);
  let bytes = 0;
  const raw = async function* (): AsyncGenerator<Uint8Array> {
    const stream = path === '-' ? process.stdin : readAhead(path);
    try {
      for await (const chunk of stream as AsyncIterable<Uint8Array>) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    } catch (error) {
      throw readFault(error, path, expected);
    }
  };
  const source = raw();
  const packed = await peek(source);
  const compression = compressionOf(packed.head);
  const unpacking = compression ? UNPACKERS[compression](packed.chunks, path) : null;
  const plain = unpacking ? await peek(unpacking) : packed;
  return {
    path,
    head: plain.head,
    size: info?.isFile() ? info.size : null,
    chunks: plain.chunks,
    taken: () => bytes,
    seekable: (why) => {
      if (path !== '-' && !compression) return path;
      const found = compression ? `${compression}-compressed data` : 'standard input';
      throw new InputError({
        source: path,
        expected: `a plain file (${why})`,
        found,
        advice: 'save it unpacked first',
      });
    },
    digest: async () => {
      while (!(await source.next()).done);
      return { name: path === '-' ? '-' : basename(path), bytes, sha256: await hash.hex() };
    },
    close: async () => {
      await unpacking?.return(undefined);
      await source.return(undefined);
      hash.close();
    },
  };
}

/** The start of a stream, and the whole stream again. */
export async function peek(chunks: AsyncGenerator<Uint8Array>) {
  const first: Uint8Array[] = [];
  let have = 0;
  while (have < HEAD_BYTES) {
    const next = await chunks.next();
    if (next.done) break;
    first.push(next.value);
    have += next.value.length;
  }
  async function* whole(): AsyncGenerator<Uint8Array> {
    yield* first;
    yield* chunks;
  }
  return { head: Buffer.concat(first).subarray(0, HEAD_BYTES), chunks: whole() };
}
