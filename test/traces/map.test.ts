// Mappings: each kind from its bytes to addresses, what is refused, and a trace that gets its physical addresses from one.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { FORMATS } from '../../traces/detect.js';
import { convert } from '../../traces/convert.js';
import { NodewalkError } from '../../traces/errors.js';
import { breakdownOf, censusOf } from '../../traces/map/breakdown.js';
import { readDump, MAPPINGS, readMapping } from '../../traces/map/index.js';
import { damaged, MUTANTS } from './mutations.js';
import { dmtPages, level, ptdumpOf } from './dumps.js';
import { rowsOf, scratch } from './support.js';

const path = scratch();
const PAGEMAP = fileURLToPath(new URL('../fixtures/map/python.pagemap', import.meta.url));
const UNKNOWN = 0xffff_ffff_ffff_ffffn;

const warnings: string[] = [];
const options = (set: Record<string, string> = {}) => ({ set, warn: (message: string) => void warnings.push(message) });

function file(name: string, text: string | Uint8Array): string {
  writeFileSync(path(name), text);
  return path(name);
}
const read = (name: string, text: string | Uint8Array, set = {}) => readMapping(file(name, text), options(set));

/** One process: 4 KiB pages at 0x0 (data), 0x1000 (code), 0x2000 (no access), 2 MiB pages at 0x200000 (data), 0x400000 (code). */
const TABLES = [
  level(4, 0x100, { 0: '101' }),
  level(3, 0x101, { 0: '102' }),
  // 2 MiB pages by their number: 0x9 is frame 0x1200.
  level(2, 0x102, { 0: 'p103', 1: '9', 2: 'xa', 3: 'nb' }),
  level(1, 0x103, { 0: '500', 1: 'x501', 2: 'n502', 511: '5ff' }),
];
const NUMA = '<numamap>\n# node base limit\n0 0 16777216\n1 16777216 33554432\n</numamap>\n';
const PTDUMP = `${NUMA}${ptdumpOf(7, TABLES)}`;

