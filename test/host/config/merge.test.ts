// How documents are laid over each other.
import { describe, expect, test } from 'vitest';
import { parseYaml } from '../../../host/config/documents.js';
import { resolveConfig, resolveLayers } from '../../../host/config/load.js';
import { type Config } from '../../../host/config/schema.js';

/** Resolves documents, each laid over those before it. */
const resolve = (...docs: Record<string, unknown>[]): Config =>
  resolveLayers(docs.map((doc, i) => ({ doc, origin: `document ${i}` })));

describe('CPUs and nodes', () => {
  const topology = ({ machine: { cpuNode, nodes, cpus, topology } }: Config) => ({ cpuNode, nodes, cpus, topology });

  test('stating cpuNode drops inherited nodes, cpus and topology', () => {
    // haswell-ep states 2 nodes and 24 CPUs.
    expect(topology(resolve({ extends: 'haswell-ep', machine: { cpuNode: [0, 1, 2] } }))).toEqual({
      cpuNode: [0, 1, 2],
      nodes: null,
      cpus: null,
      topology: 'trace',
    });
    expect(topology(resolve({ machine: { nodes: 9 } }, { machine: { cpuNode: [0] } })).nodes).toBeNull();
  });

  test.each([{ nodes: 3 }, { cpus: 3 }])('stating %o drops an inherited cpuNode and means blocks', (machine) => {
    const result = topology(resolve({ machine: { cpuNode: [0, 1] } }, { machine }));
    expect(result).toEqual({ cpuNode: null, nodes: null, cpus: null, topology: 'blocks', ...machine });
  });

  test('nodes with a topology keep that topology', () => {
    expect(resolve({ machine: { nodes: 3, topology: 'trace' } }).machine.topology).toBe('trace');
  });

  test('null states nothing: it only resets its own key', () => {
    expect(topology(resolve({ machine: { cpuNode: [0, 1] } }, { machine: { nodes: null } })).cpuNode).toEqual([0, 1]);
    expect(topology(resolve({ extends: 'haswell-ep', machine: { cpus: null } }))).toMatchObject({
      nodes: 2,
      cpus: null,
      topology: 'trace',
    });
  });

  test('cpuNode with agreeing nodes and cpus is fine, also with nodes that have no CPU', () => {
    expect(topology(resolve({ machine: { cpuNode: [0, 0, 1], nodes: 4, cpus: 3 } }))).toMatchObject({
      nodes: 4,
      cpus: 3,
    });
  });

  test.each([
    [{ cpuNode: [0, 2], nodes: 2 }, /machine\.nodes: 2 contradicts machine\.cpuNode, which names node 2/],
    [{ cpuNode: [0, 1], cpus: 3 }, /machine\.cpus: 3 contradicts machine\.cpuNode, which has 2 CPUs/],
  ])('%o in one document is a contradiction', (machine, message) => {
    expect(() => resolve({ machine })).toThrow(message);
  });
});

describe('paging', () => {
  test('a change of format drops every inherited key of the section', () => {
    const x86 = { paging: { format: 'x86-64', levels: 5, pageSize: '2M' } };
    expect(resolve(x86, { paging: { format: 'arm64', granule: '16K' } }).paging).toEqual({
      format: 'arm64',
      granule: '16K',
      vaBits: 48,
      stage2: null,
      global: 'none',
      pageSize: { default: '16K', rules: [] },
    });
  });

  test('the same format stated again keeps the inherited keys', () => {
    const paging = resolve({ extends: 'neoverse-n1', paging: { format: 'arm64', vaBits: 39 } }).paging;
    expect(paging).toMatchObject({ granule: '4K', vaBits: 39 });
  });

  test('the page size is the base size of the granule unless stated', () => {
    expect(resolve({ extends: 'neoverse-n1', paging: { granule: '64K' } }).paging.pageSize.default).toBe('64K');
  });

  test('a page size alone is a policy without rules, and rules keep its default', () => {
    const rules = [{ from: '0x0', to: '0x200000', size: '1G' }];
    expect(resolve({ paging: { pageSize: '2M' } }).paging.pageSize).toEqual({ default: '2M', rules: [] });
    expect(resolve({ paging: { pageSize: '2M' } }, { paging: { pageSize: { rules } } }).paging.pageSize).toEqual({
      default: '2M',
      rules,
    });
    expect(resolve({ paging: { pageSize: { rules } } }, { paging: { pageSize: '2M' } }).paging.pageSize.rules).toEqual(
      [],
    );
  });
});

