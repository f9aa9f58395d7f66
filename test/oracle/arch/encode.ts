// Descriptors of every format: the names of their bits, and addresses in and out of them.
//
//   x86   63 NX   51:12 address    12 PAT (large)   8 G   7 PS     6 D   5 A    2 U/S   1 R/W     0 P
//   EPT           51:12 address                            7 large  5:3 type     2 X     1 W       0 R
//   Arm 1 54 UXN  53 PXN  52 Cont  51 DBM   47:ps address  11 nG   10 AF   9:8 SH   7:6 AP[2:1]   1 table  0 valid
//   table 63 NS   62:61 APTable   60 UXNTable   59 PXNTable
//   Arm 2 54:53 XN  52 Cont  51 DBM   47:ps address   10 AF   9:8 SH   7 W  6 R   5:2 MemAttr   1 table  0 valid
//   52-bit addresses: 64K has 51:48 in 15:12; 4K and 16K have 49:48 in place and 51:50 in 9:8.

/** What decides how an Arm descriptor holds an address. */
export interface ArmFormat {
  granule: 4 | 16 | 64;
  ds: boolean;
  lpa: boolean;
}

const bit = (n: bigint) => 1n << n;
const field = (value: bigint, high: bigint, low: bigint) => (value >> low) & ((1n << (high - low + 1n)) - 1n);

export const X86 = {
  P: 1n,
  RW: 2n,
  US: 4n,
  A: bit(5n),
  D: bit(6n),
  PS: bit(7n),
  G: bit(8n),
  PAT: bit(12n),
  NX: bit(63n),
};

export const EPT = { R: 1n, W: 2n, X: 4n, LARGE: bit(7n), WB: 6n << 3n };

export const ARM = {
  VALID: 1n,
  TABLE: 2n,
  AP_EL0: bit(6n),
  AP_RO: bit(7n),
  S2_R: bit(6n),
  S2_W: bit(7n),
  S2_NORMAL: 15n << 2n,
  SH_INNER: 3n << 8n,
  AF: bit(10n),
  NG: bit(11n),
  DBM: bit(51n),
  CONTIGUOUS: bit(52n),
  PXN: bit(53n),
  UXN: bit(54n),
  PXN_TABLE: bit(59n),
  UXN_TABLE: bit(60n),
  APTABLE_NO_EL0: bit(61n),
  APTABLE_RO: bit(62n),
};

/** Whether a granule's 52-bit descriptors are in use. */
export function isWide({ granule, ds, lpa }: ArmFormat): boolean {
  return granule === 64 ? lpa : ds;
}

/** An address as an Arm descriptor holds it. */
export function armAddress(format: ArmFormat, pa: bigint): bigint {
  if (!isWide(format)) return pa;
  if (format.granule === 64) return field(pa, 47n, 0n) | (field(pa, 51n, 48n) << 12n);
  return field(pa, 49n, 0n) | (field(pa, 51n, 50n) << 8n);
}

/** The address in an Arm descriptor, of a table or page of 2^shift bytes. */
export function addressInArm(format: ArmFormat, descriptor: bigint, shift: bigint): bigint {
  const wide = isWide(format);
  const low = field(descriptor, wide && format.granule !== 64 ? 49n : 47n, shift) << shift;
  if (!wide) return low;
  return low | (format.granule === 64 ? field(descriptor, 15n, 12n) << 48n : field(descriptor, 9n, 8n) << 50n);
}

/** An Arm table descriptor, of either stage. */
export function armTable(format: ArmFormat, pa: bigint, limits = 0n): bigint {
  return armAddress(format, pa) | limits | ARM.TABLE | ARM.VALID;
}

/** An Arm block, of either stage. */
export function armBlock(format: ArmFormat, pa: bigint, attributes: bigint): bigint {
  return armAddress(format, pa) | attributes | ARM.VALID;
}

/** An Arm page, of either stage. */
export function armPage(format: ArmFormat, pa: bigint, attributes: bigint): bigint {
  return armBlock(format, pa, attributes) | ARM.TABLE;
}

/** An Arm leaf at a level. */
export function armLeaf(format: ArmFormat, level: number, pa: bigint, attributes: bigint): bigint {
  return level === 3 ? armPage(format, pa, attributes) : armBlock(format, pa, attributes);
}

/** The attributes of a leaf that KVM installs in stage 2. */
export function kvmAttributes(format: ArmFormat): bigint {
  // With DS bits 9:8 are address bits.
  const shareable = format.granule !== 64 && format.ds ? 0n : ARM.SH_INNER;
  return ARM.AF | shareable | ARM.S2_R | ARM.S2_W | ARM.S2_NORMAL;
}

/** An x86 or EPT table entry. */
export function x86Table(pa: bigint, flags: bigint): bigint {
  return pa | flags;
}

/** An x86 leaf at a level. */
export function x86Leaf(level: number, pa: bigint, flags: bigint): bigint {
  return pa | flags | (level > 1 ? X86.PS : 0n);
}

/** An EPT leaf at a level; its memory type is write-back. */
export function eptLeaf(level: number, pa: bigint, flags: bigint): bigint {
  return pa | flags | EPT.WB | (level > 1 ? EPT.LARGE : 0n);
}
