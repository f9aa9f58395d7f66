// The line caches of a machine (docs/caches.md): private caches of each CPU, last-level caches of clusters or of the memory of
// a node. Read `access`, then `bring`, which is steps 2 to 5 of the definition.
import { type Enterer, LINE_SHIFT, LineCache } from './linecache.js';
import { type CachesConfig } from './types.js';

/** Lines of 4 KiB are 64: prefetches stay within them. */
const LINES_OF_4K_SHIFT = 6n;

/** What a line is wanted for; a load or a store is `data`. */
export type AccessKind = 'fetch' | 'data' | 'walk';

/** The home node of a physical address, for a CPU on the given node. */
export type HomeOf = (pa: bigint, node: number) => number;

/** One access of one CPU. */
export interface LineAccess {
  cpu: number;
  kind: AccessKind;
  store: boolean;
  pa: bigint;
  homeOf: HomeOf;
  by: Enterer;
}

/** Cycles of the latencies; `memory` is [from node][to node]. */
export interface CacheLatencies {
  l2: number;
  llc: number;
  memory: number[][];
}

interface Llc {
  cache: LineCache;
  node: number;
  /** The CPUs that use no other; none where the LLC belongs to the memory. */
  cluster: Cpu[];
}

interface Cpu {
  id: number;
  node: number;
  l1i: LineCache;
  l1d: LineCache;
  l2: LineCache | null;
}

/** A line on its way: who asks, and which LLC a CPU uses for it. */
interface Request {
  cpu: Cpu;
  line: bigint;
  homeOf: HomeOf;
  by: Enterer;
}

/** Where a line was found: the end of the key of each count, the latency, and whether step 5 was needed. */
interface Found {
  counts: { level: 'l2' | 'llc' | 'memory'; outcome: 'hit' | 'miss' | 'local' | 'remote' }[];
  cycles: number;
  inMemory: boolean;
}

const privateCaches = ({ l1i, l1d, l2 }: Cpu) => (l2 ? [l1i, l1d, l2] : [l1i, l1d]);

/** All line caches of one machine. */
export class Caches {
  private readonly cpus: Cpu[];
  private readonly llcs: Llc[];

  constructor(
    private readonly config: CachesConfig,
    private readonly cycles: CacheLatencies,
    cpuNode: number[],
    nodes: number,
    private readonly count: (cpu: number, key: string, amount?: number) => void,
  ) {
    const { l1i, l1d, l2 } = config;
    this.cpus = cpuNode.map((node, id) => {
      return { id, node, l1i: new LineCache(l1i), l1d: new LineCache(l1d), l2: l2 && new LineCache(l2) };
    });
    this.llcs = Array.from({ length: nodes }, (_, node) => node).flatMap((node) => this.llcsOf(node));
  }

  /** One access, its counts and its latency. */
  access({ cpu: id, kind, store, pa, homeOf, by }: LineAccess): void {
    const request: Request = { cpu: this.cpus[id], line: pa >> LINE_SHIFT, homeOf, by };
    const { l1i, l1d } = request.cpu;
    const fromL2 = kind === 'walk' && this.config.walks === 'l2';
    const l1 = kind === 'fetch' ? l1i : l1d;
    const entry = fromL2 ? null : l1.lookup(request.line);
    if (!fromL2) this.count(id, `cache.${kind === 'fetch' ? 'l1i' : 'l1d'}.${kind}.${entry ? 'hit' : 'miss'}`);
    if (!entry) {
      const { counts, cycles } = this.bring(request);
      for (const { level, outcome } of counts) this.count(id, `cache.${level}.${kind}.${outcome}`);
      this.count(id, `cycles.${kind}`, cycles);
      if (!fromL2) l1.enter(request.line, by);
    }
    if (store) this.own(request);
    if (kind === 'fetch' && (!entry || entry.prefetched)) {
      if (entry) entry.prefetched = false;
      this.prefetch(request);
    }
  }

  /** Drops the lines that some access entered, on all CPUs. Nothing follows from it: no replacement, no write. */
  invalidate(isInScope: (by: Enterer) => boolean): void {
    const all = [...this.cpus.flatMap(privateCaches), ...this.llcs.map(({ cache }) => cache)];
    for (const cache of all) cache.invalidate(isInScope);
  }

