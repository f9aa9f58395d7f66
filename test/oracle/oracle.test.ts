// The oracle against small cases worked out by hand from docs/models.md, and against the sums that hold for every replay.
// Each expected number is derived beside it.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ARM } from './arch/encode.js';
import { translate } from './arch/translate.js';
import { type Regime } from './arch/types.js';
import { scenario } from './arbitrary.js';
import { formatOf } from './format.js';
import { Oracle } from './oracle.js';
import {
  type Counters,
  type OracleConfig,
  type PagePolicy,
  type PageSize,
  type Paging,
  type Row,
  type Stage2Paging,
  type TlbArrayConfig,
  type TraceContext,
  type TranslationEntry,
} from './types.js';

const base: PagePolicy = { default: '4K', rules: [] };
const x86: Paging = { format: 'x86-64', levels: 4, pageSize: base };
const arm = (granule: '4K' | '16K' | '64K', vaBits: number): Paging => ({
  format: 'arm64',
  granule,
  vaBits,
  pageSize: { default: granule, rules: [] },
});

const array = (sets: number, ways: number, pages: TlbArrayConfig['pages'] = null): TlbArrayConfig[] => [
  { sets, ways, pages },
];
const noCaches = {
  pde: 0,
  pdpte: 0,
  pml4e: 0,
  pml5e: 0,
  l2: 0,
  l1: 0,
  l0: 0,
  lm1: 0,
  ipa: 0,
  s2l2: 0,
  s2l1: 0,
  s2l0: 0,
  s2lm1: 0,
};

interface Setup {
  paging?: Paging;
  tlb?: Partial<OracleConfig['machine']['tlb']>;
  walkCaches?: Partial<OracleConfig['machine']['walkCaches']>;
  machine?: Partial<OracleConfig['machine']>;
  memory?: Partial<OracleConfig['memory']>;
  replay?: Partial<OracleConfig['replay']>;
  context?: Partial<TraceContext>;
}

/** A machine with one CPU, TLBs of one entry, no second level and no walk caches, but for what the test sets. */
function machine(setup: Setup = {}): Oracle {
  const cpuNode = setup.context?.cpuNode ?? [0];
  return new Oracle(
    {
      machine: {
        distances: null,
        clockGHz: 1,
        tlb: { l1i: array(1, 1), l1d: array(1, 1), l2: null, ...setup.tlb },
        walkCaches: { ...noCaches, ...setup.walkCaches },
        latency: { localNs: 80, remoteNs: 140, l2TlbCycles: 7 },
        ...setup.machine,
      },
      paging: setup.paging ?? x86,
      memory: { data: 'first-touch', tables: 'first-touch', ...setup.memory },
      replay: { mapping: 'demand', dirty: 'set', splitPages: false, warmup: 0, phases: null, ...setup.replay },
    },
    {
      cpuNode,
      nodes: Math.max(...cpuNode) + 1,
      has: { pa: false, size: false, insns: false, mode: false, asid: false, vm: false },
      ranges: [],
      regions: [],
      ...setup.context,
    },
  );
}

const fetch = (va: bigint, more: Partial<Row> = {}): Row => ({ cpu: 0, kind: 0, va, ...more });
const load = (va: bigint, more: Partial<Row> = {}): Row => ({ cpu: 0, kind: 1, va, ...more });
const store = (va: bigint, more: Partial<Row> = {}): Row => ({ cpu: 0, kind: 2, va, ...more });
const event = (kind: number, number: number, cpu = 0): Row => ({ cpu, kind, va: BigInt(number) });

/** The counts of CPU 0 after the rows. */
function countsOf(setup: Setup, rows: Row[]): Counters {
  const oracle = machine(setup);
  oracle.run(rows);
  return oracle.counters()[0];
}

const K = 1n << 10n;
const M = 1n << 20n;
const G = 1n << 30n;

describe('format', () => {
  test.each([
    // granule, VA bits -> start level, levels, root entries: n = ceil((v - ps) / (ps - 3)), entries 2^(v - ps - (n-1)(ps-3))
    ['4K', 39, 1, 3, 512],
    ['4K', 42, 0, 4, 8],
    ['4K', 48, 0, 4, 512],
    ['4K', 52, -1, 5, 16],
    ['16K', 36, 2, 2, 2048],
    ['16K', 47, 1, 3, 2048],
    ['16K', 48, 0, 4, 2],
    ['16K', 52, 0, 4, 32],
    ['64K', 42, 2, 2, 8192],
    ['64K', 48, 1, 3, 64],
    ['64K', 52, 1, 3, 1024],
  ] as const)('arm64 %s with %i bits starts at level %i', (granule, vaBits, start, count, entries) => {
    const { levels } = formatOf(arm(granule, vaBits));
    expect(levels[0].level).toBe(start);
    expect(levels).toHaveLength(count);
    expect(1n << levels[0].indexBits).toBe(BigInt(entries));
  });

  test('an x86 2M leaf of Linux kernel text decodes to its page', () => {
    const format = formatOf(x86);
    const level2 = format.levels[2];
    const value = 0x1_2340_01a1n; // P | A | PS | G
    expect(format.isTable(value, level2)).toBe(false);
    expect(format.pagePa(value, format.leafOf(value, level2))).toBe(0x1_2340_0000n);
    expect(format.isDirty(value)).toBe(false);
  });

  test('an arm64 4K level 2 block of Linux kernel text decodes to its page', () => {
    const format = formatOf(arm('4K', 48));
    const level2 = format.levels[2];
    const value = 0x0040_0000_8020_0781n; // bits 1:0 = 01, AP[2] = 1, SH = 11, AF, UXN
    expect(format.isTable(value, level2)).toBe(false);
    expect(format.pagePa(value, format.leafOf(value, level2))).toBe(0x8020_0000n);
    expect(format.isDirty(value)).toBe(false);
  });

  test('an x86 demand mapping installs tables P|RW|US|A and leaves with D, large ones with PS', () => {
    const oracle = machine({
      paging: { ...x86, pageSize: { default: '4K', rules: [{ from: '0x40000000', to: '0x80000000', size: '2M' }] } },
    });
    oracle.run([load(0x1234n), load(G + 5n)]);
    // Tables are pages 0 to 3 of node 0, the first frame is 2^39. The 2M page shares root and PDPT and adds one PD, page 4.
    const data = 1n << 39n;
    expect(oracle.translate({ va: 0x1234n })).toMatchObject({
      pa: data + 0x234n,
      pageBytes: 4n * K,
      level: 1,
      entries: [
        { level: 4, tablePa: 0n, value: 0x1027n },
        { level: 3, tablePa: 0x1000n, value: 0x2027n },
        { level: 2, tablePa: 0x2000n, value: 0x3027n },
        { level: 1, tablePa: 0x3000n, value: data | 0x67n },
      ],
    });
    // The next free frame is data + 4K; 2M-aligned upwards that is data + 2M.
    expect(oracle.translate({ va: G + 5n })).toMatchObject({
      pa: data + 2n * M + 5n,
      pageBytes: 2n * M,
      level: 2,
      entries: [
        { level: 4, tablePa: 0n, value: 0x1027n },
        { level: 3, tablePa: 0x1000n, value: 0x4027n },
        { level: 2, tablePa: 0x4000n, value: (data + 2n * M) | 0xe7n },
      ],
    });
    expect(oracle.translate({ va: 2n * G })).toBeNull();
  });

  test('an arm64 demand mapping installs pages with bits 11 and blocks with bits 01', () => {
    const leaf = (1n << 51n) | (1n << 11n) | (1n << 10n) | (3n << 8n) | (1n << 6n); // DBM nG AF SH AP[1]
    const page = machine({ paging: arm('16K', 36) });
    page.run([load(0n)]);
    // 16K with 36 bits has levels 2 and 3: the root is page 0, its table descriptor points to page 1 at 16K.
    expect(page.translate({ va: 0n })!.entries).toMatchObject([
      { level: 2, tablePa: 0n, value: 0x4003n },
      { level: 3, tablePa: 0x4000n, value: (1n << 39n) | leaf | 3n },
    ]);
    const block = machine({ paging: { ...arm('4K', 39), pageSize: { default: '1G', rules: [] } } });
    block.run([load(0n)]);
    expect(block.translate({ va: 0n })!.entries).toMatchObject([
      { level: 1, tablePa: 0n, value: (1n << 39n) | leaf | 1n },
    ]);
  });
});

