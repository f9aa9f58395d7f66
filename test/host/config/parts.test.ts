// Experiments of several parts, traces that are scenarios, other files for the traces, and the checks of published cases.

import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { expand, parseExperiment, variedKeys, withSets, withTraces } from '../../../host/config/experiment.js';

const file = '/experiments/experiment.yaml';
const parse = (doc: object) => parseExperiment(doc, file);
const ways = 'machine.tlb.l2.ways';
const nodes = 'machine.nodes';

describe('parts', () => {
  const doc = {
    config: { machine: { nodes: 3 } },
    traces: ['a.arrow'],
    parts: [
      { vary: { [ways]: [4, 8] } },
      {
        traces: ['a.arrow', 'b.arrow'],
        config: { machine: { cpus: 4 } },
        vary: { [nodes]: [1, 2] },
        baseline: { [nodes]: 2 },
      },
    ],
  };

  test('follow each other, take what they do not state from the document, and have baselines of their own', () => {
    const cells = expand(parse(doc));
    expect(cells.map(({ name, part, varied, baseline }) => [name, part, varied, baseline])).toEqual([
      ['a', 0, { [ways]: 4 }, 0],
      ['a', 0, { [ways]: 8 }, 0],
      ['a', 1, { [nodes]: 1 }, 3],
      ['a', 1, { [nodes]: 2 }, 3],
      ['b', 1, { [nodes]: 1 }, 5],
      ['b', 1, { [nodes]: 2 }, 5],
    ]);
    expect(cells.map(({ config: { machine } }) => machine.nodes)).toEqual([3, 3, 1, 2, 1, 2]);
    expect(variedKeys(parse(doc))).toEqual([ways, nodes]);
  });

  test('share a trace that several of them name', () => {
    expect(parse(doc).traces.map(({ name }) => name)).toEqual(['a', 'b']);
  });

  test.each<[object, RegExp]>([
    [{ parts: [{ vary: {} }] }, /parts\.0\.traces: expected a list/],
    [{ parts: [{ traces: ['a.arrow'], varry: {} }] }, /parts\.0\.varry: unknown key; did you mean parts\.0\.vary\?/],
    [
      { parts: [{ traces: ['a.arrow'] }, { traces: ['b.arrow', './b.arrow'] }] },
      /parts\.1\.traces: one of them is listed twice/,
    ],
    [{ traces: ['a.arrow'], parts: [{ baseline: { x: 1 } }] }, /parts\.0\.baseline\.x: expected a varied key/],
  ])('%j is refused', (doc, message) => {
    expect(() => expand(parse(doc))).toThrow(message);
  });
});

describe('traces', () => {
  test('that are scenarios are called by them, or by a name', () => {
    const set = { textBytes: '2M' };
    const { traces } = parse({
      traces: [
        { synth: 'db-text', set },
        { synth: 'db-text', name: 'other' },
      ],
    });
    expect(traces.map(({ name, scenario }) => [name, scenario])).toEqual([
      ['db-text', { synth: 'db-text', set }],
      ['other', { synth: 'db-text', set: {} }],
    ]);
    expect(() => parse({ traces: [{ synth: 'fork' }, { synth: 'fork', set }] })).toThrow(/two are called "synth:fork"/);
  });

  test('of the same name are called as they are given', () => {
    const { traces } = parse({ traces: ['x/a.arrow', 'y/a.arrow', 'b.arrow'] });
    expect(traces.map(({ name }) => name)).toEqual(['x/a.arrow', 'y/a.arrow', 'b']);
  });

  test('are replaced in order by other files under the same names; scenarios stay', () => {
    const experiment = parse({ traces: ['a.arrow', { synth: 'fork' }, 'b.arrow', 'c.arrow'] });
    const { traces } = withTraces(experiment, ['/full/x.arrow', '/full/y.arrow']);
    expect(traces.map(({ name, path }) => [name, path])).toEqual([
      ['a', '/full/x.arrow'],
      ['fork', ''],
      ['b', '/full/y.arrow'],
      ['c', '/experiments/c.arrow'],
    ]);
    expect(() => withTraces(experiment, ['1', '2', '3', '4'])).toThrow(/at most 3, for a, b, c, found 4 files/);
  });

  test('have their table image found like themselves', () => {
    const replay = { mapping: 'tables', tables: '{trace}' };
    const experiment = parse({ traces: ['a.arrow', 'samples/k.arrow'], config: { replay } });
    const tables = expand(experiment).map(({ config }) => config.replay.tables);
    expect(tables).toEqual(['/experiments/a', expect.stringMatching(/traces\/samples\/k$/)]);
    const [{ config }] = expand(withTraces(experiment, ['/full/x.arrow']));
    expect(config.replay.tables).toBe(join('/full', 'x'));
  });
});

