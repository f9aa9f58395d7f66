// The line caches of the core against counts derived by hand from docs/caches.md. Tiny caches, captured mapping where a test needs to choose
// physical lines; the core is driven directly, without a configuration.
//
// Table pages 0 to 3 of node 0 hold the descriptors of page 0 and its neighbours: their lines are 0, 64, 128 and 192, so that with 64 sets
// they share set 0, and tests that count data or fetches keep to other lines.

import { describe, expect, it } from 'vitest';
import { counterKeys } from '../../host/core/counters.js';
import { type Core, instantiateCore, type Pointer } from '../../host/core/instance.js';

const FETCH = 0;
const LOAD = 1;
const STORE = 2;
const UNKNOWN = 0xffff_ffff_ffff_ffffn;
const KERNEL = 0xffff_8000_0000_0000n;

/** Latencies in cycles: L2, LLC, local and remote memory. */
const L2 = 12;
const LLC = 50;
const NEAR = 200;
const FAR = 300;

type Geometry = [sets: number, ways: number];
type Row = [cpu: number, kind: number, va: bigint, pa?: bigint];

interface Options {
  /** The node of each CPU; default one CPU. */
  cpuNode?: number[];
  l1i?: Geometry;
  l1d?: Geometry;
  l2?: Geometry | null;
  llc?: Geometry | null;
  walks?: 'l1d' | 'l2';
  prefetch?: number;
  inclusive?: boolean;
  remoteCacheable?: boolean;
  mapping?: 'captured' | 'demand';
  split?: boolean;
  /** Called before the lane is started. */
  also?: (core: Core, lane: Pointer) => void;
}

/** A machine with one lane. `run` replays rows, `counts` are a CPU's counters that are not 0. */
function machine(options: Options) {
  const { cpuNode = [0], l1i = [64, 2], l1d = [64, 2], l2 = null, llc = [64, 8], mapping = 'captured' } = options;
  const core = instantiateCore('debug');
  const { Cache, Column, Format, Level, Mapping, Policy } = core;
  const nodes = Math.max(...cpuNode, 1) + 1;
  const lane = core.createLane(cpuNode.length, nodes);
  core.setStage1(lane, Format.X86, 12, 4, 9, 52, core.Control.NoExecute);
  core.addPageSize(lane, 12, 0, 0);
  cpuNode.forEach((node, cpu) => {
    core.setCpuNode(lane, cpu, node);
    core.setCluster(lane, cpu, node);
  });
  for (let from = 0; from < nodes; from++) {
    for (let to = 0; to < nodes; to++) core.setLatency(lane, from, to, from === to ? NEAR : FAR);
  }
  // A TLB that loses nothing and no walk caches: the first access to each page walks, reading four descriptors.
  core.addTlbArray(lane, Level.L1i, 16, 8, 1);
  core.addTlbArray(lane, Level.L1d, 16, 8, 1);
  core.setPageSizes(lane, 0, 1);
  core.setPlacement(lane, Policy.FirstTouch, 0, Policy.FirstTouch, 0);
  core.setReplay(
    lane,
    mapping === 'captured' ? Mapping.Captured : Mapping.Demand,
    false,
    options.split ?? false,
    false,
  );
  core.setCache(lane, Cache.L1i, ...l1i);
  core.setCache(lane, Cache.L1d, ...l1d);
  if (l2) core.setCache(lane, Cache.L2, ...l2);
  if (llc) core.setCache(lane, Cache.Llc, ...llc);
  const { walks = 'l2', prefetch = 0, inclusive = false, remoteCacheable = true } = options;
  core.setCaches(lane, L2, LLC, walks === 'l1d', prefetch, inclusive, remoteCacheable);
  options.also?.(core, lane);
  core.startLane(lane);

  const room = 64;
  const columns = {
    cpu: core.attachColumn(Column.Cpu, room * 2),
    kind: core.attachColumn(Column.Kind, room),
    va: core.attachColumn(Column.Va, room * 8),
    pa: core.attachColumn(Column.Pa, room * 8),
    size: core.attachColumn(Column.Size, room * 2),
  };
  const out = core.allocate(core.Stat.Count * 8, 8);
  const keys = counterKeys(core.Stat);
  return {
    core,
    run(rows: Row[], size = 8) {
      const { buffer } = core.memory;
      new Uint16Array(buffer, columns.cpu, room).set(rows.map(([cpu]) => cpu));
      new Uint8Array(buffer, columns.kind, room).set(rows.map(([, kind]) => kind));
      new BigUint64Array(buffer, columns.va, room).set(rows.map(([, , va]) => va));
      new BigUint64Array(buffer, columns.pa, room).set(rows.map(([, , va, pa = va & 0xffff_ffffn]) => pa));
      new Uint16Array(buffer, columns.size, room).set(rows.map(() => size));
      expect(core.replayRows(0, rows.length)).toBe(rows.length);
    },
    counts(cpu = 0): Record<string, number> {
      core.collectCounters(0, cpu, out);
      const values = new BigUint64Array(core.memory.buffer, out, core.Stat.Count);
      return Object.fromEntries(
        keys.map(({ key, index }) => [key, Number(values[index])] as const).filter(([, n]) => n),
      );
    },
  };
}

