// The oracle: the definition of every count (docs/models.md, docs/caches.md) as slow, plain TypeScript, written without a look at the core
// that is compared with it. Read `step`, `access`, `lookUp` in this order; each follows a paragraph of the definition.
import { type AccessKind, Caches } from './caches.js';
import { Counts, type PhaseCounts } from './counts.js';
import { formatOf, pageSizesOf, stage2FormatOf, type Format, type Leaf } from './format.js';
import { Homes, isText } from './home.js';
import { memoryCycles } from './latency.js';
import { type Enterer, MEMORY_SHIFT } from './linecache.js';
import { PageSizes } from './pagesize.js';
import { Frames, nodeOf } from './placement.js';
import { Tables, type Step } from './tables.js';
import { TlbLevel } from './tlb.js';
import {
  type ColdScope,
  type Counters,
  type OracleConfig,
  type Row,
  type TraceContext,
  type Translation,
  type TranslationEntry,
} from './types.js';
import { Vm } from './vm.js';
import { TagCache, Walker } from './walk.js';

const FETCH = 0;
const STORE = 2;
const FIRST_EVENT = 16;
const PHASE_BEGIN = 16;
const PHASE_END = 17;
const ACCESS_NAMES = ['fetch', 'load', 'store'];
const UNKNOWN_PA = (1n << 64n) - 1n;

/** Neither half, no region: walks and pollution. */
const NOBODY: Enterer = { kernel: false, text: false };
const IN_SCOPE: Record<ColdScope, (by: Enterer) => boolean> = {
  all: () => true,
  kernel: ({ kernel }) => kernel,
  text: ({ text }) => text,
};

const LINE_BYTES = 64;
/** What pollutes is a memory of its CPU's own, which begins at its address 0. */
const pollutionPa = (cpu: number) => BigInt(cpu + 1) << MEMORY_SHIFT;

interface Cpu {
  id: number;
  node: number;
  l1i: TlbLevel;
  l1d: TlbLevel;
  l2: TlbLevel;
  walker: Walker;
  /** Stage 2: its walk caches and the cache of whole translations. */
  walker2: Walker | null;
  ipas: TagCache;
}

/** What a row's mode, asid and vm say: whose tables translate it. */
interface Space {
  context: string;
  /** Null: one stage. */
  vm: Vm | null;
  tables: Tables;
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
  private readonly stage2: Format | null;
  private readonly tables: Tables;
  private readonly vms = new Map<number, Vm>();
  private readonly frames: Frames;
  private readonly pageSizes: PageSizes;
  private readonly cpus: Cpu[];
  private readonly cycles: number[][];
  private readonly counts: Counts;
  private readonly homes: Homes;
  /** Null: fetches and data cost nothing, descriptors come from memory. */
  private readonly caches: Caches | null;
  private rows = 0;

  constructor(
    private readonly config: OracleConfig,
    private readonly context: TraceContext,
  ) {
    const { machine, paging, memory, replay } = config;
    const { walkCaches } = machine;
    if (paging.stage2 && replay.mapping === 'captured') throw new Error('captured mapping has no stage 2');
    this.format = formatOf(paging);
    this.stage2 = paging.stage2 ? stage2FormatOf(paging.stage2) : null;
    this.tables = new Tables(this.format, replay.dirty === 'set', paging.global === 'kernel');
    const tableBytes = [this.format.tableBytes, this.stage2?.tableBytes ?? 0n];
    this.frames = new Frames(memory, context.nodes, tableBytes[0] > tableBytes[1] ? tableBytes[0] : tableBytes[1]);
    this.pageSizes = new PageSizes(paging.pageSize, context.regions, this.format);
    this.cycles = memoryCycles(machine, context.nodes);
    this.counts = new Counts(context.cpuNode.length);
    this.homes = new Homes(this.frames, context, memory.text ?? null, this.format.baseShift);
    this.caches = this.cachesOf(context);
    this.cpus = context.cpuNode.map((node, id) => ({
      id,
      node,
      l1i: new TlbLevel('l1i', machine.tlb.l1i, this.format),
      l1d: new TlbLevel('l1d', machine.tlb.l1d, this.format),
      l2: new TlbLevel('l2', machine.tlb.l2, this.format),
      walker: new Walker(this.format, walkCaches),
      walker2: this.stage2 && new Walker(this.stage2, walkCaches),
      ipas: new TagCache(walkCaches.ipa),
    }));
  }

