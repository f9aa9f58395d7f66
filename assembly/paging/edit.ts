// Changing mapped pages: unmap and protect, for every stage-1 format and page size; a contiguous run is one page. TLB
// maintenance is the caller's business (tlb/invalidate.ts).

import { Lane } from '../layout';
import { protectedLeaf } from './descriptor';
import { forgetFramesAt } from './frame';
import { findPage, SIZE } from './map';

/** Unmaps the page that holds `va`; false when there is none. Its tables and its frame stay allocated. */
export function unmapPage(lane: Lane, context: u64, va: u64): bool {
  const page = findPage(lane, context, va);
  if (!page) return false;
  memory.fill(page.first, 0, page.entries * 8);
  forgetFramesAt(lane, va, SIZE(lane, page.size).shift);
  return true;
}

/** Allows or forbids writing to and executing the page that holds `va`; false when there is none. */
export function protectPage(lane: Lane, context: u64, va: u64, writable: bool, executable: bool): bool {
  const page = findPage(lane, context, va);
  if (!page) return false;
  for (let i: u32 = 0; i < page.entries; i++) {
    const entry = page.first + i * 8;
    store<u64>(entry, protectedLeaf(lane.stage1, load<u64>(entry), writable, executable));
  }
  forgetFramesAt(lane, va, SIZE(lane, page.size).shift);
  return true;
}
