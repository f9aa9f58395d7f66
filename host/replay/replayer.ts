// Replays batches through one core instance for several configurations at once (its lanes), and keeps the counters of the whole
// trace and of every phase. Nothing crosses to the core per access: it stops at phase rows and at the end of a batch. A phase that
// is replayed more than once is kept from its begin row on, or read again where it is too long for that.

import { type Batch, BATCH_ROWS, type ColumnName } from '../../traces/batch.js';
import { InputError, type NodewalkError, UsageError } from '../../traces/errors.js';
import { PHASE_BEGIN, PHASE_END } from '../../traces/events.js';
import { sliceBatch } from '../../traces/writer.js';
import { passesOf } from '../config/replaying.js';
import { type Config } from '../config/schema.js';
import { type Build, type Core, instantiateCore, type Pointer } from '../core/instance.js';
import { type Counters, difference, total } from './counters.js';
import { type IntervalCounters, Intervals } from './intervals.js';
import { Events, recordsIn, type Rows, TableChanges } from './between.js';
import { isEventful } from './kernel.js';
import { addLane } from './machine.js';
import { isProfiled, type SpeBytes, takeStreams } from './spe.js';
import { type CapturedTables } from '../tables/captured.js';
import { type TraceMemory } from './placement.js';
import { type TimelinePoint } from '../results/summary.js';
import { hasTimeline, Timeline } from './timeline.js';
import { type Topology } from './topology.js';

/** A lane's counts between the begin and end rows of a phase. */
export interface PhaseCounters {
  phase: number;
  /** The CPU that owns the phase. */
  cpu: number;
  counters: Counters;
}

export { type Counters } from './counters.js';

/** What a lane has counted. */
export interface LaneResult {
  counters: Counters;
  phases: PhaseCounters[];
  /** Of replay.intervals rows each; empty where it is null. */
  intervals: IntervalCounters[];
  /** Table bytes by node, those of them that only copies of tables take, and bytes of copied text and data. */
  tableBytes: number[];
  replicaTableBytes: number[];
  replicaBytes: number[];
  /** Of a simulation by clocks; null where there is none. */
  timeline: TimelinePoint[] | null;
  /** Invariants that are checked; empty without replay.checks. */
  checks: Record<string, Violations>;
}

/** How often an invariant was broken; of the first time the record of the event, the address and the CPU. */
export interface Violations {
  violations: number;
  first: { record: number; va: string; cpu: number } | null;
}

/** What the lanes of an instance share besides the rows. */
export interface ReplaySource extends TraceMemory {
  columns: readonly ColumnName[];
  /** The page tables that lanes with replay.mapping: tables walk. */
  tables?: CapturedTables | null;
}

/** Bytes of a phase's rows that are kept to replay them again. */
export const MOST_KEPT_BYTES = 2 ** 28;

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

/** The rows [from, to) of the trace, of which the first is a record of this number. */
export interface Stretch {
  from: number;
  to: number;
}

/** The open phase, where it is replayed more than once. */
interface Again {
  phase: Phase;
  /** Its begin row, and the number of its record. */
  row: number;
  record: number;
  passes: number;
  /** The record that comes next where its rows are read again. */
  next: number;
  /** Its rows of the chunks before the present one; null when they are too many. */
  kept: Rows[] | null;
  keptBytes: number;
}

/** Those of a trace's columns that the configurations read. */
export function replayedColumns(columns: readonly ColumnName[], configs: readonly Config[]): ColumnName[] {
  const unread = new Set<ColumnName>(columns.filter((name) => !Object.values<ColumnName>(REPLAYED).includes(name)));
  if (configs.every(({ replay }) => replay.mapping === 'demand')) unread.add('pa');
  if (configs.some(isEventful)) unread.delete('arg');
  if (configs.every(({ replay }) => !replay.splitPages)) unread.add('size');
  return columns.filter((name) => !unread.has(name));
}

