// Page tables as they lie in memory: a map from the address of each 8-byte descriptor to its value. An address that the map
// does not hold reads as 0, which no format takes for a valid descriptor. The addresses are physical, or in stage-1 tables of
// a VM intermediate.
import { indexOf } from './arch/geometry.js';
import { type Format, type Leaf, type Level } from './format.js';

/** One descriptor on the way from the root; `value` is 0 where nothing is mapped. */
export interface Step {
  level: Level;
  table: bigint;
  entry: bigint;
  value: bigint;
}

/** The tables of every context of one format in one address space. */
export class Tables {
  private readonly memory = new Map<bigint, bigint>();
  private readonly roots = new Map<string, bigint>();

  /** Pages are installed dirty, or clean; those of the upper half are global, or not. */
  constructor(
    readonly format: Format,
    private readonly dirty: boolean,
    private readonly globalUpper = false,
  ) {}

  /** The context that a VA's tables and TLB entries belong to: global pages, and the tables of their half, serve all ASIDs. */
  owner(context: string, va: bigint): string {
    return this.isGlobal(va) ? `${context.slice(0, context.lastIndexOf(' '))} global` : context;
  }

  private isGlobal(va: bigint): boolean {
    return this.globalUpper && this.format.isUpper(va);
  }

  /** The descriptors from the root down to a leaf or to the first empty one; none when there is no root. */
  descend(context: string, va: bigint): Step[] {
    const steps: Step[] = [];
    let table = this.roots.get(this.rootKey(context, va));
    for (const level of this.format.levels) {
      if (table === undefined) break;
      const entry = table + 8n * indexOf(level, va);
      const value = this.memory.get(entry) ?? 0n;
      steps.push({ level, table, entry, value });
      table = value !== 0n && this.format.isTable(value, level) ? this.format.tablePa(value) : undefined;
    }
    return steps;
  }

  /** The descriptors from the root to the leaf, or null when the VA is not mapped. */
  probe(context: string, va: bigint): Step[] | null {
    const steps = this.descend(context, va);
    return steps.length > 0 && steps[steps.length - 1].value !== 0n ? steps : null;
  }

  /** Whether an unmapped VA could get this page: no table and no other page is in any of its entries. */
  isFree(context: string, va: bigint, leaf: Leaf): boolean {
    const empty = this.descend(context, va).pop();
    if (!empty || empty.level.shift > leaf.level.shift) return true; // the table of the leaf does not exist yet
    return (
      empty.level === leaf.level && this.entriesOf(empty.table, va, leaf).every((entry) => !this.memory.has(entry))
    );
  }

  /** Maps an unmapped VA by a page: makes the missing tables from the top down, then all entries of the page. */
  map(context: string, va: bigint, leaf: Leaf, newTable: (tables: number) => bigint, newPage: () => bigint): void {
    const rootKey = this.rootKey(context, va);
    if (!this.roots.has(rootKey)) this.roots.set(rootKey, newTable(this.format.rootTables));
    let table = this.roots.get(rootKey)!;
    for (const level of this.format.levels) {
      if (level === leaf.level) {
        const page = newPage();
        for (const [i, entry] of this.entriesOf(table, va, leaf).entries()) {
          this.memory.set(entry, this.leafFor(page + (BigInt(i) << level.shift), leaf, va));
        }
        return;
      }
      const entry = table + 8n * indexOf(level, va);
      if (!this.memory.has(entry)) this.memory.set(entry, this.format.tableDescriptor(newTable(1)));
      table = this.format.tablePa(this.memory.get(entry)!);
    }
  }

  /** The page that a path ends in. */
  leafOf(path: Step[]): Leaf {
    const { level, value } = path[path.length - 1];
    return this.format.leafOf(value, level);
  }

  /** Where the page that a path ends in puts the VA. */
  target(path: Step[], va: bigint): bigint {
    const leaf = this.leafOf(path);
    return this.format.pagePa(path[path.length - 1].value, leaf) + (va & ((1n << leaf.shift) - 1n));
  }

  /** Gives a mapped base page another frame, clean or dirty as at first. */
  remap(path: Step[], va: bigint, framePa: bigint): void {
    this.memory.set(path[path.length - 1].entry, this.leafFor(framePa, this.leafOf(path), va));
  }

  /** Makes the page that a path ends in dirty, all entries of it; false when it is already. */
  setDirty(path: Step[], va: bigint): boolean {
    const { table, value } = path[path.length - 1];
    if (this.format.isDirty(value)) return false;
    for (const entry of this.entriesOf(table, va, this.leafOf(path))) {
      this.memory.set(entry, this.format.withDirty(this.memory.get(entry)!));
    }
    return true;
  }

  /** Where the descriptors of a page are in its table. */
  private entriesOf(table: bigint, va: bigint, { level, entries }: Leaf): bigint[] {
    const index = indexOf(level, va);
    const first = index - (index % BigInt(entries));
    return Array.from({ length: entries }, (_, i) => table + 8n * (first + BigInt(i)));
  }

  private leafFor(pagePa: bigint, leaf: Leaf, va: bigint): bigint {
    return this.format.leafDescriptor(pagePa, leaf, this.dirty, this.isGlobal(va));
  }

  private rootKey(context: string, va: bigint): string {
    return `${this.owner(context, va)} root ${this.format.rootOf(va)}`;
  }
}
