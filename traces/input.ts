// An input file (or standard input as "-") as a stream of plain bytes: unpacked by its first bytes, whatever its name,
// while the bytes as they came are counted and hashed for the trace's provenance. zstd and xz run in the system's own
// programs where they are installed (a second core, several times as fast), else in JavaScript and WebAssembly.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, delimiter, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { Decompress as UnpackZstd } from 'fzstd';
import xz from 'xz-decompress';
import { digestOf } from './digest.js';
import { InputError } from './errors.js';
import { readFault } from './files.js';
import { type TraceMetadata } from './metadata.js';
import { readAhead } from './readAhead.js';
import { compressionOf, type Compression } from './sniff.js';

const READ_BYTES = 1 << 20;
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

/** Opens a file or, for "-", standard input. Throws InputError when it cannot be read or is packed in an unknown way. */
export async function openInput(path: string): Promise<Input> {
  const info =
    path === '-' ? null : await stat(path).catch((e) => Promise.reject(readFault(e, path, 'a trace to convert')));
  if (info?.isDirectory()) throw readFault({ code: 'EISDIR' }, path, 'a trace to convert');
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
      throw readFault(error, path, 'a trace to convert');
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
async function peek(chunks: AsyncGenerator<Uint8Array>) {
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

type Unpacker = (packed: AsyncIterable<Uint8Array>, path: string) => AsyncGenerator<Uint8Array>;

const UNPACKERS: Record<Compression, Unpacker> = {
  gzip: (packed, path) => gunzip(packed, path),
  // A window of up to 2 GiB: traces are packed with --long.
  zstd: (packed, path) => unpackWith(['zstd', '-dc', '--long=31'], packed, path) ?? unzstd(packed, path),
  xz: (packed, path) => unpackWith(['xz', '-dc'], packed, path) ?? unxz(packed, path),
};

function damaged(path: string, compression: Compression, found: string): InputError {
  return new InputError({
    source: path,
    expected: `intact ${compression}-compressed data`,
    found,
    advice: 'the file is truncated or damaged; fetch it again',
  });
}

async function* gunzip(packed: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  const unpacker = createGunzip({ chunkSize: READ_BYTES });
  const pumped = pipeline(Readable.from(packed), unpacker);
  pumped.catch(() => {}); // The iteration below reports it.
  try {
    yield* unpacker as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw error instanceof InputError ? error : damaged(path, 'gzip', (error as Error).message);
  }
}

/** Unpacks in another process; undefined when the program is not there or not wanted (NODEWALK_NO_EXTERNAL=1). */
function unpackWith(
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

/** fzstd 0.1 reads an offset from 32 bits of the stream of which 7 may belong to something else. */
const FZSTD_MAX_WINDOW = 2 ** 25;

async function* unzstd(packed: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  let plain: Uint8Array[] = [];
  const unpacker = new UnpackZstd((chunk) => {
    // Its frame state, which has no public name.
    const { e: window } = (unpacker as unknown as { s: { e: number } }).s;
    if (window > FZSTD_MAX_WINDOW) {
      throw new InputError({
        source: path,
        expected: `a zstd window of at most ${FZSTD_MAX_WINDOW} bytes, as the zstd program is not there`,
        found: `${window}`,
        advice: 'install zstd, or unpack the file first',
      });
    }
    plain.push(chunk.slice());
  });
  try {
    for await (const chunk of packed) {
      unpacker.push(chunk);
      yield* plain;
      plain = [];
    }
    unpacker.push(new Uint8Array(0), true);
  } catch (error) {
    throw error instanceof InputError ? error : damaged(path, 'zstd', (error as Error).message);
  }
}

async function* unxz(packed: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  const reader = new xz.XzReadableStream(
    Readable.toWeb(Readable.from(packed)) as ReadableStream<Uint8Array>,
  ).getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
  } catch (error) {
    throw error instanceof InputError ? error : damaged(path, 'xz', (error as Error).message);
  } finally {
    await reader.cancel().catch(() => {});
  }
}
