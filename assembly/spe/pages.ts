// Pages with real bytes: those of guests' memory, by intermediate address, which the host gives frames and can take them from again, and
// those of KVM's own buffers.

import { Lane, NODE_OF_CPU } from '../layout';
import { allocate } from '../memory/arena';
import { allocateFrame } from '../memory/frames';
import { addWord, findWord } from '../memory/pagemap';
import { NODE_OF } from '../memory/tables';
import { ADD, Stat } from '../stats';
import { BLOCK } from '../tlb/maintenance';
import { Guest, isStrategy, Page, Spe, SPE, SpeStrategy } from './records';

// @ts-ignore: decorator
@inline
export function PAGE_BYTES(lane: Lane): u64 {
  return (<u64>1) << lane.stage1.pageShift;
}

/** The offset of an address in its page. */
// @ts-ignore: decorator
@inline
export function INSIDE(lane: Lane, address: u64): u64 {
  return address & (PAGE_BYTES(lane) - 1);
}

/** A page of zeros without a frame. */
export function newPage(lane: Lane): Page {
  const spe = SPE(lane);
  let page = spe.freePages;
  if (page) {
    spe.freePages = page.next;
    memory.fill(page.bytes, 0, <usize>PAGE_BYTES(lane));
    return page;
  }
  page = changetype<Page>(allocate(offsetof<Page>()));
  page.bytes = allocate(<usize>PAGE_BYTES(lane));
  return page;
}

/** Gives a page back, with its frame. */
export function freePage(lane: Lane, page: Page): void {
  const spe = SPE(lane);
  if (page.kept) dropKept(lane, page);
  reclaim(lane, page);
  page.pins = 0;
  page.next = spe.freePages;
  spe.freePages = page;
}

/** Gives a page a frame on a node, where it has none. */
export function giveFrame(lane: Lane, page: Page, node: u32): void {
  if (page.frame) return;
  const pa = allocateFrame(lane, node, 0, lane.stage1.pageShift, lane.dataPolicy, node);
  page.frame = pa + 1;
  page.node = NODE_OF(pa);
  addWord(SPE(lane).byFrame, pa >> lane.stage1.pageShift, 0, changetype<usize>(page));
}

/** Takes a page's frame; its bytes stay. */
export function reclaim(lane: Lane, page: Page): void {
  if (!page.frame) return;
  const word = findWord(SPE(lane).byFrame, (page.frame - 1) >> lane.stage1.pageShift, 0);
  store<u64>(word, 0);
  page.frame = 0;
}

function pageIn(word: usize): Page | null {
  return word ? changetype<Page>(<usize>load<u64>(word)) : null;
}

/** The page in a frame; null: none of these. */
export function pageAt(lane: Lane, pa: u64): Page | null {
  return pageIn(findWord(SPE(lane).byFrame, pa >> lane.stage1.pageShift, 0));
}

/** The page of a guest at an intermediate address. */
export function pageOf(lane: Lane, guest: Guest, ipa: u64): Page | null {
  return pageIn(findWord(SPE(lane).byIpa, ipa >> lane.stage1.pageShift, guest.serial << 1));
}

/** A new page of a guest's memory at `ipa`, resident on the node of a CPU. */
export function newGuestPage(lane: Lane, guest: Guest, ipa: u64, cpu: u32): Page {
  const page = newPage(lane);
  page.ipa = ipa;
  giveFrame(lane, page, NODE_OF_CPU(lane, cpu));
  addWord(SPE(lane).byIpa, ipa >> lane.stage1.pageShift, guest.serial << 1, changetype<usize>(page));
  return page;
}

/** Whether the host must leave a page where it is. */
export function isPinned(spe: Spe, page: Page): bool {
  return page.pins > 0 || isStrategy(spe, SpeStrategy.PinVm);
}

/** Counts pages that are pinned from now on; the sum of the counter over the CPUs is the most there ever was. */
export function countPinned(lane: Lane, cpu: u32, pages: u64): void {
  const spe = SPE(lane);
  spe.pinned += pages;
  if (spe.pinned <= spe.mostPinned) return;
  ADD(BLOCK(lane, cpu), Stat.SpePinned_Max, (spe.pinned - spe.mostPinned) << lane.stage1.pageShift);
  spe.mostPinned = spe.pinned;
}

/** The same for pages that KVM has for its own buffers and kept data. */
export function countKernel(lane: Lane, cpu: u32, pages: u64): void {
  const spe = SPE(lane);
  spe.kernel += pages;
  if (spe.kernel <= spe.mostKernel) return;
  ADD(BLOCK(lane, cpu), Stat.SpeKernel_Max, (spe.kernel - spe.mostKernel) << lane.stage1.pageShift);
  spe.mostKernel = spe.kernel;
}

/** KVM drops what it kept for a page. */
export function dropKept(lane: Lane, page: Page): void {
  const kept = page.kept!;
  page.kept = null;
  SPE(lane).kernel--;
  freePage(lane, kept);
}
