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

/** Descriptor formats (paging/descriptor.ts). */
export enum Format {
  X86,
  Ept,
  ArmStage1,
  ArmStage2,
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
  Tables,
}

/** Line caches (docs/caches.md). */
export enum Cache {
  L1i,
  L1d,
  L2,
  Llc,
  Count,
}

/** What is invalidated before a cold run. */
export enum Scope {
  All,
  Kernel,
  Text,
}

/** How a replay call ended. */
export enum Status {
  Done,
  UnknownKind,
  CpuOutsideMachine,
  GuestMemoryFull,
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

/**
 * Page sizes of a stage-1 format are numbered from the smallest, 0; Arm's contiguous runs are sizes too. Where stage-2 pages are smaller than
 * the base page, the last number stands for the pieces of it that TLB entries hold.
 */
export const MAX_SIZES: u32 = 8;
/** The longest walk of any format: x86 with five levels, Arm LPA2 from level -1. */
export const MAX_DEPTH: u32 = 5;
/** Arrays of one TLB level; there can be no more than page sizes. */
export const MAX_ARRAYS: u32 = 8;

/** How the tables of one stage are walked. A level's *height* is its distance from the last one: the root's is depth - 1. */
@unmanaged
export class Stage {
  format: Format;
  /** log2 of the granule: of the smallest page and of a table page. */
  pageShift: u32;
  /** Index bits of a table: pageShift - 3. */
  indexBits: u32;
  /** Levels of a full walk. */
  depth: u32;
  /** Index bits of the root. */
  rootBits: u32;
  /** Bits of an output address. */
  outputBits: u32;
  /** Bits of paging/descriptor.ts, Control. */
  controls: u32;
}

/** One page size of a lane's stage-1 format. */
@unmanaged
export class PageSize {
  /** log2 of its bytes. */
  shift: u32;
  /** Height of its leaf. */
  height: u32;
  /** log2 of the entries of its contiguous run; 0: a single entry. */
  runBits: u32;
}

/** Table pages and where they lie in Wasm memory (memory/tables.ts). */
@unmanaged
export class TablePool {
  /** u32[]: where each chunk lies. */
  chunks: usize;
  /** Chunks that the directory has room for. */
  room: u32;
  /** log2 of the bytes from one page to the next. */
  pageShift: u32;
  /** Numbers of pages given out. */
  pages: u32;
  /** The number of a page that was given back, plus one; each holds the next in its first word. */
  free: u32;
}

/** One virtual machine's stage 2 and the guest's own tables, when a lane has two stages (paging/vm.ts). */
@unmanaged
export class Vm {
  next: Vm | null;
  vm: u32;
  /** The stage-2 root, plus one; 0: none yet. */
  root: u64;
  /** The guest's table pages, at intermediate addresses from 0. */
  tables: TablePool;
  /** The next free intermediate address of its pages. */
  nextPage: u64;
}

/** A stretch of kernel text in a host's stage 2: whole pages, by intermediate address, and where each root has it. */
@unmanaged
export class HostText {
  from: u64;
  /** The last address inside. */
  last: u64;
  /** u64[roots] */
  frames: usize;
  /** PatchedLine (paging/copies.ts), the first; 0: none. */
  lines: usize;
}

/** The stage 2 under which a pKVM host runs: one root per node (paging/hosttree.ts). */
@unmanaged
export class HostTree {
  stage: Stage;
  roots: u32;
  /** u64[roots]: where each root is. */
  root: usize;
  /** The node that has the text, and whose tables are the primary ones. */
  home: u32;
  /** Complete tables per node; else all but the way to the text is shared. */
  full: bool;
  /** A fault fills all roots. */
  eager: bool;
  /** All tables are on node 0. */
  node0: bool;
  /** The text is mapped by pages. */
  textPages: bool;
  /** A tag per node, which is a fault. */
  vmidPerNode: bool;
  /** HostText[textCount] */
  texts: usize;
  textCount: u32;
  /** Each root leads to its own copy of the text. */
  replicated: bool;
  /** Pages that there are for tables (0: as many as it takes), and how many are in use. */
  poolPages: u32;
  usedPages: u32;
  /** Stores to descriptors since they were last accounted for: u32[nodes] by the node of the table, and those to keep further roots in step. */
  stores: usize;
  syncing: bool;
  syncStores: u32;
  /** An address, with its lowest bit set, whose live entry was changed without being broken first; 0: none. */
  unbroken: u64;
}

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
  /** There is one probe, and it finds every page: looking up and entering are one step. */
  simple: bool;
  /** TlbArray[MAX_ARRAYS]. */
  arrays: usize;
  /** Probe[MAX_SIZES]. */
  probes: usize;
  /** By page size: the number of the probe whose entries hold such a page in this level, or -1. i32[MAX_SIZES]. */
  entryOf: usize;
  /** By probe: the size number of the pages whose entries it finds, or -1 when they are of several. i32[MAX_SIZES]. */
  sizeOf: usize;
}