describe('walk', () => {
  test.each([
    ['x86 4 levels', x86, 4],
    ['x86 5 levels', { ...x86, levels: 5 } as Paging, 5],
    ['arm64 4K v39', arm('4K', 39), 3],
    ['arm64 4K v48', arm('4K', 48), 4],
    ['arm64 16K v36', arm('16K', 36), 2],
    ['arm64 64K v48', arm('64K', 48), 3],
    ['arm64 64K v25', arm('64K', 25), 1],
  ])('a cold walk of %s reads one descriptor per level', (_name, paging, n) => {
    const counts = countsOf({ paging }, [load(0x1000n)]);
    expect(counts['walk.count']).toBe(1);
    expect(counts['walk.refs']).toBe(n);
    expect(counts['fault.demand']).toBe(1);
  });

  test('a 2M page is read in 3 of 4 levels, a 1G page in 2', () => {
    for (const [size, refs] of [
      ['2M', 3],
      ['1G', 2],
    ] as const) {
      expect(countsOf({ paging: { ...x86, pageSize: { default: size, rules: [] } } }, [load(0n)])['walk.refs']).toBe(
        refs,
      );
    }
  });

  test('the PDE cache leaves one descriptor to read, the PDPTE cache two, the PML4E cache three', () => {
    // One TLB entry, so each row walks: cold 4; same 2M: pde, 1; same 1G: pdpte, 2; same 512G: pml4e, 3; elsewhere: 4.
    const rows = [0n, 4n * K, 2n * M, G, 512n * G].map((va) => load(va));
    expect(countsOf({ walkCaches: { pde: 4, pdpte: 4, pml4e: 4 } }, rows)).toMatchObject({
      'walk.count': 5,
      'walk.refs': 4 + 1 + 2 + 3 + 4,
      'walk.cacheHits.pde': 1,
      'walk.cacheHits.pdpte': 1,
      'walk.cacheHits.pml4e': 1,
      // Level 1 by all; level 2 by all but the pde hit; level 3 by cold, pml4e hit, elsewhere; level 4 by cold, elsewhere.
      'walk.levels.1': 5,
      'walk.levels.2': 4,
      'walk.levels.3': 3,
      'walk.levels.4': 2,
    });
  });

  test('a walk cache drops its least recent entry', () => {
    // Two PDE entries; areas A B A C A B: A B cold, A hits and is recent, C drops B, A hits, B misses: 2 hits, 4 x 4 + 2.
    const [a, b, c] = [0n, 2n * M, 4n * M];
    const rows = [a, b, a + 4n * K, c, a, b].map((va) => load(va));
    expect(countsOf({ walkCaches: { pde: 2 } }, rows)).toMatchObject({ 'walk.cacheHits.pde': 2, 'walk.refs': 18 });
  });

  test('a hit near the leaf does not touch the caches above it', () => {
    // Two PDPTE entries. X fills X; Y fills Y; X again by PDE leaves PDPTE order Y X; Z drops X there.
    // Then another 2M of X finds neither PDE nor PDPTE: 4 reads. X Y Z cold 12, X by PDE 1, last 4.
    const rows = [0n, G, 4n * K, 2n * G, 6n * M].map((va) => load(va));
    expect(countsOf({ walkCaches: { pde: 4, pdpte: 2 } }, rows)['walk.refs']).toBe(12 + 1 + 4);
  });

  test('arm64 walk caches take the name of the level that was read', () => {
    const rows = [0n, 4n * K, 2n * M, G].map((va) => load(va));
    expect(countsOf({ paging: arm('4K', 48), walkCaches: { l2: 2, l1: 2, l0: 2 } }, rows)).toMatchObject({
      'walk.cacheHits.l2': 1,
      'walk.cacheHits.l1': 1,
      'walk.cacheHits.l0': 1,
      'walk.refs': 4 + 1 + 2 + 3,
    });
  });
});

