// VMSAv8-64 (Arm ARM DDI 0487, D8): stage 1 with two privileges or one, and stage 2. Left out: PSTATE.PAN (taken as 0),
// permission indirection, the Secure state. The contiguous bit is a hint: entries of a run count as single pages here.
import { addressInArm, ARM, isWide } from './encode.js';
import { armBlockLevels, armLevels, granuleShift, stage1Start } from './geometry.js';
import { type Failure, type Tables } from './tables.js';
import { type Access, type ArmStage1, type ArmStage2, type ArmTables } from './types.js';

const has = (entry: bigint, bit: bigint) => (entry & bit) !== 0n;

/** HD has no effect unless HA is set too. */
const managesDirty = ({ ha, hd }: ArmTables) => ha && hd;

/** ESR.FSC: six bits, of which the low two are the level; level -1 has codes of its own. */
export function faultStatusCode(status: Failure, level: number): number {
  const class_ = { 'address-size': 0b0000, fault: 0b0001, 'access-flag': 0b0010, permission: 0b0011 }[
    status as 'fault'
  ];
  if (level >= 0) return (class_ << 2) | level;
  return status === 'address-size' ? 0b101001 : 0b101011;
}

/** What both stages share; `first` is the first level. */
function common(regime: ArmTables, first: number): Omit<Tables, 'outside' | 'refused'> {
  const wide = isWide(regime);
  const blocks = armBlockLevels(regime.granule, wide);
  const outputBits = BigInt(wide ? regime.outputBits : Math.min(regime.outputBits, 48));
  const target: Tables['target'] = (entry, { shift }, kind) =>
    addressInArm(regime, entry, kind === 'leaf' ? shift : granuleShift(regime.granule));
  return {
    root: regime.root,
    levels: armLevels(regime.granule, regime.bits, first),
    kind: (entry, { level }) => {
      if (!has(entry, ARM.VALID)) return 'none';
      if (level === 3) return has(entry, ARM.TABLE) ? 'leaf' : 'none';
      if (has(entry, ARM.TABLE)) return 'table';
      return blocks.includes(level) ? 'leaf' : 'none';
    },
    target,
    malformed: (entry, level, kind) => (target(entry, level, kind) >> outputBits === 0n ? null : 'address-size'),
    code: faultStatusCode,
  };
}

/** One table of stage 1; `halves`: whether VA bit 55 chose it among two. */
export function armStage1Tables(regime: ArmStage1, halves: boolean): Tables {
  const { bits, tbi, epd, ha, hpd, wxn, single } = regime;
  return {
    ...common(regime, stage1Start(regime.granule, bits)),

    outside: (va) => {
      const sign = halves && ((va >> 55n) & 1n) === 1n;
      const checked = (tbi ? BigInt.asUintN(56, va) : va) >> BigInt(bits);
      const expected = sign ? (1n << BigInt((tbi ? 56 : 64) - bits)) - 1n : 0n;
      return epd || checked !== expected ? { status: 'fault', level: 0 } : null;
    },

    refused: (entries, { kind, user }) => {
      const leaf = entries[entries.length - 1];
      if (!has(leaf, ARM.AF) && !ha) return 'access-flag';
      const limits = hpd ? 0n : entries.slice(0, -1).reduce((a, b) => a | b, 0n);
      const writable =
        (!has(leaf, ARM.AP_RO) || (managesDirty(regime) && has(leaf, ARM.DBM))) && !has(limits, ARM.APTABLE_RO);
      const uxn = has(leaf, ARM.UXN) || has(limits, ARM.UXN_TABLE);
      const pxn = has(leaf, ARM.PXN) || has(limits, ARM.PXN_TABLE);
      const el0 = has(leaf, ARM.AP_EL0) && !has(limits, ARM.APTABLE_NO_EL0);

      let allowed: Record<Access['kind'], boolean>;
      if (single) allowed = { read: true, write: writable, fetch: !uxn && !(wxn && writable) };
      else if (user) allowed = { read: el0, write: el0 && writable, fetch: !uxn && !(wxn && el0 && writable) };
      else allowed = { read: true, write: writable, fetch: !pxn && !(el0 && writable) && !(wxn && writable) };
      return allowed[kind] ? null : 'permission';
    },
  };
}

/** Stage 2. */
export function armStage2Tables(regime: ArmStage2): Tables {
  const { bits, startLevel, ha, xnx } = regime;
  return {
    ...common(regime, startLevel),

    outside: (ipa) => (ipa >> BigInt(bits) === 0n ? null : { status: 'fault', level: startLevel }),

    refused: (entries, { kind, user }) => {
      const leaf = entries[entries.length - 1];
      if (!has(leaf, ARM.AF) && !ha) return 'access-flag';
      // XN[1:0]: 00 both, 01 EL0 only, 10 none, 11 EL1 only. Without FEAT_XNX the low bit is not looked at.
      const xn = Number((leaf >> 53n) & 3n) & (xnx ? 0b11 : 0b10);
      const executable = xn === 0b00 || (user ? xn === 0b01 : xn === 0b11);
      const allowed = {
        read: has(leaf, ARM.S2_R),
        write: has(leaf, ARM.S2_W) || (managesDirty(regime) && has(leaf, ARM.DBM)),
        fetch: executable,
      };
      return allowed[kind] ? null : 'permission';
    },
  };
}
