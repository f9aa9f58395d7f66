// The oracle's line caches against small cases worked out by hand from docs/caches.md, one rule each. Each expected number is
// derived beside it: L<n> is line n of the page of the case, d0 to d3 are the lines of its four descriptors, the root's first.
import { describe, expect, test } from 'vitest';
import { Oracle } from './oracle.js';
import { type CachesConfig, type Counters, type OracleConfig, type Row, type TraceContext } from './types.js';

interface Setup {
  caches?: Partial<CachesConfig>;
  machine?: Partial<OracleConfig['machine']>;
  memory?: Partial<OracleConfig['memory']>;
  paging?: Partial<OracleConfig['paging']>;
  replay?: Partial<OracleConfig['replay']>;
  context?: Partial<TraceContext>;
}

const LOCAL = 80;
const REMOTE = 140;
const LLC = 20;
const L2 = 12;

const llc = (ways: number, more: Partial<NonNullable<CachesConfig['llc']>> = {}) => ({
  sets: 1,
  ways,
  cpus: null,
  remoteCacheable: true,
  inclusive: false,
  ...more,
});

/**
 * One CPU per entry of `cpuNode`, TLBs that hold every page of the cases, no walk caches; L1 of one set, no L2, no LLC. Walks
 * stay out of L1.
 */
function machine({ caches, machine, memory, paging, replay, context }: Setup): Oracle {
  const cpuNode = context?.cpuNode ?? [0];
  const tlb = [{ sets: 1, ways: 64, pages: null }];
  const none = { pde: 0, pdpte: 0, pml4e: 0, pml5e: 0, l2: 0, l1: 0, l0: 0, lm1: 0, ipa: 0 };
  return new Oracle(
    {
      machine: {
        distances: null, // 10 and 20: 80 and 140 ns
        clockGHz: 1,
        tlb: { l1i: tlb, l1d: tlb, l2: null },
        walkCaches: { ...none, s2l2: 0, s2l1: 0, s2l0: 0, s2lm1: 0 },
        latency: { localNs: LOCAL, remoteNs: REMOTE, l2TlbCycles: 0, l2Cycles: L2, llcNs: LLC },
        caches: {
          l1i: { sets: 1, ways: 8 },
          l1d: { sets: 1, ways: 8 },
          l2: null,
          llc: null,
          walks: 'l2',
          prefetchLines: 0,
          ...caches,
        },
        ...machine,
      },
      paging: {
        format: 'x86-64',
        levels: 4,
        pageSize: { default: '4K', rules: [] },
        ...paging,
      } as OracleConfig['paging'],
      memory: { data: 'first-touch', tables: 'first-touch', text: null, ...memory },
      replay: { mapping: 'demand', dirty: 'set', splitPages: false, warmup: 0, phases: null, ...replay },
    },
    {
      cpuNode,
      nodes: Math.max(...cpuNode) + 1,
      has: { pa: false, size: false, insns: false, mode: false, asid: false, vm: false },
      ranges: [],
      regions: [],
      ...context,
    },
  );
}

/** Rows by CPU and line: line 64 is the first of the page after page 0. */
const row = (kind: number, cpu: number, line: number, more: Partial<Row> = {}): Row => {
  return { cpu, kind, va: BigInt(line) * 64n, ...more };
};
const fetch = (line: number, cpu = 0, more: Partial<Row> = {}) => row(0, cpu, line, more);
const load = (line: number, cpu = 0, more: Partial<Row> = {}) => row(1, cpu, line, more);
const store = (line: number, cpu = 0, more: Partial<Row> = {}) => row(2, cpu, line, more);

const pick = (counters: Counters, wanted: (key: string) => boolean) =>
  Object.fromEntries(Object.entries(counters).filter(([key, n]) => n !== 0 && wanted(key)));
const isWalk = (key: string) => key.includes('walk');
const isCache = (key: string) => /^(cache|cycles)\./.test(key);

/** Per CPU, what line caches count for fetches and data. */
const accessesOf = (oracle: Oracle) =>
  oracle.counters().map((counters) => pick(counters, (key) => isCache(key) && !isWalk(key)));
/** Per CPU, what they count for walks. */
const walksOf = (oracle: Oracle) =>
  oracle.counters().map((counters) => pick(counters, (key) => isCache(key) && isWalk(key)));

function run(setup: Setup, rows: Row[]): Oracle {
  const oracle = machine(setup);
  oracle.run(rows);
  return oracle;
}

/** Asserts what CPU 0 counts for fetches and data. */
function expectCpu0(setup: Setup, rows: Row[], expected: Counters): void {
  expect(accessesOf(run(setup, rows))[0]).toEqual(expected);
}

