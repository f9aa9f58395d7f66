// Paging formats: the levels of a walk, the page sizes, and the descriptors that a demand mapping installs. x86-64 follows
// the SDM vol. 3 chapter 4 (4- and 5-level paging) and 28.3 (EPT), Arm the VMSAv8-64 of the Arm ARM chapter D8; stage 2 is
// set up as KVM does. No permissions are checked anywhere.
import {
  addressInArm,
  ARM,
  type ArmFormat,
  armLeaf,
  armTable,
  EPT,
  eptLeaf,
  isWide,
  kvmAttributes,
  X86,
  x86Leaf,
} from './arch/encode.js';
import {
  armBlockLevels,
  armLevels,
  armRunEntries,
  granuleShift,
  kvmStart,
  type Level as Geometry,
  stage1Start,
  x86Levels,
} from './arch/geometry.js';
import { type PageSize, type Paging, type Stage2Paging, type WalkCacheName } from './types.js';

/** One level of a format: its manual's number and what address bits index it. */
export interface Level extends Geometry {
  /** The walk cache of the table descriptors read at this level; null at the last level. */
  cache: WalkCacheName | null;
}

/** A page size: one entry of a level, or a contiguous run of entries. */
export interface Leaf {
  level: Level;
  /** log2 of the bytes of the whole page. */
  shift: bigint;
  entries: number;
}

/** A paging format as the walk and the demand mapping see it. */
export interface Format {
  /** Root first. */
  levels: Level[];
  /** The largest page first. */
  leaves: Leaf[];
  tableBytes: bigint;
  /** Tables that make up a root, one after the other. */
  rootTables: number;
  baseShift: bigint;
  /** Which of its context's roots serves the address. */
  rootOf(va: bigint): 0 | 1;
  tableDescriptor(tablePa: bigint): bigint;
  /** The descriptor of one entry of a page, `pagePa` being what this entry maps. */
  /** `global`: the page serves all ASIDs. */
  leafDescriptor(pagePa: bigint, leaf: Leaf, dirty: boolean, global: boolean): bigint;
  /** Whether a VA is in the upper half of the addresses, the kernel's. */
  isUpper(va: bigint): boolean;
  isTable(value: bigint, level: Level): boolean;
  /** The page that a leaf descriptor of a level belongs to. */
  leafOf(value: bigint, level: Level): Leaf;
  /** The next table of a table descriptor. */
  tablePa(value: bigint): bigint;
  /** The page of a leaf descriptor. */
  pagePa(value: bigint, leaf: Leaf): bigint;
  isDirty(value: bigint): boolean;
  withDirty(value: bigint): bigint;
}

const UNIT_SHIFT: Record<string, bigint> = { K: 10n, M: 20n, G: 30n, T: 40n };

/** Bytes of a page size such as '2M'. */
export function bytesOf(size: PageSize): bigint {
  return BigInt(size.slice(0, -1)) << UNIT_SHIFT[size.slice(-1)];
}

/** The page sizes of a format in bytes, the smallest first. */
export function pageSizesOf(format: Format): bigint[] {
  return format.leaves.map(({ shift }) => 1n << shift).reverse();
}

/** The stage-1 format of a configuration. */
export function formatOf(paging: Paging): Format {
  return paging.format === 'x86-64' ? x86(paging.levels) : arm(paging.granule, paging.vaBits);
}

/** The stage-2 format of a configuration, whose only page is of the configured size. */
export function stage2FormatOf(stage2: Stage2Paging): Format {
  const format = stage2.format === 'ept' ? ept(stage2.levels) : armStage2(stage2.granule, stage2.ipaBits);
  return { ...format, leaves: format.leaves.filter(({ shift }) => 1n << shift === bytesOf(stage2.pageSize)) };
}

/** Bits of an intermediate address. */
export function ipaBitsOf(stage2: Stage2Paging): number {
  return stage2.format === 'ept' ? 12 + 9 * stage2.levels : stage2.ipaBits;
}

/** The same levels, each with the walk cache that has the place of its name in the list, counted from the last level. */
function withCaches(levels: Geometry[], names: WalkCacheName[]): Level[] {
  return levels.map((level, depth) => ({ ...level, cache: names[levels.length - 2 - depth] ?? null }));
}

const STAGE2_CACHES: WalkCacheName[] = ['s2l2', 's2l1', 's2l0', 's2lm1'];

/** Bit 7 of an x86 or EPT entry makes a leaf above the last level. */
function x86Common(levels: Level[]): Omit<Format, 'tableDescriptor' | 'leafDescriptor' | 'isDirty' | 'withDirty'> {
  const leaves = levels.filter(({ level }) => level <= 3).map((level) => ({ level, shift: level.shift, entries: 1 }));
  const address = (value: bigint, shift: bigint) => ((value & 0x000f_ffff_ffff_ffffn) >> shift) << shift;
  return {
    levels,
    leaves,
    tableBytes: 4096n,
    rootTables: 1,
    baseShift: 12n,
    rootOf: () => 0,
    isUpper: (va) => ((va >> 63n) & 1n) === 1n,
    isTable: (value, { level }) => level > 1 && (value & X86.PS) === 0n,
    leafOf: (_value, level) => leaves.find((leaf) => leaf.level === level)!,
    tablePa: (value) => address(value, 12n),
    pagePa: (value, { shift }) => address(value, shift), // bit 12 of a large leaf is PAT
  };
}

