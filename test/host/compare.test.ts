// nodewalk compare: the two sides, their differences and gains, and what it says when they do not fit.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { register } from '../../host/commands/compare.js';
import { comparePhases, compareTotals, differences, readSide } from '../../host/compare.js';
import { bytes, nanoseconds, number, percent } from '../../host/format.js';
import { type Summary } from '../../host/results/summary.js';
import { table } from '../../host/table.js';
import { InputError, UsageError } from '../../traces/errors.js';
import { writeReplay, writeSweep } from './report/synthetic.js';

const root = mkdtempSync(join(tmpdir(), 'nodewalk-compare-'));
afterAll(() => rmSync(root, { recursive: true }));
afterEach(() => vi.restoreAllMocks());
const dirA = join(root, 'a');
const dirB = join(root, 'b');
const sweep = join(root, 'sweep');
const a = writeReplay(dirA);
const b = writeReplay(dirB, 'x86-64-kernel', { pageSize: '2M', ways: 12, tables: 'first-touch' });
writeSweep(sweep, { traces: ['x86-64-kernel'], keys: ['ways'] });

/** A copy with totals and phases replaced where given. */
function withCycles(summary: Summary, total: number, own: number): Summary {
  const cycles = { ...summary.totals.cycles, total };
  const phases = summary.phases.map((phase) => ({ ...phase, cycles: { ...phase.cycles, total, own } }));
  return { ...summary, totals: { ...summary.totals, cycles }, phases };
}

