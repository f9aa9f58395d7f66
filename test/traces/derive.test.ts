// Events derived from a capture's page-table stores: on a capture made here, whose tables and events are known by hand, on
// the samples, and on the full captures where they are at hand.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { convert, type ConvertOptions } from '../../traces/convert.js';
import { SwitchPoint } from '../../traces/derive/switchpoint.js';
import { TraceReader } from '../../traces/reader.js';
import { CAPTURES, derivedOf, record, rowsOf, scratch, type Made, type Row } from './support.js';

const path = scratch();
const [STORE, MARKER] = [2, 3];
const USER = 0;

/** Pages of the made capture. Init has 0x1000 at 0x40000 through four tables; entry 511 stands for the kernel's half. */
const INIT = { top: 0x10000n, l3: 0x11000n, l2: 0x12000n, l1: 0x13000n };
const CHILD = { top: 0x20000n, l3: 0x21000n, l2: 0x22000n, l1: 0x23000n };
const KERNEL_ENTRY = 0x99067n;
const TABLE = 0x67n;
const READ_WRITE = 0x8000_0000_0000_0067n;
const READ_ONLY = 0x8000_0000_0000_0025n;
const LINEAR = 0xffff_8880_0000_0000n;

type Store = [record: number, pa: bigint, value: bigint];

/** A capture of these records and table stores: a folder as the capturing tools leave it. */
function capture(name: string, records: readonly Made[], stores: readonly Store[]): string {
  const folder = path(name);
  mkdirSync(join(folder, 'snap1'), { recursive: true });
  writeFileSync(join(folder, 'trace.bin'), Buffer.concat(records.map(record)));
  writeFileSync(
    join(folder, 'registers.json'),
    JSON.stringify({ arch: 'x86-64', levels: 4, cpus: { 0: {}, 1: {} }, symbols: {} }),
  );
  writeFileSync(
    join(folder, 'snap1', 'registers.json'),
    JSON.stringify({ marker_record_index: 0, init_cr3_root: `0x${INIT.top.toString(16)}` }),
  );
  const pages = Object.values(INIT);
  const lines = pages.map((pa, i) => `${i},0x${pa.toString(16)},4096,init:L${4 - i}+0x0/4096`);
  writeFileSync(join(folder, 'snap1', 'tablepages.csv'), `index,pa,bytes,roles\n${lines.join('\n')}\n`);
  const tables = new BigUint64Array(4 * 512);
  [tables[0], tables[511]] = [INIT.l3 | TABLE, KERNEL_ENTRY];
  tables[512] = INIT.l2 | TABLE;
  tables[1024] = INIT.l1 | TABLE;
  tables[1536 + 1] = 0x40000n | READ_WRITE;
  writeFileSync(join(folder, 'snap1', 'tablepages.bin'), new Uint8Array(tables.buffer));
  writeFileSync(
    join(folder, 'table_stores.bin'),
    new Uint8Array(BigUint64Array.from(stores.flatMap(([r, pa, v]) => [BigInt(r), pa, v])).buffer),
  );
  return join(folder, 'trace.bin');
}

const storeTo = (entry: bigint): Made => ({ va: LINEAR + entry, pa: entry, kind: STORE });

/** Init forks, the child writes to the page (copy on write), runs on, exits; init runs again. */
const FORK: readonly [Made, (readonly [pa: bigint, value: bigint])?][] = [
  [{ va: 1n, kind: MARKER }],
  [{ va: 0x1008n, pa: 0x40008n, mode: USER }],
  [storeTo(CHILD.top + 511n * 8n), [CHILD.top + 511n * 8n, KERNEL_ENTRY]],
  [storeTo(CHILD.top), [CHILD.top, CHILD.l3 | TABLE]],
  [storeTo(CHILD.l3), [CHILD.l3, CHILD.l2 | TABLE]],
  [storeTo(CHILD.l2), [CHILD.l2, CHILD.l1 | TABLE]],
  [storeTo(INIT.l1 + 8n), [INIT.l1 + 8n, 0x40000n | READ_ONLY]],
  [storeTo(CHILD.l1 + 8n), [CHILD.l1 + 8n, 0x40000n | READ_ONLY]],
  // Both have this page.
  [{ va: 0x1010n, pa: 0x40010n, mode: USER }],
  [storeTo(CHILD.l1 + 8n), [CHILD.l1 + 8n, 0n]],
  [storeTo(CHILD.l1 + 8n), [CHILD.l1 + 8n, 0x50000n | READ_WRITE]],
  [storeTo(CHILD.l1 + 16n), [CHILD.l1 + 16n, 0x51000n | READ_WRITE]],
  [{ va: 0x1018n, pa: 0x50018n, mode: USER }],
  // Only the accessed bit of a page: no change.
  [storeTo(CHILD.l1 + 8n), [CHILD.l1 + 8n, 0x50000n | (READ_WRITE & ~0x20n)]],
  [storeTo(CHILD.l1 + 8n), [CHILD.l1 + 8n, 0n]],
  [storeTo(CHILD.l1 + 16n), [CHILD.l1 + 16n, 0n]],
  [storeTo(CHILD.top), [CHILD.top, 0n]],
  [{ va: LINEAR, pa: 0n }],
  [{ va: 0x1020n, pa: 0x40020n, mode: USER }],
  // Nobody has this page there.
  [{ va: 0x1028n, pa: 0x77028n, mode: USER }],
];