/** All lanes of a replayer must have the same number of CPUs and the same `phases`, `hot`, `repeat` and `intervals` of `replay`. */
export class Replayer {
  readonly core: Core;
  readonly lanes: Pointer[];
  private readonly attached: AttachedColumn[];
  private readonly cpus: number;
  private readonly selected: ReadonlySet<number> | null;
  /** Rows after which a lane starts to count; a lane that counts from the start is not in it. */
  private warmups: { row: number; lane: number }[];
  /** By lane: what the core has counted that does not count (warm-up, hot passes). */
  private readonly uncounted: Counters[];
  /** By lane: what it had counted when the present uncounted passes began; null when rows count. */
  private frozen: Counters[] | null = null;
  private readonly intervals: Intervals | null;
  private readonly scratch: Pointer;
  /** In order of first appearance, by number and owner. */
  private readonly phases = new Map<string, Phase>();
  private readonly open = new Map<number, Phase>();
  private again: Again | null = null;
  /** The batch in the core's buffers. */
  private inCore: Batch | null = null;
  private bytes: Uint8Array;
  private readonly events: Events | null;
  /** By lane. */
  private readonly timelines: (Timeline | null)[];
  private readonly changes: TableChanges | null;
  /** Rows of the trace before the present chunk, and records. */
  private rows = 0;
  private records = 0;
  /** Rows that were replayed again. */
  private repeated = 0;

  constructor(
    private readonly source: ReplaySource,
    private readonly configs: readonly Config[],
    private readonly topologies: readonly Topology[],
    build: Build = 'release',
    private readonly mostKeptBytes = MOST_KEPT_BYTES,
  ) {
    this.core = instantiateCore(build);
    const { core } = this;
    this.attached = Object.entries(REPLAYED)
      .filter(([, name]) => replayedColumns(source.columns, configs).includes(name))
      .map(([member, name]) => {
        const rowBytes = ROW_BYTES[name];
        return { name, rowBytes, at: core.attachColumn(core.Column[member], BATCH_ROWS * rowBytes) };
      });
    // The image of the tables is there before the lanes that take them over.
    this.changes = source.tables ? new TableChanges(core, source.tables) : null;
    this.lanes = configs.map((config, i) => addLane(core, config, topologies[i], source, source.tables));
    this.events = configs.some(isEventful) ? new Events(core, source.path, topologies[0].cpuNode.length) : null;
    this.timelines = configs.map((config, i) =>
      hasTimeline(config) ? new Timeline(core, this.lanes[i], config.machine.clockGHz) : null,
    );
    this.cpus = topologies[0].cpuNode.length;
    this.selected = configs[0].replay.phases ? new Set(configs[0].replay.phases) : null;
    this.warmups = configs
      .map((config, lane) => ({ row: config.replay.warmup, lane }))
      .filter(({ row }) => row > 0)
      .sort((a, b) => a.row - b.row);
    this.scratch = core.allocate(core.Stat.Count * 8, 8);
    this.bytes = new Uint8Array(core.memory.buffer);
    this.uncounted = configs.map(() => new BigUint64Array(this.cpus * core.Stat.Count));
    const { intervals } = configs[0].replay;
    this.intervals = intervals === null ? null : new Intervals(intervals, () => this.allCounters());
  }

  /** Rows that were replayed again so far. */
  get repeatedRows(): number {
    return this.repeated;
  }

  /** Replays a batch whose phases are kept. Throws InputError for a row that no machine can take. */
  feed(batch: Batch): void {
    for (const { from, to } of this.steps(batch)) {
      if (from < to) throw new Error(`the rows ${from} to ${to} are not kept: replay the batch by steps`);
    }
  }

  /**
   * Replays a batch; every step is the beginning of one more pass over a phase that ends in it. Where a step names rows (`from`
   * is below `to`), these are no longer kept: give them to `reread` before the next step.
   */
  *steps(batch: Batch): Generator<Stretch, void> {
    for (let from = 0; from < batch.rows; from += BATCH_ROWS) {
      const rows = sliceBatch(batch, this.source.columns, from, Math.min(batch.rows, from + BATCH_ROWS));
      yield* this.chunk({ batch: rows, first: this.rows, firstRecord: this.records });
    }
  }

  /** Replays rows again that a step has asked for; `first` rows of the trace are before them. */
  reread(batch: Batch, first: number): void {
    for (let from = 0; from < batch.rows; from += BATCH_ROWS) {
      const rows = sliceBatch(batch, this.source.columns, from, Math.min(batch.rows, from + BATCH_ROWS));
      this.repeat({ batch: rows, first: first + from, firstRecord: this.again!.next }, 0, rows.rows);
      this.again!.next += this.recordsIn(rows, rows.rows);
    }
  }

