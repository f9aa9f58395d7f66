// The second of two passes: puts the rows of derived events between those of the capture, each before the row that did it.
// A switch of address spaces stands where the kernel switches (switchpoint.ts), else before the first row that shows the new
// one. The end of an address space waits until no CPU runs on its table any more, as the kernel's freeing of it does.

import { BATCH_ROWS, FETCH, MODE_KERNEL, PA_UNKNOWN, type Batch, type ColumnName } from '../batch.js';
import { EVENTS, OPERANDS } from '../events.js';
import { sliceBatch } from '../writer.js';
import { type Due, type Plan, type Run } from './plan.js';
import { type Mm } from './spaces.js';

type EventName = Exclude<Due['what'], 'runs'> | 'ctx_switch';

const KINDS = new Map(EVENTS.map(({ name, kind }) => [name, kind]));
/** The columns of a trace with derived events. */
const COLUMNS: readonly ColumnName[] = ['cpu', 'kind', 'va', 'pa', 'size', 'insns', 'mode', 'arg'];

/** Rows by event; complete after the last batch. */
export type EventCounts = Partial<Record<EventName, number>>;

/** The batches with the events of the plan. A batch is valid until the next one is asked for. */
export async function* insertEvents(
  batches: AsyncIterable<Batch>,
  plan: Plan,
  counts: EventCounts,
): AsyncGenerator<Batch> {
  const noOperand = new BigUint64Array(BATCH_ROWS);
  const inserter = new Inserter(plan, counts);
  let first = 0;
  for await (const batch of batches) {
    const whole: Batch = { ...batch, arg: noOperand.subarray(0, batch.rows) };
    let done = 0;
    for (const at of inserter.placesIn(batch, first)) {
      const events = inserter.eventsAt(first + at, batch.cpu[at], isSwitch(batch, at, plan.switchVa));
      if (events.length === 0) continue;
      if (at > done) yield sliceBatch(whole, COLUMNS, done, at);
      yield toBatch(events);
      done = at;
    }
    yield done === 0 ? whole : sliceBatch(whole, COLUMNS, done, batch.rows);
    first += batch.rows;
  }
}

function isSwitch({ kind, va }: Batch, at: number, switchVa: bigint | null): boolean {
  return kind[at] === FETCH && va[at] === switchVa;
}

/** One row of an event. */
interface EventRow {
  cpu: number;
  kind: number;
  va: bigint;
  arg: bigint;
}

class Inserter {
  private nextDue = 0;
  /** What every CPU runs, as far as it is known. */
  private readonly running: (Mm | undefined)[] = [];
  private readonly nextRun: number[] = [];
  /** Address spaces that ended while a CPU still runs on their tables. */
  private readonly ended = new Set<Mm>();
  private rows: EventRow[] = [];

  constructor(
    private readonly plan: Plan,
    private readonly counts: EventCounts,
  ) {}

  /** The rows of a batch before which something may have to stand, in order. */
  placesIn(batch: Batch, first: number): number[] {
    const places = new Set<number>();
    const { due, switchVa } = this.plan;
    for (let i = this.nextDue; i < due.length && due[i].row < first + batch.rows; i++) places.add(due[i].row - first);
    if (switchVa === null) return [...places];
    const words = new Uint32Array(batch.va.buffer, batch.va.byteOffset, 2 * batch.rows);
    const [low, high] = [Number(switchVa & 0xffff_ffffn), Number(switchVa >> 32n)];
    for (let i = 0; i < batch.rows; i++) {
      if (words[2 * i] === low && words[2 * i + 1] === high && batch.kind[i] === FETCH) places.add(i);
    }
    return [...places].sort((a, b) => a - b);
  }

  /** The events before a row. */
  eventsAt(row: number, cpu: number, switching: boolean): EventRow[] {
    this.rows = [];
    const { due } = this.plan;
    for (; this.nextDue < due.length && due[this.nextDue].row === row; this.nextDue++) this.add(due[this.nextDue], cpu);
    const next = switching ? this.runFrom(row, cpu) : undefined;
    if (next) this.switchTo(next.mm, cpu);
    return this.rows;
  }

  /** The run that goes on or begins after a row. */
  private runFrom(row: number, cpu: number): Run | undefined {
    const runs = this.plan.runs[cpu] ?? [];
    let next = this.nextRun[cpu] ?? 0;
    while (next < runs.length && runs[next].last < row) next++;
    this.nextRun[cpu] = next;
    return runs[next];
  }

  private add(event: Due, cpu: number): void {
    switch (event.what) {
      case 'runs':
        return this.switchTo(event.mm, event.cpu);
      case 'mm_create':
        // Its table was used by another before, which must be gone now.
        for (const mm of this.ended) if (mm.pa === event.mm.pa) this.end(mm, cpu);
        return this.emit(event.what, cpu, event.mm.pa, event.mm.asid);
      case 'mm_destroy':
        if (this.running.includes(event.mm)) this.ended.add(event.mm);
        else this.end(event.mm, cpu);
        return;
      case 'user_pud_alloc':
      case 'user_pud_free':
        return this.emit(event.what, cpu, event.va, event.mm.pa);
      case 'user_map':
        return this.emit(event.what, cpu, event.va, event.pages, event.mm.pa, event.pa);
      case 'user_unmap':
        return this.emit(event.what, cpu, event.va, event.pages, event.mm.pa);
      case 'user_prot':
        return this.emit(event.what, cpu, event.va, event.pages, event.mm.pa, event.prot);
      default:
        return this.emit(event.what, cpu, ...event.operands);
    }
  }

  private switchTo(mm: Mm, cpu: number): void {
    const left = this.running[cpu];
    if (left === mm) return;
    this.emit('ctx_switch', cpu, mm.pa, mm.asid, left?.pa ?? 0);
    this.running[cpu] = mm;
    if (left && this.ended.has(left) && !this.running.includes(left)) this.end(left, cpu);
  }

  private end(mm: Mm, cpu: number): void {
    this.ended.delete(mm);
    this.emit('mm_destroy', cpu, mm.pa);
  }

  /** An event with its operands, two per row. */
  private emit(name: EventName, cpu: number, ...operands: number[]): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
    for (let i = 0; i < operands.length; i += 2) {
      const kind = i === 0 ? KINDS.get(name)! : OPERANDS;
      this.rows.push({ cpu, kind, va: BigInt(operands[i]), arg: BigInt(operands[i + 1] ?? 0) });
    }
  }
}

function toBatch(events: readonly EventRow[]): Batch {
  const rows = events.length;
  return {
    rows,
    cpu: Uint16Array.from(events, ({ cpu }) => cpu),
    kind: Uint8Array.from(events, ({ kind }) => kind),
    va: BigUint64Array.from(events, ({ va }) => va),
    pa: new BigUint64Array(rows).fill(PA_UNKNOWN),
    size: new Uint16Array(rows),
    insns: new Uint8Array(rows),
    mode: new Uint8Array(rows).fill(MODE_KERNEL),
    arg: BigUint64Array.from(events, ({ arg }) => arg),
  };
}