  /** Replays rows; several calls continue one trace. */
  run(rows: Iterable<Row>): void {
    for (const row of rows) this.step(row);
  }

  /** Makes everything in a scope cold, on all CPUs. */
  cool(scope: ColdScope): void {
    for (const { l1i, l1d, l2, walker, walker2, ipas } of this.cpus) {
      for (const cache of [l1i, l1d, l2, walker, walker2, ipas]) cache?.clear();
    }
    this.caches?.invalidate(IN_SCOPE[scope]);
  }

  /** A CPU reads so many bytes of its own, the same every time; nothing is counted. */
  pollute(cpuId: number, bytes: bigint): void {
    this.counts.counting = false; // until the next row
    const homeOf = () => this.cpus[cpuId].node;
    for (let at = 0n; at < bytes; at += BigInt(LINE_BYTES)) {
      this.caches?.access({ cpu: cpuId, kind: 'data', store: false, pa: pollutionPa(cpuId) + at, homeOf, by: NOBODY });
    }
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
    const { context, vm, tables } = this.spaceOf(at);
    const path = tables.probe(context, at.va);
    if (path === null) return null;
    const entriesOf = (steps: Step[], physical: (address: bigint) => bigint): TranslationEntry[] =>
      steps.map(({ level, table, entry, value }) => {
        return { level: level.level, tablePa: physical(table), entryPa: physical(entry), value };
      });
    const ofStage1 = { pageBytes: 1n << tables.leafOf(path).shift, level: path[path.length - 1].level.level };
    const target = tables.target(path, at.va);
    if (vm === null) return { ...ofStage1, pa: target, entries: entriesOf(path, (pa) => pa) };
    return {
      ...ofStage1,
      pa: vm.physical(target),
      entries: entriesOf(path, (ipa) => vm.physical(ipa)!),
      ipa: target,
      stage2: entriesOf(vm.probe(target) ?? [], (pa) => pa),
    };
  }

  private cachesOf({ cpuNode, nodes }: TraceContext): Caches | null {
    const { caches, latency, clockGHz } = this.config.machine;
    if (!caches) return null;
    const { l2Cycles = 0, llcNs = 0 } = latency;
    const latencies = { l2: l2Cycles, llc: Math.round(llcNs * clockGHz), memory: this.cycles };
    return new Caches(caches, latencies, cpuNode, nodes, (cpu, key, amount) => this.counts.add(cpu, key, amount));
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
    this.translateAndAccess(cpu, row, row.va, row.pa ?? UNKNOWN_PA);

    const { baseShift } = this.format;
    const nextPage = ((row.va >> baseShift) + 1n) << baseShift;
    if (this.config.replay.splitPages && row.va + BigInt(row.size ?? 0) > nextPage) {
      this.translateAndAccess(cpu, row, BigInt.asUintN(64, nextPage), UNKNOWN_PA); // `pa` is that of the first byte
    }
  }

  private translateAndAccess(cpu: Cpu, row: Row, va: bigint, pa: bigint): void {
    this.lookUp(cpu, row, va, pa);
    if (!this.caches) return;
    const { context, vm, tables } = this.spaceOf(row);
    const target = tables.target(tables.probe(context, va)!, va);
    const owner = tables.owner(context, va);
    const kind: AccessKind = row.kind === FETCH ? 'fetch' : 'data';
    this.caches.access({
      cpu: cpu.id,
      kind,
      store: row.kind === STORE,
      pa: vm ? vm.physical(target)! : this.homes.addressOf(owner, va, target), // backed: the look-up walked, or its TLB entry is from a walk
      homeOf: (pa, node) => this.homes.of(pa, node),
      by: { kernel: this.format.isUpper(va), text: isText(this.context.regions, va) },
    });
  }

