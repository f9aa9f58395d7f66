// What registers mean: the encodings in which the architecture is not uniform, each taken from its register's definition.

import { describe, expect, it } from 'vitest';
import { armStage1, armStage2, x86Paging } from '../../../host/tables/regimes.js';
import { CpuRegisters } from '../../../host/tables/registers.js';

const cpu = (values: Record<string, bigint>) => new CpuRegisters(0, new Map(Object.entries(values)), 'registers.json');
const PARANGE_52 = { ID_AA64MMFR0_EL1: 6n };
const DS = 1n << 59n;
const IPS_52 = 6n << 32n;

function stage1(tcr: bigint, others: Record<string, bigint> = {}, high = false) {
  const registers = { TCR_EL1: tcr, SCTLR_EL1: 1n, TTBR0_EL1: 0n, TTBR1_EL1: 0n, ...others };
  return armStage1(cpu(registers), 'EL1', high);
}

describe('Arm stage 1', () => {
  it.each([
    [0n, 12],
    [1n, 16],
    [2n, 14],
  ])('TG0 = %i is granule 2^%i', (tg0, pageShift) => {
    expect(stage1((tg0 << 14n) | 16n)).toMatchObject({ pageShift, bits: 48 });
  });

  it.each([
    [1n, 14],
    [2n, 12],
    [3n, 16],
  ])('TG1 = %i is granule 2^%i', (tg1, pageShift) => {
    expect(stage1((tg1 << 30n) | (25n << 16n), {}, true)).toMatchObject({ pageShift, bits: 39 });
  });

  it('refuses a reserved granule, unless the table is not walked', () => {
    expect(() => stage1(3n << 14n)).toThrow(/cpu 0: expected a granule in TCR_EL1/);
    expect(stage1((3n << 14n) | (1n << 7n))).toMatchObject({ notWalked: true });
  });

  it('a root has TTBR bits 47:x, without ASID and CnP', () => {
    // 4K, 48 bits: the root is a page. 16K, 48 bits: two entries, 16 bytes.
    expect(stage1(16n, { TTBR0_EL1: 0x0005_0000_4185_8001n }).root).toBe(0x4185_8000n);
    expect(stage1((2n << 14n) | 16n, { TTBR0_EL1: 0x4185_8011n }).root).toBe(0x4185_8010n);
  });

  it('4K with DS and 52 bits: the root has 16 entries, TTBR bits 5:2 are its address bits 51:48', () => {
    // 16 entries are 128 bytes, so the root lies at bits 47:7; 0b1010 << 2 gives 0xa at 51:48.
    const regime = stage1(DS | IPS_52 | 12n, { ...PARANGE_52, TTBR0_EL1: 0x4185_80a8n });
    expect(regime).toMatchObject({ bits: 52, ds: true, outputBits: 52, root: 0xa_0000_4185_8080n });
  });

  it('64K reaches 52 bits when the CPU does, and ignores DS', () => {
    const tcr = (1n << 14n) | DS | IPS_52 | 12n;
    expect(stage1(tcr, { ...PARANGE_52, TTBR0_EL1: 0x4061_0004n })).toMatchObject({
      ...{ ds: false, lpa: true, outputBits: 52, root: 0x1_0000_4061_0000n },
    });
    // PARange 5: 48 bits, whatever IPS says.
    expect(stage1(tcr, { ID_AA64MMFR0_EL1: 5n })).toMatchObject({ lpa: false, outputBits: 48 });
  });

  it('IPS = 52 counts as 48 where the descriptors have no room', () => {
    expect(stage1(IPS_52 | 16n, PARANGE_52).outputBits).toBe(48);
  });

  it('dirty management needs access-flag management', () => {
    const [ha, hd] = [1n << 39n, 1n << 40n];
    expect(stage1(ha | hd | 16n)).toMatchObject({ hardwareAccess: true, hardwareDirty: true });
    expect(stage1(hd | 16n)).toMatchObject({ hardwareAccess: false, hardwareDirty: false });
  });

  it('HPDn, TBIn and EPDn are those of the table', () => {
    // TTBR1's: EPD1 23, TBI1 38, HPD1 42; TG1 = 2.
    const tcr = (1n << 23n) | (1n << 38n) | (1n << 42n) | (2n << 30n) | (16n << 16n) | 16n;
    expect(stage1(tcr, {}, true)).toMatchObject({ notWalked: true, topByteIgnore: true, noHierarchy: true });
    expect(stage1(tcr)).toMatchObject({ notWalked: false, topByteIgnore: false, noHierarchy: false });
  });

  it('TCR_EL2 has its own layout without E2H, and the layout of TCR_EL1 with it', () => {
    // PS 18:16, TBI 20, HA 21, HD 22, HPD 24.
    const tcr = (5n << 16n) | (1n << 20n) | (1n << 21n) | (1n << 22n) | (1n << 24n) | 16n;
    const registers = { TCR_EL2: tcr, TTBR0_EL2: 0x7f20_3001n, SCTLR_EL2: (1n << 19n) | 1n };
    expect(armStage1(cpu(registers), 'EL2', false)).toMatchObject({
      ...{ single: true, bits: 48, outputBits: 48, topByteIgnore: true, hardwareAccess: true, hardwareDirty: true },
      ...{ noHierarchy: true, writeExecuteNever: true, root: 0x7f20_3000n },
    });
    const vhe = { ...registers, TCR_EL2: IPS_52 | 25n, HCR_EL2: 1n << 34n };
    expect(armStage1(cpu(vhe), 'EL2', false)).toMatchObject({ single: false, bits: 39, hardwareAccess: false });
  });
});

