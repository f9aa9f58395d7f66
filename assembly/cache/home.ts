// The home node of a line (docs/caches.md, Home).

import { Caches, CAPTURED, Lane, MemoryRange, PageMap, Policy } from '../layout';
import { allocate } from '../memory/arena';
import { addWord, findWord, newPageMap } from '../memory/pagemap';
import { NODE_OF } from '../memory/tables';
import { LOCAL } from './lines';

/** Ranges that there is room for at first. */
const FIRST_RANGES: u32 = 8;
/** The physical address in a line's key. */
export const ADDRESS: u64 = ((<u64>1) << 52) - 64;

/** Adds a range of captured addresses. */
export function addRange(caches: Caches, from: u64, last: u64, policy: Policy, node: u32): void {
  if (caches.rangeCount == caches.rangeRoom) {
    const old = caches.ranges;
    caches.rangeRoom = caches.rangeRoom ? caches.rangeRoom * 2 : FIRST_RANGES;
    caches.ranges = allocate(caches.rangeRoom * offsetof<MemoryRange>());
    memory.copy(caches.ranges, old, caches.rangeCount * offsetof<MemoryRange>());
  }
  const range = RANGE(caches, caches.rangeCount++);
  range.from = from;
  range.last = last;
  range.policy = policy;
  range.node = node;
  if (policy == Policy.FirstTouch && !caches.firstTouched) caches.firstTouched = newPageMap();
}

// @ts-ignore: decorator
@inline
function RANGE(caches: Caches, i: u32): MemoryRange {
  return changetype<MemoryRange>(caches.ranges + i * offsetof<MemoryRange>());
}

/** The home of the line `key` (with LOCAL) when a CPU of `node` asks for it. */
export function homeOf(lane: Lane, caches: Caches, node: u32, key: u64): u32 {
  if (key & LOCAL) return node;
  const pa = key & ADDRESS;
  if (!(key & CAPTURED)) return NODE_OF(pa);
  for (let i: u32 = 0; i < caches.rangeCount; i++) {
    const range = RANGE(caches, i);
    if (range.from > pa || range.last < pa) continue;
    const pfn = pa >> lane.stage1.pageShift;
    if (range.policy == Policy.Local) return node;
    if (range.policy == Policy.Interleave) return <u32>(pfn % <u64>lane.nodes);
    return range.policy == Policy.Node ? range.node : firstToucher(caches.firstTouched!, pfn, node);
  }
  return 0;
}

/** The node that asked first for a line of a frame: `node` when nobody has. */
function firstToucher(touched: PageMap, pfn: u64, node: u32): u32 {
  const known = findWord(touched, pfn, 0);
  if (known) return <u32>load<u64>(known);
  addWord(touched, pfn, 0, node);
  return node;
}