describe('ptdump', () => {
  it('maps pages of 4 KiB and 2 MiB, and none without access', async () => {
    const mapping = await read('a.ptdump', PTDUMP);
    const at = (va: bigint) => mapping.translate(va, 0);
    expect(at(0x0fffn)).toBe(0x50_0fffn);
    expect(at(0x1000n)).toBe(0x50_1000n);
    expect(at(0x2000n)).toBe(-1n);
    expect(at(0x3000n)).toBe(-1n);
    expect(at(0x1f_f123n)).toBe(0x5f_f123n);
    expect(at(0x20_1234n)).toBe(0x120_1234n);
    expect(at(0x5f_ffffn)).toBe(0x15f_ffffn);
    expect(at(0x60_0000n)).toBe(-1n);
    expect(at(0x8000_0000_0000n)).toBe(-1n);
    // 4 pages of level 1 and 3 of level 2, those without access included.
    expect(mapping).toMatchObject({ pageBytes: 4096, size: 7, source: 'Mitosis ptdump, process 7, snapshot 1' });
    expect(mapping.nodes).toEqual([
      { node: 0, ranges: [{ from: '0x0', to: '0x1000000' }] },
      { node: 1, ranges: [{ from: '0x1000000', to: '0x2000000' }] },
    ]);
  });

  it('counts tables and leaves by level and node', async () => {
    const census = censusOf((await readDump(file('c.ptdump', PTDUMP), options()))!);
    expect(census).toEqual([
      { level: 4, tables: 1, leaves: 0, withoutAccess: 0, perNode: [1, 0] },
      { level: 3, tables: 1, leaves: 0, withoutAccess: 0, perNode: [1, 0] },
      { level: 2, tables: 1, leaves: 3, withoutAccess: 1, perNode: [1, 0] },
      { level: 1, tables: 1, leaves: 4, withoutAccess: 1, perNode: [1, 0] },
    ]);
  });

  it('takes the snapshot and the process that are asked for', async () => {
    const other = (frame: string) => [
      TABLES[0],
      TABLES[1],
      level(2, 0x102, { 0: 'p103' }),
      level(1, 0x103, { 0: frame }),
    ];
    const text = `${NUMA}${ptdumpOf(7, other('601'))}<ptdump process="7" error="-3"></ptdump>\n${ptdumpOf(8, other('602'))}${ptdumpOf(7, other('603'))}`;
    const first = async (set: Record<string, string>) => (await read('s.ptdump', text, set)).translate(0n, 0);
    warnings.length = 0;
    expect(await first({})).toBe(0x60_1000n);
    expect(warnings.join('\n')).toMatch(/process 7 with 2, process 8 with 1; --set process=P.*\n.*--set snapshot=N/);
    expect(await first({ snapshot: '2' })).toBe(0x60_3000n);
    expect(await first({ process: '8' })).toBe(0x60_2000n);
    await expect(first({ process: '8', snapshot: '2' })).rejects.toThrow(
      /expected snapshot 2 of process 8, found snapshots: process 7 with 2, process 8 with 1/,
    );
    await expect(first({ snapshot: '0' })).rejects.toThrow(/--set snapshot=0: expected a number from 1/);
  });

  it.each([
    ['an entry', PTDUMP.replace('x501', 'y501'), /line 11: expected an entry of level 1 at index 1, found "y501"/],
    ['entries', PTDUMP.replace('p103 ', 'p103'), /line 10: expected 512 entries, found 511; the dumper leaves/],
    ['a line', PTDUMP.replace('<level1', '<table1'), /line 11: expected a table such as/],
    ['a range', PTDUMP.replace('1 16777216', '1 x'), /line 4: expected node, first byte and end/],
    ['its end', PTDUMP.replace('</ptdump>\n', ''), /a complete dump, found its end inside a snapshot/],
    ['no root', `${NUMA}<ptdump process="7" count="0">\n</ptdump>\n`, /a table of level 4, found none/],
    ['nothing', NUMA, /expected snapshot 1, found snapshots: none/],
  ])('refuses a dump for %s', async (_, text, message) => {
    await expect(read('bad.ptdump', text)).rejects.toThrow(message);
  });

  it('refuses a frame that is a table of two levels', async () => {
    const twice = ptdumpOf(7, [...TABLES, level(3, 0x103, {})]);
    await expect(read('twice.ptdump', NUMA + twice)).rejects.toThrow(/found tables of levels 1 and 3 in frame 0x103/);
  });
});

describe('dmt', () => {
  const FIRST = '            1234\n';

  it('maps rows of frames, and puts large pages together where all of their rows are there', async () => {
    // A page at 0x5000, one of 2 MiB at 0x200000 from frame 0x1200, and half of one at 0x400000.
    const text = FIRST + dmtPages(0x5000n, ['100', '101', '102', '103', '500'], 1)
      + dmtPages(0x20_0000n, ['100', '101', '102', '1200', '1200'], 512)
      + dmtPages(0x40_0000n, ['100', '101', '102', '1400', '1400'], 256); // prettier-ignore
    const mapping = await read('a.dmt', text);
    expect(mapping.translate(0x5123n, 0)).toBe(0x50_0123n);
    expect(mapping.translate(0x3f_f001n, 0)).toBe(0x13f_f001n);
    expect(mapping.translate(0x4f_f001n, 0)).toBe(0x14f_f001n);
    expect(mapping.translate(0x50_0000n, 0)).toBe(-1n);
    // 1 page of 4 KiB, 1 of 2 MiB, 256 of 4 KiB.
    expect(mapping.size).toBe(258);
  });

  it('puts pages of 1 GiB together', async () => {
    // 512 times the 512 rows of a page: the tables of levels 2 and 1 are the page itself.
    const rows = Array.from({ length: 512 }, (_, i) => {
      const frame = (0x40000 + 512 * i).toString(16);
      return dmtPages(0x4000_0000n + (BigInt(i) << 21n), ['100', '101', '40000', frame, frame], 512);
    });
    const mapping = await read('g.dmt', FIRST + rows.join(''));
    expect(mapping.size).toBe(1);
    expect(mapping.translate(0x4123_4567n, 0)).toBe(0x4123_4567n);
  });

  it('reads addresses with unit=pa, and says when frames look like them', async () => {
    const text = `${FIRST}0000000000005000,100000,101000,102000,103000,500000\n`;
    expect((await read('p.dmt', text, { unit: 'pa' })).translate(0x5001n, 0)).toBe(0x50_0001n);
    warnings.length = 0;
    await read('p.dmt', text);
    expect(warnings[0]).toMatch(/multiples of 4096: addresses\? --set unit=pa/);
    await expect(read('p.dmt', text, { unit: 'byte' })).rejects.toThrow(/--set unit=byte: expected pfn or pa/);
    await expect(read('q.dmt', text.replace('500000', '500001'), { unit: 'pa' })).rejects.toThrow(
      /line 2: expected columns of unit pa/,
    );
  });

  it('refuses rows that contradict each other, by their line', async () => {
    const row = dmtPages(0x5000n, ['100', '101', '102', '103', '500'], 1);
    await expect(read('b.dmt', FIRST + row + row.replace(',102,', ',1020,'))).rejects.toThrow(
      /line 3: expected the frame 102 of the rows before in the table of level 3/,
    );
    await expect(read('b.dmt', `${FIRST}${row}5000,1\n`)).rejects.toThrow(/line 3: expected va,cr3,e1,e2,e3,leaf/);
  });
});

