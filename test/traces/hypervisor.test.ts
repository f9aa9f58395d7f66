// Events derived from what a captured hypervisor stores to the tables of its host's stage 2 and to its own: on a capture made
// here, whose tables are known by hand, and on the full capture of a pKVM host where it is at hand.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { convert } from '../../traces/convert.js';
import { armGeometry } from '../../traces/derive/geometry.js';
import { readSnapshots, type Snapshot } from '../../traces/derive/snapshot.js';
import { Translations, without, type Leaf } from '../../traces/derive/translations.js';
import { TraceReader } from '../../traces/reader.js';
import { CAPTURES, derivedOf, record, rowsOf, scratch, type Made } from './support.js';

const path = scratch();
const [FETCH, STORE, MARKER] = [0, 2, 3];
const EL2 = 2;

/**
 * Tables of 4K with 39 address bits: three levels of 1G, 2M and 4K an entry. The host's stage 2 has a block at 0x40000000
 * and, from 0x40200000 on, a table whose entry 3 says that the hypervisor owns the page.
 */
const S2 = { root: 0x20000n, l2: 0x21000n, l3: 0x22000n };
const OWN = { root: 0x30000n, l2: 0x31000n, l3: 0x32000n };
const SPLIT = 0x23000n;
const [TABLE, BLOCK, PAGE, OWNER] = [3n, 0x7fdn, 0x7ffn, 0x100n];
/** Of a leaf: pKVM's software bit of a shared page, the access flag, S2AP's right to write. */
const [SHARED, YOUNG, WRITE] = [1n << 55n, 1n << 10n, 1n << 7n];
const OWN_PAGE = 0x743n;
const IN_VECTORS = 0xb7b3_40ef_1800n;

interface Step extends Made {
  value?: bigint;
}

const host = (pa: bigint, cpu = 0): Step => ({ va: 0xffff_0000_0000_0000n + pa, pa, cpu });
const enter = (cpu = 0): Step => ({ va: IN_VECTORS + 0x400n, pa: 0x41000400n, cpu, kind: FETCH, mode: EL2 });
const put = (pa: bigint, index: number, value: bigint, cpu = 0): Step => ({
  ...{ va: 0x7000n, pa: pa + BigInt(8 * index), cpu, kind: STORE, mode: EL2, value },
});
const marker: Step = { va: 1n, kind: MARKER };

/** A capture of these steps: a folder as the capturing tools leave it. */
function capture(name: string, steps: readonly Step[], values?: bigint[]): string {
  const folder = path(name);
  mkdirSync(join(folder, 'snap1'), { recursive: true });
  const write = (file: string, content: string | Uint8Array) => writeFileSync(join(folder, file), content);
  write('trace.bin', Buffer.concat(steps.map(record)));
  const known = values ?? steps.filter(({ kind }) => kind === STORE).map(({ value }) => value ?? 0n);
  write('storevals.bin', new Uint8Array(BigUint64Array.from(known).buffer));
  write('table_stores.bin', '');
  write('registers.json', JSON.stringify({ arch: 'arm64', granule: 4096, cpus: { 0: {}, 1: {} }, symbols: {} }));
  // T0SZ 25 is 39 bits; VTCR's SL0 1 begins at level 1.
  const registers = {
    ...{ marker_record_index: 0, init_ttbr0_root: '0x10000', TCR_EL1: '0x19' },
    ...{ VTTBR_EL2: '0x20001', VTCR_EL2: '0x59', TTBR0_EL2: '0x30000', TCR_EL2: '0x19' },
  };
  write('snap1/registers.json', JSON.stringify(registers));
  const pages: [pa: bigint, role: string, entries: Record<number, bigint>][] = [
    [0x10000n, 'ttbr0_init:L1', {}],
    [S2.root, 's2_host:L1', { 1: S2.l2 | TABLE }],
    [S2.l2, 's2_host:L2', { 0: 0x4000_0000n | BLOCK, 1: S2.l3 | TABLE }],
    [S2.l3, 's2_host:L3', { 3: OWNER }],
    [OWN.root, 'el2:L1', { 0: OWN.l2 | TABLE }],
    [OWN.l2, 'el2:L2', { 0: OWN.l3 | TABLE }],
    [OWN.l3, 'el2:L3', { 5: 0x4100_5000n | OWN_PAGE }],
  ];
  const lines = pages.map(([pa, role], i) => `${i},0x${pa.toString(16)},4096,${role}+0x0/4096`);
  write('snap1/tablepages.csv', `index,pa,bytes,roles\n${lines.join('\n')}\n`);
  const words = new BigUint64Array(pages.length * 512);
  pages.forEach(([, , entries], i) => {
    for (const [index, entry] of Object.entries(entries)) words[i * 512 + Number(index)] = entry;
  });
  write('snap1/tablepages.bin', new Uint8Array(words.buffer));
  return join(folder, 'trace.bin');
}

