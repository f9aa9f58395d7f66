// Experiments: reading, expanding to cells, baselines, errors that name the cell.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  type Cell,
  expand,
  experimentNames,
  loadExperiment,
  parseExperiment,
} from '../../../host/config/experiment.js';
import { resolveConfig } from '../../../host/config/load.js';
import { packageRoot } from '../../../host/paths.js';

const folder = mkdtempSync(join(tmpdir(), 'nodewalk-experiment-'));
afterAll(() => rmSync(folder, { recursive: true }));

const path = join(folder, 'experiment.yaml');
const cells = (doc: object): Cell[] => expand(parseExperiment({ traces: ['a.arrow'], ...doc }, path));
const ways = 'machine.tlb.l2.ways';
const tables = 'memory.tables';

describe('expanding', () => {
  test('no varied key gives one cell per trace', () => {
    const config: unknown = expect.anything();
    expect(cells({ traces: ['a.arrow', '/b.arrow'] })).toEqual([
      { index: 0, name: 'a', trace: join(folder, 'a.arrow'), part: 0, varied: {}, config, baseline: 0 },
      { index: 1, name: 'b', trace: '/b.arrow', part: 0, varied: {}, config, baseline: 1 },
    ]);
  });

  test('vary is the product, the first key slowest, traces outermost', () => {
    const result = cells({
      traces: ['a.arrow', 'b.arrow'],
      vary: { [ways]: [4, 8], [tables]: ['local', { node: 1 }] },
    });
    const product = [
      { [ways]: 4, [tables]: 'local' },
      { [ways]: 4, [tables]: { node: 1 } },
      { [ways]: 8, [tables]: 'local' },
      { [ways]: 8, [tables]: { node: 1 } },
    ];
    expect(result.map(({ varied }) => varied)).toEqual([...product, ...product]);
    expect(result.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(result[3].config.machine.tlb.l2![0].ways).toBe(8);
    expect(result[3].config.memory.tables).toEqual({ node: 1 });
  });

  test('zip walks its lists together, for every combination of vary', () => {
    const result = cells({ zip: { [ways]: [4, 8], 'machine.tlb.l2.sets': [64, 32] }, vary: { 'machine.cpi': [1, 2] } });
    const l2 = result.map(({ config }) => [
      config.machine.cpi,
      config.machine.tlb.l2![0].sets,
      config.machine.tlb.l2![0].ways,
    ]);
    expect(l2).toEqual([
      [1, 64, 4],
      [1, 32, 8],
      [2, 64, 4],
      [2, 32, 8],
    ]);
  });

  test('varied keys of a cell are one document: their order does not matter', () => {
    const vary = {
      'paging.granule': ['16K'],
      'paging.format': ['arm64'],
      'machine.topology': ['trace'],
      'machine.nodes': [2],
    };
    const [{ config }] = cells({ vary });
    expect(config.paging).toMatchObject({ format: 'arm64', granule: '16K' });
    expect(config.machine).toMatchObject({ topology: 'trace', nodes: 2 });
  });

  test('config and extends choose the machine of a cell', () => {
    const nodes = (doc: object) => cells(doc).map(({ config }) => config.machine.nodes);
    expect(nodes({ vary: { extends: ['haswell-ep', 'mitosis-4s'] } })).toEqual([2, 4]);
    expect(nodes({ vary: { config: ['haswell-ep', { machine: { nodes: 3 } }] } })).toEqual([2, 3]);
  });

  test('the base configuration is a preset, a file beside the experiment, or inline', () => {
    writeFileSync(join(folder, 'base.yaml'), 'machine: { nodes: 5 }');
    const nodes = (config: unknown) => cells({ config })[0].config.machine.nodes;
    expect(nodes('haswell-ep')).toBe(2);
    expect(nodes('base.yaml')).toBe(5);
    expect(nodes({ machine: { nodes: 6 } })).toBe(6);
  });

  test('samples come with the package', () => {
    expect(cells({ traces: ['samples/x.arrow'] })[0].trace).toBe(join(packageRoot(), 'traces/samples/x.arrow'));
  });
});

describe('the baseline', () => {
  const vary = { [ways]: [4, 8], [tables]: ['first-touch', { node: 0 }] };
  const traces = ['a.arrow', 'b.arrow'];

  test('is the first value of each key by default, for each trace', () => {
    expect(cells({ traces, vary }).map(({ baseline }) => baseline)).toEqual([0, 0, 0, 0, 4, 4, 4, 4]);
  });

  test('takes the values that it names and the first of the others', () => {
    // Rows: 4 first-touch, 4 node 0, 8 first-touch, 8 node 0.
    expect(cells({ traces, vary, baseline: { [ways]: 8 } }).map(({ baseline }) => baseline)).toEqual([
      2, 2, 2, 2, 6, 6, 6, 6,
    ]);
    expect(cells({ vary, baseline: { [tables]: { node: 0 } } })[0].baseline).toBe(1);
  });

  test('null is none', () => {
    expect(cells({ vary, baseline: null })[0].baseline).toBeNull();
  });

  test.each([
    [
      { 'machine.tlb.l2.way': 8 },
      /baseline\.machine\.tlb\.l2\.way: expected a varied key; did you mean machine\.tlb\.l2\.ways\?/,
    ],
    [{ [ways]: 5 }, /baseline\.machine\.tlb\.l2\.ways: expected one of \[4,8\], found 5/],
  ])('%o is refused', (baseline, message) => {
    expect(() => cells({ vary, baseline })).toThrow(message);
  });

  test('must be one step of zip', () => {
    const zip = { [ways]: [4, 8], 'machine.cpi': [1, 2] };
    expect(() => cells({ zip, baseline: { [ways]: 4, 'machine.cpi': 2 } })).toThrow(/one step of zip/);
  });
});

describe('errors', () => {
  test.each<[object, RegExp]>([
    [{ varry: {} }, /experiment\.yaml: varry: unknown key; did you mean vary\?/],
    [{ traces: [] }, /experiment\.yaml: traces: expected a list/],
    [{ vary: { [ways]: 4 } }, /vary\.machine\.tlb\.l2\.ways: expected a list, found 4/],
    [{ vary: { [ways]: [] } }, /vary\.machine\.tlb\.l2\.ways: expected a list whose length is at least 1/],
    [
      { zip: { [ways]: [1, 2], [tables]: ['local'] } },
      /equal length, found machine\.tlb\.l2\.ways has 2, memory\.tables has 1/,
    ],
    [{ zip: { [ways]: [1] }, vary: { [ways]: [1] } }, /machine\.tlb\.l2\.ways is in both vary and zip/],
    [{ vary: { [ways]: [1], 'machine.tlb': [{}] } }, /machine\.tlb contains machine\.tlb\.l2\.ways/],
    [
      { vary: { [ways]: [4, 2000] } },
      /cell 1, machine\.tlb\.l2\.ways = 2000: .*machine\.tlb\.l2\.ways: expected at most 1024/,
    ],
    [{ vary: { 'machine.tlb.l2.wayz': [4] } }, /cell 0, .*unknown key; did you mean machine\.tlb\.l2\.ways\?/],
    [{ config: 'haswel' }, /cell 0: .*did you mean haswell-ep\?/],
  ])('%o', (doc, message) => {
    expect(() => cells(doc)).toThrow(message);
  });

  test('an experiment that does not exist names the nearest', () => {
    expect(() => loadExperiment('demoo')).toThrow(/"demoo", which is neither; did you mean demo\?/);
  });
});

test.each(experimentNames())(
  'the experiment %s that ships expands to configurations that differ, at least 12 per trace',
  (name) => {
    const experiment = loadExperiment(name);
    const result = expand(experiment);
    // One that measures published numbers has the cells that they need.
    if (experiment.published.length === 0) expect(result.length).toBeGreaterThanOrEqual(12 * experiment.traces.length);
    for (const { config } of result) expect(resolveConfig(config, name)).toEqual(config);
    // All configurations differ: nothing varies in vain.
    for (const { name } of experiment.traces) {
      const own = result.filter((cell) => cell.name === name);
      expect(new Set(own.map(({ config }) => JSON.stringify(config))).size).toBe(own.length);
    }
  },
);
