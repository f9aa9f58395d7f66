// The oracle: the definition of every count (docs/models.md) as slow, plain TypeScript, written without a look at the core
// that is compared with it. Read `step`, `access`, `lookUp` in this order; each follows a paragraph of the definition.
import { Counts, type PhaseCounts } from './counts.js';
import { formatOf, type Format, type Level } from './format.js';
import { memoryCycles } from './latency.js';
import { PageSizes } from './pagesize.js';
import { Frames, nodeOf } from './placement.js';
import { Tables, type Step } from './tables.js';
import { TlbLevel } from './tlb.js';
import { type Counters, type OracleConfig, type Row, type TraceContext, type Translation } from './types.js';
import { Walker } from './walk.js';

const FETCH = 0;
const STORE = 2;
const FIRST_EVENT = 16;
const PHASE_BEGIN = 16;
const PHASE_END = 17;
const ACCESS_NAMES = ['fetch', 'load', 'store'];
const UNKNOWN_PA = (1n << 64n) - 1n;

interface Cpu {
  id: number;
  node: number;
  l1i: TlbLevel;
  l1d: TlbLevel;
  l2: TlbLevel;
  walker: Walker;
}

/** Guest and hypervisor translations are their own; user and kernel share one regime. */
function contextOf({ mode = 0, asid = 0, vm = 0 }: Pick<Row, 'mode' | 'asid' | 'vm'>): string {
  const guest = (mode & 16) !== 0;
  const hypervisor = (mode & 15) === 2;
  return `${guest ? 'guest' : 'host'}${hypervisor ? ' hyp' : ''} ${vm} ${asid}`;
}

/** One machine that replays one trace. */
export class Oracle {
  private readonly format: Format;
  private readonly tables: Tables;
  private readonly frames: Frames;
  private readonly pageSizes: PageSizes;
  private readonly cpus: Cpu[];
  private readonly cycles: number[][];
  private readonly counts: Counts;
  private rows = 0;

  constructor(
    private readonly config: OracleConfig,
    context: TraceContext,
  ) {
    const { machine, paging, memory } = config;
    this.format = formatOf(paging);
    this.tables = new Tables(this.format);
    this.frames = new Frames(memory, context.nodes, this.format.tableBytes);
    this.pageSizes = new PageSizes(paging.pageSize, context.regions, this.format);
    this.cycles = memoryCycles(machine, context.nodes);
    this.counts = new Counts(context.cpuNode.length);
    this.cpus = context.cpuNode.map((node, id) => ({
      id,
      node,
      l1i: new TlbLevel('l1i', machine.tlb.l1i, this.format),
      l1d: new TlbLevel('l1d', machine.tlb.l1d, this.format),
      l2: new TlbLevel('l2', machine.tlb.l2, this.format),
      walker: new Walker(this.format, machine.walkCaches),
    }));
  }

  /** Replays rows; several calls continue one trace. */
  run(rows: Iterable<Row>): void {
    for (const row of rows) this.step(row);
  }

  /** Counts per CPU over all selected rows. */
  counters(): Counters[] {
    return this.counts.totals;
  }

  /** Counts per phase and CPU, in order of first appearance; `cpu` is the one that began the phase. */
  phases(): PhaseCounts[] {
    return this.counts.phases;
  }

  /** Bytes of table pages on each node. */
  tableBytes(): number[] {
    return this.frames.tableBytesPerNode();
  }

  /** Where the tables put a VA now; changes and counts nothing. */
  translate(at: Pick<Row, 'va' | 'mode' | 'asid' | 'vm'>): Translation | null {
    const path = this.tables.probe(contextOf(at), at.va);
    if (path === null) return null;
    const { level, value } = path[path.length - 1];
    const pageBytes = 1n << level.shift;
    return {
      pa: this.format.pagePa(value, level) + (at.va % pageBytes),
      pageBytes,
      level: level.level,
      entries: path.map((step) => ({ level: step.level.level, tablePa: step.tablePa, value: step.value })),
    };
  }

  private step(row: Row): void {
    this.counts.counting = this.rows++ >= this.config.replay.warmup;
    if (!this.isSelected(row)) return;
    if (row.kind === PHASE_BEGIN) this.counts.begin(Number(row.va), row.cpu);
    if (row.kind >= FIRST_EVENT) this.counts.add(row.cpu, 'access.event');
    else this.access(row);
    if (row.kind === PHASE_END) this.counts.end(Number(row.va));
  }

  /** Whether the row belongs to a selected phase; its begin and end rows do. */
  private isSelected({ kind, va }: Row): boolean {
    const { phases } = this.config.replay;
    if (phases === null) return true;
    const bounds = kind === PHASE_BEGIN || kind === PHASE_END;
    return (bounds && phases.includes(Number(va))) || phases.some((phase) => this.counts.isOpen(phase));
  }