/** The events of a hypervisor among those of a capture, after the address space of the snapshot; and what is counted. */
async function derived(name: string, steps: readonly Step[]) {
  const out = path(`${name}.arrow`);
  const { metadata } = await convert([capture(name, [marker, ...steps])], out, { warn: () => {} });
  const [first, ...events] = derivedOf(await rowsOf(out));
  expect(first).toBe('0: cpu 0 mm_create 0x10000 0x1');
  return { events, counts: metadata.derived!.hypervisor, notes: metadata.notes };
}

describe('a stay at EL2', () => {
  it('that maps a page where there was nothing is a fault, before its row at the vector', async () => {
    const { events, counts, notes } = await derived('fault', [
      host(0x4000_1000n),
      enter(),
      // The other CPU goes on; what it reads is mapped. What the first one is waiting for is not yet.
      host(0x4000_2000n, 1),
      host(0x4020_1000n, 1),
      put(S2.l3, 1, 0x4020_1000n | PAGE),
      host(0x4020_1000n),
    ]);
    expect(events).toEqual(['2: cpu 0 s2_fault 0x40201000 0x1000 0x0 0x0 0x0 0x0']);
    expect(counts).toEqual({ stays: 1, mappedByHypercalls: 0, hostRows: 4, explained: 3 });
    expect(notes.at(-1)).toBe(
      'host stage 2: 1 faults and 0 unmapped ranges in 1 stays at EL2; 1 of 4 host accesses are not in it',
    );
  });

  it('ends where the next one of its CPU begins at the vector', async () => {
    const steps = [
      enter(),
      put(S2.l2, 2, 0x4040_0000n | BLOCK),
      enter(),
      put(S2.l3, 2, 0x4020_2000n | PAGE),
      // Another CPU's, at the same time.
      enter(1),
      put(S2.l3, 4, 0x4020_4000n | PAGE, 1),
      host(0x4040_0000n),
    ];
    expect((await derived('twice', steps)).events).toEqual([
      '1: cpu 0 s2_fault 0x40400000 0x200000 0x0 0x0 0x0 0x0',
      '3: cpu 0 s2_fault 0x40202000 0x1000 0x0 0x0 0x0 0x0',
      '5: cpu 1 s2_fault 0x40204000 0x1000 0x0 0x0 0x0 0x0',
    ]);
  });

  it('that shares a page of a block unmaps the rest of the block, and maps the page at EL2; taking it back does the reverse there', async () => {
    const { events, counts } = await derived('share', [
      enter(),
      put(S2.l2, 0, 0n),
      put(S2.l2, 0, SPLIT | TABLE),
      put(SPLIT, 7, 0x4000_7000n | PAGE | SHARED),
      put(OWN.l3, 7, 0x4000_7000n | OWN_PAGE),
      host(0x4000_7000n),
      host(0x4000_6000n),
      enter(),
      put(SPLIT, 7, 0n),
      put(SPLIT, 7, 0x4000_7000n | PAGE),
      put(OWN.l3, 7, 0n),
      host(0x4000_7000n),
    ]);
    expect(events).toEqual([
      // 7 pages before it, 2M - 8 pages after it.
      '1: cpu 0 s2_unmap 0x40000000 0x7000 0x0 0x0',
      '1: cpu 0 s2_unmap 0x40008000 0x1f8000 0x0 0x0',
      '1: cpu 0 hyp_map 0x7000 0x40007000 0x1 0x0',
      '8: cpu 0 hyp_unmap 0x7000 0x40007000 0x1 0x0',
    ]);
    expect(counts).toEqual({ stays: 2, mappedByHypercalls: 0, hostRows: 3, explained: 2 });
  });

  it('that gives a page away unmaps it; one that gives it back, or maps a shared one, is no fault', async () => {
    const { events, counts } = await derived('donate', [
      enter(),
      put(S2.l3, 1, 0x4020_1000n | PAGE),
      host(0x4020_1000n),
      enter(),
      put(S2.l3, 1, 0n),
      put(S2.l3, 1, OWNER),
      host(0x4000_0000n),
      enter(),
      put(S2.l3, 1, 0x4020_1000n | PAGE),
      host(0x4000_0000n),
      enter(),
      put(S2.l3, 3, 0x4020_3000n | PAGE),
      host(0x4000_0000n),
      enter(),
      put(S2.l3, 4, 0x4020_4000n | PAGE | SHARED),
      host(0x4000_0000n),
    ]);
    expect(events).toEqual([
      '1: cpu 0 s2_fault 0x40201000 0x1000 0x0 0x0 0x0 0x0',
      '4: cpu 0 s2_unmap 0x40201000 0x1000 0x0 0x0',
    ]);
    expect(counts).toMatchObject({ stays: 5, mappedByHypercalls: 3 });
  });

  it('that only lets a mapped page do more is a fault of its class, and none when it may do less', async () => {
    const leaf = 0x4020_1000n | PAGE;
    const stores = [leaf, leaf & ~YOUNG, leaf, leaf & ~WRITE, leaf];
    const steps = stores.flatMap((value) => [enter(), put(S2.l3, 1, value), host(0x4000_0000n)]);
    expect((await derived('class', steps)).events).toEqual([
      '1: cpu 0 s2_fault 0x40201000 0x1000 0x0 0x0 0x0 0x0',
      '7: cpu 0 s2_fault 0x40201000 0x1000 0x0 0x2 0x0 0x0',
      '13: cpu 0 s2_fault 0x40201000 0x1000 0x0 0x1 0x0 0x0',
    ]);
  });

  it('whose beginning was not recorded is no fault, and one whose end was not is what was seen of it', async () => {
    const { events, counts } = await derived('cut', [
      put(S2.l3, 1, 0x4020_1000n | PAGE),
      host(0x4020_1000n),
      enter(),
      put(S2.l3, 2, 0x4020_2000n | PAGE),
      marker,
      put(S2.l3, 4, 0x4020_4000n | PAGE),
    ]);
    expect(events).toEqual(['3: cpu 0 s2_fault 0x40202000 0x1000 0x0 0x0 0x0 0x0']);
    expect(counts).toMatchObject({ stays: 3, mappedByHypercalls: 2 });
  });
});