describe('pagemap', () => {
  it('maps the pages of a real process', async () => {
    const bytes = readFileSync(PAGEMAP);
    const mapping = await readMapping(PAGEMAP, options());
    // Pair by pair: bit 63 says present, bits 54 to 0 are the frame.
    let present = 0;
    for (let at = 0; at < bytes.length; at += 16) {
      const [va, entry] = [bytes.readBigUInt64LE(at), bytes.readBigUInt64LE(at + 8)];
      const pa = entry >> 63n ? (entry & 0x7f_ffff_ffff_ffffn) << 12n : -1n;
      if (pa >= 0n) present++;
      expect(mapping.translate(va + (pa >= 0n ? 0x123n : 0n), 0)).toBe(pa >= 0n ? pa + 0x123n : -1n);
    }
    expect(mapping.size).toBe(present);
    expect(present).toBeGreaterThan(10);
    expect(mapping.input).toMatchObject([{ name: 'python.pagemap', bytes: bytes.length }]);
  });

  it('says how to read one that has no frames, and refuses other records', async () => {
    const pairs = (...words: bigint[]) => new Uint8Array(BigUint64Array.from(words).buffer);
    await expect(read('z.pagemap', pairs(0x1000n, 1n << 63n))).rejects.toThrow(/only zeros; read .* CAP_SYS_ADMIN/);
    const good = [0x1000n, (1n << 63n) | 5n];
    await expect(read('t.pagemap', pairs(...good, ...good.slice(0, 1), (1n << 63n) | 6n))).rejects.toThrow(
      /record 1: expected every page once/,
    );
    await expect(read('c.pagemap', pairs(...good).subarray(0, 12))).rejects.toThrow(NodewalkError);
  });
});

describe('the listing of debugfs', () => {
  it('gives regions with the size of their pages, on x86', async () => {
    const text = `---[ User Space ]---
0x0000000000000000-0xffff800000000000    16777088T                               pgd
---[ High Kernel Mapping ]---
0xffffffff80000000-0xffffffff81000000          16M                               pmd
0xffffffff81000000-0xffffffff81e00000          14M     ro         PSE         x  pmd
0xffffffff81e00000-0xffffffff82000000           2M     ro         PSE         NX pmd
0xffffffff82000000-0xffffffff82003000          12K     RW             GLB     NX pte
`;
    const mapping = await read('x86.txt', text);
    expect(mapping.size).toBe(0);
    const region = { name: 'High Kernel Mapping', pa: null, node: null };
    expect(mapping.regions).toEqual([
      { ...region, va: '0xffffffff81000000', bytes: 0x100_0000, pageSize: '2M' },
      { ...region, va: '0xffffffff82000000', bytes: 0x3000, pageSize: '4K' },
    ]);
  });

  it('does so on arm64, with its granule, and for stage 2', async () => {
    const text = `---[ Linear Mapping start ]---
0xffff000000000000-0xffff000000200000           2M PTE       RW NX SHD AF            UXN    MEM/NORMAL-TAGGED
0xffff000000200000-0xffff000040000000        1022M PMD       RW NX SHD AF        BLK UXN    MEM/NORMAL-TAGGED
0xffff000040000000-0xffff000080000000           1G PMD   F BLK     RW NX SHD AF NG
`;
    const sizes = async (granule?: string) =>
      (await read('arm.txt', text, granule ? { granule } : {})).regions!.map((r) => r.pageSize);
    expect(await sizes()).toEqual(['4K', '2M']);
    // 64K granule: 8192 entries of 64 KiB are 512 MiB.
    expect(await sizes('64K')).toEqual(['64K', '512M']);
    const stage2 = '---[ Guest IPA ]---\n0x0000000040000000-0x0000000080000000           1G 2   R W X AF BLK\n';
    expect((await read('s2.txt', stage2)).regions).toMatchObject([{ va: '0x40000000', pageSize: '2M' }]);
  });
});

