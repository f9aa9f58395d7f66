// Stage 2 of a guest as KVM keeps it: mapping what a page's frame is, and what the host asks for pages of a guest: unmapping, write protection, aging.
// Pinned pages stay where they are, writable and young; they count as always dirty (docs/spe.md).

import { Cost, Fault, Lane, NODE_OF_CPU } from '../layout';
import {
  isPresent,
  isWritable,
  isYoung,
  leafDescriptor,
  oldLeaf,
  protectedLeaf,
  youngLeaf,
} from '../paging/descriptor';
import { ADD, Stat } from '../stats';
import { Event } from '../systems/events';
import { HAS_FAULT, KERNEL } from '../systems/kernel';
import { barriers, BLOCK, COST, count, spend, tableStores } from '../systems/operations';
import { giveFrame, isPinned, PAGE_BYTES, pageOf, reclaim } from './pages';
import { Guest, Page, PARAMETER, SPE, SpeParameter } from './records';
import { findEntry, GUEST_TABLES, madeTables, makeEntry } from './tables';

/** Maps a page for writing, young; it gets a frame where it has none. Counts stores for what was not so before. */
export function mapGuestPage(lane: Lane, guest: Guest, page: Page, cpu: u32, counted: bool): void {
  giveFrame(lane, page, NODE_OF_CPU(lane, cpu));
  const entry = makeEntry(lane, guest.stage2, page.ipa, cpu);
  const made = madeTables;
  guest.tables += made;
  const leaf = leafDescriptor(guest.stage2.stage, page.frame - 1, 0, false, false, false);
  const isNew = load<u64>(entry) != leaf;
  store<u64>(entry, leaf);
  if (counted) tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), made + (isNew ? 1 : 0));
}

/** Whether stage 2 maps a page. */
export function isMapped(lane: Lane, guest: Guest, ipa: u64): bool {
  const entry = findEntry(lane, guest.stage2, ipa);
  return entry != 0 && isPresent(guest.stage2.stage, load<u64>(entry), 0);
}

/** The units of a guest's vCPUs forget their translations: a TLBI reaches them. */
export function forgetTranslations(lane: Lane, guest: Guest): void {
  if (HAS_FAULT(KERNEL(lane), Fault.SpeSkipTlbi)) return;
  let vcpu = SPE(lane).vcpus;
  while (vcpu) {
    if (vcpu.guest == guest) vcpu.entryVa = 0;
    vcpu = vcpu.next;
  }
}

/** IPAS2E1IS, DSB, VMALLE1IS, DSB. */
export function flushGuest(lane: Lane, guest: Guest, cpu: u32): void {
  count(lane, cpu, Stat.MaintenanceTlbiIpas2e1is, 1, Cost.TlbiBroadcast);
  count(lane, cpu, Stat.MaintenanceTlbiVmalle1is, 1, Cost.TlbiBroadcast);
  barriers(lane, cpu, 0, 2);
  forgetTranslations(lane, guest);
}

/** Takes a page out of stage 2: the entry, and what TLBs know of it. */
export function unmapGuestPage(lane: Lane, guest: Guest, ipa: u64, cpu: u32): void {
  if (!isMapped(lane, guest, ipa)) return;
  store<u64>(findEntry(lane, guest.stage2, ipa), 0);
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), 1);
  flushGuest(lane, guest, cpu);
}

/** The host does something to the pages of a guest in [ipa, ipa + bytes). */
export function hostEvent(lane: Lane, cpu: u32, kind: u32, guest: Guest, ipa: u64, bytes: u64): void {
  const step = PAGE_BYTES(lane);
  let changed: bool = false;
  const end = min(ipa + bytes, guest.nextPage);
  for (let at = max(ipa & ~(step - 1), GUEST_TABLES); at < end; at += step) {
    const page = pageOf(lane, guest, at);
    if (!page) continue;
    if (kind == <u32>Event.Stage2Fault) mapGuestPage(lane, guest, page, cpu, true);
    else if (kind == <u32>Event.Stage2Unmap) takePage(lane, guest, page, cpu);
    else if (kind == <u32>Event.Stage2WriteProtect) changed = protect(lane, guest, page, cpu) || changed;
    else if (kind == <u32>Event.Stage2Age) changed = age(lane, guest, page, cpu) || changed;
  }
  if (!changed) return;
  count(lane, cpu, Stat.MaintenanceTlbiVmalls12e1is, 1, Cost.TlbiBroadcast);
  barriers(lane, cpu, 0, 2);
  forgetTranslations(lane, guest);
}

/** A notifier wants the frame: not where the page is pinned. */
function takePage(lane: Lane, guest: Guest, page: Page, cpu: u32): void {
  if (isPinned(SPE(lane), page)) {
    ADD(BLOCK(lane, cpu), Stat.SpeRefused, 1);
    return;
  }
  unmapGuestPage(lane, guest, page.ipa, cpu);
  reclaim(lane, page);
}

/** A dirty log begins. */
function protect(lane: Lane, guest: Guest, page: Page, cpu: u32): bool {
  if (isPinned(SPE(lane), page) && !HAS_FAULT(KERNEL(lane), Fault.SpeProtectPinned)) {
    ADD(BLOCK(lane, cpu), Stat.SpeDirty_Pages, 1);
    return false;
  }
  return change(lane, guest, page, cpu, false);
}

/** The host looks for old pages; where the unit sets no access flags, pinned ones stay young. */
function age(lane: Lane, guest: Guest, page: Page, cpu: u32): bool {
  const spe = SPE(lane);
  if (isPinned(spe, page) && !PARAMETER(spe, SpeParameter.HardwareAf)) return false;
  return change(lane, guest, page, cpu, true);
}

/** Makes a mapped page old, or else read-only; whether it was not. */
function change(lane: Lane, guest: Guest, page: Page, cpu: u32, old: bool): bool {
  if (!isMapped(lane, guest, page.ipa)) return false;
  const stage = guest.stage2.stage;
  const entry = findEntry(lane, guest.stage2, page.ipa);
  const leaf = load<u64>(entry);
  if (old ? !isYoung(leaf) : !isWritable(stage, leaf)) return false;
  store<u64>(entry, old ? oldLeaf(leaf) : protectedLeaf(stage, leaf, false, false));
  tableStores(lane, cpu, NODE_OF_CPU(lane, cpu), 1);
  return true;
}

/** Whether a dirty log wants to know of writes to a page: KVM writes to it by another way, and says so. */
export function noteDirty(lane: Lane, guest: Guest, page: Page, cpu: u32): void {
  if (!isMapped(lane, guest, page.ipa)) return;
  if (isWritable(guest.stage2.stage, load<u64>(findEntry(lane, guest.stage2, page.ipa)))) return;
  ADD(BLOCK(lane, cpu), Stat.SpeDirty_Pages, 1);
}

/** get_user_pages of a page of a guest: it is there afterwards. */
export function getPage(lane: Lane, page: Page, cpu: u32): void {
  spend(lane, cpu, COST(lane, Cost.Gup));
  giveFrame(lane, page, NODE_OF_CPU(lane, cpu));
}

/** The access flag of a leaf is set by hardware. */
export function setYoung(entry: usize): void {
  store<u64>(entry, youngLeaf(load<u64>(entry)));
}