  private access(row: Row): void {
    const cpu = this.cpus[row.cpu];
    this.counts.add(cpu.id, `access.${ACCESS_NAMES[row.kind]}`);
    if (row.kind === FETCH) this.counts.add(cpu.id, 'access.insns', row.insns ?? 1);
    this.lookUp(cpu, row, row.va, row.pa ?? UNKNOWN_PA);

    const { baseShift } = this.format;
    const nextPage = ((row.va >> baseShift) + 1n) << baseShift;
    if (this.config.replay.splitPages && row.va + BigInt(row.size ?? 0) > nextPage) {
      this.lookUp(cpu, row, BigInt.asUintN(64, nextPage), UNKNOWN_PA); // `pa` is that of the first byte
    }
  }

  private lookUp(cpu: Cpu, row: Row, va: bigint, pa: bigint): void {
    const context = contextOf(row);
    const path = this.present(cpu, context, va, pa, row.kind === STORE);
    const pageBytes = 1n << path[path.length - 1].level.shift;

    const first = row.kind === FETCH ? cpu.l1i : cpu.l1d;
    if (this.hits(cpu, first, context, va)) return;
    if (this.hits(cpu, cpu.l2, context, va)) {
      this.counts.add(cpu.id, 'cycles.walk', this.config.machine.latency.l2TlbCycles);
    } else {
      this.walk(cpu, context, va, path);
      cpu.l2.insert(context, va, pageBytes);
    }
    first.insert(context, va, pageBytes);
  }

  private hits(cpu: Cpu, level: TlbLevel, context: string, va: bigint): boolean {
    if (!level.present) return false;
    const hit = level.lookup(context, va);
    this.counts.add(cpu.id, `tlb.${level.name}.${hit ? 'hit' : 'miss'}`);
    return hit;
  }

  private walk(cpu: Cpu, context: string, va: bigint, path: Step[]): void {
    const { hit, reads } = cpu.walker.walk(context, va, path);
    this.counts.add(cpu.id, 'walk.count');
    if (hit !== null) this.counts.add(cpu.id, `walk.cacheHits.${hit}`);
    for (const { level, tablePa } of reads) {
      const home = this.config.memory.tables === 'local' ? cpu.node : nodeOf(tablePa);
      this.counts.add(cpu.id, 'walk.refs');
      this.counts.add(cpu.id, `walk.levels.${level.level}`);
      this.counts.add(cpu.id, home === cpu.node ? 'walk.local' : 'walk.remote');
      this.counts.add(cpu.id, 'cycles.walk', this.cycles[cpu.node][home]);
    }
  }

  /** Makes the tables right for this access and returns the descriptors from the root to the leaf. */
  private present(cpu: Cpu, context: string, va: bigint, pa: bigint, store: boolean): Step[] {
    const captured = this.config.replay.mapping === 'captured' && pa !== UNKNOWN_PA;
    const framePa = captured ? (pa >> this.format.baseShift) << this.format.baseShift : null;
    const mapped = this.tables.probe(context, va);
    if (mapped === null) this.demandMap(cpu, context, va, framePa);
    else if (framePa !== null) this.remap(cpu, context, va, mapped[mapped.length - 1], framePa);

    if (store) this.setDirty(cpu, context, va);
    return this.tables.probe(context, va)!;
  }

  private demandMap(cpu: Cpu, context: string, va: bigint, framePa: bigint | null): void {
    const leafLevel = this.leafLevel(context, va);
    this.tables.map(
      context,
      va,
      leafLevel,
      () => this.frames.newTable(cpu.node),
      () => this.newLeaf(framePa ?? this.frames.newData(cpu.node, va, leafLevel.shift), leafLevel),
    );
    this.counts.add(cpu.id, 'fault.demand');
  }

  private leafLevel(context: string, va: bigint): Level {
    const { levels } = this.format;
    if (this.config.replay.mapping === 'captured') return levels[levels.length - 1];
    // All descriptors but the last of an unmapped path are tables: a leaf must not be above the last.
    const emptyDepth = this.tables.descend(context, va).length - 1;
    return this.pageSizes.leafLevels(va).find((level) => levels.indexOf(level) >= emptyDepth)!;
  }

  private remap(cpu: Cpu, context: string, va: bigint, leaf: Step, framePa: bigint): void {
    if (this.format.pagePa(leaf.value, leaf.level) === framePa) return;
    this.tables.rewrite(leaf, this.newLeaf(framePa, leaf.level));
    this.counts.add(cpu.id, 'walk.remaps');
    for (const { l1i, l1d, l2 } of this.cpus) for (const tlb of [l1i, l1d, l2]) tlb.invalidate(context, va);
  }

  private setDirty(cpu: Cpu, context: string, va: bigint): void {
    const leaf = this.tables.probe(context, va)!.pop()!;
    if (this.format.isDirty(leaf.value)) return;
    this.tables.rewrite(leaf, this.format.withDirty(leaf.value));
    this.counts.add(cpu.id, 'walk.updates');
  }

  private newLeaf(pagePa: bigint, level: Level): bigint {
    return this.format.leafDescriptor(pagePa, level, this.config.replay.dirty === 'set');
  }
}
