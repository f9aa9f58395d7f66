// The EL2 TLB of a CPU: no ASID, no VMID, so that what different roots gave lies side by side. Nothing is ever evicted, and a page may have several
// entries: what real hardware might hold, it holds. MODEL: it is apart from the configured arrays, and has no walk caches.

import { Check, Lane, MAX_DEPTH } from '../layout';
import { allocate } from '../memory/arena';
import { addWord, findWord } from '../memory/pagemap';
import { LEVEL_AT } from '../paging/stage';
import { ADD, Stat } from '../stats';
import { violated } from '../systems/kernel';
import { BLOCK } from '../systems/operations';
import { countRef } from '../tlb/reference';
import { HYP, Hyp, HYP_PAGE, HYP_PAGE_SHIFT, HypCpu, HypEntry } from './machine';
import { eachPage, NOWHERE, translateIn } from './tables';

/** How a look-up ended: the entry was there, it was walked for, or nothing is mapped. */
export enum Found {
  Hit,
  Walked,
  Fault,
}

/** Where the page of the last look-up is. */
let foundPa: u64 = NOWHERE;

export function lastPa(): u64 {
  return foundPa;
}

/** A page's first entry of a CPU; null: it never had one. */
function firstOf(hyp: Hyp, cpu: HypCpu, va: u64): HypEntry | null {
  const word = findWord(hyp.pages, va >> HYP_PAGE_SHIFT, (<u64>cpu.number) << 1);
  return word ? changetype<HypEntry>(<usize>load<u64>(word)) : null;
}

/**
 * Translates `va` on a CPU whose MMU is on. An entry answers whatever the tables say now; of several, one that is wrong: then a stale
 * translation was used.
 */
export function lookUp(lane: Lane, cpu: HypCpu, va: u64): Found {
  const hyp = HYP(lane);
  const inside = va & (HYP_PAGE - 1);
  const truth = translateIn(lane, cpu.table!, va);
  let hit: HypEntry | null = null;
  let entry = firstOf(hyp, cpu, va);
  while (entry) {
    if (entry.live && (!hit || (entry.pa | inside) != truth)) hit = entry;
    entry = entry.twin;
  }
  if (hit) {
    foundPa = hit.pa | inside;
    if (foundPa != truth) violated(lane, Check.Stale, va, cpu.number);
    return Found.Hit;
  }
  countWalk(lane, cpu);
  foundPa = truth;
  if (truth == NOWHERE) {
    ADD(BLOCK(lane, cpu.number), Stat.FaultHyp_Translation, 1);
    return Found.Fault;
  }
  enter(lane, cpu, va, truth);
  return Found.Walked;
}

/** Counts the walk whose descriptors are in `steps`. */
function countWalk(lane: Lane, cpu: HypCpu): void {
  const hyp = HYP(lane);
  const block = BLOCK(lane, cpu.number);
  const stage = cpu.table!.stage;
  ADD(block, Stat.WalkCount, 1);
  for (let i: u32 = 0; i < hyp.stepCount; i++) {
    countRef(lane, block, cpu.number, load<u64>(hyp.steps + i * 16));
    ADD(block, Stat.WalkLevels_0 + LEVEL_AT(stage, stage.depth - 1 - i), 1);
  }
}

/** Enters what was just translated, unless the same root gave the same before. */
function enter(lane: Lane, cpu: HypCpu, va: u64, pa: u64): void {
  const hyp = HYP(lane);
  const root = cpu.table!.root - 1;
  const first = firstOf(hyp, cpu, va);
  let free: HypEntry | null = null;
  let known = first;
  while (known) {
    if (!known.live) free = known;
    else if (known.root == root && known.pa == (pa & ~(HYP_PAGE - 1))) return;
    known = known.twin;
  }
  const entry = free ? free : newEntry(hyp, cpu, va, first);
  entry.live = true;
  entry.pa = pa & ~(HYP_PAGE - 1);
  entry.root = root;
  entry.depth = hyp.stepCount;
  memory.copy(entry.source, hyp.steps, hyp.stepCount * 16);
}

function newEntry(hyp: Hyp, cpu: HypCpu, va: u64, first: HypEntry | null): HypEntry {
  const entry = changetype<HypEntry>(allocate(offsetof<HypEntry>()));
  entry.va = va & ~(HYP_PAGE - 1);
  entry.source = allocate(MAX_DEPTH * 16);
  entry.next = cpu.entries;
  cpu.entries = entry;
  if (first) {
    entry.twin = first.twin;
    first.twin = entry;
  } else addWord(hyp.pages, va >> HYP_PAGE_SHIFT, (<u64>cpu.number) << 1, changetype<usize>(entry));
  return entry;
}

/** The adversary: every page that the CPU's table maps is entered. */
export function speculate(lane: Lane, cpu: HypCpu): void {
  const hyp = HYP(lane);
  if (!hyp.speculates || !cpu.mmu) return;
  hyp.visitor = cpu;
  eachPage(lane, cpu.table!, enterVisited);
}

function enterVisited(lane: Lane, va: u64, pa: u64): void {
  const cpu = HYP(lane).visitor!;
  // For the descriptors that it reads.
  translateIn(lane, cpu.table!, va);
  enter(lane, cpu, va, pa);
}

/** TLBI ALLE2. */
export function dropAll(cpu: HypCpu): void {
  let entry = cpu.entries;
  while (entry) {
    entry.live = false;
    entry = entry.next;
  }
}

/** TLBI VAE2. */
export function dropPage(lane: Lane, cpu: HypCpu, va: u64): void {
  let entry = firstOf(HYP(lane), cpu, va);
  while (entry) {
    entry.live = false;
    entry = entry.twin;
  }
}