describe('private caches', () => {
  test('an access asks for its line of 64 bytes, and a hit in L1 has no latency', () => {
    // va 0 and 0x3f are L0, 0x40 is L1: two misses, one hit.
    expectCpu0({}, [load(0), load(0, 0, { va: 0x3fn }), load(0, 0, { va: 0x40n })], {
      'cache.l1d.data.miss': 2,
      'cache.l1d.data.hit': 1,
      'cache.memory.data.local': 2,
      'cycles.data': 2 * LOCAL,
    });
  });

  test('fetches ask l1i, loads and stores l1d', () => {
    // The load of L0 does not find what the fetch entered; the store finds what the load entered.
    expectCpu0({}, [fetch(0), load(0), store(0)], {
      'cache.l1i.fetch.miss': 1,
      'cache.memory.fetch.local': 1,
      'cycles.fetch': LOCAL,
      'cache.l1d.data.miss': 1,
      'cache.l1d.data.hit': 1,
      'cache.memory.data.local': 1,
      'cycles.data': LOCAL,
    });
  });

  test('the set is the line number modulo any number of sets', () => {
    // Three sets of one way: L0 and L1 are in different sets, L3 replaces L0. Misses: 0, 1, 3, 0; one hit.
    expectCpu0({ caches: { l1d: { sets: 3, ways: 1 } } }, [load(0), load(1), load(0), load(3), load(0)], {
      'cache.l1d.data.miss': 4,
      'cache.l1d.data.hit': 1,
      'cache.memory.data.local': 4,
      'cycles.data': 4 * LOCAL,
    });
  });

  test('a hit makes the line the most recent of its set', () => {
    // Two ways: 0, 1 miss; 0 hits; 2 replaces 1; 0 hits; 1 misses.
    expectCpu0(
      { caches: { l1d: { sets: 1, ways: 2 } } },
      [0, 1, 0, 2, 0, 1].map((line) => load(line)),
      {
        'cache.l1d.data.miss': 4,
        'cache.l1d.data.hit': 2,
        'cache.memory.data.local': 4,
        'cycles.data': 4 * LOCAL,
      },
    );
  });

  test('a hit in L2 has its latency and enters the line in L1', () => {
    // L1 holds one line. 0, 1: memory; 0: L2; 0: L1. The L2 holds d0 to d3, L0, L1: six of eight.
    const caches = { l1d: { sets: 1, ways: 1 }, l2: { sets: 1, ways: 8 } };
    expectCpu0({ caches }, [load(0), load(1), load(0), load(0)], {
      'cache.l1d.data.miss': 3,
      'cache.l1d.data.hit': 1,
      'cache.l2.data.miss': 2,
      'cache.l2.data.hit': 1,
      'cache.memory.data.local': 2,
      'cycles.data': 2 * LOCAL + L2,
    });
  });

  test('L2 serves fetches and data', () => {
    // The fetch of L0 finds in L2 what the load entered.
    expectCpu0({ caches: { l2: { sets: 1, ways: 8 } } }, [load(0), fetch(0)], {
      'cache.l1d.data.miss': 1,
      'cache.l2.data.miss': 1,
      'cache.memory.data.local': 1,
      'cycles.data': LOCAL,
      'cache.l1i.fetch.miss': 1,
      'cache.l2.fetch.hit': 1,
      'cycles.fetch': L2,
    });
  });

  test('an access is one line whatever its size, a split access one line in each page', () => {
    // 8 bytes at 0x3c touch two lines but count L0 only. At 0xffc they reach the next page: L63 and its first line.
    const rows = [load(0, 0, { va: 0x3cn, size: 8 }), load(0, 0, { va: 0xffcn, size: 8 }), load(64), load(1)];
    expectCpu0({ replay: { splitPages: true } }, rows, {
      'cache.l1d.data.miss': 4, // L0, L63, L64, and L1, which the first access has not entered
      'cache.l1d.data.hit': 1, // L64
      'cache.memory.data.local': 4,
      'cycles.data': 4 * LOCAL,
    });
  });

  test('pages with one frame share its lines', () => {
    // Two virtual pages, one captured frame: the second load hits.
    const has = { pa: true, size: false, insns: false, mode: false, asid: false, vm: false };
    const rows = [load(0, 0, { pa: 0x8000_0000n }), load(640, 0, { pa: 0x8000_0000n })];
    expectCpu0({ replay: { mapping: 'captured' }, context: { has } }, rows, {
      'cache.l1d.data.miss': 1,
      'cache.l1d.data.hit': 1,
      'cache.memory.data.local': 1,
      'cycles.data': LOCAL,
    });
  });

  test('rows of the warm-up enter lines and count nothing', () => {
    expectCpu0({ replay: { warmup: 1 } }, [load(0), load(0)], { 'cache.l1d.data.hit': 1 });
  });
});

describe('last-level cache', () => {
  const small = { sets: 1, ways: 1 };

  test('a hit has its latency in cycles, rounded', () => {
    // 2.6 GHz: memory 80 ns = 208 cycles, LLC 21 ns = 54.6 -> 55. L1 holds one line: 0, 1: memory; 0: LLC.
    const latency = { localNs: 80, remoteNs: 140, l2TlbCycles: 0, llcNs: 21 };
    const setup = { caches: { l1d: small, llc: llc(8) }, machine: { clockGHz: 2.6, latency } };
    expectCpu0(setup, [load(0), load(1), load(0)], {
      'cache.l1d.data.miss': 3,
      'cache.llc.data.miss': 2,
      'cache.llc.data.hit': 1,
      'cache.memory.data.local': 2,
      'cycles.data': 2 * 208 + 55,
    });
  });

  test('of one node serves its CPUs only, where lines of other nodes are cached', () => {
    // CPU 0 (node 0) loads L0 of node 0, then CPU 1 of node 0 hits, CPU 2 of node 1 misses its own and goes to the home.
    const oracle = run({ caches: { llc: llc(16) }, context: { cpuNode: [0, 0, 1] } }, [
      load(0),
      load(0, 1),
      load(0, 2),
    ]);
    expect(accessesOf(oracle).slice(1)).toEqual([
      { 'cache.l1d.data.miss': 1, 'cache.llc.data.hit': 1, 'cycles.data': LLC },
      {
        'cache.l1d.data.miss': 1,
        'cache.llc.data.miss': 1,
        'cache.memory.data.remote': 1,
        'cycles.data': REMOTE,
      },
    ]);
  });

  test('of a cluster serves that many CPUs of one node, in ascending order', () => {
    // CPUs 0, 2, 3 are on node 0: {0, 2} and {3}; CPU 1 is alone on node 1.
    const setup = { caches: { llc: llc(16, { cpus: 2 }) }, context: { cpuNode: [0, 1, 0, 0] } };
    const oracle = run(setup, [load(0), load(0, 1), load(0, 2), load(0, 3)]);
    const hits = oracle.counters().map((counters) => counters['cache.llc.data.hit'] ?? 0);
    expect(hits).toEqual([0, 0, 1, 0]);
  });

  test('of the home node serves everyone where it belongs to the memory, farther ones at more cost', () => {
    // Home node 1. CPU 1 (node 1) reads it from memory, CPU 0 (node 0) hits in node 1's LLC: 20 + (140 - 80).
    const caches = { llc: llc(16, { remoteCacheable: false }) };
    const oracle = run({ caches, memory: { data: { node: 1 } }, context: { cpuNode: [0, 1] } }, [
      load(0, 1),
      load(0, 0),
    ]);
    expect(accessesOf(oracle)).toEqual([
      { 'cache.l1d.data.miss': 1, 'cache.llc.data.hit': 1, 'cycles.data': LLC + REMOTE - LOCAL },
      { 'cache.l1d.data.miss': 1, 'cache.llc.data.miss': 1, 'cache.memory.data.local': 1, 'cycles.data': LOCAL },
    ]);
  });

  test('of another node is never cheaper than the own', () => {
    // From node 0 its own memory costs 140 and node 1's 80: the difference is not taken off.
    const distances = [
      [20, 10],
      [20, 10],
    ];
    const caches = { l1d: small, llc: llc(16, { remoteCacheable: false }) };
    const setup = { caches, machine: { distances }, memory: { data: { node: 1 } }, context: { cpuNode: [0, 1] } };
    expectCpu0(setup, [load(0), load(1), load(0)], {
      'cache.l1d.data.miss': 3,
      'cache.llc.data.miss': 2,
      'cache.llc.data.hit': 1,
      'cache.memory.data.remote': 2,
      'cycles.data': 80 + 80 + LLC,
    });
  });

  test('of the memory is the own one where placement is local', () => {
    // Both CPUs find the home on their own node, so each has its own LLC for L0.
    const caches = { llc: llc(16, { remoteCacheable: false }) };
    const oracle = run({ caches, memory: { data: 'local' }, context: { cpuNode: [0, 1] } }, [load(0), load(0, 1)]);
    const missed = {
      'cache.l1d.data.miss': 1,
      'cache.llc.data.miss': 1,
      'cache.memory.data.local': 1,
      'cycles.data': LOCAL,
    };
    expect(accessesOf(oracle)).toEqual([missed, missed]);
  });
});

