// What info counts: derived by hand on small traces, and the page set against a plain Set.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ColumnName } from '../../traces/batch.js';
import { inspect, type TraceInfo } from '../../traces/info.js';
import { metadataWith, type TraceMetadata } from '../../traces/metadata.js';
import { PageSet } from '../../traces/pages.js';
import { writeTrace } from '../../traces/writer.js';
import { batchOf, eachOf, scratch, type Row } from './support.js';

const path = scratch();

async function infoOf(columns: ColumnName[], rows: Row[], metadata: Partial<TraceMetadata> = {}): Promise<TraceInfo> {
  await writeTrace(path('t.arrow'), columns, eachOf([batchOf(columns, rows)]), () => metadataWith(metadata));
  return inspect(path('t.arrow'));
}

const row = (kind: number, cpu = 0, va = 0n): Row => ({ cpu, kind, va });
const [FETCH, LOAD, STORE, BEGIN, END, MARKER] = [0, 1, 2, 16, 17, 18];

describe('a phase', () => {
  it('holds the rows of all CPUs between its begin and end, and belongs to the CPU that began it', async () => {
    const { phases } = await infoOf(
      ['cpu', 'kind', 'va'],
      [row(LOAD), row(BEGIN, 3, 7n), row(FETCH), row(LOAD, 3), row(MARKER), row(END, 3, 7n), row(STORE)],
      { phases: [{ number: 7, name: 'seven' }] },
    );
    const counts = { rows: 3, fetch: 1, load: 1, store: 0, event: 1, insns: 1 };
    expect(phases).toEqual([{ number: 7, name: 'seven', cpu: 3, times: 1, open: false, ...counts }]);
  });

  it('adds up when it begins again, nests, and may lack its end', async () => {
    const { phases } = await infoOf(
      ['cpu', 'kind', 'va'],
      [
        ...[row(BEGIN, 0, 1n), row(LOAD), row(BEGIN, 1, 2n), row(STORE), row(END, 0, 1n)],
        ...[row(LOAD), row(BEGIN, 0, 1n), row(LOAD), row(END, 0, 1n), row(STORE)],
      ],
    );
    // Phase 1: load, begin of 2, store; then one load. Phase 2: all after its begin: store, end, load, begin, load, end, store.
    expect(phases).toMatchObject([
      { number: 1, times: 2, open: false, rows: 4, load: 2, store: 1, event: 1 },
      { number: 2, times: 1, open: true, rows: 7, load: 2, store: 2, event: 3 },
    ]);
  });
});

describe('info', () => {
  it('counts kinds, modes, CPUs and instructions', async () => {
    const rows = [
      { cpu: 2, kind: FETCH, va: 0n, insns: 5, mode: 1 },
      { cpu: 2, kind: LOAD, va: 0n, insns: 0, mode: 18 },
      { cpu: 0, kind: FETCH, va: 0n, insns: 3, mode: 0 },
      { cpu: 0, kind: 37, va: 0n, insns: 9, mode: 1 },
    ];
    const info = await infoOf(['cpu', 'kind', 'va', 'insns', 'mode'], rows, { cpuNode: [0, 0, 1] });
    expect(info.mix).toEqual({ fetch: 2, load: 1, store: 0, event: 1, insns: 8 });
    expect(info.kinds).toEqual({ fetch: 2, load: 1, ctx_switch: 1 });
    expect(info.modes).toEqual({ user: 1, kernel: 1, 'guest hypervisor': 1 });
    expect(info.cpus).toEqual([
      { cpu: 0, node: 0, fetch: 1, load: 0, store: 0, event: 1, insns: 3 },
      { cpu: 2, node: 1, fetch: 1, load: 1, store: 0, event: 0, insns: 5 },
    ]);
  });

  it('counts distinct pages of accesses, not of events, and no unknown physical ones', async () => {
    const access = (kind: number, va: bigint, pa: bigint) => ({ cpu: 0, kind, va, pa });
    const { pages } = await infoOf(
      ['cpu', 'kind', 'va', 'pa'],
      [
        access(FETCH, 0x1000n, 0x1000n),
        access(LOAD, 0x1fffn, 0x20_0000n),
        access(LOAD, 0x20_0000n, 0x4000_0000n),
        access(STORE, 0xffff_ffff_ffff_f000n, 0xffff_ffff_ffff_ffffn),
        access(BEGIN, 0x7000_0000_0000n, 0x7000_0000_0000n),
      ],
    );
    expect(pages).toEqual({
      va: { '4K': 3, '2M': 3, '1G': 2 },
      fetchVa: { '4K': 1, '2M': 1, '1G': 1 },
      pa: { '4K': 3, '2M': 3, '1G': 2 },
    });
  });

  it('refuses a kind that has no meaning, by its row', async () => {
    for (const kind of [3, 15, 20, 31, 75, 255]) {
      await expect(infoOf(['cpu', 'kind', 'va'], [row(LOAD), row(kind)])).rejects.toThrow(`row 1: expected a kind`);
    }
  });
});

describe('the page set', () => {
  it('agrees with a set of page numbers at every page size', () => {
    const near = fc.bigInt({ min: 0n, max: 2n ** 24n }).map((offset) => 0xffff_8000_0000_0000n + offset);
    const address = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), near);
    fc.assert(
      fc.property(fc.array(address, { maxLength: 300 }), (addresses) => {
        const pages = new PageSet();
        for (const a of addresses) pages.addAddress(Number(a >> 32n), Number(a & 0xffff_ffffn));
        for (const shift of [0, 9, 18]) {
          expect(pages.distinct(shift)).toBe(new Set(addresses.map((a) => a >> BigInt(12 + shift))).size);
        }
      }),
    );
  });

  it('grows', () => {
    const pages = new PageSet();
    for (let i = 0; i < 100_000; i++) pages.addAddress(1, (i * 4096) >>> 0);
    for (let i = 0; i < 100_000; i++) pages.addAddress(1, (i * 4096) >>> 0);
    expect(pages.size).toBe(100_000);
    // 100,000 consecutive pages of 4 KiB from a 1 GiB boundary: 195.3 of 2 MiB.
    expect(pages.distinct(9)).toBe(196);
  });
});
