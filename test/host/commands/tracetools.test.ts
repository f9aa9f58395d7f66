// The commands check, cut and merge as they are called: what goes to stdout, what to stderr, exit codes, what is refused.

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { register as registerCheck } from '../../../host/commands/check.js';
import { register as registerCut } from '../../../host/commands/cut.js';
import { register as registerInfo } from '../../../host/commands/info.js';
import { register as registerMerge } from '../../../host/commands/merge.js';
import { type ColumnName } from '../../../traces/batch.js';
import { INVARIANTS } from '../../../traces/check/findings.js';
import { MAP_OPTIONS, MAPPINGS } from '../../../traces/map/index.js';
import { metadataWith } from '../../../traces/metadata.js';
import { TraceReader } from '../../../traces/reader.js';
import { writeTrace } from '../../../traces/writer.js';
import { batchOf, eachOf, rowsOf } from '../../traces/support.js';
import { caughtOutput } from '../output.js';

const folder = mkdtempSync(join(tmpdir(), 'nodewalk-tracetools-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string) => join(folder, name);
const output = caughtOutput();
afterEach(() => void (process.exitCode = undefined));

const columns: ColumnName[] = ['cpu', 'kind', 'va', 'time'];
const rows = Array.from({ length: 10 }, (_, i) => ({ cpu: i % 2, kind: i % 3, va: BigInt(i) << 12n, time: BigInt(i) }));
await writeTrace(path('t.arrow'), columns, eachOf([batchOf(columns, rows)]), () =>
  metadataWith({ clock: 'ns', cpus: 2 }),
);
const bad = [{ cpu: 5, kind: 1, va: 0n, time: 0n }];
await writeTrace(path('bad.arrow'), columns, eachOf([batchOf(columns, bad)]), () => metadataWith({ cpus: 2 }));

async function run(...args: string[]): Promise<void> {
  const program = new Command('nodewalk').exitOverride();
  for (const register of [registerCheck, registerCut, registerInfo, registerMerge]) register(program);
  for (const command of program.commands) command.exitOverride();
  await program.parseAsync(args, { from: 'user' });
}

describe('check', () => {
  it('prints every invariant and what was found, and fails when one is broken', async () => {
    await run('check', path('t.arrow'));
    for (const name of Object.keys(INVARIANTS))
      expect(output.stdout).toMatch(new RegExp(`^${name} +(ok|not checked)`, 'm'));
    expect(output.stdout).toMatch(/10 rows, no invariant is broken\n$/);
    expect(process.exitCode).toBe(undefined);
    await run('check', path('bad.arrow'));
    expect(output.stdout).toMatch(/^cpus +1 violation /m);
    expect(output.stdout).toMatch(/^row 0 +5 +CPU 5 of 2$/m);
    expect(process.exitCode).toBe(1);
  });

  it('prints a document with --json, with as many records as --limit says', async () => {
    await run('check', path('bad.arrow'), '--json', '--limit', '0');
    const report = JSON.parse(output.stdout) as { ok: boolean; invariants: { name: string; first: unknown[] }[] };
    expect(report.ok).toBe(false);
    expect(report.invariants.find(({ name }) => name === 'cpus')).toMatchObject({ violations: 1, first: [] });
    await expect(run('check', path('bad.arrow'), '--limit', 'x')).rejects.toMatchObject({
      code: 'commander.invalidArgument',
    });
  });
});

describe('cut', () => {
  it('combines what it is asked, writes it down, and says how much is left', async () => {
    const filters = [
      '--cpu',
      '0-1',
      '--kind',
      'data',
      '--range',
      '0x1000..0x5000',
      '--range',
      '28k..1m',
      '--skip',
      '1',
    ];
    await run('cut', path('t.arrow'), '-o', path('c.arrow'), ...filters, '--compress', 'lz4');
    // Loads and stores are rows 1, 2, 4, 5, 7, 8; of these 1, 2, 4 and 7, 8 lie in a range; the first is skipped.
    expect((await rowsOf(path('c.arrow'))).map(({ va }) => va)).toEqual([2n, 4n, 7n, 8n].map((page) => page << 12n));
    expect(output.stderr).toMatch(/^nodewalk cut: .*c.arrow: 4 of 10 rows \(40.0%\), /);
    const reader = await TraceReader.open(path('c.arrow'));
    expect(reader.metadata!.filters).toEqual([
      'cut --cpu 0,1 --range 0x1000..0x5000,0x7000..0x100000 --kind data --skip 1',
    ]);
    await reader.close();
  });

  it('writes times down in decimal, addresses in hexadecimal, and nothing to standard output', async () => {
    await run('cut', path('t.arrow'), '-o', path('c.arrow'), '--range', '0..4k', '--time', '0..4k');
    const reader = await TraceReader.open(path('c.arrow'));
    expect(reader.metadata!.filters).toEqual(['cut --range 0x0..0x1000 --time 0..4096']);
    await reader.close();
    await expect(run('cut', path('t.arrow'), '-o', '-')).rejects.toThrow(/-: names a file/);
  });

  it.each([
    [['--cpu', 'x'], /Expected numbers with commas/],
    [['--range', '5..4'], /Expected FROM below TO/],
    [['--range', '1..2..3'], /Expected FROM..TO/],
    [['--pa-range', 'text'], /Expected FROM..TO/],
    [['--every', '0'], /Expected at least 1/],
    [['--window', '5'], /--window and --period go together/],
    [['--window', '5', '--period', '4'], /--window 5 is larger than --period 4/],
    [['--window', '1', '--period', '4', '--every', '2'], /--every, or --window with --period/],
    [['--mode', 'guest-root'], /--mode: expected user, kernel, hypervisor, guest or guest-..., found "guest-root"/],
    [['--asid', '1'], /--asid: .* has no column asid/],
    [['--kind', 'lod'], /--kind: unknown kind "lod"/],
  ])('refuses %j', async (args, message) => {
    const error = await run('cut', path('t.arrow'), '-o', path('no.arrow'), ...args).catch((e: unknown) => e);
    expect((error as Error).message + output.stderr).toMatch(message);
    expect(existsSync(path('no.arrow'))).toBe(false);
  });
});

describe('merge', () => {
  it('merges by time, and refuses names that it cannot keep apart', async () => {
    await run('merge', path('t.arrow'), path('t.arrow'), '-o', path('m.arrow'), '--separate', 'cpus');
    expect(output.stderr).toMatch(/m.arrow: 20 rows of 2 traces/);
    expect((await rowsOf(path('m.arrow'), { to: 4 })).map(({ cpu, time }) => [cpu, time])).toEqual([
      [0, 0n],
      [2, 0n],
      [1, 1n],
      [3, 1n],
    ]);
    await expect(run('merge', path('t.arrow'), '-o', path('m.arrow'), '--separate', 'cpu')).rejects.toMatchObject({
      code: 'commander.invalidArgument',
    });
  });
});

describe('info --reuse', () => {
  it('prints reuse distances, in the document by powers of two', async () => {
    await run('info', path('t.arrow'), '--reuse', '--reuse-lines');
    expect(output.stdout).toMatch(/^reuse distance in pages/m);
    // Ten pages, each touched once.
    expect(output.stdout).toMatch(/^first touch +4 +6 +10 /m);
    output.stdout = '';
    await run('info', path('t.arrow'), '--reuse', '--json');
    const { reuse } = JSON.parse(output.stdout) as { reuse: object };
    const touched = (accesses: number) => ({ accesses, cold: accesses, distances: [] });
    expect(reuse).toEqual({ pages: { fetch: touched(4), data: touched(6), all: touched(10) } });
  });
});

describe('docs/traces.md', () => {
  const text = readFileSync(fileURLToPath(new URL('../../../docs/traces.md', import.meta.url)), 'utf8');

  it('has every invariant, mapping and option of mappings', () => {
    for (const name of [...Object.keys(INVARIANTS), ...MAPPINGS.map((m) => m.name)])
      expect(text).toContain(`| \`${name}\``);
    for (const name of Object.keys(MAP_OPTIONS)) expect(text).toMatch(new RegExp(`\`${name}\`|${name}=`));
  });
});