const forkCapture = (name: string, extra: Made[] = []) => {
  const shift = extra.length;
  const stores = FORK.flatMap(([, store], i): Store[] => (store ? [[i + (i > 0 ? shift : 0), ...store]] : []));
  const [first, ...rest] = FORK.map(([made]) => made);
  return capture(name, [first, ...extra, ...rest], stores);
};

async function converted(trace: string, options: ConvertOptions = {}) {
  const out = path('out.arrow');
  const { metadata } = await convert([trace], out, { warn: () => {}, ...options });
  return { rows: await rowsOf(out), metadata };
}

describe('a capture with its page-table stores', () => {
  const expected = [
    // Init is in the snapshot; it ran since the marker.
    '0: cpu 0 mm_create 0x10000 0x1',
    '1: cpu 0 ctx_switch 0x10000 0x1 0x0 0x0',
    // The copy of the kernel's entry makes the top-level table, its first user entry covers VA 0.
    '2: cpu 0 mm_create 0x20000 0x2',
    '3: cpu 0 user_pud_alloc 0x0 0x20000',
    // Fork takes write permission away (1: read) and copies the entry.
    '6: cpu 0 user_prot 0x1000 0x1 0x10000 0x1',
    '7: cpu 0 user_map 0x1000 0x1 0x20000 0x40000',
    // Copy on write: cleared, then set; the next entry continues VA and PA, and is part of the same event.
    '9: cpu 0 user_unmap 0x1000 0x1 0x20000 0x0',
    '10: cpu 0 user_map 0x1000 0x2 0x20000 0x50000',
    // Row 12 is the first that only the child explains.
    '12: cpu 0 ctx_switch 0x20000 0x2 0x10000 0x0',
    '14: cpu 0 user_unmap 0x1000 0x2 0x20000 0x0',
    '16: cpu 0 user_pud_free 0x0 0x20000',
    // The child's last user entry went in row 16, but the CPU is on its table until row 18.
    '18: cpu 0 ctx_switch 0x10000 0x1 0x20000 0x0',
    '18: cpu 0 mm_destroy 0x20000 0x0',
  ];

  it('gets the events of a fork, each before the row that did it', async () => {
    const { rows, metadata } = await converted(forkCapture('fork'));
    expect(derivedOf(rows)).toEqual(expected);
    expect(metadata.derived).toEqual({
      events: {
        ...{ mm_create: 2, mm_destroy: 1, ctx_switch: 3, user_pud_alloc: 1, user_pud_free: 1 },
        ...{ user_map: 2, user_unmap: 2, user_prot: 1 },
      },
      // User rows 1, 8, 12, 18 and 19, of which 19 is at a page of nobody.
      ...{ userRows: 5, explained: 4, switchVa: null },
    });
    // Rows of events: the marker, the 13 derived ones, and one more for each that has more than two operands.
    const operands = expected.filter((line) => line.split(' ').length > 6).length;
    expect(metadata.counts.event).toBe(1 + expected.length + operands);
  });

  it('keeps the captured rows as they are without the events, in the same order', async () => {
    const trace = forkCapture('same');
    const plain = (await converted(trace, { derive: false })).rows;
    const { rows } = await converted(trace);
    const columns = Object.keys(plain[0]);
    expect(columns).not.toContain('arg');
    const captured = rows.filter(({ kind }) => Number(kind) < 19);
    expect(captured.every(({ arg }) => arg === 0n)).toBe(true);
    expect(captured.map((row) => Object.fromEntries(columns.map((name) => [name, row[name as keyof Row]])))).toEqual(
      plain,
    );
  });

  it('puts the events at the same rows when device accesses before them are dropped', async () => {
    const trace = forkCapture('mmio', [{ va: 0xffff_c900_0000_0000n, pa: 0xfee0_0000n, mmio: true }]);
    expect(derivedOf((await converted(trace, { dropMmio: true })).rows)).toEqual(expected);
  });

  it('is converted as before when the stores are not there', async () => {
    const folder = path('bare');
    mkdirSync(folder);
    writeFileSync(join(folder, 'trace.bin'), record({ va: 1n, kind: MARKER }));
    const { rows, metadata } = await converted(join(folder, 'trace.bin'));
    expect(Object.keys(rows[0])).not.toContain('arg');
    expect(metadata.derived).toBeNull();
  });

  it.each([
    [
      'that end inside an entry',
      Buffer.alloc(25),
      /table_stores.bin: entry 1: expected 24 bytes, found the end of the file after 1/,
    ],
    [
      'out of order',
      Buffer.concat([BigUint64Array.of(2n, 8n, 0n), BigUint64Array.of(1n, 8n, 0n)].map((a) => Buffer.from(a.buffer))),
      /entry 1: expected a record number of at least 2/,
    ],
    [
      'between entries',
      Buffer.from(BigUint64Array.of(0n, 4n, 0n).buffer),
      /entry 0: expected the address of an 8-byte entry, found 0x4/,
    ],
  ])('is refused with stores %s', async (_, bytes, message) => {
    const trace = forkCapture('damaged');
    writeFileSync(join(path('damaged'), 'table_stores.bin'), bytes);
    await expect(converted(trace)).rejects.toThrow(message);
  });

  it('is refused with a snapshot whose pages are missing', async () => {
    const trace = forkCapture('short');
    writeFileSync(join(path('short'), 'snap1', 'tablepages.bin'), new Uint8Array(4096));
    await expect(converted(trace)).rejects.toThrow(
      /tablepages.bin: expected 16384 bytes, the 4 pages of tablepages.csv, found 4096/,
    );
  });
});

