// What the oracle is given and what it gives back: the part of a resolved configuration that decides counts, the facts of
// a trace outside its rows, one row, and one translation. Declared here again on purpose: the oracle shares no code, not
// even types, with what it judges.

/** A page size as configurations write it. */
export type PageSize = '4K' | '16K' | '64K' | '2M' | '32M' | '512M' | '1G' | '16G' | '64G' | '512G' | '4T';

/** One TLB array; `pages: null` takes every size of the format. */
export interface TlbArrayConfig {
  sets: number;
  ways: number;
  pages: PageSize[] | null;
}

/** Where pages live. */
export type Placement = 'first-touch' | 'local' | 'interleave' | { node: number };

/** The page size of one region, given by name or by bounds (`to` is exclusive). */
export interface PageRule {
  region?: string;
  from?: string | number;
  to?: string | number;
  size: PageSize;
}

/** Page size per address: the first rule that holds the address, else the default. */
export interface PagePolicy {
  default: PageSize;
  rules: PageRule[];
}

/** Walk caches: x86 names, Arm names and those of stage 2 side by side; `ipa` holds whole stage-2 translations. */
export type WalkCacheName =
  ('pde' | 'pdpte' | 'pml4e' | 'pml5e' | 'l2' | 'l1' | 'l0' | 'lm1') | ('ipa' | 's2l2' | 's2l1' | 's2l0' | 's2lm1');

/** The stage-2 format of every VM, with its one page size. */
export type Stage2Paging =
  | { format: 'arm64'; granule: '4K' | '16K' | '64K'; ipaBits: number; pageSize: PageSize }
  | { format: 'ept'; levels: 4 | 5; pageSize: PageSize };

/** A paging format, its page-size policy, and stage 2 if there is one. */
export type Paging = { pageSize: PagePolicy; stage2?: Stage2Paging | null; global?: 'none' | 'kernel' } & (
  { format: 'x86-64'; levels: 4 | 5 } | { format: 'arm64'; granule: '4K' | '16K' | '64K'; vaBits: number }
);

/** A line cache. */
export interface CacheGeometry {
  sets: number;
  ways: number;
}

/** The line caches of docs/caches.md. */
export interface CachesConfig {
  l1i: CacheGeometry;
  l1d: CacheGeometry;
  l2: CacheGeometry | null;
  llc: (CacheGeometry & { cpus: number | null; remoteCacheable: boolean; inclusive: boolean }) | null;
  walks: 'l1d' | 'l2';
  prefetchLines: number;
}

/** What is made cold: TLBs and walk caches always; of the line caches everything, or what kernel or text accesses entered. */
export type ColdScope = 'all' | 'kernel' | 'text';

/** The part of a resolved configuration that decides counts. */
export interface OracleConfig {
  machine: {
    distances: number[][] | null;
    clockGHz: number;
    tlb: { l1i: TlbArrayConfig[]; l1d: TlbArrayConfig[]; l2: TlbArrayConfig[] | null };
    walkCaches: Record<WalkCacheName, number>;
    /** `l2Cycles` and `llcNs` are those of line caches, 0 when left out. */
    latency: { localNs: number; remoteNs: number; l2TlbCycles: number; l2Cycles?: number; llcNs?: number };
    /** Left out or null: fetches and data cost nothing. */
    caches?: CachesConfig | null;
  };
  paging: Paging;
  /** `text` null or left out: text is data like any other. */
  memory: { data: Placement; tables: Placement; text?: Placement | null };
  replay: {
    mapping: 'demand' | 'captured';
    dirty: 'set' | 'tracked';
    splitPages: boolean;
    warmup: number;
    phases: number[] | null;
  };
}

/** What is known of a trace and its machine outside the rows. A row leaves out the columns that `has` denies. */
export interface TraceContext {
  /** Node of each CPU of the machine. */
  cpuNode: number[];
  nodes: number;
  has: { pa: boolean; size: boolean; insns: boolean; mode: boolean; asid: boolean; vm: boolean };
  /** Physical ranges per node. They say where captured data lives, which only line caches ask. */
  ranges: { node: number; from: bigint; to: bigint }[];
  /** Named regions; `pa` is where the captured machine had them, if that is known. */
  regions: { name: string; va: bigint; bytes: bigint; pa?: bigint | null }[];
}

/** One row of a trace. A `pa` of all ones is unknown. */
export interface Row {
  cpu: number;
  kind: number;
  va: bigint;
  pa?: bigint;
  size?: number;
  insns?: number;
  mode?: number;
  asid?: number;
  vm?: number;
}

/** Dotted path to count; a count of 0 may be absent. */
export type Counters = Record<string, number>;

/** One descriptor on the way of a translation; addresses are physical. */
export interface TranslationEntry {
  level: number;
  tablePa: bigint;
  entryPa: bigint;
  value: bigint;
}

/** The translation of one address, with the stage-1 descriptors from the root to the leaf. */
export interface Translation {
  /** Null when stage 2 does not map the intermediate address yet. */
  pa: bigint | null;
  /** Of stage 1; a contiguous run is one page. */
  pageBytes: bigint;
  level: number;
  entries: TranslationEntry[];
  /** What stage 2 does with the intermediate address; none of it where there is one stage. */
  ipa?: bigint;
  stage2?: TranslationEntry[];
}