describe('stage 2', () => {
  const stage2 = (...sections: Record<string, unknown>[]) =>
    resolve(...sections.map((paging) => ({ paging }))).paging.stage2;
  const arm = { format: 'arm64' };

  test('is absent unless stated, and has the format of the same architecture unless stated', () => {
    expect(stage2({})).toBeNull();
    expect(stage2({ stage2: {} })).toEqual({ format: 'ept', levels: 4, pageSize: '4K' });
    expect(stage2({ ...arm, stage2: {} })).toEqual({ format: 'arm64', granule: '4K', ipaBits: 40, pageSize: '4K' });
    expect(stage2({ ...arm, stage2: { granule: '4K', ipaBits: 40 } })).toEqual(stage2({ ...arm, stage2: {} }));
  });

  test('may be of the other architecture', () => {
    expect(stage2({ ...arm, stage2: { format: 'ept', levels: 5 } })).toEqual({
      format: 'ept',
      levels: 5,
      pageSize: '4K',
    });
    expect(stage2({ stage2: { format: 'arm64', granule: '64K' } })).toMatchObject({ granule: '64K', pageSize: '64K' });
  });

  test('merges key by key, also where a later document states the implied format', () => {
    const first = { ...arm, stage2: { granule: '16K', ipaBits: 44 } };
    const second = { stage2: { format: 'arm64', pageSize: '32M' } };
    expect(stage2(first, second)).toEqual({ format: 'arm64', granule: '16K', ipaBits: 44, pageSize: '32M' });
  });

  test('a change of its format drops its inherited keys', () => {
    const first = { stage2: { format: 'arm64', granule: '64K', pageSize: '64K' } };
    expect(stage2(first, { stage2: { format: 'ept' } })).toEqual({ format: 'ept', levels: 4, pageSize: '4K' });
  });

  test('a change of the stage-1 format drops it, and null removes it', () => {
    expect(stage2({ stage2: {} }, arm)).toBeNull();
    expect(stage2({ stage2: {} }, { stage2: null })).toBeNull();
  });

  test('brings its caches', () => {
    const caches = (paging: object) => {
      const { ipa, s2l2, s2l1, s2l0, s2lm1 } = resolve({ paging }).machine.walkCaches;
      return { ipa, s2l2, s2l1, s2l0, s2lm1 };
    };
    expect(caches({ stage2: {} })).toEqual({ ipa: 32, s2l2: 32, s2l1: 4, s2l0: 2, s2lm1: 2 });
    expect(caches({ stage2: null })).toEqual({ ipa: 0, s2l2: 0, s2l1: 0, s2l0: 0, s2lm1: 0 });
  });
});

describe('TLB levels', () => {
  const l2 = (...docs: unknown[]) =>
    resolve({}, ...docs.map((level) => ({ machine: { tlb: { l2: level } } }))).machine.tlb.l2;

  test('one array merges with one array key by key, also where it stands in a list', () => {
    // The default is 128 sets of 12 ways for all sizes.
    expect(l2({ ways: 16 })).toEqual([{ sets: 128, ways: 16, pages: null }]);
    expect(l2([{ sets: 4, ways: 2, pages: ['4K'] }], { ways: 3 })).toEqual([{ sets: 4, ways: 3, pages: ['4K'] }]);
  });

  test('a list replaces, and one whole array replaces a list', () => {
    const list = [
      { sets: 8, ways: 2, pages: ['4K'] },
      { sets: 1, ways: 4, pages: ['2M'] },
    ];
    expect(l2(list)).toEqual(list);
    expect(l2(list, { sets: 5, ways: 3 })).toEqual([{ sets: 5, ways: 3, pages: null }]);
    expect(l2(list, [list[0]])).toEqual([list[0]]);
  });

  test('null, an empty list and an array without sets and ways remove a level', () => {
    for (const none of [null, [], { sets: 0, ways: 0 }]) {
      expect(l2(none)).toBeNull();
      expect(resolve({ machine: { tlb: { l1d: none } } }).machine.tlb.l1d).toEqual([]);
    }
  });

  test('one key for a list of several arrays says how to address one', () => {
    expect(() => resolve({ extends: 'haswell-ep', machine: { tlb: { l1d: { ways: 2 } } } })).toThrow(
      /machine\.tlb\.l1d is a list of 3 arrays .* machine\.tlb\.l1d\.0\.ways/,
    );
  });
});

