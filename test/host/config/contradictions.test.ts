// What each key allows and what keys may not say together. Every error is a UsageError that names its keys.
import { expect, test } from 'vitest';
import { resolveConfig } from '../../../host/config/load.js';
import { passesOf } from '../../../host/config/replaying.js';
import { UsageError } from '../../../traces/errors.js';

const l2 = (level: unknown) => ({ machine: { tlb: { l2: level } } });
const rules = (...list: unknown[]) => ({ paging: { pageSize: { rules: list } } });
const line = { sets: 64, ways: 8 };
const caches = (more: object) => ({ machine: { caches: { l1i: line, l1d: line, ...more } } });
const llc = (more: object) => caches({ llc: { ...line, ...more } });
const replay = (keys: object) => ({ replay: keys });
const system = (keys: object) => ({ system: keys });
const arm = (paging: object) => ({ paging: { format: 'arm64', ...paging } });

test.each<[string, unknown, RegExp]>([
  ['more than 1024 ways', l2({ ways: 1025 }), /machine\.tlb\.l2\.ways: expected at most 1024, found 1025/],
  ['more than 2^20 sets', l2({ sets: 2 ** 20 + 1 }), /machine\.tlb\.l2\.sets: expected at most 1048576/],
  ['fractions', l2({ ways: 1.5 }), /machine\.tlb\.l2\.ways: expected an integer, found 1\.5/],
  ['sets without ways', l2({ ways: 0 }), /machine\.tlb\.l2: sets and ways must both/],
  ['ways without sets', l2({ sets: 0 }), /machine\.tlb\.l2: sets and ways must both/],
  ['an array without geometry', l2([{ pages: ['4K'] }]), /machine\.tlb\.l2\.0\.sets: expected a number, found nothing/],
  ['65 nodes', { machine: { nodes: 65 } }, /machine\.nodes: expected at most 64/],
  ['node 64', { machine: { cpuNode: [64] } }, /machine\.cpuNode\.0: expected at most 63/],
  ['4097 CPUs', { machine: { cpus: 4097 } }, /machine\.cpus: expected at most 4096/],
  ['no CPU', { machine: { cpuNode: [] } }, /machine\.cpuNode: expected a list whose length is at least 1/],
  ['null for an object', { machine: null }, /machine: expected an object, found null/],
  ['text for a number', { machine: { cpi: 'fast' } }, /machine\.cpi: expected a number, found "fast"/],
  ['6 levels', { paging: { levels: 6 } }, /paging\.levels: expected 4 or 5, found 6/],
  ['no phases', { replay: { phases: [] } }, /replay\.phases: expected a list/],

  ['an Arm walk cache on x86', { machine: { walkCaches: { l2: 4 } } }, /walkCaches\.l2: paging\.format x86-64/],
  [
    'an x86 walk cache on Arm',
    { machine: { walkCaches: { pde: 4 } }, ...arm({}) },
    /walkCaches\.pde: paging\.format arm64/,
  ],
  ['pml5e with 4 levels', { machine: { walkCaches: { pml5e: 1 } } }, /walkCaches\.pml5e: .*paging\.levels 4/],

  ['16K pages on x86', { paging: { pageSize: '16K' } }, /paging\.pageSize: 16K .*paging\.format x86-64 .*4K, 2M, 1G/],
  [
    '64K pages with granule 16K',
    arm({ granule: '16K', pageSize: '64K' }),
    /paging\.pageSize: 64K .*paging\.granule 16K .*16K, 2M, 32M, 1G/,
  ],
  ['1G pages with granule 64K', arm({ granule: '64K', pageSize: '1G' }), /paging\.granule 64K .*64K, 2M, 512M, 16G/],
  ['pages above the root table', arm({ vaBits: 30, pageSize: '1G' }), /paging\.vaBits 30 has 4K, 64K, 2M, 32M$/],
  [
    'no level at all',
    arm({ granule: '64K', vaBits: 16 }),
    /paging\.vaBits: 16 leaves no table level with paging\.granule 64K/,
  ],
  ['a levels key on Arm', arm({ levels: 4 }), /paging\.levels: paging\.format "arm64" has no such key/],
  ['a granule on x86', { paging: { granule: '4K' } }, /paging\.granule: paging\.format "x86-64" has no such key/],

  ['blocks of 52 bits with 48', arm({ pageSize: '512G' }), /paging\.vaBits 48 has .*1G, 16G$/],

  [
    'captured frames under stage 2',
    { ...arm({ stage2: {} }), replay: { mapping: 'captured' } },
    /paging\.stage2: contradicts replay\.mapping captured/,
  ],
  ['runs of stage 2', arm({ stage2: { pageSize: '64K' } }), /stage2\.pageSize: 64K .*ipaBits 40 has 4K, 2M, 1G$/],
  // 34 - 8 bits over 9 each: 2 levels.
  [
    'stage-2 pages above the root',
    arm({ stage2: { ipaBits: 34, pageSize: '1G' } }),
    /stage2\.pageSize: 1G .*ipaBits 34 has 4K, 2M$/,
  ],
  [
    'stage-2 sizes of another format',
    { paging: { stage2: { pageSize: '512G' } } },
    /stage2\.pageSize: 512G .*ept with levels 4 has 4K, 2M, 1G$/,
  ],
  ['31 IPA bits', arm({ stage2: { ipaBits: 31 } }), /stage2\.ipaBits: expected at least 32, found 31/],
  ['53 IPA bits', arm({ stage2: { ipaBits: 53 } }), /stage2\.ipaBits: expected at most 52/],
  // Half of 2^34 is 8G.
  [
    'pages above half of the IPA space',
    arm({ pageSize: '16G', stage2: { ipaBits: 34 } }),
    /paging\.pageSize: 16G .*ipaBits 34 has 2\^33 bytes/,
  ],
  [
    'a stage 2 of no format',
    { paging: { stage2: { format: 'npt' } } },
    /stage2\.format: expected arm64 or ept, found "npt"/,
  ],
  [
    'Arm keys under EPT',
    { paging: { stage2: { ipaBits: 40 } } },
    /stage2\.ipaBits: paging\.stage2\.format "ept" has no such key/,
  ],
  [
    'EPT keys under Arm',
    arm({ stage2: { levels: 4 } }),
    /stage2\.levels: paging\.stage2\.format "arm64" has no such key/,
  ],
  [
    'a stage-2 cache without stage 2',
    { machine: { walkCaches: { ipa: 1 } } },
    /walkCaches\.ipa: .*paging\.stage2 is null/,
  ],
  [
    'stage-2 tables cached without stage 2',
    { machine: { walkCaches: { s2l2: 1 } }, ...arm({}) },
    /walkCaches\.s2l2: .*paging\.stage2 is null/,
  ],

  ['a TLB for a size that the format lacks', l2({ pages: ['4K', '16K'] }), /l2\.pages: 16K .*paging\.format x86-64/],
  [
    'a size in two arrays',
    l2([
      { sets: 1, ways: 1, pages: ['4K'] },
      { sets: 1, ways: 2 },
    ]),
    /l2\.1\.pages: machine\.tlb\.l2\.0 takes 4K/,
  ],
  ['a size twice in one array', l2({ pages: ['4K', '4K'] }), /l2\.pages: 4K is named twice/],

  ['an empty range', rules({ from: 0x2000, to: 0x2000, size: '2M' }), /rules\.0\.to: expected an address above from/],
  [
    'overlapping ranges',
    rules({ to: 0x2000, size: '2M' }, { from: 0x1fff, size: '2M' }),
    /rules\.1: overlaps .*rules\.0/,
  ],
  ['a rule for nothing', rules({ size: '2M' }), /rules\.0: expected either region, or from and to/],
  ['a rule for two things', rules({ region: 'text', from: 0, size: '2M' }), /rules\.0: expected either region/],
  [
    'an address that is none',
    rules({ from: 'text', size: '2M' }),
    /rules\.0\.from: expected an address such as 0x1000/,
  ],
  ['an address above 64 bits', rules({ from: `0x1${'0'.repeat(16)}`, size: '2M' }), /rules\.0\.from: .*below 2\^64/],

  [
    'captured frames of global pages',
    { replay: { mapping: 'captured' }, paging: { global: 'kernel' } },
    /paging\.global: kernel contradicts replay\.mapping captured/,
  ],
  [
    'captured large pages',
    { replay: { mapping: 'captured' }, paging: { pageSize: '2M' } },
    /paging\.pageSize: 2M .*replay\.mapping captured/,
  ],
  [
    'captured large pages by rule',
    { replay: { mapping: 'captured' }, ...rules({ region: 'text', size: '2M' }) },
    /rules\.0\.size: 2M .*replay\.mapping captured/,
  ],

  ['distances that are not square', { machine: { distances: [[10, 20], [20]] } }, /distances\.1: expected 2 distances/],
  [
    'a distance to itself',
    {
      machine: {
        distances: [
          [10, 20],
          [20, 11],
        ],
      },
    },
    /distances\.1\.1: expected 10/,
  ],
  [
    'distances below 10',
    {
      machine: {
        distances: [
          [10, 9],
          [20, 10],
        ],
      },
    },
    /distances\.0\.1: expected at least 10/,
  ],
  [
    'distances for other nodes',
    { machine: { nodes: 3, distances: [[10]] } },
    /machine\.distances: 1 rows contradict machine\.nodes/,
  ],
  [
    'distances for other CPUs',
    { machine: { cpuNode: [0, 1], distances: [[10]] } },
    /machine\.distances: .*machine\.cpuNode/,
  ],

  [
    'a node outside nodes',
    { machine: { nodes: 2 }, memory: { data: { node: 2 } } },
    /memory\.data\.node: node 2 .*machine\.nodes/,
  ],
  [
    'a node outside cpuNode',
    { machine: { cpuNode: [0] }, memory: { tables: { node: 1 } } },
    /memory\.tables\.node: .*machine\.cpuNode/,
  ],
  [
    'a node outside distances',
    { machine: { distances: [[10]] }, memory: { tables: { node: 1 } } },
    /machine\.distances/,
  ],

  ['a cache without sets', caches({ l2: { sets: 0, ways: 8 } }), /caches\.l2\.sets: expected at least 1, found 0/],
  ['caches without l1d', { machine: { caches: { l1i: line } } }, /caches\.l1d: expected an object, found nothing/],
  ['three prefetched lines', caches({ prefetchLines: 3 }), /prefetchLines: expected at most 2/],
  ['walks at the LLC', caches({ walks: 'llc' }), /caches\.walks: expected l1d or l2/],
  ['less than one miss at a time', { machine: { mlp: { data: 0.5 } } }, /mlp\.data: expected at least 1/],
  [
    'an inclusive LLC of the memory',
    llc({ inclusive: true, remoteCacheable: false }),
    /caches\.llc\.inclusive: true contradicts machine\.caches\.llc\.remoteCacheable false/,
  ],
  [
    'clusters with an LLC of the memory',
    llc({ cpus: 4, remoteCacheable: false }),
    /caches\.llc\.cpus: 4 contradicts machine\.caches\.llc\.remoteCacheable false/,
  ],
  ['cold without caches', replay({ cold: 'all' }), /replay\.cold: "all" contradicts machine\.caches null/],
  [
    'pollution without caches',
    replay({ pollution: '1M' }),
    /replay\.pollution: 1048576 contradicts machine\.caches null/,
  ],
  [
    'placed text without caches',
    { memory: { text: 'local' } },
    /memory\.text: "local" contradicts machine\.caches null/,
  ],
  ['hot and cold', { ...llc({}), ...replay({ hot: 16, cold: 'all' }) }, /replay\.hot: 16 contradicts replay\.cold all/],
  ['warm-up and hot', replay({ hot: 1, warmup: 10 }), /replay\.warmup: 10 contradicts replay\.hot/],
  ['warm-up and repeat', replay({ repeat: { 1: 2 }, warmup: 10 }), /replay\.warmup: 10 contradicts replay\.repeat/],
  ['no pass', replay({ repeat: 0 }), /replay\.repeat: expected at least 1, found 0/],
  ['a phase by name', replay({ repeat: { fork: 2 } }), /replay\.repeat.*expected the number of a phase/],
  ['a phase twice', replay({ repeat: { '0x10': 2, 16: 3 } }), /replay\.repeat: expected each phase once/],
  ['bytes of no unit', { ...llc({}), ...replay({ pollution: '1 MB' }) }, /replay\.pollution: expected bytes/],
  ['tables without a folder', replay({ mapping: 'tables' }), /replay\.mapping: tables needs replay\.tables/],
  ['a folder without tables', replay({ tables: 'x' }), /replay\.tables: "x" contradicts replay\.mapping demand/],
  [
    'text on a node outside nodes',
    { machine: { nodes: 2, ...llc({}).machine }, memory: { text: { node: 2 } } },
    /memory\.text\.node: node 2 .*machine\.nodes/,
  ],
  ['a system that is not there', system({ name: 'spy' }), /system\.name: expected none or .*found "spy"/],
  ['a host stage 2 on x86', system({ name: 'host-stage2' }), /system\.name: host-stage2 needs paging\.format arm64/],
  [
    'HYP on x86',
    system({ name: 'hyp-init' }),
    /system\.name: hyp-init needs paging\.format arm64 with paging\.granule 4K/,
  ],
  [
    'HYP with a granule that it does not have',
    { ...arm({ granule: '16K' }), ...system({ name: 'hyp-init' }) },
    /system\.name: hyp-init needs .*paging\.granule 4K/,
  ],
  [
    'address bits that no kernel has',
    { ...arm({ vaBits: 42 }), ...system({ name: 'hyp-init' }) },
    /paging\.vaBits: expected 39 or 48/,
  ],
  [
    'an init page within a page',
    { ...arm({}), ...system({ name: 'hyp-init', hypIdmap: '0x80000800' }) },
    /system\.hypIdmap: expected a multiple of 4096 below 2\^48/,
  ],
  [
    'an init page above 32 bits',
    { ...arm({}), ...system({ name: 'hyp-init', hypArch: 'arm32-lpae', hypIdmap: '0x100000000' }) },
    /system\.hypIdmap: .* below 2\^32 .*arm32-lpae/,
  ],
  [
    'a guest beside HYP',
    { ...arm({ stage2: {} }), ...system({ name: 'hyp-init' }) },
    /paging\.stage2: contradicts system\.name hyp-init/,
  ],
  [
    'HYP with line caches',
    { ...arm({}), ...llc({}), ...system({ name: 'hyp-init' }) },
    /machine\.caches: contradicts system\.name hyp-init/,
  ],
  [
    'an option of HYP without it',
    { ...arm({}), ...system({ specWalks: true }) },
    /system\.specWalks: true is an option of hyp-init on arm64/,
  ],
  // 21 bits above 12 are 9: one level.
  [
    'replicas of one level',
    { ...arm({ vaBits: 21 }), ...system({ name: 'text-replication' }) },
    /system\.name: text-replication needs at least 2 table levels.*has 1/,
  ],
  // 39 bits above 12 are 27: three levels, 1 to 3.
  [
    'a split above the root',
    { ...arm({ vaBits: 39 }), ...system({ name: 'text-replication', splitLevel: 0 }) },
    /system\.splitLevel: 0 is above the root, level 1/,
  ],
  [
    'an option without its system',
    system({ kpti: true }),
    /system\.kpti: true is an option of text-replication, .*none/,
  ],
  [
    'an Arm option on x86',
    system({ name: 'text-replication', cnp: true }),
    /system\.cnp: true is an option of text-replication and host-stage2 on arm64, .*x86-64/,
  ],
  [
    'an x86 option on Arm',
    { ...arm({}), ...system({ name: 'text-replication', modules: false }) },
    /system\.modules: false is an option of text-replication on x86-64/,
  ],
  [
    'an option of another system',
    { ...arm({}), ...system({ name: 'text-replication', fill: 'lazy' }) },
    /system\.fill: "lazy" is an option of host-stage2 on arm64/,
  ],
  [
    'faults without a system',
    system({ inject: ['skip-pud-sync'] }),
    /system\.inject: .*text-replication and host-stage2/,
  ],
  [
    'a fault of another system',
    system({ name: 'text-replication', inject: ['skip-pud-sync', 'vmid-per-node'] }),
    /system\.inject: vmid-per-node is a fault of host-stage2 arm64, not of text-replication x86-64/,
  ],
  [
    'roots across nodes that are not common',
    { ...arm({}), ...system({ name: 'host-stage2', inject: ['cnp-across-nodes'] }) },
    /system\.inject: cnp-across-nodes needs system\.cnp: true/,
  ],
  [
    'a system whose events are left out',
    { ...system({ name: 'text-replication' }), ...replay({ events: false }) },
    /replay\.events: false contradicts system\.name text-replication/,
  ],
  [
    'captured tables whose events are left out',
    replay({ mapping: 'tables', tables: 'x', events: false }),
    /replay\.events: false contradicts replay\.mapping tables/,
  ],
  [
    'a guest that replicates',
    { paging: { stage2: { format: 'ept' } }, ...system({ name: 'text-replication' }) },
    /paging\.stage2: contradicts system\.name text-replication/,
  ],
  [
    'a guest on captured tables',
    { paging: { stage2: { format: 'ept' } }, ...replay({ mapping: 'tables', tables: 'x' }) },
    /paging\.stage2: contradicts replay\.mapping tables/,
  ],
  ['a fault that is not there', system({ inject: ['skip-all'] }), /system\.inject\.0: expected skip-replica-patch/],
])('%s is refused', (_, doc, message) => {
  const resolve = () => resolveConfig(doc, 'my.yaml');
  expect(resolve).toThrow(UsageError);
  expect(resolve).toThrow(message);
  expect(resolve).toThrow(/^my\.yaml: /);
});

