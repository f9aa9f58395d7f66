// Virtual machines and the buffers in their kernels' addresses: what a guest maps where, and KVM's walk of the guest's own tables.

import { Cost, Lane } from '../layout';
import { allocate } from '../memory/arena';
import { addressOf, isPresent, kernelLeaf } from '../paging/descriptor';
import { ADD, Stat } from '../stats';
import { BLOCK, COST, spend } from '../systems/operations';
import { countPinned, dropKept, freePage, newGuestPage, PAGE_BYTES, pageOf } from './pages';
import { Guest, isStrategy, Page, PARAMETER, SPE, SpeParameter, SpeStrategy, Tree, Vcpu } from './records';
import { mapGuestPage, forgetTranslations } from './stage2';
import {
  findEntry,
  freeStage2,
  GUEST_PAGES,
  GUEST_TABLES,
  kernelHalf,
  makeEntry,
  openStage1,
  openStage2,
  tableAt,
} from './tables';

/** The guest of that number, made where there is none. */
export function guestOf(lane: Lane, number: u32, cpu: u32): Guest {
  let guest = SPE(lane).guests;
  while (guest && !(guest.live && guest.number == number)) guest = guest.next;
  return guest ? guest : createGuest(lane, number, cpu);
}

/** vm_create. With PinVm all of its memory is pinned and mapped now. */
function createGuest(lane: Lane, number: u32, cpu: u32): Guest {
  const spe = SPE(lane);
  let guest = spe.guests;
  while (guest && guest.live) guest = guest.next;
  if (!guest) {
    guest = changetype<Guest>(allocate(offsetof<Guest>()));
    guest.stage1 = changetype<Tree>(allocate(offsetof<Tree>()));
    guest.stage2 = changetype<Tree>(allocate(offsetof<Tree>()));
    guest.next = spe.guests;
    spe.guests = guest;
  }
  guest.number = number;
  guest.live = true;
  guest.serial = ++spe.guestCount;
  guest.tables = 0;
  guest.nextTable = GUEST_TABLES;
  guest.nextPage = GUEST_PAGES;
  openStage2(lane, guest, cpu);
  openStage1(lane, guest, cpu);
  mapTables(lane, guest, cpu, GUEST_TABLES);
  if (isStrategy(spe, SpeStrategy.PinVm)) {
    guest.pinned = PARAMETER(spe, SpeParameter.GuestBytes) >> lane.stage1.pageShift;
    ADD(BLOCK(lane, cpu), Stat.SpePins, guest.pinned);
    spend(lane, cpu, guest.pinned * (COST(lane, Cost.Gup) + COST(lane, Cost.Stage2Map)));
    countPinned(lane, cpu, guest.pinned);
  }
  return guest;
}

/** The guest has written its tables from `from` on, so stage 2 maps them. */
function mapTables(lane: Lane, guest: Guest, cpu: u32, from: u64): void {
  for (let ipa = from; ipa < guest.nextTable; ipa += PAGE_BYTES(lane)) {
    mapGuestPage(lane, guest, pageOf(lane, guest, ipa)!, cpu, false);
  }
}

/** The memory and the tables of a guest go; its vCPUs have stopped. */
export function destroyGuest(lane: Lane, guest: Guest, cpu: u32): void {
  const spe = SPE(lane);
  ADD(BLOCK(lane, cpu), Stat.SpeUnpins, guest.pinned);
  spend(lane, cpu, guest.pinned * COST(lane, Cost.Unpin));
  spe.pinned -= guest.pinned;
  guest.pinned = 0;
  freeStage2(lane, guest);
  freePages(lane, guest, GUEST_TABLES, guest.nextTable);
  freePages(lane, guest, GUEST_PAGES, guest.nextPage);
  guest.live = false;
}

function freePages(lane: Lane, guest: Guest, from: u64, end: u64): void {
  for (let ipa = from; ipa < end; ipa += PAGE_BYTES(lane)) freePage(lane, pageOf(lane, guest, ipa)!);
}

