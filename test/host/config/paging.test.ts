// Levels and page sizes of the formats, against the tables of the manuals.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stage2CachesOf } from '../../../host/config/machine.js';
import {
  type Granule,
  ipaBitsOf,
  leafSizes,
  PAGE_SHIFTS,
  pageSizes,
  type PagingFormat,
  type Stage2Format,
  stage2Levels,
  stage2Sizes,
  tableLevels,
} from '../../../host/config/paging.js';
import { configSchema } from '../../../host/config/schema.js';
import { resolveConfig } from '../../../host/config/load.js';

const arm = (granule: Granule, vaBits: number): PagingFormat => ({ format: 'arm64', granule, vaBits });
const armStage2 = (granule: Granule, ipaBits: number): Stage2Format => ({ format: 'arm64', granule, ipaBits });
const granules: Granule[] = ['4K', '16K', '64K'];

/** Entries at the root: the address bits above those that the page and the levels below the root translate. */
const rootEntries = (granule: Granule, bits: number, levels: number) => {
  const shift = PAGE_SHIFTS[granule];
  return 2 ** (bits - shift - (levels - 1) * (shift - 3));
};

// Arm ARM D8.2: the first level is 4 less the number of levels.
test.each<[Granule, number, number, number, number]>([
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
])(
  'granule %s with %i VA bits starts at level %i: %i levels, %i root entries',
  (granule, bits, start, levels, root) => {
    const found = tableLevels(arm(granule, bits));
    expect([4 - found, found, rootEntries(granule, bits, found)]).toEqual([start, levels, root]);
  },
);

// What KVM sets up: first level, root entries, tables that lie side by side at the root.
test.each<[Granule, number, number, number, number]>([
  ['4K', 32, 2, 2048, 4],
  ['4K', 40, 1, 1024, 2],
  ['4K', 43, 1, 8192, 16],
  ['4K', 44, 0, 32, 1],
  ['4K', 48, 0, 512, 1],
  ['4K', 52, 0, 8192, 16],
  ['16K', 40, 2, 32768, 16],
  ['16K', 44, 1, 256, 1],
  ['16K', 48, 1, 4096, 2],
  ['16K', 52, 0, 32, 1],
  ['64K', 32, 2, 8, 1],
  ['64K', 40, 2, 2048, 1],
  ['64K', 44, 2, 32768, 4],
  ['64K', 48, 1, 64, 1],
  ['64K', 52, 1, 1024, 1],
])(
  'stage 2 with granule %s and %i IPA bits starts at level %i: %i root entries, %i tables',
  (granule, bits, ...rest) => {
    const levels = stage2Levels(armStage2(granule, bits));
    const root = rootEntries(granule, bits, levels);
    expect([4 - levels, root, Math.max(1, (root * 8) / 2 ** PAGE_SHIFTS[granule])]).toEqual(rest);
  },
);

test('every allowed number of IPA bits has at least 2 levels and a root of 2 entries to 16 tables', () => {
  for (const granule of granules) {
    for (let bits = 32; bits <= 52; bits++) {
      const levels = stage2Levels(armStage2(granule, bits));
      expect(levels).toBeGreaterThanOrEqual(2);
      expect(rootEntries(granule, bits, levels)).toBeGreaterThanOrEqual(2);
      // A table has 2^(shift - 3) entries of 8 bytes.
      expect(rootEntries(granule, bits, levels)).toBeLessThanOrEqual(16 * 2 ** (PAGE_SHIFTS[granule] - 3));
    }
  }
});