describe('writes', () => {
  const small = { sets: 1, ways: 1 };

  test('take the line from other CPUs until they ask for it again', () => {
    // CPU 1 loads L0 remotely; CPU 0 stores it (hit); CPU 1 misses and finds it owned on node 0: remote; CPU 0 stores again,
    // no longer owner: CPU 1 misses a third time.
    const rows = [load(0), load(0, 1), store(0), load(0, 1), store(0), load(0, 1)];
    expect(accessesOf(run({ context: { cpuNode: [0, 1] } }, rows))).toEqual([
      {
        'cache.l1d.data.miss': 1,
        'cache.l1d.data.hit': 2,
        'cache.memory.data.local': 1,
        'cycles.data': LOCAL,
      },
      { 'cache.l1d.data.miss': 3, 'cache.memory.data.remote': 3, 'cycles.data': 3 * REMOTE },
    ]);
  });

  test('leave a copy that comes from its owner, not from its home', () => {
    // Home node 0. CPU 1 (node 1) stores L0. CPU 0: L0 from node 1 (remote), L1 and then L0 from their home (local).
    const setup = { caches: { l1d: small }, memory: { data: { node: 0 } }, context: { cpuNode: [0, 1] } };
    expectCpu0(setup, [store(0, 1), load(0), load(1), load(0)], {
      'cache.l1d.data.miss': 3,
      'cache.memory.data.remote': 1,
      'cache.memory.data.local': 2,
      'cycles.data': REMOTE + 2 * LOCAL,
    });
  });

  test('by a CPU of the same LLC make it a hit there, even if the LLC has dropped the line; then it is there', () => {
    // One LLC with one way. L9 gives all CPUs the translation. CPU 0 stores L0, its load of L1 replaces L0 in the LLC. CPU 1's
    // load of L0 is a hit by CPU 0's owned copy and enters the LLC, where CPU 2 finds it.
    const rows = [load(9), load(9, 1), load(9, 2), store(0), load(1), load(0, 1), load(0, 2)];
    const oracle = run({ caches: { llc: llc(1) }, context: { cpuNode: [0, 0, 0] } }, rows);
    const missL9 = { 'cache.l1d.data.miss': 2, 'cache.llc.data.miss': 1, 'cache.memory.data.local': 1 };
    const expected = { ...missL9, 'cache.llc.data.hit': 1, 'cycles.data': LOCAL + LLC };
    expect(accessesOf(oracle).slice(1)).toEqual([expected, expected]);
  });

  test('by a CPU of another LLC on the node are a miss there and a local memory access', () => {
    const setup = { caches: { llc: llc(16, { cpus: 1 }) }, context: { cpuNode: [0, 0] } };
    expect(accessesOf(run(setup, [store(0), load(0, 1)]))[1]).toEqual({
      'cache.l1d.data.miss': 1,
      'cache.llc.data.miss': 1,
      'cache.memory.data.local': 1,
      'cycles.data': LOCAL,
    });
  });

  test('are a hit in the home LLC for every CPU where that belongs to the memory', () => {
    // Home node 0, owner CPU 0. CPU 1 of node 1 uses the same LLC for the line: 20 + (140 - 80).
    const setup = { caches: { llc: llc(16, { remoteCacheable: false }) }, context: { cpuNode: [0, 1] } };
    expect(accessesOf(run(setup, [store(0), load(0, 1)]))[1]).toEqual({
      'cache.l1d.data.miss': 1,
      'cache.llc.data.hit': 1,
      'cycles.data': LLC + REMOTE - LOCAL,
    });
  });

  test('of an owned line that has left l1d are forgotten', () => {
    // CPU 1 (node 1) stores L0 of node 0, then L1 takes its place in l1d. CPU 0 reads L0 from its home.
    const setup = { caches: { l1d: small }, memory: { data: { node: 0 } }, context: { cpuNode: [0, 1] } };
    expectCpu0(setup, [store(0, 1), load(1, 1), load(0)], {
      'cache.l1d.data.miss': 1,
      'cache.memory.data.local': 1,
      'cycles.data': LOCAL,
    });
  });

  test('take the line from other LLCs', () => {
    // CPU 1 (node 1) loads L0 into its LLC; CPU 0 stores L0 and loses it from l1d; CPU 1 misses L1 and LLC: remote memory.
    const setup = { caches: { l1d: small, llc: llc(16) }, context: { cpuNode: [0, 1] } };
    const rows = [load(0), load(0, 1), store(0), load(1), load(0, 1)];
    expect(accessesOf(run(setup, rows))[1]).toEqual({
      'cache.l1d.data.miss': 2,
      'cache.llc.data.miss': 2,
      'cache.memory.data.remote': 2,
      'cycles.data': 2 * REMOTE,
    });
  });

  test('leave the own LLC and L2 their copies', () => {
    // CPU 0 stores L0, L1 takes its place in l1d, L0 is in L2; CPU 1 of the same LLC finds L0 there, nobody owns it.
    const caches = { l1d: small, l2: { sets: 1, ways: 16 }, llc: llc(16) };
    const oracle = run({ caches, context: { cpuNode: [0, 0] } }, [store(0), load(1), load(0), load(0, 1)]);
    expect(oracle.counters()[0]).toMatchObject({ 'cache.l2.data.hit': 1 });
    expect(oracle.counters()[1]).toMatchObject({ 'cache.llc.data.hit': 1, 'cycles.data': LLC });
  });

  test("leave the own l1i its copy and take those of other CPUs' l1i and L2", () => {
    // Both fetch L0, CPU 0 stores it. CPU 0's fetch still hits; CPU 1's misses l1i and L2 and finds the owned copy: local.
    const caches = { l2: { sets: 1, ways: 16 } };
    const rows = [fetch(0), fetch(0, 1), store(0), fetch(0), fetch(0, 1)];
    const oracle = run({ caches, context: { cpuNode: [0, 0] } }, rows);
    expect(oracle.counters()[0]).toMatchObject({ 'cache.l1i.fetch.miss': 1, 'cache.l1i.fetch.hit': 1 });
    expect(accessesOf(oracle)[1]).toEqual({
      'cache.l1i.fetch.miss': 2,
      'cache.l2.fetch.miss': 2,
      'cache.memory.fetch.local': 2,
      'cycles.fetch': 2 * LOCAL,
    });
  });
});