/** The counters of caches and cycles, walks left out. */
function lines(counts: Record<string, number>): Record<string, number> {
  const wanted = (key: string) => /^(cache|cycles)\./.test(key) && !key.includes('walk');
  return Object.fromEntries(Object.entries(counts).filter(([key]) => wanted(key)));
}

/** The address of a line by its number. */
const line = (number: number) => BigInt(number * 64);

describe('the steps of an access', () => {
  it('go from L1 through L2 and LLC to memory, each adding its latency', () => {
    // l1d holds 1 line, L2 the last 2 of any, the LLC all.
    const { run, counts } = machine({ l1d: [1, 1], l2: [1, 2] });
    run([
      [0, LOAD, line(1)], // memory
      [0, LOAD, line(1) + 8n], // L1
      [0, LOAD, line(2)], // memory; L2 has 2 and 1
      [0, LOAD, line(1)], // L2; it has 1 and 2
      [0, LOAD, line(3)], // memory; L2 has 3 and 1
      [0, LOAD, line(2)], // LLC
    ]);
    expect(lines(counts())).toEqual({
      'cache.l1d.data.hit': 1,
      'cache.l1d.data.miss': 5,
      'cache.l2.data.hit': 1,
      'cache.l2.data.miss': 4,
      'cache.llc.data.hit': 1,
      'cache.llc.data.miss': 3,
      'cache.memory.data.local': 3,
      'cycles.data': 3 * NEAR + L2 + LLC,
    });
  });

  it('ask l1i for fetches and l1d for data, the rest for both', () => {
    const { run, counts } = machine({ l2: [64, 2] });
    run([
      [0, LOAD, line(1)],
      [0, FETCH, line(1)],
      [0, FETCH, line(1)],
    ]);
    expect(lines(counts())).toEqual({
      'cache.l1d.data.miss': 1,
      'cache.l1i.fetch.miss': 1,
      'cache.l1i.fetch.hit': 1,
      'cache.l2.data.miss': 1,
      'cache.l2.fetch.hit': 1,
      'cache.llc.data.miss': 1,
      'cache.memory.data.local': 1,
      'cycles.data': NEAR,
      'cycles.fetch': L2,
    });
  });

  it('replace the least recent line of a set of any size', () => {
    // 3 sets of 3 ways: lines 1, 4, 7, 10 share set 1. After 1 4 7 1, line 4 is the least recent, so 10 replaces it.
    const { run, counts } = machine({ l1d: [3, 3], llc: null });
    run([1, 4, 7, 1, 10, 1, 7, 4].map((number) => [0, LOAD, line(number)] as Row));
    // Misses: 1, 4, 7, 10 and 4 again.
    expect(counts()).toMatchObject({ 'cache.l1d.data.hit': 3, 'cache.l1d.data.miss': 5, 'cache.memory.data.local': 5 });
    expect(counts()['cache.llc.data.miss']).toBeUndefined();
  });

  it('take the line of both look-ups of a split access', () => {
    const { run, counts } = machine({ split: true, mapping: 'demand' });
    // 8 bytes at 4092 cross into page 1; both lines are hit the second time.
    run([
      [0, LOAD, 4092n],
      [0, LOAD, 4092n],
      [0, LOAD, 4096n],
    ]);
    expect(counts()).toMatchObject({ 'access.load': 3, 'cache.l1d.data.miss': 2, 'cache.l1d.data.hit': 3 });
  });
});