describe('page sizes', () => {
  test('of x86-64 are the same with 4 and 5 levels, under EPT too', () => {
    for (const levels of [4, 5] as const) {
      expect(pageSizes({ format: 'x86-64', levels })).toEqual(['4K', '2M', '1G']);
      expect(stage2Sizes({ format: 'ept', levels })).toEqual(leafSizes({ format: 'x86-64', levels }));
    }
  });

  test.each<[Granule, number, string]>([
    ['4K', 48, '4K 64K 2M 32M 1G 16G'],
    ['4K', 52, '4K 64K 2M 32M 1G 16G 512G'],
    ['16K', 48, '16K 2M 32M 1G'],
    ['16K', 52, '16K 2M 32M 1G 64G'],
    ['64K', 48, '64K 2M 512M 16G'],
    ['64K', 52, '64K 2M 512M 16G 4T'],
    // A size needs a table at its level. 30 bits are two levels (12 + 9 + 9); 21 bits are one, 22 two.
    ['4K', 30, '4K 64K 2M 32M'],
    ['4K', 21, '4K 64K'],
    ['4K', 22, '4K 64K 2M'],
    // A run needs all its entries: the root of 33 bits has 2^(33 - 30) = 8 of 1G, that of 34 bits the 16 of a run.
    ['4K', 33, '4K 64K 2M 32M 1G'],
    ['4K', 34, '4K 64K 2M 32M 1G 16G'],
    // 16K: runs of 128 pages or 32 blocks. 64K: runs of 32 of either.
    ['16K', 29, '16K 2M 32M'],
    ['16K', 30, '16K 2M 32M 1G'],
    ['16K', 20, '16K'],
    ['64K', 33, '64K 2M 512M'],
    ['64K', 34, '64K 2M 512M 16G'],
    // No level at all.
    ['64K', 16, ''],
  ])('of granule %s with %i bits are %s', (granule, bits, sizes) => {
    expect(pageSizes(arm(granule, bits)).join(' ')).toBe(sizes);
  });

  test.each<[Granule, number, string]>([
    ['4K', 40, '4K 2M 1G'],
    ['4K', 34, '4K 2M'], // floor((34 - 8) / 9) = 2 levels
    ['4K', 52, '4K 2M 1G'],
    ['16K', 48, '16K 32M'],
    ['16K', 52, '16K 32M 64G'],
    ['64K', 48, '64K 512M'],
    ['64K', 52, '64K 512M'],
  ])('of stage 2 with granule %s and %i bits are %s, without runs', (granule, bits, sizes) => {
    expect(
      stage2Sizes(armStage2(granule, bits))
        .map(({ size }) => size)
        .join(' '),
    ).toBe(sizes);
  });

  test('are what an entry at their level covers, times their run, and rise', () => {
    fc.assert(
      fc.property(fc.constantFrom(...granules), fc.integer({ min: 13, max: 52 }), (granule, bits) => {
        const base = PAGE_SHIFTS[granule];
        const leaves = leafSizes(arm(granule, bits));
        leaves.forEach(({ size, shift, height, run }, i) => {
          // Each level resolves log2(table / 8 bytes) = base - 3 bits.
          expect(shift).toBe(base + height * (base - 3) + Math.log2(run));
          expect(shift).toBe(PAGE_SHIFTS[size]);
          if (i > 0) expect(shift).toBeGreaterThan(leaves[i - 1].shift);
        });
      }),
    );
  });
});

test('a second stage has a cache for its pages and for each level of table descriptors', () => {
  const caches = (stage2: Stage2Format | null) => stage2CachesOf({ stage2 });
  expect(caches(null)).toEqual([]);
  expect(caches(armStage2('64K', 40))).toEqual(['ipa', 's2l2']); // 2 levels
  expect(caches(armStage2('4K', 40))).toEqual(['ipa', 's2l2', 's2l1']); // 3 levels
  expect(caches({ format: 'ept', levels: 4 })).toEqual(['ipa', 's2l2', 's2l1', 's2l0']);
  expect(caches({ format: 'ept', levels: 5 })).toEqual(['ipa', 's2l2', 's2l1', 's2l0', 's2lm1']);
});

test('the IPA bits of EPT are those of its levels', () => {
  expect([4, 5].map((levels) => ipaBitsOf({ format: 'ept', levels: levels as 4 | 5 }))).toEqual([48, 57]);
});

test('the schema alone takes a resolved configuration', () => {
  const config = resolveConfig({ paging: { format: 'arm64', stage2: { format: 'ept' } } }, 'test');
  expect(configSchema.parse(config)).toEqual(config);
});
