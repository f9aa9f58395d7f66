// The native yardstick with line caches (tools/bench/caches.c) on traces of a few rows, with counts that follow from
// docs/caches.md and docs/models.md, and on samples against the core. Skipped where no C compiler is.

import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { type CachesResult, NativeCaches } from '../../tools/bench/caches.js';
import { benchCaches } from '../../tools/bench/withCaches.js';
import { batchOf } from '../assembly/rows.js';

const FETCH = 0;
const LOAD = 1;
const STORE = 2;

const native = await NativeCaches.build();
afterAll(() => native?.remove());

type Access = [kind: number, va: number | bigint, pa?: number, cpu?: number];

/** One CPU, no L2, no LLC, walks past L1, every walk from the root; a key that is given again counts. */
const PLAIN = [
  ...['mapping=captured', 'nodes=0', 'latency=100', 'tlb.l1i=16x4', 'tlb.l1d=16x4', 'walkCaches=0,0,0'],
  ...['l1i=64x8', 'l1d=64x8', 'prefetch=0', 'walks=l2', 'l2Cycles=10', 'llcCycles=40'],
];

/** CPU 0 on node 0 and CPU 1 on node 1, memory of node 1 from 1 MiB on, an LLC for each node. */
const TWO_NODES = [
  'nodes=0,1',
  'latency=100,300,300,100',
  'range=0x100000:0x200000:1',
  'llc=1x16',
  'remoteCacheable=1',
];

/** Counters of accesses; `pa` is `va` where it is not given. */
async function count(accesses: Access[], ...machine: string[]): Promise<CachesResult['counters']> {
  const rows = accesses.map(([kind, va, pa, cpu = 0]) => {
    return { kind, va: BigInt(va), pa: BigInt(pa ?? va), cpu, insns: 3, mode: 1 };
  });
  await native!.load({
    columns: batchOf(rows, { pa: true, size: false, insns: true, mode: true, asid: false, vm: false }),
  });
  return (await native!.measure(rows.length, [...PLAIN, ...machine])).counters;
}