describe('detection', () => {
  it('tells the mappings apart, and no trace for one', async () => {
    const heads = {
      ptdump: PTDUMP,
      dmt: `            1234\n${dmtPages(0x5000n, ['100', '101', '102', '103', '500'], 1)}`,
      debugfs: '---[ a ]---\n0x0000000000000000-0x0000000000001000    4K  RW pte\n',
      pagemap: readFileSync(PAGEMAP),
    };
    for (const [name, head] of Object.entries(heads)) {
      const bytes = Buffer.from(head);
      expect(MAPPINGS.filter((m) => m.detect(bytes)).map((m) => m.name)).toEqual([name]);
      expect(FORMATS.filter((f) => f.detect(bytes)).map((f) => f.name)).toEqual([]);
    }
    await expect(read('no.txt', 'I  00001000,2\n')).rejects.toThrow(/expected a mapping: .*, found lackey text/);
  });
});

describe('the breakdown', () => {
  // Host: frames below 0x1000 are on node 0, others on node 1. Guest frames 0x10 to 0x13 lie in host frames by LEAVES; the
  // host's leaf table for them is 0x203 on node 0, that for frames from 0x200 on 0x1203 on node 1.
  const host = (leaves: Record<number, string>) =>
    `${NUMA.replaceAll('16777216', `${0x1000 * 4096}`).replace('33554432', `${0x2000 * 4096}`)}${ptdumpOf(1, [
      level(4, 0x200, { 0: '201' }),
      level(3, 0x201, { 0: '202' }),
      level(2, 0x202, { 0: 'p203', 1: 'p1203' }),
      level(1, 0x203, leaves),
      level(1, 0x1203, { 0: '1800', 1: '1801', 2: '801' }),
    ])}`;
  const guest = ptdumpOf(7, [
    level(4, 0x10, { 0: '11' }),
    level(3, 0x11, { 0: '12' }),
    level(2, 0x12, { 0: 'p13', 1: 'p14' }),
    // Two pages that the host maps by table 0x203 and one by 0x1203; then one by 0x1203.
    level(1, 0x13, { 0: '20', 1: 'x21', 2: '200' }),
    level(1, 0x14, { 0: '201', 1: '3ff' }),
  ]);

  it('counts every page of the guest once for each socket', async () => {
    // The guest's leaf tables 0x13 and 0x14 lie in host frames 0x300 (node 0) and 0x1300 (node 1).
    const leaves = { 0x10: '2f0', 0x11: '2f1', 0x12: '2f2', 0x13: '300', 0x14: '1300', 0x20: '400', 0x21: '401' };
    const dumps = await Promise.all([
      readDump(file('g', guest), options()),
      readDump(file('h', host(leaves)), options()),
    ]);
    const { sockets, lost } = breakdownOf(dumps[0]!, dumps[1]!);
    // By node of guest's and host's table: pages 20 and 21: 0 0; page 200: 0 1; page 201: 1 1. 3ff is not mapped.
    expect(sockets).toEqual([
      { socket: 0, LL: 2, LR: 1, RL: 0, RR: 1 },
      { socket: 1, LL: 1, LR: 0, RL: 1, RR: 2 },
    ]);
    expect(lost).toBe(1);
    // Every socket sees all pages.
    for (const { LL, LR, RL, RR } of sockets) expect(LL + LR + RL + RR).toBe(4);
  });

  it('wants the nodes of the host', async () => {
    const dump = (await readDump(file('g', guest), options()))!;
    expect(() => breakdownOf(dump, dump)).toThrow(/the nodes of the host \(<numamap>\), found none/);
  });
});