  /** Ends the replay: open phases count up to here. */
  finish(): LaneResult[] {
    this.events?.end();
    this.configs.forEach((config, lane) => isProfiled(config) && this.core.finishSpe(this.lanes[lane]));
    if (this.again) throw this.endless(this.again);
    for (const phase of this.open.keys()) this.endPhase(phase);
    // A warm-up that the trace did not reach the end of leaves nothing to count.
    for (const { lane } of this.warmups) this.startCounting(lane);
    return this.configs.map((_, lane) => ({
      counters: this.counters(lane),
      phases: [...this.phases.values()].map(({ phase, cpu, counted }) => ({ phase, cpu, counters: counted[lane] })),
      intervals: this.intervals?.of(lane, this.rows) ?? [],
      timeline: this.timelines[lane]?.points() ?? null,
      ...this.kernelResult(lane),
      tableBytes: Array.from({ length: this.topologies[lane].nodes }, (_, node) =>
        Number(this.core.tableBytesOf(this.lanes[lane], node)),
      ),
    }));
  }

  /** What the guests of lanes with system.speKeep have read since the last call. */
  takeSpeStreams(): SpeBytes[] {
    return this.configs.flatMap((config, lane) =>
      isProfiled(config) && config.system.speKeep ? takeStreams(this.core, this.lanes[lane], lane, this.cpus) : [],
    );
  }

  /** Replays the next chunk of the trace. */
  private *chunk(chunk: Rows): Generator<Stretch, void> {
    const { rows } = chunk.batch;
    let row = 0;
    while (this.warmups.length > 0 && this.warmups[0].row < this.rows + rows) {
      const { row: first, lane } = this.warmups.shift()!;
      yield* this.replay(chunk, row, first - this.rows);
      row = first - this.rows;
      this.startCounting(lane);
    }
    yield* this.replay(chunk, row, rows);
    if (this.again) this.keep(this.again, chunk);
    this.rows += rows;
    this.records += this.recordsIn(chunk.batch, rows);
  }

  /** Records among the first rows of a batch; looked for only where tables change at records. */
  private recordsIn(batch: Batch, rows: number): number {
    return this.changes ? recordsIn(batch, rows) : 0;
  }

  /** Puts a batch into the core's buffers. */
  private attach(batch: Batch): void {
    if (this.inCore === batch) return;
    // Growing the core's memory detaches the old view.
    if (this.bytes.buffer !== this.core.memory.buffer) this.bytes = new Uint8Array(this.core.memory.buffer);
    for (const { name, at, rowBytes } of this.attached) {
      const { buffer, byteOffset } = batch[name]!;
      this.bytes.set(new Uint8Array(buffer, byteOffset, batch.rows * rowBytes), at);
    }
    this.inCore = batch;
  }

  /** The end of a lane's warm-up: what it has counted so far is forgotten. */
  private startCounting(lane: number): void {
    this.uncounted[lane] = this.coreCounters(lane);
    for (const phase of this.phases.values()) {
      phase.counted[lane].fill(0n);
      phase.begin?.[lane].fill(0n);
    }
    this.intervals?.restart(lane);
  }

  /** Replays the rows [row, end) of a chunk. */
  private *replay(chunk: Rows, row: number, end: number): Generator<Stretch, void> {
    const { kind } = chunk.batch;
    while (row < end) {
      if (this.selected && !this.inSelected()) {
        row = this.nextSelected(chunk.batch, row, end);
        if (row === end) return;
      }
      if (kind[row] === PHASE_BEGIN) row = this.beginRow(chunk, row);
      else if (kind[row] === PHASE_END) row = yield* this.endRow(chunk, row);
      else row = this.run(chunk, row, end);
    }
  }

  /** Lets the core replay rows up to a phase row, the end of an interval or `end`; returns where it stopped. */
  private run(rows: Rows, row: number, end: number): number {
    const { batch, first } = rows;
    let limit = this.intervals && !this.frozen ? Math.min(end, this.intervals.enter(first + row) - first) : end;
    if (this.events?.take(rows, row)) limit = row + 1;
    else if (this.changes) {
      let next = this.changes.nextRow(rows, row);
      if (next <= row) {
        this.changes.apply(rows, row);
        next = this.changes.nextRow(rows, row);
      }
      limit = Math.min(limit, next);
    }
    this.attach(batch);
    const stop = this.core.replayRows(row, limit);
    const status = this.core.replayStatus();
    if (status !== this.core.Status.Done) throw this.fault(batch, first, stop, status);
    return stop;
  }

