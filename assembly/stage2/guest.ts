// Virtual machines: their stage 2 and where the kernel has their memory. A guest's frame is its intermediate address, moved by 2M or by a page for each time that
// the kernel has moved it, so a stale frame is another one.

import { Format } from '../layout';
import { allocate } from '../memory/arena';
import { addWord, clearPageMap, findWord, newPageMap } from '../memory/pagemap';
import { SHIFT_AT, newStage } from '../paging/stage';
import { ADD, Stat } from '../stats';
import { BLOCK } from '../tlb/maintenance';
import { clearDomain, newDomain } from './domain';
import { checkTornDown } from './invariants';
import { freeAllDeferred } from './rcu';
import { Guest, Operation, Sim, Walker, WALKER } from './records';
import { freePage, freeTree, newRoot } from './tables';
import { forgetGuest } from './tlb';
import { addressOf, isLeaf, isPresent } from '../paging/descriptor';
import { DESCRIPTOR } from '../memory/tables';

const IPA_BITS: u32 = 40;
/** The host of pKVM under its own stage 2, there from the start; it has as many address bits as the machine, and memory where it is. */
const HOST: u32 = 0;
/** Tables that a root may be made of, as a power of two (KVM). */
const CONCATENATED: u32 = 4;
const OUTPUT_BITS: u32 = 48;

const MOVED_PAGE: u64 = 2;
const MOVED_REGION: u64 = 4;
const MIXED_REGION: u64 = 6;

/** The guest of that number, made with the default size where no event has made it. */
export function guestOf(sim: Sim, vm: u32): Guest {
  let guest = sim.guests;
  while (guest && !(guest.live && guest.vm == vm)) guest = guest.next;
  return guest ? guest : createGuest(sim, 0, vm, 0);
}

/** vm_create: a root of KVM's geometry (floor((ipaBits - 8) / index bits) levels, at least 2), on the CPU's node. */
export function createGuest(sim: Sim, cpu: u32, vm: u32, ipaBits: u32): Guest {
  let guest = sim.guests;
  while (guest && guest.live) guest = guest.next;
  const shift = sim.lane.stage1.pageShift;
  if (!guest) {
    guest = changetype<Guest>(allocate(offsetof<Guest>()));
    guest.next = sim.guests;
    guest.moves = newPageMap();
    guest.ran = newDomain(sim.lane);
    guest.stage = newStage(Format.ArmStage2, shift, 0, 0, OUTPUT_BITS, 0);
    sim.guests = guest;
  }
  const bits = ipaBits ? ipaBits : vm == HOST ? OUTPUT_BITS : IPA_BITS;
  const stage = guest.stage;
  stage.depth = max((bits - CONCATENATED - 4) / stage.indexBits, 2);
  stage.rootBits = bits - shift - (stage.depth - 1) * stage.indexBits;
  guest.vm = vm;
  guest.live = true;
  guest.rootPages = stage.rootBits > stage.indexBits ? 1 << (stage.rootBits - stage.indexBits) : 1;
  guest.root = newRoot(sim, cpu, guest.rootPages);
  guest.sequence = 1;
  guest.lineOwner = 0;
  clearDomain(sim, guest);
  return guest;
}

/** vm_destroy (E10): the tables go at once, as no walker is left; the VMID is not used again before TLBs are empty. */
export function destroyGuest(sim: Sim, guest: Guest): void {
  freeAllDeferred(sim);
  const stage = guest.stage;
  const height = stage.depth - 1;
  for (let i: u64 = 0; i >> stage.rootBits == 0; i++) {
    const entry = load<u64>(DESCRIPTOR(sim.lane.tables, guest.root + i * 8));
    if (isPresent(stage, entry, height) && !isLeaf(stage, entry, height)) {
      freeTree(sim, guest, addressOf(stage, entry, height), height - 1);
    }
  }
  for (let i: u32 = 0; i < guest.rootPages; i++) freePage(sim, guest.root + ((<u64>i) << stage.pageShift));
  for (let cpu: u32 = 0; cpu < sim.lane.cpus; cpu++) {
    const w = WALKER(sim, cpu);
    forgetGuest(w, guest, false);
    if (w.guest != guest) continue;
    while (w.spareCount) freePage(sim, load<u64>(w.spares + --w.spareCount * 8));
  }
  guest.live = false;
  clearPageMap(guest.moves);
  checkTornDown(sim);
}

/** vcpu_load (E11): where another vCPU of the guest ran last, this CPU's entries of it go. */
export function loadVcpu(sim: Sim, w: Walker, operation: Operation): void {
  const guest = operation.guest;
  const before = w.vcpu;
  w.vcpu = ((<u64>(guest.vm + 1)) << 32) | operation.vcpu;
  if (before >> 32 != guest.vm + 1 || before == w.vcpu) return;
  ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceTlbiVmalle1, 1);
  ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceIc_Lines, 1);
  forgetGuest(w, guest, true);
}

function moves(guest: Guest, number: u64, what: u64): u64 {
  const word = findWord(guest.moves, number, what);
  return word ? load<u64>(word) : 0;
}

function moved(guest: Guest, number: u64, what: u64): void {
  const word = findWord(guest.moves, number, what);
  if (word) store<u64>(word, load<u64>(word) + 1);
  else addWord(guest.moves, number, what, 1);
}

/** The frame that the kernel has at `ipa`. */
export function primaryAddress(guest: Guest, ipa: u64): u64 {
  const stage = guest.stage;
  const block = SHIFT_AT(stage, 1);
  const page = ipa >> stage.pageShift;
  const by = (moves(guest, ipa >> block, MOVED_REGION) << block) + (moves(guest, page, MOVED_PAGE) << stage.pageShift);
  return (((page << stage.pageShift) + by) << (64 - OUTPUT_BITS)) >> (64 - OUTPUT_BITS);
}

/** The kernel moves a guest's memory in [from, last]: 2M as a whole where it is all in it, else pages. */
export function moveMemory(guest: Guest, from: u64, last: u64): void {
  if (guest.vm == HOST) return;
  const stage = guest.stage;
  const block = SHIFT_AT(stage, 1);
  const inside = ((<u64>1) << block) - 1;
  for (let ipa = from; ipa <= last;) {
    const region = ipa >> block;
    if (!(ipa & inside) && (ipa | inside) <= last) {
      moved(guest, region, MOVED_REGION);
      ipa += inside + 1;
      continue;
    }
    if (!moves(guest, region, MIXED_REGION)) moved(guest, region, MIXED_REGION);
    moved(guest, ipa >> stage.pageShift, MOVED_PAGE);
    ipa += (<u64>1) << stage.pageShift;
  }
}

/** The largest height up to `most` at which the kernel's memory around `ipa` is one aligned frame. */
export function largestHeight(guest: Guest, ipa: u64, most: u32): u32 {
  const block = SHIFT_AT(guest.stage, 1);
  if (most > 1) {
    const first = (ipa >> SHIFT_AT(guest.stage, most)) << (SHIFT_AT(guest.stage, most) - block);
    let isWhole = true;
    for (let i: u64 = 0; i >> (SHIFT_AT(guest.stage, most) - block) == 0 && isWhole; i++) {
      isWhole = !moves(guest, first + i, MOVED_REGION) && !moves(guest, first + i, MIXED_REGION);
    }
    if (isWhole) return most;
  }
  return most > 0 && !moves(guest, ipa >> block, MIXED_REGION) ? 1 : 0;
}