/** What the command prints. */
function run(...args: string[]): { out: string; err: string } {
  const written = { out: '', err: '' };
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((written.out += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((written.err += String(text)), true));
  const program = new Command().exitOverride();
  register(program);
  program.parse(['compare', ...args], { from: 'user' });
  vi.restoreAllMocks();
  return written;
}

describe('values', () => {
  test('differ by B - A, relate by B / A, cycles by both gains', () => {
    const [row] = compareTotals(withCycles(a, 1200, 0), withCycles(a, 1000, 0), 'cycles.total');
    // 1000 - 1200 = -200; 1000 / 1200 = 0.8333; 1200 / 1000 - 1 = 0.2; 1 - 1000 / 1200 = 0.1667.
    expect(row).toMatchObject({ a: 1200, b: 1000, difference: -200, unit: 'cycles' });
    expect(row.ratio).toBeCloseTo(0.83333, 5);
    expect(row.gain?.speedup).toBeCloseTo(0.2, 12);
    expect(row.gain?.saved).toBeCloseTo(1 / 6, 12);
  });

  test('cover every counter; only cycles have gains', () => {
    const rows = compareTotals(a, b);
    expect(rows.find(({ metric }) => metric === 'tlb.l1d.miss')).toMatchObject({
      a: a.totals.tlb.l1d.miss,
      b: b.totals.tlb.l1d.miss,
      gain: null,
    });
    expect(rows.filter(({ gain }) => gain).every(({ metric }) => metric.startsWith('cycles.'))).toBe(true);
  });

  test('are null where a side lacks the counter or the ratio divides by zero', () => {
    const { l1i, l1d } = b.totals.tlb;
    const rows = compareTotals(a, { ...b, totals: { ...b.totals, tlb: { l1i, l1d } } });
    const lacking = { a: a.totals.tlb.l2.miss, b: null, difference: null, ratio: null };
    expect(rows.find(({ metric }) => metric === 'tlb.l2.miss')).toMatchObject(lacking);
    expect(rows.find(({ metric }) => metric === 'walk.updates')).toMatchObject({
      a: 0,
      b: 0,
      difference: 0,
      ratio: null,
    });
  });

  test('of phases are matched by number, and the gain is that of the own CPU', () => {
    const after = withCycles(a, 900, 400);
    const rows = comparePhases(withCycles(a, 1000, 500), { ...after, phases: after.phases.slice(1) }, 'cycles.total');
    expect(rows).toHaveLength(16);
    expect(rows[0]).toMatchObject({ phase: 272, name: 'fork/1 node 0', cpu: 1, a: 1000, b: null, gain: null });
    // Own cycles: 500 / 400 - 1 = 0.25.
    expect(rows[1]).toMatchObject({ phase: 273, cpu: 3, a: 1000, b: 900 });
    expect(rows[1].gain?.speedup).toBeCloseTo(0.25, 12);
  });
});

describe('sides', () => {
  test('are a file, a replay directory or a cell of a sweep', () => {
    expect(readSide(dirA)).toEqual(readSide(join(dirA, 'summary.json')));
    const { config } = readSide(`${sweep}#2`);
    expect(config).toMatchObject({ machine: { tlb: { l2: [{ ways: 12 }] } } });
  });

  test('that cannot be read are errors', () => {
    expect(() => readSide(join(root, 'none'))).toThrow(InputError);
    expect(() => readSide(sweep)).toThrow(`${sweep} is a sweep: name one of its cells, for example ${sweep}#0`);
    expect(() => readSide(`${sweep}#4`)).toThrow(`${sweep} has no cell "4": its cells are 0 to 3`);
    const damaged = join(root, 'damaged.json');
    writeFileSync(damaged, '{"schema":"nodewalk.summary/1"}');
    expect(() => readSide(damaged)).toThrow(`${damaged}: key trace: expected a summary`);
  });
});

describe('differences', () => {
  test('name the configuration keys', () => {
    expect(differences(a, a)).toEqual([]);
    expect(differences(a, b)).toEqual(['the configurations differ in paging.pageSize.default']);
  });

  test('name other traces by hash, else by records', () => {
    const other = { ...a, trace: { ...a.trace, sha256: 'ff', path: 'other.arrow' } };
    expect(differences(a, other)[0]).toContain('the traces differ: SHA-256');
    const longer = { ...a, trace: { path: 'long.arrow', records: 7, sha256: null } };
    expect(differences(a, longer)).toEqual([
      `the traces differ: ${a.trace.records} records (traces/x86-64-kernel.arrow) and 7 records (long.arrow)`,
    ]);
  });
});

describe('the command', () => {
  test('prints a table on stdout and warnings on stderr', () => {
    const { out, err } = run(dirA, dirB);
    expect(out.split('\n')[0]).toMatch(/^metric +A +B +difference +ratio +T_old\/T_new-1 +1-T_new\/T_old$/);
    const walks = [a, b].map(({ totals }) => totals.walk.count);
    expect(out).toMatch(new RegExp(`^walk\\.count +${number(walks[0])} +${number(walks[1])} +-`, 'm'));
    expect(err).toBe('nodewalk compare: the configurations differ in paging.pageSize.default\n');
  });

  test('adds a row per phase for a metric', () => {
    const { out } = run(dirA, dirB, '--metric', 'walk.remote');
    const lines = out.trimEnd().split('\n');
    // Header, rule, totals; blank; header, rule, sixteen phases.
    expect(lines).toHaveLength(3 + 1 + 2 + 16);
    expect(lines.at(-1)).toMatch(/^ +385 {2}kill node 1 +3 /);
  });

  test('prints JSON with the same values', () => {
    const { totals, phases, warnings } = JSON.parse(run(dirA, dirB, '--metric', 'walk.remote', '--json').out);
    expect(totals).toHaveLength(1);
    expect(totals[0]).toMatchObject({ metric: 'walk.remote', a: a.totals.walk.remote, b: b.totals.walk.remote });
    expect(phases).toHaveLength(16);
    expect(warnings).toHaveLength(1);
  });

  test('an unknown metric is a usage error with the nearest name', () => {
    const unknown = () => run(dirA, dirB, '--metric', 'walk.ref');
    expect(unknown).toThrow(UsageError);
    expect(unknown).toThrow('unknown metric "walk.ref": did you mean "walk.refs"?');
  });
});

test('tables align numbers to the right and keep control characters from the terminal', () => {
  const printed = table(
    [{ name: 'name' }, { name: 'rows' }],
    [
      ['a\u001b[31m', 1234567],
      ['bc', null],
    ],
  );
  expect(printed).toBe(
    ['name         rows', '------  ---------', 'a?[31m  1,234,567', 'bc              -', ''].join('\n'),
  );
});

test('numbers are written with separators and sensible digits', () => {
  expect([1234567, 0, 12.34567, 0.00012345, 1234.5].map(number)).toEqual([
    '1,234,567',
    '0',
    '12.35',
    '0.0001235',
    '1,235',
  ]);
  expect([0, 0.1234, 0.01234, 0.0001, 12.5].map((share) => percent(share))).toEqual([
    '0%',
    '12.3%',
    '1.23%',
    '0.010%',
    '1,250%',
  ]);
  expect([0.5, -0.5, 0].map((share) => percent(share, true))).toEqual(['+50.0%', '-50.0%', '0%']);
  expect([85, 1500, 2.5e9].map(nanoseconds)).toEqual(['85 ns', '1.5 µs', '2.5 s']);
  expect([512, 3 * 2 ** 20].map(bytes)).toEqual(['512 B', '3 MiB']);
});
