// The invariants of events: operands complete and in range, phases in pairs.

import { EVENTS, OPERANDS, PHASE_BEGIN, PHASE_END, isKnownKind, kindName } from '../events.js';
import { type TraceMetadata } from '../metadata.js';
import { largestValue, OperandReader } from '../operands.js';
import { type Findings } from './findings.js';

/** Operands that count something: 0 of it would be no event. */
const COUNTS = /^(pages|bytes|sites|nodes|CPUs)$/;
const CPU = /^CPU(;|$)/;

/** The largest value of every operand that is described in EVENTS and has one. */
const LARGEST: ReadonlyMap<string, number> = new Map(
  EVENTS.flatMap(({ va, arg, more }) => [va, arg, ...(more ?? [])]).flatMap((operand): [string, number][] => {
    const largest = operand === undefined ? null : largestValue(operand);
    return largest === null ? [] : [[operand!, largest]];
  }),
);

/** Follows the events of a trace. */
export class EventChecks {
  private readonly operands = new OperandReader();
  /** The row and CPU of the event whose operands are being read. */
  private event = { row: 0, cpu: 0, kind: 0 };
  /** The phases that each CPU has begun, the innermost last. */
  private readonly open: { number: number; row: number }[][] = [];
  private readonly names: ReadonlySet<number> | null;
  private readonly unnamed = new Set<number>();
  private readonly cpus: number | null;

  constructor(
    private readonly findings: Findings,
    metadata: TraceMetadata | null,
  ) {
    this.names = metadata && new Set(metadata.phases.map(({ number }) => number));
    this.cpus = metadata?.cpus ?? metadata?.cpuNode?.length ?? null;
  }

  /** An access comes next: the event before it has all its operands by now. */
  access(): void {
    this.complete();
  }

  /** A row of kind 3 or above. */
  row(row: number, cpu: number, kind: number, va: bigint, arg: bigint): void {
    if (kind !== OPERANDS) {
      this.complete();
      this.event = { row, cpu, kind };
    }
    if (!isKnownKind(kind)) {
      this.findings.add('kinds', row, cpu, () => `kind ${kind}`);
      return;
    }
    const held = this.operands.read(kind);
    if (held.event === undefined) {
      this.findings.add('operands', row, cpu, () => 'a row of kind 19 after an event that takes no more of them');
      return;
    }
    this.operand(row, cpu, held.event.name, held.va, va);
    this.operand(row, cpu, held.event.name, held.arg, arg);
    if (kind === PHASE_BEGIN) this.begin(Number(va), row, cpu);
    if (kind === PHASE_END) this.end(Number(va), row, cpu);
  }

  /** The last row was seen. */
  finish(): void {
    this.complete();
    this.open.forEach((phases, cpu) => {
      for (const { number, row } of phases) {
        this.findings.add('phases', row, cpu, () => `phase ${hex(number)} begins and never ends`);
      }
    });
  }

  /** An event may lack operands only before the next row. */
  private complete(): void {
    const { missing } = this.operands;
    if (missing > 0) {
      const { row, cpu, kind } = this.event;
      this.findings.add('operands', row, cpu, () => `${kindName(kind)} with ${missing} rows of kind 19 missing`);
    }
    this.operands.stop();
  }

  private operand(row: number, cpu: number, event: string, meaning: string | undefined, value: bigint): void {
    if (meaning === undefined) {
      if (value !== 0n)
        this.findings.add('operands', row, cpu, () => `${event} with ${hex(value)} in an operand without a meaning`);
      return;
    }
    const wrong = (range: string) =>
      this.findings.add('operand-range', row, cpu, () => `${event}: ${hex(value)} for "${meaning}", ${range}`);
    const largest = LARGEST.get(meaning);
    if (largest !== undefined && value > BigInt(largest)) wrong(`the largest is ${largest}`);
    if (COUNTS.test(meaning) && value === 0n) wrong('which is at least 1');
    if (CPU.test(meaning) && this.cpus !== null && value >= BigInt(this.cpus)) wrong(`there are ${this.cpus}`);
  }

  private begin(number: number, row: number, cpu: number): void {
    (this.open[cpu] ??= []).push({ number, row });
    if (this.names === null || this.names.has(number) || this.unnamed.has(number)) return;
    this.unnamed.add(number);
    this.findings.add('phase-names', row, cpu, () => `phase ${hex(number)}`);
  }

  private end(number: number, row: number, cpu: number): void {
    const own = this.open[cpu] ?? [];
    if (own.at(-1)?.number === number) {
      own.pop();
      return;
    }
    const at = own.findLastIndex((phase) => phase.number === number);
    if (at >= 0) {
      const inner = own.at(-1)!;
      own.splice(at, 1);
      this.findings.add('phases', row, cpu, () => `phase ${hex(number)} ends inside phase ${hex(inner.number)}`);
      return;
    }
    const other = this.open.findIndex((phases) => phases?.some((phase) => phase.number === number));
    if (other >= 0) {
      this.open[other].splice(
        this.open[other].findLastIndex((phase) => phase.number === number),
        1,
      );
    }
    this.findings.add('phases', row, cpu, () =>
      other >= 0 ? `phase ${hex(number)} of CPU ${other} ends` : `phase ${hex(number)} ends and never began`,
    );
  }
}

function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}
