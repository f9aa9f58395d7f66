// Measuring published cases: every kind of measure on cells with chosen cycles, bands, the CSV file, and the section of the
// report.

import { describe, expect, test } from 'vitest';
import { publishedSchema } from '../../../host/config/published.js';
import { type Measured, measurePublished } from '../../../host/report/published.js';
import { publishedSection } from '../../../host/report/publishedSection.js';
import { type Flat } from '../../../host/results/summary.js';
import { type CellData, type SweepData } from '../../../host/report/sweepData.js';
import { publishedCsv, publishedTable } from '../../../host/sweep/published.js';

/**
 * A cell whose phase 1 takes `own` cycles of its CPU, phase 2 ten, its CPU 3 twice `own`, all together 1,000. Maintenance in phase 2 takes
 * 3,000 cycles less 10 for each of `own`, with 4 interrupts of two kinds, and 8 stores.
 */
const cell = (number: number, system: string, own: number): CellData => ({
  cell: number,
  name: 't',
  varied: { 'system.name': system },
  config: { machine: { clockGHz: 2, latency: { localNs: 100, remoteNs: 150 } } },
  flat: { 'cycles.total': 1000, 'table.bytes': 8192, 'table.purpose.replicaTables': 4096, 'table.replicaBytes': 2048 },
  phases: [
    { phase: 1, name: 'fork', cpu: 3, flat: { 'cycles.total': 999, 'cycles.critical': 998, 'cycles.own': own } },
    {
      phase: 2,
      name: 'open',
      cpu: 3,
      flat: { 'cycles.total': 999, 'cycles.critical': 998, 'cycles.own': 10, ...eventsOf(own) },
    },
  ],
  cpus: [{ cpu: 3, flat: { 'cycles.total': 2 * own } }],
});

const eventsOf = (own: number): Flat => ({
  ...{ 'cycles.maintenance': 3000 - 10 * own, 'maintenance.tableStore': 8 },
  ...{ 'maintenance.ipi.textPoke': 1, 'maintenance.ipi.stopMachine': 3 },
});

function measured(...published: object[]): Measured[] {
  const manifest = {
    ...{ schema: 'nodewalk.sweep/1' as const, vary: ['system.name'], traces: [], cells: [] },
    published: published.map((entry) => publishedSchema.parse({ row: 'T1', ...entry })),
  };
  const trace = { path: 't.arrow', name: 't', records: 1 };
  const cells = [cell(0, 'none', 150), cell(1, 'half', 100), cell(2, 'best', 75)];
  const data: SweepData = {
    manifest,
    traces: [{ title: 't', trace, part: 0, cells, baseline: null }],
    missing: [],
    versions: [],
  };
  return measurePublished(data);
}

const gain = (of: string, more: object = {}) => ({
  ...{ gain: 'speedup', trace: 't', phase: 1 },
  ...{ of: { 'system.name': of }, over: { 'system.name': 'none' }, ...more },
});
const half = { case: 'half', measure: gain('half') };
const best = { case: 'best', measure: gain('best') };
const values = (...published: object[]) => measured(...published).map((entry) => entry.measured);

describe('a gain', () => {
  test('is in percent of the cycles of the CPU that owns the phase, by either definition', () => {
    // 150 / 100 - 1 and 1 - 100 / 150.
    expect(values(half, { case: 's', measure: gain('half', { gain: 'saved' }) })).toEqual([50, 100 * (1 - 100 / 150)]);
    expect(measured(half)[0].gain).toEqual({ speedup: 0.5, saved: 1 - 100 / 150 });
  });

  test('of several phases takes the sum of their cycles', () => {
    // (150 + 10) / (75 + 10) - 1.
    expect(values({ measure: gain('best', { phase: [1, 2] }) })).toEqual([100 * (160 / 85 - 1)]);
  });

  test('of a CPU, or of the whole trace, takes its cycles', () => {
    // 300 / 150 - 1; 1000 / 1000 - 1.
    expect(values({ measure: gain('best', { phase: undefined, cpu: 3 }) })).toEqual([100]);
    expect(values({ measure: gain('best', { phase: undefined }) })).toEqual([0]);
  });

  test('is none where the trace does not have the phase or the CPU', () => {
    expect(values({ measure: gain('best', { phase: [1, 7] }) })).toEqual([null]);
    expect(values({ measure: gain('best', { phase: undefined, cpu: 9 }) })).toEqual([null]);
  });
});

