// Table images made by hand: descriptors at physical addresses, written out as the folder that a user would have.

import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PAGE = 4096n;

/** Writes an image to a new folder, which the caller removes, and gives the folder. */
export function writeImage(
  arch: string,
  cpus: Record<string, Record<string, string>>,
  entries: Record<string, bigint>,
): string {
  const folder = mkdtempSync(join(tmpdir(), 'nodewalk-image-'));
  mkdirSync(folder, { recursive: true });
  const pages = new Map<bigint, BigUint64Array>();
  for (const [at, entry] of Object.entries(entries)) {
    const pa = (BigInt(at) / PAGE) * PAGE;
    const page = pages.get(pa) ?? new BigUint64Array(512);
    page[Number(BigInt(at) % PAGE) / 8] = entry;
    pages.set(pa, page);
  }
  const rows = [...pages.keys()].map((pa, i) => `${i},0x${pa.toString(16)},4096,\n`);
  writeFileSync(join(folder, 'registers.json'), JSON.stringify({ arch, cpus }));
  writeFileSync(join(folder, 'tablepages.csv'), `index,pa,bytes,roles\n${rows.join('')}`);
  writeFileSync(
    join(folder, 'tablepages.bin'),
    Buffer.concat([...pages.values()].map((p) => new Uint8Array(p.buffer))),
  );
  return folder;
}

const NX = 1n << 63n;

/** x86-64 with WP, SMEP, SMAP and NXE: four 4K pages of every kind, one with address bit 45. Linux's control registers. */
export const X86_CPU = { cr0: '0x80050033', cr3: '0x1000', cr4: '0x300ef0', efer: '0xd01' };
export const X86_ENTRIES: Record<string, bigint> = {
  '0x1000': 0x2000n | 7n,
  '0x2000': 0x3000n | 7n,
  '0x3000': 0x4000n | 7n,
  // P=1, R/W=2, U/S=4
  '0x4000': 0x10000n | 7n | NX, // VA 0x0: user, writable, not executable
  '0x4008': 0x11000n | 5n, // VA 0x1000: user, read-only, executable
  '0x4010': 0x12000n | 3n | NX, // VA 0x2000: kernel, writable, not executable
  '0x4018': 0x13000n | 1n, // VA 0x3000: kernel, read-only, executable
  '0x4020': (1n << 45n) | 7n, // VA 0x4000
};

/**
 * Arm, EL1&0 under stage 2, both with 4K granule and 39 bits: three levels from level 1.
 * TCR_EL1: T0SZ=25, T1SZ=25 << 16, TG1=2 << 30 (4K), IPS=2 << 32 (40 bits). VTCR_EL2: T0SZ=25, SL0=1 << 6 (level 1), PS=2 << 16.
 * HCR_EL2.VM; PARange 2 (40 bits); SCTLR.M.
 */
export const ARM_CPU = {
  TCR_EL1: `0x${((2n << 32n) | (2n << 30n) | (25n << 16n) | 25n).toString(16)}`,
  VTCR_EL2: `0x${((2n << 16n) | (1n << 6n) | 25n).toString(16)}`,
  TTBR0_EL1: '0x10000',
  TTBR1_EL1: '0x10000',
  VTTBR_EL2: '0x100000',
  HCR_EL2: '0x80000001',
  SCTLR: '0x1',
  ID_AA64MMFR0_EL1: '0x2',
};
const TABLE = 3n;
const PAGE_LEAF = 3n;
const BLOCK = 1n;
const AF = 1n << 10n;
const EL0 = 1n << 6n;
const S2_READ = 1n << 6n;
const S2_WRITE = 1n << 7n;
const S2_PAGE = PAGE_LEAF | AF | S2_READ | S2_WRITE;
export const ARM_ENTRIES: Record<string, bigint> = {
  // Stage 2: IPA to PA. Stage-1 tables are at IPA 0x10000 (root), 0x11000, 0x12000; 0x13000 is not mapped.
  '0x100000': 0x101000n | TABLE,
  '0x101000': 0x102000n | TABLE,
  '0x102080': 0x10000n | S2_PAGE, // IPA 0x10000
  '0x102088': 0x20000n | S2_PAGE, // IPA 0x11000
  '0x102090': 0x21000n | S2_PAGE, // IPA 0x12000
  '0x1020a0': 0x60000n | S2_PAGE, // IPA 0x14000: its frame is not in the image
  '0x102180': 0x50000n | S2_PAGE, // IPA 0x30000
  '0x102188': 0x51000n | PAGE_LEAF | AF | S2_READ, // IPA 0x31000: read-only
  '0x102190': 0x4n, // IPA 0x32000: not valid, but not zero
  // Stage 1, at physical addresses
  '0x10000': 0x11000n | TABLE, // level 1
  '0x20000': 0x12000n | TABLE, // level 2: VA 0x0
  '0x20008': 0x13000n | TABLE, // VA 0x200000: stage 2 does not map this table
  '0x20010': 0x0n | BLOCK | AF | EL0, // VA 0x400000: 2M at IPA 0
  '0x20018': 0x14000n | TABLE, // VA 0x600000
  '0x21000': 0x30000n | PAGE_LEAF | AF | EL0, // level 3: VA 0x0
  '0x21008': 0x31000n | PAGE_LEAF | AF | EL0, // VA 0x1000
  '0x21010': 0x32000n | PAGE_LEAF | AF | EL0, // VA 0x2000
  '0x21018': 0x30000n | PAGE_LEAF | EL0, // VA 0x3000: AF=0
  '0x21020': (1n << 45n) | PAGE_LEAF | AF | EL0, // VA 0x4000: beyond 40 bits
};
