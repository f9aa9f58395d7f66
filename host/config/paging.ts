// The `paging` section: table format, second stage, and which page size is used where. Levels and sizes are those of Intel
// SDM vol. 3 4.5 and 28.3 (EPT) and Arm ARM D8.2; contiguous runs those of Arm ARM D8.7. More than 48 address bits mean the
// 52-bit formats (LPA2 with granules 4K and 16K, LPA with 64K), which alone have the largest block of each granule.
import { z } from 'zod';
import { type Doc, isDoc } from './documents.js';
import { key } from './key.js';

/** log2 of every page size that a paging format has. */
export const PAGE_SHIFTS = {
  '4K': 12,
  '16K': 14,
  '64K': 16,
  '2M': 21,
  '32M': 25,
  '512M': 29,
  '1G': 30,
  '16G': 34,
  '64G': 36,
  '512G': 39,
  '4T': 42,
} as const;

export type PageSize = keyof typeof PAGE_SHIFTS;

export const pageSize = z.enum(Object.keys(PAGE_SHIFTS) as [PageSize, ...PageSize[]]).meta({
  id: 'PageSize',
  description:
    'x86-64: 4K, 2M, 1G. arm64, contiguous runs of entries among them: 4K, 64K, 2M, 32M, 1G, 16G (granule 4K), 16K, 2M, 32M, 1G (granule 16K), 64K, 2M, 512M, 16G (granule 64K); with more than 48 address bits also 512G, 64G and 4T. A size needs a table at its level. Stage 2 has no runs',
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

const granule = z.enum(['4K', '16K', '64K']);
const levels = z.literal([4, 5]);
const changesFormat = 'a document that changes it drops every inherited key of this section';
const stage2Format = `table format of stage 2; arm64 under arm64 and ept under x86-64 when not given; ${changesFormat}`;
const stage2PageSize = key(pageSize.optional(), 'size of every stage-2 page; the base size when not given');

const armStage2 = z.strictObject({
  format: key(z.literal('arm64'), stage2Format),
  granule: key(granule.default('4K'), 'arm64: size of a stage-2 table and of the smallest stage-2 page'),
  ipaBits: key(
    z.int().min(32).max(52).default(40),
    'arm64: bits of intermediate addresses; with the granule it gives the number of levels as KVM chooses it',
    'bits',
  ),
  pageSize: stage2PageSize,
});

const ept = z.strictObject({
  format: key(z.literal('ept'), stage2Format),
  levels: key(levels.default(4), 'ept: levels of tables'),
  pageSize: stage2PageSize,
});

const stage2 = key(
  z
    .discriminatedUnion('format', [armStage2, ept])
    .transform((stage2): Stage2 => ({ ...stage2, pageSize: stage2.pageSize ?? stage2Base(stage2) }))
    .nullable()
    .default(null),
  'the second stage, which translates the intermediate addresses of a virtual machine; null: none',
);

const global = key(
  z.enum(['none', 'kernel']).default('none'),
  'pages whose TLB entries serve all ASIDs of a VM; kernel: those of the upper half of the addresses',
);

const x86 = z.strictObject({
  format: key(z.literal('x86-64'), `table format; ${changesFormat}`),
  levels: key(levels.default(4), 'x86-64: levels of tables'),
  stage2,
  global,
  pageSize: policyKey,
});

const arm64 = z.strictObject({
  format: key(z.literal('arm64'), `table format; ${changesFormat}`),
  granule: key(granule.default('4K'), 'arm64: size of a table and of the smallest page'),
  vaBits: key(
    z.int().min(13).max(52).default(48),
    'arm64: address bits that the tables translate; with the granule it gives the number of levels',
    'bits',
  ),
  stage2,
  global,
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

export type Granule = z.output<typeof granule>;

/** What decides the levels and the page sizes of a format. */
export type PagingFormat = { format: 'x86-64'; levels: 4 | 5 } | { format: 'arm64'; granule: Granule; vaBits: number };

/** What decides the levels and the page sizes of a second stage. */
export type Stage2Format = { format: 'ept'; levels: 4 | 5 } | { format: 'arm64'; granule: Granule; ipaBits: number };

/** The resolved second stage. */
export type Stage2 = Stage2Format & { pageSize: PageSize };

/** The formats of both stages. */
export type Stages = PagingFormat & { stage2: Stage2 | null; global: 'none' | 'kernel' };

/** The resolved section. */
export type Paging = Stages & { pageSize: { default: PageSize; rules: PageRule[] } };

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

/** A page size as the tables hold it. */
export interface LeafSize {
  size: PageSize;
  /** log2 of its bytes. */
  shift: number;
  /** Levels of its entries above the last one. */
  height: number;
  /** Entries in its contiguous run; 1: a page or a block. */
  run: number;
}

const leaf = (size: PageSize, height: number, run = 1): LeafSize => ({ size, shift: PAGE_SHIFTS[size], height, run });

const X86_LEAVES = [leaf('4K', 0), leaf('2M', 1), leaf('1G', 2)];

/** By granule, smallest first; the last of each is the block that only the 52-bit formats have. */
const ARM_LEAVES: Record<Granule, LeafSize[]> = {
  '4K': [
    leaf('4K', 0),
    leaf('64K', 0, 16),
    leaf('2M', 1),
    leaf('32M', 1, 16),
    leaf('1G', 2),
    leaf('16G', 2, 16),
    leaf('512G', 3),
  ],
  '16K': [leaf('16K', 0), leaf('2M', 0, 128), leaf('32M', 1), leaf('1G', 1, 32), leaf('64G', 2)],
  '64K': [leaf('64K', 0), leaf('2M', 0, 32), leaf('512M', 1), leaf('16G', 1, 32), leaf('4T', 2)],
};

/** A leaf needs a table at its level, and a run must fit in it: only the root can be too small. */
function armLeaves(granule: Granule, levels: number, addressBits: number): LeafSize[] {
  const leaves = ARM_LEAVES[granule].slice(0, addressBits > 48 ? undefined : -1);
  return leaves.filter(({ height, shift }) => height < levels && shift <= addressBits);
}

/** The page sizes of a format, smallest first. */
export function leafSizes(paging: PagingFormat): LeafSize[] {
  return paging.format === 'x86-64' ? X86_LEAVES : armLeaves(paging.granule, tableLevels(paging), paging.vaBits);
}

/** The names of the page sizes of a format, smallest first. */
export function pageSizes(paging: PagingFormat): PageSize[] {
  return leafSizes(paging).map(({ size }) => size);
}

/** The size of the smallest stage-2 page. */
export function stage2Base(stage2: Stage2Format): PageSize {
  return stage2.format === 'arm64' ? stage2.granule : '4K';
}

/** The bits of an intermediate address. */
export function ipaBitsOf(stage2: Stage2Format): number {
  return stage2.format === 'arm64' ? stage2.ipaBits : 12 + 9 * stage2.levels;
}

/**
 * The number of stage-2 table levels. Arm: as few as KVM takes (`kvm_get_vtcr`), which puts up to 16 tables side by side
 * at the root, four index bits more than one table has, and takes at least 2 levels.
 */
export function stage2Levels(stage2: Stage2Format): number {
  if (stage2.format === 'ept') return stage2.levels;
  return Math.max(2, Math.floor((stage2.ipaBits - 8) / (PAGE_SHIFTS[stage2.granule] - 3)));
}

/** log2 of the largest frame: a node's memory in the core ends at 1T (assembly/memory/tables.ts). */
const LARGEST_FRAME = PAGE_SHIFTS['64G'];

/** The page sizes of a second stage, smallest first. */
export function stage2Sizes(stage2: Stage2Format): LeafSize[] {
  if (stage2.format === 'ept') return X86_LEAVES;
  const leaves = armLeaves(stage2.granule, stage2Levels(stage2), stage2.ipaBits);
  return leaves.filter(({ run, shift }) => run === 1 && shift <= LARGEST_FRAME);
}

/** The section with the format of a second stage that does not state one: that of the same architecture as stage 1. */
export function withStage2Format(section: Doc): Doc {
  const { format, stage2 } = section;
  if (!isDoc(stage2) || stage2.format !== undefined) return section;
  return { ...section, stage2: { ...stage2, format: format === 'arm64' ? 'arm64' : 'ept' } };
}

/** The paging of a merged document in which only the format may be trusted so far, or null where even that is wrong. */
export function formatOf(section: unknown): Stages | null {
  const parsed = z
    .union([x86.omit({ pageSize: true }).strip(), arm64.omit({ pageSize: true }).strip()])
    .safeParse(section);
  return parsed.success ? parsed.data : null;
}
