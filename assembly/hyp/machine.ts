// The EL2 side of a lane whose kernel starts KVM/ARM's HYP mode (docs/hypinit.md): the tables, what each CPU has in its EL2 registers,
// and what the host said about both. TLB entries of EL2 are in tlb.ts, steps of a CPU in pc.ts, whole sequences in start.ts.

import { Format, Lane, MAX_DEPTH, PageMap, Stage } from '../layout';
import { allocate } from '../memory/arena';
import { newPageMap } from '../memory/pagemap';
import { newStage } from '../paging/stage';

/** How HYP mode is started. */
export enum HypScheme {
  /** The identity mapping is in the runtime table while CPUs start, and is removed from it afterwards. */
  Legacy,
  /** A table for starting, a table for running, and a page that both map at the same address (2013). */
  Trampoline,
  /** One table that keeps the identity mapping (since 4.8). */
  Merged,
  /** The same, replaced by the hypervisor's own table with the MMU off (__pkvm_init_switch_pgd). */
  PkvmSwitch,
}

/** What runs at EL2 of a CPU. */
export enum HypState {
  /** The stub's vectors; the MMU is off. */
  Stub,
  /** KVM's vectors, MMU on. */
  Up,
  /** It ran into an address that is not mapped, or is something else. */
  Lost,
}

/** A root, and how walks from it go. */
@unmanaged
export class HypTable {
  /** Its physical address plus one; 0: no table. */
  root: u64;
  stage: Stage;
}

/** kern_hyp_va: the bits of a kernel address that are kept and those that are set; and the HYP addresses [from, end) of the kernel's linear map. */
@unmanaged
export class HypLayout {
  mask: u64;
  tag: u64;
  from: u64;
  end: u64;
}

/** One EL2 TLB entry: a page, and every descriptor that it was built from. */
@unmanaged
export class HypEntry {
  /** The next entry of the CPU, and of the same page of the CPU. */
  next: HypEntry | null;
  twin: HypEntry | null;
  live: bool;
  va: u64;
  pa: u64;
  /** The root that it was walked from. */
  root: u64;
  depth: u32;
  /** Address and value of each descriptor: u64[2][MAX_DEPTH]. */
  source: usize;
}

/** What EL2 of a CPU has. */
@unmanaged
export class HypCpu {
  number: u32;
  state: HypState;
  mmu: bool;
  /** TTBR0_EL2 (HTTBR). */
  table: HypTable | null;
  /** Where it executes, while it starts. */
  pc: u64;
  entries: HypEntry | null;
}


@unmanaged
export class Hyp {
  scheme: HypScheme;
  /** 32-bit Arm: two HVCs, one for the table and one for the rest, and no wider tables. */
  arm32: bool;
  /** Address bits of the kernel and, where the identity mapping does not fit in them, of the wider tables. */
  vaBits: u32;
  trampolineVa: u64;
  narrow: Stage;
  wide: Stage;
  /** HypLayout[2], by bit vaBits - 1 of the init page's address. */
  layouts: usize;
  /** Where the init page is whatever the trace says; all ones: as it says. Or, with `random`, anywhere. */
  statedPa: u64;
  random: bool;
  seed: u64;
  /** How often the tables were made. */
  inits: u64;
  /** The walker enters all that it could enter at any time. */
  speculates: bool;

  /** There are tables, for an init page at these addresses of the trace. */
  made: bool;
  tracedVa: u64;
  tracedPa: u64;
  initPa: u64;
  /** The kernel gave up because of where the init page is. */
  refused: bool;
  boot: HypTable;
  runtime: HypTable;
  /** The identity mapping has a top level of its own, which leads to both tables; no switch. */
  merged: HypTable;
  spare: HypTable;
  /** The runtime table is the hypervisor's own. */
  switched: bool;

  /** HypCpu[cpus]. */
  cpus: usize;
  /** (page, CPU) to its HypEntry. */
  pages: PageMap;
  /** What the last walk read: u64[2][MAX_DEPTH]. */
  steps: usize;
  stepCount: u32;
  /** For visitors of leaves: the CPU and the table that they work for. */
  visitor: HypCpu | null;
  target: HypTable | null;
}