describe('TLB', () => {
  const missesOf = (sets: number, ways: number, pages: number[]) =>
    countsOf(
      { tlb: { l1d: array(sets, ways) } },
      pages.map((page) => load(BigInt(page) * 4n * K)),
    )['tlb.l1d.miss'];

  test('the least recent entry is dropped', () => {
    // A B A C A B in two ways: A B miss, A hits, C drops B, A hits, B misses: 4 misses. First-in-first-out would have 5.
    expect(missesOf(1, 2, [0, 1, 0, 2, 0, 1])).toBe(4);
  });

  test('the set is the page number modulo the sets, powers of two or not', () => {
    // Three sets of one way: 0 and 3 share a set and alternate (4 misses), 0 and 4 do not (2 misses).
    expect(missesOf(3, 1, [0, 3, 0, 3])).toBe(4);
    expect(missesOf(3, 1, [0, 4, 0, 4])).toBe(2);
  });

  test('fetches use l1i and the others l1d', () => {
    expect(countsOf({}, [fetch(0n), fetch(8n), load(0n), store(0n)])).toMatchObject({
      'tlb.l1i.miss': 1,
      'tlb.l1i.hit': 1,
      'tlb.l1d.miss': 1,
      'tlb.l1d.hit': 1,
      'access.fetch': 2,
      'access.load': 1,
      'access.store': 1,
    });
  });

  test('the second level serves both first levels and costs its cycles on a hit', () => {
    // Fetch 0 walks; load 0 hits l2. A cold walk costs 4 x 80, the hit 7.
    const counts = countsOf({ tlb: { l2: array(1, 4) } }, [fetch(0n), load(0n)]);
    expect(counts).toMatchObject({ 'tlb.l2.miss': 1, 'tlb.l2.hit': 1, 'walk.count': 1, 'cycles.walk': 4 * 80 + 7 });
  });

  test('a level without sets is absent and counts nothing', () => {
    const counts = countsOf({ tlb: { l1d: array(0, 4), l2: array(4, 0) } }, [load(0n), load(0n)]);
    expect(Object.keys(counts).filter((key) => key.startsWith('tlb.'))).toEqual([]);
    expect(counts['walk.count']).toBe(2);
  });

  test('a page larger than any that the array takes is entered as the part that holds the address', () => {
    // A 2M page in a first level for 4K: each 4K part misses once; a second level for 2M then hits.
    const paging: Paging = { ...x86, pageSize: { default: '2M', rules: [] } };
    const tlb = { l1d: array(1, 8, ['4K']), l2: array(1, 8, ['2M']) };
    expect(countsOf({ paging, tlb }, [load(0n), load(8n), load(4n * K), load(4n * K + 8n)])).toMatchObject({
      'tlb.l1d.miss': 2,
      'tlb.l1d.hit': 2,
      'tlb.l2.miss': 1,
      'tlb.l2.hit': 1,
      'fault.demand': 1,
    });
  });

  test('a page smaller than any that a level takes is not entered there', () => {
    expect(countsOf({ tlb: { l1d: array(4, 4, ['2M']) } }, [load(0n), load(0n)])['tlb.l1d.miss']).toBe(2);
  });

  test('an array of several sizes is indexed by the smallest, so a large page is entered once per set', () => {
    // Two sets by VA bit 12. A 2M page: VA 0 fills set 0, VA 4K misses in set 1, VA 8K hits in set 0.
    const paging: Paging = { ...x86, pageSize: { default: '2M', rules: [] } };
    const counts = countsOf({ paging, tlb: { l1d: array(2, 2) } }, [load(0n), load(4n * K), load(8n * K)]);
    expect(counts).toMatchObject({ 'tlb.l1d.miss': 2, 'tlb.l1d.hit': 1 });
    // An array for 2M alone is indexed by VA bit 21: one miss.
    expect(
      countsOf({ paging, tlb: { l1d: array(2, 2, ['2M']) } }, [load(0n), load(4n * K), load(8n * K)])['tlb.l1d.miss'],
    ).toBe(1);
  });

  test('contexts share nothing, user and kernel share everything', () => {
    const tlb = { l1d: array(1, 16) };
    const spaces = [{}, { mode: 2 }, { mode: 16 }, { mode: 18 }, { asid: 1 }, { vm: 1 }];
    const counts = countsOf(
      { tlb },
      [...spaces, { mode: 1 }, { mode: 17 }].map((space) => load(0n, space)),
    );
    // Six contexts, each its own miss, walk and fault; kernel and guest kernel hit what user and guest user filled.
    expect(counts).toMatchObject({ 'tlb.l1d.miss': 6, 'tlb.l1d.hit': 2, 'fault.demand': 6 });
  });

  test('CPUs share tables and no TLB', () => {
    const oracle = machine({ context: { cpuNode: [0, 0] } });
    oracle.run([load(0n), load(0n, { cpu: 1 })]);
    expect(oracle.counters()[1]).toMatchObject({ 'tlb.l1d.miss': 1, 'walk.refs': 4 });
    expect(oracle.counters()[1]['fault.demand']).toBeUndefined();
  });
});

describe('demand mapping', () => {
  const policy = (...rules: PagePolicy['rules']): Paging => ({ ...x86, pageSize: { default: '4K', rules } });

  test('a page must lie inside the region of its rule', () => {
    // Text from 1M to 5M: 2M pages at 2M only (2M to 4M); below and above the region's own 4K pages.
    const oracle = machine({
      paging: policy({ region: 'text', size: '2M' }),
      context: { regions: [{ name: 'text', va: M, bytes: 4n * M }] },
    });
    const addresses = [M, 2n * M, 4n * M, 6n * M];
    oracle.run(addresses.map((va) => load(va)));
    expect(addresses.map((va) => oracle.translate({ va })!.pageBytes)).toEqual([4n * K, 2n * M, 4n * K, 4n * K]);
  });

  test('the first rule that holds the address decides', () => {
    const oracle = machine({
      paging: policy({ from: 0, to: '0x40000000', size: '4K' }, { from: '0x0', to: '0x80000000', size: '1G' }),
    });
    oracle.run([load(0n), load(G)]);
    expect([0n, G].map((va) => oracle.translate({ va })!.pageBytes)).toEqual([4n * K, G]);
  });

  test('where a table exists already, the next smaller size is used', () => {
    // 4K at 0 makes the tables of the first 1G and 2M. A 1G page there becomes 2M, in the first 2M it becomes 4K.
    const oracle = machine({
      paging: { ...x86, pageSize: { default: '1G', rules: [{ from: 0, to: 4096, size: '4K' }] } },
    });
    oracle.run([load(0n), load(8n * K), load(4n * M), load(3n * G)]);
    expect([8n * K, 4n * M, 3n * G].map((va) => oracle.translate({ va })!.pageBytes)).toEqual([4n * K, 2n * M, G]);
  });

  test('arm64 has one root per half, x86 one for both', () => {
    const rows = [load(0n), load(0xffff_8000_0000_0000n)];
    const bytes = (paging: Paging) => {
      const oracle = machine({ paging });
      oracle.run(rows);
      return oracle.tableBytes()[0];
    };
    expect(bytes(arm('4K', 48))).toBe(8 * 4096); // two roots with three tables each
    expect(bytes(x86)).toBe(7 * 4096); // one root with twice three tables
    expect(bytes(arm('64K', 48))).toBe(6 * 65536); // two roots with two tables each, a whole granule for each
  });

  test('there is no canonical check: the tables see the index bits only, the TLB all', () => {
    const counts = countsOf({ tlb: { l1d: array(1, 4) } }, [load(0n), load(1n << 60n)]);
    expect(counts).toMatchObject({ 'fault.demand': 1, 'tlb.l1d.miss': 2 });
  });

  test('tracked dirty state counts the first store to a page', () => {
    const rows = [load(0n), store(0n), store(8n), store(4n * K)];
    expect(countsOf({ replay: { dirty: 'tracked' } }, rows)).toMatchObject({
      'walk.updates': 2,
      'walk.count': 2,
      'walk.refs': 8,
    });
    expect(countsOf({}, rows)['walk.updates']).toBeUndefined();
    const oracle = machine({ replay: { dirty: 'tracked' } });
    const flags = () => oracle.translate({ va: 0n })!.entries[3].value & 0xfffn;
    oracle.run([load(0n)]);
    expect(flags()).toBe(0x27n);
    oracle.run([store(0n)]);
    expect(flags()).toBe(0x67n);
  });

  test('an access across a page boundary is two look-ups only with splitPages', () => {
    const rows = [load(4092n, { size: 4 }), load(4093n, { size: 4 })];
    expect(countsOf({}, rows)['fault.demand']).toBe(1);
    // The first ends at the boundary. The second hits page 0 and then misses page 1.
    expect(countsOf({ replay: { splitPages: true } }, rows)).toMatchObject({
      'access.load': 2,
      'tlb.l1d.miss': 2,
      'tlb.l1d.hit': 1,
      'fault.demand': 2,
    });
  });
});

