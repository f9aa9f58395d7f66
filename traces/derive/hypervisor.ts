// What a captured hypervisor (pKVM) does to the stage 2 of its host and to its own tables, from its stores to them: the
// net effect of each stay at EL2, from the fetch at the exception vector to the CPU's next row at a lower level.
//
// One stay that maps one new leaf of the host's stage 2, where there was nothing before, is a fault of the host; pages that
// hypercalls share carry a state in the software bits of their leaf, and pages that it owns an owner in an invalid entry.

import { FETCH } from '../batch.js';
import { armGeometry, type Geometry } from './geometry.js';
import { type Snapshot } from './snapshot.js';
import { without, Translations, type Leaf, type Stretch } from './translations.js';

/** What a stay at EL2 did, before the row at which it began. Operands are those of traces/events.ts. */
export interface HypervisorEvent {
  what: 's2_fault' | 's2_unmap' | 'hyp_map' | 'hyp_unmap';
  row: number;
  operands: readonly number[];
}

/** What is counted, for the metadata. */
export interface HypervisorCounts {
  /** Stays at EL2, and leaves of the host's stage 2 that hypercalls mapped. */
  stays: number;
  mappedByHypercalls: number;
  /** Rows of the host with a physical address, and how many of them its stage 2 maps to themselves. */
  hostRows: number;
  explained: number;
}

/** One stay of a CPU at EL2. */
interface Stay {
  row: number;
  /** It began at the vector: nothing of it is missing before. */
  entered: boolean;
  stage2: Changes;
  own: Changes;
}

/** Leaves that were there before, and those that are there now instead. */
interface Changes {
  before: Leaf[];
  now: Map<number, Leaf>;
}

/** Offset of the vector for synchronous exceptions from a lower level in AArch64; VBAR is a multiple of 2 KiB. */
const VECTOR_BYTES = 0x800;
const VECTOR = 0x400;
/** Software bits of a leaf, 55 to 58: what pKVM notes of a page that is not simply the host's. */
const STATE_HIGH = 0xf << 23;
const ACCESS_FLAG = 1 << 10;
/** S2AP and XN of a stage-2 leaf. */
const PERMISSIONS_LOW = 3 << 6;
const PERMISSIONS_HIGH = 3 << 21;
const [TRANSLATION, PERMISSION, ACCESS] = [0, 1, 2];
const HOST = 0;
const PAGES = 1 << 16;

export class Hypervisor {
  readonly counts: HypervisorCounts = { stays: 0, mappedByHypercalls: 0, hostRows: 0, explained: 0 };
  private stage2!: Translations;
  private own!: Translations;
  private readonly stays: (Stay | undefined)[] = [];
  private vector = -1;
  /** Of the pages that were looked up last: number, version of the tables and answer. */
  private version = 0;
  private readonly looked = {
    page: new Float64Array(PAGES).fill(-1),
    version: new Int32Array(PAGES),
    explained: new Uint8Array(PAGES),
  };

  /** @param events is told what happened, each stay when it ends */
  constructor(private readonly events: (event: HypervisorEvent) => void) {}

  /** Whether a snapshot has the tables of a host under a stage 2, and those of its hypervisor. */
  static isIn(snapshot: Snapshot): boolean {
    return tablesOf(snapshot) !== null;
  }

  /** Starts from a snapshot. */
  reset(snapshot: Snapshot): void {
    this.gap();
    const { stage2, own } = tablesOf(snapshot)!;
    const pages = new Map(snapshot.pages.map(({ pa, data }) => [Number(pa), data]));
    this.stage2 = new Translations(stage2.geometry, stage2.root, pages);
    this.own = new Translations(own.geometry, own.root, pages);
    this.version++;
  }

  /** Something was not recorded: stays that go on have no end. */
  gap(): void {
    for (const cpu of this.stays.keys()) this.leave(cpu);
  }

  /** A row at EL2. A stay begins with a CPU's first one, and at the vector. */
  row(cpu: number, kind: number, va: number, row: number): void {
    const fetched = kind === FETCH && va % VECTOR_BYTES === VECTOR;
    if (!this.stays[cpu] && fetched) this.vector = va;
    const entered = fetched && va === this.vector;
    if (entered) this.leave(cpu);
    if (this.stays[cpu]) return;
    const none = (): Changes => ({ before: [], now: new Map() });
    this.stays[cpu] = { row, entered, stage2: none(), own: none() };
    this.counts.stays++;
  }

  /** A store of 8 bytes by the stay of a CPU. */
  store(cpu: number, pa: number, low: number, high: number): void {
    const stay = this.stays[cpu]!;
    for (const [tables, changes] of [
      [this.stage2, stay.stage2],
      [this.own, stay.own],
    ] as const) {
      const stored = tables.store(pa, low, high);
      if (!stored) continue;
      for (const leaf of stored.gone) {
        if (changes.now.get(leaf.from)?.bytes === leaf.bytes) changes.now.delete(leaf.from);
        else changes.before.push(leaf);
      }
      for (const leaf of stored.come) changes.now.set(leaf.from, leaf);
      this.version++;
    }
  }

