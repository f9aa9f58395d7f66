// Line caches as a configuration gives them to the core: homes and clusters, cold and polluted passes, and their place in a summary.
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { resolveConfig } from '../../../host/config/load.js';
import { type Config } from '../../../host/config/schema.js';
import { counterKeys } from '../../../host/core/counters.js';
import { clustersOf } from '../../../host/replay/caches.js';
import { type Counters } from '../../../host/replay/counters.js';
import { machineBytes } from '../../../host/replay/machine.js';
import { replayTrace } from '../../../host/replay/replay.js';
import { type LaneResult, Replayer, type ReplaySource } from '../../../host/replay/replayer.js';
import { topologyOf } from '../../../host/replay/topology.js';
import { FETCH_LINE_MISSES, MEMORY_LINES, REMOTE_LINES } from '../../../host/report/metrics.js';
import { flatten } from '../../../host/results/summary.js';
import { summaryText } from '../../../host/results/text.js';
import { unitOf } from '../../../host/results/units.js';
import { InputError, UsageError } from '../../../traces/errors.js';
import { PHASE_BEGIN, PHASE_END } from '../../../traces/events.js';
import { metadataWith, type TraceMetadata } from '../../../traces/metadata.js';
import { writeTrace } from '../../../traces/writer.js';
import { batchOf, eachOf, type Row, scratch } from '../../traces/support.js';

const COLUMNS = ['cpu', 'kind', 'va', 'pa'] as const;
const KINDS: Record<string, number> = { fetch: 0, load: 1, store: 2, begin: PHASE_BEGIN, end: PHASE_END };
const inside = scratch();

/** A row: the kind, the address, and where they matter CPU and physical address. */
const row = (kind: string, va: bigint | number, cpu = 0, pa: bigint | number = 0): Row => {
  return { cpu, kind: KINDS[kind], va: BigInt(va), pa: BigInt(pa) };
};

/** Two nodes with a CPU each; a first level of one set with two lines, and nothing behind it. */
const machine = (caches: object = {}) => ({
  cpuNode: [0, 1],
  caches: { l1i: { sets: 1, ways: 2 }, l1d: { sets: 1, ways: 2 }, prefetchLines: 0, walks: 'l2', ...caches },
});

const region = (
  name: string,
  va: string,
  pa: string | null = null,
  bytes = 0x1000,
): TraceMetadata['regions'][number] => {
  return { name, va, pa, bytes, pageSize: null, node: null };
};

const REGIONS = [region('text', '0xffffffff81000000'), region('rodata', '0xffffffff82000000')];

function replay(trace: Row[], docs: object[], source: Partial<ReplaySource> = {}): LaneResult[] {
  const configs = docs.map((doc) => resolveConfig(doc, 'test'));
  const topologies = configs.map((config) => topologyOf(config, { cpuNode: null, cpus: 2 }));
  const replayer = new Replayer(
    { path: 'test', columns: COLUMNS, regions: REGIONS, ...source },
    configs,
    topologies,
    'debug',
  );
  replayer.feed(batchOf(COLUMNS, trace));
  return replayer.finish();
}

const keys = counterKeys(
  new Replayer(
    { path: '', columns: COLUMNS, regions: [] },
    [resolveConfig({}, 'test')],
    [topologyOf(resolveConfig({}, 'test'), { cpuNode: null, cpus: 1 })],
  ).core.Stat,
);

/** A counter of one CPU. */
const count = (counters: Counters, key: string, cpu = 0) =>
  Number(counters[cpu * keys.length + keys.findIndex((name) => name.key === key)]);

describe('cold passes', () => {
  const USER = 0x1000;
  const KERNEL = 0xffff_8000_0000_1000n;
  const TEXT = 0xffff_ffff_8100_0000n;
  const LOADS = [USER, KERNEL, TEXT].map((va) => row('load', va));
  // Everything fits: what misses in the phase was taken away before it.
  const large = machine({ l1d: { sets: 4, ways: 8 } });
  const trace = [...LOADS, row('begin', 1), ...LOADS, row('end', 1)];
  const misses = ({ phases: [{ counters }] }: LaneResult) =>
    ['cache.l1d.data.miss', 'cache.l1d.data.hit', 'tlb.l1d.miss'].map((key) => count(counters, key));

  test('take the lines of the scope and all translations, in each lane its own', () => {
    const lanes = replay(
      trace,
      [null, 'text', 'kernel', 'all'].map((cold) => ({ machine: large, replay: { cold } })),
    );
    // Text is in the upper half too.
    expect(lanes.map(misses)).toEqual([
      [0, 3, 0],
      [1, 2, 3],
      [2, 1, 3],
      [3, 0, 3],
    ]);
  });

  test('are the first ones only', () => {
    const [lane] = replay(trace, [{ machine: large, replay: { cold: 'all', repeat: 4 } }]);
    // One pass of three misses, three of three hits.
    expect(misses(lane)).toEqual([3, 9, 3]);
  });

  test('come before every phase', () => {
    const again = [...trace, row('begin', 2), ...LOADS, row('end', 2)];
    const [lane] = replay(again, [{ machine: large, replay: { cold: 'all' } }]);
    expect(lane.phases.map(({ counters }) => count(counters, 'cache.l1d.data.miss'))).toEqual([3, 3]);
  });

  test('need the regions that are text', () => {
    const doc = { machine: large, replay: { cold: 'text' } };
    expect(() => replay(trace, [doc], { regions: [] })).toThrow(
      /memory\.textRegions: test has no region "text"; it names no region at all/,
    );
    expect(() => replay(trace, [doc], { regions: [region('kernel', '0x1000')] })).toThrow(UsageError);
  });
});