describe('a line that another CPU has written', () => {
  it('is an LLC hit within the LLC, and the other CPU has to take it back', () => {
    const { run, counts } = machine({ cpuNode: [0, 0] });
    run([
      [0, STORE, line(1)], // memory; CPU 0 owns it
      [0, STORE, line(1)], // owned: nothing
      [1, LOAD, line(1)], // LLC; CPU 0 has it still, no longer owned
      [0, LOAD, line(1)], // L1
      [0, STORE, line(1)], // L1; CPU 1 loses it
      [1, LOAD, line(1)], // LLC
      [1, LOAD, line(1)], // L1
    ]);
    expect(lines(counts(0))).toEqual({
      'cache.l1d.data.hit': 3,
      'cache.l1d.data.miss': 1,
      'cache.llc.data.miss': 1,
      'cache.memory.data.local': 1,
      'cycles.data': NEAR,
    });
    expect(lines(counts(1))).toEqual({
      'cache.l1d.data.hit': 1,
      'cache.l1d.data.miss': 2,
      'cache.llc.data.hit': 2,
      'cycles.data': 2 * LLC,
    });
  });

  it('comes from the memory of the other CPU over another LLC, wherever its home is', () => {
    const { run, counts } = machine({
      cpuNode: [0, 1],
      also: (core, lane) => core.addMemoryRange(lane, 0n, 0xffffn, core.Policy.Node, 1),
    });
    run([
      [0, STORE, line(1)], // home node 1: remote
      [1, LOAD, line(1)], // home local, but from CPU 0: LLC miss, remote
      [1, FETCH, line(1)], // in LLC 1 since
    ]);
    expect(lines(counts(0))).toMatchObject({ 'cache.memory.data.remote': 1, 'cycles.data': FAR });
    expect(lines(counts(1))).toEqual({
      'cache.l1d.data.miss': 1,
      'cache.llc.data.miss': 1,
      'cache.memory.data.remote': 1,
      'cycles.data': FAR,
      'cache.l1i.fetch.miss': 1,
      'cache.llc.fetch.hit': 1,
      'cycles.fetch': LLC,
    });
  });

  it('is a memory access where there is no LLC', () => {
    const { run, counts } = machine({ cpuNode: [0, 0], llc: null });
    run([
      [0, STORE, line(1)],
      [1, LOAD, line(1)],
    ]);
    expect(lines(counts(1))).toEqual({
      'cache.l1d.data.miss': 1,
      'cache.memory.data.local': 1,
      'cycles.data': NEAR,
    });
  });

  it('leaves all caches of the others, l1i and L2 too, but not the own l1i', () => {
    const { run, counts } = machine({ cpuNode: [0, 0], l2: [64, 2] });
    run([
      [0, FETCH, line(1)], // memory
      [1, FETCH, line(1)], // LLC
      [0, STORE, line(1)], // l1d miss, L2 hit; CPU 1 loses it
      [0, FETCH, line(1)], // l1i has it
      [1, FETCH, line(1)], // l1i and L2 have lost it
    ]);
    expect(counts(0)).toMatchObject({ 'cache.l1i.fetch.hit': 1, 'cache.l1i.fetch.miss': 1, 'cache.l2.data.hit': 1 });
    expect(counts(1)).toMatchObject({ 'cache.l1i.fetch.miss': 2, 'cache.l2.fetch.miss': 2, 'cache.llc.fetch.hit': 2 });
  });
});

