// Translation regimes: what a CPU's registers say about how it walks its tables, decoded for x86-64 (Intel SDM vol. 3,
// 2.5 and 4) and for Arm (DDI 0487, D19: TCR_ELx, TTBRx_ELx, SCTLR_ELx, VTCR_EL2, VTTBR_EL2). docs/paging.md has the rules.

import { bit, type CpuRegisters, field } from './registers.js';

/** x86-64 paging with four or five levels. */
export interface X86Paging {
  root: bigint;
  levels: 4 | 5;
  writeProtect: boolean;
  smep: boolean;
  smap: boolean;
  noExecute: boolean;
}

/** What the two Arm stages have in common. */
interface ArmPaging {
  root: bigint;
  pageShift: number;
  /** Bits of an input address. */
  bits: number;
  /** Bits of an output address. */
  outputBits: number;
  /** 4K or 16K granule with 52-bit descriptors. */
  ds: boolean;
  /** 64K granule with 52-bit descriptors. */
  lpa: boolean;
  hardwareAccess: boolean;
  hardwareDirty: boolean;
}

/** One table of an Arm stage 1. */
export interface ArmStage1 extends ArmPaging {
  high: boolean;
  /** One privilege level: EL2 without VHE. */
  single: boolean;
  writeExecuteNever: boolean;
  noHierarchy: boolean;
  topByteIgnore: boolean;
  /** EPDn is set: nothing is walked, no address is covered. */
  notWalked: boolean;
  mair: bigint;
}

/** An Arm stage 2. */
export interface ArmStage2 extends ArmPaging {
  startLevel: number;
  /** FEAT_XNX: execute-never for EL0 and EL1 apart. */
  xnx: boolean;
}

/** The extended page tables of a virtual machine on x86-64. */
export interface EptPaging {
  root: bigint;
  levels: number;
}

/** One regime as a root names it: a stage 1, alone or under a stage 2, or a stage 2 alone. */
export interface Regime {
  x86?: X86Paging;
  ept?: EptPaging;
  stage1?: ArmStage1;
  stage2?: ArmStage2;
}

/** The registers of one Arm stage-1 regime. */
export type ArmBank = 'EL1' | 'EL2';

/** log2 of the granule by TG0 (of TCR and VTCR) and by TG1. */
const TG0 = [12, 16, 14];
const TG1 = [undefined, 14, 12, 16];
const OUTPUT_BITS = [32, 36, 40, 42, 44, 48, 52];
/** IPS or PS for 52 bits. */
const PS_52 = 6;

/** Whether the CPU is in 4- or 5-level paging: one that was never started has no tables. */
export function pages64(registers: CpuRegisters): boolean {
  return bit(registers.get('CR0'), 31) && bit(registers.get('EFER'), 10);
}

/** The paging of an x86-64 CPU. */
export function x86Paging(registers: CpuRegisters): X86Paging {
  const [cr0, cr4, efer] = ['CR0', 'CR4', 'EFER'].map((name) => registers.need(name));
  return {
    root: alignedRoot(registers.need('CR3'), 52, 12),
    levels: bit(cr4, 12) ? 5 : 4,
    writeProtect: bit(cr0, 16),
    smep: bit(cr4, 20),
    smap: bit(cr4, 21),
    noExecute: bit(efer, 11),
  };
}

/** The tables that EPTP points to (Intel SDM vol. 3, 25.6.11): bits 5:3 are the levels less one. */
export function eptPaging(registers: CpuRegisters): EptPaging {
  const eptp = registers.need('EPTP');
  return { root: alignedRoot(eptp, 52, 12), levels: field(eptp, 5, 3) + 1 };
}

/** Whether the CPU runs its host kernel at EL2 (VHE). */
export function hostAtEl2(registers: CpuRegisters): boolean {
  return virtualHost(registers) && bit(registers.get('HCR_EL2'), 27);
}

/** HCR_EL2.E2H: EL2 has two tables, and its TCR the layout of EL1's. */
export function virtualHost(registers: CpuRegisters): boolean {
  return bit(registers.get('HCR_EL2'), 34);
}

/** SCTLR_ELx.M: the regime walks tables at all. */
export function mmuOn(registers: CpuRegisters, bank: ArmBank): boolean {
  return bit(registers.get(`SCTLR_${bank}`, 1n), 0);
}

/** HCR_EL2.VM: EL1 and EL0 run under a stage 2. */
export function underStage2(registers: CpuRegisters): boolean {
  return bit(registers.get('HCR_EL2'), 0);
}