describe('Arm stage 2', () => {
  const stage2 = (vtcr: bigint, others: Record<string, bigint> = {}) =>
    armStage2(cpu({ VTCR_EL2: vtcr, VTTBR_EL2: 0n, ...others }));

  // The granule in TG0 15:14, SL0 7:6, SL2 33.
  it.each([
    ['4K', 0n, 0n, 2],
    ['4K', 0n, 1n, 1],
    ['4K', 0n, 2n, 0],
    ['4K', 0n, 3n, 3],
    ['16K', 2n, 0n, 3],
    ['16K', 2n, 1n, 2],
    ['16K', 2n, 3n, 0],
    ['64K', 1n, 2n, 1],
  ])('%s (TG0 %i) with SL0 %i starts at level %i', (_, tg0, sl0, startLevel) => {
    expect(stage2((tg0 << 14n) | (sl0 << 6n) | 24n).startLevel).toBe(startLevel);
  });

  it('4K with SL2 starts at level -1', () => {
    expect(stage2((1n << 33n) | (1n << 32n) | 12n)).toMatchObject({ startLevel: -1, ds: true, bits: 52 });
  });

  it('concatenated tables align the root, and the VMID is no part of it', () => {
    // 40 bits from level 1: 2 tables, 8 KiB.
    const vtcr = (1n << 6n) | 24n;
    expect(stage2(vtcr, { VTTBR_EL2: 0x0001_0000_603a_9001n }).root).toBe(0x603a_8000n);
  });

  it('FEAT_XNX comes from ID_AA64MMFR1_EL1 bits 31:28', () => {
    expect(stage2(24n, { ID_AA64MMFR1_EL1: 1n << 28n }).xnx).toBe(true);
    expect(stage2(24n, { ID_AA64MMFR1_EL1: 1n << 24n }).xnx).toBe(false);
  });
});

describe('x86-64', () => {
  const registers = { CR0: 0x8000_0001n, CR4: 0n, EFER: 0x500n, CR3: 0x8000_0000_1234_5fffn };

  it('CR3 is the root at bits 51:12, LA57 the fifth level', () => {
    expect(x86Paging(cpu(registers))).toMatchObject({ root: 0x1234_5000n, levels: 4, smep: false, noExecute: false });
    const all = { ...registers, CR0: 0x8001_0001n, CR4: (1n << 12n) | (1n << 20n) | (1n << 21n), EFER: 0xd00n };
    expect(x86Paging(cpu(all))).toMatchObject({
      ...{ levels: 5, writeProtect: true, smep: true, smap: true, noExecute: true },
    });
  });

  it('names a register that is missing', () => {
    expect(() => x86Paging(cpu({ CR0: 1n }))).toThrow(/registers.json: cpu 0: expected the register CR4, found none/);
  });
});