  /** Whether a CPU is at EL2. */
  has(cpu: number): boolean {
    return this.stays[cpu] !== undefined;
  }

  /** A row of a CPU at a lower level: its stay ends. */
  leave(cpu: number): void {
    const stay = this.stays[cpu];
    if (!stay) return;
    this.stays[cpu] = undefined;
    const { row, stage2, own } = stay;
    const emit = (what: HypervisorEvent['what'], ...operands: number[]) => this.events({ what, row, operands });
    for (const { from, bytes } of without(stage2.before, now(stage2))) emit('s2_unmap', from, bytes, HOST);
    this.mapped(stay, emit);
    const pages = ({ from, bytes, pa }: Stretch) => [from, pa, bytes / this.own.tableBytes] as const;
    for (const lost of without(own.before, now(own))) emit('hyp_unmap', ...pages(lost));
    for (const found of without(now(own), own.before)) emit('hyp_map', ...pages(found));
  }

  /** A row of the host at a known physical address. */
  hostAccess(pa: number): void {
    const { looked, version } = this;
    const page = Math.floor(pa / this.stage2.tableBytes);
    const slot = page % PAGES;
    if (looked.page[slot] !== page || looked.version[slot] !== version) {
      looked.page[slot] = page;
      looked.version[slot] = version;
      looked.explained[slot] = this.stage2.walk(pa) === pa ? 1 : 0;
    }
    this.counts.hostRows++;
    this.counts.explained += looked.explained[slot];
  }

  /** Leaves of the host's stage 2 that are new or allow more: one is what a fault does, by its class. */
  private mapped(
    { entered, stage2 }: Stay,
    emit: (what: HypervisorEvent['what'], ...operands: number[]) => void,
  ): void {
    const faults: [Leaf, number][] = [];
    for (const leaf of now(stage2)) {
      if (leaf.pa < 0) continue;
      const old = stage2.before.find(({ from, bytes }) => from <= leaf.from && leaf.from < from + bytes);
      const faultClass = (leaf.high & STATE_HIGH) === 0 ? classOf(leaf, old) : null;
      if (faultClass !== null) faults.push([leaf, faultClass]);
      else if (!old || old.pa < 0) this.counts.mappedByHypercalls++;
    }
    if (entered && faults.length === 1) {
      const [[{ from, bytes }, faultClass]] = faults;
      emit('s2_fault', from, bytes, HOST, faultClass, 0);
    } else this.counts.mappedByHypercalls += faults.length;
  }
}

const now = ({ now: leaves }: Changes): Leaf[] => [...leaves.values()];

/** The class of the fault that made a leaf of what was there; null when no fault does that. */
function classOf(leaf: Leaf, old: Leaf | undefined): number | null {
  if (!old) return TRANSLATION;
  if (old.pa !== leaf.pa || old.bytes !== leaf.bytes) return null;
  if ((old.low & ACCESS_FLAG) < (leaf.low & ACCESS_FLAG)) return ACCESS;
  return grants(leaf, old) && !grants(old, leaf) ? PERMISSION : null;
}

/** Whether a leaf allows what another does not: a bit of S2AP, or what XN denies. */
function grants(leaf: Leaf, other: Leaf): boolean {
  return (leaf.low & ~other.low & PERMISSIONS_LOW) !== 0 || (other.high & ~leaf.high & PERMISSIONS_HIGH) !== 0;
}

interface Tables {
  geometry: Geometry;
  root: number;
}

/** The tables of the host's stage 2 and of EL2 as the registers of a snapshot have them; null when there are none of a host. */
function tablesOf({ registers, pages }: Snapshot): { stage2: Tables; own: Tables } | null {
  const [vttbr, vtcr, ttbr, tcr] = ['VTTBR_EL2', 'VTCR_EL2', 'TTBR0_EL2', 'TCR_EL2'].map((name) => registers.get(name));
  const hosts = pages.some(({ roles }) => roles.some((role) => role.startsWith('s2_host:')));
  if (!hosts || vttbr === undefined || vtcr === undefined || ttbr === undefined || tcr === undefined) return null;
  const [first, own] = [armGeometry(vtcr), armGeometry(tcr)];
  if (!first || !own) return null;
  const levels = 4 - startLevel(first, Number((vtcr >> 6n) & 3n));
  return {
    stage2: { geometry: { ...first, levels }, root: rootOf(vttbr) },
    own: { geometry: own, root: rootOf(ttbr) },
  };
}

/** VTCR_EL2.SL0 counts down from level 3, with a granule of 4K from level 2 (there 3 stands for level 3). */
function startLevel({ pageShift }: Geometry, sl0: number): number {
  return pageShift > 12 ? 3 - sl0 : [2, 1, 0, 3][sl0];
}

/** The address in a root register, without VMID or ASID and CnP. */
function rootOf(register: bigint): number {
  return Number(register & 0xffff_ffff_fffen);
}
