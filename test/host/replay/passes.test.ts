// Passes over a phase: hot ones, counted ones, what is kept of a phase and what is read again, and counters of intervals.
import { expect, test } from 'vitest';
import { resolveConfig } from '../../../host/config/load.js';
import { counterKeys } from '../../../host/core/counters.js';
import { type Counters } from '../../../host/replay/counters.js';
import { replayTrace } from '../../../host/replay/replay.js';
import { type LaneResult, Replayer } from '../../../host/replay/replayer.js';
import { topologyOf } from '../../../host/replay/topology.js';
import { type Summary } from '../../../host/results/summary.js';
import { LOAD } from '../../../traces/batch.js';
import { PHASE_BEGIN, PHASE_END } from '../../../traces/events.js';
import { metadataWith } from '../../../traces/metadata.js';
import { sliceBatch, writeTrace } from '../../../traces/writer.js';
import { batchOf, eachOf, type Row, scratch } from '../../traces/support.js';

const COLUMNS = ['cpu', 'kind', 'va'] as const;
const inside = scratch();

/** Two CPUs whose only TLB holds two pages. */
const config = (replay: object) =>
  resolveConfig(
    { machine: { cpuNode: [0, 0], tlb: { l1i: null, l1d: { sets: 1, ways: 2 }, l2: null } }, replay },
    'test',
  );

/** Loads of pages by name (a to z), `<n` begins phase n and `>n` ends it, all on CPU 0. */
const rows = (text: string): Row[] =>
  text.split(' ').map((word) => {
    const kind = { '<': PHASE_BEGIN, '>': PHASE_END }[word[0]] ?? LOAD;
    return { cpu: 0, kind, va: kind === LOAD ? BigInt(word.charCodeAt(0)) << 12n : BigInt(word.slice(1)) };
  });

interface Options {
  batchRows?: number;
  keptBytes?: number;
}

/** Replays rows in batches; those that are no longer kept are taken from the rows again. */
function replay(trace: Row[], keys: object[], { batchRows = 1000, keptBytes }: Options = {}): LaneResult[] {
  const configs = keys.map(config);
  const topologies = configs.map((one) => topologyOf(one, { cpuNode: null, cpus: 2 }));
  const source = { path: 'test', columns: COLUMNS, regions: [] };
  const replayer = new Replayer(source, configs, topologies, 'debug', keptBytes);
  const all = batchOf(COLUMNS, trace);
  for (let from = 0; from < all.rows; from += batchRows) {
    // A reader uses the memory of its batches again.
    const batch = sliceBatch(batchOf(COLUMNS, trace), COLUMNS, from, Math.min(all.rows, from + batchRows));
    for (const again of replayer.steps(batch))
      for (let row = again.from; row < again.to; row++) replayer.reread(sliceBatch(all, COLUMNS, row, row + 1), row);
    batch.va.fill(0n);
  }
  return replayer.finish();
}

const names = counterKeys(
  new Replayer(
    { path: '', columns: COLUMNS, regions: [] },
    [config({})],
    [topologyOf(config({}), { cpuNode: null, cpus: 2 })],
  ).core.Stat,
);

const count = (counters: Counters, key: string) => Number(counters[names.find((name) => name.key === key)!.index]);

/** Loads, events, hits and misses of the TLB, first touches. */
const counts = (counters: Counters) =>
  ['access.load', 'access.event', 'tlb.l1d.hit', 'tlb.l1d.miss', 'fault.demand'].map((key) => count(counters, key));

// LRU of two pages. From "a" on, the pass "a b c" hits a and leaves b and c; every later pass finds none of its pages there:
// a drops b, b drops c, c drops a. "a" behind the phase misses.
const TRACE = rows('a <1 a b c >1 a');

test.each<Options>([
  {},
  { batchRows: 1 },
  { batchRows: 2 },
  { batchRows: 4 },
  { batchRows: 4, keptBytes: 0 },
  { batchRows: 1, keptBytes: 25 },
])('repeat: 3 counts three passes (%o)', (options) => {
  const [{ counters, phases }] = replay(TRACE, [{ repeat: 3 }], options);
  // 9 loads: 1 hit, 2 + 3 + 3 misses; begin and end rows three times; b and c are first touched.
  expect(phases.map(({ phase, cpu, counters }) => [phase, cpu, ...counts(counters)])).toEqual([[1, 0, 9, 6, 1, 8, 2]]);
  expect(counts(counters)).toEqual([11, 6, 1, 10, 3]);
});