describe('captured mapping', () => {
  const replay = { mapping: 'captured' } as const;

  test('a page has the frame of its pa', () => {
    const oracle = machine({ replay });
    oracle.run([load(0x1234n, { pa: 0x7_5234n })]);
    expect(oracle.translate({ va: 0x1fffn })!.pa).toBe(0x7_5fffn);
  });

  test('a changed frame rewrites the leaf and removes the page from every TLB of every CPU', () => {
    const oracle = machine({
      replay,
      context: { cpuNode: [0, 0] },
      tlb: { l1i: array(1, 4), l1d: array(1, 4), l2: array(1, 4) },
    });
    const [one, two] = [0, 1].map((cpu) => ({ cpu, pa: 0x5000n }));
    oracle.run([load(0n, one), fetch(0n, one), load(0n, two), load(4n * K, { cpu: 1, pa: 0x6000n })]);
    oracle.run([
      load(0n, { pa: 0x9000n }),
      load(0n, { cpu: 1, pa: 0x9000n }),
      fetch(0n, { pa: 0x9000n }),
      load(4n * K, { cpu: 1, pa: 0x6000n }),
    ]);
    // CPU 0: load walks, fetch hits l2; after the remap load walks, fetch hits l2. CPU 1: two walks; then page 0 again, page 1 hits.
    expect(oracle.counters()[0]).toMatchObject({
      'walk.remaps': 1,
      'walk.count': 2,
      'tlb.l2.hit': 2,
      'fault.demand': 1,
    });
    expect(oracle.counters()[1]).toMatchObject({ 'walk.count': 3, 'tlb.l1d.hit': 1, 'fault.demand': 1 });
    expect(oracle.counters()[1]['walk.remaps']).toBeUndefined();
  });

  test('walk caches survive a remap and other contexts keep their mapping', () => {
    // Context 0: cold 4 reads, then the PDE cache leaves 1. Context 1: cold 4, untouched by the remap of context 0.
    const rows = [
      load(0n, { pa: 0x5000n, asid: 0 }),
      load(0n, { pa: 0x5000n, asid: 1 }),
      load(0n, { pa: 0x6000n, asid: 0 }),
      load(0n, { pa: 0x5000n, asid: 1 }),
    ];
    expect(countsOf({ replay, walkCaches: { pde: 2 }, tlb: { l1d: array(1, 4) } }, rows)).toMatchObject({
      'walk.refs': 4 + 4 + 1,
      'walk.remaps': 1,
      'tlb.l1d.hit': 1,
    });
  });

  test('an unknown pa keeps the mapping, or maps on demand', () => {
    const unknown = (1n << 64n) - 1n;
    const oracle = machine({ replay });
    oracle.run([load(0n, { pa: 0x5000n }), load(0n, { pa: unknown }), load(4n * K, { pa: unknown })]);
    expect(oracle.translate({ va: 0n })!.pa).toBe(0x5000n);
    expect(oracle.translate({ va: 4n * K })!.pa).toBe(1n << 39n);
    expect(oracle.counters()[0]).toMatchObject({ 'fault.demand': 2 });
    expect(oracle.counters()[0]['walk.remaps']).toBeUndefined();
  });
});

describe('contiguous runs', () => {
  const run = (size: PageSize, ...rules: PagePolicy['rules']): Paging => ({
    ...arm('4K', 48),
    pageSize: { default: size, rules },
  });
  const data = 1n << 39n;

  test('a run is one page of several descriptors with the contiguous bit', () => {
    const oracle = machine({ paging: run('64K') });
    oracle.run([load(0x5123n), load(0xffffn)]);
    // The first load maps all 16 pages and walks 4 levels; the TLB entry covers the second.
    expect(oracle.counters()[0]).toMatchObject({ 'fault.demand': 1, 'walk.refs': 4, 'tlb.l1d.hit': 1 });
    const found = oracle.translate({ va: 0x5123n })!;
    expect(found).toMatchObject({ pa: data + 0x5123n, pageBytes: 64n * K, level: 3 });
    // 11 valid page, AF 400, nG 800, SH 300, AP[1] 40
    expect(found.entries[3].value).toBe((data + 0x5000n) | ARM.CONTIGUOUS | ARM.DBM | 0xf43n);
  });

  test('its frame is aligned to its size', () => {
    const oracle = machine({ paging: run('64K', { from: 0, to: '0x10000', size: '4K' }) });
    oracle.run([load(0n), load(0x2_0000n)]);
    // One 4K frame is gone, so the run takes the next multiple of 64K.
    expect(oracle.translate({ va: 0x2_0000n })!.pa).toBe(data + 64n * K);
  });

  test.each([
    ['64K', 0xf000n, 64n * K, 4],
    ['32M', 31n * M, 32n * M, 3],
    ['16G', 15n * G, 16n * G, 2],
  ] as const)('%s with a 4K granule', (size, last, bytes, refs) => {
    const oracle = machine({ paging: run(size) });
    oracle.run([load(0n), load(last)]);
    expect(oracle.counters()[0]).toMatchObject({ 'fault.demand': 1, 'walk.refs': refs, 'tlb.l1d.hit': 1 });
    expect(oracle.translate({ va: last })).toMatchObject({ pageBytes: bytes, pa: (data / bytes) * bytes + last });
  });

  test.each([
    ['16K', '2M', 4], // 128 pages
    ['16K', '1G', 3], // 32 blocks of level 2
    ['64K', '2M', 3], // 32 pages
    ['64K', '16G', 2], // 32 blocks of level 2
  ] as const)('with a %s granule, %s', (granule, size, refs) => {
    const paging: Paging = { ...arm(granule, 48), pageSize: { default: size, rules: [] } };
    const bytes = size === '2M' ? 2n * M : size === '1G' ? G : 16n * G;
    const counts = countsOf({ paging }, [load(0n), load(bytes - 8n), load(bytes)]);
    expect(counts).toMatchObject({ 'fault.demand': 2, 'tlb.l1d.hit': 1, 'walk.refs': 2 * refs });
  });

  test('where one of its entries is mapped the next smaller size is used', () => {
    const sizesAt = (paging: Paging, addresses: bigint[]) => {
      const oracle = machine({ paging });
      oracle.run(addresses.map((va) => load(va)));
      return addresses.map((va) => oracle.translate({ va })!.pageBytes);
    };
    // 4K at 0 takes an entry of the first run.
    const small = run('64K', { from: 0, to: '0x1000', size: '4K' });
    expect(sizesAt(small, [0n, 0x5000n, 0x1_0000n])).toEqual([4n * K, 4n * K, 64n * K]);
    // 4K at 0 is a table in the first run of 2M blocks, so 32M becomes 2M; in that 2M itself it becomes 4K: no rule names 64K.
    const large = run('32M', { from: 0, to: '0x1000', size: '4K' });
    expect(sizesAt(large, [0n, 4n * M, 0x2_0000n, 32n * M])).toEqual([4n * K, 2n * M, 4n * K, 32n * M]);
  });

  test('the first store makes the whole run dirty', () => {
    const rows = [load(0n), store(0n), store(0x5000n), store(0x1_0000n)];
    expect(countsOf({ paging: run('64K'), replay: { dirty: 'tracked' } }, rows)['walk.updates']).toBe(2);
  });

  test('is indexed by its size in an array of its own', () => {
    // Two sets by VA bit 16: the first two runs are in different sets.
    const tlb = { l1d: array(2, 1, ['64K']) };
    const rows = [0n, 0x1_0000n, 0x5000n, 0x1_5000n].map((va) => load(va));
    expect(countsOf({ paging: run('64K'), tlb }, rows)).toMatchObject({ 'tlb.l1d.miss': 2, 'tlb.l1d.hit': 2 });
  });
});

