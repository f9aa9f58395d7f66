// Records in Wasm memory that more than one part of the core reads: one lane's machine, and the batch that all lanes share.
// They are written by the set-up functions (setup.ts) and by the replay loop; the host never pokes at their fields.
//
// A *lane* is one simulated machine: its own TLBs, walk caches, page tables and counters. All lanes of an instance replay
// the same batches.

/** TLB levels, in the order of a look-up for the instruction and for the data side. */
export enum Level {
  L1i,
  L1d,
  L2,
  Count,
}

/** Descriptor formats. */
export enum Arch {
  X86,
  Arm64,
}

/** Home-node policies (docs/models.md, Placement). */
export enum Policy {
  FirstTouch,
  Local,
  Interleave,
  Node,
}

/** Where pages come from. */
export enum Mapping {
  Demand,
  Captured,
}

/** How a replay call ended. */
export enum Status {
  Done,
  UnknownKind,
  CpuOutsideMachine,
}

/** Kinds of rows, as in the trace's `kind` column. */
export const FETCH: u8 = 0;
export const LOAD: u8 = 1;
export const STORE: u8 = 2;
export const PHASE_BEGIN: u8 = 16;
export const PHASE_END: u8 = 17;
export const OPERANDS: u8 = 19;
export const FIRST_EVENT: u8 = 16;
export const FIRST_SYSTEM_EVENT: u8 = 32;
export const LAST_SYSTEM_EVENT: u8 = 74;

/** `pa` where the capture does not know it. */
export const PA_UNKNOWN: u64 = u64.MAX_VALUE;

/** Page sizes of a format are numbered by their distance from the last level: 0 the base page, 1 one level up, ... */
export const MAX_SIZES: u32 = 4;
/** The longest walk of any format: x86 with five levels, Arm LPA2 from level -1. */
export const MAX_DEPTH: u32 = 5;
/** Arrays of one TLB level; there can be no more than page sizes. */
export const MAX_ARRAYS: u32 = 4;

/** One set-associative array of a TLB level. */
@unmanaged
export class TlbArray {
  /** Byte offset of set 0 within a CPU's block. */
  offset: u32;
  sets: u32;
  ways: u32;
  /** The index is (VA >> indexShift) mod sets. */
  indexShift: u32;
  /** Bit s: takes pages of size number s. */
  sizes: u32;
}

/** One look-up that a level makes: an array, searched for entries of one size. */
@unmanaged
export class Probe {
  array: TlbArray;
  /** log2 of the bytes that the entry covers. */
  entryShift: u32;
}

/** One TLB level of a lane. */
@unmanaged
export class TlbLevel {
  arrayCount: u32;
  probeCount: u32;
  /** TlbArray[MAX_ARRAYS]. */
  arrays: usize;
  /** Probe[MAX_SIZES]. */
  probes: usize;
  /** By page size: the number of the probe whose entries hold such a page in this level, or -1. i32[MAX_SIZES]. */
  entryOf: usize;
  /** By probe: the size number of the pages whose entries it finds, or -1 when they are of several. i32[MAX_SIZES]. */
  sizeOf: usize;
}

/** One machine. Arrays hang off it as raw pointers; their shapes are given with the field. */
@unmanaged
export class Lane {
  // Machine
  cpus: u32;
  nodes: u32;
  /** u32[cpus]: the node of each CPU. */
  cpuNode: usize;
  /** u32[nodes][nodes]: cycles of a memory reference, by the CPU's node and the memory's. */
  latency: usize;
  /** TlbLevel[Level.Count]; a level without arrays is absent. */
  levels: usize;
  /** u32[MAX_DEPTH]: entries of the walk cache for table descriptors of height h (0 unused). */
  walkCacheEntries: usize;
  /** u32[MAX_DEPTH]: its byte offset within a CPU's block. */
  walkCacheOffset: usize;
  /** One block per CPU: counters, then TLB arrays, then walk caches. */
  cpuBlocks: usize;
  cpuBlockBytes: u32;

  // Paging format
  arch: Arch;
  /** log2 of the base page, which is also the size of a table page. */
  pageShift: u32;
  /** Index bits of a table: pageShift - 3. */
  indexBits: u32;
  /** Levels of a full walk. A level's *height* is its distance from the last one: the root's is depth - 1. */
  depth: u32;
  /** Index bits of the root. */
  rootBits: u32;
  /** Page sizes: bit s set when the format has leaves of height s. */
  sizes: u32;
  /** Page sizes that the policy can produce. */
  usedSizes: u32;
  /** The size number where no rule applies. */
  defaultSize: u32;
  /** PageRule[ruleCount]. */
  rules: usize;
  ruleCount: u32;

  // Memory
  dataPolicy: Policy;
  dataNode: u32;
  tablePolicy: Policy;
  tableNode: u32;
  /** u64[nodes]: the next free data address of each node. */
  nextData: usize;
  /** u64[nodes]: table bytes allocated on each node. */
  tableBytes: usize;
  /** Table pages allocated so far, over all nodes. */
  tablePages: u32;
  /** u32[]: where each chunk of table pages lies in Wasm memory (memory/tables.ts). */
  chunks: usize;
  /** Address spaces: an open-addressing table of Space (paging/space.ts). */
  spaces: usize;
  spaceMask: u32;
  spaceCount: u32;

  // Replay
  mapping: Mapping;
  trackDirty: bool;
  splitPages: bool;
}

/** A stretch of virtual addresses [from, to) with its own page size. */
@unmanaged
export class PageRule {
  from: u64;
  /** The last address inside. */
  last: u64;
  size: u32;
}

/** The columns that a replay reads, in the order of the fields of BatchColumns. */
export enum Column {
  Cpu,
  Kind,
  Va,
  Pa,
  Size,
  Insns,
  Mode,
  Asid,
  Vm,
}

/** The columns of the batch in memory; 0 where the trace has no such column. Row r of a column of T is at ptr + r * sizeof T. */
@unmanaged
export class BatchColumns {
  /** u16 */
  cpu: usize;
  /** u8 */
  kind: usize;
  /** u64 */
  va: usize;
  /** u64 */
  pa: usize;
  /** u16 */
  size: usize;
  /** u8 */
  insns: usize;
  /** u8 */
  mode: usize;
  /** u32 */
  asid: usize;
  /** u16 */
  vm: usize;
}

/**
 * The context of a translation as one word, the second half of every tag: asid in the upper 32 bits, then vm, then the regime.
 * The lowest byte is free for the entry's size.
 */
// @ts-ignore: decorator
@inline
export function CONTEXT(mode: u8, asid: u32, vm: u16): u64 {
  return ((<u64>asid) << 32) | ((<u64>vm) << 16) | ((<u64>(mode & REGIME_MASK)) << 8);
}

/** The bits of `mode` that choose a translation regime: guest, hypervisor. User and kernel share one. */
export const REGIME_MASK: u8 = 0x12;