describe('an LLC that belongs to the memory', () => {
  it('adds the way to its node to a hit', () => {
    const { run, counts } = machine({
      cpuNode: [0, 1],
      l1d: [1, 1],
      remoteCacheable: false,
      also: (core, lane) => core.addMemoryRange(lane, 0n, 0xffffn, core.Policy.Node, 1),
    });
    run([
      [1, LOAD, line(1)], // memory of node 1, into its LLC
      [0, LOAD, line(1)], // the same LLC: hit
      [0, LOAD, line(2)], // memory of node 1
      [1, LOAD, line(2)], // hit, near
    ]);
    expect(lines(counts(0))).toMatchObject({
      'cache.llc.data.hit': 1,
      'cache.memory.data.remote': 1,
      'cycles.data': LLC + (FAR - NEAR) + FAR,
    });
    expect(lines(counts(1))).toMatchObject({
      'cache.llc.data.hit': 1,
      'cache.memory.data.local': 1,
      'cycles.data': NEAR + LLC,
    });
  });
});

describe('inclusion', () => {
  it('takes a line that leaves the LLC from the CPUs, also while they use it', () => {
    // LLC sets of 1 way: lines 1 and 65 are rivals. Descriptors are in the LLC only.
    const { run, counts } = machine({ cpuNode: [0, 0], llc: [64, 1], inclusive: true });
    run([
      [0, LOAD, line(1)],
      [0, LOAD, line(1)],
      [0, FETCH, line(1)], // LLC hit: now l1i and l1d have it
      [1, LOAD, line(65)], // takes it from both
      [0, LOAD, line(1)], // memory; CPU 1 loses line 65 from l1d
    ]);
    expect(counts(1)).toMatchObject({ 'cache.llc.backInvalidated': 2, 'cache.memory.data.local': 1 });
    expect(counts(0)).toMatchObject({
      'cache.l1d.data.hit': 1,
      'cache.l1d.data.miss': 2,
      'cache.memory.data.local': 2,
      'cache.llc.backInvalidated': 1,
    });
  });

  it('is off unless asked for', () => {
    const { run, counts } = machine({ cpuNode: [0, 0], llc: [64, 1] });
    run([
      [0, LOAD, line(1)],
      [1, LOAD, line(65)],
      [0, LOAD, line(1)],
    ]);
    expect(counts(0)).toMatchObject({ 'cache.l1d.data.hit': 1 });
    expect(counts(1)['cache.llc.backInvalidated']).toBeUndefined();
  });

  it('counts what a store takes from the CPUs of another LLC', () => {
    const { run, counts } = machine({ cpuNode: [0, 1], inclusive: true, l2: [64, 4] });
    run([
      [1, LOAD, line(1)],
      [0, STORE, line(1)], // LLC 1 loses it, and with it CPU 1's l1d and L2
      [1, LOAD, line(1)],
    ]);
    expect(counts(0)).toMatchObject({ 'cache.llc.backInvalidated': 2 });
    expect(counts(1)).toMatchObject({ 'cache.l1d.data.miss': 2, 'cache.llc.data.miss': 2 });
  });
});

