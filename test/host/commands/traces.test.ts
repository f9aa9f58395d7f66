// The commands convert and info as they are called: what goes to stdout, what to stderr, what is refused.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { register as registerConvert } from '../../../host/commands/convert.js';
import { register as registerInfo } from '../../../host/commands/info.js';
import { caughtOutput } from '../output.js';

const folder = mkdtempSync(join(tmpdir(), 'nodewalk-commands-'));
afterAll(() => rmSync(folder, { recursive: true }));
const input = join(folder, 'lackey.txt');
const trace = join(folder, 'trace.arrow');
writeFileSync(input, 'I  00001000,2\n M 00002000,4\n');

const output = caughtOutput();

async function run(...args: string[]): Promise<void> {
  const program = new Command('nodewalk').exitOverride();
  registerConvert(program);
  registerInfo(program);
  await program.parseAsync(args, { from: 'user' });
}

describe('convert', () => {
  it('says on stderr what it wrote, and nothing on stdout', async () => {
    await run('convert', input, '-o', trace);
    expect(output.stderr).toMatch(/^nodewalk convert: .*trace.arrow: 3 rows, .* from lackey\n$/);
    expect(output.stdout).toBe('');
  });

  it('takes metadata from a file or a known machine', async () => {
    const meta = join(folder, 'meta.yaml');
    writeFileSync(meta, 'cpuNode: [1]\nnotes: [from a file]\n');
    await run('convert', input, '-o', trace, '--meta', meta);
    await run('info', trace, '--json');
    expect(JSON.parse(output.stdout).metadata).toMatchObject({ cpuNode: [1], notes: ['from a file'] });
    output.stdout = '';
    await run('convert', input, '-o', trace, '--meta', 'qemu-arm64-2node');
    await run('info', trace, '--json');
    expect(JSON.parse(output.stdout).metadata).toMatchObject({ arch: 'arm64', cpuNode: [0, 0, 1, 1] });
  });

  it.each([
    [['--compress', 'zip'], /--compress: unknown method "zip"/],
    [['--from', 'nothing'], /unknown format "nothing"; known are .*raw24.*lackey/],
    [['--meta', 'nowhere.yaml'], /--meta nowhere.yaml: cannot be read/],
  ])('refuses %j as wrong use', async (args, message) => {
    const error = await run('convert', input, '-o', trace, ...args).catch((e: unknown) => e);
    expect(error).toMatchObject({ exitCode: 2, message: expect.stringMatching(message) });
  });
});

describe('info', () => {
  it('prints tables, or JSON', async () => {
    await run('convert', input, '-o', trace);
    await run('info', trace);
    expect(output.stdout).toMatch(/records +3\n/);
    expect(output.stdout).toMatch(/fetch +1 +33\.3%/);
    output.stdout = '';
    await run('info', trace, '--json');
    expect(JSON.parse(output.stdout)).toMatchObject({
      records: 3,
      mix: { fetch: 1, load: 1, store: 1 },
      metadata: { version: 1 },
    });
  });
});