describe('inclusion', () => {
  test('a line that an LLC replaces leaves the caches of its CPUs', () => {
    // LLC of two ways, after the walk L0 and d3. L1 replaces d3, L2 replaces L0, L0 replaces L1: two left l1d. The last L0
    // misses; without inclusion it hits.
    const rows = [0, 1, 2, 0].map((line) => load(line));
    expectCpu0({ caches: { llc: llc(2, { inclusive: true }) } }, rows, {
      'cache.l1d.data.miss': 4,
      'cache.llc.data.miss': 4,
      'cache.llc.backInvalidated': 2,
      'cache.memory.data.local': 4,
      'cycles.data': 4 * LOCAL,
    });
    expectCpu0({ caches: { llc: llc(2) } }, rows, {
      'cache.l1d.data.miss': 3,
      'cache.l1d.data.hit': 1,
      'cache.llc.data.miss': 3,
      'cache.memory.data.local': 3,
      'cycles.data': 3 * LOCAL,
    });
  });

  test('a hit in L1 does not make the line recent in the LLC', () => {
    // As above with a hit of L0 before L2: L0 is still what L2 replaces.
    const rows = [0, 1, 0, 2, 0].map((line) => load(line));
    expectCpu0({ caches: { llc: llc(2, { inclusive: true }) } }, rows, {
      'cache.l1d.data.miss': 4,
      'cache.l1d.data.hit': 1,
      'cache.llc.data.miss': 4,
      'cache.llc.backInvalidated': 2,
      'cache.memory.data.local': 4,
      'cycles.data': 4 * LOCAL,
    });
  });

  test('is counted once per private cache at the CPU that caused it', () => {
    // CPU 0 loads and fetches L0. LLC of eight, most recent first: L0 d3 d2 d1 d0. CPU 1's walk makes the d recent, then L1 L2
    // L3 fill it and L4 replaces L0, which leaves l1i and l1d of CPU 0.
    const rows = [load(0), fetch(0), load(1, 1), load(2, 1), load(3, 1), load(4, 1)];
    const oracle = run({ caches: { llc: llc(8, { inclusive: true }) }, context: { cpuNode: [0, 0] } }, rows);
    expect(oracle.counters().map((counters) => counters['cache.llc.backInvalidated'])).toEqual([undefined, 2]);
  });

  test('takes a line that an LLC loses to a write from the CPUs of its cluster', () => {
    // L0 is in l1d of CPU 1 (node 1) and of CPU 2 (node 0). CPU 0's store takes it from the LLC of node 1, so CPU 1's copy counts;
    // the LLC of node 0 keeps it, and CPU 2 loses its copy to the write itself.
    const setup = { caches: { llc: llc(16, { inclusive: true }) }, context: { cpuNode: [0, 1, 0] } };
    const oracle = run(setup, [load(0, 1), load(0, 2), store(0), load(0, 2)]);
    expect(oracle.counters().map((counters) => counters['cache.llc.backInvalidated'])).toEqual([
      1,
      undefined,
      undefined,
    ]);
    expect(oracle.counters()[2]).toMatchObject({ 'cache.l1d.data.miss': 2 });
  });
});

