// Replays batches through one core instance for several configurations at once (its lanes), and keeps the counters of the whole
// trace and of every phase. Nothing crosses to the core per access: it stops at phase rows and at the end of a batch.

import { type Batch, BATCH_ROWS, type ColumnName } from '../../traces/batch.js';
import { InputError, type NodewalkError, UsageError } from '../../traces/errors.js';
import { PHASE_BEGIN, PHASE_END } from '../../traces/events.js';
import { type TraceMetadata } from '../../traces/metadata.js';
import { sliceBatch } from '../../traces/writer.js';
import { type Config } from '../config/schema.js';
import { type Build, type Core, instantiateCore, type Pointer } from '../core/instance.js';
import { addLane } from './machine.js';
import { type Topology } from './topology.js';

/** The counters of every CPU of a lane: u64[cpus][Stat.Count]. */
export type Counters = BigUint64Array;

/** A lane's counts between the begin and end rows of a phase. */
export interface PhaseCounters {
  phase: number;
  /** The CPU that owns the phase. */
  cpu: number;
  counters: Counters;
}

/** What a lane has counted. */
export interface LaneResult {
  counters: Counters;
  phases: PhaseCounters[];
  /** Table bytes by node. */
  tableBytes: number[];
}

/** What the lanes of an instance share besides the rows. */
export interface ReplaySource {
  path: string;
  columns: readonly ColumnName[];
  regions: TraceMetadata['regions'];
}

/** Columns that the core reads, by the name of their member in its enum Column. */
const REPLAYED = {
  Cpu: 'cpu',
  Kind: 'kind',
  Va: 'va',
  Pa: 'pa',
  Size: 'size',
  Insns: 'insns',
  Mode: 'mode',
  Asid: 'asid',
  Vm: 'vm',
} as const;

interface AttachedColumn {
  name: (typeof REPLAYED)[keyof typeof REPLAYED];
  at: Pointer;
  rowBytes: number;
}

/** A phase that was seen: its counts so far, by lane, and where its present run began. */
interface Phase {
  phase: number;
  cpu: number;
  counted: Counters[];
  begin: Counters[] | null;
}

/** Those of a trace's columns that the configurations read. */
export function replayedColumns(columns: readonly ColumnName[], configs: readonly Config[]): ColumnName[] {
  const unread = new Set<ColumnName>(columns.filter((name) => !Object.values<ColumnName>(REPLAYED).includes(name)));
  if (configs.every(({ replay }) => replay.mapping !== 'captured')) unread.add('pa');
  if (configs.every(({ replay }) => !replay.splitPages)) unread.add('size');
  return columns.filter((name) => !unread.has(name));
}

/** All lanes of a replayer must have the same `replay.phases` and the same number of CPUs. */
export class Replayer {
  readonly core: Core;
  readonly lanes: Pointer[];
  private readonly attached: AttachedColumn[];
  private readonly cpus: number;
  private readonly selected: ReadonlySet<number> | null;
  /** Rows after which a lane starts to count; a lane that counts from the start is not in it. */
  private warmups: { row: number; lane: number }[];
  /** Where a lane that was warmed up started to count. */
  private readonly baseline: (Counters | null)[];
  private readonly scratch: Pointer;
  /** In order of first appearance, by number and owner. */
  private readonly phases = new Map<string, Phase>();
  private readonly open = new Map<number, Phase>();
  private bytes: Uint8Array;
  /** Rows of the trace before the present chunk. */
  private rows = 0;

  constructor(
    private readonly source: ReplaySource,
    private readonly configs: readonly Config[],
    private readonly topologies: readonly Topology[],
    build: Build = 'release',
  ) {
    this.core = instantiateCore(build);
    const { core } = this;
    this.attached = Object.entries(REPLAYED)
      .filter(([, name]) => replayedColumns(source.columns, configs).includes(name))
      .map(([member, name]) => {
        const rowBytes = ROW_BYTES[name];
        return { name, rowBytes, at: core.attachColumn(core.Column[member], BATCH_ROWS * rowBytes) };
      });
    this.lanes = configs.map((config, i) => addLane(core, config, topologies[i], source.regions));
    this.cpus = topologies[0].cpuNode.length;
    this.selected = configs[0].replay.phases ? new Set(configs[0].replay.phases) : null;
    this.warmups = configs
      .map((config, lane) => ({ row: config.replay.warmup, lane }))
      .filter(({ row }) => row > 0)
      .sort((a, b) => a.row - b.row);
    this.baseline = configs.map(() => null);
    this.scratch = core.allocate(core.Stat.Count * 8, 8);
    this.bytes = new Uint8Array(core.memory.buffer);
  }

  /** Replays a batch. Throws InputError for a row that no machine can take. */
  feed(batch: Batch): void {
    for (let from = 0; from < batch.rows; from += BATCH_ROWS) {
      this.feedChunk(sliceBatch(batch, this.source.columns, from, Math.min(batch.rows, from + BATCH_ROWS)));
    }
  }

  /** Ends the replay: open phases count up to here. */
  finish(): LaneResult[] {
    for (const phase of this.open.keys()) this.endPhase(phase);
    // A warm-up that the trace did not reach the end of leaves nothing to count.
    for (const { lane } of this.warmups) this.startCounting(lane);
    return this.configs.map((_, lane) => {
      const now = this.counters(lane);
      const baseline = this.baseline[lane];
      return {
        counters: baseline ? difference(now, baseline) : now,
        phases: [...this.phases.values()].map(({ phase, cpu, counted }) => ({ phase, cpu, counters: counted[lane] })),
        tableBytes: Array.from({ length: this.topologies[lane].nodes }, (_, node) =>
          Number(this.core.tableBytesOf(this.lanes[lane], node)),
        ),
      };
    });
  }

