// The architectural walker against captured page tables of real kernels: every address that the machine translated. The states
// are in ../shared/data/tables where that folder exists; without it there is nothing to compare.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { armLevels, stage1Start } from './arch/geometry.js';
import { translate } from './arch/translate.js';
import { type ArmStage1, type ArmStage2, type Memory, type Regime } from './arch/types.js';

const STATES = join(import.meta.dirname, '../../../shared/data/tables');

type Registers = Record<string, string>;

const field = (value: bigint, high: number, low: number) =>
  Number(BigInt.asUintN(high - low + 1, value >> BigInt(low)));
const flag = (value: bigint, bit: number) => field(value, bit, bit) === 1;
const OUTPUT_BITS = [32, 36, 40, 42, 44, 48, 52];

/** The root in TTBR or VTTBR; with 52-bit addresses bits 5:2 are 51:48. */
function rootOf(ttbr: bigint, rootBytes: bigint, wide: boolean): bigint {
  const low = BigInt.asUintN(48, ttbr);
  return wide ? ((low >> 6n) << 6n) | (BigInt(field(ttbr, 5, 2)) << 48n) : (low / rootBytes) * rootBytes;
}

/** Fields of TCR or VTCR that lie elsewhere in each register. */
interface Fields {
  granule: 4 | 16 | 64;
  size: number;
  ips: number;
  ds: boolean;
  ha: boolean;
  hd: boolean;
}

function geometryOf({ granule, size, ips, ds, ha, hd }: Fields) {
  const lpa = granule === 64 && ips === 6;
  return { granule, bits: 64 - size, outputBits: OUTPUT_BITS[ips], ds: granule !== 64 && ds, lpa, ha, hd };
}

function stage1(ttbr: bigint, fields: Fields, rest: Pick<ArmStage1, 'tbi' | 'hpd' | 'epd' | 'single'>): ArmStage1 {
  const geometry = geometryOf(fields);
  const [{ indexBits }] = armLevels(geometry.granule, geometry.bits, stage1Start(geometry.granule, geometry.bits));
  return { ...geometry, ...rest, wxn: false, root: rootOf(ttbr, 8n << indexBits, geometry.ds || geometry.lpa) };
}

const granule0 = (tcr: bigint) => ([4, 64, 16] as const)[field(tcr, 15, 14)];
const granule1 = (tcr: bigint) => ([64, 16, 4, 64] as const)[field(tcr, 31, 30)];

/** A regime with two tables: EL1&0, or EL2&0 with the same fields in the EL2 registers. */
function twoTables(registers: Registers, el: 1 | 2): Regime['stage1'] {
  const tcr = BigInt(registers[`TCR_EL${el}`]);
  const both = { ips: field(tcr, 34, 32), ds: flag(tcr, 59), ha: flag(tcr, 39), hd: flag(tcr, 40) };
  const [low, high] = [BigInt(registers[`TTBR0_EL${el}`]), BigInt(registers[`TTBR1_EL${el}`])];
  return {
    low: stage1(
      low,
      { granule: granule0(tcr), size: field(tcr, 5, 0), ...both },
      { tbi: flag(tcr, 37), hpd: flag(tcr, 41), epd: flag(tcr, 7), single: false },
    ),
    high: stage1(
      high,
      { granule: granule1(tcr), size: field(tcr, 21, 16), ...both },
      { tbi: flag(tcr, 38), hpd: flag(tcr, 42), epd: flag(tcr, 23), single: false },
    ),
  };
}

/** EL2 without VHE. */
function oneTable(registers: Registers): Regime['stage1'] {
  const tcr = BigInt(registers.TCR_EL2);
  const both = { ips: field(tcr, 18, 16), ds: flag(tcr, 32), ha: flag(tcr, 21), hd: flag(tcr, 22) };
  return {
    low: stage1(
      BigInt(registers.TTBR0_EL2),
      { granule: granule0(tcr), size: field(tcr, 5, 0), ...both },
      { tbi: flag(tcr, 20), hpd: flag(tcr, 24), epd: false, single: true },
    ),
  };
}

