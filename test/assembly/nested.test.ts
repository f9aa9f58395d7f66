// The closed form of a cold two-stage walk with every walk cache off: a stage-1 walk of n1 levels under stage-2 walks of n2 levels
// reads (n1 + 1)(n2 + 1) - 1 descriptors, for every pair of formats and leaf sizes (MODEL: each of the n1 stage-1 descriptors and the
// final address costs n2 stage-2 reads). Expected values come from level counts stated here, not from the code.

import { describe, expect, it } from 'vitest';
import { resolveConfig } from '../../host/config/load.js';
import { Replayer } from '../../host/replay/replayer.js';
import { topologyOf } from '../../host/replay/topology.js';
import { sumOf } from './replay.js';
import { batchOf } from './rows.js';

interface Format {
  name: string;
  paging: Record<string, unknown>;
  /** Levels that a walk reads to a leaf of each size. */
  levels: Record<string, number>;
}

/** Levels to the smallest leaf as in Intel SDM 4.5 and Arm ARM D8.2; a block one level up takes one read less. */
const STAGE1: Format[] = [
  { name: 'x86 4-level', paging: { format: 'x86-64', levels: 4 }, levels: { '4K': 4, '2M': 3, '1G': 2 } },
  { name: 'x86 5-level', paging: { format: 'x86-64', levels: 5 }, levels: { '4K': 5, '2M': 4, '1G': 3 } },
  { name: '4K, 39 bits', paging: { format: 'arm64', vaBits: 39 }, levels: { '4K': 3, '64K': 3, '2M': 2, '1G': 1 } },
  { name: '4K, 48 bits', paging: { format: 'arm64', vaBits: 48 }, levels: { '4K': 4, '2M': 3, '32M': 3, '1G': 2 } },
  { name: '4K, LPA2', paging: { format: 'arm64', vaBits: 52 }, levels: { '4K': 5, '2M': 4, '1G': 3 } },
  { name: '16K, 36 bits', paging: { format: 'arm64', granule: '16K', vaBits: 36 }, levels: { '16K': 2, '32M': 1 } },
  {
    name: '16K, 48 bits',
    paging: { format: 'arm64', granule: '16K', vaBits: 48 },
    levels: { '16K': 4, '2M': 4, '32M': 3 },
  },
  { name: '16K, LPA2', paging: { format: 'arm64', granule: '16K', vaBits: 52 }, levels: { '16K': 4, '32M': 3 } },
  { name: '64K, 42 bits', paging: { format: 'arm64', granule: '64K', vaBits: 42 }, levels: { '64K': 2, '512M': 1 } },
  { name: '64K, 52 bits', paging: { format: 'arm64', granule: '64K', vaBits: 52 }, levels: { '64K': 3, '512M': 2 } },
];

/** Arm start levels as KVM chooses them (MODEL, section 12): 4K 40 -> 1, 48 -> 0; 16K 40 -> 2, 48 -> 1; 64K 40 -> 2, 52 -> 1. */
const STAGE2: Format[] = [
  { name: 'EPT 4-level', paging: { format: 'ept', levels: 4 }, levels: { '4K': 4, '2M': 3, '1G': 2 } },
  { name: 'EPT 5-level', paging: { format: 'ept', levels: 5 }, levels: { '4K': 5, '2M': 4, '1G': 3 } },
  { name: '4K, 40 bits', paging: { format: 'arm64', ipaBits: 40 }, levels: { '4K': 3, '2M': 2, '1G': 1 } },
  { name: '4K, 48 bits', paging: { format: 'arm64', ipaBits: 48 }, levels: { '4K': 4, '2M': 3, '1G': 2 } },
  { name: '16K, 40 bits', paging: { format: 'arm64', granule: '16K', ipaBits: 40 }, levels: { '16K': 2, '32M': 1 } },
  { name: '16K, 48 bits', paging: { format: 'arm64', granule: '16K', ipaBits: 48 }, levels: { '16K': 3, '32M': 2 } },
  { name: '64K, 40 bits', paging: { format: 'arm64', granule: '64K', ipaBits: 40 }, levels: { '64K': 2, '512M': 1 } },
  { name: '64K, 52 bits', paging: { format: 'arm64', granule: '64K', ipaBits: 52 }, levels: { '64K': 3, '512M': 2 } },
];

const OFF = {
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
const none = { pa: false, size: false, insns: false, mode: false, asid: false, vm: false };

/** The descriptors that the first access reads. */
function coldWalk(paging: object) {
  const config = resolveConfig({ machine: { cpuNode: [0] }, paging }, 'test');
  const machine = { ...config.machine, walkCaches: OFF };
  const topology = topologyOf(config, { cpuNode: null, cpus: 1 });
  const source = { path: 'test', columns: ['cpu', 'kind', 'va'] as const, regions: [] };
  const replayer = new Replayer(source, [{ ...config, machine }], [topology]);
  replayer.feed(batchOf([{ cpu: 0, kind: 1, va: 0x12_3456_7000n & 0x7_ffff_ffffn }], none));
  const [lane] = replayer.finish();
  return { refs: sumOf(lane, 'walk.refs'), stage2: sumOf(lane, 'walk.stage2Refs') };
}

describe('a cold walk', () => {
  it.each(STAGE1)('of $name reads one descriptor per level', ({ paging, levels }) => {
    for (const [pageSize, n] of Object.entries(levels)) expect(coldWalk({ ...paging, pageSize }).refs).toBe(n);
  });

  describe.each(STAGE2)('under $name reads (n1 + 1)(n2 + 1) - 1', (stage2) => {
    it.each(STAGE1)('for $name', ({ paging, levels }) => {
      for (const [pageSize, n1] of Object.entries(levels)) {
        for (const [stage2Size, n2] of Object.entries(stage2.levels)) {
          const { refs, stage2: stage2Refs } = coldWalk({
            ...paging,
            pageSize,
            stage2: { ...stage2.paging, pageSize: stage2Size },
          });
          expect([pageSize, stage2Size, refs]).toEqual([pageSize, stage2Size, (n1 + 1) * (n2 + 1) - 1]);
          expect(stage2Refs).toBe((n1 + 1) * n2);
        }
      }
    });
  });

  it('gives the published figures for pairs of levels', () => {
    // MODEL, section 12: (4,4) 24, (4,3) 19, (4,2) 14, (3,3) 15, (3,2) 11, (5,4) 29, (5,5) 35, (2,2) 8.
    const x86 = (levels: number, stage2: object) => coldWalk({ format: 'x86-64', levels, stage2 }).refs;
    const arm = (vaBits: number, stage2: object) => coldWalk({ format: 'arm64', vaBits, stage2 }).refs;
    expect(x86(4, { format: 'ept', levels: 4 })).toBe(24);
    expect(arm(48, { ipaBits: 40 })).toBe(19);
    expect(arm(48, { ipaBits: 40, pageSize: '2M' })).toBe(14);
    expect(arm(39, { ipaBits: 40 })).toBe(15);
    expect(arm(39, { ipaBits: 40, pageSize: '2M' })).toBe(11);
    expect(x86(5, { format: 'ept', levels: 4 })).toBe(29);
    expect(x86(5, { format: 'ept', levels: 5 })).toBe(35);
    const small = { format: 'arm64', granule: '64K', vaBits: 42, stage2: { granule: '64K', ipaBits: 40 } };
    expect(coldWalk(small).refs).toBe(8);
  });
});