export const HYP_PAGE_SHIFT: u32 = 12;
export const HYP_PAGE: u64 = 1 << HYP_PAGE_SHIFT;
const INDEX_BITS: u32 = HYP_PAGE_SHIFT - 3;
/** Bits of a physical address, and of the identity mapping that needs wider tables. */
const PA_BITS: u32 = 48;

// @ts-ignore: decorator
@inline
export function HYP(lane: Lane): Hyp {
  return changetype<Hyp>(lane.hyp);
}

// @ts-ignore: decorator
@inline
export function HYP_CPU(hyp: Hyp, cpu: u32): HypCpu {
  return changetype<HypCpu>(hyp.cpus + cpu * offsetof<HypCpu>());
}

// @ts-ignore: decorator
@inline
export function LAYOUT(hyp: Hyp, half: u32): HypLayout {
  return changetype<HypLayout>(hyp.layouts + half * offsetof<HypLayout>());
}

/**
 * Gives a lane an EL2 side. `trampolineVa` is also the end of the addresses where a random init page may lie; `statedPa` is all ones where the trace
 * says where the page is.
 */
export function setHyp(
  lane: Lane,
  scheme: HypScheme,
  vaBits: u32,
  arm32: bool,
  trampolineVa: u64,
  statedPa: u64,
  random: bool,
  seed: u32,
  speculates: bool,
): void {
  const hyp = changetype<Hyp>(allocate(offsetof<Hyp>()));
  hyp.scheme = scheme;
  hyp.vaBits = vaBits;
  hyp.arm32 = arm32;
  hyp.trampolineVa = trampolineVa;
  hyp.statedPa = statedPa;
  hyp.random = random;
  hyp.seed = seed;
  hyp.speculates = speculates;
  hyp.narrow = stageOf(vaBits);
  hyp.wide = stageOf(arm32 ? vaBits : max(vaBits, PA_BITS));
  hyp.layouts = allocate(2 * offsetof<HypLayout>());
  hyp.boot = newTable();
  hyp.runtime = newTable();
  hyp.merged = newTable();
  hyp.spare = newTable();
  hyp.cpus = allocate(lane.cpus * offsetof<HypCpu>());
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) HYP_CPU(hyp, cpu).number = cpu;
  hyp.pages = newPageMap();
  hyp.steps = allocate(MAX_DEPTH * 16);
  lane.hyp = changetype<usize>(hyp);
}

/** kern_hyp_va for init pages whose address has bit vaBits - 1 equal to `half`, and where the kernel's linear map is then. */
export function setHypLayout(lane: Lane, half: u32, mask: u64, tag: u64, from: u64, end: u64): void {
  const layout = LAYOUT(HYP(lane), half);
  layout.mask = mask;
  layout.tag = tag;
  layout.from = from;
  layout.end = end;
}

/** A table without a root yet. */
export function newTable(): HypTable {
  return changetype<HypTable>(allocate(offsetof<HypTable>()));
}

/** 4K tables for so many address bits. */
function stageOf(bits: u32): Stage {
  const depth = (bits - HYP_PAGE_SHIFT + INDEX_BITS - 1) / INDEX_BITS;
  const rootBits = bits - HYP_PAGE_SHIFT - (depth - 1) * INDEX_BITS;
  return newStage(Format.ArmStage1, HYP_PAGE_SHIFT, depth, rootBits, PA_BITS, 0);
}

/** The kernel-to-HYP layout in force. */
export function layoutOf(hyp: Hyp): HypLayout {
  return LAYOUT(hyp, (<u32>(hyp.initPa >> (hyp.vaBits - 1))) & 1);
}

/** kern_hyp_va. */
export function kernHypVa(hyp: Hyp, va: u64): u64 {
  const layout = layoutOf(hyp);
  return (va & layout.mask) | layout.tag;
}

/** Whether the identity mapping needs more address bits than the kernel has. */
export function isExtended(hyp: Hyp): bool {
  return hyp.wide.depth > hyp.narrow.depth && hyp.initPa >> hyp.vaBits != 0;
}

/** Whether starting goes through two tables and a switch. */
export function switchesTables(hyp: Hyp): bool {
  return hyp.scheme == HypScheme.Trampoline && !isExtended(hyp);
}

/** The table that CPUs run on once they are up. */
export function runningTable(hyp: Hyp): HypTable {
  return hyp.merged.root ? hyp.merged : hyp.runtime;
}