describe('prefetch', () => {
  it('follows a miss and the first hit of a prefetched line', () => {
    const { run, counts } = machine({ prefetch: 1 });
    run([
      [0, FETCH, line(1)], // miss; brings 2
      [0, FETCH, line(1)],
      [0, FETCH, line(2)], // marked: brings 3
      [0, FETCH, line(2)], // no longer marked
      [0, FETCH, line(1)],
    ]);
    expect(lines(counts())).toEqual({
      'cache.l1i.fetch.hit': 4,
      'cache.l1i.fetch.miss': 1,
      'cache.llc.fetch.miss': 1,
      'cache.memory.fetch.local': 1,
      'cache.prefetch.lines': 2,
      'cache.prefetch.memory': 2,
      'cycles.fetch': NEAR,
    });
  });

  it('ends with the page, and tells lines of memory from those that a cache had', () => {
    const { run, counts } = machine({ prefetch: 2 });
    run([
      [0, LOAD, line(63)],
      [0, FETCH, line(62)], // brings 63, from the LLC; 64 is in another page
    ]);
    expect(counts()).toMatchObject({ 'cache.prefetch.lines': 1 });
    expect(counts()['cache.prefetch.memory']).toBeUndefined();
  });

  it('leaves a line in l1i as it is', () => {
    // One set of 3 ways, the most recent first, * marked. 2: 3* 2. 1: 1 3* 2, and 2 stays the least recent. 40: 41* 40 1. So 2 misses: 3* 2 41*.
    const { run, counts } = machine({ prefetch: 1, l1i: [1, 3] });
    run([2, 1, 40, 2].map((number) => [0, FETCH, line(number)] as Row));
    expect(counts()).toMatchObject({ 'cache.l1i.fetch.miss': 4, 'cache.prefetch.lines': 3 });
  });
});

describe('walks', () => {
  const rows: Row[] = [
    [0, LOAD, line(1)],
    [0, LOAD, line(64 + 2)],
  ];

  it('read descriptors as loads from l1d on', () => {
    // Set 0 of l1d has room for the four descriptors; page 1 is translated by the same four lines.
    const { run, counts } = machine({ walks: 'l1d', l1d: [64, 4] });
    run(rows);
    expect(counts()).toMatchObject({
      'cache.l1d.walk.miss': 4,
      'cache.l1d.walk.hit': 4,
      'cache.llc.walk.miss': 4,
      'cache.memory.walk.local': 4,
      'walk.refs': 8,
      'walk.local': 8,
      'cycles.walk': 4 * NEAR,
    });
  });

  it('or from L2 on, which leaves l1d alone', () => {
    const { run, counts } = machine({ walks: 'l2', l2: [64, 4], l1d: [1, 1] });
    run([rows[0], rows[1], [0, FETCH, line(128 + 3)], [0, LOAD, line(64 + 2)]]);
    // Page 2 is walked for too; the last load hits l1d.
    expect(counts()).toMatchObject({
      'cache.l2.walk.miss': 4,
      'cache.l2.walk.hit': 8,
      'cache.memory.walk.local': 4,
      'cache.l1d.data.hit': 1,
      'cycles.walk': 4 * NEAR + 8 * L2,
    });
    expect(counts()['cache.l1d.walk.miss']).toBeUndefined();
  });

  it('without L2 start at the LLC', () => {
    const { run, counts } = machine({ walks: 'l2' });
    run(rows);
    expect(counts()).toMatchObject({
      'cache.llc.walk.miss': 4,
      'cache.llc.walk.hit': 4,
      'cycles.walk': 4 * (NEAR + LLC),
    });
  });

  it('for fetches take a line from l1d that loads were using', () => {
    const { run, counts } = machine({ walks: 'l1d', l1d: [1, 1] });
    run([
      [0, LOAD, line(1)],
      [0, LOAD, line(1)],
      [0, FETCH, line(1)], // an l1i TLB miss: four descriptors pass through l1d
      [0, LOAD, line(1)],
    ]);
    expect(counts()).toMatchObject({ 'cache.l1d.data.hit': 1, 'cache.l1d.data.miss': 2 });
  });
});

