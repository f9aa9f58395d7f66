// What a capture's own page-table stores tell about the kernel: events of address spaces and their mappings, as rows
// between those of the capture (plan.ts finds them, insert.ts places them). It needs what lies beside the capture:
// registers.json, snap1/ (and the snapshots after it) and table_stores.bin, packed or not.

import { dirname } from 'node:path';
import { type Batch } from '../batch.js';
import { type TraceMetadata } from '../metadata.js';
import { armGeometry, x86Geometry, type Geometry } from './geometry.js';
import { Hypervisor } from './hypervisor.js';
import { insertEvents, type EventCounts } from './insert.js';
import { planEvents, type Plan } from './plan.js';
import { readSnapshots, type Snapshot } from './snapshot.js';
import { hasUserStores, readTableStores, type TableStores } from './stores.js';
import { StoreValues } from './storevals.js';

/** What the capture's registers.json says. */
export interface CapturedMachine {
  arch: 'x86-64' | 'arm64';
  levels?: number;
  symbols: Readonly<Record<string, string>>;
}

/** Adds derived events to the rows of one capture. */
export class Derivation {
  private plan: Plan | null = null;
  private readonly events: EventCounts = {};

  private constructor(
    private readonly path: string,
    private readonly machine: CapturedMachine,
    private readonly geometry: Geometry,
    private readonly snapshots: readonly Snapshot[],
    private readonly stores: TableStores,
  ) {}

  /** The derivation of the capture at `path`; null where what it needs is not beside it. */
  static async of(path: string, machine: CapturedMachine): Promise<Derivation | null> {
    const folder = dirname(path);
    if (path === '-' || !hasUserStores(folder)) return null;
    const stores = await readTableStores(folder);
    const snapshots = stores ? await readSnapshots(folder) : [];
    const geometry = snapshots.length > 0 ? geometryOf(machine, snapshots[0]) : null;
    return stores && geometry ? new Derivation(path, machine, geometry, snapshots, stores) : null;
  }

  /** The rows with the events among them; reads the capture once more, before the first row. */
  async *rows(batches: AsyncIterable<Batch>, dropMmio: boolean): AsyncGenerator<Batch> {
    const { path, geometry, snapshots, stores } = this;
    const { _stext, _etext } = this.machine.symbols;
    const text = _stext && _etext ? { from: BigInt(_stext), to: BigInt(_etext) } : null;
    const folder = dirname(path);
    const hosted = snapshots.every(Hypervisor.isIn) && StoreValues.areIn(folder);
    const storeValues = hosted ? folder : null;
    this.plan = await planEvents({ path, geometry, snapshots, stores, text, dropMmio, storeValues });
    yield* insertEvents(batches, this.plan, this.events);
  }

  /** What was derived, for the metadata; complete after the last row. */
  metadata(): TraceMetadata['derived'] {
    if (!this.plan) return null;
    const { userRows, explained, switchVa, hypervisor } = this.plan;
    return {
      events: { ...this.events },
      ...{ userRows, explained, switchVa: switchVa === null ? null : `0x${switchVa.toString(16)}` },
      ...(hypervisor && { hypervisor: { ...hypervisor } }),
    };
  }

  /** The same of the hypervisor in words. */
  notes(): string[] {
    const hypervisor = this.plan?.hypervisor;
    if (!hypervisor) return [];
    const { s2_fault: faults = 0, s2_unmap: unmaps = 0 } = this.events;
    const { stays, hostRows, explained } = hypervisor;
    return [
      `host stage 2: ${faults} faults and ${unmaps} unmapped ranges in ${stays} stays at EL2; ${hostRows - explained} of ${hostRows} host accesses are not in it`,
    ];
  }
}

function geometryOf({ arch, levels }: CapturedMachine, { registers }: Snapshot): Geometry | null {
  if (arch === 'x86-64') return x86Geometry(levels ?? 4);
  const tcr = registers.get('TCR_EL1');
  return tcr === undefined ? null : armGeometry(tcr);
}
