// What reports show of profiling: shares and sums of its counters, and nothing where nothing was profiled.

import { expect, test } from 'vitest';
import { SPE_METRICS } from '../../../host/report/speMetrics.js';

const profiled = {
  'cycles.total': 10_000,
  'cycles.maintenance': 3000,
  'spe.samples': 60,
  'spe.lost': 30,
  'spe.missed': 10,
  'spe.blackout': 2500,
  'spe.pinnedMax': 8192,
  'spe.kernelMax': 4096,
};

test('blackout of all cycles, samples gone of those due, memory, cycles for each sample', () => {
  // 2500 / 10000; (30 + 10) / (30 + 10 + 60); 3000 / 60
  expect(SPE_METRICS.map(({ value }) => value(profiled))).toEqual([0.25, 0.4, 8192, 4096, 50]);
});

test('nothing without profiling', () => {
  expect(SPE_METRICS.map(({ value }) => value({ 'cycles.total': 1, 'cycles.maintenance': 1 }))).toEqual([
    ...SPE_METRICS.map(() => null),
  ]);
});