  private inSelected(): boolean {
    return [...this.open.keys()].some((phase) => this.selected!.has(phase));
  }

  /** Only rows of selected phases are replayed: the next row at which one begins; `end` when there is none. */
  private nextSelected({ kind, va }: Batch, row: number, end: number): number {
    const begins = (at: number) => kind[at] === PHASE_BEGIN && this.selected!.has(Number(va[at]));
    while (row < end && !begins(row)) row++;
    return row;
  }

  /** Replays the begin row of a phase, which is part of it, after what makes the machine cold. */
  private beginRow(chunk: Rows, row: number): number {
    this.events?.complete();
    const { batch, first } = chunk;
    const number = Number(batch.va[row]);
    const cpu = batch.cpu[row];
    if (cpu >= this.cpus) throw this.fault(batch, first, row, this.core.Status.CpuOutsideMachine);
    const { replay } = this.configs[0];
    const passes = (replay.hot ?? 0) + passesOf(replay, number);
    if (this.again) throw this.nested(this.again.phase.phase, first + row, number);
    if (passes > 1 && this.open.size > 0) throw this.nested([...this.open.keys()][0], first + row, number);
    if (!this.open.has(number)) {
      const phase = this.beginPhase(number, cpu);
      const record = chunk.firstRecord + this.recordsIn(batch, row);
      if (passes > 1) this.again = { phase, row: first + row, record, next: record, passes, kept: [], keptBytes: 0 };
      this.beginPass(phase, 0);
    }
    return this.run(chunk, row, row + 1);
  }

  /** Replays the end row of a phase, which is part of it, and the further passes. */
  private *endRow(chunk: Rows, row: number): Generator<Stretch, number> {
    this.events?.complete();
    const number = Number(chunk.batch.va[row]);
    const next = this.run(chunk, row, row + 1);
    if (this.again?.phase.phase === number) yield* this.passAgain(this.again, chunk, next);
    this.endPhase(number);
    return next;
  }

  /** The passes behind the first over a phase that ends in a chunk, before its row `end`. */
  private *passAgain(again: Again, chunk: Rows, end: number): Generator<Stretch, void> {
    const { phase, row, passes, kept } = again;
    for (let pass = 1; pass < passes; pass++) {
      this.beginPass(phase, pass);
      this.changes?.rewind(again.record);
      again.next = again.record;
      yield { from: row, to: kept ? row : chunk.first };
      for (const before of kept ?? []) this.repeat(before, 0, before.batch.rows);
      this.repeat(chunk, Math.max(0, row - chunk.first), end);
    }
    this.again = null;
  }

  /** Replays rows of a phase again, of which the core stops at the first and the last. */
  private repeat(chunk: Rows, from: number, to: number): void {
    for (let row = from; row < to;) row = this.run(chunk, row, to);
    this.repeated += to - from;
  }

  /** What comes before a pass over a phase: cold, polluted or as the pass before left it; the first hot passes do not count. */
  private beginPass({ cpu }: Phase, pass: number): void {
    const { core } = this;
    const { hot } = this.configs[0].replay;
    this.configs.forEach(({ replay: { cold, pollution } }, lane) => {
      if (cold !== null && pass === 0)
        core.cool(lane, { all: core.Scope.All, kernel: core.Scope.Kernel, text: core.Scope.Text }[cold]);
      else if (pollution > 0) core.pollute(lane, cpu, BigInt(pollution));
    });
    if (hot !== null && pass === 0) this.frozen = this.allCounters();
    if (hot !== null && pass === hot) {
      this.frozen!.forEach((counted, lane) => (this.uncounted[lane] = difference(this.coreCounters(lane), counted)));
      this.frozen = null;
    }
  }

