// Which varied keys matter to a metric, what each setting does, and the gains behind all of it.

import { describe, expect, test } from 'vitest';
import { cellLabel, effects, relevantKeys, shortKey, values, variesAlone } from '../../../host/report/keys.js';
import { type CellData } from '../../../host/report/sweepData.js';
import { gain, phaseGain } from '../../../host/results/summary.js';

const cell = (number: number, varied: Record<string, unknown>, total: number): CellData => ({
  cell: number,
  name: 't',
  varied,
  config: {},
  flat: { 'cycles.total': total },
  phases: [],
  cpus: [],
});
const total = ({ flat }: CellData) => flat['cycles.total'];

describe('gain', () => {
  test('is T_old/T_new - 1 and 1 - T_new/T_old', () => {
    // 150 / 100 - 1 = 0.5; 1 - 100 / 150 = 1/3.
    expect(gain(150, 100)).toEqual({ speedup: 0.5, saved: 1 - 100 / 150 });
    expect(gain(100, 200)).toEqual({ speedup: -0.5, saved: -1 });
  });

  test('is undefined where it would divide by zero', () => {
    expect(gain(0, 100)).toEqual({ speedup: -1, saved: null });
    expect(gain(100, 0)).toEqual({ speedup: null, saved: 1 });
  });

  test('of a phase uses its own CPU, else the slowest, the same on both sides', () => {
    const critical = { 'cycles.total': 90, 'cycles.critical': 60 };
    const own = { ...critical, 'cycles.own': 40 };
    const half = { 'cycles.total': 80, 'cycles.critical': 30, 'cycles.own': 10 };
    // 40 / 10 - 1; 60 / 30 - 1; 90 / 80 - 1.
    expect(phaseGain(own, half).speedup).toBe(3);
    expect(phaseGain(critical, half).speedup).toBe(1);
    expect(phaseGain({ 'cycles.total': 90 }, half).speedup).toBe(0.125);
  });
});

describe('relevantKeys', () => {
  test('drops a key whose values change nothing', () => {
    const cells = [
      cell(0, { a: 1, b: 1 }, 10),
      cell(1, { a: 1, b: 2 }, 10),
      cell(2, { a: 2, b: 1 }, 20),
      cell(3, { a: 2, b: 2 }, 20),
    ];
    expect(relevantKeys(cells, ['a', 'b'], total, 0)).toEqual(['a']);
  });

  test('drops a key whose differences are within the tolerance, all dropped keys together', () => {
    const cells = [
      cell(0, { a: 1, b: 1 }, 10),
      cell(1, { a: 1, b: 2 }, 11),
      cell(2, { a: 2, b: 1 }, 12),
      cell(3, { a: 2, b: 2 }, 13),
    ];
    // b alone changes 1, a and b together 3.
    expect(relevantKeys(cells, ['b', 'a'], total, 1)).toEqual(['a']);
    expect(relevantKeys(cells, ['b', 'a'], total, 3)).toEqual([]);
  });

  test('keeps one of the keys that were varied together', () => {
    const cells = [cell(0, { a: 1, b: 1 }, 10), cell(1, { a: 2, b: 2 }, 20)];
    expect(relevantKeys(cells, ['a', 'b'], total, 0)).toEqual(['b']);
    expect(variesAlone(cells, ['a', 'b'], 'a')).toBe(false);
    expect(variesAlone([...cells, cell(2, { a: 1, b: 2 }, 5)], ['a', 'b'], 'a')).toBe(true);
  });
});

test('effects compare cells that differ in one key', () => {
  const cells = [
    cell(0, { a: 1, b: 'x' }, 200),
    cell(1, { a: 1, b: 'y' }, 100),
    cell(2, { a: 2, b: 'x' }, 100),
    cell(3, { a: 2, b: 'y' }, 80),
  ];
  const trace = { path: 't', name: 't', records: 1 };
  const [ofA, ofB, ...none] = effects({ title: 't', trace, part: 0, cells, baseline: cells[0] }, ['a', 'b']);
  expect(none).toEqual([]);
  // a 1 -> 2: 200/100 = 2 and 100/80 = 1.25; sqrt(2 x 1.25) = 1.5811.
  expect(ofA).toMatchObject({ key: 'a', from: 1, to: 2, least: 0.25, most: 1, pairs: 2 });
  expect(ofA.mean).toBeCloseTo(Math.sqrt(2.5) - 1, 12);
  // b x -> y: 200/100 = 2 and 100/80 = 1.25 as well.
  expect(ofB).toMatchObject({ key: 'b', from: 'x', to: 'y', least: 0.25, most: 1, pairs: 2 });
});

test('keys that only change together have no effect of their own', () => {
  const cells = [cell(0, { a: 1, b: 1 }, 10), cell(1, { a: 2, b: 2 }, 20)];
  expect(
    effects({ title: 't', trace: { path: 't', name: 't', records: 1 }, part: 0, cells, baseline: cells[0] }, [
      'a',
      'b',
    ]),
  ).toEqual([]);
});

test('labels are short, and long where short ones would be the same', () => {
  const keys = ['machine.tlb.l2.ways', 'memory.tables', 'replay.tables'];
  expect(keys.map((key) => shortKey(key, keys))).toEqual(['tlb.l2.ways', 'memory.tables', 'replay.tables']);
  expect(cellLabel({ a: { node: 1 }, b: null, c: '4K' }, ['a', 'b', 'c'])).toBe('{node:1} · none · 4K');
  // TLB arrays read as people write them: sets x ways, and the sizes where they are stated.
  const l2 = [
    { sets: 128, ways: 8, pages: ['4K', '2M'] },
    { sets: 1, ways: 16, pages: null },
  ];
  expect(cellLabel({ l2 }, ['l2'])).toBe('128×8 4K/2M + 1×16');
});

test('numbers are in ascending order, names as listed', () => {
  const cells = [cell(0, { n: 16, s: 'z' }, 1), cell(1, { n: 4, s: 'a' }, 1), cell(2, { n: 16, s: 'z' }, 1)];
  expect(values(cells, 'n')).toEqual([4, 16]);
  expect(values(cells, 's')).toEqual(['z', 'a']);
});
