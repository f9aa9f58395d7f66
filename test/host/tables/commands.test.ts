// The commands translate and explain as they are called: what goes to stdout, what to stderr, what is refused.

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import * as explain from '../../../host/commands/explain.js';
import * as translate from '../../../host/commands/translate.js';
import { ARM_CPU, ARM_ENTRIES, writeImage, X86_CPU, X86_ENTRIES } from './handmade.js';
import { caughtOutput } from '../output.js';

const x86 = writeImage('x86-64', { 0: X86_CPU }, X86_ENTRIES);
const arm = writeImage('arm64', { 0: ARM_CPU, 1: ARM_CPU }, ARM_ENTRIES);
const input = join(x86, 'input.csv');
afterAll(() => [x86, arm].forEach((folder) => rmSync(folder, { recursive: true })));

const output = caughtOutput();

async function run(...args: string[]): Promise<void> {
  const program = new Command('nodewalk').exitOverride();
  for (const command of [translate, explain]) command.register(program);
  for (const command of program.commands) command.exitOverride();
  await program.parseAsync(args, { from: 'user' });
}

describe('translate', () => {
  it('answers addresses in their order, with the columns of the contract', async () => {
    await run('translate', x86, '--va', '0x3abc', '0x5000', '0x1000000000000', '4096');
    expect(output.stdout).toBe(
      [
        'context,va,status,pa,level,pageBytes',
        'cr3_cpu0,0x3abc,ok,0x13abc,1,0x1000',
        'cr3_cpu0,0x5000,fault,,1,0x0',
        'cr3_cpu0,0x1000000000000,noncanon,,0,0x0',
        'cr3_cpu0,0x1000,ok,0x11000,1,0x1000\n',
      ].join('\n'),
    );
  });

  it('reads a CSV: the context names the root, --root serves rows without one', async () => {
    writeFileSync(input, 'va,note,context\n0x123,,ttbr0_cpu0\n0x11000,"a, b",\n0x2000,,ttbr0_cpu1\n');
    await run('translate', arm, '--input', input, '--root', 's2_host', '--long');
    // The stage-2 page of VA 0x123 is IPA 0x30000; both stages let EL0 and EL1 read and write and stage 1 lets both execute,
    // but EL1 executes nothing that EL0 can write.
    expect(output.stdout).toBe(
      [
        'context,va,status,pa,level,pageBytes,permissions,s2Level,s2PageBytes,entry',
        'ttbr0_cpu0,0x123,ok,0x50123,3,0x1000,user rwx kernel rw-,3,0x1000,0x30443',
        's2_host,0x11000,ok,0x20000,3,0x1000,user rwx kernel rwx,3,0x1000,0x204c3',
        'ttbr0_cpu1,0x2000,s2-fault,,3,0x1000,,3,0x0,0x4\n',
      ].join('\n'),
    );
  });

  it('checks accesses when asked, and reads with --mode alone', async () => {
    await run('translate', x86, '--va', '0x2000', '--mode', 'user');
    await run('translate', x86, '--va', '0x4000', '--access', 'w', '--maxphyaddr', '40');
    expect(output.stdout.match(/permission|reserved/g)).toEqual(['permission', 'reserved']);
  });

  it('prints JSON with the steps', async () => {
    await run('translate', x86, '--va', '0x3abc', '0x5000', '--json');
    const [first, second] = JSON.parse(output.stdout) as { steps: object[] }[];
    expect(first).toMatchObject({ context: 'cr3_cpu0', va: '0x3abc', status: 'ok', pa: '0x13abc', s2Level: null });
    expect(first.steps).toHaveLength(4);
    expect(first.steps[3]).toEqual({ stage: 1, level: 1, tablePa: '0x4000', entryPa: '0x4018', entry: '0x13001' });
    expect(second).toMatchObject({ status: 'fault', pa: null });
  });

  it('prints nothing when a table is missing for one of the addresses', async () => {
    const error = await run('translate', arm, '--root', 'ttbr0_cpu0', '--va', '0x123', '0x600000').catch((e) => e);
    expect(error).toMatchObject({ exitCode: 1, message: expect.stringMatching(/stage-1 table at PA 0x60000/) });
    expect(output.stdout).toBe('');
  });

  it.each([
    [['--va', '0x0'], /has several roots: name one with --root: ttbr0_cpu0, ttbr1_cpu0, s2_host, ttbr0_cpu1/],
    [['--va', '0x0', '--root', 'cr3_cpu0'], /has no root "cr3_cpu0"; it has ttbr0_cpu0/],
    [[], /name addresses with --va, or a file of them with --input/],
    [['--input', input], /several roots/, 'va\n0x0\n'],
    [['--input', input, '--root', 'none'], /no root "none"/, 'va,context\n0x0,s2_host\n'],
  ])('refuses %j as wrong use', async (args, message, csv = '') => {
    writeFileSync(input, csv);
    const error = await run('translate', arm, ...args).catch((e: unknown) => e);
    expect(error).toMatchObject({ exitCode: 2, message: expect.stringMatching(message) });
  });

  it.each([
    ['va,context\n0x0,s2_host\nfff,s2_host\n', /input.csv: line 3: expected an address: .*, found "fff"/],
    ['va,context\n0x10000000000000000,s2_host\n', /line 2: expected an address/],
    ['va,context\n0x0,cr3\n', /line 2: expected a root of the image: ttbr0_cpu0, .*, found "cr3"/],
    ['address\n0x0\n', /expected a header with the column "va"/],
  ])('refuses the input %j', async (csv, message) => {
    writeFileSync(input, csv);
    const error = await run('translate', arm, '--input', input).catch((e: unknown) => e);
    expect(error).toMatchObject({ exitCode: 1, message: expect.stringMatching(message) });
    expect(output.stdout).toBe('');
  });

  it.each([
    ['--va', 'xyz'],
    ['--va', '0x0', '--maxphyaddr', '64'],
    ['--va', '0x0', '--access', 'q'],
    ['--va', '0x0', '--input', input],
  ])('commander refuses %s %s %s %s', async (...args) => {
    await expect(run('translate', x86, ...args.filter((arg) => arg !== undefined))).rejects.toThrow(/error: /);
    expect(output.stderr).toMatch(/^error: /);
  });
});

