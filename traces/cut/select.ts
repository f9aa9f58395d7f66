// Which rows of a trace a cut keeps, batch by batch: accesses that pass the filters and the sampling, events by their own
// rule, and the rows of phases that have something in them.
//
// Markers and events of the system stay wherever they are, as later rows depend on what they did; rows of operands go
// where their event goes. The begin of a phase is held back until something of it is kept, and its end goes with it.

import { type Batch, STORE } from '../batch.js';
import { OPERANDS, PHASE_BEGIN, PHASE_END } from '../events.js';
import { type Filter } from './filters.js';

/** Which of the accesses that pass the filters are taken: skip, then every or windows, then first. */
export interface Sampling {
  /** Accesses to leave out at the start. */
  skip?: number;
  /** Take one access in so many. */
  every?: number;
  /** Take the first `window` accesses of every `period`. */
  window?: number;
  period?: number;
  /** Stop after so many. */
  first?: number;
}

/** A phase between its begin and its end. */
interface OpenPhase {
  number: number;
  /** The row that began it. */
  row: number;
  /** Whether that row is kept. */
  kept: boolean;
}

/** Goes through the rows in order. */
export class Selection {
  /** Rows that are kept of the last batch, by their number in the trace; those of phases may be from before the batch. */
  readonly rows: number[] = [];
  /** Whether nothing that follows can be kept. */
  done = false;
  /** Numbers of the phases whose rows are kept. */
  readonly phases = new Set<number>();
  private open: OpenPhase[] = [];
  /** Open phases that the filter names. */
  private wanted = 0;
  private eventKept = false;
  private passed = 0;
  private taken = 0;
  private passing = new Uint8Array(0);

  constructor(
    private readonly filter: Filter,
    private readonly sampling: Sampling,
  ) {}

  /** Decides on the rows of a batch, the first of which is row `first`. */
  batch(batch: Batch, first: number): void {
    const { rows, kind, va } = batch;
    const { filter } = this;
    this.rows.length = 0;
    if (this.passing.length < rows) this.passing = new Uint8Array(rows);
    filter.accesses(batch, this.passing);
    for (let i = 0; i < rows && !this.done; i++) {
      const k = kind[i];
      if (k <= STORE) {
        this.eventKept = false;
        if (this.passing[i] === 0 || (filter.phases !== null && this.wanted === 0) || !this.sampled()) continue;
        this.keep(first + i, true);
      } else if (k === OPERANDS) {
        if (this.eventKept) this.rows.push(first + i);
      } else if (k === PHASE_BEGIN) this.begin(Number(va[i]), first + i);
      else if (k === PHASE_END) this.end(Number(va[i]), first + i);
      else {
        this.eventKept = filter.kinds[k] !== 0 && !filter.isAfter(batch, i);
        if (this.eventKept) this.keep(first + i, false);
      }
    }
  }

  /** The begin rows of phases that are kept and have no end, the innermost first. */
  unended(): number[] {
    return this.open
      .filter(({ kept }) => kept)
      .map(({ row }) => row)
      .reverse();
  }

  /** Whether the next access that passes the filters is taken. */
  private sampled(): boolean {
    const { skip = 0, every = 1, window = 1, period = every, first = Infinity } = this.sampling;
    const at = this.passed++ - skip;
    if (at < 0 || at % period >= window) return false;
    this.done = ++this.taken === first;
    return true;
  }

  /** Keeps a row, and before it the begins of the phases that it is in. */
  private keep(row: number, access: boolean): void {
    for (const phase of this.open) {
      // Events stay outside of the wanted phases too, which does not make others wanted.
      if (phase.kept || !(access || this.isWanted(phase.number))) continue;
      phase.kept = true;
      this.phases.add(phase.number);
      this.rows.push(phase.row);
    }
    this.rows.push(row);
  }

  private isWanted(number: number): boolean {
    const { phases } = this.filter;
    return phases === null || phases.has(number);
  }

  private begin(number: number, row: number): void {
    this.eventKept = false;
    this.open.push({ number, row, kept: false });
    if (this.isWanted(number)) this.wanted++;
  }

  private end(number: number, row: number): void {
    this.eventKept = false;
    const at = this.open.findLastIndex((phase) => phase.number === number);
    if (at < 0) return;
    const [phase] = this.open.splice(at, 1);
    if (this.isWanted(number)) this.wanted--;
    if (phase.kept) this.rows.push(row);
  }
}