describe('walks', () => {
  test('from l1d read each descriptor as a load', () => {
    // First touch: d0 to d3 from memory. The next page's descriptors are in the same four lines: four hits.
    const oracle = run({ caches: { walks: 'l1d' } }, [load(0), load(64)]);
    expect(walksOf(oracle)).toEqual([
      {
        'cache.l1d.walk.miss': 4,
        'cache.l1d.walk.hit': 4,
        'cache.memory.walk.local': 4,
        'cycles.walk': 4 * LOCAL,
      },
    ]);
  });

  test('share l1d with data', () => {
    // l1d of one line: the walk leaves d3, data replaces it, the next walk of four misses again.
    const oracle = run({ caches: { walks: 'l1d', l1d: { sets: 1, ways: 1 } } }, [load(0), load(64)]);
    expect(walksOf(oracle)).toEqual([
      { 'cache.l1d.walk.miss': 8, 'cache.memory.walk.local': 8, 'cycles.walk': 8 * LOCAL },
    ]);
  });

  test('from l2 neither ask nor fill l1d', () => {
    // First touch: d0 to d3 from memory into L2, then four hits there.
    const oracle = run({ caches: { walks: 'l2', l2: { sets: 1, ways: 8 } } }, [load(0), load(64)]);
    expect(walksOf(oracle)).toEqual([
      {
        'cache.l2.walk.miss': 4,
        'cache.l2.walk.hit': 4,
        'cache.memory.walk.local': 4,
        'cycles.walk': 4 * LOCAL + 4 * L2,
      },
    ]);
  });

  test('from l2 without an L2 start at the LLC', () => {
    const oracle = run({ caches: { walks: 'l2', llc: llc(8) } }, [load(0), load(64)]);
    expect(walksOf(oracle)).toEqual([
      {
        'cache.llc.walk.miss': 4,
        'cache.llc.walk.hit': 4,
        'cache.memory.walk.local': 4,
        'cycles.walk': 4 * LOCAL + 4 * LLC,
      },
    ]);
  });

  test('find their tables at home, those of local tables everywhere', () => {
    // Tables on node 1, asked from node 0: remote. Local tables, made by CPU 1 of node 1: local for CPU 0.
    const cpuNode = [0, 1];
    const placed = run({ memory: { tables: { node: 1 } }, context: { cpuNode } }, [load(0)]);
    expect(walksOf(placed)[0]).toEqual({ 'cache.memory.walk.remote': 4, 'cycles.walk': 4 * REMOTE });
    const local = run({ memory: { tables: 'local' }, context: { cpuNode } }, [load(0, 1), load(0)]);
    expect(walksOf(local)[0]).toEqual({ 'cache.memory.walk.local': 4, 'cycles.walk': 4 * LOCAL });
  });

  test('of two stages read all 24 descriptors through the caches', () => {
    // Stage-1 tables are at IPA 0 to 0x3000: their four stage-2 translations read 4 lines, as the last entries share one. The
    // page is at IPA 2^47: root entry 256 (another line) and three tables of its own: 4 lines. Stage 1: 4 lines. 12 of 24 miss.
    const stage2 = { format: 'ept', levels: 4, pageSize: '4K' } as const;
    const oracle = run({ caches: { walks: 'l1d', l1d: { sets: 1, ways: 16 } }, paging: { stage2 } }, [
      load(0),
      load(0),
    ]);
    expect(walksOf(oracle)).toEqual([
      {
        'cache.l1d.walk.miss': 12,
        'cache.l1d.walk.hit': 12,
        'cache.memory.walk.local': 12,
        'cycles.walk': 12 * LOCAL,
      },
    ]);
    // The data line is that of the frame behind the page.
    expect(accessesOf(oracle)[0]).toMatchObject({ 'cache.l1d.data.miss': 1, 'cache.l1d.data.hit': 1 });
  });
});

describe('prefetch', () => {
  test('follows a miss and the first hit of a prefetched line', () => {
    // 0 misses: 1, 2 are brought. 1 hits its mark: 2 is there, 3 is brought. 1 again: no mark. 2 hits its mark: 3 is there, 4.
    expectCpu0(
      { caches: { prefetchLines: 2 } },
      [0, 1, 1, 2].map((line) => fetch(line)),
      {
        'cache.l1i.fetch.miss': 1,
        'cache.l1i.fetch.hit': 3,
        'cache.memory.fetch.local': 1,
        'cache.prefetch.lines': 4,
        'cache.prefetch.memory': 4,
        'cycles.fetch': LOCAL,
      },
    );
  });

  test('ends with the 4 KiB of physical memory', () => {
    // 61 brings 62 and 63. 62 hits its mark: 63 is there, there is no 64. 63 hits its mark: nothing.
    expectCpu0(
      { caches: { prefetchLines: 2 } },
      [61, 62, 63].map((line) => fetch(line)),
      {
        'cache.l1i.fetch.miss': 1,
        'cache.l1i.fetch.hit': 2,
        'cache.memory.fetch.local': 1,
        'cache.prefetch.lines': 2,
        'cache.prefetch.memory': 2,
        'cycles.fetch': LOCAL,
      },
    );
  });

  test('leaves a line that is there as it is', () => {
    // Three ways, most recent first: 1 -> 2* 1; 0 -> 0 2* 1, and 1 is there already; 63, which prefetches nothing, replaces 1.
    // So 2 hits its mark and brings 3. Had 1 become recent, 2 would miss.
    const caches = { l1i: { sets: 1, ways: 3 }, prefetchLines: 1 };
    expectCpu0(
      { caches },
      [1, 0, 63, 2].map((line) => fetch(line)),
      {
        'cache.l1i.fetch.miss': 3,
        'cache.l1i.fetch.hit': 1,
        'cache.memory.fetch.local': 3,
        'cache.prefetch.lines': 2,
        'cache.prefetch.memory': 2,
        'cycles.fetch': 3 * LOCAL,
      },
    );
  });

  test('from L2 counts a line, but neither memory nor a hit', () => {
    // The load enters L1 in L2. The fetch of L0 misses everywhere and brings L1 from L2.
    const caches = { l2: { sets: 1, ways: 16 }, prefetchLines: 1 };
    expectCpu0({ caches }, [load(1), fetch(0)], {
      'cache.l1d.data.miss': 1,
      'cache.l2.data.miss': 1,
      'cache.memory.data.local': 1,
      'cycles.data': LOCAL,
      'cache.l1i.fetch.miss': 1,
      'cache.l2.fetch.miss': 1,
      'cache.memory.fetch.local': 1,
      'cache.prefetch.lines': 1,
      'cycles.fetch': LOCAL,
    });
  });

  test('fills L2 and LLC where it misses them', () => {
    // Fetching L0 brings L1 everywhere: the load of L1 hits L2 on CPU 0 and the LLC on CPU 1.
    const caches = { l2: { sets: 1, ways: 16 }, llc: llc(16), prefetchLines: 1 };
    const oracle = run({ caches, context: { cpuNode: [0, 0] } }, [fetch(0), load(1), load(1, 1)]);
    expect(oracle.counters()[0]).toMatchObject({ 'cache.l2.data.hit': 1, 'cycles.data': L2 });
    expect(oracle.counters()[1]).toMatchObject({ 'cache.llc.data.hit': 1, 'cycles.data': LLC });
  });

  test('of an owned line ends the ownership and is not from memory', () => {
    // CPU 1 stores L1. CPU 0 fetches L0 and brings L1 from CPU 1. CPU 1 stores L1 again: CPU 0's l1i loses it, its fetch misses.
    const rows = [store(1, 1), fetch(0), store(1, 1), fetch(1)];
    const oracle = run({ caches: { prefetchLines: 1 }, context: { cpuNode: [0, 0] } }, rows);
    expect(accessesOf(oracle)[0]).toEqual({
      'cache.l1i.fetch.miss': 2,
      'cache.memory.fetch.local': 2,
      'cache.prefetch.lines': 2, // L1, then L2 after the fetch of L1
      'cache.prefetch.memory': 1, // L2
      'cycles.fetch': 2 * LOCAL,
    });
  });
});

