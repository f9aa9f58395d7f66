// The roots of a table image by name: cr3_cpuN, ttbr0_cpuN, ttbr1_cpuN, el2_cpuN, el2, s2_host, s2_guest_cpuN
// (docs/tables.md). A root's registers are decoded when it is used, so that one CPU's odd registers do not make the whole
// image unusable.

import { type TableImage, rootsAt } from './image.js';
import {
  type ArmBank,
  armStage1,
  armStage2,
  eptPaging,
  hostAtEl2,
  mmuOn,
  pages64,
  type Regime,
  underStage2,
  virtualHost,
  x86Paging,
} from './regimes.js';
import { type CpuRegisters } from './registers.js';

/** The root names of an image, each with the regime that it stands for. */
export type Roots = ReadonlyMap<string, () => Regime>;

/** All roots that the image's registers describe. */
export function rootsOf(image: TableImage): Roots {
  const roots = new Map<string, () => Regime>();
  /** A name for the whole machine stands for the CPU with the lowest number. */
  const add = (name: string, regime: () => Regime) => {
    if (!roots.has(name)) roots.set(name, regime);
  };
  for (const registers of image.registers.cpus) {
    if (image.registers.arch === 'arm64') addArm(image, registers, add);
    else addX86(registers, add);
  }
  return roots;
}

function addX86(registers: CpuRegisters, add: (name: string, regime: () => Regime) => void): void {
  const { cpu } = registers;
  const guest = registers.has('EPTP');
  if (pages64(registers)) {
    add(`cr3_cpu${cpu}`, () => ({ x86: x86Paging(registers), ept: guest ? eptPaging(registers) : undefined }));
  }
  if (guest) add(`s2_guest_cpu${cpu}`, () => ({ ept: eptPaging(registers) }));
}

function addArm(image: TableImage, registers: CpuRegisters, add: (name: string, regime: () => Regime) => void): void {
  const { cpu } = registers;
  const stage1 = (bank: ArmBank, high: boolean) => () => ({
    stage1: armStage1(registers, bank, high),
    stage2: bank === 'EL1' && underStage2(registers) ? armStage2(registers) : undefined,
  });
  const kernel = hostAtEl2(registers) ? 'EL2' : 'EL1';
  if (mmuOn(registers, kernel)) {
    add(`ttbr0_cpu${cpu}`, stage1(kernel, false));
    add(`ttbr1_cpu${cpu}`, stage1(kernel, true));
  }
  if (!virtualHost(registers) && registers.has('TTBR0_EL2') && mmuOn(registers, 'EL2')) {
    add(`el2_cpu${cpu}`, stage1('EL2', false));
    add('el2', stage1('EL2', false));
  }
  const name = stage2Name(image, registers);
  if (name) add(name, () => ({ stage2: armStage2(registers) }));
}

/**
 * What a CPU's stage 2 is called, null when it has none. The roles of its root page say so; else, with VHE, a stage 2 is
 * always a guest's, and without it is taken as the host's.
 */
function stage2Name(image: TableImage, registers: CpuRegisters): string | null {
  if (!registers.has('VTTBR_EL2')) return null;
  const guest = `s2_guest_cpu${registers.cpu}`;
  const granule = BigInt(image.pages[0]?.bytes ?? 4096);
  const root = registers.get('VTTBR_EL2') & 0xffff_ffff_ffffn & ~(granule - 1n);
  const named = rootsAt(image, root);
  if (named.has(guest)) return guest;
  if (named.has('s2_host')) return 's2_host';
  if (!underStage2(registers)) return null;
  return virtualHost(registers) ? guest : 's2_host';
}