describe('homes', () => {
  it('of captured frames are those of the first range that holds them, else node 0', () => {
    const { run, counts } = machine({
      cpuNode: [1],
      also: ({ addMemoryRange, Policy }, lane) => {
        addMemoryRange(lane, 0x1000n, 0x1fffn, Policy.Local, 0);
        addMemoryRange(lane, 0x2000n, 0x3fffn, Policy.Interleave, 0);
        addMemoryRange(lane, 0x1000n, 0x4fffn, Policy.Node, 0);
        addMemoryRange(lane, 0x5000n, 0x5fffn, Policy.Node, 1);
      },
    });
    // Local: 1 by the first range, 3 (odd) by the second, 5 by the fourth. Remote: 2, 4, and 6 outside all.
    run([1, 2, 3, 4, 5, 6].map((page) => [0, LOAD, BigInt(page * 4096 + page * 64)] as Row));
    expect(counts()).toMatchObject({ 'cache.memory.data.local': 3, 'cache.memory.data.remote': 3 });
  });

  it('of captured frames by first touch are remembered', () => {
    const { run, counts } = machine({
      cpuNode: [0, 1],
      llc: null,
      also: ({ addMemoryRange, Policy }, lane) => addMemoryRange(lane, 0n, 0xffffn, Policy.FirstTouch, 0),
    });
    run([
      [1, LOAD, line(1)],
      [0, LOAD, line(2)],
      [1, LOAD, line(3)],
    ]);
    expect(counts(0)).toMatchObject({ 'cache.memory.data.remote': 1 });
    expect(counts(1)).toMatchObject({ 'cache.memory.data.local': 2 });
  });

  it('of frames that the capture does not know are where the lane placed them', () => {
    // Page 1 is unknown: the frame is node 1's own, where CPU 0 is; captured frames without ranges are node 0's.
    const { run, counts } = machine({ cpuNode: [1] });
    run([
      [0, LOAD, 0x1040n, UNKNOWN],
      [0, LOAD, 0x2080n],
      [0, LOAD, 0x20c0n, UNKNOWN],
    ]);
    expect(counts()).toMatchObject({ 'cache.memory.data.local': 1, 'cache.memory.data.remote': 2 });
  });

  it.each([
    ['Local', 0, { 'cache.memory.fetch.local': 1 }],
    ['Node', 1, { 'cache.memory.fetch.local': 1 }],
    ['Node', 0, { 'cache.memory.fetch.remote': 1 }],
  ] as const)('of text can differ from those of data: %s %i', (policy, node, expected) => {
    const { run, counts } = machine({
      cpuNode: [0, 1],
      mapping: 'demand',
      also: (core, lane) => {
        core.setPlacement(lane, core.Policy.Node, 0, core.Policy.FirstTouch, 0);
        core.setTextPlacement(lane, core.Policy[policy], node);
        core.addTextRange(lane, KERNEL, KERNEL + 0xfffn);
      },
    });
    // CPU 0 on node 0 maps both pages, CPU 1 on node 1 asks: a line of text, and a line of data of node 0.
    run([
      [0, FETCH, KERNEL + line(1)],
      [0, LOAD, line(65)],
      [1, FETCH, KERNEL + line(2)],
      [1, LOAD, line(66)],
    ]);
    expect(counts(1)).toMatchObject({ ...expected, 'cache.memory.data.remote': 1 });
  });
});