describe('the values of stores', () => {
  const steps = [marker, enter(), put(S2.l3, 1, 0x4020_1000n | PAGE), host(0x4000_0000n)];
  it.each([
    ['missing', [], /storevals.bin: expected a value for every store, so at least 1, found 0/],
    ['too many', [0n, 0n], /storevals.bin: expected 1 values, one for every store, found more/],
  ])('are refused when they are %s', async (name, values, message) => {
    const trace = capture(name.replace(' ', '-'), steps, values);
    await expect(convert([trace], path('refused.arrow'), { warn: () => {} })).rejects.toThrow(message);
  });
});

describe('what is mapped and others do not map to the same place', () => {
  const leaf = (from: number, bytes: number, pa = from): Leaf => ({ from, bytes, pa, low: 1, high: 0 });
  it.each<[string, Leaf[], Leaf[], [number, number][]]>([
    [
      'is what lies around them',
      [leaf(0, 8)],
      [leaf(5, 1), leaf(2, 1)],
      [
        [0, 2],
        [3, 2],
        [6, 2],
      ],
    ],
    ['is all where they lead elsewhere', [leaf(0, 8)], [leaf(2, 1, 3)], [[0, 8]]],
    ['is nothing under a larger one', [leaf(2, 1), leaf(3, 1)], [leaf(0, 8)], []],
    [
      'joins what continues',
      [leaf(4, 4), leaf(0, 4), leaf(8, 4, 0)],
      [],
      [
        [0, 8],
        [8, 4],
      ],
    ],
    ['leaves out what is not valid', [leaf(0, 4, -1), leaf(4, 4)], [leaf(4, 4, -1)], [[4, 4]]],
  ])('%s', (_, leaves, others, expected) => {
    expect(without(leaves, others).map(({ from, bytes }) => [from, bytes])).toEqual(expected);
  });
});

