// Virtual machines: their stage 2 and where the kernel has their memory. A guest's frame is its intermediate address, moved by 1G, 2M or a page for each time that
// the kernel has moved so much of it at once, so a stale frame is another one.

import { Cost, Format, Stage } from '../layout';
import { allocate } from '../memory/arena';
import { addWord, clearPageMap, findWord, newPageMap } from '../memory/pagemap';
import { SHIFT_AT, newStage } from '../paging/stage';
import { ADD, Stat } from '../stats';
import { BLOCK, COST } from '../tlb/maintenance';
import { clearDomain, newDomain } from './domain';
import { checkTornDown } from './invariants';
import { pass } from './lock';
import { freeAllDeferred } from './rcu';
import { Guest, Operation, Sim, Walker, WALKER } from './records';
import { freePage, freeTree, newRoot } from './tables';
import { barriers, forgetGuest } from './tlb';
import { addressOf, isLeaf, isPresent } from '../paging/descriptor';
import { DESCRIPTOR } from '../memory/tables';

const IPA_BITS: u32 = 40;
/** The host of pKVM under its own stage 2, there from the start; it has as many address bits as the machine, and memory where it is. */
const HOST: u32 = 0;
/** Tables that a root may be made of, as a power of two (KVM). */
const CONCATENATED: u32 = 4;
const OUTPUT_BITS: u32 = 48;

/** Contexts of `moves`: by how often what a leaf of height 0, 1 or 2 maps was moved as a whole, and of height 1 or 2 whether a part of it was moved alone. */
function MOVED(height: u32): u64 {
  return 2 + 2 * height;
}
function MIXED(height: u32): u64 {
  return 8 + 2 * height;
}

/** The height of the largest leaf: 1G with 4K pages, else one above a page (KVM_PGTABLE_MIN_BLOCK_LEVEL). */
export function mostHeight(stage: Stage): u32 {
  return stage.indexBits == 9 ? 2 : 1;
}

/** The guest of that number, made with the default size where no event has made it. */
export function guestOf(sim: Sim, vm: u32): Guest {
  const guest = findGuest(sim, vm);
  return guest ? guest : createGuest(sim, 0, vm, 0);
}

function findGuest(sim: Sim, vm: u32): Guest | null {
  let guest = sim.guests;
  while (guest && !(guest.live && guest.vm == vm)) guest = guest.next;
  return guest;
}

/**
 * vm_create: a root of KVM's geometry (floor((ipaBits - 8) / index bits) levels, at least 2), on the CPU's node. A guest that had
 * the number goes first.
 */
export function createGuest(sim: Sim, cpu: u32, vm: u32, ipaBits: u32): Guest {
  const before = findGuest(sim, vm);
  if (before) destroyGuest(sim, before);
  let guest = sim.guests;
  while (guest && guest.live) guest = guest.next;
  const shift = sim.lane.stage1.pageShift;
  if (!guest) {
    guest = changetype<Guest>(allocate(offsetof<Guest>()));
    guest.next = sim.guests;
    guest.moves = newPageMap();
    guest.ran = newDomain(sim.lane);
    guest.lastVcpu = allocate(sim.lane.cpus * 8);
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
  memory.fill(guest.lastVcpu, 0, sim.lane.cpus * 8);
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

/** vcpu_load (E11): where another vCPU of the guest ran last, whatever other guests did since, this CPU's entries of it go (__kvm_flush_cpu_context). */
export function loadVcpu(sim: Sim, w: Walker, operation: Operation): void {
  const guest = operation.guest;
  const last = guest.lastVcpu + w.cpu * 8;
  const before = load<u64>(last);
  const now = <u64>operation.vcpu + 1;
  store<u64>(last, now);
  if (!before || before == now) return;
  ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceTlbiVmalle1, 1);
  ADD(BLOCK(sim.lane, w.cpu), Stat.MaintenanceIc_Lines, 1);
  // DSB NSH, ISB.
  barriers(sim, w, 2);
  pass(sim, w, COST(sim.lane, Cost.TlbiLocal), Stat.CyclesMaintenance);
  forgetGuest(w, guest, true);
}

/** The last of a guest's addresses. */
export function lastAddress(guest: Guest): u64 {
  const stage = guest.stage;
  return ((<u64>1) << (SHIFT_AT(stage, stage.depth - 1) + stage.rootBits)) - 1;
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
  let frame = (ipa >> stage.pageShift) << stage.pageShift;
  for (let height: u32 = 0; height <= mostHeight(stage); height++) {
    const shift = SHIFT_AT(stage, height);
    frame += moves(guest, ipa >> shift, MOVED(height)) << shift;
  }
  return (frame << (64 - OUTPUT_BITS)) >> (64 - OUTPUT_BITS);
}

/** The kernel moves a guest's memory in [from, last]: what a leaf can map as a whole where it is all in it, so that a guest's last page costs as little as its first. */
export function moveMemory(guest: Guest, from: u64, last: u64): void {
  if (guest.vm == HOST) return;
  const stage = guest.stage;
  for (let ipa = (from >> stage.pageShift) << stage.pageShift; ipa <= last;) {
    let height = mostHeight(stage);
    while (height && (ipa & below(stage, height) || (ipa | below(stage, height)) > last)) height--;
    for (let above = height + 1; above <= mostHeight(stage); above++) {
      const number = ipa >> SHIFT_AT(stage, above);
      if (!moves(guest, number, MIXED(above))) moved(guest, number, MIXED(above));
    }
    moved(guest, ipa >> SHIFT_AT(stage, height), MOVED(height));
    ipa += below(stage, height) + 1;
  }
}

/** The bits of an address below a leaf of the height. */
function below(stage: Stage, height: u32): u64 {
  return ((<u64>1) << SHIFT_AT(stage, height)) - 1;
}

/** The largest height up to `most` at which the kernel's memory around `ipa` is one aligned frame. */
export function largestHeight(guest: Guest, ipa: u64, most: u32): u32 {
  let height = most;
  while (height && moves(guest, ipa >> SHIFT_AT(guest.stage, height), MIXED(height))) height--;
  return height;
}