describe('equal addresses', () => {
  it('of a captured line and a table are two lines in the same set', () => {
    // l1d has 5 ways. The walk for page 0 reads lines 0, 64, 128 and 192 of tables, all of set 0, where captured line 0 is the fifth. The
    // walk for page 64 reads 0, 64, 128 and misses 200, of set 8; captured line 4096 then drops 192, which the walk for page 1 misses.
    const { run, counts } = machine({ l1d: [64, 5], llc: null, walks: 'l1d' });
    run([
      [0, LOAD, 0n],
      [0, LOAD, 0x40000n],
      [0, LOAD, 0n],
      [0, LOAD, 0x1040n],
    ]);
    expect(counts()).toMatchObject({
      'cache.l1d.data.hit': 1,
      'cache.l1d.data.miss': 3,
      'cache.l1d.walk.hit': 6,
      'cache.l1d.walk.miss': 6,
    });
  });

  it('of an allocated and a captured frame are two frames', () => {
    const { run, counts } = machine({});
    const first = 1n << 39n; // the first frame of node 0
    run([
      [0, LOAD, line(1), UNKNOWN],
      [0, LOAD, line(1), first + 64n],
      [0, LOAD, line(1), first + 64n],
    ]);
    expect(counts()).toMatchObject({ 'walk.remaps': 1, 'cache.l1d.data.miss': 2, 'cache.l1d.data.hit': 1 });
  });
});

describe('a large page', () => {
  // 2 MiB with text in it, which is local; data is on node 0.
  const options: Options = {
    cpuNode: [0, 1],
    mapping: 'demand',
    llc: null,
    also: (core, lane) => {
      core.addPageSize(lane, 21, 1, 0);
      core.setPageSizes(lane, 1, 3);
      core.setPlacement(lane, core.Policy.Node, 0, core.Policy.FirstTouch, 0);
      core.setTextPlacement(lane, core.Policy.Local, 0);
      core.addTextRange(lane, 0x10_0000n, 0x10_0fffn);
    },
  };

  it('that an access to data maps is placed as data, its text too', () => {
    const { run, counts } = machine(options);
    run([
      [1, LOAD, line(1)],
      [1, FETCH, 0x10_0000n],
    ]);
    expect(counts(1)).toMatchObject({ 'cache.memory.data.remote': 1, 'cache.memory.fetch.remote': 1 });
  });

  it('that an access to text maps is placed as text, its data too', () => {
    const { run, counts } = machine(options);
    run([
      [1, FETCH, 0x10_0000n],
      [1, LOAD, line(1)],
      [0, LOAD, line(2)],
    ]);
    expect(counts(1)).toMatchObject({ 'cache.memory.fetch.local': 1, 'cache.memory.data.local': 1 });
    expect(counts(0)).toMatchObject({ 'cache.memory.data.local': 1 });
  });
});

describe('a page that moves', () => {
  it('in captured mapping takes its lines along', () => {
    const { run, counts } = machine({});
    run([
      [0, LOAD, line(1), line(1)],
      [0, LOAD, line(2), line(2)],
      [0, LOAD, line(1), line(65)], // remapped: another line
      [0, LOAD, line(2), line(66)],
      [0, LOAD, line(2), UNKNOWN], // where the page is now
    ]);
    expect(counts()).toMatchObject({ 'walk.remaps': 1, 'cache.l1d.data.miss': 4, 'cache.l1d.data.hit': 1 });
  });

  it('by unmapping has another frame when it is touched again', () => {
    const { core, run, counts } = machine({ mapping: 'demand' });
    run([[0, LOAD, line(1)]]);
    expect(core.unmap(0, 0, 0, 0, 0n)).toBeTruthy();
    core.invalidate(0, 0, core.Invalidation.InvpcidAll, 0, 0, 0, 0n, 0n);
    run([
      [0, LOAD, line(1)],
      [0, LOAD, line(1)],
    ]);
    expect(counts()).toMatchObject({ 'fault.demand': 2, 'cache.l1d.data.miss': 2, 'cache.l1d.data.hit': 1 });
  });

  it('by unmapping while a TLB knows it has no line, and costs nothing', () => {
    // l1d counts one hit for each look-up that is no miss.
    const { core, run, counts } = machine({ mapping: 'demand' });
    run([[0, LOAD, line(1)]]);
    const { 'cache.memory.data.local': local, 'cycles.data': cycles } = counts();
    core.unmap(0, 0, 0, 0, 0n);
    run([[0, LOAD, line(2)]]);
    expect(counts()).toMatchObject({ 'cache.memory.data.local': local, 'cycles.data': cycles, 'walk.count': 1 });
    // Eight pages of the same set drop it from the TLB, so it is mapped again: lines 1 and 2 of the new frame are as new as theirs.
    const others = Array.from({ length: 8 }, (_, i): Row => [0, LOAD, BigInt(i + 1) * 0x10000n + line(5)]);
    run([...others, [0, LOAD, line(1)], [0, LOAD, line(2)]]);
    expect(counts()).toMatchObject({ 'walk.count': 10, 'fault.demand': 10, 'cache.l1d.data.miss': 1 + 8 + 2 });
  });
});

