// What an architectural walk is given and what it answers. A regime is the control state that decides a translation, as
// plain records: roots are physical addresses (of stage 1 under stage 2: intermediate addresses), sizes are in bits.

/** x86-64 paging: CR3, CR4.LA57, MAXPHYADDR, CR0.WP, CR4.SMEP, CR4.SMAP, EFER.NXE. */
export interface X86 {
  root: bigint;
  levels: 4 | 5;
  maxPhysBits: number;
  wp: boolean;
  smep: boolean;
  smap: boolean;
  nxe: boolean;
}

/** What both stages of an Arm translation have. */
export interface ArmTables {
  root: bigint;
  /** KiB. */
  granule: 4 | 16 | 64;
  /** Address bits that the tables translate: 64 - TnSZ. */
  bits: number;
  /** Output address bits that TCR or VTCR states. */
  outputBits: number;
  /** 52-bit descriptors of the 4K and 16K granules. */
  ds: boolean;
  /** 52-bit descriptors of the 64K granule. */
  lpa: boolean;
  /** Hardware manages the access flag. */
  ha: boolean;
  /** Hardware manages dirty state. */
  hd: boolean;
}

/** One table of Arm stage 1. */
export interface ArmStage1 extends ArmTables {
  wxn: boolean;
  /** One privilege (EL2 without VHE). */
  single: boolean;
  /** Hierarchical limits are off. */
  hpd: boolean;
  /** Top byte ignore. */
  tbi: boolean;
  /** The table is not walked. */
  epd: boolean;
}

/** Arm stage 2. */
export interface ArmStage2 extends ArmTables {
  kind: 'arm';
  startLevel: number;
  /** Execute-never for each exception level. */
  xnx: boolean;
}

/** Extended page tables. */
export interface Ept {
  kind: 'ept';
  root: bigint;
  levels: 4 | 5;
  maxPhysBits: number;
}

/** x86, or the Arm table of each half of the address space; a regime with one table has no `high`. */
export interface Stage1 {
  x86?: X86;
  low?: ArmStage1;
  high?: ArmStage1 | null;
}

export type Stage2 = ArmStage2 | Ept;

/** All that decides a translation but memory. */
export interface Regime {
  stage1: Stage1 | null;
  stage2: Stage2 | null;
}

/** Why the address is translated. */
export interface Access {
  kind: 'read' | 'write' | 'fetch';
  user: boolean;
}

export type Status =
  | 'ok'
  | 'fault'
  | 'noncanon'
  | 's2-fault'
  | 's2-fault-on-s1-walk'
  | 'reserved'
  | 'address-size'
  | 'access-flag'
  | 'permission';

/** One descriptor that was read. */
export interface Step {
  stage: 1 | 2;
  level: number;
  tablePa: bigint;
  entryPa: bigint;
  entry: bigint;
}

/** The answer. */
export interface Outcome {
  status: Status;
  /** Null unless `ok`. */
  pa: bigint | null;
  /** Of the stage-1 leaf, or where the stage-1 walk stopped; of stage 2 when there is no stage 1. */
  level: number;
  /** Of the leaf of the same stage; 0 when none was reached. */
  pageBytes: bigint;
  /** The same of the last stage-2 translation when it decides or completes the outcome; null when stage 1 faults or is alone. */
  s2Level: number | null;
  s2PageBytes: bigint | null;
  /** Last descriptor read by the walk that decides, 0 if it read none; when both stages agree that is stage 1. */
  entry: bigint;
  /** x86 error code or Arm FSC; 0 for `ok`, and where the architecture has neither (EPT, a non-canonical address). */
  code: number;
  stage: 1 | 2;
  s1ptw: boolean;
  /** The address that stage 2 was asked last, when stage 2 decides or completes the outcome. */
  ipa: bigint | null;
  steps: Step[];
}

/** The 8-byte descriptor at a physical address; null where there is no memory. */
export type Memory = (pa: bigint) => bigint | null;