/** One line cache, of every CPU or of every cluster; no sets: there is none. */
@unmanaged
export class LineCache {
  sets: u32;
  ways: u32;
  /** Bytes from one set to the next. */
  setBytes: u32;
  /** Byte offset of set 0 within a CPU's block of lines; of an LLC 0. */
  offset: u32;
}

/** A stretch of captured physical addresses and its home. */
@unmanaged
export class MemoryRange {
  from: u64;
  /** The last address inside. */
  last: u64;
  policy: Policy;
  node: u32;
}

/** A lane's line caches (docs/caches.md). */
@unmanaged
export class Caches {
  /** LineCache[Cache.Count]. */
  caches: usize;
  /** Both first-level caches have eight ways, and numbers of sets that are powers of two. */
  eightWays: bool;
  /** One block of lines per CPU: its l1i, l1d and l2. */
  lines: usize;
  cpuBytes: u32;
  /** One block per LLC. */
  llcs: usize;
  llcBytes: u32;
  llcCount: u32;
  /** u32[cpus]: the LLC that the CPU uses, where that is not decided by the line's home. */
  clusterOf: usize;
  l2Cycles: u32;
  llcCycles: u32;
  walksAtL1d: bool;
  prefetchLines: u32;
  inclusive: bool;
  /** Every LLC has all lines of its CPUs: it is inclusive, and was never made cold in part. */
  hasAll: bool;
  remoteCacheable: bool;
  /** u32[activeCount]: the CPUs that have made an access; u8[cpus]: whether a CPU is among them. */
  active: usize;
  activeCount: u32;
  isActive: usize;
  /** The filter's line slots of CPU 0, the bytes from one CPU's to the next, and the mask of a slot's byte offset (cache/slots.ts). */
  slots: usize;
  slotStride: u32;
  slotMask: u32;
}

/** A table from (number, context) to a word (memory/pagemap.ts). */
@unmanaged
export class PageMap {
  /** PageWord[mask + 1]. */
  pages: usize;
  mask: u32;
  used: u32;
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
  /** WalkCache[CACHES]. */
  walkCaches: usize;
  /** One block per CPU: counters, then TLB arrays, then walk caches. */
  cpuBlocks: usize;
  cpuBlockBytes: u32;

  // Paging
  stage1: Stage;
  /** null: one stage. */
  stage2: Stage | null;
  /** With two stages: log2 of the stage-2 page and the height of its leaf. */
  stage2Shift: u32;
  stage2Height: u32;
  /** With two stages: the size number of the largest page that is not above a stage-2 page. */
  stage2Cap: u32;
  /** PageSize[sizeCount]. */
  sizes: usize;
  sizeCount: u32;
  /** Bit s: entries for pages of size number s can occur in the TLBs. */
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
  /** Tables at physical addresses. */
  tables: TablePool;
  /** The virtual machines, with two stages. */
  vms: Vm | null;
  /** A guest ran out of intermediate addresses, or a node of frames for guests. */
  memoryFull: bool;
  /** Address spaces: an open-addressing table of Space (paging/space.ts). */
  spaces: usize;
  spaceMask: u32;
  spaceCount: u32;