describe('pollution', () => {
  // One line of the phase, in a cache of two.
  const trace = [row('load', 0), row('begin', 1), row('load', 0), row('end', 1)];
  const misses = (replayKeys: object) => {
    const [{ phases, counters }] = replay(trace, [{ machine: machine(), replay: replayKeys }]);
    const all = ['cache.l1d.data.hit', 'cache.l1d.data.miss'].map((key) => count(counters, key));
    // Uncounted: what is counted are the loads of the trace.
    expect(all[0] + all[1]).toBe(count(counters, 'access.load'));
    expect(count(counters, 'tlb.l1d.miss')).toBe(1 + Number('cold' in replayKeys));
    return count(phases[0].counters, 'cache.l1d.data.miss');
  };

  test('takes what does not fit beside it, before every pass', () => {
    expect(misses({ repeat: 3 })).toBe(0);
    // One line of pollution leaves a place for the other; two do not.
    expect(misses({ repeat: 3, pollution: 64 })).toBe(0);
    expect(misses({ repeat: 3, pollution: 128 })).toBe(3);
    expect(misses({ hot: 5, repeat: 3, pollution: 128 })).toBe(3);
  });

  test('leaves a cold first pass alone', () => {
    expect(misses({ cold: 'all', repeat: 3, pollution: 64 })).toBe(1);
    expect(misses({ cold: 'all', repeat: 3, pollution: 128 })).toBe(3);
  });
});

describe('homes of captured addresses', () => {
  const nodes = [
    { node: 0, ranges: [{ from: '0x0', to: '0x100000' }] },
    { node: 1, ranges: [{ from: '0x100000', to: '0x200000' }] },
  ];
  const captured = { machine: machine(), replay: { mapping: 'captured' } };
  const regions = [region('text', '0xffffffff81000000', '0x2000'), region('rodata', '0xffffffff82000000', '0x4000')];
  const fetch = (pa: number, cpu: number) => row('fetch', 0xffff_ffff_8100_0000n + BigInt(pa - 0x2000), cpu, pa);

  /** Lines from memory of each CPU: local, remote. */
  const lines = (trace: Row[], doc: object, source: Partial<ReplaySource> = { nodes, regions }) =>
    replay(trace, [doc], source).map(({ counters }) =>
      [0, 1].map((cpu) =>
        ['local', 'remote'].map((place) =>
          ['fetch', 'data'].reduce((sum, by) => sum + count(counters, `cache.memory.${by}.${place}`, cpu), 0),
        ),
      ),
    )[0];

  test('are those of the ranges, the last address exclusive', () => {
    const trace = [row('load', 0x1000, 0, 0xff000), row('load', 0x2000, 0, 0x100000), row('load', 0x3000, 1, 0x1ff000)];
    expect(lines(trace, captured)).toEqual([
      [1, 1],
      [1, 0],
    ]);
  });

  test('of text are where memory.text says', () => {
    // Each CPU fetches a line of text of its own and loads one line that is no text, both of node 0.
    const trace = [0, 1].flatMap((cpu) => [fetch(0x2000 + 64 * cpu, cpu), row('load', 0x1000, cpu, 0x8000 + 64 * cpu)]);
    const of = (text: unknown) => lines(trace, { ...captured, memory: { text } });
    expect(of(null)).toEqual([
      [2, 0],
      [0, 2],
    ]);
    expect(of('local')).toEqual([
      [2, 0],
      [1, 1],
    ]);
    expect(of({ node: 1 })).toEqual([
      [1, 1],
      [1, 1],
    ]);
  });

  test('must be known on more than one node', () => {
    const trace = [row('load', 0x1000, 0, 0xff000)];
    expect(() => lines(trace, captured, {})).toThrow(InputError);
    expect(() => lines(trace, captured, {})).toThrow(
      /test: metadata key "nodes": expected the physical ranges .*--meta/,
    );
    const one = { ...captured, machine: { ...machine(), cpuNode: [0, 0] } };
    expect(lines(trace, one, {})).toEqual([
      [1, 0],
      [0, 0],
    ]);
    const demand = { ...captured, replay: { mapping: 'demand' } };
    expect(lines(trace, demand, {})[0]).toEqual([1, 0]);
  });

  test('must be on nodes of the machine, and of text be known', () => {
    const far = [{ node: 2, ranges: [{ from: '0x0', to: '0x1000' }] }];
    expect(() => lines([], captured, { nodes: far })).toThrow(/captured with memory on node 2, .*nodes 0 to 1/);
    const placed = { ...captured, memory: { text: 'local' } };
    expect(() => lines([], placed, { nodes, regions: REGIONS })).toThrow(
      /region "text": expected its physical address "pa".*--meta/,
    );
  });
});

