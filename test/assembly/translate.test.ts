// The core's architectural walker against the oracle's: every outcome, code, permission and descriptor read, on random and malformed
// tables and on the exhaustive permission matrix. No input makes the core trap or read outside its image.

import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Core, instantiateCore, type Pointer } from '../../host/core/instance.js';
import { type Case, malformed, wellFormed } from '../oracle/arch/arbitrary.js';
import { permissionCases } from '../oracle/arch/permissions.js';
import { translate } from '../oracle/arch/translate.js';
import {
  type Access,
  type ArmTables,
  type ArmStage1,
  type Memory,
  type Outcome,
  type Regime,
} from '../oracle/arch/types.js';

type Pages = Case['pages'];

const STATUS: Record<string, Outcome['status'] | 'no-memory'> = {
  Ok: 'ok',
  Fault: 'fault',
  NonCanonical: 'noncanon',
  S2Fault: 's2-fault',
  S2FaultOnS1Walk: 's2-fault-on-s1-walk',
  Reserved: 'reserved',
  AddressSize: 'address-size',
  AccessFlag: 'access-flag',
  Permission: 'permission',
  NoMemory: 'no-memory',
};

const bits = (core: Core, flags: Record<string, boolean>) =>
  Object.entries(flags).reduce((sum, [name, on]) => sum | (on ? core.Control[name] : 0), 0);

function armControls(core: Core, arm: ArmTables, more: Record<string, boolean>): number {
  return bits(core, { Ds: arm.ds, Lpa: arm.lpa, HardwareAccess: arm.ha, HardwareDirty: arm.hd, ...more });
}

const pageShift = ({ granule }: ArmTables) => ({ 4: 12, 16: 14, 64: 16 })[granule];

function addStage1(core: Core, regime: Pointer, high: boolean, arm: ArmStage1): void {
  const controls = armControls(core, arm, {
    SinglePrivilege: arm.single,
    WriteExecuteNever: arm.wxn,
    NoHierarchy: arm.hpd,
    TopByteIgnore: arm.tbi,
    Disabled: arm.epd,
  });
  core.setArmStage1(regime, high, arm.root, pageShift(arm), arm.bits, arm.outputBits, controls);
}

/** The regime in the core. */
function regimeOf(core: Core, { stage1, stage2 }: Regime): Pointer {
  const regime = core.createRegime();
  if (stage1?.x86) {
    const { root, levels, maxPhysBits, wp, smep, smap, nxe } = stage1.x86;
    core.setX86(
      regime,
      root,
      levels,
      maxPhysBits,
      bits(core, { WriteProtect: wp, Smep: smep, Smap: smap, NoExecute: nxe }),
    );
  }
  if (stage1?.low) addStage1(core, regime, false, stage1.low);
  if (stage1?.high) addStage1(core, regime, true, stage1.high);
  if (stage2?.kind === 'ept') core.setEpt(regime, stage2.root, stage2.levels, stage2.maxPhysBits);
  if (stage2?.kind === 'arm') {
    const controls = armControls(core, stage2, { Xnx: stage2.xnx });
    core.setArmStage2(
      regime,
      stage2.root,
      pageShift(stage2),
      stage2.bits,
      stage2.startLevel,
      stage2.outputBits,
      controls,
    );
  }
  return regime;
}

function addPages(core: Core, pages: Pages): void {
  for (const [pa, words] of pages) {
    const at = core.addTablePage(pa, words.length * 8);
    new BigUint64Array(core.memory.buffer, at, words.length).set(words);
  }
}

const KINDS = { read: 'Read', write: 'Write', fetch: 'Fetch' } as const;

/** What the core answers, in the oracle's terms. */
function answer(core: Core, regime: Pointer, address: bigint, access: Access | null) {
  const code = core.translate(
    regime,
    address,
    core.Access[access ? KINDS[access.kind] : 'Probe'],
    access?.user ?? false,
  );
  const name = Object.keys(core.Outcome).find((member) => core.Outcome[member] === code)!;
  const status = STATUS[name];
  const shift = core.outcomePageShift();
  const steps = Array.from({ length: core.stepCount() }, (_, i) => ({
    stage: core.stepStage(i),
    level: core.stepLevel(i),
    entryPa: core.stepEntryPa(i),
    entry: core.stepEntry(i),
  }));
  return {
    status,
    pa: status === 'ok' ? core.outcomePa() : null,
    level: core.outcomeLevel(),
    pageBytes: shift ? 1n << BigInt(shift) : 0n,
    s2Level: core.outcomeS2Level(),
    entry: core.outcomeEntry(),
    code: core.outcomeCode(),
    steps,
  };
}

function expected(memory: Memory, regime: Regime, address: bigint, access: Access | null) {
  try {
    const { status, pa, level, pageBytes, s2Level, entry, code, steps } = translate(memory, regime, address, access);
    // The oracle names the table by its start; an entry's address says the same.
    return { status, pa, level, pageBytes, s2Level, entry, code, steps: steps.map(({ tablePa: _, ...step }) => step) };
  } catch (error) {
    if ((error as Error).message.startsWith('no memory')) return null;
    throw error;
  }
}

function agree(
  core: Core,
  pages: Pages,
  regime: Regime,
  pointer: Pointer,
  address: bigint,
  access: Access | null,
): void {
  const memory: Memory = (pa) => pages.get(pa - (pa % 4096n))?.[Number((pa % 4096n) / 8n)] ?? null;
  const wanted = expected(memory, regime, address, access);
  const got = answer(core, pointer, address, access);
  if (!wanted) {
    expect(got.status).toBe('no-memory');
    return;
  }
  // Where stage 2 neither decides nor completes the outcome, the core still knows how far its last walk got.
  const comparable = wanted.s2Level === null ? { ...got, s2Level: null } : got;
  // The runner's own comparison costs more than both walks.
  if (!isDeepStrictEqual(comparable, wanted)) expect(comparable).toEqual(wanted);
}

function agreeOn({ pages, regime, addresses, accesses }: Case): void {
  const core = instantiateCore('debug');
  addPages(core, pages);
  const pointer = regimeOf(core, regime);
  for (const address of addresses) for (const access of accesses) agree(core, pages, regime, pointer, address, access);
}

const runs = Number(process.env.NODEWALK_FUZZ_RUNS ?? 300);

describe('translation through tables agrees with the oracle', () => {
  it('on random well-formed tables of every format, one stage and two', () => {
    fc.assert(fc.property(wellFormed, agreeOn), { numRuns: runs });
  });

  it('on malformed tables', () => {
    fc.assert(fc.property(malformed, agreeOn), { numRuns: runs });
  });

  it('on every combination of permission bits, access, mode and controls', () => {
    let core = instantiateCore();
    let pages: Pages | null = null;
    let regime: Regime | null = null;
    let pointer = 0;
    let cases = 0;
    for (const one of permissionCases()) {
      if (one.pages !== pages) {
        core = instantiateCore();
        addPages(core, (pages = one.pages));
        regime = null;
      }
      if (one.regime !== regime) pointer = regimeOf(core, (regime = one.regime));
      agree(core, one.pages, one.regime, pointer, one.address, one.access);
      cases++;
    }
    expect(cases).toBeGreaterThan(10_000);
  });
});