function stage2(registers: Registers): ArmStage2 {
  const vtcr = BigInt(registers.VTCR_EL2);
  const granule = granule0(vtcr);
  const fields = { granule, size: field(vtcr, 5, 0), ips: field(vtcr, 18, 16), ds: flag(vtcr, 32) };
  const geometry = geometryOf({ ...fields, ha: flag(vtcr, 21), hd: flag(vtcr, 22) });
  const startLevel = (granule === 4 ? 2 : 3) - field(vtcr, 7, 6);
  const [{ indexBits }] = armLevels(granule, geometry.bits, startLevel);
  const root = rootOf(BigInt(registers.VTTBR_EL2), 8n << indexBits, geometry.ds || geometry.lpa);
  return { kind: 'arm', ...geometry, startLevel, root, xnx: false };
}

/** The regime of a context of the truth, such as ttbr1_cpu0. */
function regimeOf(context: string, registers: Registers, x86Levels: 4 | 5): Regime {
  if (registers.cr3) {
    const controls = { maxPhysBits: 52, wp: true, smep: true, smap: true, nxe: true };
    return { stage1: { x86: { root: BigInt(registers.cr3), levels: x86Levels, ...controls } }, stage2: null };
  }
  if (context.startsWith('s2_')) return { stage1: null, stage2: stage2(registers) };
  if (context.startsWith('el2')) return { stage1: oneTable(registers), stage2: null };
  const hcr = BigInt(registers.HCR_EL2 ?? 0);
  const host = flag(hcr, 34) && flag(hcr, 27); // E2H and TGE
  if (host) return { stage1: twoTables(registers, 2), stage2: null };
  return { stage1: twoTables(registers, 1), stage2: flag(hcr, 0) ? stage2(registers) : null };
}

/** The table pages of a state. */
function memoryOf(state: string): Memory {
  const bytes = readFileSync(join(STATES, state, 'tablepages.bin'));
  const [, ...rows] = readFileSync(join(STATES, state, 'tablepages.csv'), 'utf8')
    .trim()
    .split('\n');
  const pages = new Map<bigint, number>();
  const pageBytes = Number(rows[0].split(',')[2]);
  for (const row of rows) {
    const [index, pa] = row.split(',');
    pages.set(BigInt(pa), Number(index) * pageBytes);
  }
  return (pa) => {
    const offset = pa % BigInt(pageBytes);
    const page = pages.get(pa - offset);
    return page === undefined ? null : bytes.readBigUInt64LE(page + Number(offset));
  };
}

describe('captured tables', () => {
  const present = existsSync(STATES);
  test.skipIf(!present).each(present ? readdirSync(STATES) : ['none'])('%s translates as the machine did', (state) => {
    const registers = JSON.parse(readFileSync(join(STATES, state, 'registers.json'), 'utf8'));
    const memory = memoryOf(state);
    const [, ...rows] = readFileSync(join(STATES, state, 'truth.csv'), 'utf8')
      .trim()
      .split('\n');
    const different = rows.filter((row) => {
      const [context, cpu, va, pa, status, level, pageBytes] = row.split(',');
      const regime = regimeOf(context, registers.cpus[cpu], registers.levels);
      const found = translate(memory, regime, BigInt(va), null);
      const s2Level = /^ok\+s2L(\d)$/.exec(status)?.[1]; // the level of the stage-2 leaf
      return (
        found.status !== (s2Level === undefined ? status : 'ok') ||
        (s2Level !== undefined && found.s2Level !== Number(s2Level)) ||
        (found.status === 'ok' && found.pa !== BigInt(pa)) ||
        (found.status !== 'noncanon' && found.level !== Number(level)) ||
        found.pageBytes !== BigInt(pageBytes || 0)
      );
    });
    expect(different).toEqual([]);
    expect(rows.length).toBeGreaterThan(1000); // every state has thousands
  });
});