describe('a preset under another format', () => {
  const arm = { format: 'arm64' };

  test('loses the page sizes that the format lacks, and arrays that are left with none', () => {
    // haswell-ep's l2 takes 4K and 2M, its l1d has arrays for 4K, 2M and 1G. A 64K granule has only 2M of these, a run of
    // 32 entries, which the 2^(20 - 16) = 16 entries of a root for 20 bits do not hold.
    const haswell = (granule: string, vaBits = 48) =>
      resolve({ extends: 'haswell-ep', paging: { ...arm, granule, vaBits } }).machine.tlb;
    expect(haswell('4K').l2).toEqual([{ sets: 128, ways: 8, pages: ['4K', '2M'] }]);
    expect(haswell('64K').l1d).toEqual([{ sets: 8, ways: 4, pages: ['2M'] }]);
    expect(haswell('64K', 20)).toEqual({ l1i: [], l1d: [], l2: null });
  });

  test('a 3-level Arm format still has 1G, a 2-level one does not', () => {
    // 4K granule: each level resolves 9 bits above 12; 39 bits need 3 levels, 30 bits need 2.
    const l1d = (vaBits: number) => resolve({ extends: 'haswell-ep', paging: { ...arm, vaBits } }).machine.tlb.l1d;
    expect(l1d(39).map(({ pages }) => pages)).toEqual([['4K'], ['2M'], ['1G']]);
    expect(l1d(30).map(({ pages }) => pages)).toEqual([['4K'], ['2M']]);
  });

  test('has the walk caches of the format only', () => {
    const { walkCaches } = resolve({ paging: { format: 'x86-64', levels: 5 } }).machine;
    const noStage2 = { ipa: 0, s2l2: 0, s2l1: 0, s2l0: 0, s2lm1: 0 };
    expect(walkCaches).toEqual({ pde: 32, pdpte: 4, pml4e: 2, pml5e: 2, l2: 0, l1: 0, l0: 0, lm1: 0, ...noStage2 });
    expect(resolve({ paging: arm }).machine.walkCaches).toEqual({
      ...{ pde: 0, pdpte: 0, pml4e: 0, pml5e: 0 },
      ...{ l2: 32, l1: 4, l0: 2, lm1: 2 },
      ...noStage2,
    });
  });
});

test('lists replace and objects merge key by key', () => {
  const first = {
    machine: {
      nodes: 2,
      distances: [
        [10, 21],
        [21, 10],
      ],
      latency: { localNs: 80 },
    },
    replay: { phases: [1, 2] },
  };
  const second = {
    machine: {
      distances: [
        [10, 30],
        [30, 10],
      ],
      latency: { remoteNs: 300 },
    },
    replay: { phases: [3] },
  };
  const { machine, replay } = resolve(first, second);
  expect(machine.distances).toEqual([
    [10, 30],
    [30, 10],
  ]);
  expect(machine.latency).toMatchObject({ localNs: 80, remoteNs: 300, l2TlbCycles: 7 });
  expect(replay.phases).toEqual([3]);
});

test('the example of a complete configuration resolves as it stands', () => {
  const text = `machine:
  cpuNode: [0, 0, 1, 1]                  # the node of each CPU; or nodes: 2 and cpus: 4
  tlb:                                   # one array, or a list of arrays per page size: { pages: [2M], sets: 8, ways: 4 }
    l1i: { sets: 16, ways: 8 }           # any sets and ways; true LRU
    l1d: { sets: 16, ways: 4 }
    l2: { sets: 128, ways: 12 }          # null: no second level
  walkCaches: { pde: 32, pdpte: 4, pml4e: 2 }   # entries, fully associative, LRU; 0: none
paging: { format: x86-64, levels: 4, pageSize: 4K }
memory: { data: first-touch, tables: first-touch }
replay: { mapping: demand }
`;
  const config = resolveConfig(parseYaml(text, 'example'), 'example');
  expect(config.machine.cpuNode).toEqual([0, 0, 1, 1]);
  expect(config.machine.tlb).toEqual({
    l1i: [{ sets: 16, ways: 8, pages: null }],
    l1d: [{ sets: 16, ways: 4, pages: null }],
    l2: [{ sets: 128, ways: 12, pages: null }],
  });
  expect(config).toEqual({
    ...resolveConfig({ machine: { cpuNode: [0, 0, 1, 1] } }, 'its only difference'),
    extends: null,
  });
});