describe('homes', () => {
  const cpuNode = [0, 1];
  const memoryOf = (setup: Setup, rows: Row[]) =>
    pick(run(setup, rows).counters()[0], (key) => /memory\.(data|fetch)/.test(key));

  test.each([
    // From CPU 0 of node 0, after CPU 1 of node 1 has mapped page 0: pages 0 and 1.
    ['first-touch', { 'cache.memory.data.remote': 1, 'cache.memory.data.local': 1 }],
    ['local', { 'cache.memory.data.local': 2 }],
    ['interleave', { 'cache.memory.data.local': 1, 'cache.memory.data.remote': 1 }],
    [{ node: 1 }, { 'cache.memory.data.remote': 2 }],
  ] as const)('of allocated frames follow memory.data: %j', (data, expected) => {
    const rows = [load(1, 1), load(0), load(64)];
    expect(memoryOf({ memory: { data }, context: { cpuNode } }, rows)).toEqual(expected);
  });

  const regions = [
    { name: 'text', va: 0x10_0000n, bytes: 0x1000n, pa: 0x8000_0000n },
    { name: 'rodata', va: 0x10_1000n, bytes: 0x1000n, pa: 0x8000_1000n },
    { name: 'modules', va: 0x10_2000n, bytes: 0x1000n, pa: 0x8000_2000n },
  ];
  const pages = [0x4000, 0x4040, 0x4080]; // lines of 0x10_0000, 0x10_1000, 0x10_2000

  test('of allocated text and read-only data follow memory.text, where it is set', () => {
    const context = { cpuNode, regions };
    const rows = pages.map((line) => fetch(line));
    expect(memoryOf({ memory: { text: { node: 1 } }, context }, rows)).toEqual({
      'cache.memory.fetch.remote': 2,
      'cache.memory.fetch.local': 1,
    });
    expect(memoryOf({ context }, rows)).toEqual({ 'cache.memory.fetch.local': 3 });
    // Local text is local for every CPU, though CPU 1 has mapped it.
    const local = { memory: { text: 'local' as const, data: { node: 1 } }, context };
    expect(memoryOf(local, [...pages.map((line) => fetch(line + 1, 1)), ...rows])).toEqual({
      'cache.memory.fetch.local': 2,
      'cache.memory.fetch.remote': 1,
    });
  });

  const has = { pa: true, size: false, insns: false, mode: false, asid: false, vm: false };
  const captured = { mapping: 'captured' as const };
  const ranges = [
    { node: 0, from: 0n, to: 0x8000_0000n },
    { node: 1, from: 0x8000_0000n, to: 0xc000_0000n },
  ];

  test('of captured frames are the node of their range, node 0 outside all, whatever memory.data says', () => {
    // From node 0: 0x7fff_f000 is node 0's, 0x8000_0000 node 1's, 0xc000_0000 nobody's; a page of unknown pa is allocated.
    const pas = [0x7fff_f000n, 0x8000_0000n, 0xc000_0000n, (1n << 64n) - 1n];
    const rows = pas.map((pa, page) => load(64 * page, 0, { pa }));
    const setup = { replay: captured, memory: { data: { node: 1 } }, context: { cpuNode, has, ranges } };
    expect(memoryOf(setup, rows)).toEqual({ 'cache.memory.data.local': 2, 'cache.memory.data.remote': 2 });
  });

  test('of captured text follow memory.text by physical address, also through another mapping', () => {
    // The three regions are on node 1 by their range. The linear map has them at 0x4000_0000, read by loads.
    const rows = pages.map((line, i) => fetch(line, 0, { pa: regions[i].pa }));
    const alias = regions.map(({ pa }, i) => load(0x100_0000 + 64 * i, 0, { pa }));
    const setup = { replay: captured, memory: { text: { node: 0 } }, context: { cpuNode, has, ranges, regions } };
    expect(memoryOf(setup, [...rows, ...alias])).toEqual({
      'cache.memory.fetch.local': 2,
      'cache.memory.fetch.remote': 1,
      'cache.memory.data.local': 2,
      'cache.memory.data.remote': 1,
    });
  });

  test.each([
    // Frames 0x8_0000 and 0x8_0001, from nodes 1, 0 and 0: by number 0 and 1, or node 1 for the first and node 0 for the second.
    ['interleave', { 'cache.memory.fetch.local': 1, 'cache.memory.fetch.remote': 1 }, 'remote'],
    ['first-touch', { 'cache.memory.fetch.local': 1, 'cache.memory.fetch.remote': 1 }, 'local'],
    ['local', { 'cache.memory.fetch.local': 2 }, 'local'],
  ] as const)('of captured text by %s are by physical page', (text, expected, ofCpu1) => {
    const rows = [fetch(pages[0] + 1, 1, { pa: regions[0].pa + 64n })];
    rows.push(...[0, 1].map((i) => fetch(pages[i], 0, { pa: regions[i].pa })));
    const oracle = run({ replay: captured, memory: { text }, context: { cpuNode, has, ranges, regions } }, rows);
    expect(pick(oracle.counters()[0], (key) => /memory\.fetch/.test(key))).toEqual(expected);
    expect(pick(oracle.counters()[1], (key) => /memory\.fetch/.test(key))).toEqual({
      [`cache.memory.fetch.${ofCpu1}`]: 1,
    });
  });

  test('of a large page follow the access that maps it', () => {
    // A page of 2 MiB with text in it, local, and data on node 0. Mapped by data it is on node 0 for CPU 1's fetch of the text; mapped
    // by the fetch it is local for CPU 1's load, and for CPU 0's.
    const setup = {
      memory: { text: 'local' as const, data: { node: 0 } },
      paging: { pageSize: { default: '2M' as const, rules: [] } },
      context: { cpuNode, regions },
    };
    const ofCpus = (rows: Row[]) =>
      run(setup, rows)
        .counters()
        .map((counters) => pick(counters, (key) => /memory\.(data|fetch)/.test(key)));
    expect(ofCpus([load(0, 1), fetch(pages[0], 1)])[1]).toEqual({
      'cache.memory.data.remote': 1,
      'cache.memory.fetch.remote': 1,
    });
    expect(ofCpus([fetch(pages[0], 1), load(0, 1), load(1, 0)])).toEqual([
      { 'cache.memory.data.local': 1 },
      { 'cache.memory.data.local': 1, 'cache.memory.fetch.local': 1 },
    ]);
  });

  test('captured lines are not those of tables and allocated frames at equal addresses', () => {
    // Walks fill l1d with d0 to d3 at addresses 0, 0x1000, 0x2000, 0x3000. Captured L0 at 0 is not d0, in the same set of 64.
    const rows = [load(0, 0, { pa: 0n }), load(64, 0, { pa: 0x2000n })];
    const l1d = { sets: 64, ways: 4 };
    const oracle = run({ caches: { l1d, walks: 'l1d' }, replay: captured, context: { has } }, rows);
    // L0 drops d0; the second walk misses it and, as d0 drops d1 and so on, all others.
    expect(oracle.counters()[0]).toMatchObject({ 'cache.l1d.data.miss': 2, 'cache.l1d.walk.miss': 8 });
  });

  test('an allocated frame that becomes a captured one of the same number is remapped', () => {
    // The first frame of node 0 is at 2^39.
    const pas = [(1n << 64n) - 1n, 1n << 39n, 1n << 39n];
    const oracle = run(
      { replay: captured, context: { has } },
      pas.map((pa) => load(0, 0, { pa })),
    );
    expect(oracle.counters()[0]).toMatchObject({
      'walk.remaps': 1,
      'cache.l1d.data.miss': 2,
      'cache.l1d.data.hit': 1,
    });
  });

  test('are as far as the distance from the asking node says', () => {
    // 0 -> 1 is 30, 1 -> 0 is 20: the line through (10, 80) and (20, 140) gives 200 at 30.
    const distances = [
      [10, 30],
      [20, 10],
    ];
    const oracle = run({ machine: { distances }, memory: { data: { node: 1 } }, context: { cpuNode } }, [load(0)]);
    expect(accessesOf(oracle)[0]['cycles.data']).toBe(200);
    const other = run({ machine: { distances }, memory: { data: { node: 0 } }, context: { cpuNode } }, [load(0, 1)]);
    expect(accessesOf(other)[1]['cycles.data']).toBe(140);
  });
});

