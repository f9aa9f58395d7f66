// What happens between the rows of accesses: events, whose further operands stand in the rows behind them, and the stores of a captured kernel to
// its page tables, each just before the row of its record.

import { type Batch } from '../../traces/batch.js';
import { InputError } from '../../traces/errors.js';
import { FIRST_SYSTEM_EVENT, kindName, OPERANDS } from '../../traces/events.js';
import { type Core } from '../core/instance.js';
import { type CapturedTables } from '../tables/captured.js';

/** Rows of the trace in memory. */
export interface Rows {
  batch: Batch;
  /** Rows of the trace before them, and records: rows of kinds below OPERANDS. */
  first: number;
  firstRecord: number;
}

/** An event whose operands may not all be there yet. */
interface Pending {
  record: number;
  cpu: number;
  kind: number;
  operands: bigint[];
}

/** Operands that the core takes. */
const MOST_OPERANDS = 5;

/** Events whose first operand is a CPU. */
const OF_A_CPU: ReadonlySet<string> = new Set(['cpu_up', 'cpu_down', 'cpu_suspend', 'cpu_resume']);

/** The events of a trace, for the lanes that expand them. */
export class Events {
  private pending: Pending | null = null;

  constructor(
    private readonly core: Core,
    private readonly path: string,
    private readonly cpus: number,
  ) {
    core.stopAtEvents();
  }

  /** Whether a row is part of an event; then it is taken. */
  take({ batch, first }: Rows, row: number): boolean {
    const kind = batch.kind[row];
    const arg = batch.arg?.[row] ?? 0n;
    if (kind === OPERANDS && this.pending) {
      this.pending.operands.push(batch.va[row], arg);
      return true;
    }
    this.settle();
    if (kind < FIRST_SYSTEM_EVENT) return false;
    this.pending = { record: first + row, cpu: batch.cpu[row], kind, operands: [batch.va[row], arg] };
    return true;
  }

  /** Expands the event that was taken last, all of whose operands are known. */
  settle(): void {
    if (!this.pending) return;
    const { record, cpu, kind, operands } = this.pending;
    this.pending = null;
    const [va, arg, a, b, c] = Array.from({ length: MOST_OPERANDS }, (_, i) => operands[i] ?? 0n);
    if (OF_A_CPU.has(kindName(kind)) && va >= BigInt(this.cpus)) {
      throw new InputError({
        source: this.path,
        at: `record ${record}`,
        expected: `a ${kindName(kind)} of a CPU that the machine has (0 to ${this.cpus - 1})`,
        found: `CPU ${va}`,
        advice: 'give the machine more CPUs with machine.cpus or machine.cpuNode',
      });
    }
    // Sizes of images and the like fill more rows; the core has them from the regions of the trace.
    this.core.runEvent(BigInt(record), cpu, kind, va, arg, a, b, c);
  }

  /** The same at a border of phases: what systems have taken up to run concurrently is run. */
  complete(): void {
    this.settle();
    this.core.runTakenEvents();
  }

  /** The same at the end of the trace. */
  end(): void {
    this.settle();
    this.core.endTakenEvents();
  }
}

/** The stores of a captured kernel to its page tables, and the tables of its later runs. */
export class TableChanges {
  private store = 0;
  private segment = 1;

  constructor(
    private readonly core: Core,
    private readonly tables: CapturedTables,
  ) {
    for (const { pa, data } of tables.segments[0].pages) this.fill(pa, data);
  }

  /** The next row from `row` on before which tables change; Infinity when there is none. */
  nextRow(rows: Rows, row: number): number {
    const { stores, segments } = this.tables;
    const store = this.store < stores.count ? stores.record(this.store) : Infinity;
    const record = Math.min(store, segments[this.segment]?.fromRecord ?? Infinity);
    return record === Infinity ? Infinity : Math.max(row, rowOf(rows, record));
  }

  /** Applies what changes before `row`. */
  apply(rows: Rows, row: number): void {
    const { stores, segments } = this.tables;
    const cpu = rows.batch.cpu[row];
    const due = (record: number) => rowOf(rows, record) <= row;
    for (; this.segment < segments.length && due(segments[this.segment].fromRecord); this.segment++) {
      while (this.store < stores.count && stores.record(this.store) < segments[this.segment].fromRecord) this.next(cpu);
      for (const { pa, data } of segments[this.segment].pages) this.change(cpu, pa, data);
    }
    while (this.store < stores.count && due(stores.record(this.store))) this.next(cpu);
  }

  /** Goes back to the stores from a record on: its rows are replayed again. */
  rewind(record: number): void {
    this.store = this.tables.stores.firstAt(record);
  }

  private next(cpu: number): void {
    const { stores } = this.tables;
    this.core.runTableStore(cpu, BigInt(stores.pa(this.store)), stores.value(this.store));
    this.store++;
  }

  private fill(pa: bigint, data: Uint8Array): void {
    const at = this.core.addTablePage(pa, data.length);
    new Uint8Array(this.core.memory.buffer, at, data.length).set(data);
  }

  /** The tables of a later run, as stores of what differs. */
  private change(cpu: number, pa: bigint, data: Uint8Array<ArrayBuffer>): void {
    const entries = new BigUint64Array(data.buffer, data.byteOffset, data.length / 8);
    entries.forEach((entry, i) => {
      const at = pa + BigInt(i * 8);
      if (this.core.loadFromImage(at) !== entry) this.core.runTableStore(cpu, at, entry);
    });
  }
}

/** The row of a record, counted from the first of the rows; it may be outside of them. */
function rowOf({ batch, firstRecord }: Rows, record: number): number {
  let row = record - firstRecord;
  for (const derived of derivedRows(batch)) {
    if (derived > row) break;
    row++;
  }
  return row;
}

const DERIVED = new WeakMap<Batch, number[]>();

/** The rows of a batch that are no records, in order. */
function derivedRows(batch: Batch): readonly number[] {
  let rows = DERIVED.get(batch);
  if (!rows) {
    rows = [];
    for (let row = 0; row < batch.rows; row++) if (batch.kind[row] >= OPERANDS) rows.push(row);
    DERIVED.set(batch, rows);
  }
  return rows;
}

/** Records among the first `rows` rows of a batch. */
export function recordsIn(batch: Batch, rows: number): number {
  return rows - derivedRows(batch).filter((row) => row < rows).length;
}
