// Conversion as a whole: formats found out, inputs joined, metadata merged, nothing half-written.

import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { convert } from '../../traces/convert.js';
import { InputError, NodewalkError, UsageError } from '../../traces/errors.js';
import { parseOverrides } from '../../traces/metadata.js';
import { TraceReader } from '../../traces/reader.js';
import { FIXTURES, rowsOf, scratch } from './support.js';

const path = scratch();
const RAW24 = `${FIXTURES}x86-1000.raw24`;

function lackeyFile(name: string, lines = 'I  00001000,2\n M 00002000,4\n'): string {
  writeFileSync(path(name), lines);
  return path(name);
}

describe('convert', () => {
  it('finds the format by content, not by name', async () => {
    const lackey = lackeyFile('trace.bin');
    expect((await convert([lackey], path('a.arrow'))).format).toBe('lackey');
    writeFileSync(path('trace.txt'), readFileSync(RAW24));
    expect((await convert([path('trace.txt')], path('b.arrow'))).format).toBe('raw24');
  });

  it('joins inputs in the order given, with their digests and counts', async () => {
    const first = lackeyFile('first', 'I  00001000,2\n');
    const second = lackeyFile('second', ' M 00002000,4\n');
    const { metadata, rows } = await convert([second, first], path('joined.arrow'));
    expect(rows).toBe(3);
    expect((await rowsOf(path('joined.arrow'))).map((row) => row.va)).toEqual([0x2000n, 0x2000n, 0x1000n]);
    expect(metadata.source.input.map((input) => input.name)).toEqual(['second', 'first']);
    expect(metadata.counts).toEqual({ fetch: 1, load: 1, store: 1, event: 0, insns: 1 });
  });

  it('writes the metadata that it returns', async () => {
    const { metadata } = await convert([RAW24], path('metadata.arrow'));
    const reader = await TraceReader.open(path('metadata.arrow'));
    expect(reader.metadata).toEqual(metadata);
    await reader.close();
  });

  it('lets the user overrule what an input says', async () => {
    const meta = parseOverrides(
      'arch: arm64\nnodes: [{ node: 0, ranges: [{ from: 0, to: 0x80000000 }] }]\n',
      'meta.yaml',
    );
    const { metadata } = await convert([lackeyFile('plain')], path('meta.arrow'), { meta });
    expect(metadata).toMatchObject({ arch: 'arm64', source: { tool: 'valgrind lackey' } });
    expect(metadata.nodes[0].ranges[0]).toEqual({ from: '0x0', to: '0x80000000' });
  });

  it('refuses metadata with unknown keys or wrong values', () => {
    expect(() => parseOverrides('archh: arm64', 'm.yaml')).toThrow(/m.yaml: .*Unrecognized key: "archh"/);
    expect(() => parseOverrides('cpus: many', 'm.yaml')).toThrow(/m.yaml: key "cpus"/);
    expect(() => parseOverrides('{', 'm.yaml')).toThrow(InputError);
  });

  it('refuses inputs of different formats, and files of none', async () => {
    await expect(convert([lackeyFile('l'), RAW24], path('x.arrow'))).rejects.toThrow(
      /x86-1000.raw24: expected the format of .*, lackey, found raw24/,
    );
    writeFileSync(path('other'), 'hello\n');
    await expect(convert([path('other')], path('x.arrow'))).rejects.toThrow(
      /expected one of the formats .*raw24.*lackey.*, found text that starts with "hello"/,
    );
    await expect(convert([path('other')], path('x.arrow'), { from: 'nothing' })).rejects.toThrow(UsageError);
    expect(existsSync(path('x.arrow'))).toBe(false);
  });

  it('copies a trace, whose source stays and whose history grows', async () => {
    const first = await convert([RAW24], path('first.arrow'));
    const { metadata, format } = await convert([path('first.arrow')], path('second.arrow'));
    expect(format).toBe('trace');
    expect(await rowsOf(path('second.arrow'))).toEqual(await rowsOf(path('first.arrow')));
    const history = [
      { step: 'convert', input: [{ name: 'first.arrow', bytes: first.bytes, sha256: expect.any(String) }] },
    ];
    expect(metadata).toEqual({ ...first.metadata, history });
  });

  it('refuses options that the format has not, and outputs of an unknown format', async () => {
    const input = lackeyFile('options');
    await expect(convert([input], path('x.arrow'), { set: { unit: 'pfn' } })).rejects.toThrow(/--set unit: unknown/);
    await expect(convert([input], path('x'), { to: 'nothing' })).rejects.toThrow(/--to: unknown format "nothing"/);
  });

  it('says which files a folder would need', async () => {
    mkdirSync(path('folder'));
    await expect(convert([path('folder')], path('x.arrow'))).rejects.toThrow(/folder: expected a file.*found a folder/);
  });

  it('leaves the old file and no temporary one when the input is bad', async () => {
    writeFileSync(path('kept.arrow'), 'old');
    await expect(convert([lackeyFile('bad', 'I  00001000,2\noops\n')], path('kept.arrow'))).rejects.toThrow(/line 2/);
    expect(readFileSync(path('kept.arrow'), 'utf8')).toBe('old');
    expect(readdirSync(path('.')).filter((name) => name.includes('.tmp-'))).toEqual([]);
  });

  it.skipIf(!existsSync('/dev/full'))(
    'names the file when the disk is full, and removes the temporary one',
    async () => {
      // The temporary file's name is known, so it can be made to lead to a device that is always full.
      symlinkSync('/dev/full', `${path('full.arrow')}.tmp-${process.pid}`);
      const error = await convert([RAW24], path('full.arrow')).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(NodewalkError);
      expect((error as NodewalkError).message).toMatch(/full.arrow: cannot write: no space left/);
      expect((error as NodewalkError).exitCode).toBe(1);
      expect(readdirSync(path('.')).filter((name) => name.startsWith('full.arrow'))).toEqual([]);
    },
  );

  it('names the file when its folder does not exist, or it is no regular file', async () => {
    await expect(convert([RAW24], path('nowhere/x.arrow'))).rejects.toThrow(/x.arrow: cannot write: no such directory/);
    await expect(convert([RAW24], path('.'))).rejects.toThrow(/not a regular file/);
  });

  it('reports progress in bytes of the inputs', async () => {
    const seen: [number, number | null][] = [];
    await convert([RAW24], path('p.arrow'), { onProgress: (done, total) => seen.push([done, total]) });
    expect(seen).toEqual([[24_000, 24_000]]);
  });
});
