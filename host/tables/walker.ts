// The core's walker over the pages of a table image: the only file of the host that calls it. One instance of the core
// holds one image; regimes are set up once each, translations change nothing.

import { type Core, instantiateCore, type Pointer } from '../core/instance.js';
import { type TablePage } from './image.js';
import { type ArmStage1, type ArmStage2, type Regime, type X86Paging } from './regimes.js';

/** How an address translates (docs/paging.md). `no-memory`: a table lies outside the image. */
export type Status =
  | 'ok'
  | 'fault'
  | 'noncanon'
  | 's2-fault'
  | 's2-fault-on-s1-walk'
  | 'reserved'
  | 'address-size'
  | 'access-flag'
  | 'permission'
  | 'no-memory';

/** The core's enum Outcome by member. */
const STATUS: Readonly<Record<string, Status>> = {
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

/** What is done at the address; without one only presence decides. */
export interface Access {
  kind: 'read' | 'write' | 'fetch';
  user: boolean;
}

/** What came of a translation. */
export interface Outcome {
  status: Status;
  /** Null unless ok. */
  pa: bigint | null;
  /** Of the leaf, or where the walk stopped. */
  level: number;
  /** Of the leaf, 0 when none was reached. */
  pageBytes: bigint;
  /** Of the stage-2 leaf under the final IPA. */
  s2Level: number | null;
  s2PageBytes: bigint;
  /** The descriptor read last in the stage that decides. */
  entry: bigint;
  /** x86 page-fault error code or Arm fault status code. */
  code: number;
  /** The stage that decides. */
  stage: number;
  /** The intermediate address that stage 2 translated, or stopped at. */
  ipa: bigint | null;
  /** What both stages allow, null unless ok; bits from the lowest: user read, write, fetch, kernel read, write, fetch. */
  permissions: number | null;
}

/** One descriptor that was read. Addresses are physical. */
export interface Step {
  stage: number;
  level: number;
  tablePa: bigint;
  entryPa: bigint;
  entry: bigint;
}

const S2_LEVEL_NONE = -128;

export class Walker {
  private readonly status: readonly Status[];

  constructor(private readonly core: Core = instantiateCore()) {
    const status: Status[] = [];
    for (const [member, value] of Object.entries(core.Outcome)) status[value] = STATUS[member];
    this.status = status;
  }

  /** Makes room for a page; its bytes go into the array, which is valid until the next call. */
  addPage({ pa, bytes }: TablePage): Uint8Array {
    // Unsigned: half of the core's memory lies above 2 GiB.
    const page = this.core.addTablePage(pa, bytes) >>> 0;
    return new Uint8Array(this.core.memory.buffer, page, bytes);
  }

  /** Sets a regime up. */
  addRegime({ x86, ept, stage1, stage2 }: Regime, maxPhysBits: number): Pointer {
    const regime = this.core.createRegime();
    if (x86) this.setX86(regime, x86, maxPhysBits);
    if (ept) this.core.setEpt(regime, ept.root, ept.levels, maxPhysBits);
    if (stage1) this.setStage1(regime, stage1);
    if (stage2) this.setStage2(regime, stage2);
    return regime;
  }

  /** Translates; `steps()` tells how until the next translation. */
  translate(regime: Pointer, address: bigint, access: Access | null): Outcome {
    const { core } = this;
    const { Access: kinds } = core;
    const kind = access ? { read: kinds.Read, write: kinds.Write, fetch: kinds.Fetch }[access.kind] : kinds.Probe;
    const status = this.status[core.translate(regime, address, kind, access?.user ?? false)];
    const stage = core.outcomeStage();
    // Where stage 1 decides otherwise, the last stage-2 translation served one of its tables and says nothing of the page.
    const stage2 = (status === 'ok' || stage === 2) && core.outcomeS2Level() !== S2_LEVEL_NONE;
    return {
      status,
      pa: status === 'ok' ? u64(core.outcomePa()) : null,
      level: core.outcomeLevel(),
      pageBytes: pageBytes(core.outcomePageShift()),
      s2Level: stage2 ? core.outcomeS2Level() : null,
      s2PageBytes: stage2 ? pageBytes(core.outcomeS2PageShift()) : 0n,
      entry: u64(core.outcomeEntry()),
      code: core.outcomeCode(),
      stage,
      ipa: stage2 ? u64(core.outcomeIpa()) : null,
      permissions: status === 'ok' ? core.outcomePermissions() : null,
    };
  }

  /** The descriptors that the last translation read, in order. */
  steps(): Step[] {
    const { core } = this;
    return Array.from({ length: core.stepCount() }, (_, i) => ({
      stage: core.stepStage(i),
      level: core.stepLevel(i),
      tablePa: u64(core.stepTablePa(i)),
      entryPa: u64(core.stepEntryPa(i)),
      entry: u64(core.stepEntry(i)),
    }));
  }

  private setX86(regime: Pointer, x86: X86Paging, maxPhysBits: number): void {
    const { Control: c } = this.core;
    const controls =
      flag(x86.writeProtect, c.WriteProtect) |
      flag(x86.smep, c.Smep) |
      flag(x86.smap, c.Smap) |
      flag(x86.noExecute, c.NoExecute);
    this.core.setX86(regime, x86.root, x86.levels, maxPhysBits, controls);
  }

  private setStage1(regime: Pointer, s: ArmStage1): void {
    const { Control: c } = this.core;
    const controls =
      this.common(s) |
      flag(s.single, c.SinglePrivilege) |
      flag(s.writeExecuteNever, c.WriteExecuteNever) |
      flag(s.noHierarchy, c.NoHierarchy) |
      flag(s.topByteIgnore, c.TopByteIgnore) |
      flag(s.notWalked, c.Disabled);
    this.core.setArmStage1(regime, s.high, s.root, s.pageShift, s.bits, s.outputBits, controls);
  }

  private setStage2(regime: Pointer, s: ArmStage2): void {
    const controls = this.common(s) | flag(s.xnx, this.core.Control.Xnx);
    this.core.setArmStage2(regime, s.root, s.pageShift, s.bits, s.startLevel, s.outputBits, controls);
  }

  private common(s: ArmStage1 | ArmStage2): number {
    const { Control: c } = this.core;
    return (
      flag(s.ds, c.Ds) |
      flag(s.lpa, c.Lpa) |
      flag(s.hardwareAccess, c.HardwareAccess) |
      flag(s.hardwareDirty, c.HardwareDirty)
    );
  }
}

function flag(set: boolean, value: number): number {
  return set ? value : 0;
}

/** The core's u64 arrive as signed. */
function u64(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}

function pageBytes(shift: number): bigint {
  return shift === 0 ? 0n : 1n << BigInt(shift);
}