describe('52-bit formats', () => {
  test.each([
    // The largest blocks are read in the root of 64K, one level below the root of 4K and 16K.
    ['4K', '512G', 2, 5],
    ['16K', '64G', 2, 4],
    ['64K', '4T', 1, 3],
  ] as const)('%s: a %s block reads %i descriptors, a page %i', (granule, size, block, page) => {
    const paging = arm(granule, 52);
    expect(countsOf({ paging }, [load(0n)])['walk.refs']).toBe(page);
    const large: Paging = { ...paging, pageSize: { default: size, rules: [] } };
    expect(countsOf({ paging: large }, [load(0n)])['walk.refs']).toBe(block);
  });

  test('4K and 16K leaves have no shareability, and addresses above 2^50 in bits 9:8', () => {
    const oracle = machine({ paging: arm('4K', 52) });
    oracle.run([load(0n)]);
    expect(oracle.translate({ va: 0n })!.entries[4].value).toBe((1n << 39n) | ARM.DBM | 0xc43n);
    const format = formatOf(arm('16K', 52));
    expect(format.tableDescriptor(3n << 50n)).toBe(0x303n);
    expect(format.tablePa(0x303n)).toBe(3n << 50n);
  });

  test('64K leaves have both, with addresses above 2^48 in bits 15:12', () => {
    const oracle = machine({ paging: arm('64K', 52) });
    oracle.run([load(0n)]);
    expect(oracle.translate({ va: 0n })!.entries[2].value).toBe((1n << 39n) | ARM.DBM | 0xf43n);
    expect(formatOf(arm('64K', 52)).tableDescriptor(1n << 48n)).toBe(0x1003n);
  });
});

