// Descriptors taken apart for people: the fields of every format by the names of the manuals (Intel SDM vol. 3, tables
// 4-14 to 4-20; Arm DDI 0487, D8.3), from declared tables of bits, and what an entry points to. Only `explain` needs it:
// whether and where an address translates is decided by the core.

import { type Regime } from './regimes.js';
import { bit, field } from './registers.js';

/** One field of a descriptor. */
export interface DescriptorField {
  name: string;
  value: number;
  /** What the value means, where the name does not say it. */
  meaning?: string;
}

/** A descriptor's parts. */
export interface Descriptor {
  kind: 'table' | 'leaf' | 'invalid';
  /** Of the next table or of the frame; null when the entry is not valid. */
  address: bigint | null;
  fields: DescriptorField[];
}

/** A field as declared: bits high:low, meanings by value. */
interface BitField {
  name: string;
  bits: readonly [high: number, low: number];
  meanings?: readonly string[];
}

const flag = (name: string, number: number, ...meanings: string[]): BitField => ({
  ...{ name, bits: [number, number], meanings: meanings.length > 0 ? meanings : undefined },
});

const X86_COMMON = [
  flag('R/W', 1, 'read-only', 'writable'),
  flag('U/S', 2, 'supervisor', 'user'),
  flag('PWT', 3),
  flag('PCD', 4),
  flag('A', 5, 'not accessed', 'accessed'),
];
const X86_NX = flag('NX', 63, 'executable', 'not executable');
const X86_TABLE = [...X86_COMMON, X86_NX];
const x86Leaf = (pat: number) => [
  ...X86_COMMON,
  flag('D', 6, 'clean', 'dirty'),
  flag('PAT', pat),
  flag('G', 8),
  { name: 'PKEY', bits: [62, 59] } as const,
  X86_NX,
];
const X86_PAGE = x86Leaf(7);
const X86_LARGE = x86Leaf(12);

const EPT_RIGHTS = [flag('R', 0), flag('W', 1), flag('X', 2)];
const EPT_LEAF = [
  ...EPT_RIGHTS,
  { name: 'memory type', bits: [5, 3] } as const,
  flag('ignore PAT', 6),
  flag('A', 8, 'not accessed', 'accessed'),
  flag('D', 9, 'clean', 'dirty'),
];

const SH: BitField = { name: 'SH', bits: [9, 8], meanings: ['not shareable', 'reserved', 'outer', 'inner'] };
const AF = flag('AF', 10, 'not accessed', 'accessed');
const DBM = flag('DBM', 51);
const CONTIGUOUS = flag('Contiguous', 52);
const SOFTWARE: BitField = { name: 'software', bits: [58, 55] };

const AP: BitField = {
  name: 'AP[2:1]',
  bits: [7, 6],
  meanings: ['EL1 read-write', 'EL0 and EL1 read-write', 'EL1 read-only', 'EL0 and EL1 read-only'],
};
const AP_SINGLE = flag('AP[2]', 7, 'read-write', 'read-only');
const AP_TABLE: BitField = {
  name: 'APTable',
  bits: [62, 61],
  meanings: ['no limit', 'no EL0 access', 'read-only', 'read-only, no EL0 access'],
};
const ARM1_START: readonly BitField[] = [{ name: 'AttrIndx', bits: [4, 2] }, flag('NS', 5)];
const ARM1_END = [AF, flag('nG', 11), flag('GP', 50), DBM, CONTIGUOUS];
const ARM1_LEAF = [...ARM1_START, AP, SH, ...ARM1_END, flag('PXN', 53), flag('UXN', 54), SOFTWARE];
const ARM1_LEAF_SINGLE = [...ARM1_START, AP_SINGLE, SH, ...ARM1_END, flag('XN', 54), SOFTWARE];
const ARM1_TABLE = [flag('PXNTable', 59), flag('UXNTable', 60), AP_TABLE, flag('NSTable', 63)];
const ARM1_TABLE_SINGLE = [flag('XNTable', 60), flag('APTable[1]', 62, 'no limit', 'read-only'), flag('NSTable', 63)];

const ARM2_START: readonly BitField[] = [
  { name: 'MemAttr', bits: [5, 2] },
  { name: 'S2AP', bits: [7, 6], meanings: ['no access', 'read', 'write', 'read-write'] },
];
const XNX: BitField = {
  name: 'XN',
  bits: [54, 53],
  meanings: ['executable', 'executable at EL0', 'not executable', 'executable at EL1'],
};
const arm2Leaf = (xn: BitField) => [...ARM2_START, SH, AF, DBM, CONTIGUOUS, xn, SOFTWARE];
const ARM2_LEAF = arm2Leaf(flag('XN', 54, 'executable', 'not executable'));
const ARM2_LEAF_XNX = arm2Leaf(XNX);
/** KVM's notes in entries that are not valid. */
const ARM2_INVALID: readonly BitField[] = [{ name: 'pKVM owner', bits: [9, 2] }];