test('a page of half the IPA space fits', () => {
  // 35 bits: pages have the 2^34 bytes from 2^34 on, one page of 16G.
  expect(resolveConfig(arm({ pageSize: '16G', stage2: { ipaBits: 35 } }), 'my.yaml').paging.pageSize.default).toBe(
    '16G',
  );
});

test('a node is fine as long as the nodes are not known', () => {
  expect(resolveConfig({ memory: { tables: { node: 63 } } }, 'my.yaml').memory.tables).toEqual({ node: 63 });
});

test('ranges that touch do not overlap, and unsafe numbers are kept exactly', () => {
  const high = '0xffffffff80000000';
  const { pageSize } = resolveConfig(
    rules({ from: 0, to: high, size: '2M' }, { from: high, size: '1G' }),
    'my.yaml',
  ).paging;
  expect(pageSize.rules).toEqual([
    { from: '0x0', to: high, size: '2M' },
    { from: high, size: '1G' },
  ]);
});

test('walk caches of another format or of a missing stage 2 may be 0', () => {
  expect(
    resolveConfig({ machine: { walkCaches: { l2: 0, pml5e: 0, ipa: 0 } } }, 'my.yaml').machine.walkCaches.pde,
  ).toBe(32);
});

test('options of the named system and options at their defaults are taken', () => {
  const { system: host } = resolveConfig(
    { ...arm({}), ...system({ name: 'host-stage2', fill: 'lazy', cnp: false }) },
    'a',
  );
  expect(host).toMatchObject({ fill: 'lazy', cnp: false, poolLevels: 5 });
  const { system: text } = resolveConfig(
    system({ name: 'text-replication', modules: false, inject: ['skip-pud-sync'] }),
    'a',
  );
  expect(text).toMatchObject({ modules: false, inject: ['skip-pud-sync'] });
});

