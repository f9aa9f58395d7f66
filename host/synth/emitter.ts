// Makes the rows of a scenario: events with the operands of traces/events.ts, accesses, phases. It knows which address space
// runs on each CPU, and every row carries its ASID; an address space's number is its ASID as well.

import {
  BATCH_ROWS,
  FETCH,
  LOAD,
  MODE_KERNEL,
  MODE_USER,
  STORE,
  type Batch,
  type ColumnName,
} from '../../traces/batch.js';
import { EVENTS, OPERANDS, type EventKind } from '../../traces/events.js';
import { columnOf } from '../../traces/schema.js';
import { sliceBatch } from '../../traces/writer.js';

/** One row; a column that it does not name is 0. */
export interface Row {
  cpu: number;
  kind: number;
  va: bigint;
  size?: number;
  insns?: number;
  mode?: number;
  asid?: number;
  arg?: bigint;
}

/** The kernel's own address space. */
export const KERNEL_MM = 0;

const BY_NAME = new Map(EVENTS.map((event) => [event.name, event]));
const WORD = 8;
const LINE_BYTES = 64;

export class Emitter {
  /** The phases so far, by number. */
  readonly phases = new Map<number, string>();
  private readonly running: number[] = [];
  private lastMm = KERNEL_MM;

  /** An event and its operands, in the order of traces/events.ts. */
  *event(name: string, cpu: number, ...operands: (bigint | number)[]): Generator<Row> {
    const event = BY_NAME.get(name);
    if (!event || operands.length !== operandCount(event)) throw new Error(`${name}: ${operands.length} operands`);
    const [va = 0n, arg = 0n, ...more] = operands.map(BigInt);
    const common = { cpu, mode: MODE_KERNEL, asid: this.running[cpu] };
    yield { ...common, kind: event.kind, va, arg };
    for (let i = 0; i < more.length; i += 2) yield { ...common, kind: OPERANDS, va: more[i], arg: more[i + 1] };
  }

  /** The rows of a phase that belongs to `cpu`. */
  *phase(number: number, name: string, cpu: number, rows: Iterable<Row>): Generator<Row> {
    this.phases.set(number, name);
    yield* this.event('phase_begin', cpu, number);
    yield* rows;
    yield* this.event('phase_end', cpu, number);
  }

  /** A new address space. */
  *create(cpu: number): Generator<Row, number> {
    const mm = ++this.lastMm;
    yield* this.event('mm_create', cpu, mm, mm);
    return mm;
  }

  /** Lets `mm` run on a CPU; the address space that it leaves. */
  *switchTo(cpu: number, mm: number): Generator<Row, number> {
    const left = this.running[cpu] ?? KERNEL_MM;
    yield* this.event('ctx_switch', cpu, mm, mm, left);
    this.running[cpu] = mm;
    return left;
  }

  /** The fetch of a line by the kernel. */
  kernelFetch(cpu: number, va: bigint, insns: number): Row {
    return this.access(FETCH, cpu, va, MODE_KERNEL, LINE_BYTES, insns);
  }

  userFetch(cpu: number, va: bigint, insns: number): Row {
    return this.access(FETCH, cpu, va, MODE_USER, LINE_BYTES, insns);
  }

  kernelLoad(cpu: number, va: bigint): Row {
    return this.access(LOAD, cpu, va, MODE_KERNEL, WORD);
  }

  userLoad(cpu: number, va: bigint): Row {
    return this.access(LOAD, cpu, va, MODE_USER, WORD);
  }

  userStore(cpu: number, va: bigint): Row {
    return this.access(STORE, cpu, va, MODE_USER, WORD);
  }

  private access(kind: number, cpu: number, va: bigint, mode: number, size: number, insns = 0): Row {
    return { cpu, kind, va, size, insns, mode, asid: this.running[cpu] };
  }
}

function operandCount({ va, arg, more = [] }: EventKind): number {
  return [va, arg].filter((operand) => operand !== undefined).length + more.length;
}

/** The rows as batches of these columns; a batch is valid until the next one is asked for. */
export async function* batchesOf(rows: Iterable<Row>, columns: readonly ColumnName[]): AsyncGenerator<Batch> {
  const batch = { rows: 0 } as Batch;
  for (const name of columns) Object.assign(batch, { [name]: new (columnOf(name).array)(BATCH_ROWS) });
  const { cpu, kind, va, size, insns, mode, asid, arg } = batch;
  for (const row of rows) {
    const i = batch.rows++;
    cpu[i] = row.cpu;
    kind[i] = row.kind;
    va[i] = row.va;
    if (size) size[i] = row.size ?? 0;
    if (insns) insns[i] = row.insns ?? 0;
    if (mode) mode[i] = row.mode ?? 0;
    if (asid) asid[i] = row.asid ?? 0;
    if (arg) arg[i] = row.arg ?? 0n;
    if (batch.rows === BATCH_ROWS) {
      yield batch;
      batch.rows = 0;
    }
  }
  if (batch.rows > 0) yield sliceBatch(batch, columns, 0, batch.rows);
}
