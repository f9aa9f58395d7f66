// The home node of a line (docs/caches.md, Home).

import { CAPTURED, Lane, LOCAL, MemoryRange, PageMap, Policy } from '../layout';
import { withRoom } from './arena';
import { addWord, findWord, newPageMap } from './pagemap';
import { NODE_OF } from './tables';

/** The physical address in a line's key. */
export const ADDRESS: u64 = ((<u64>1) << 52) - 64;

/** Adds a range of captured addresses. */
export function addRange(lane: Lane, from: u64, last: u64, policy: Policy, node: u32): void {
  lane.ranges = withRoom(lane.ranges, lane.rangeCount, offsetof<MemoryRange>());
  const range = RANGE(lane, lane.rangeCount++);
  range.from = from;
  range.last = last;
  range.policy = policy;
  range.node = node;
  if (policy == Policy.FirstTouch && !lane.firstTouched) lane.firstTouched = newPageMap();
}

// @ts-ignore: decorator
@inline
function RANGE(lane: Lane, i: u32): MemoryRange {
  return changetype<MemoryRange>(lane.ranges + i * offsetof<MemoryRange>());
}

/** The home of the line `key` (with LOCAL) when a CPU of `node` asks for it. */
export function homeOf(lane: Lane, node: u32, key: u64): u32 {
  if (key & LOCAL) return node;
  const pa = key & ADDRESS;
  if (!(key & CAPTURED)) return NODE_OF(pa);
  for (let i: u32 = 0; i < lane.rangeCount; i++) {
    const range = RANGE(lane, i);
    if (range.from > pa || range.last < pa) continue;
    const pfn = pa >> lane.stage1.pageShift;
    if (range.policy == Policy.Local) return node;
    if (range.policy == Policy.Interleave) return <u32>(pfn % <u64>lane.nodes);
    return range.policy == Policy.Node ? range.node : firstToucher(lane.firstTouched!, pfn, node);
  }
  return 0;
}

/** The node that has a captured address, for a CPU of `node`. */
export function homeOfAddress(lane: Lane, node: u32, pa: u64): u32 {
  return homeOf(lane, node, CAPTURED | (pa & ADDRESS));
}

/** The node that asked first for a line of a frame: `node` when nobody has. */
function firstToucher(touched: PageMap, pfn: u64, node: u32): u32 {
  const known = findWord(touched, pfn, 0);
  if (known) return <u32>load<u64>(known);
  addWord(touched, pfn, 0, node);
  return node;
}