/** Table 0 or 1 of a stage-1 regime. */
export function armStage1(registers: CpuRegisters, bank: ArmBank, high: boolean): ArmStage1 {
  const tcr = registers.need(`TCR_${bank}`);
  const ttbr = registers.need(`TTBR${high ? 1 : 0}_${bank}`);
  const sctlr = registers.need(`SCTLR_${bank}`);
  const single = bank === 'EL2' && !virtualHost(registers);
  const f = single ? singleTableControls(tcr) : twoTableControls(tcr, high);
  const range = physicalRange(registers);
  const pageShift = f.pageShift ?? (f.notWalked ? 12 : registers.refuse(`a granule in TCR_${bank}`, 'none'));
  const bits = 64 - f.size;
  const stride = pageShift - 3;
  const levels = Math.max(Math.ceil((bits - pageShift) / stride), 1);
  const ds = f.ds && pageShift !== 16;
  const lpa = pageShift === 16 && range >= 52;
  return {
    root: rootOf(ttbr, bits - pageShift - (levels - 1) * stride, ds || (lpa && f.ps === PS_52)),
    ...{ high, single, pageShift, bits, ds, lpa },
    outputBits: outputBits(f.ps, range, ds || lpa),
    hardwareAccess: f.ha,
    hardwareDirty: f.ha && f.hd,
    writeExecuteNever: bit(sctlr, 19),
    noHierarchy: f.hpd,
    topByteIgnore: f.tbi,
    notWalked: f.notWalked,
    mair: registers.get(`MAIR_${bank}`),
  };
}

/** The stage 2 that VTTBR_EL2 and VTCR_EL2 describe. */
export function armStage2(registers: CpuRegisters): ArmStage2 {
  const vtcr = registers.need('VTCR_EL2');
  const pageShift = TG0[field(vtcr, 15, 14)] ?? registers.refuse('a granule in VTCR_EL2', 'none');
  const bits = 64 - field(vtcr, 5, 0);
  const sl0 = field(vtcr, 7, 6);
  const startLevel = pageShift !== 12 ? 3 - sl0 : sl0 === 3 ? 3 : sl0 === 0 && bit(vtcr, 33) ? -1 : 2 - sl0;
  const ps = field(vtcr, 18, 16);
  const range = physicalRange(registers);
  const ds = bit(vtcr, 32) && pageShift !== 16;
  const lpa = pageShift === 16 && range >= 52;
  const below = pageShift + (3 - startLevel) * (pageShift - 3);
  return {
    root: rootOf(registers.need('VTTBR_EL2'), bits - below, ds || (lpa && ps === PS_52)),
    ...{ pageShift, bits, startLevel, ds, lpa },
    outputBits: outputBits(ps, range, ds || lpa),
    hardwareAccess: bit(vtcr, 21),
    hardwareDirty: bit(vtcr, 21) && bit(vtcr, 22),
    xnx: field(registers.get('ID_AA64MMFR1_EL1'), 31, 28) !== 0,
  };
}

/** TCR_EL1, and TCR_EL2 with E2H. */
function twoTableControls(tcr: bigint, high: boolean) {
  const n = high ? 1 : 0;
  return {
    size: high ? field(tcr, 21, 16) : field(tcr, 5, 0),
    pageShift: high ? TG1[field(tcr, 31, 30)] : TG0[field(tcr, 15, 14)],
    notWalked: bit(tcr, high ? 23 : 7),
    ps: field(tcr, 34, 32),
    tbi: bit(tcr, 37 + n),
    ha: bit(tcr, 39),
    hd: bit(tcr, 40),
    hpd: bit(tcr, 41 + n),
    ds: bit(tcr, 59),
  };
}

/** TCR_EL2 without E2H. */
function singleTableControls(tcr: bigint): ReturnType<typeof twoTableControls> {
  return {
    size: field(tcr, 5, 0),
    pageShift: TG0[field(tcr, 15, 14)],
    notWalked: false,
    ps: field(tcr, 18, 16),
    tbi: bit(tcr, 20),
    ha: bit(tcr, 21),
    hd: bit(tcr, 22),
    hpd: bit(tcr, 24),
    ds: bit(tcr, 32),
  };
}

/** Bits of a physical address that the CPU has; 52 when the capture does not say. */
function physicalRange(registers: CpuRegisters): number {
  if (!registers.has('ID_AA64MMFR0_EL1')) return 52;
  return OUTPUT_BITS[Math.min(field(registers.get('ID_AA64MMFR0_EL1'), 3, 0), PS_52)];
}

function outputBits(ps: number, range: number, wide: boolean): number {
  return Math.min(OUTPUT_BITS[Math.min(ps, PS_52)], range, wide ? 52 : 48);
}

/** The root in a TTBR or VTTBR: aligned to its own size; with 52-bit addresses bits 5:2 are 51:48. */
function rootOf(ttbr: bigint, rootBits: number, wide: boolean): bigint {
  const shift = Math.max(rootBits + 3, wide ? 6 : 4);
  const root = alignedRoot(ttbr, 48, shift);
  return wide ? root | (BigInt(field(ttbr, 5, 2)) << 48n) : root;
}

/** Bits high-1:shift of a register. */
function alignedRoot(value: bigint, high: number, shift: number): bigint {
  return value & ((1n << BigInt(high)) - 1n) & ~((1n << BigInt(shift)) - 1n);
}