  /** Everything is translated in two stages but the hypervisor outside a guest; where there is a stage 2. */
  private spaceOf(at: Pick<Row, 'mode' | 'asid' | 'vm'>): Space {
    const { mode = 0, vm: id = 0 } = at;
    const context = contextOf(at);
    const { paging, replay } = this.config;
    if (!this.stage2 || (mode & 31) === 2) return { context, vm: null, tables: this.tables };
    if (!this.vms.has(id)) {
      const tables = new Tables(this.format, replay.dirty === 'set', paging.global === 'kernel');
      const count = (cpuId: number) => this.counts.add(cpuId, 'fault.stage2');
      this.vms.set(id, new Vm(id, tables, this.stage2, paging.stage2!, this.frames, count));
    }
    const vm = this.vms.get(id)!;
    return { context, vm, tables: vm.stage1 };
  }

  private lookUp(cpu: Cpu, row: Row, va: bigint, pa: bigint): void {
    const space = this.spaceOf(row);
    const path = this.present(cpu, space, va, pa, row.kind === STORE);
    const context = space.tables.owner(space.context, va);

    const first = row.kind === FETCH ? cpu.l1i : cpu.l1d;
    if (this.hits(cpu, first, context, va)) return;
    const pageBytes = this.translationBytes(space, path);
    if (this.hits(cpu, cpu.l2, context, va)) {
      this.counts.add(cpu.id, 'cycles.walk', this.config.machine.latency.l2TlbCycles);
    } else {
      this.walk(cpu, space, va, path);
      cpu.l2.insert(context, va, pageBytes);
    }
    first.insert(context, va, pageBytes);
  }

  /** Bytes that the translation of one address is good for, as a page size of stage 1 unless stage-2 pages are smaller. */
  private translationBytes({ vm, tables }: Space, path: Step[]): bigint {
    const pageBytes = 1n << tables.leafOf(path).shift;
    if (vm === null) return pageBytes;
    const stage2Bytes = 1n << this.stage2!.leaves[0].shift;
    const smaller = pageBytes < stage2Bytes ? pageBytes : stage2Bytes;
    return pageSizesOf(this.format).findLast((bytes) => bytes <= smaller) ?? smaller;
  }

  private hits(cpu: Cpu, level: TlbLevel, context: string, va: bigint): boolean {
    if (!level.present) return false;
    const hit = level.lookup(context, va);
    this.counts.add(cpu.id, `tlb.${level.name}.${hit ? 'hit' : 'miss'}`);
    return hit;
  }

  private walk(cpu: Cpu, { context, vm, tables }: Space, va: bigint, path: Step[]): void {
    const { hit, reads } = cpu.walker.walk(context, va, path);
    this.counts.add(cpu.id, 'walk.count');
    if (hit !== null) this.counts.add(cpu.id, `walk.cacheHits.${hit}`);
    for (const [i, { level, entry }] of reads.entries()) {
      // What a walk cache holds is where the next table is physically.
      const known = i === 0 && hit !== null;
      if (vm && !known) this.translateIpa(cpu, vm, entry);
      this.counts.add(cpu.id, `walk.levels.${level.level}`);
      this.countRead(cpu, vm ? vm.physical(entry)! : entry);
    }
    if (vm) this.translateIpa(cpu, vm, tables.target(path, va));
  }