test.each<Options>([{}, { batchRows: 1 }, { batchRows: 3 }, { batchRows: 3, keptBytes: 0 }])(
  'hot: 2 replays two passes uncounted before those that are counted (%o)',
  (options) => {
    const [{ counters, phases }] = replay(TRACE, [{ hot: 2, repeat: 2 }], options);
    // Passes 3 and 4: no hits.
    expect(counts(phases[0].counters)).toEqual([6, 4, 0, 6, 0]);
    // And the rows outside the phase, once: a and a miss, a is first touched.
    expect(counts(counters)).toEqual([8, 4, 0, 8, 1]);
  },
);

test('passes by phase: a phase that is not named has one', () => {
  const [{ phases }] = replay(rows('<1 a >1 <2 a >2'), [{ repeat: { 2: 5 } }]);
  expect(phases.map(({ counters }) => counts(counters).slice(0, 2))).toEqual([
    [1, 2],
    [5, 10],
  ]);
});

test('a phase that comes again is repeated again', () => {
  const [{ phases }] = replay(rows('<1 a >1 b <1 a >1'), [{ repeat: 4 }]);
  expect(phases.map(({ counters }) => counts(counters)[0])).toEqual([8]);
});

test('only selected phases are repeated', () => {
  const [{ counters }] = replay(rows('<1 a >1 b <2 a >2'), [{ repeat: 4, phases: [2] }]);
  expect(counts(counters).slice(0, 2)).toEqual([4, 8]);
});

test('the rows that were replayed again are known', () => {
  const one = config({ hot: 1, repeat: 2 });
  const source = { path: 'test', columns: COLUMNS, regions: [] };
  const replayer = new Replayer(source, [one], [topologyOf(one, { cpuNode: null, cpus: 2 })]);
  replayer.feed(batchOf(COLUMNS, TRACE));
  // Two more passes of five rows.
  expect(replayer.repeatedRows).toBe(10);
});

test.each<[string, object, string, RegExp]>([
  [
    'a repeated phase without an end',
    { repeat: 2 },
    'a <7 a',
    /test: record 1: expected a phase that ends.*found the begin of phase 7/,
  ],
  ['a hot phase without an end', { hot: 1 }, '<7 a', /record 0: expected a phase that ends/],
  [
    'a phase in a repeated one',
    { repeat: { 1: 2 } },
    '<1 <2 a >2 >1',
    /record 1: expected the end of phase 1 .*found the begin of phase 2/,
  ],
  ['a repeated phase in another', { repeat: { 2: 2 } }, '<1 <2 a >2 >1', /record 1: expected the end of phase 1/],
  ['a hot phase in itself', { hot: 1 }, '<1 <1 a >1 >1', /record 1: expected the end of phase 1/],
])('%s is refused', (_, keys, trace, message) => {
  expect(() => replay(rows(trace), [keys])).toThrow(message);
});

test('phases inside each other are fine where each is replayed once', () => {
  const [{ phases }] = replay(rows('<1 a <2 b >2 >1'), [{ repeat: { 3: 2 } }]);
  // Phase 1: two loads and four events; phase 2: one load and two events.
  expect(phases.map(({ counters }) => counts(counters).slice(0, 2))).toEqual([
    [2, 4],
    [1, 2],
  ]);
});

test('a phase of a CPU that the machine does not have is refused', () => {
  expect(() => replay([{ cpu: 2, kind: PHASE_BEGIN, va: 1n }], [{}])).toThrow(/record 0: expected a CPU .*found CPU 2/);
});

test.each<Options>([{}, { batchRows: 1 }, { batchRows: 4 }])('intervals split the counters by rows (%o)', (options) => {
  // Rows: 0 a, 1 b, 2 c, | 3 c, 4 b, 5 b, | 6 a.
  const [{ intervals }] = replay(rows('a b c c b b a'), [{ intervals: 3 }], options);
  expect(intervals.map(({ from, to, counters }) => [from, to, ...counts(counters)])).toEqual([
    [0, 3, 3, 0, 0, 3, 3],
    [3, 6, 3, 0, 3, 0, 0],
    [6, 7, 1, 0, 0, 1, 0],
  ]);
});