describe('where the kernel switches', () => {
  /** Windows between user accesses: what is fetched, and whether the address space was another after it. */
  function find(windows: readonly [fetched: number[], changed: boolean][]): number | null {
    const point = new SwitchPoint();
    let row = 0;
    point.userAccess(0, true);
    for (const [fetched, changed] of windows) {
      for (const low of fetched) point.fetch(0, low, row++);
      row += 1000;
      point.userAccess(0, changed);
    }
    return point.find();
  }

  it('is the last of what only changes of the address space fetch', () => {
    // 1 to 5 are the scheduler, of which 3 and 4 are not fetched on the way to a kernel thread and back.
    const window: [number[], boolean] = [[9, 1, 2, 3, 4, 5], true];
    const lazy: [number[], boolean] = [[9, 1, 2, 5], false];
    expect(find([window, lazy, [[9], false], window, window, [[9], false]])).toBe(4);
  });

  it('is unknown when nothing is fetched with every change', () => {
    expect(
      find([
        [[1], true],
        [[2], true],
        [[1, 2], false],
      ]),
    ).toBeNull();
  });
});

const full = (name: string) => join(CAPTURES, 'traces', name);
const present = existsSync(CAPTURES);

describe.skipIf(!present)('a full capture', () => {
  it.each(['x86_4l_nokaslr', 'arm64_4k_nozva', 'arm64_4k_pkvm_trace'])(
    'agrees with its statistics: %s',
    async (name) => {
      const stats = JSON.parse(readFileSync(join(full(name), 'stats_tables.json'), 'utf8'));
      const segments: Record<string, number>[] = [stats.segment1, stats.segment2];
      const sum = (key: string) => segments.reduce((total, segment) => total + segment[key], 0);
      const out = path('full.arrow');
      const { metadata } = await convert([join(full(name), 'trace.bin.xz')], out, { warn: () => {} });
      const { events, userRows, explained } = metadata.derived!;
      // Init's own, and one for every fork.
      expect(events.mm_create).toBe(1 + sum('new_top_level_tables_seen'));
      expect(events.mm_destroy).toBe(sum('new_top_level_tables_seen'));
      expect(userRows - explained).toBe(sum('user_records_not_explained'));
      expect(explained / userRows).toBeGreaterThan(0.998);
      // One segment's mm_create are before the marker of the other: 33 and 33 (or 9 and 9).
      const created: number[] = [0];
      const reader = await TraceReader.open(out);
      for await (const { rows, kind, va } of reader.batches({ columns: ['kind', 'va'] })) {
        for (let i = 0; i < rows; i++) {
          if (kind[i] === 18 && va[i] === 2n) created.push(0);
          if (kind[i] === 47) created[created.length - 1]++;
        }
      }
      await reader.close();
      expect(created).toEqual([1 + segments[0].new_top_level_tables_seen, segments[1].new_top_level_tables_seen]);
      // Every child was switched to and left; init on CPU 1, then on CPU 3.
      expect(events.ctx_switch).toBe(2 + 2 * sum('new_top_level_tables_seen'));
    },
  );

  it('of a server has its two address spaces, and all user rows explained', async () => {
    const { derived } = (await convert([join(full('arm64_4k_redis'), 'trace.bin.xz')], path('redis.arrow'))).metadata;
    expect(derived!.events).toMatchObject({ mm_create: 2, ctx_switch: 2 });
    expect(derived!.explained).toBe(derived!.userRows);
    // stats.json: loads, stores and fetches in user mode.
    expect(derived!.userRows).toBe(1104706 + 1291702 + 661773);
  });
});
