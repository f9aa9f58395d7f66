// Events of address spaces, which the kernels of both architectures expand alike but for how TLBs are told.

import { Format, Lane } from '../layout';
import { allocateTop, clearTop, contextOf, createMm, destroyMm, mapUser, protectUser, unmapUser } from './common';
import { Event } from './events';
import { findMm, KERNEL, Mm } from './kernel';
import { flushAsidArm, flushUserArm, flushUserX86 } from './operations';

/** More pages than any flush removes one by one. */
const ALL_PAGES: u64 = (<u64>1) << 32;

/** Expands an event of an address space; false when it is none. Operands as in traces/events.ts. */
export function spaceEvent(lane: Lane, cpu: u32, kind: u32, va: u64, arg: u64, a: u64, b: u64): bool {
  if (kind == Event.MmCreate) createMm(lane, cpu, va, <u32>arg);
  else if (kind == Event.MmDestroy) destroyMm(lane, va);
  else if (kind == Event.UserPudAlloc || kind == Event.UserPudFree) {
    const mm = findMm(KERNEL(lane), arg);
    if (mm) topEvent(lane, cpu, kind, mm, va);
  } else if (kind == Event.UserMap || kind == Event.UserUnmap || kind == Event.UserProt) {
    const mm = findMm(KERNEL(lane), a);
    if (mm) pagesEvent(lane, cpu, kind, mm, va, arg, b);
  } else return false;
  return true;
}

/** A top-level entry of a user. It is freed behind the gather's flush. */
function topEvent(lane: Lane, cpu: u32, kind: u32, mm: Mm, va: u64): void {
  if (kind == Event.UserPudAlloc) allocateTop(lane, cpu, mm, va);
  else if (!clearTop(lane, cpu, mm, va)) return;
  else if (lane.stage1.format == Format.X86) flushUserX86(lane, cpu, mm.number, contextOf(mm), va, ALL_PAGES);
  else flushAsidArm(lane, cpu, contextOf(mm));
}

/** Pages of a user; `last` is the event's last operand. */
function pagesEvent(lane: Lane, cpu: u32, kind: u32, mm: Mm, va: u64, pages: u64, last: u64): void {
  if (kind == Event.UserMap) {
    mapUser(lane, cpu, mm, va, pages, last);
    return;
  }
  if (kind == Event.UserUnmap) unmapUser(lane, cpu, mm, va, pages);
  else protectUser(lane, cpu, mm, va, pages, last);
  if (lane.stage1.format == Format.X86) flushUserX86(lane, cpu, mm.number, contextOf(mm), va, pages);
  else flushUserArm(lane, cpu, contextOf(mm), va, pages);
}
