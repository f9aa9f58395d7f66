// Page-table entries as the derivation needs them: whether an entry is a table or a leaf, where it points and what it
// allows. x86-64 with four or five levels (Intel SDM vol. 3, 4.5) and Arm stage 1 (DDI 0487, D8.3) with any granule.
// Entries come as two words. Output addresses are taken below 2^52 (x86) and 2^48 (Arm), where all captured memory lies.

/** Access that a leaf gives; the bits are those of the operand "protection" of events. */
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXECUTE = 4;

/** How the lower half of the addresses is translated. */
export interface Geometry {
  arch: 'x86-64' | 'arm64';
  /** log2 of the granule. */
  pageShift: number;
  levels: number;
  /** Bits of a user address. */
  userBits: number;
}

/** The paging of an x86-64 capture. */
export function x86Geometry(levels: number): Geometry {
  return { arch: 'x86-64', pageShift: 12, levels, userBits: 9 * levels + 11 };
}

/** log2 of the granule by TCR_EL1.TG0. */
const TG0 = [12, 16, 14];

/** The paging of an Arm capture by its TCR_EL1; null when the granule is reserved. */
export function armGeometry(tcr: bigint): Geometry | null {
  const userBits = 64 - Number(tcr & 0x3fn);
  const pageShift = TG0[Number((tcr >> 14n) & 3n)];
  if (pageShift === undefined) return null;
  return { arch: 'arm64', pageShift, levels: Math.ceil((userBits - pageShift) / (pageShift - 3)), userBits };
}

/** Bytes that one entry covers in a table `height` levels above the last. */
export function entryBytes({ pageShift }: Geometry, height: number): number {
  return 2 ** (pageShift + height * (pageShift - 3));
}

/** The x86 kernel's own top-level entry for its image, which every top-level table has a copy of. */
export const KERNEL_SLOT = 511;

const X86_LARGE = 1 << 7;
const X86_ADDRESS_HIGH = 0x000f_ffff;
const ARM_ADDRESS_HIGH = 0x0000_ffff;
/** PXNTable: Linux sets it in every table entry of a user address space. */
const ARM_USER_TABLE_HIGH = 1 << 27;

/** Whether an entry points to another table. */
export function isTable({ arch }: Geometry, height: number, low: number): boolean {
  if (height === 0) return false;
  return arch === 'arm64' ? (low & 3) === 3 : (low & (X86_LARGE | 1)) === 1;
}

/** Whether an entry maps memory. */
export function isLeaf({ arch }: Geometry, height: number, low: number): boolean {
  if (arch === 'arm64') return (low & 3) === (height === 0 ? 3 : 1);
  return (low & 1) === 1 && (height === 0 || (low & X86_LARGE) !== 0);
}

/** Whether this looks like an Arm table entry of a user address space. */
export function isArmUserTable(low: number, high: number): boolean {
  return (low & 3) === 3 && (high & ARM_USER_TABLE_HIGH) !== 0;
}

/** Where an entry points: a table, or the start of what a leaf maps. */
export function addressOf({ arch, pageShift }: Geometry, low: number, high: number): number {
  const mask = arch === 'arm64' ? ARM_ADDRESS_HIGH : X86_ADDRESS_HIGH;
  return (high & mask) * 2 ** 32 + ((low & -(1 << pageShift)) >>> 0);
}

/** What a leaf allows. Arm's DBM (bit 51) stands for a write permission that hardware or the kernel gives on the first write. */
export function protectionOf({ arch }: Geometry, low: number, high: number): number {
  const [write, execute] =
    arch === 'arm64'
      ? [(low & (1 << 7)) === 0 || (high & (1 << 19)) !== 0, (high & (1 << 22)) === 0]
      : [(low & 2) !== 0, high >>> 31 === 0];
  return PROT_READ | (write ? PROT_WRITE : 0) | (execute ? PROT_EXECUTE : 0);
}