  // Copies of kernel tables (paging/views.ts)
  /** Sets of root tables: one, or one per node where a system replicates them. */
  views: u32;
  /** The addresses whose tables are per view. */
  windowFrom: u64;
  windowLast: u64;
  /** The node of all views' tables below their roots; -1: each view's own. */
  subtreeNode: i32;
  /** The kernel's half of the addresses has the same tables in every address space. */
  sharedKernel: bool;
  /** Stores to further copies of an entry since the counter was last read, and bytes of tables that only copies need, by node (u64[]). */
  syncStores: u32;
  replicaTableBytes: usize;
  /** PageMap: captured tables that the lane has (paging/captured.ts); 0: none. */
  capturedTables: usize;
  /** The kernel's side (systems/kernel.ts); null where nothing handles events. */
  kernel: usize;
  /** u32[Cost.Count] */
  costs: usize;
  /** Invariants are checked after every event; what TLB entries were built from (tlb/shadow.ts). */
  checks: bool;
  shadows: usize;
  /** The stage 2 that the host itself runs under; null: none. */
  hostTree: HostTree | null;
  /** The simulation of guests' stage-2 faults (stage2/records.ts); 0: none. */
  stage2Sim: usize;
  /** Copies of kernel text and data (paging/copies.ts). */
  copies: usize;
  copyCount: u32;

  /** The home of text, where it has one of its own, and where text is: TextRange[textCount]. */
  textPlaced: bool;
  textPolicy: Policy;
  textNode: u32;
  texts: usize;
  textCount: u32;

  // Captured memory
  /** MemoryRange[rangeCount]. */
  ranges: usize;
  rangeCount: u32;
  /** Captured frames whose home is the node that touched them first. */
  firstTouched: PageMap | null;

  // Line caches
  /** null: none. */
  caches: Caches | null;
  /** u32[cpus]: each CPU's known frames (paging/frame.ts), made when first needed. */
  frames: usize;
  /** In captured mapping, the pages whose frames are the lane's own. */
  ownPages: PageMap | null;
  /** Frames that were placed as text, by address. */
  textFrames: PageMap | null;

  // Replay
  /** Pages of the upper half are global. */
  globalKernel: bool;
  mapping: Mapping;
  trackDirty: bool;
  splitPages: bool;

  /** What runs at EL2 (hyp/machine.ts); 0: nothing of its own. */
  hyp: usize;

  /** SPE in KVM guests (spe/records.ts); 0: none. */
  spe: usize;
}

/** A stretch of virtual addresses with its own page size. */
@unmanaged
export class PageRule {
  from: u64;
  /** The last address inside. */
  last: u64;
  size: u32;
}

/** A stretch of virtual addresses that is text. */
@unmanaged
export class TextRange {
  from: u64;
  /** The last address inside. */
  last: u64;
}