  /** One stage-2 translation. Only a page can be without backing: tables have it from the start. */
  private translateIpa(cpu: Cpu, vm: Vm, ipa: bigint): void {
    const path = vm.back(cpu, ipa, 'data');
    const tag = `${vm.id} ${vm.pageNumber(ipa)}`;
    if (cpu.ipas.lookup(tag)) {
      this.counts.add(cpu.id, 'walk.cacheHits.ipa');
      return;
    }
    const { hit, reads } = cpu.walker2!.walk(`${vm.id}`, ipa, path);
    if (hit !== null) this.counts.add(cpu.id, `walk.cacheHits.${hit}`);
    for (const { entry } of reads) {
      this.counts.add(cpu.id, 'walk.stage2Refs');
      this.countRead(cpu, entry);
    }
    cpu.ipas.insert(tag);
  }

  /** One descriptor read by a walk, of either stage. */
  private countRead(cpu: Cpu, entryPa: bigint): void {
    const homeOf = (pa: bigint, node: number) => (this.config.memory.tables === 'local' ? node : nodeOf(pa));
    const home = homeOf(entryPa, cpu.node);
    this.counts.add(cpu.id, 'walk.refs');
    this.counts.add(cpu.id, home === cpu.node ? 'walk.local' : 'walk.remote');
    if (this.caches) this.caches.access({ cpu: cpu.id, kind: 'walk', store: false, pa: entryPa, homeOf, by: NOBODY });
    else this.counts.add(cpu.id, 'cycles.walk', this.cycles[cpu.node][home]);
  }

  /** Makes the tables right for this access and returns the descriptors from the root to the leaf. */
  private present(cpu: Cpu, space: Space, va: bigint, pa: bigint, store: boolean): Step[] {
    const { context, tables } = space;
    const captured = this.config.replay.mapping === 'captured' && pa !== UNKNOWN_PA;
    const framePa = captured ? (pa >> this.format.baseShift) << this.format.baseShift : null;
    const mapped = tables.probe(context, va);
    if (mapped === null) this.demandMap(cpu, space, va, framePa);
    else if (framePa !== null) this.remap(cpu, context, va, mapped, framePa);
    if (framePa !== null) this.homes.capture(tables.owner(context, va), va);

    if (store && tables.setDirty(tables.probe(context, va)!, va)) this.counts.add(cpu.id, 'walk.updates');
    return tables.probe(context, va)!;
  }

  private demandMap(cpu: Cpu, space: Space, va: bigint, framePa: bigint | null): void {
    const { context, vm, tables } = space;
    const leaf = this.leafFor(space, va);
    const newTable = (count: number) =>
      vm ? vm.newTable(cpu, count) : this.frames.newTable(cpu.node, this.format.tableBytes, count);
    const holds = isText(this.context.regions, va) ? 'text' : 'data';
    const newPage = () =>
      framePa ?? (vm ? vm.newPage(leaf.shift) : this.frames.newFrame(holds, cpu.node, va, leaf.shift));
    tables.map(context, va, leaf, newTable, newPage);
    this.counts.add(cpu.id, 'fault.demand');
  }

  private leafFor({ context, tables }: Space, va: bigint): Leaf {
    if (this.config.replay.mapping === 'captured') return this.format.leaves[this.format.leaves.length - 1];
    return this.pageSizes.leaves(va).find((leaf) => tables.isFree(context, va, leaf))!;
  }

  private remap(cpu: Cpu, context: string, va: bigint, path: Step[], framePa: bigint): void {
    const presentPa = this.format.pagePa(path[path.length - 1].value, this.tables.leafOf(path));
    // An allocated frame is another one than any captured, whatever their numbers.
    if (presentPa === framePa && this.homes.isCaptured(this.tables.owner(context, va), va)) return;
    this.tables.remap(path, va, framePa);
    this.counts.add(cpu.id, 'walk.remaps');
    for (const { l1i, l1d, l2 } of this.cpus) for (const tlb of [l1i, l1d, l2]) tlb.invalidate(context, va);
  }
}