const NOTHING: Descriptor = { kind: 'invalid', address: null, fields: [] };

/** Takes a descriptor apart that the given stage of a regime read at a level. */
export function describe(regime: Regime, stage: number, level: number, entry: bigint): Descriptor {
  if (regime.ept && stage === 2) return describeEpt(level, entry);
  if (regime.x86) return describeX86(level, entry);
  const { stage1, stage2 } = regime;
  const paging = stage === 1 ? stage1! : stage2!;
  if (!bit(entry, 0) || (level === 3 && !bit(entry, 1))) {
    return stage === 2 && entry !== 0n ? { ...NOTHING, fields: fieldsOf(ARM2_INVALID, entry) } : NOTHING;
  }
  const table = level < 3 && bit(entry, 1);
  const leafShift = paging.pageShift + (3 - level) * (paging.pageShift - 3);
  const address = armAddress(entry, table ? paging.pageShift : leafShift, paging);
  if (stage === 2) {
    const fields = table ? [] : stage2!.xnx ? ARM2_LEAF_XNX : ARM2_LEAF;
    return { kind: table ? 'table' : 'leaf', address, fields: fieldsOf(fields, entry, paging.ds) };
  }
  const { single, mair } = stage1!;
  if (table) return { kind: 'table', address, fields: fieldsOf(single ? ARM1_TABLE_SINGLE : ARM1_TABLE, entry) };
  const fields = fieldsOf(single ? ARM1_LEAF_SINGLE : ARM1_LEAF, entry, paging.ds);
  return { kind: 'leaf', address, fields: fields.map((f) => (f.name === 'AttrIndx' ? withMemoryType(f, mair) : f)) };
}

function describeX86(level: number, entry: bigint): Descriptor {
  if (!bit(entry, 0)) return NOTHING;
  const large = (level === 2 || level === 3) && bit(entry, 7);
  const leaf = level === 1 || large;
  const shift = BigInt(large ? 12 + 9 * (level - 1) : 12);
  return {
    kind: leaf ? 'leaf' : 'table',
    address: ((entry & 0xf_ffff_ffff_f000n) >> shift) << shift,
    fields: fieldsOf(large ? X86_LARGE : leaf ? X86_PAGE : X86_TABLE, entry),
  };
}

/** Intel SDM vol. 3, 29.3.2: present when any of R, W and X is set. */
function describeEpt(level: number, entry: bigint): Descriptor {
  if (field(entry, 2, 0) === 0) return NOTHING;
  const leaf = level === 1 || (level < 4 && bit(entry, 7));
  const shift = BigInt(leaf ? 12 + 9 * (level - 1) : 12);
  return {
    kind: leaf ? 'leaf' : 'table',
    address: ((entry & 0xf_ffff_ffff_f000n) >> shift) << shift,
    fields: fieldsOf(leaf ? EPT_LEAF : EPT_RIGHTS, entry),
  };
}

function armAddress(entry: bigint, shift: number, { ds, lpa }: { ds: boolean; lpa: boolean }): bigint {
  const high = ds ? 50n : 48n;
  const address = entry & ((1n << high) - 1n) & ~((1n << BigInt(shift)) - 1n);
  if (ds) return address | (BigInt(field(entry, 9, 8)) << 50n);
  return lpa ? address | (BigInt(field(entry, 15, 12)) << 48n) : address;
}

/** The declared fields; with 52-bit descriptors of small granules (DS) SH belongs to the address. */
function fieldsOf(declared: readonly BitField[], entry: bigint, ds = false): DescriptorField[] {
  return declared
    .filter((f) => !(ds && f === SH))
    .map(({ name, bits: [high, low], meanings }) => {
      const value = field(entry, high, low);
      return { name, value, meaning: meanings?.[value] };
    });
}

const MEMORY_TYPES: Readonly<Record<number, string>> = {
  0x00: 'Device-nGnRnE',
  0x04: 'Device-nGnRE',
  0x0c: 'Device-GRE',
  0x44: 'Normal non-cacheable',
  0xbb: 'Normal write-through',
  0xf0: 'Normal tagged',
  0xff: 'Normal write-back',
};

function withMemoryType(index: DescriptorField, mair: bigint): DescriptorField {
  const attribute = field(mair, 8 * index.value + 7, 8 * index.value);
  return { ...index, meaning: MEMORY_TYPES[attribute] ?? `MAIR 0x${attribute.toString(16)}` };
}