test('an order is 1 when its cases strictly descend', () => {
  // half gains 50 %, best 100 %.
  const order = (...names: string[]) => ({ case: names.join(), measure: { order: names } });
  expect(values(half, best, order('best', 'half'), order('half', 'best'), order('half', 'half')).slice(2)).toEqual([
    1, 0, 0,
  ]);
});

test('ratio, cut and median are those of the cases before them', () => {
  const none = { case: 'none', measure: gain('none') };
  const results = values(
    half,
    best,
    none,
    { case: 'r', measure: { ratio: ['best', 'half'] } },
    { case: 'c', measure: { cut: ['best', 'half'] } },
    { case: 'm3', measure: { median: ['best', 'none', 'half'] } },
    { case: 'm2', measure: { median: ['best', 'none'] } },
    { case: 'nothing to cut', measure: { cut: ['none', 'half'] } },
    { case: 'nothing to divide by', measure: { ratio: ['half', 'none'] } },
  );
  // 100 / 50; from 100 to 50 is a half less; of 0, 50 and 100; of 0 and 100.
  expect(results.slice(3)).toEqual([2, 50, 50, 50, null, null]);
});

describe('events per second', () => {
  const perSecond = (of: string, measure: object = {}) => {
    const { gain: _, ...pair } = gain(of);
    return { case: `events of ${of}`, measure: { ...pair, perSecond: 'half', phase: 2, events: 4, ...measure } };
  };

  test('take as many cycles as the case saves', () => {
    // Cell half saves 1 - 100/150 = 1/3 of 2e9 cycles a second. Its phase 2 takes 3000 - 1000 cycles of maintenance, that of none
    // 3000 - 1500: 500 more for 4 events, 125 each. 2e9 / 3 / 125. Cell best: 750 more, 187.5 each.
    const [, ofHalf, ofBest] = values(half, perSecond('half'), perSecond('best'));
    expect(ofHalf).toBeCloseTo(2e9 / 3 / 125, 6);
    expect(ofBest).toBeCloseTo(2e9 / 3 / 187.5, 6);
  });

  test('are none where nothing is saved, the events cost no more, or the phase is not there', () => {
    const none = { case: 'none', measure: gain('none') };
    expect(
      values(half, none, perSecond('best', { perSecond: 'none' }), perSecond('none'), {
        ...perSecond('half', { phase: 7 }),
      }).slice(2),
    ).toEqual([null, null, null]);
  });

  test('stand in a table with what an event costs', async () => {
    const at = { table: 'Costs: Xeon', line: 'fork', column: 'gain of half' };
    const page = await publishedSection(measured(half, { ...perSecond('half'), at }));
    const cells = (system: string) => {
      const row = new RegExp(`<td class="wraps">fork</td><td>${system}</td>(.*?)</tr>`).exec(page!.text)![1];
      return row.split('</td>').map((cell) => cell.replace(/<[^>]*>/, ''));
    };
    expect(page!.text).toContain('<h3>Costs: Xeon</h3>');
    expect(page!.text).toContain('colspan="9">One event</th>');
    // Of 4 events: 1500 and 2000 cycles, 8 stores, 1 + 3 interrupts. Then 125 more, the bytes, 2e9 / 3 / 125.
    expect(cells('none')).toEqual(['375', '2', '0', '0', '1', '0', '0', '0', '-', '8,192', '4,096', '2,048', '-', '']);
    expect(cells('half').slice(0, 2)).toEqual(['500', '2']);
    expect(cells('half').slice(8)).toEqual(['125', '8,192', '4,096', '2,048', '5,333,333', '']);
  });
});

