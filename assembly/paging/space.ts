// Address spaces: each context (layout.ts, CONTEXT) has its own root tables. x86 has one root for both halves of the
// address space (CR3), Arm one for each (TTBR0, TTBR1), chosen by VA bit 55. Where a system replicates roots, there is one of each
// per view (paging/views.ts).
//
// They live in an open-addressing hash table that doubles when it is half full.

import { Format, GLOBAL_CONTEXT, Lane } from '../layout';
import { allocate } from '../memory/arena';

/** The head of a space; behind it lie the low roots and then the high roots, one u64 per view: an address plus one, 0 for none. */
@unmanaged
class Space {
  used: u64;
  context: u64;
}

const FIRST_SPACES: u32 = 16;

// @ts-ignore: decorator
@inline
function SPACE_BYTES(lane: Lane): u32 {
  return <u32>offsetof<Space>() + 2 * lane.views * 8;
}

/** Allocates the table; the number of views is known, and no space is in use. */
export function initSpaces(lane: Lane): void {
  lane.spaces = allocate(FIRST_SPACES * SPACE_BYTES(lane));
  lane.spaceMask = FIRST_SPACES - 1;
}

/** Whether `va` is in the upper half of the addresses, the kernel's. */
// @ts-ignore: decorator
@inline
export function IS_UPPER(lane: Lane, va: u64): bool {
  return (va & ((<u64>1) << (lane.stage1.format == Format.X86 ? 63 : 55))) != 0;
}

/** The context that the TLB entries of `va` belong to: where the upper half is global, it is that of all ASIDs. */
// @ts-ignore: decorator
@inline
export function OWNER(lane: Lane, context: u64, va: u64): u64 {
  return lane.globalKernel && IS_UPPER(lane, va) ? GLOBAL_CONTEXT(context) : context;
}

/** The context that the tables of `va` belong to. */
// @ts-ignore: decorator
@inline
export function TABLE_OWNER(lane: Lane, context: u64, va: u64): u64 {
  return lane.sharedKernel && IS_UPPER(lane, va) ? GLOBAL_CONTEXT(context) : context;
}

/** Where the root of `va` in `context` is kept for a view: a u64 that is 0 while there is none, else its address plus one. */
export function rootSlot(lane: Lane, context: u64, va: u64, view: u32): usize {
  const space = find(lane, TABLE_OWNER(lane, context, va));
  const high = lane.stage1.format != Format.X86 && IS_UPPER(lane, va);
  return changetype<usize>(space) + offsetof<Space>() + <usize>((high ? lane.views : 0) + view) * 8;
}

/** Forgets the roots of a context. */
export function forgetSpace(lane: Lane, context: u64): void {
  const space = find(lane, context);
  memory.fill(changetype<usize>(space) + offsetof<Space>(), 0, 2 * lane.views * 8);
}

function find(lane: Lane, context: u64): Space {
  let space = slot(lane, lane.spaces, lane.spaceMask, context);
  if (space.used) return space;
  if (++lane.spaceCount * 2 > lane.spaceMask) {
    grow(lane);
    space = slot(lane, lane.spaces, lane.spaceMask, context);
  }
  space.used = 1;
  space.context = context;
  return space;
}

function slot(lane: Lane, table: usize, mask: u32, context: u64): Space {
  let i = (<u32>((context * 0x9e37_79b9_7f4a_7c15) >> 32)) & mask;
  while (true) {
    const space = changetype<Space>(table + i * SPACE_BYTES(lane));
    if (!space.used || space.context == context) return space;
    i = (i + 1) & mask;
  }
}

function grow(lane: Lane): void {
  const old = lane.spaces;
  const oldMask = lane.spaceMask;
  const mask = oldMask * 2 + 1;
  lane.spaces = allocate((mask + 1) * SPACE_BYTES(lane));
  lane.spaceMask = mask;
  for (let i: u32 = 0; i <= oldMask; i++) {
    const from = old + i * SPACE_BYTES(lane);
    const space = changetype<Space>(from);
    if (!space.used) continue;
    memory.copy(changetype<usize>(slot(lane, lane.spaces, mask, space.context)), from, SPACE_BYTES(lane));
  }
}
