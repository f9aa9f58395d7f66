// The `paging` section: table format, and which page size is used where. Levels and sizes are those of Intel SDM vol. 3
// 4.5 and Arm ARM D8.2 (stage 1, without the block sizes that only 52-bit descriptors have).
import { z } from 'zod';
import { key } from './key.js';

/** log2 of every page size that a paging format has. */
export const PAGE_SHIFTS = { '4K': 12, '16K': 14, '64K': 16, '2M': 21, '32M': 25, '512M': 29, '1G': 30 } as const;

export type PageSize = keyof typeof PAGE_SHIFTS;

export const pageSize = z.enum(Object.keys(PAGE_SHIFTS) as [PageSize, ...PageSize[]]).meta({
  id: 'PageSize',
  description: 'x86-64: 4K, 2M, 1G; arm64: 4K, 2M, 1G (granule 4K), 16K, 32M (granule 16K), 64K, 512M (granule 64K)',
});

/** Addresses above 2^53 lose digits as numbers, so all are kept as hexadecimal text. */
const address = z
  .union([
    z.int().min(0),
    z.string().regex(/^(0x[0-9a-f]+|[0-9]+)$/i, { error: 'expected an address such as 0x1000', abort: true }),
  ])
  .refine((value) => BigInt(value) < 1n << 64n, { error: 'expected an address below 2^64' })
  .transform((value) => `0x${BigInt(value).toString(16)}`);

export const pageRule = z
  .strictObject({
    region: key(z.string().min(1).optional(), 'name of a region in the metadata of the trace'),
    from: key(
      address.optional(),
      'first address of a range, a number or text such as 0xffff800000000000; the lowest when not given',
    ),
    to: key(address.optional(), 'address after the last of the range; the highest when not given'),
    size: key(pageSize, 'largest page size used there'),
  })
  .refine((rule) => (rule.region === undefined) !== (rule.from === undefined && rule.to === undefined), {
    error: 'expected either region, or from and to',
  })
  .meta({ id: 'PageRule' });

export type PageRule = z.output<typeof pageRule>;

const pagePolicy = z
  .strictObject({
    default: key(pageSize.optional(), 'page size outside all rules; the base size of the format when not given'),
    rules: key(z.array(pageRule).prefault([]), 'page sizes of regions or address ranges'),
  })
  .meta({ id: 'PagePolicy' });

const policyKey = key(
  z.union([pageSize, pagePolicy]).optional(),
  'page size that demand mapping uses: one for everything, or a default and rules',
);

const x86 = z.strictObject({
  format: key(
    z.literal('x86-64'),
    'table format; a document that changes it drops every inherited key of this section',
  ),
  levels: key(z.literal([4, 5]).default(4), 'x86-64: levels of tables'),
  pageSize: policyKey,
});

const arm64 = z.strictObject({
  format: key(z.literal('arm64'), 'table format; a document that changes it drops every inherited key of this section'),
  granule: key(z.enum(['4K', '16K', '64K']).default('4K'), 'arm64: size of a table and of the smallest page'),
  vaBits: key(
    z.int().min(13).max(52).default(48),
    'arm64: address bits that the tables translate; with the granule it gives the number of levels',
    'bits',
  ),
  pageSize: policyKey,
});

const format = z.discriminatedUnion('format', [x86, arm64]);

export const paging = key(
  format
    .transform(({ pageSize: stated, ...paging }) => {
      const policy = typeof stated === 'string' ? { default: stated, rules: [] } : stated;
      return { ...paging, pageSize: { default: policy?.default ?? baseSize(paging), rules: policy?.rules ?? [] } };
    })
    .prefault({ format: 'x86-64' }),
  'the format of the page tables and the page sizes',
);

/** What decides the levels and the page sizes of a format. */
export type PagingFormat =
  { format: 'x86-64'; levels: 4 | 5 } | { format: 'arm64'; granule: '4K' | '16K' | '64K'; vaBits: number };

/** The resolved section. */
export type Paging = PagingFormat & { pageSize: { default: PageSize; rules: PageRule[] } };

/** The size of the smallest page. */
export function baseSize(paging: PagingFormat): PageSize {
  return paging.format === 'arm64' ? paging.granule : '4K';
}

/** The number of table levels; 0 when the address has no bits above the page offset. */
export function tableLevels(paging: PagingFormat): number {
  if (paging.format === 'x86-64') return paging.levels;
  const shift = PAGE_SHIFTS[paging.granule];
  return Math.max(0, Math.ceil((paging.vaBits - shift) / (shift - 3)));
}

/** The page sizes of a format, smallest first. A size needs a table at its own level, so few levels have few sizes. */
export function pageSizes(paging: PagingFormat): PageSize[] {
  const byGranule: Record<'4K' | '16K' | '64K', PageSize[]> = {
    '4K': ['4K', '2M', '1G'],
    '16K': ['16K', '32M'],
    '64K': ['64K', '512M'],
  };
  return byGranule[paging.format === 'arm64' ? paging.granule : '4K'].slice(0, tableLevels(paging));
}

/** The paging of a merged document in which only the format may be trusted so far, or null where even that is wrong. */
export function formatOf(section: unknown): PagingFormat | null {
  const parsed = z
    .union([x86.omit({ pageSize: true }).strip(), arm64.omit({ pageSize: true }).strip()])
    .safeParse(section);
  return parsed.success ? parsed.data : null;
}
