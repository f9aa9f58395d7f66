// Page tables as they lie in memory: a map from the physical address of each 8-byte descriptor to its value. An address
// that the map does not hold reads as 0, which no format takes for a valid descriptor.
import { indexOf, type Format, type Level } from './format.js';

/** One descriptor on the way from the root; `value` is 0 where nothing is mapped. */
export interface Step {
  level: Level;
  tablePa: bigint;
  stepPa: bigint;
  value: bigint;
}

/** The tables of every context. */
export class Tables {
  private readonly memory = new Map<bigint, bigint>();
  private readonly roots = new Map<string, bigint>();

  constructor(private readonly format: Format) {}

  /** The descriptors from the root down to a leaf or to the first empty one; none when there is no root. */
  descend(context: string, va: bigint): Step[] {
    const steps: Step[] = [];
    let tablePa = this.roots.get(this.rootKey(context, va));
    for (const level of this.format.levels) {
      if (tablePa === undefined) break;
      const stepPa = tablePa + 8n * indexOf(level, va);
      const value = this.memory.get(stepPa) ?? 0n;
      steps.push({ level, tablePa, stepPa, value });
      tablePa = value !== 0n && this.format.isTable(value, level) ? this.format.tablePa(value) : undefined;
    }
    return steps;
  }

  /** The descriptors from the root to the leaf, or null when the VA is not mapped. */
  probe(context: string, va: bigint): Step[] | null {
    const steps = this.descend(context, va);
    return steps.length > 0 && steps[steps.length - 1].value !== 0n ? steps : null;
  }

  /** Maps an unmapped VA by a leaf at a level: makes the missing tables from the top down, then the leaf. */
  map(context: string, va: bigint, leafLevel: Level, newTable: () => bigint, newLeaf: () => bigint): void {
    const rootKey = this.rootKey(context, va);
    if (!this.roots.has(rootKey)) this.roots.set(rootKey, newTable());
    let tablePa = this.roots.get(rootKey)!;
    for (const level of this.format.levels) {
      const stepPa = tablePa + 8n * indexOf(level, va);
      if (level === leafLevel) {
        this.memory.set(stepPa, newLeaf());
        return;
      }
      if (!this.memory.has(stepPa)) this.memory.set(stepPa, this.format.tableDescriptor(newTable()));
      tablePa = this.format.tablePa(this.memory.get(stepPa)!);
    }
  }

  /** Rewrites one descriptor. */
  rewrite(step: Step, value: bigint): void {
    this.memory.set(step.stepPa, value);
  }

  private rootKey(context: string, va: bigint): string {
    return `${context} root ${this.format.rootOf(va)}`;
  }
}