  /** Replays a batch that fits the core's buffers. */
  private feedChunk(chunk: Batch): void {
    // Growing the core's memory detaches the old view.
    if (this.bytes.buffer !== this.core.memory.buffer) this.bytes = new Uint8Array(this.core.memory.buffer);
    for (const { name, at, rowBytes } of this.attached) {
      const { buffer, byteOffset } = chunk[name]!;
      this.bytes.set(new Uint8Array(buffer, byteOffset, chunk.rows * rowBytes), at);
    }
    let row = 0;
    while (this.warmups.length > 0 && this.warmups[0].row < this.rows + chunk.rows) {
      const { row: first, lane } = this.warmups.shift()!;
      this.replay(chunk, row, first - this.rows);
      row = first - this.rows;
      this.startCounting(lane);
    }
    this.replay(chunk, row, chunk.rows);
    this.rows += chunk.rows;
  }

  /** The end of a lane's warm-up: what it has counted so far is forgotten. */
  private startCounting(lane: number): void {
    const now = this.counters(lane);
    this.baseline[lane] = now;
    for (const phase of this.phases.values()) {
      phase.counted[lane].fill(0n);
      if (phase.begin) phase.begin[lane] = now;
    }
  }

  /** Replays the rows [row, end) of a chunk. */
  private replay(chunk: Batch, row: number, end: number): void {
    while (row < end) {
      if (this.selected && !this.inSelected()) {
        row = this.nextSelected(chunk, row, end);
        if (row === end) return;
      }
      if (isPhase(chunk.kind[row])) row = this.phaseRow(chunk, row);
      else row = this.run(chunk, row, end);
    }
  }

  /** Lets the core replay rows up to a phase row or `end`; returns where it stopped. */
  private run(chunk: Batch, row: number, end: number): number {
    const stop = this.core.replayRows(row, end);
    const status = this.core.replayStatus();
    if (status !== this.core.Status.Done) throw this.fault(chunk, stop, status);
    return stop;
  }

  private inSelected(): boolean {
    return [...this.open.keys()].some((phase) => this.selected!.has(phase));
  }

  /** Only rows of selected phases are replayed: the next row at which one begins; `end` when there is none. */
  private nextSelected(chunk: Batch, row: number, end: number): number {
    const begins = (at: number) => chunk.kind[at] === PHASE_BEGIN && this.selected!.has(Number(chunk.va[at]));
    while (row < end && !begins(row)) row++;
    return row;
  }

  /** Replays a begin or end row, which is itself part of the phase. */
  private phaseRow(chunk: Batch, row: number): number {
    const phase = Number(chunk.va[row]);
    const begin = chunk.kind[row] === PHASE_BEGIN;
    if (begin && !this.open.has(phase)) this.beginPhase(phase, chunk.cpu[row]);
    const next = this.run(chunk, row, row + 1);
    if (!begin) this.endPhase(phase);
    return next;
  }

  private beginPhase(phase: number, cpu: number): void {
    const key = `${phase}/${cpu}`;
    const now = this.configs.map((_, lane) => this.counters(lane));
    let entry = this.phases.get(key);
    if (!entry) {
      entry = { phase, cpu, counted: now.map((counters) => new BigUint64Array(counters.length)), begin: null };
      this.phases.set(key, entry);
    }
    entry.begin = now;
    this.open.set(phase, entry);
  }

  private endPhase(phase: number): void {
    const entry = this.open.get(phase);
    if (!entry) return;
    this.open.delete(phase);
    entry.counted = entry.counted.map((sum, lane) => total(sum, difference(this.counters(lane), entry.begin![lane])));
    entry.begin = null;
  }

  /** A lane's counters as they are now. */
  private counters(lane: number): Counters {
    const { core, cpus, scratch } = this;
    const count = core.Stat.Count;
    const counters = new BigUint64Array(cpus * count);
    const view = new BigUint64Array(core.memory.buffer, scratch, count);
    for (let cpu = 0; cpu < cpus; cpu++) {
      core.collectCounters(lane, cpu, scratch);
      counters.set(view, cpu * count);
    }
    return counters;
  }

  private fault(chunk: Batch, row: number, status: number): NodewalkError {
    const where = { source: this.source.path, at: `record ${this.rows + row}` };
    if (status === this.core.Status.GuestMemoryFull) {
      return new UsageError(
        `paging.stage2: by record ${this.rows + row} of ${this.source.path} the pages fill a guest's intermediate addresses or a node's memory (1 TiB); use more ipaBits or smaller page sizes`,
      );
    }
    if (status === this.core.Status.CpuOutsideMachine) {
      return new InputError({
        ...where,
        expected: `a CPU that the machine has (0 to ${this.cpus - 1})`,
        found: `CPU ${chunk.cpu[row]}`,
        advice: 'give the machine more CPUs with machine.cpus or machine.cpuNode',
      });
    }
    return new InputError({
      ...where,
      expected: 'a kind of row that traces have (0 fetch, 1 load, 2 store, events from 16)',
      found: `kind ${chunk.kind[row]}`,
      advice: 'the file was damaged or made by another tool; convert it again',
    });
  }
}

/** Bytes of a row in each column that the core reads. */
const ROW_BYTES = { cpu: 2, kind: 1, va: 8, pa: 8, size: 2, insns: 1, mode: 1, asid: 4, vm: 2 } as const;

const isPhase = (kind: number) => kind === PHASE_BEGIN || kind === PHASE_END;

const total = (a: Counters, b: Counters): Counters => a.map((n, i) => n + b[i]);

const difference = (after: Counters, before: Counters): Counters => after.map((n, i) => n - before[i]);