/** G, bit 8 of an x86 leaf. */
const X86_GLOBAL = 1n << 8n;

function x86(levels: 4 | 5): Format {
  const TABLE = X86.P | X86.RW | X86.US | X86.A;
  return {
    ...x86Common(withCaches(x86Levels(levels), ['pde', 'pdpte', 'pml4e', 'pml5e'])),
    tableDescriptor: (tablePa) => tablePa | TABLE,
    leafDescriptor: (pagePa, { level }, dirty, global) =>
      x86Leaf(level.level, pagePa, TABLE | (dirty ? X86.D : 0n) | (global ? X86_GLOBAL : 0n)),
    isDirty: (value) => (value & X86.D) !== 0n,
    withDirty: (value) => value | X86.D,
  };
}

function ept(levels: 4 | 5): Format {
  const RWX = EPT.R | EPT.W | EPT.X;
  return {
    ...x86Common(withCaches(x86Levels(levels), STAGE2_CACHES)),
    tableDescriptor: (tablePa) => tablePa | RWX,
    leafDescriptor: (pagePa, { level }) => eptLeaf(level.level, pagePa, RWX),
    isDirty: () => true,
    withDirty: (value) => value,
  };
}

/** Above 48 bits the 52-bit descriptors of the granule are in use. */
function armFormatOf(granule: '4K' | '16K' | '64K', bits: number): ArmFormat {
  const kib = { '4K': 4, '16K': 16, '64K': 64 }[granule] as 4 | 16 | 64;
  return { granule: kib, ds: kib !== 64 && bits > 48, lpa: kib === 64 && bits > 48 };
}

function armCommon(
  format: ArmFormat,
  levels: Level[],
  runs: boolean,
): Omit<Format, 'leafDescriptor' | 'rootOf' | 'isDirty' | 'withDirty'> {
  const ps = granuleShift(format.granule);
  const blocks = armBlockLevels(format.granule, isWide(format));
  const leaves = levels
    .filter(({ level }) => level === 3 || blocks.includes(level))
    .flatMap((level) => {
      const entries = armRunEntries(format.granule, level.level);
      // A root of few entries has no room for a run.
      const run = runs && entries > 0 && BigInt(entries) <= 1n << level.indexBits;
      const leafOf = (entries: number): Leaf => {
        return { level, shift: level.shift + BigInt(Math.log2(entries)), entries };
      };
      return run ? [leafOf(entries), leafOf(1)] : [leafOf(1)];
    });
  return {
    levels,
    leaves,
    tableBytes: 1n << ps,
    rootTables: Math.max(1, Number((8n << levels[0].indexBits) >> ps)),
    isUpper: (va) => ((va >> 55n) & 1n) === 1n,
    baseShift: ps,
    tableDescriptor: (tablePa) => armTable(format, tablePa),
    isTable: (value, { level }) => level < 3 && (value & ARM.TABLE) !== 0n,
    leafOf: (value, level) => {
      const run = (value & ARM.CONTIGUOUS) !== 0n;
      return leaves.find((leaf) => leaf.level === level && leaf.entries > 1 === run)!;
    },
    tablePa: (value) => addressInArm(format, value, ps),
    pagePa: (value, { level, shift }) => (addressInArm(format, value, level.shift) >> shift) << shift,
  };
}

function arm(granule: '4K' | '16K' | '64K', vaBits: number): Format {
  const format = armFormatOf(granule, vaBits);
  const levels = armLevels(format.granule, vaBits, stage1Start(format.granule, vaBits));
  const shareable = format.ds ? 0n : ARM.SH_INNER; // with DS these are address bits
  const LEAF = ARM.DBM | ARM.NG | ARM.AF | ARM.AP_EL0 | shareable;
  return {
    ...armCommon(format, withCaches(levels, ['l2', 'l1', 'l0', 'lm1']), true),
    rootOf: (va) => ((va >> 55n) & 1n ? 1 : 0),
    leafDescriptor: (pagePa, { level, entries }, dirty, global) => {
      const flags = (global ? LEAF & ~ARM.NG : LEAF) | (dirty ? 0n : ARM.AP_RO) | (entries > 1 ? ARM.CONTIGUOUS : 0n);
      return armLeaf(format, level.level, pagePa, flags);
    },
    isDirty: (value) => (value & ARM.AP_RO) === 0n, // read-only with DBM is "writable clean"
    withDirty: (value) => value & ~ARM.AP_RO,
  };
}

function armStage2(granule: '4K' | '16K' | '64K', ipaBits: number): Format {
  const format = armFormatOf(granule, ipaBits);
  const levels = armLevels(format.granule, ipaBits, kvmStart(format.granule, ipaBits));
  return {
    ...armCommon(format, withCaches(levels, STAGE2_CACHES), false),
    rootOf: () => 0,
    leafDescriptor: (pagePa, { level }) => armLeaf(format, level.level, pagePa, kvmAttributes(format)),
    isDirty: () => true,
    withDirty: (value) => value,
  };
}