describe('two stages', () => {
  const ept: Stage2Paging = { format: 'ept', levels: 4, pageSize: '4K' };
  const kvm = (granule: '4K' | '16K' | '64K', ipaBits: number, pageSize: PageSize): Stage2Paging => {
    return { format: 'arm64', granule, ipaBits, pageSize };
  };
  const under = (paging: Paging, stage2: Stage2Paging): Paging => ({ ...paging, stage2 });
  const data = 1n << 39n;

  test.each([
    // Page tables have pages of their own while stage 2 has pages of the same size: n1 tables and one page to back.
    ['x86 4 under EPT 4', under(x86, ept), 4, 4, 5],
    ['x86 5 under EPT 5', under({ ...x86, levels: 5 } as Paging, { ...ept, levels: 5 }), 5, 5, 6],
    // With 2M all tables share one stage-2 page.
    ['x86 4 under EPT 4 with 2M', under(x86, { ...ept, pageSize: '2M' }), 4, 3, 2],
    ['x86 4 under EPT 4 with 1G', under(x86, { ...ept, pageSize: '1G' }), 4, 2, 2],
    // KVM: 40 bits of 4K have floor(32 / 9) = 3 levels, 52 bits floor(44 / 9) = 4; 48 bits of 16K floor(40 / 11) = 3.
    ['Arm 39 under KVM 40', under(arm('4K', 39), kvm('4K', 40, '4K')), 3, 3, 4],
    ['Arm 52 under KVM 52', under(arm('4K', 52), kvm('4K', 52, '4K')), 5, 4, 6],
    ['Arm 16K under KVM 16K', under(arm('16K', 36), kvm('16K', 48, '16K')), 2, 3, 3],
    // A table of 64K takes 16 stage-2 pages, each of its own mapping: 3 x 16, and one of the page.
    ['Arm 64K under EPT 4', under(arm('64K', 48), ept), 3, 4, 49],
    // 52 bits of 64K: floor(44 / 13) = 3 levels.
    ['x86 4 under KVM 64K', under(x86, kvm('64K', 52, '64K')), 4, 3, 2],
  ] as const)('a cold walk of %s', (_name, paging, n1, n2, faults) => {
    const counts = countsOf({ paging }, [load(0n)]);
    expect(counts).toMatchObject({
      'walk.refs': (n1 + 1) * (n2 + 1) - 1,
      'walk.stage2Refs': (n1 + 1) * n2,
      'walk.count': 1,
      'fault.demand': 1,
      'fault.stage2': faults,
      'cycles.walk': ((n1 + 1) * (n2 + 1) - 1) * 80,
    });
  });

  test('the IPA cache saves whole stage-2 translations', () => {
    // Walks of 0, 4K and 0: 24; 4 stage-1 reads and 4 for the new page; 4. Hits: the 4 tables, then these and the page.
    const rows = [0n, 4n * K, 0n].map((va) => load(va));
    expect(countsOf({ paging: under(x86, ept), walkCaches: { ipa: 8 } }, rows)).toMatchObject({
      'walk.refs': 24 + 8 + 4,
      'walk.stage2Refs': 20 + 4,
      'walk.cacheHits.ipa': 4 + 5,
    });
  });

  test('an entry of the IPA cache is a stage-2 page', () => {
    // With 2M one entry serves all four tables: the root misses (3 reads), three hits, the page misses (3 reads).
    const paging = under(x86, { ...ept, pageSize: '2M' });
    expect(countsOf({ paging, walkCaches: { ipa: 1 } }, [load(0n)])).toMatchObject({
      'walk.cacheHits.ipa': 3,
      'walk.stage2Refs': 6,
    });
  });

  test('a stage-1 walk cache knows where the next table is physically', () => {
    // 24 reads; then the PDE cache leaves one stage-1 descriptor, untranslated, and the page's 4.
    const rows = [load(0n), load(4n * K)];
    expect(countsOf({ paging: under(x86, ept), walkCaches: { pde: 1 } }, rows)).toMatchObject({
      'walk.refs': 24 + 1 + 4,
      'walk.stage2Refs': 20 + 4,
      'walk.cacheHits.pde': 1,
    });
    // The PDPTE cache leaves two, of which the second table is translated.
    expect(countsOf({ paging: under(x86, ept), walkCaches: { pdpte: 1 } }, [load(0n), load(2n * M)])).toMatchObject({
      'walk.refs': 24 + 2 + 8,
    });
  });

  test.each([
    // Four tables below 2M, then the page at 2^47. A cache k levels above the last leaves k reads to each later table.
    ['s2l2', 3 * 1],
    ['s2l1', 3 * 2],
    ['s2l0', 3 * 3],
  ] as const)('the stage-2 walk cache %s serves the tables after the first', (cache, reads) => {
    expect(countsOf({ paging: under(x86, ept), walkCaches: { [cache]: 1 } }, [load(0n)])).toMatchObject({
      'walk.stage2Refs': 4 + reads + 4,
      [`walk.cacheHits.${cache}`]: 3,
    });
  });

  test('the hypervisor outside a guest has one stage, everything else two', () => {
    const refs = (mode: number) => countsOf({ paging: under(x86, ept) }, [load(0n, { mode })])['walk.refs'];
    expect([0, 1, 2, 16, 17, 18].map(refs)).toEqual([24, 24, 4, 24, 24, 24]);
  });

  test('contexts of a VM share its stage 2, VMs do not', () => {
    // With 2M: one mapping for all tables and one for all pages of a VM.
    const paging = under(x86, { ...ept, pageSize: '2M' });
    const rows = [load(0n), load(0n, { asid: 1 }), load(0n, { mode: 16 }), load(0n, { vm: 1 })];
    expect(countsOf({ paging }, rows)).toMatchObject({ 'fault.demand': 4, 'fault.stage2': 4 });
    const caches = countsOf({ paging, walkCaches: { ipa: 2 } }, rows);
    // VM 0: 6 reads, then all 15 translations hit; 3 hits in the first walk of either VM.
    expect(caches).toMatchObject({ 'walk.stage2Refs': 12, 'walk.cacheHits.ipa': 3 + 5 + 5 + 3 });
  });

  test('a TLB entry is the smaller page of both stages', () => {
    const large: Paging = { ...x86, pageSize: { default: '2M', rules: [] } };
    const tlb = { l1d: array(1, 4) };
    const rows = [0n, 4n * K, 8n, 2n * M - 8n].map((va) => load(va));
    // 2M over 4K: three 4K pages. 2M over 2M: one. 4K over 2M: three pages of stage 1.
    const over = (paging: Paging) => countsOf({ paging, tlb }, rows);
    // Three tables, three pages.
    expect(over(under(large, ept))).toMatchObject({ 'tlb.l1d.miss': 3, 'fault.demand': 1, 'fault.stage2': 6 });
    expect(over(under(large, { ...ept, pageSize: '2M' }))['tlb.l1d.miss']).toBe(1);
    expect(over(under(x86, { ...ept, pageSize: '2M' }))['tlb.l1d.miss']).toBe(3);
    // 64K of stage 2 is no size of x86: 4K. It is one of Arm's 4K granule.
    const arm2M: Paging = { ...arm('4K', 48), pageSize: { default: '2M', rules: [] } };
    expect(over(under(large, kvm('64K', 48, '64K')))['tlb.l1d.miss']).toBe(3);
    expect(over(under(arm2M, kvm('64K', 48, '64K')))['tlb.l1d.miss']).toBe(2);
  });

  test('stage-2 pages below the base page are entered in the arrays for the base page, indexed by it', () => {
    const paging = under(arm('64K', 48), ept);
    const misses = (sets: number, ways: number, pages: PageSize[] | null, rows: bigint[]) =>
      countsOf(
        { paging, tlb: { l1d: array(sets, ways, pages) } },
        rows.map((va) => load(va)),
      )['tlb.l1d.miss'];
    expect(misses(1, 4, null, [0n, 4n * K, 8n, 4n * K + 8n])).toBe(2);
    // Both are in set 0 of two, so one way alternates.
    expect(misses(2, 1, ['64K'], [0n, 4n * K, 0n, 4n * K])).toBe(4);
    expect(misses(2, 1, ['64K'], [0n, 64n * K, 0n, 64n * K])).toBe(2);
    expect(misses(2, 1, ['512M'], [0n, 0n])).toBe(2);
  });

  test('KVM tables under a guest, each where it lies', () => {
    const oracle = machine({ paging: under(arm('4K', 39), kvm('4K', 40, '4K')) });
    oracle.run([load(5n)]);
    // The guest's root at IPA 0 asks for stage 2: a root of two tables (pages 0 and 1), level 2 and 3 (pages 2 and 3), a frame.
    // Its other tables, at IPA 1000 and 2000, take frames only. The page at IPA 2^39 has index 512 in the root: pages 4 and 5.
    expect(oracle.translate({ va: 5n })).toEqual({
      pa: data + 0x3005n,
      pageBytes: 4n * K,
      level: 3,
      entries: [
        { level: 1, tablePa: data, entryPa: data, value: 0x1003n },
        { level: 2, tablePa: data + 0x1000n, entryPa: data + 0x1000n, value: 0x2003n },
        { level: 3, tablePa: data + 0x2000n, entryPa: data + 0x2000n, value: (1n << 39n) | ARM.DBM | 0xf43n },
      ],
      ipa: (1n << 39n) + 5n,
      stage2: [
        { level: 1, tablePa: 0n, entryPa: 0x1000n, value: 0x4003n },
        { level: 2, tablePa: 0x4000n, entryPa: 0x4000n, value: 0x5003n },
        { level: 3, tablePa: 0x5000n, entryPa: 0x5000n, value: (data + 0x3000n) | 0x7ffn },
      ],
    });
    expect(oracle.tableBytes()).toEqual([(6 + 3) * 4096]);
  });

  test('EPT descriptors', () => {
    const oracle = machine({ paging: under(x86, { ...ept, pageSize: '2M' }) });
    oracle.run([load(0n)]);
    // EPT tables: root, level 3, level 2 for the tables of the guest; for its page, whose IPA 2^47 has another index in the
    // root, pages 3 and 4. Frames of 2M: tables, page.
    expect(oracle.translate({ va: 0n })!.stage2!.map(({ value }) => value)).toEqual([
      0x3007n,
      0x4007n,
      (data + 2n * M) | 0xb7n, // read, write, execute 7, write-back 30, large 80
    ]);
  });

  test('a concatenated root starts at a multiple of its tables; what it skips holds nothing', () => {
    // The hypervisor's own three tables are pages 0 to 2, so the root of two is at 4.
    const oracle = machine({ paging: under(arm('4K', 39), kvm('4K', 40, '4K')) });
    oracle.run([load(0n, { mode: 2 }), load(0n)]);
    expect(oracle.translate({ va: 0n })!.stage2![0].tablePa).toBe(0x4000n);
    expect(oracle.tableBytes()).toEqual([(3 + 6 + 3) * 4096]);
  });

  test('frames behind tables follow the placement of tables, by the number of the page', () => {
    const context = { cpuNode: [0, 1] };
    const oracle = machine({ paging: under(x86, ept), context, memory: { tables: 'interleave', data: { node: 1 } } });
    oracle.run([load(0n)]);
    const found = oracle.translate({ va: 0n })!;
    expect(found.entries.map(({ tablePa }) => tablePa >> 40n)).toEqual([0n, 1n, 0n, 1n]);
    expect(found.pa! >> 40n).toBe(1n);
    // Tables of stage 2 go round: for the guest's root 0, 1, 0, 1; for its page (IPA 2^47) three more: 0, 1, 0.
    expect(found.stage2!.map(({ tablePa }) => tablePa >> 40n)).toEqual([0n, 0n, 1n, 0n]);
    // Host: 4 on node 0 (0, 2, 4, 6), 3 on node 1. Guest: 2 and 2.
    expect(oracle.tableBytes()).toEqual([6 * 4096, 5 * 4096]);
  });

  test('guest pages follow each other, each aligned to its size', () => {
    const rules = [{ from: '0x40000000', to: '0x80000000', size: '2M' as const }];
    const oracle = machine({ paging: under({ ...x86, pageSize: { default: '4K', rules } }, ept) });
    oracle.run([load(0n), load(G), load(4n * K)]);
    const start = 1n << 47n;
    const ipas = [0n, G, 4n * K].map((va) => oracle.translate({ va })!.ipa);
    expect(ipas).toEqual([start, start + 2n * M, start + 4n * M]);
    // Nothing asked for the second 4K of the large page yet.
    expect(oracle.translate({ va: G + 4n * K })).toMatchObject({ pa: null, ipa: start + 2n * M + 4n * K, stage2: [] });
  });

  test('captured mapping has no stage 2', () => {
    expect(() => machine({ paging: under(x86, ept), replay: { mapping: 'captured' } })).toThrow('captured');
  });
});