test('clusters are groups of the CPUs of a node in ascending order, those of node 0 first', () => {
  const { caches } = resolveConfig({ extends: 'epyc-7713' }, 'test').machine;
  const clusters = (cpus: number | null, cpuNode: number[], nodes: number) =>
    clustersOf({ ...caches!, llc: { ...caches!.llc!, cpus } }, { cpuNode, nodes, latencyCycles: [] });
  expect(clusters(null, [0, 1, 0, 1], 2)).toEqual([0, 1, 0, 1]);
  // Node 0 has CPUs 0, 2, 4: two clusters; node 1 has 1, 3, 5.
  expect(clusters(2, [0, 1, 0, 1, 0, 1], 2)).toEqual([0, 2, 0, 2, 1, 3]);
  // Node 1 has no CPU: one LLC of its memory, or no cluster at all.
  expect(clusters(null, [0, 0, 2], 3)).toEqual([0, 0, 2]);
  expect(clusters(2, [0, 0, 2], 3)).toEqual([0, 0, 1]);
});

test('CPUs of one cluster share its LLC', () => {
  // Four descriptors and the line fit. The line that CPU 0 brought is in the LLC of CPU 1 where both are of one cluster.
  const trace = [row('load', 0x1000), row('load', 0x1000, 1)];
  const hits = (cpus: number) => {
    const llc = { sets: 1, ways: 8, cpus };
    const [{ counters }] = replay(trace, [{ machine: { ...machine({ llc }), cpuNode: [0, 0] } }]);
    return count(counters, 'cache.llc.data.hit', 1);
  };
  expect([hits(1), hits(2)]).toEqual([0, 1]);
});

test('caches that are too large for the core are refused', () => {
  // 2^20 sets of 32 ways of 8 bytes: 256 MiB, and the first level besides.
  const doc = { machine: machine({ llc: { sets: 2 ** 20, ways: 32 } }) };
  const one: Config = resolveConfig({ ...doc, machine: { ...doc.machine, cpuNode: [0] } }, 'test');
  const topology = topologyOf(one, { cpuNode: null, cpus: 1 });
  // Two lines in each of two caches.
  expect(machineBytes(one, topology).caches).toBe(2 ** 28 + 2 * 2 * 8);
  expect(() => replay([], [doc])).toThrow(/machine\.caches: the line caches of 2 CPUs need 513 MiB, .* 256/);
});

