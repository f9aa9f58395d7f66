// The sweep as a user runs it: the built command line, Ctrl-C, resuming.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../../host/paths.js';
import { readManifest } from '../../../host/results/manifest.js';
import { cellFiles, makeExperiment, makeTrace, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const CELLS = 24;
let experiment: string;
let uninterrupted: Buffer;

// Random pages that no TLB holds, long enough for a task to take some tenths of a second.
beforeAll(async () => {
  await makeTrace(join(folder, 'long.arrow'), { rows: 200_000, pages: 50_000 });
  const ways = Array.from({ length: CELLS }, (_, i) => i + 1);
  experiment = makeExperiment(folder, { traces: ['long.arrow'], vary: { 'machine.tlb.l2.ways': ways } }, 'long');
  const whole = join(folder, 'whole');
  expect((await nodewalk('sweep', experiment, '-o', whole, '--jobs', '2', '--no-report').ended).code).toBe(0);
  uninterrupted = readFileSync(join(whole, 'results.arrow'));
});

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

function nodewalk(...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [join(packageRoot(), 'dist/host/cli.js'), ...args]);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text) => (stdout += text));
  child.stderr.on('data', (text) => (stderr += text));
  const ended = new Promise<Ended>((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
  return { child, ended };
}

describe('nodewalk sweep', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('keeps what is done at %s and resumes to the same results', async (signal, code) => {
    const dir = join(folder, signal);
    const args = ['sweep', experiment, '-o', dir, '--jobs', '1', '--no-report'];
    const { child, ended } = nodewalk(...args);
    while (!(existsSync(join(dir, 'cells')) && cellFiles(dir).some((name) => name.endsWith('.json')))) await wait(5);
    child.kill(signal);
    const stopped = await ended;
    expect(stopped.code).toBe(code);
    expect(stopped.stdout).toBe('');
    expect(stopped.stderr).toMatch(/interrupted: \d+ of 24 cells are in .*; the same command does the rest/);
    const done = readManifest(dir).cells.filter((cell) => cell.done).length;
    // One worker replays eight cells in a pass.
    expect(done).toBeGreaterThanOrEqual(8);
    expect(done).toBeLessThan(CELLS);
    expect(cellFiles(dir)).toHaveLength(done);
    expect(readdirSync(dir).sort()).toEqual(['cells', 'manifest.json']);

    const resumed = await nodewalk(...args).ended;
    expect(resumed.code).toBe(0);
    expect(resumed.stderr).toMatch(`${done} of 24 cells were there already`);
    expect(readFileSync(join(dir, 'results.arrow')).equals(uninterrupted)).toBe(true);
  });

  it('prints a row for each cell, or only JSON, and writes the report', async () => {
    await makeTrace(join(folder, 'short.arrow'), { phases: true });
    const short = makeExperiment(folder, { traces: ['short.arrow'], vary: { 'machine.tlb.l2.ways': [1, 2] } }, 'short');
    const dir = join(folder, 'short');
    const { code, stdout, stderr } = await nodewalk('sweep', short, '-o', dir).ended;
    expect(code).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(4); // header, rule, two cells
    expect(stdout).toMatch(/baseline/);
    expect(stderr).toMatch('report.html');
    expect(readFileSync(join(dir, 'report.html'), 'utf8')).toMatch(/^<!doctype html>/i);

    const again = await nodewalk('sweep', short, '-o', dir, '--json').ended;
    const { manifest, cells } = JSON.parse(again.stdout) as { manifest: { vary: string[] }; cells: object[] };
    expect(manifest.vary).toEqual(['machine.tlb.l2.ways']);
    expect(cells).toHaveLength(2);
    expect(cells[0]).toMatchObject({
      cell: 0,
      trace: 'short',
      gain: { speedup: 0, saved: 0 },
      totals: { access: { load: 1998 } },
    });
  });

  it('exits with 1 when cells failed and with 2 for a wrong command line', async () => {
    await makeTrace(join(folder, 'bad.arrow'), { badRow: 10 });
    const bad = makeExperiment(folder, { traces: ['bad.arrow'] }, 'bad');
    const { code, stderr } = await nodewalk('sweep', bad, '-o', join(folder, 'bad')).ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/cell 0: .*bad\.arrow: record 10: expected a kind of row/);
    expect((await nodewalk('sweep', bad, '--jobs', '0').ended).code).toBe(2);
    expect((await nodewalk('sweep', 'no-such-experiment').ended).code).toBe(2);
  });
});