describe('placement', () => {
  const context = { cpuNode: [0, 1] };
  const rows = [load(0n), load(0n, { cpu: 1 })];
  const node1 = 1n << 40n;
  const data = 1n << 39n;

  test('first-touch puts tables with the CPU that mapped the page', () => {
    const oracle = machine({ context });
    oracle.run(rows);
    expect(oracle.tableBytes()).toEqual([4 * 4096, 0]);
    expect(oracle.counters()[0]).toMatchObject({ 'walk.local': 4, 'cycles.walk': 4 * 80 });
    expect(oracle.counters()[1]).toMatchObject({ 'walk.remote': 4, 'cycles.walk': 4 * 140 });
  });

  test('local tables are never remote', () => {
    const oracle = machine({ context, memory: { tables: 'local' } });
    oracle.run(rows);
    expect(oracle.counters()[1]).toMatchObject({ 'walk.local': 4, 'cycles.walk': 4 * 80 });
  });

  test('interleaved tables go round robin from node 0, the root first', () => {
    const oracle = machine({ context, memory: { tables: 'interleave' } });
    oracle.run(rows);
    const tables = oracle.translate({ va: 0n })!.entries.map(({ tablePa }) => tablePa);
    expect(tables).toEqual([0n, node1 + 0x1000n, 0x2000n, node1 + 0x3000n]);
    expect(oracle.counters()[0]).toMatchObject({ 'walk.local': 2, 'walk.remote': 2 });
  });

  test('a fixed node takes all', () => {
    const oracle = machine({ context, memory: { tables: { node: 1 }, data: { node: 1 } } });
    oracle.run(rows);
    expect(oracle.tableBytes()).toEqual([0, 4 * 4096]);
    expect(oracle.translate({ va: 0n })!.pa).toBe(node1 + data);
  });

  test('interleaved data goes by page number', () => {
    const oracle = machine({ context, memory: { data: 'interleave' } });
    const pages = [0n, 1n, 2n, 3n].map((page) => page * 4n * K);
    oracle.run(pages.map((va) => load(va)));
    const frames = pages.map((va) => oracle.translate({ va })!.pa);
    expect(frames).toEqual([data, node1 + data, data + 4n * K, node1 + data + 4n * K]);
  });

  test('latency is a straight line through distance 10 and the nearest distance above it', () => {
    // 80 ns at 10, 140 at 20: 6 ns per step, so 260 at 40; 2.5 GHz makes 200, 350 and 650 cycles.
    const distances = [
      [10, 20, 40],
      [20, 10, 40],
      [40, 40, 10],
    ];
    const oracle = machine({ context: { cpuNode: [0, 1, 2] }, machine: { distances, clockGHz: 2.5 } });
    oracle.run([0, 1, 2].map((cpu) => load(0n, { cpu })));
    expect(oracle.counters().map((counts) => counts['cycles.walk'])).toEqual([4 * 200, 4 * 350, 4 * 650]);
  });
});

describe('counting', () => {
  test('insns sums the column over fetches, or counts fetches', () => {
    expect(
      countsOf({}, [fetch(0n, { insns: 5 }), fetch(0n, { insns: 0 }), load(0n, { insns: 9 })])['access.insns'],
    ).toBe(5);
    expect(countsOf({}, [fetch(0n), fetch(0n)])['access.insns']).toBe(2);
  });

  test('the rows of the warm-up change the state and are not counted', () => {
    // Two of the rows warm up: the event and the load that maps page 0.
    const counts = countsOf({ replay: { warmup: 2 } }, [event(18, 1), load(0n), load(0n), load(4n * K)]);
    expect(counts).toMatchObject({ 'access.load': 2, 'tlb.l1d.hit': 1, 'tlb.l1d.miss': 1, 'fault.demand': 1 });
    expect(counts['access.event']).toBeUndefined();
  });

  test('a phase counts all CPUs from its begin row to its end row, nested ones too', () => {
    const oracle = machine({ context: { cpuNode: [0, 0] } });
    oracle.run([
      load(0n),
      event(16, 7, 1),
      load(0n),
      event(16, 8),
      event(16, 7), // open already: no new phase
      load(0n, { cpu: 1 }),
      event(17, 7),
      load(0n),
      event(17, 8),
      event(17, 9), // never begun: ignored
      event(16, 7, 1),
      load(0n), // open at the end: counts up to the end
    ]);
    const seen = oracle.phases().map(({ phase, cpu, counters }) => ({
      phase,
      cpu,
      loads: counters.map((counts) => counts['access.load'] ?? 0),
      events: counters.map((counts) => counts['access.event'] ?? 0),
    }));
    expect(seen).toEqual([
      // Phase 7 of CPU 1: two spans. Loads: CPU 0 one in each, CPU 1 one. Events: begins by CPU 1 twice; CPU 0: 16/8, 16/7, 17/7.
      { phase: 7, cpu: 1, loads: [2, 1], events: [3, 2] },
      // Phase 8 of CPU 0: its own begin, 16/7, 17/7, its own end.
      { phase: 8, cpu: 0, loads: [1, 1], events: [4, 0] },
    ]);
    expect(oracle.counters()[0]).toMatchObject({ 'access.load': 4, 'access.event': 5 });
  });

  test('a phase that begins in the warm-up counts from its end', () => {
    const oracle = machine({ replay: { warmup: 2 } });
    oracle.run([event(16, 7), load(0n), load(0n), event(17, 7)]);
    expect(oracle.phases()).toEqual([
      { phase: 7, cpu: 0, counters: [{ 'access.load': 1, 'access.event': 1, 'tlb.l1d.hit': 1 }] },
    ]);
  });

  test('rows outside the selected phases change no state and are not counted', () => {
    const counts = countsOf({ replay: { phases: [7] } }, [
      load(0n),
      event(16, 6),
      load(4n * K),
      event(17, 6),
      event(16, 7),
      load(0n),
      event(17, 7),
      load(0n),
    ]);
    expect(counts).toMatchObject({ 'access.load': 1, 'fault.demand': 1, 'access.event': 2 });
  });
});