test('a summary has the caches of the machine, and latencies divided by what overlaps', async () => {
  const path = inside('summary.arrow');
  const TEXT = 0xffff_ffff_8100_0000n;
  const trace = [row('begin', 1), row('fetch', TEXT), row('load', TEXT + 0x1000n), row('end', 1)];
  await writeTrace(path, COLUMNS, eachOf([batchOf(COLUMNS, trace)]), () => metadataWith({ regions: REGIONS }));
  const doc = {
    machine: {
      ...machine(),
      clockGHz: 2,
      latency: { localNs: 100, remoteNs: 150 },
      mlp: { fetch: 1.25, data: 3, walk: 2 },
      costs: { demandFault: 1000 },
    },
    memory: { text: { node: 0 }, data: { node: 1 } },
    replay: { intervals: 2 },
  };
  const [summary] = await replayTrace(path, [resolveConfig(doc, 'test')]);
  const none = { hit: 0, miss: 0 };
  expect(summary.totals.cache).toEqual({
    l1i: { fetch: { hit: 0, miss: 1 } },
    l1d: { data: { hit: 0, miss: 1 }, walk: none },
    // Four descriptors for the fetch; the load is behind the same last table: one.
    memory: { fetch: { local: 1, remote: 0 }, data: { local: 0, remote: 1 }, walk: { local: 5, remote: 0 } },
    prefetch: { lines: 0, memory: 0 },
  });
  // 200 cycles local, 300 remote: 200 / 1.25, 300 / 3, 5 x 200 / 2, two first touches.
  const cycles = { base: 1, fetch: 160, data: 100, walk: 500, fault: 2000, maintenance: 0, lock: 0 };
  expect(summary.totals.cycles).toEqual({ ...cycles, total: 2761, critical: 2761 });
  expect(summary.phases[0].cycles.own).toBe(2761);
  // Rows 0 and 1, 2 and 3.
  expect(summary.intervals).toMatchObject([
    { from: 0, to: 2, access: { fetch: 1, load: 0, event: 1 }, cycles: { fetch: 160, data: 0, walk: 400 } },
    { from: 2, to: 4, access: { fetch: 0, load: 1, event: 1 }, cycles: { fetch: 0, data: 100, walk: 100 } },
  ]);

  // Seven lines from memory, one of them remote; 2 accesses, 1 instruction.
  const flat = flatten(summary.totals);
  expect([FETCH_LINE_MISSES, MEMORY_LINES, REMOTE_LINES].map(({ value }) => value(flat))).toEqual([1000, 3500, 1 / 7]);
  expect(summaryText(summary)).toMatch(/^l1d cache misses +1 of 1 accesses/m);
  expect(summaryText(summary)).toMatch(/^lines from memory +7, 1 remote$/m);

  const [bare] = await replayTrace(path, [resolveConfig({ machine: { cpuNode: [0, 1] } }, 'test')]);
  expect([bare.totals.cache, bare.intervals]).toEqual([{}, undefined]);
  expect(MEMORY_LINES.value(flatten(bare.totals))).toBeNull();
});

test('what a configuration asks for and the trace or its folder does not have is refused', async () => {
  const path = inside('refused.arrow');
  await writeTrace(path, COLUMNS, eachOf([batchOf(COLUMNS, [row('load', 0)])]), () => metadataWith());
  const refused = (doc: object) => expect(replayTrace(path, [resolveConfig(doc, 'test')])).rejects;
  await refused({ replay: { mapping: 'tables', tables: join('a', 'b') } }).toThrow(/a capture .* or a table image/);
  await refused({ system: { name: 'text-replication' } }).toThrow(/does not say where the kernel's text is/);
});

test('a phase that is repeated counts as if its rows stood there as often', () => {
  const address = fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 6 }));
  const access = fc
    .tuple(fc.constantFrom('fetch', 'load', 'store'), address, fc.integer({ min: 0, max: 1 }))
    .map(([kind, [page, line], cpu]) => row(kind, page * 0x1000 + line * 64, cpu));
  const some = fc.array(access, { maxLength: 40 });
  const doc = (replay: object) => ({
    machine: {
      ...machine({
        l2: { sets: 1, ways: 4 },
        llc: { sets: 3, ways: 4, inclusive: true },
        prefetchLines: 1,
        walks: 'l1d',
      }),
      tlb: { l1i: { sets: 1, ways: 2 }, l1d: { sets: 2, ways: 1 }, l2: { sets: 1, ways: 4 } },
      walkCaches: { pde: 1, pdpte: 1, pml4e: 1 },
    },
    replay,
  });
  fc.assert(
    fc.property(some, some, some, fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 3 }), (a, b, c, n, w) => {
      const phase = [row('begin', 1), ...b, row('end', 1)];
      const unrolled = (passes: number) => Array<Row[]>(passes).fill(phase).flat();
      const once = (passes: number, after: Row[]) => replay([...a, ...unrolled(passes), ...after], [doc({})])[0];
      const [repeated] = replay([...a, ...phase, ...c], [doc({ repeat: n })]);
      expect(repeated).toEqual(once(n, c));
      const [hot] = replay([...a, ...phase, ...c], [doc({ hot: w, repeat: n })]);
      const [cold, all] = [once(w, []), once(w + n, [])];
      const counted = all.phases[0].counters.map((sum, i) => sum - cold.phases[0].counters[i]);
      expect(hot.phases[0].counters).toEqual(counted);
    }),
    { numRuns: 60 },
  );
});

test('counters of line caches are accesses and lines', () => {
  expect(unitOf('cache.llc.fetch.miss')).toBe('accesses');
  expect(['cache.prefetch.lines', 'cache.llc.backInvalidated'].map(unitOf)).toEqual(['lines', 'lines']);
});