test('a pool needs no cell', () => {
  expect(values({ measure: { pool: { memoryBytes: '1G', pageBytes: '4K', levels: 5 } } })).toEqual([1048]);
});

test('a band includes its ends; nothing measured is outside of it; without one there is no verdict', () => {
  const inBand = (more: object) => measured({ ...half, ...more })[0].inBand;
  expect(inBand({ low: 50, high: 60 })).toBe(true);
  expect(inBand({ low: 40, high: 50 })).toBe(true);
  expect(inBand({ low: 50.1 })).toBe(false);
  expect(inBand({ high: 49.9 })).toBe(false);
  expect(inBand({})).toBeNull();
  expect(measured({ measure: gain('best', { phase: 7 }), low: 0 })[0].inBand).toBe(false);
});

test('published.csv quotes what needs it, and leaves empty what there is not', () => {
  const cases = measured(
    { case: 'fork "1", hot', measure: gain('half'), published: 42.7, low: 20, high: 55 },
    { case: 'lost', measure: gain('best', { phase: 7 }) },
  );
  expect(publishedCsv(cases)).toBe(
    'row,case,measured,published,low,high,inBand\nT1,"fork ""1"", hot",50,42.7,20,55,true\nT1,lost,,,,,\n',
  );
  expect(publishedTable(cases)).toMatch(/T1 +fork "1", hot +50\.00 +42\.7 +20 +55 +% +yes\n/);
});

describe('the section of the report', () => {
  const at = (line: string, column: string) => ({ at: { table: 'Xeon, node 1', line, column } });

  test('has a line per test, both gains, the band, and says in words what is out of it', async () => {
    const page = await publishedSection(
      measured(
        { ...at('fork', 'hot'), measure: gain('half'), published: 10.8, low: 0, high: 12, source: 'a mail' },
        { ...at('fork', 'cold'), measure: gain('best'), published: 142.7, low: 90 },
      ),
    );
    const { text } = page!;
    expect(text).toContain('<h3>Xeon, node 1</h3>');
    // Both gains, what was published, band and verdict for each kind of run, under its name.
    for (const name of ['hot', 'cold']) expect(text).toContain(`colspan="5">${name}</th>`);
    expect(text).toContain('<b>1 of 2</b> cases with a band are inside it; out of band: T1 fork hot, Xeon, node 1');
    for (const written of [
      '+50.0%',
      '+33.3%',
      '10.8%',
      '0 to 12',
      'OUT OF BAND',
      '+100.0%',
      'from 90',
      'inside',
      'a mail',
    ])
      expect(text).toContain(`>${written}<`);
    // Latencies of 100 and 150 ns: at most 150 / 100 - 1 and 1 - 100 / 150.
    expect(text).toContain('speed-up 50.0%, saved 33.3% (memory at 100 ns local, 150 ns remote)');
    expect(text).toMatch(/<figure>.*out of band/s);
  });

  test('has no columns of published numbers and bands for a kind of run that has none', async () => {
    const hot = { ...at('fork', 'hot'), measure: gain('half'), published: 10.8 };
    const { text } = (await publishedSection(measured(hot, { ...at('fork', 'swept'), measure: gain('best') })))!;
    // Both gains and the published number; both gains.
    expect(text).toContain('colspan="3">hot</th>');
    expect(text).toContain('colspan="2">swept</th>');
  });

  test('lists the cases that are in no table', async () => {
    const page = await publishedSection(
      measured({
        case: 'pool',
        measure: { pool: { memoryBytes: '1G', pageBytes: '4K', levels: 5 } },
        published: 1048,
        low: 1048,
        high: 1048,
      }),
    );
    expect(page!.text).toMatch(
      /<td class="wraps">pool<\/td><td class="n" data-v="1048">1,048<\/td>.*<td>pages<\/td><td>inside<\/td>/s,
    );
  });

  test('is not there where nothing was published', async () => {
    expect(await publishedSection([])).toBeNull();
  });
});
