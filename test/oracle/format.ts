// Paging formats: the levels of a walk and the bits of a descriptor. x86-64 follows the SDM vol. 3 chapter 4 (4- and
// 5-level paging), Arm the VMSAv8-64 stage 1 of the Arm ARM chapter D8 with output addresses of at most 48 bits.
// Only what a walk needs and what a demand mapping installs; no permissions are checked anywhere.
import { type PageSize, type Paging, type WalkCacheName } from './types.js';

/** One level of a format: its manual's number, what VA bits index it, what may be a leaf there. */
export interface Level {
  level: number;
  /** log2 of the bytes that one entry covers. */
  shift: bigint;
  indexBits: bigint;
  /** Whether an entry may be a page or block of 2^shift bytes. */
  leaf: boolean;
  /** The walk cache of the table descriptors read at this level; null at the last level. */
  cache: WalkCacheName | null;
}

/** A paging format as the walk and the demand mapping see it. */
export interface Format {
  /** Root first. */
  levels: Level[];
  tableBytes: bigint;
  baseShift: bigint;
  /** Which of its context's roots serves the VA. */
  rootOf(va: bigint): 0 | 1;
  tableDescriptor(tablePa: bigint): bigint;
  leafDescriptor(pagePa: bigint, level: Level, dirty: boolean): bigint;
  isTable(value: bigint, level: Level): boolean;
  /** The next table of a table descriptor. */
  tablePa(value: bigint): bigint;
  /** The page or block of a leaf descriptor. */
  pagePa(value: bigint, level: Level): bigint;
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
  return format.levels
    .filter((level) => level.leaf)
    .map((level) => 1n << level.shift)
    .reverse();
}

/** The index of the VA in a table of this level. */
export function indexOf(level: Level, va: bigint): bigint {
  return (va >> level.shift) & ((1n << level.indexBits) - 1n);
}

/** The format of a configuration. */
export function formatOf(paging: Paging): Format {
  return paging.format === 'x86-64'
    ? x86(paging.levels)
    : arm(BigInt(Math.log2(Number(bytesOf(paging.granule)))), paging.vaBits);
}

//  63  62..52  51............12  11..9  8  7   6  5  4   3   2   1   0
//  NX  avl     address           avl    G  PS  D  A  PCD PWT U/S R/W P
function x86(levelCount: 4 | 5): Format {
  const caches: Record<number, WalkCacheName | null> = { 5: 'pml5e', 4: 'pml4e', 3: 'pdpte', 2: 'pde', 1: null };
  const levels = [5, 4, 3, 2, 1].slice(5 - levelCount).map((level) => ({
    level,
    shift: 12n + 9n * BigInt(level - 1),
    indexBits: 9n,
    leaf: level <= 3,
    cache: caches[level],
  }));
  const address = (value: bigint) => value & 0x000f_ffff_ffff_f000n;
  const PS = 1n << 7n;
  const D = 1n << 6n;
  return {
    levels,
    tableBytes: 4096n,
    baseShift: 12n,
    rootOf: () => 0,
    tableDescriptor: (tablePa) => tablePa | 0x27n, // P RW US A
    leafDescriptor: (pagePa, { level }, dirty) => pagePa | 0x27n | (dirty ? D : 0n) | (level > 1 ? PS : 0n),
    isTable: (value, { level }) => level > 1 && (value & PS) === 0n,
    tablePa: address,
    pagePa: (value, { shift }) => (address(value) >> shift) << shift, // bit 12 of a large leaf is PAT
    isDirty: (value) => (value & D) !== 0n,
    withDirty: (value) => value | D,
  };
}

//  63..55  54  53  52   51  50  49..48  47......ps  11 10  9..8 7..6    5  4..2     1      0
//  sw      UXN PXN Cont DBM GP  0       address     nG AF  SH   AP[2:1] NS AttrIndx table  valid
function arm(granuleShift: bigint, vaBits: number): Format {
  const indexBits = granuleShift - 3n;
  const levelCount = Math.ceil((vaBits - Number(granuleShift)) / Number(indexBits));
  // Blocks: 4K from level 1, 16K and 64K at level 2; with 52-bit addresses one level higher.
  const highestBlock = (granuleShift === 12n ? 1 : 2) - (vaBits > 48 ? 1 : 0);
  const caches: Record<number, WalkCacheName | null> = { [-1]: 'lm1', 0: 'l0', 1: 'l1', 2: 'l2', 3: null };
  const levels = [-1, 0, 1, 2, 3].slice(5 - levelCount).map((level, depth) => {
    const shift = granuleShift + indexBits * BigInt(3 - level);
    return {
      level,
      shift,
      indexBits: depth === 0 ? BigInt(vaBits) - shift : indexBits,
      leaf: level >= highestBlock,
      cache: caches[level],
    };
  });
  const address = (value: bigint, shift: bigint) => ((value & 0x0000_ffff_ffff_ffffn) >> shift) << shift;
  const READ_ONLY = 1n << 7n; // AP[2]; with DBM this is "writable clean"
  const DBM = 1n << 51n;
  const LEAF = DBM | (1n << 11n) | (1n << 10n) | (3n << 8n) | (1n << 6n); // DBM, nG, AF, inner shareable, AP[1] = EL0 too
  return {
    levels,
    tableBytes: 1n << granuleShift,
    baseShift: granuleShift,
    rootOf: (va) => ((va >> 55n) & 1n ? 1 : 0),
    tableDescriptor: (tablePa) => tablePa | 3n,
    leafDescriptor: (pagePa, { level }, dirty) => pagePa | LEAF | (dirty ? 0n : READ_ONLY) | (level === 3 ? 3n : 1n),
    isTable: (value, { level }) => level < 3 && (value & 2n) !== 0n,
    tablePa: (value) => address(value, granuleShift),
    pagePa: (value, { shift }) => address(value, shift),
    isDirty: (value) => (value & READ_ONLY) === 0n,
    withDirty: (value) => value & ~READ_ONLY,
  };
}