describe('convert --map', () => {
  const lackey = () => file('l.txt', 'I  00001010,2\n S 00201008,8\n L 00900000,4\n');

  it('gives accesses the addresses of the mapping, and says what it did', async () => {
    const map = await read('a.ptdump', PTDUMP);
    const { metadata } = await convert([lackey()], path('m.arrow'), { map });
    expect((await rowsOf(path('m.arrow'))).map(({ pa }) => pa)).toEqual([0x50_1010n, 0x120_1008n, UNKNOWN]);
    expect(metadata.nodes).toHaveLength(2);
    expect(metadata.counts).toMatchObject({ unknownPa: 1 });
    expect(metadata.history).toMatchObject([
      { step: 'map', input: [{ name: 'a.ptdump', sha256: expect.any(String) }] },
    ]);
    expect(metadata.notes).toEqual(['pa: from Mitosis ptdump, process 7, snapshot 1: 2 of 3 accesses, 1 unmapped']);
  });

  it('keeps what a trace knows, unless it is told to overwrite', async () => {
    await convert([lackey()], path('one.arrow'), { map: await read('a.ptdump', PTDUMP) });
    const moved = await read('b.ptdump', PTDUMP.replace('x501', 'x601'));
    const kept = await convert([path('one.arrow')], path('two.arrow'), { map: moved });
    expect((await rowsOf(path('two.arrow')))[0].pa).toBe(0x50_1010n);
    expect(kept.metadata.notes.at(-1)).toMatch(/0 of 3 accesses, 2 had one, 1 unmapped/);
    await convert([path('one.arrow')], path('three.arrow'), { map: moved, set: { overwrite: 'yes' } });
    expect((await rowsOf(path('three.arrow')))[0].pa).toBe(0x60_1010n);
  });

  it('takes regions of a listing and no addresses, and knows the options of mappings only with one', async () => {
    const map = await read('x.txt', '---[ a ]---\n0x0000000000001000-0x0000000000002000    4K  RW pte\n');
    const { metadata } = await convert([lackey()], path('r.arrow'), { map });
    expect(Object.keys((await rowsOf(path('r.arrow')))[0])).toEqual(['cpu', 'kind', 'va', 'size']);
    expect(metadata.regions).toMatchObject([{ name: 'a', va: '0x1000', pageSize: '4K' }]);
    await expect(convert([lackey()], path('x.arrow'), { set: { unit: 'pa' } })).rejects.toThrow(/--set unit: unknown/);
  });
});

describe('damaged mappings', () => {
  it.each([
    ['ptdump', Buffer.from(PTDUMP)],
    ['dmt', Buffer.from(`            1234\n${dmtPages(0x5000n, ['100', '101', '102', '103', '500'], 40)}`)],
    ['debugfs', Buffer.from('---[ a ]---\n0x0000000000001000-0x0000000000002000    4K  RW pte\n'.repeat(20))],
    ['pagemap', readFileSync(PAGEMAP)],
  ])('of %s are read or refused', async (name, bytes) => {
    const format = MAPPINGS.find((m) => m.name === name)!;
    let refused = 0;
    for (let seed = 1; seed <= MUTANTS; seed++) {
      const mutant = file('mutant', damaged(bytes, seed));
      try {
        const mapping = await format.read(mutant, options());
        for (const va of [0n, 0x1000n, 0x20_0000n, UNKNOWN]) mapping.translate(va, 0);
      } catch (error) {
        expect(error, `${name}, seed ${seed}: ${(error as Error).stack}`).toBeInstanceOf(NodewalkError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(MUTANTS / 10);
  });
});