  /** Keeps the rows of a phase that goes on behind a chunk. */
  private keep(again: Again, { batch, first, firstRecord }: Rows): void {
    const from = Math.max(0, again.row - first);
    const rowBytes = this.attached.reduce((sum, column) => sum + column.rowBytes, 0);
    again.keptBytes += (batch.rows - from) * rowBytes;
    if (again.keptBytes > this.mostKeptBytes) again.kept = null;
    if (!again.kept) return;
    const names: ColumnName[] = this.attached.map(({ name }) => name);
    if (batch.arg) names.push('arg');
    const rows = sliceBatch(batch, names, from, batch.rows);
    // The memory of a batch is used again for a later one.
    for (const name of names) Object.assign(rows, { [name]: rows[name]!.slice() });
    again.kept.push({ batch: rows, first: first + from, firstRecord: firstRecord + this.recordsIn(batch, from) });
  }

  private beginPhase(phase: number, cpu: number): Phase {
    const key = `${phase}/${cpu}`;
    const now = this.allCounters();
    let entry = this.phases.get(key);
    if (!entry) {
      entry = { phase, cpu, counted: now.map((counters) => new BigUint64Array(counters.length)), begin: null };
      this.phases.set(key, entry);
    }
    entry.begin = now;
    this.open.set(phase, entry);
    for (const timeline of this.timelines) timeline?.enter(phase);
    return entry;
  }

  private endPhase(phase: number): void {
    const entry = this.open.get(phase);
    if (!entry) return;
    this.open.delete(phase);
    for (const timeline of this.timelines) timeline?.enter([...this.open.keys()].at(-1) ?? null);
    entry.counted = entry.counted.map((sum, lane) => total(sum, difference(this.counters(lane), entry.begin![lane])));
    entry.begin = null;
  }

  private kernelResult(lane: number): Pick<LaneResult, 'replicaTableBytes' | 'replicaBytes' | 'checks'> {
    const { core } = this;
    const pointer = this.lanes[lane];
    const byNode = (bytesOf: (lane: Pointer, node: number) => bigint) =>
      Array.from({ length: this.topologies[lane].nodes }, (_, node) => Number(bytesOf(pointer, node)));
    const checks: Record<string, Violations> = {};
    for (const [name, check] of Object.entries(core.Check)) {
      if (name === 'Count' || !this.configs[lane].replay.checks || !isEventful(this.configs[lane])) continue;
      const violations = Number(core.violationCount(pointer, check));
      const va = `0x${core.violationVa(pointer, check).toString(16)}`;
      const first = {
        record: Number(core.violationRecord(pointer, check)),
        va,
        cpu: core.violationCpu(pointer, check),
      };
      checks[name[0].toLowerCase() + name.slice(1)] = { violations, first: violations > 0 ? first : null };
    }
    return { replicaTableBytes: byNode(core.replicaTableBytesOf), replicaBytes: byNode(core.replicaBytesOf), checks };
  }

  private allCounters(): Counters[] {
    return this.configs.map((_, lane) => this.counters(lane));
  }

  /** What a lane has counted so far. */
  private counters(lane: number): Counters {
    return difference(this.coreCounters(lane), this.uncounted[lane]);
  }

  /** A lane's counters as the core has them. */
  private coreCounters(lane: number): Counters {
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

  /** A phase begins inside another, of which one is to be replayed more than once. */
  private nested(outer: number, row: number, inner: number): InputError {
    return new InputError({
      source: this.source.path,
      at: `record ${row}`,
      expected: `the end of phase ${outer} before another begins, as replay.hot and replay.repeat need`,
      found: `the begin of phase ${inner}`,
      advice: 'name phases that are apart with replay.phases, or repeat none of the two',
    });
  }

  private endless({ phase: { phase }, row }: Again): InputError {
    return new InputError({
      source: this.source.path,
      at: `record ${row}`,
      expected: `a phase that ends, as replay.hot and replay.repeat need`,
      found: `the begin of phase ${phase} without an end`,
      advice: 'cut the trace behind the end of a phase, or leave the phase out with replay.phases',
    });
  }

  private fault(chunk: Batch, first: number, row: number, status: number): NodewalkError {
    const where = { source: this.source.path, at: `record ${first + row}` };
    if (status === this.core.Status.GuestMemoryFull) {
      return new UsageError(
        `paging.stage2: by record ${first + row} of ${this.source.path} the pages fill a guest's intermediate addresses, a node's memory (1 TiB) or the pool of stage-2 tables; use more ipaBits, smaller page sizes or system.memoryBytes: null`,
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