  /** Steps 2 to 5, and the line entered where it was missed, L1 excepted. */
  private bring(request: Request): Found {
    const { cpu, line, homeOf, by } = request;
    const counts: Found['counts'] = [];
    if (cpu.l2) {
      const hit = cpu.l2.lookup(line) !== null;
      counts.push({ level: 'l2', outcome: hit ? 'hit' : 'miss' });
      if (hit) return { counts, cycles: this.cycles.l2, inMemory: false };
    }

    const llc = this.llcFor(cpu, request);
    const owner = this.cpus.find((other) => other !== cpu && other.l1d.probe(line)?.owned);
    if (owner) owner.l1d.probe(line)!.owned = false;
    const inLlc = llc !== null && (owner ? this.llcFor(owner, request) === llc : llc.cache.probe(line) !== null);
    if (llc) counts.push({ level: 'llc', outcome: inLlc ? 'hit' : 'miss' });

    const from = inLlc ? llc.node : (owner?.node ?? homeOf(line << LINE_SHIFT, cpu.node));
    const memory = this.cycles.memory[cpu.node];
    if (!inLlc) counts.push({ level: 'memory', outcome: from === cpu.node ? 'local' : 'remote' });
    const cycles = inLlc ? this.cycles.llc + Math.max(0, memory[from] - memory[cpu.node]) : memory[from];

    if (llc && !llc.cache.lookup(line)) {
      const replaced = llc.cache.enter(line, by);
      if (replaced !== null) this.leftLlc(llc, replaced, cpu);
    }
    cpu.l2?.enter(line, by);
    return { counts, cycles, inMemory: !inLlc && !owner };
  }

  /** A store makes the line this CPU's own. Of the others' copies those go first that go with their LLC. */
  private own(request: Request): void {
    const { cpu, line } = request;
    const entry = cpu.l1d.probe(line)!;
    if (entry.owned) return;
    const kept = this.llcFor(cpu, request);
    for (const llc of this.llcs) if (llc !== kept && llc.cache.lose(line)) this.leftLlc(llc, line, cpu);
    for (const other of this.cpus) if (other !== cpu) for (const cache of privateCaches(other)) cache.lose(line);
    entry.owned = true;
  }

  /** A line left an LLC because of an access of `cause`. */
  private leftLlc({ cluster }: Llc, line: bigint, cause: Cpu): void {
    if (!this.config.llc!.inclusive) return;
    for (const cache of cluster.flatMap(privateCaches)) {
      if (cache.lose(line)) this.count(cause.id, 'cache.llc.backInvalidated');
    }
  }

  /** The lines after a fetched one, in the same 4 KiB. */
  private prefetch({ cpu, line: fetched, homeOf, by }: Request): void {
    for (let ahead = 1; ahead <= this.config.prefetchLines; ahead++) {
      const line = fetched + BigInt(ahead);
      if (line >> LINES_OF_4K_SHIFT !== fetched >> LINES_OF_4K_SHIFT) return;
      if (cpu.l1i.probe(line)) continue;
      const { inMemory } = this.bring({ cpu, line, homeOf, by });
      cpu.l1i.enter(line, by, true);
      this.count(cpu.id, 'cache.prefetch.lines');
      if (inMemory) this.count(cpu.id, 'cache.prefetch.memory');
    }
  }

  /** The LLC that a CPU uses for a line: its cluster's, or that of the line's home. */
  private llcFor(cpu: Cpu, { line, homeOf }: Request): Llc | null {
    if (!this.config.llc) return null;
    if (this.config.llc.remoteCacheable) return this.llcs.find(({ cluster }) => cluster.includes(cpu))!;
    return this.llcs[homeOf(line << LINE_SHIFT, cpu.node)];
  }

  /** The LLCs of a node: one that belongs to its memory, or one for each group of its CPUs. */
  private llcsOf(node: number): Llc[] {
    const { llc } = this.config;
    if (!llc) return [];
    if (!llc.remoteCacheable) return [{ cache: new LineCache(llc), node, cluster: [] }];
    const local = this.cpus.filter((cpu) => cpu.node === node);
    const size = llc.cpus ?? local.length;
    const llcs: Llc[] = [];
    for (let from = 0; from < local.length; from += size) {
      llcs.push({ cache: new LineCache(llc), node, cluster: local.slice(from, from + size) });
    }
    return llcs;
  }
}