/** One fully associative walk cache (tlb/walkcache.ts). */
@unmanaged
export class WalkCache {
  entries: u32;
  /** Byte offset within a CPU's block. */
  offset: u32;
  /** The tag is the address shifted right by this. */
  shift: u32;
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
 * The lowest byte is free: in a TLB entry it holds GLOBAL and the entry's shift.
 */
// @ts-ignore: decorator
@inline
export function CONTEXT(mode: u8, asid: u32, vm: u16): u64 {
  return ((<u64>asid) << 32) | ((<u64>vm) << 16) | ((<u64>(mode & REGIME_MASK)) << 8);
}

/**
 * In the address of a line: a captured physical address. Those of the lane's own frames and tables may be the same numbers, so
 * caches tell them apart; descriptors hold the plain address.
 */
export const CAPTURED: u64 = (<u64>1) << 63;

/** In a frame's address and in the entry of a line: its home is the node of whoever asks. */
export const LOCAL: u64 = 1;

/** In the context of a TLB entry: it serves all ASIDs (x86 G, Arm nG=0); its asid is 0. */
export const GLOBAL: u64 = 0x80;

/** The context under which a global page of a context is kept in the TLBs. */
// @ts-ignore: decorator
@inline
export function GLOBAL_CONTEXT(context: u64): u64 {
  return (context & 0xffff_ffff) | GLOBAL;
}

/** The bits of `mode` that choose a translation regime: guest, hypervisor. User and kernel share one. */
export const REGIME_HYPERVISOR: u8 = 0x02;
export const REGIME_GUEST: u8 = 0x10;
export const REGIME_MASK: u8 = REGIME_GUEST | REGIME_HYPERVISOR;

/** What the kernel or hypervisor of a lane does (systems/). */
export enum System {
  None,
  TextX86,
  TextArm,
  HostStage2,
  HypInit,
  Stage2Faults,
  Spe,
}

/** Options of a system, as bits. */
export enum Option {
  Kpti = 1,
  Cnp = 2,
  Rodata = 4,
  Modules = 8,
  RoProtect = 16,
  SyncImageUnmap = 32,
  PatchHvc = 64,
  LazyFill = 128,
  FullTables = 256,
  TextPages = 512,
  Vhe = 1024,
  PoolNode0 = 2048,
  // Of stage2-faults
  ExclusiveLock = 1048576,
  FastFaults = 2097152,
  HypIpi = 4194304,
  EagerSplit = 8388608,
  HardwareAf = 16777216,
  TlbRange = 33554432,
  TlbiOfVm = 67108864,
}

/** Faults that can be built into a system, as bits: what a checker must find. */
export enum Fault {
  SkipReplicaPatch = 1,
  SkipSetMemoryTlbi = 2,
  VmidPerNode = 4,
  CnpAcrossNodes = 8,
  SkipPudSync = 16,
  SkipPudClear = 32,
  SkipGlobalFlush = 64,
  FreeInitMasterOnly = 128,
  SkipBreak = 256,
  SkipDonate = 512,
  // hyp-init
  SkipHypTlbi = 0x800_0000,
  FreeBootTable = 0x1000_0000,
  SkipTableSwitch = 0x2000_0000,
  // Of stage2-faults
  SkipBlockBreak = 1048576,
  FreeWithoutGrace = 2097152,
  SkipReload = 4194304,
  FlushStage2Only = 8388608,
  FlushReversed = 16777216,
  SkipRelaxTlbi = 33554432,
  // Of spe
  SpeSkipDrain = 1024,
  SpeHideLoss = 2048,
  SpeResetPointer = 4096,
  SpeLeakPointer = 8192,
  SpeSkipTablePin = 16384,
  SpeLeakPins = 32768,
  SpeCopyWhole = 65536,
  SpeForwardFault = 131072,
  SpeShowOwner = 262144,
  SpeSkipTlbi = 524288,
  SpeProtectPinned = 67108864,
}

/** Parts of the kernel image, in the order of their addresses. */
export enum Part {
  Text,
  Rodata,
  RoAfterInit,
  Init,
  Data,
}

/** Cycles of what software does; the host sets them. */
export enum Cost {
  RootWrite,
  RootWriteFlush,
  Invlpg,
  GlobalFlush,
  IpiLocal,
  IpiRemote,
  IpiHandler,
  Shootdown,
  TlbiLocal,
  TlbiBroadcast,
  Isb,
  Dsb,
  Hvc,
  Exit,
  Stage2Fault,
  CmoLine,
  CopyLine,
  PageAlloc,
  /** How many misses of a copy overlap, times 256. */
  Overlap,
  // Of stage2-faults: a fault outside its critical section and in it, a step of a walk, a transfer of the lock's line, the least grace period, and
  // how much of a fault's time is random, in 256ths
  FaultOutside,
  FaultInside,
  WalkStep,
  LineTransfer,
  GracePeriod,
  FaultSpread,
  // Of spe: from the unit's event to its interrupt, the guest's handler, getting a page of a guest, mapping it, letting it go, reading a word of the guest's tables
  SpeIrq,
  SpeHandler,
  Gup,
  Stage2Map,
  Unpin,
  GuestRead,
  Count,
}

/** Invariants that are checked (docs/replication.md). */
export enum Check {
  Stale,
  UseAfterFree,
  BreakBeforeMake,
  Divergence,
  Writable,
  Sharing,
  Livelock,
  RootSync,
  Accounting,
  // hyp-init (docs/hypinit.md)
  FellOff,
  BootEntry,
  IdmapOverlap,
  Trampoline,
  RuntimeRoot,
  LastPages,
  Locked,
  Primary,
  Conflict,
  // spe (docs/spe.md)
  SpeStream,
  SpePointer,
  SpeRegister,
  SpeStage2,
  SpePins,
  SpeHostData,
  SpeVisible,
  SpeOwner,
  Count,
}

/** The node of a CPU. */
// @ts-ignore: decorator
@inline
export function NODE_OF_CPU(lane: Lane, cpu: u32): u32 {
  return load<u32>(lane.cpuNode + cpu * 4);
}

/** Cycles of a memory reference from node `from` to node `to`. */
// @ts-ignore: decorator
@inline
export function LATENCY(lane: Lane, from: u32, to: u32): u32 {
  return load<u32>(lane.latency + (from * lane.nodes + to) * 4);
}