describe('between passes', () => {
  const rows: Row[] = [
    [0, LOAD, line(1)],
    [0, LOAD, KERNEL + line(64 + 2)],
    [0, FETCH, KERNEL + line(128 + 3)],
  ];
  it.each([
    ['All', 0, 0],
    ['Kernel', 1, 0],
    ['Text', 2, 0],
  ] as const)('a cold run of scope %s keeps the lines of others', (scope, dataHits, fetchHits) => {
    const { core, run, counts } = machine({
      also: (core, lane) => core.addTextRange(lane, KERNEL + 0x2000n, KERNEL + 0x2fffn),
    });
    run(rows);
    core.cool(0, core.Scope[scope]);
    run(rows);
    // The TLBs are empty in any case: three pages, walked for twice. Text is kernel too.
    expect(counts()).toMatchObject({
      'walk.count': 6,
      'cache.l1d.data.miss': 4 - dataHits,
      'cache.l1i.fetch.miss': 2 - fetchHits,
      'cache.llc.data.miss': 4 - dataHits,
      'cache.llc.fetch.miss': 2 - fetchHits,
    });
  });

  it('line k of pollution, of the bytes rounded up, has set k modulo the sets, on every CPU', () => {
    // Three sets of one way: 65 bytes are lines 0 and 1, which replace 3 and 1 and leave 2.
    const { core, run, counts } = machine({ cpuNode: [0, 0], l1d: [3, 1], mapping: 'demand' });
    const access = (...numbers: number[]) => run(numbers.map((number) => [1, LOAD, line(number)]));
    access(1, 2, 3);
    core.pollute(0, 1, 65n);
    access(2, 1, 3);
    expect(counts(1)).toMatchObject({ 'cache.l1d.data.hit': 1, 'cache.l1d.data.miss': 5 });
  });

  it('pollution is read through l1d and LLC, uncounted, the same lines every time', () => {
    // l1d has 2 ways: one pass over 128 lines replaces everything, over 1 line only what is in set 0 twice.
    const { core, run, counts } = machine({ cpuNode: [0, 0], l1d: [64, 2], inclusive: true, llc: [64, 3] });
    run([[0, LOAD, line(1)]]);
    const before = counts();
    core.pollute(0, 0, 64n);
    core.pollute(0, 0, 64n);
    run([[0, LOAD, line(1)]]);
    expect(counts()).toMatchObject({ 'cache.l1d.data.miss': 1, 'cache.l1d.data.hit': 1 });
    core.pollute(0, 0, 128n * 64n);
    expect(lines(counts())).toEqual({ ...lines(before), 'cache.l1d.data.hit': 1 });
    run([[0, LOAD, line(1)]]);
    expect(counts()).toMatchObject({ 'cache.l1d.data.miss': 2, 'cache.llc.data.hit': 1 });
    // 192 lines replace all of the inclusive LLC; what line 1 then replaces there has left l1d before.
    core.pollute(0, 0, 192n * 64n);
    run([[0, LOAD, line(1)]]);
    expect(counts()).toMatchObject({ 'cache.l1d.data.miss': 3, 'cache.memory.data.local': 2 });
    expect(counts()['cache.llc.backInvalidated']).toBeUndefined();
  });
});