/** The guest's kernel maps a page of its own at `va`. `touched`: it has written to it, so that stage 2 maps it. */
function mapVa(lane: Lane, guest: Guest, va: u64, cpu: u32, touched: bool): Page {
  const spe = SPE(lane);
  const ipa = guest.nextPage;
  guest.nextPage += PAGE_BYTES(lane);
  const page = newGuestPage(lane, guest, ipa, cpu);
  const tables = guest.nextTable;
  const entry = makeEntry(lane, guest.stage1, va, cpu);
  mapTables(lane, guest, cpu, tables);
  store<u64>(entry, kernelLeaf(lane.stage1, ipa, 0, false, true, false, true));
  if (touched || isStrategy(spe, SpeStrategy.PinVm)) mapGuestPage(lane, guest, page, cpu, false);
  return page;
}

/** What an entry of the guest's tables is after the page was unmapped: not valid, and not 0, which is "never mapped". */
const UNMAPPED: u64 = 2;

/** The guest's kernel takes memory for a buffer, where it has not before. */
export function mapBuffer(lane: Lane, guest: Guest, from: u64, end: u64, cpu: u32): void {
  const step = PAGE_BYTES(lane);
  for (let va = from & ~(step - 1); va < end; va += step) {
    const entry = findEntry(lane, guest.stage1, va);
    if (!entry || !load<u64>(entry)) mapVa(lane, guest, va, cpu, true);
  }
}

/**
 * The guest's kernel maps other pages where a buffer has or had some (kmap), with the bytes of the old ones, or unmaps them (kunmap). Stage 2 maps a
 * new page when something faults on it.
 */
export function remapBuffer(lane: Lane, guest: Guest, from: u64, bytes: u64, unmaps: bool, cpu: u32): void {
  const end = from + bytes;
  for (let va = from & ~(PAGE_BYTES(lane) - 1); va < end; va += PAGE_BYTES(lane)) {
    const entry = findEntry(lane, guest.stage1, va);
    if (!entry || !load<u64>(entry)) continue;
    const old = pageAtVa(lane, guest, va);
    if (unmaps) {
      store<u64>(entry, UNMAPPED);
      if (old && old.kept) dropKept(lane, old);
      continue;
    }
    const page = mapVa(lane, guest, va, cpu, false);
    if (!old) continue;
    memory.copy(page.bytes, old.bytes, <usize>PAGE_BYTES(lane));
    page.kept = old.kept;
    page.keptFrom = old.keptFrom;
    page.keptTo = old.keptTo;
    old.kept = null;
  }
  forgetTranslations(lane, guest);
}

/** The page that a guest's kernel has at `va`, as its tables say; null: none. Counts nothing. */
export function pageAtVa(lane: Lane, guest: Guest, va: u64): Page | null {
  const entry = findEntry(lane, guest.stage1, va);
  if (!entry || !isPresent(lane.stage1, load<u64>(entry), 0)) return null;
  return pageOf(lane, guest, addressOf(lane.stage1, load<u64>(entry), 0));
}

/** The same by KVM, which reads the guest's memory: the whole way, or the last entry where the table is the one of the walk before. */
export function softWalk(lane: Lane, guest: Guest, va: u64, cpu: u32): Page | null {
  const spe = SPE(lane);
  const page = pageAtVa(lane, guest, va);
  const table = page ? tableAt(lane, guest.stage1, va, 0) + 1 : 0;
  const reads: u64 = table && table == spe.softTable ? 1 : lane.stage1.depth;
  spe.softTable = table;
  ADD(BLOCK(lane, cpu), Stat.SpeSoft_Walks, 1);
  ADD(BLOCK(lane, cpu), Stat.SpeSoft_Reads, reads);
  spend(lane, cpu, reads * COST(lane, Cost.GuestRead));
  return page;
}

/** Where the buffer is that the system programs itself: each CPU's at a multiple of 2M, with as much between them. */
export function ownBuffer(lane: Lane, vcpu: Vcpu): u64 {
  const slot = (PARAMETER(SPE(lane), SpeParameter.BufferBytes) + 0x3f_ffff) & ~0x1f_ffff;
  return kernelHalf(lane) + 0x4000_0000 + <u64>vcpu.number * slot;
}