describe('published cases', () => {
  const vary = { 'memory.tables': ['first-touch', 'local'], [ways]: [4, 8] };
  const gain = {
    gain: 'speedup',
    trace: 'a',
    where: { [ways]: 4 },
    of: { 'memory.tables': 'local' },
    over: { 'memory.tables': 'first-touch' },
  };
  const expanded =
    (...published: object[]) =>
    () =>
      expand(parse({ traces: ['a.arrow'], vary, published }));

  test('are called by their case, their place in a table, or their row', () => {
    const at = { table: 'Xeon, node 1', line: 'fork', column: 'hot' };
    const { published } = parse({
      traces: ['a.arrow'],
      published: [
        { row: 'T1', case: 'one', measure: gain },
        { row: 'T1', at, measure: gain },
        { row: 'T12', measure: { pool: { memoryBytes: '1G', pageBytes: '4K', levels: 5 } } },
      ],
    });
    expect(published.map((entry) => entry.case)).toEqual(['one', 'fork hot, Xeon, node 1', 'T12']);
    expect(published[2].measure).toEqual({ pool: { memoryBytes: 2 ** 30, pageBytes: 4096, levels: 5 } });
  });

  const { gain: _, ...pair } = gain;
  const events = (measure: object = {}) => ({
    row: 'events',
    measure: { perSecond: 'T1', ...pair, phase: 1, events: 10, ...measure },
  });

  test('that choose one cell each and refer to cases before them are accepted', () => {
    const cut = { row: 'T3', measure: { cut: ['T1', 'T2'] } };
    expect(
      expanded({ row: 'T1', measure: gain }, { row: 'T2', measure: { ...gain, phase: [1, 2] } }, cut, events()),
    ).not.toThrow();
  });

  test.each<[object[], RegExp]>([
    [[{ row: 'T1', measure: { ...gain, trace: 'b' } }], /T1 "T1": trace: expected a, found "b"/],
    [[{ row: 'T1', measure: { ...gain, where: {} } }], /of: expected values that one cell of a has, found 2 cells/],
    [
      [{ row: 'T1', measure: { ...gain, over: { [ways]: 5 } } }],
      /over: expected values that one cell of a has, found 0/,
    ],
    [
      [{ row: 'T1', measure: { ...gain, of: { 'memory.table': 1 } } }],
      /of: memory\.table: expected a varied key; did you mean memory\.tables\?/,
    ],
    [[events()], /expected a case that stands before it, found "T1"/],
    [
      [{ row: 'T1', measure: { pool: { memoryBytes: 1, pageBytes: 4096, levels: 1 } } }, events()],
      /perSecond: expected a case that is a gain, found "T1"/,
    ],
    [
      [{ row: 'T1', measure: gain }, events({ where: {} })],
      /of: expected values that one cell of a has, found 2 cells/,
    ],
    [[{ row: 'T1', measure: gain }, events({ events: 0 })], /published\.1\.measure\.events: /],
    [[{ row: 'T1', measure: { ...gain, phase: 1, cpu: 1 } }], /expected phase or cpu, found both/],
    [[{ row: 'T1', measure: { median: ['T1'] } }], /expected a case that stands before it, found "T1"/],
    [
      [
        { row: 'T1', measure: gain },
        { row: 'T1', measure: gain },
      ],
      /expected a case of its own/,
    ],
    [
      [{ row: 'T1', measure: { gain: 'ratio', trace: 'a' } }],
      /published\.0\.measure\.gain: expected speedup or saved, found "ratio"/,
    ],
  ])('%j is refused', (published, message) => {
    expect(expanded(...published)).toThrow(message);
  });
});

test('--set lies over every base configuration and below what varies', () => {
  const experiment = parse({ traces: ['a.arrow'], vary: { [ways]: [4, 8] }, config: { machine: { cpi: 2 } } });
  const cells = expand(withSets(experiment, ['machine.cpi=3', `${ways}=16`, 'machine.nodes=2']));
  const machine = ({ config }: (typeof cells)[number]) => [
    config.machine.cpi,
    config.machine.nodes,
    config.machine.tlb.l2![0].ways,
  ];
  expect(cells.map(machine)).toEqual([
    [3, 2, 4],
    [3, 2, 8],
  ]);
});