describe('explain', () => {
  it('shows every descriptor with its fields, and the fault in the words of the architecture', async () => {
    await run('explain', x86, '--va', '0x1010', '--access', 'w');
    // Indices: 0, 0, 0 and VA bits 20:12 = 1.
    expect(output.stdout).toBe(`cr3_cpu0: 0x1010, write by the user
  x86-64, 4 levels, root 0x1000, WP, NXE, SMEP, SMAP

stage 1 level 4: table 0x1000 index 0, entry at 0x1000
  0x2007: next table at 0x2000; R/W=1 (writable); U/S=1 (user); A=0 (not accessed); NX=0 (executable)
stage 1 level 3: table 0x2000 index 0, entry at 0x2000
  0x3007: next table at 0x3000; R/W=1 (writable); U/S=1 (user); A=0 (not accessed); NX=0 (executable)
stage 1 level 2: table 0x3000 index 0, entry at 0x3000
  0x4007: next table at 0x4000; R/W=1 (writable); U/S=1 (user); A=0 (not accessed); NX=0 (executable)
stage 1 level 1: table 0x4000 index 1, entry at 0x4008
  0x11005: maps 0x11000; R/W=0 (read-only); U/S=1 (user); A=0 (not accessed); D=0 (clean); NX=0 (executable)

permission at level 1
  page fault (#PF), error code 0x7, P (present), W (write), U (user)
`);
  });

  it('puts stage 2 under the stage-1 step that it serves, and names the IPA that it refuses', async () => {
    await run('explain', arm, '--va', '0x200000', '--root', 'ttbr0_cpu0');
    expect(output.stdout).toMatch(
      /^stage 1 level 2: table 0x20000 index 1, entry at 0x20008, IPA 0x11008, through stage 2:\n(    stage 2 level [123].*\n      0x.*\n){3}  0x13003: next table at IPA 0x13000\b/m,
    );
    expect(output.stdout).toMatch(
      /^IPA 0x13000 through stage 2:\n(    stage 2 .*\n      .*\n){2}    stage 2 level 3: table 0x102000 index 19, entry at 0x102098\n      0x0: not valid\n/m,
    );
    // HPFAR_EL2 holds IPA[51:12] from bit 4 on.
    expect(output.stdout).toMatch(
      /^s2-fault-on-s1-walk at level 3\n  ESR.FSC 0x07: translation fault, level 3\n  ESR.S1PTW 1.*\n  IPA 0x13000, HPFAR_EL2 0x130\n$/m,
    );
  });

  it('gives no HPFAR_EL2 for a permission fault of the final IPA', async () => {
    await run('explain', arm, '--va', '0x1000', '--root', 'ttbr0_cpu0', '--access', 'w');
    // FSC: permission 0b0011LL at level 3.
    expect(output.stdout).toMatch(
      /^permission at level 3\n  ESR.FSC 0x0f: permission fault, level 3\n  ESR.S1PTW 0\n  IPA 0x31000\n$/m,
    );
  });

  it('without --root explains through every root that covers the address, equal ones together', async () => {
    await run('explain', arm, '--va', '0x123', '--json');
    const [only, ...others] = JSON.parse(output.stdout);
    expect(others).toEqual([]);
    expect(only).toMatchObject({ roots: ['ttbr0_cpu0', 'ttbr0_cpu1'], status: 'ok', pa: '0x50123', access: null });
    // Three stage-1 descriptors, then the last access.
    expect(only.steps.map((step: { ipa: string; stage1: object | null }) => [step.ipa, step.stage1 !== null])).toEqual([
      ['0x10000', true],
      ['0x11000', true],
      ['0x12000', true],
      ['0x30123', false],
    ]);
    expect(only.steps[2].stage1).toMatchObject({ kind: 'leaf', address: '0x30000', fields: { AF: 1, 'AP[2:1]': 1 } });
  });

  it('says so when no table covers the address', async () => {
    await run('explain', arm, '--va', '0x8000000000');
    expect(output.stdout).toMatch(/no table covers the address: nothing is read\n\nfault at level 0\n  ESR.FSC 0x04/);
    await run('explain', x86, '--va', '0x1000000000000');
    expect(output.stdout).toMatch(/noncanon at level 0\n  general-protection exception/);
  });
});
