// Reuse distances: closed forms, a list that is searched, and the misses of a replayed TLB of the same shape.

import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../host/config/load.js';
import { replayTrace } from '../../host/replay/replay.js';
import { type Batch } from '../../traces/batch.js';
import { inspect } from '../../traces/info.js';
import { missesOf, powerSteps, ReuseDistances, type ReuseHistogram } from '../../traces/reuse.js';
import { batchOf, type Row } from './support.js';

const SAMPLES = fileURLToPath(new URL('../../traces/samples/', import.meta.url));

/** The histograms of loads on CPU 0, a page per number. */
function distancesOf(pages: readonly number[], page = 4096n): ReuseHistogram[] {
  const rows = pages.map((number): Row => ({ cpu: 0, kind: 1, va: BigInt(number) * page }));
  return counted(batchOf(['cpu', 'kind', 'va'], rows));
}

function counted(batch: Batch, unit: 'pages' | 'lines' = 'pages'): ReuseHistogram[] {
  const distances = new ReuseDistances(unit);
  distances.add(batch);
  return distances.result();
}

describe('the reuse distance', () => {
  it('in a cyclic scan of n pages is n - 1', () => {
    const n = 100;
    const [, data] = distancesOf(Array.from({ length: 5 * n }, (_, i) => i % n));
    expect(data).toMatchObject({ accesses: 5 * n, cold: n });
    // Four more rounds of n accesses, each after the n - 1 other pages.
    expect([...data.counts.entries()].filter(([, count]) => count > 0)).toEqual([[n - 1, 4 * n]]);
    expect([missesOf(data, n - 1), missesOf(data, n)]).toEqual([5 * n, n]);
  });

  it('of a page that is touched again at once is 0, to and fro between two 1', () => {
    const [, data] = distancesOf([1, 1, 2, 1, 2, 2]);
    expect([...data.counts]).toEqual([2, 2]);
  });

  it('is what a search in the list of pages by last touch finds', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(30)), (pages) => {
        const order: number[] = [];
        const expected: number[] = [];
        for (const page of pages) {
          const at = order.indexOf(page);
          if (at >= 0) expected[at] = (expected[at] ?? 0) + 1;
          if (at >= 0) order.splice(at, 1);
          order.unshift(page);
        }
        const [, data] = distancesOf(pages);
        expect([...data.counts]).toEqual(Array.from(expected, (n) => n ?? 0));
        expect(data.cold).toBe(new Set(pages).size);
      }),
    );
  });

  it('outlasts the times of the tree, which are renumbered', () => {
    // 70,000 pages to and fro, thrice: going back, page i is at distance 70,000 - 1 - i.
    const n = 70_000;
    const up = Array.from({ length: n }, (_, i) => i);
    const [, data] = distancesOf([...up, ...up.toReversed(), ...up]);
    expect(data.cold).toBe(n);
    expect(data.counts.length).toBe(n);
    expect(data.counts.every((count) => count === 2)).toBe(true);
  });

  it('is counted per CPU and address space, and for fetches, data and both', () => {
    const row = (cpu: number, kind: number, va: bigint, asid = 0): Row => ({ cpu, kind, va, asid });
    const rows = [
      row(0, 0, 0n),
      row(0, 1, 0x1000n),
      row(0, 0, 0n),
      row(1, 0, 0n),
      row(0, 1, 0x1000n, 5),
      row(0, 1, 0x1000n),
    ];
    const [fetch, data, all] = counted(batchOf(['cpu', 'kind', 'va', 'asid'], rows));
    expect([fetch.cold, [...fetch.counts]]).toEqual([2, [1]]);
    expect([data.cold, [...data.counts]]).toEqual([2, [0, 1]]);
    expect([all.cold, [...all.counts]]).toEqual([4, [0, 1, 1]]);
  });

  it('counts lines of 64 bytes as well', () => {
    const rows = [0x1000n, 0x1040n, 0x103fn].map((va): Row => ({ cpu: 0, kind: 1, va }));
    const [, data] = counted(batchOf(['cpu', 'kind', 'va'], rows), 'lines');
    expect([data.cold, [...data.counts]]).toEqual([2, [0, 1]]);
  });

  it('adds up in powers of two', () => {
    const [, data] = distancesOf([0, 0, 1, 0, 2, 1, 0]);
    // Distances 0, 1, 2 (1 after 0 and 2), 2 (0 after 2 and 1).
    expect(powerSteps(data)).toEqual([
      { from: 0, to: 0, accesses: 1 },
      { from: 1, to: 1, accesses: 1 },
      { from: 2, to: 3, accesses: 2 },
    ]);
  });
});

describe('the misses of a histogram', () => {
  it.each([['sqlite.arrow'], ['x86-64-kernel.arrow']])('are those of a replayed TLB, in %s', async (name) => {
    const [fetch, data] = (await inspect(`${SAMPLES}${name}`, () => {}, ['pages'])).reuse!.pages!;
    const sizes = [4, 16, 64];
    const configs = sizes.map((ways) => {
      const sets = [
        `machine.tlb.l1i={sets: 1, ways: ${ways}}`,
        `machine.tlb.l1d={sets: 1, ways: ${ways}}`,
        'machine.tlb.l2=null',
      ];
      return loadConfig({ sets }).config;
    });
    const summaries = await replayTrace(`${SAMPLES}${name}`, configs);
    sizes.forEach((size, i) => {
      const { tlb } = summaries[i].totals as unknown as { tlb: Record<string, { miss: number }> };
      expect([tlb.l1i.miss, tlb.l1d.miss]).toEqual([missesOf(fetch, size), missesOf(data, size)]);
    });
  });
});