test('sizes and phases have one form', () => {
  const { replay: resolved } = resolveConfig(
    { ...llc({}), ...replay({ pollution: '256K', repeat: { '0x120': 32, 17: 2 } }) },
    'a',
  );
  expect(resolved.pollution).toBe(256 * 1024);
  // 0x120 is 288.
  expect(resolved.repeat).toEqual({ 288: 32, 17: 2 });
  expect([288, 17, 18].map((phase) => passesOf(resolved, phase))).toEqual([32, 2, 1]);
  expect(resolveConfig(arm({ stage2: null }), 'a').replay.repeat).toBe(1);
  const text = resolveConfig({ ...arm({}), ...system({ name: 'host-stage2', memoryBytes: '1T' }) }, 'a');
  expect(text.system.memoryBytes).toBe(2 ** 40);
});

test('caches are stated in part over a preset that has them, and null removes them', () => {
  const machine = (caches: unknown) => resolveConfig({ extends: 'haswell-ep', machine: { caches } }, 'a').machine;
  expect(machine({ llc: { inclusive: false } }).caches).toMatchObject({ llc: { sets: 24576, inclusive: false } });
  expect(machine({ llc: null }).caches).toMatchObject({ l2: { sets: 512 }, llc: null });
  expect(machine(null).caches).toBeNull();
});