test.each<Options>([{}, { batchRows: 1 }, { batchRows: 3, keptBytes: 0 }])(
  'intervals count a row in every counted pass (%o)',
  (options) => {
    // Rows: 0 a, 1 begin, 2 a, | 3 b, 4 c, 5 end, | 6 a. Passes as above.
    const [once, hot] = [{ repeat: 3 }, { hot: 2, repeat: 2 }].map(
      (keys) => replay(TRACE, [{ ...keys, intervals: 3 }], options)[0].intervals,
    );
    expect(once.map(({ counters }) => counts(counters))).toEqual([
      [4, 3, 1, 3, 1],
      [6, 3, 0, 6, 2],
      [1, 0, 0, 1, 0],
    ]);
    expect(hot.map(({ counters }) => counts(counters))).toEqual([
      [3, 2, 0, 3, 1],
      [4, 2, 0, 4, 0],
      [1, 0, 0, 1, 0],
    ]);
  },
);

test('intervals leave out what is not replayed, and forget a warm-up', () => {
  const [{ intervals }] = replay(rows('a b <1 c >1 a'), [{ intervals: 2, phases: [1] }]);
  expect(intervals.map(({ from, to, counters }) => [from, to, ...counts(counters).slice(0, 2)])).toEqual([
    [2, 4, 1, 1],
    [4, 6, 0, 1],
  ]);
  const [warm] = replay(rows('a a a a a'), [{ intervals: 2, warmup: 3 }]);
  expect(warm.intervals.map(({ counters }) => counts(counters)[0])).toEqual([0, 1, 1]);
});

test('lanes that repeat differently, and phases that are read again from the file, count the same', async () => {
  const path = inside('long.arrow');
  // 40 pages in phase 1, in batches of 16 rows, behind a batch that ends inside no phase.
  const pages = Array.from({ length: 40 }, (_, i) => String.fromCharCode(97 + ((i * 7) % 26))).join(' ');
  const trace = rows(`a b c <1 ${pages} >1 d <2 a b >2 ${pages}`);
  const parts = Array.from({ length: Math.ceil(trace.length / 16) }, (_, i) => trace.slice(16 * i, 16 * (i + 1)));
  await writeTrace(path, COLUMNS, eachOf(parts.map((part) => batchOf(COLUMNS, part))), () => metadataWith());
  const configs = [{}, { repeat: 3 }, { hot: 2, repeat: { 1: 2 } }, { repeat: 3, pollution: 0 }].map(config);
  const counted = (summaries: Summary[]) => summaries.map(({ totals, phases }) => ({ totals, phases }));
  const seen: number[][] = [];
  const onProgress = (...progress: number[]) => void seen.push(progress);
  const kept = counted(await replayTrace(path, configs, { onProgress }));
  const reread = counted(await replayTrace(path, configs, { keptBytes: 0 }));
  expect(reread).toEqual(kept);
  const alone = await Promise.all(configs.map(async (one) => counted(await replayTrace(path, [one]))[0]));
  expect(kept).toEqual(alone);
  // Phase 1 has 40 loads, phase 2 two, and 44 are outside.
  expect(kept.map(({ totals }) => totals.access.load)).toEqual([86, 44 + 3 * 42, 44 + 2 * 40 + 2, 44 + 3 * 42]);
  // The last lane group replays phase 1, of 42 rows, 3 times more, and phase 2, of 4 rows, twice more.
  expect(seen.at(-1)).toEqual([trace.length, trace.length, 3 * 42 + 2 * 4]);
});

test('intervals that do not fit are refused', async () => {
  const path = inside('intervals.arrow');
  await writeTrace(path, COLUMNS, eachOf([batchOf(COLUMNS, rows(Array(1000).fill('a').join(' ')))]), () =>
    metadataWith(),
  );
  const many = resolveConfig({ machine: { nodes: 1, cpus: 4096 }, replay: { intervals: 1 } }, 'test');
  await expect(replayTrace(path, [many])).rejects.toThrow(
    /replay\.intervals: the counters of 4096 CPUs in 1000 intervals/,
  );
});
