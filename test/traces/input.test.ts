// Inputs: unpacked by content, in the system's programs and in the built-in ways alike; damage is reported, not read over.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InputError } from '../../traces/errors.js';
import { openInput } from '../../traces/input.js';
import { scratch } from './support.js';

const path = scratch();

/** Text that packs to about a tenth, long enough for several chunks. */
const PLAIN = Buffer.from(
  Array.from({ length: 150_000 }, (_, i) => `I  ${((i * 7919) % 65_536).toString(16).padStart(8, '0')},4\n`).join(''),
);

const hasProgram = (name: string) => spawnSync(name, ['--version'], { input: '' }).error === undefined;

async function read(bytes: Uint8Array): Promise<Buffer> {
  writeFileSync(path('input'), bytes);
  const input = await openInput(path('input'));
  const chunks: Uint8Array[] = [];
  for await (const chunk of input.chunks) chunks.push(chunk);
  await input.close();
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  expect(await input.digest()).toEqual({ name: 'input', bytes: bytes.length, sha256 });
  expect(input.taken()).toBe(bytes.length);
  return Buffer.concat(chunks);
}

async function readError(bytes: Uint8Array): Promise<string> {
  const error = await read(bytes).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(InputError);
  return (error as Error).message;
}

const METHODS = [
  { name: 'gzip', pack: (plain: Buffer) => gzipSync(plain), available: true },
  {
    name: 'zstd',
    pack: (plain: Buffer) => execFileSync('zstd', ['-c'], { input: plain }),
    available: hasProgram('zstd'),
  },
  { name: 'xz', pack: (plain: Buffer) => execFileSync('xz', ['-c'], { input: plain }), available: hasProgram('xz') },
  {
    name: 'bzip2',
    pack: (plain: Buffer) => execFileSync('bzip2', ['-c'], { input: plain }),
    available: hasProgram('bzip2'),
  },
];

const before = process.env.NODEWALK_NO_EXTERNAL;

describe.each(['the built-in way', "the system's program"])('unpacking in %s', (way) => {
  beforeEach(() => void (process.env.NODEWALK_NO_EXTERNAL = way === 'the built-in way' ? '1' : '0'));
  afterEach(() => {
    if (before === undefined) delete process.env.NODEWALK_NO_EXTERNAL;
    else process.env.NODEWALK_NO_EXTERNAL = before;
  });

  for (const { name, pack, available } of METHODS) {
    describe.skipIf(!available)(name, () => {
      it('gives what was packed, empty, short or long', async () => {
        for (const plain of [Buffer.alloc(0), Buffer.from('I  00001000,2\n'), PLAIN]) {
          expect((await read(pack(plain))).equals(plain)).toBe(true);
        }
      });

      it('reports data cut anywhere', async () => {
        const packed = pack(PLAIN);
        for (const length of [7, 20, packed.length >> 2, packed.length >> 1, packed.length - 9, packed.length - 1]) {
          const message = await readError(packed.subarray(0, length));
          expect(message).toMatch(new RegExp(`expected intact ${name}-compressed data, found .*truncated or damaged`));
        }
      });
    });
  }
});

describe('zstd without its program', () => {
  beforeEach(() => void (process.env.NODEWALK_NO_EXTERNAL = '1'));
  afterEach(() => void delete process.env.NODEWALK_NO_EXTERNAL);

  /** A frame with one uncompressed block; exponent 17 is a window of 2^27 bytes (RFC 8878, 3.1.1). */
  const frame = (exponent: number, text: string) =>
    Buffer.concat([
      Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, exponent << 3, 1 | (text.length << 3), text.length >> 5, 0]),
      Buffer.from(text),
    ]);

  it('reads several frames', async () => {
    expect(String(await read(Buffer.concat([frame(10, 'I  00001000,2\n'), frame(15, ' L 00002000,2\n')])))).toBe(
      'I  00001000,2\n L 00002000,2\n',
    );
  });

  it('refuses a window that its decoder gets wrong, in any frame', async () => {
    const text = 'I  00001000,2\n';
    for (const packed of [frame(17, text), Buffer.concat([frame(10, text), frame(17, text)])]) {
      expect(await readError(packed)).toMatch(
        /expected a zstd window of at most 33554432 bytes.*found 134217728; install zstd/,
      );
    }
  });
});

describe('an input', () => {
  it('that is plain is read as it is', async () => {
    expect((await read(PLAIN)).equals(PLAIN)).toBe(true);
    expect((await read(Buffer.alloc(0))).length).toBe(0);
  });

  it('shows its unpacked start before it is read', async () => {
    writeFileSync(path('head.gz'), gzipSync(PLAIN));
    const input = await openInput(path('head.gz'));
    expect(Buffer.from(input.head).equals(PLAIN.subarray(0, 65_536))).toBe(true);
    await input.close();
  });

  it.each(METHODS)('that is several streams of $name is read whole, with its program and without', async (method) => {
    if (!method.available) return;
    const packed = method.pack(PLAIN);
    const two = Buffer.concat([packed, packed]);
    expect((await read(two)).equals(Buffer.concat([PLAIN, PLAIN]))).toBe(true);
    process.env.NODEWALK_NO_EXTERNAL = '1';
    expect((await read(two)).equals(Buffer.concat([PLAIN, PLAIN]))).toBe(true);
    delete process.env.NODEWALK_NO_EXTERNAL;
  });

  it('of zstd may begin with a frame to be skipped', async (context) => {
    if (!hasProgram('zstd')) return context.skip();
    // pzstd puts the length of the next frame there (RFC 8878, 3.1.2).
    const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
    const packed = Buffer.concat([skippable, execFileSync('zstd', ['-c'], { input: PLAIN })]);
    expect((await read(packed)).equals(PLAIN)).toBe(true);
    process.env.NODEWALK_NO_EXTERNAL = '1';
    expect((await read(packed)).equals(PLAIN)).toBe(true);
    delete process.env.NODEWALK_NO_EXTERNAL;
  });

  it('that is missing or a directory is named', async () => {
    await expect(openInput(path('missing'))).rejects.toThrow(
      /missing: expected a trace to convert, found no such file/,
    );
    await expect(openInput(path('.'))).rejects.toThrow(/found a directory/);
  });
});