/** Control registers of an Arm table as the replay's formats mean them. */
function armControls(granuleName: '4K' | '16K' | '64K', bits: number) {
  const granule = ({ '4K': 4, '16K': 16, '64K': 64 } as const)[granuleName];
  const wide = bits > 48;
  return { granule, bits, outputBits: 52, ds: wide && granule !== 64, lpa: wide && granule === 64, ha: true, hd: true };
}

/** The regime of a replay's stage 1 alone, and its address bits. */
function stage1Regime(paging: Paging, { tablePa: root }: TranslationEntry): { regime: Regime; bits: number } {
  if (paging.format === 'x86-64') {
    const x86 = { root, levels: paging.levels, maxPhysBits: 52, wp: true, smep: true, smap: true, nxe: true };
    return { regime: { stage1: { x86 }, stage2: null }, bits: 12 + 9 * paging.levels };
  }
  const controls = armControls(paging.granule, paging.vaBits);
  const low = { root, ...controls, wxn: false, single: false, hpd: false, tbi: false, epd: false };
  return { regime: { stage1: { low }, stage2: null }, bits: paging.vaBits };
}

/** The regime of a replay's stage 2 alone. */
function stage2Regime(stage2: Stage2Paging, first: TranslationEntry): { regime: Regime; bits: number } {
  const root = first.tablePa;
  const tables: Regime['stage2'] =
    stage2.format === 'ept'
      ? { kind: 'ept', root, levels: stage2.levels, maxPhysBits: 52 }
      : { kind: 'arm', root, ...armControls(stage2.granule, stage2.ipaBits), startLevel: first.level, xnx: false };
  return { regime: { stage1: null, stage2: tables }, bits: 64 };
}

describe('every replay', () => {
  const total = (oracle: Oracle, pattern: RegExp) =>
    oracle
      .counters()
      .flatMap((counts) => Object.entries(counts))
      .filter(([key]) => pattern.test(key))
      .reduce((sum, [, count]) => sum + count, 0);

  test('keeps the sums of walks, references and look-ups', () => {
    fc.assert(
      fc.property(scenario, ({ config, context, rows }) => {
        const oracle = new Oracle(config, context);
        oracle.run(rows);
        const refs = total(oracle, /^walk\.refs$/);
        expect(total(oracle, /^walk\.(local|remote)$/)).toBe(refs);
        expect(total(oracle, /^walk\.(levels\..*|stage2Refs)$/)).toBe(refs);
        const { l2 } = config.machine.tlb;
        if (l2?.some(({ sets, ways }) => sets * ways > 0)) {
          expect(total(oracle, /^tlb\.l2\.miss$/)).toBe(total(oracle, /^walk\.count$/));
        }
        if (config.replay.phases === null) {
          const accesses = rows.slice(config.replay.warmup).filter(({ kind }) => kind < 3).length;
          expect(total(oracle, /^access\.(fetch|load|store)$/)).toBe(accesses);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('leaves tables that an architectural walk reads as the oracle does', () => {
    fc.assert(
      fc.property(scenario, ({ config, context, rows }) => {
        const oracle = new Oracle(config, context);
        oracle.run(rows);
        for (const row of rows.slice(0, 200)) {
          const found = oracle.translate(row);
          if (found === null || found.pa === null) continue;
          // One stage: that stage. Two stages: the second, for the address that the first puts out.
          const steps = found.stage2 ?? found.entries;
          const { regime, bits } = found.stage2
            ? stage2Regime(config.paging.stage2!, steps[0])
            : stage1Regime(config.paging, steps[0]);
          // A replay looks at no bits above those that index its tables; an x86 address has a sign there.
          const address = found.ipa ?? BigInt.asUintN(bits, row.va);
          const va = regime.stage1?.x86 ? BigInt.asUintN(64, BigInt.asIntN(bits, address)) : address;
          const memory = (pa: bigint) => steps.find(({ entryPa }) => entryPa === pa)!.value;
          const walked = translate(memory, regime, va, { kind: 'write', user: true });
          expect(walked).toMatchObject({ status: 'ok', pa: found.pa });
          const read = (list: { level: number; entryPa: bigint }[]) =>
            list.map(({ level, entryPa }) => [level, entryPa]);
          expect(read(walked.steps)).toEqual(read(steps));
        }
      }),
      { numRuns: 60 },
    );
  });

  test('is the same in one run or several', () => {
    fc.assert(
      fc.property(scenario, fc.integer({ min: 0, max: 3000 }), ({ config, context, rows }, cut) => {
        const [whole, parts] = [new Oracle(config, context), new Oracle(config, context)];
        whole.run(rows);
        parts.run(rows.slice(0, cut));
        parts.run(rows.slice(cut));
        expect([parts.counters(), parts.phases(), parts.tableBytes()]).toEqual([
          whole.counters(),
          whole.phases(),
          whole.tableBytes(),
        ]);
      }),
      { numRuns: 30 },
    );
  });

  test('with one node has no remote reference', () => {
    fc.assert(
      fc.property(scenario, ({ config, context, rows }) => {
        const oracle = new Oracle(
          {
            ...config,
            machine: { ...config.machine, distances: null },
            memory: { data: 'first-touch', tables: 'interleave' },
          },
          { ...context, nodes: 1, cpuNode: context.cpuNode.map(() => 0) },
        );
        oracle.run(rows);
        expect(total(oracle, /^walk\.remote$/)).toBe(0);
      }),
      { numRuns: 30 },
    );
  });
});
