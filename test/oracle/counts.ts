// Counters per CPU: one set for the whole trace and one for each phase, by phase number and the CPU that began it.
import { type Counters } from './types.js';

/** The counts of one phase, per CPU. */
export interface PhaseCounts {
  phase: number;
  cpu: number;
  counters: Counters[];
}

/** Adds to the totals and to every open phase. */
export class Counts {
  readonly totals: Counters[];
  /** In order of first appearance. */
  readonly phases: PhaseCounts[] = [];
  /** False during the warm-up. */
  counting = true;
  private readonly open = new Map<number, PhaseCounts>();

  constructor(private readonly cpus: number) {
    this.totals = this.zeros();
  }

  /** Opens a phase; a phase that is open already stays as it is. */
  begin(phase: number, cpu: number): void {
    if (this.open.has(phase)) return;
    let counts = this.phases.find((known) => known.phase === phase && known.cpu === cpu);
    if (!counts) this.phases.push((counts = { phase, cpu, counters: this.zeros() }));
    this.open.set(phase, counts);
  }

  /** Closes a phase; nothing happens when it is not open. */
  end(phase: number): void {
    this.open.delete(phase);
  }

  isOpen(phase: number): boolean {
    return this.open.has(phase);
  }

  add(cpu: number, key: string, amount = 1): void {
    if (!this.counting) return;
    for (const counters of [this.totals[cpu], ...[...this.open.values()].map((phase) => phase.counters[cpu])]) {
      counters[key] = (counters[key] ?? 0) + amount;
    }
  }

  private zeros(): Counters[] {
    return Array.from({ length: this.cpus }, () => ({}));
  }
}