describe.skipIf(!native)('the native program with line caches', () => {
  test.each(['x86-64-kernel', 'arm64-kernel'])('counts %s as the core does', async (name) => {
    const path = fileURLToPath(new URL(`../../traces/samples/${name}.arrow`, import.meta.url));
    // Throws where a counter differs: those of this file's other tests, and more.
    const contests = await benchCaches(path, 200_000, 1, native);
    expect(contests.map(({ mapping }) => mapping)).toEqual(['captured', 'demand']);
    for (const { equalCounters } of contests) expect(equalCounters).toBeGreaterThan(50);
  });

  test('replaces the least recent line of a set', async () => {
    // Lines A, B, A, C, A, B in one set of two: C drops B, so A, B, C, B miss. All on one page: one walk of 4 descriptors.
    const rows: Access[] = [0, 64, 0, 128, 0, 64].map((va) => [LOAD, va]);
    expect(await count(rows, 'l1d=1x2')).toMatchObject({
      'access.load': 6,
      'tlb.l1d.hit': 5,
      'tlb.l1d.miss': 1,
      'walk.refs': 4,
      'cache.l1d.data.hit': 2,
      'cache.l1d.data.miss': 4,
      'cache.memory.data.local': 4,
      'cache.memory.walk.local': 4,
      'cycles.data': 400,
      'cycles.walk': 400,
    });
  });

  test('asks L2, then the LLC, then memory, and enters the line where it was missed', async () => {
    // A misses everywhere; B drops A from L1 only: A hits L2. C then drops B from L2 {C, A}: B hits the LLC. The walk before A
    // missed everywhere with 4 lines of its own.
    const rows: Access[] = [0, 64, 0, 128, 64].map((va) => [LOAD, va]);
    expect(await count(rows, 'l1d=1x1', 'l2=1x2', 'llc=1x16', 'remoteCacheable=1')).toMatchObject({
      'cache.l1d.data.miss': 5,
      'cache.l2.data.hit': 1,
      'cache.l2.data.miss': 4,
      'cache.llc.data.hit': 1,
      'cache.llc.data.miss': 3,
      'cache.l2.walk.miss': 4,
      'cache.llc.walk.miss': 4,
      'cycles.data': 10 + 40 + 3 * 100,
    });
  });

  test("a store takes the line from the others, who then read it from the writer's cache", async () => {
    // CPU 0 stores (memory of node 0), CPU 1 loads from CPU 0's cache in the other node, CPU 0 loads and stores again without a miss,
    // which takes CPU 1's copies, so CPU 1 loads from there again.
    const rows: Access[] = [
      [STORE, 0x1000, 0x1000, 0],
      [LOAD, 0x1000, 0x1000, 1],
      [LOAD, 0x1000, 0x1000, 0],
      [STORE, 0x1000, 0x1000, 0],
      [LOAD, 0x1000, 0x1000, 1],
    ];
    expect(await count(rows, ...TWO_NODES)).toMatchObject({
      'cache.l1d.data.hit': 2,
      'cache.l1d.data.miss': 3,
      'cache.llc.data.hit': 0,
      'cache.llc.data.miss': 3,
      'cache.memory.data.local': 1,
      'cache.memory.data.remote': 2,
      'cycles.data': 100 + 2 * 300,
    });
    // Behind the same LLC, both loads of CPU 1 are hits there.
    expect(await count(rows, 'nodes=0,0', 'llc=1x16', 'remoteCacheable=1')).toMatchObject({
      'cache.llc.data.hit': 2,
      'cache.llc.data.miss': 1,
      'cycles.data': 100 + 2 * 40,
    });
  });

  test('an LLC of the memory costs the way to its node', async () => {
    // A, B, A of node 1 with one line of L1: memory 300 twice, then the LLC there: 40 and 300 - 100 on top.
    const rows: Access[] = [0x100000, 0x100040, 0x100000].map((va) => [LOAD, va]);
    expect(await count(rows, ...TWO_NODES, 'remoteCacheable=0', 'l1d=1x1')).toMatchObject({
      'cache.llc.data.hit': 1,
      'cache.memory.data.remote': 2,
      'cycles.data': 300 + 300 + 40 + 200,
    });
  });

  test('a line that leaves an inclusive LLC leaves L1, also where it was the last line used of its set', async () => {
    // An LLC of two lines: A, B, then C drops A (1), then A drops B (2). The walk's lines are in no L1.
    const rows: Access[] = [0, 64, 128, 0].map((va) => [LOAD, va]);
    expect(await count(rows, 'llc=1x2', 'remoteCacheable=1', 'inclusive=1')).toMatchObject({
      'cache.l1d.data.hit': 0,
      'cache.l1d.data.miss': 4,
      'cache.llc.backInvalidated': 2,
    });
    expect(await count(rows, 'llc=1x2', 'remoteCacheable=1')).toMatchObject({
      'cache.l1d.data.hit': 1,
      'cache.llc.backInvalidated': 0,
    });
  });

  test('a line that an inclusive LLC loses to a write is counted at the writer', async () => {
    // CPU 1 has the line in its LLC and l1d when CPU 0 stores to it: one private cache lost it.
    const rows: Access[] = [
      [LOAD, 0x1000, 0x1000, 1],
      [STORE, 0x1000, 0x1000, 0],
    ];
    expect(await count(rows, ...TWO_NODES, 'inclusive=1')).toMatchObject({ 'cache.llc.backInvalidated': 1 });
  });

  test('prefetches at a miss and at the first hit of a prefetched line, within 4 KiB', async () => {
    // Line 0 misses and brings 1; 1 was prefetched and brings 2; 2 brings 3; 1 again brings nothing; 63 misses and is the page's last.
    const rows: Access[] = [0, 64, 128, 64, 63 * 64].map((va) => [FETCH, va]);
    expect(await count(rows, 'prefetch=1')).toMatchObject({
      'access.insns': 15,
      'cache.l1i.fetch.hit': 3,
      'cache.l1i.fetch.miss': 2,
      'cache.prefetch.lines': 3,
      'cache.prefetch.memory': 3,
      'cache.memory.fetch.local': 2,
      'cycles.fetch': 200,
    });
  });

  test('walks through l1d find the descriptors of a neighbour', async () => {
    // Pages 0 and 1 have their four descriptors side by side in the same tables.
    const rows: Access[] = [
      [LOAD, 0],
      [LOAD, 0x1000],
    ];
    expect(await count(rows, 'walks=l1d')).toMatchObject({
      'cache.l1d.walk.hit': 4,
      'cache.l1d.walk.miss': 4,
      'cache.l1d.data.miss': 2,
      'cycles.walk': 400,
    });
  });

  test('a captured page that moves is remapped and walked for again', async () => {
    // Frames 1, 2, 2, 1: two remaps, each with a walk; the line of frame 1 is still in L1 at last.
    const rows: Access[] = [0x1000, 0x2000, 0x2000, 0x1000].map((pa) => [LOAD, 0, pa]);
    expect(await count(rows)).toMatchObject({
      'fault.demand': 1,
      'walk.remaps': 2,
      'walk.count': 3,
      'cache.l1d.data.hit': 2,
      'cache.l1d.data.miss': 2,
    });
  });

  test('demand mapping puts a frame on the node of the first touch', async () => {
    // CPU 1 maps the page: its load is local, that of CPU 0 remote, and so are CPU 0's reads of the tables.
    const rows: Access[] = [
      [LOAD, 0x5000, 0, 1],
      [LOAD, 0x5000, 0, 0],
    ];
    expect(await count(rows, 'mapping=demand', 'nodes=0,1', 'latency=100,300,300,100')).toMatchObject({
      'fault.demand': 1,
      'cache.memory.data.local': 1,
      'cache.memory.data.remote': 1,
      'walk.local': 4,
      'walk.remote': 4,
      'cycles.walk': 4 * 100 + 4 * 300,
    });
  });

  test('Arm has a root for each half and its own names of levels', async () => {
    // One page in each half with the same indices below the roots' choice: two full walks.
    const rows: Access[] = [
      [LOAD, 0x1000],
      [LOAD, 0xffff_0000_0000_1000n, 0x3000],
    ];
    expect(await count(rows, 'format=arm64')).toMatchObject({
      'walk.refs': 8,
      'walk.levels.0': 2,
      'walk.levels.3': 2,
      'fault.demand': 2,
    });
  });
});