describe('cold and polluted', () => {
  const KERNEL = 0xffff_8000_0000_0000n;
  const regions = [{ name: 'text', va: KERNEL, bytes: 0x1000n }];
  // A page of text, another one of the upper half, one of the lower half.
  const rows = [KERNEL, KERNEL + 0x1000n, 0n].map((va) => load(0, 0, { va }));

  test.each([
    // Each page is loaded before and after: what is in scope misses, the rest hits; all three walk again.
    ['all', 6, 0],
    ['kernel', 5, 1],
    ['text', 4, 2],
  ] as const)('cool(%s) takes what was entered for it, and all translations', (scope, misses, hits) => {
    const oracle = machine({ context: { regions } });
    oracle.run(rows);
    oracle.cool(scope);
    oracle.run(rows);
    const { 'cache.l1d.data.miss': miss, 'cache.l1d.data.hit': hit = 0, 'walk.count': walks } = oracle.counters()[0];
    expect([miss, hit, walks]).toEqual([misses, hits, 6]);
  });

  test('cool goes by who entered the line, in each cache by itself; walks are nobody', () => {
    // Frame 0x8000_0000 at a kernel and a user address. The kernel enters L0 in l1d and LLC, the user's load hits in l1d. After
    // cool(kernel) it is gone from both. Descriptors stay: both walk again, four LLC hits each.
    const has = { pa: true, size: false, insns: false, mode: false, asid: false, vm: false };
    const oracle = machine({ caches: { llc: llc(32) }, replay: { mapping: 'captured' }, context: { has } });
    const [kernel, user] = [KERNEL, 0n].map((va) => load(0, 0, { va, pa: 0x8000_0000n }));
    oracle.run([kernel, user]);
    const walked = { ...walksOf(oracle)[0] };
    oracle.cool('kernel');
    oracle.run([user, kernel]);
    expect(accessesOf(oracle)).toEqual([
      {
        'cache.l1d.data.miss': 2,
        'cache.l1d.data.hit': 2,
        'cache.llc.data.miss': 2,
        'cache.memory.data.local': 2,
        'cycles.data': 2 * LOCAL,
      },
    ]);
    // The first walk reads four lines from memory. The second finds none but the root's, if the two entries share a line: entries
    // 256 and 0 do not. So eight misses, then eight hits.
    expect(walked).toEqual({
      'cache.llc.walk.miss': 8,
      'cache.memory.walk.local': 8,
      'cycles.walk': 8 * LOCAL,
    });
    expect(walksOf(oracle)[0]).toEqual({ ...walked, 'cache.llc.walk.hit': 8, 'cycles.walk': 8 * LOCAL + 8 * LLC });
    // What the user entered after that is not the kernel's, though the kernel hit it.
    oracle.cool('kernel');
    oracle.run([user]);
    expect(oracle.counters()[0]['cache.l1d.data.hit']).toBe(3);
  });

  test('cool empties walk caches and second-level TLBs', () => {
    // With one walk-cache entry per level the second page's walk reads one descriptor; cold it reads four, and the first page too.
    const tlb = [{ sets: 1, ways: 64, pages: null }];
    const walkCaches = { pde: 1, pdpte: 1, pml4e: 1, pml5e: 1, l2: 1, l1: 1, l0: 1, lm1: 1, ipa: 1 };
    const oracle = machine({
      machine: {
        tlb: { l1i: tlb, l1d: tlb, l2: tlb },
        walkCaches: { ...walkCaches, s2l2: 1, s2l1: 1, s2l0: 1, s2lm1: 1 },
      },
    });
    oracle.run([load(0), load(64)]);
    expect(oracle.counters()[0]['walk.refs']).toBe(5);
    oracle.cool('text');
    oracle.run([load(0), load(64)]);
    expect(oracle.counters()[0]).toMatchObject({ 'walk.refs': 10, 'walk.count': 4 });
  });

  test('pollution replaces lines and counts nothing', () => {
    // l1d of two ways: 128 bytes replace L0 there, but not the translation; in the LLC of eight both stay.
    const oracle = machine({ caches: { l1d: { sets: 1, ways: 2 }, llc: llc(8) } });
    oracle.run([load(0)]);
    const before = structuredClone(oracle.counters());
    oracle.pollute(0, 128n);
    expect(oracle.counters()).toEqual(before);
    oracle.run([load(0)]);
    expect(accessesOf(oracle)[0]).toEqual({
      'cache.l1d.data.miss': 2,
      'cache.llc.data.miss': 1,
      'cache.llc.data.hit': 1,
      'cache.memory.data.local': 1,
      'cycles.data': LOCAL + LLC,
    });
    expect(oracle.counters()[0]['walk.count']).toBe(1);
  });

  test('pollution reads the same bytes every time, a CPU its own', () => {
    // LLC of seven ways: d0 to d3, L0, and CPU 0's two lines fill it. Again, they replace nothing: L0 hits the LLC. A third time
    // they only take L0's place in l1d. Then CPU 1's five lines replace d0 to d3 and L0; were two of them CPU 0's, L0 would stay.
    const l1d = { sets: 1, ways: 1 };
    const oracle = machine({ caches: { l1d, llc: llc(7) }, context: { cpuNode: [0, 0] } });
    oracle.run([load(0)]);
    oracle.pollute(0, 128n);
    oracle.pollute(0, 128n);
    oracle.run([load(0)]);
    expect(oracle.counters()[0]).toMatchObject({ 'cache.llc.data.hit': 1, 'cache.memory.data.local': 1 });
    oracle.pollute(0, 128n);
    oracle.pollute(1, 320n);
    oracle.run([load(0)]);
    expect(oracle.counters()[0]).toMatchObject({ 'cache.llc.data.hit': 1, 'cache.memory.data.local': 2 });
  });

  test('line k of pollution, of the bytes rounded up, has set k modulo the sets, on every CPU', () => {
    // Three sets of one way: 65 bytes are lines 0 and 1, which replace L3 and L1 and leave L2.
    const oracle = machine({ caches: { l1d: { sets: 3, ways: 1 } }, context: { cpuNode: [0, 0] } });
    oracle.run([load(1, 1), load(2, 1), load(3, 1)]);
    oracle.pollute(1, 65n);
    oracle.run([load(2, 1), load(1, 1), load(3, 1)]);
    expect(oracle.counters()[1]).toMatchObject({ 'cache.l1d.data.hit': 1, 'cache.l1d.data.miss': 5 });
  });

  test('pollution is on the node of its CPU', () => {
    // Caches belong to the memory: CPU 1's bytes replace what is in the LLC of node 1, so L0 of node 0 stays in that of node 0.
    const caches = { l1d: { sets: 1, ways: 1 }, llc: llc(5, { remoteCacheable: false }) };
    const oracle = machine({ caches, context: { cpuNode: [0, 1] } });
    oracle.run([load(0)]);
    oracle.pollute(1, 640n);
    oracle.run([load(1), load(0)]); // L1 replaces d0
    expect(oracle.counters()[0]['cache.llc.data.hit']).toBe(1);
    oracle.pollute(0, 640n);
    oracle.run([load(0)]);
    expect(oracle.counters()[0]['cache.llc.data.hit']).toBe(1);
  });
});