const count = (mapped: Uint8Array) => mapped.reduce((sum, one) => sum + one, 0);
const PKVM = join(CAPTURES, 'traces', 'arm64_4k_pkvm_trace');

/** Whether each page of the captured machine's memory (1 GiB from 1 GiB on) is mapped to itself in the host's stage 2. */
class HostPages {
  static readonly FROM = 2 ** 30;
  readonly mapped = new Uint8Array(2 ** 18);

  constructor({ registers, pages }: Snapshot) {
    const contents = new Map(pages.map(({ pa, data }) => [Number(pa), data]));
    const root = Number(registers.get('VTTBR_EL2')! & 0xffff_ffff_f000n);
    for (const { from, bytes, pa } of new Translations(
      armGeometry(registers.get('TCR_EL2')!)!,
      root,
      contents,
    ).leaves()) {
      if (pa === from) this.set(from, bytes, 1);
    }
  }

  set(from: number, bytes: number, mapped: 0 | 1): void {
    const first = (from - HostPages.FROM) / 4096;
    if (first >= 0) this.mapped.fill(mapped, first, first + bytes / 4096);
  }
}

describe.skipIf(!existsSync(PKVM))('the full capture of a pKVM host', () => {
  it('has events that explain every access of the host but one, and lead to the second snapshot', async () => {
    const out = path('pkvm.arrow');
    const { metadata } = await convert([join(PKVM, 'trace.bin.xz')], out);
    const snapshots = await readSnapshots(PKVM);
    let pages = new HostPages(snapshots[0]);
    let [record, outside, unexplained, ordinary] = [0, 0, 0, 0];
    const entries = new Set<string>();
    const reader = await TraceReader.open(out);
    for await (const { rows, kind, va, pa, mode, cpu, arg } of reader.batches()) {
      const words = new Uint32Array(pa!.buffer, pa!.byteOffset, 2 * rows);
      for (let i = 0; i < rows; i++) {
        if (kind[i] === 60 || kind[i] === 61) pages.set(Number(va[i]), Number(arg![i]), kind[i] === 60 ? 1 : 0);
        if (kind[i] === 60) entries.add(`${cpu[i]} ${record}`);
        if (kind[i] > 18) continue;
        if (record++ === snapshots[1].fromRecord) {
          // Only what the unrecorded gaps before it touched is there besides: 41 pages and a block of 2M.
          const there = new HostPages(snapshots[1]);
          expect(pages.mapped.every((mapped, page) => mapped <= there.mapped[page])).toBe(true);
          expect(count(there.mapped) - count(pages.mapped)).toBe(41 + 512);
          pages = there;
        }
        if (kind[i] > 2 || mode![i] > 1) continue;
        ordinary++;
        const page = (words[2 * i] >>> 12) - HostPages.FROM / 4096;
        if (words[2 * i + 1] !== 0 || page < 0 || page >= pages.mapped.length) outside++;
        else if (!pages.mapped[page]) unexplained++;
      }
    }
    await reader.close();
    const { hypervisor, events } = metadata.derived!;
    // stats.json: fetches, loads and stores of user and kernel mode.
    expect(ordinary).toBe(11264 + 7072186 + 3104 + 6758448 + 5396 + 4376249);
    expect(outside).toBe(0);
    // One access to a page that was mapped in a gap.
    expect(unexplained).toBe(1);
    // 416 stays on CPU 1 and 34 on CPU 3; each of the 8 + 8 machines shares a page with EL2 and takes it back, all others are faults.
    expect(hypervisor).toEqual({ stays: 450, mappedByHypercalls: 0, hostRows: ordinary, explained: ordinary - 1 });
    expect(events).toMatchObject({ s2_fault: 450 - 2 * 16, hyp_map: 16, hyp_unmap: 16 });
    // The first share of each run splits a block: what is before and behind the page goes.
    expect(events.s2_unmap).toBe(2 * 2);
    expect(entries.size).toBe(events.s2_fault);
  });
});
