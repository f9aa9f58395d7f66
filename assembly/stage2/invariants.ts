// The invariants of the simulation (docs/stage2faults.md): what vCPUs know is what the tables say (G1, G5), and when nothing is in work, tables and references
// agree, no entry is locked, and every frame is the kernel's.

import { Check } from '../layout';
import { DESCRIPTOR } from '../memory/tables';
import { addressOf, isExecutable, isLeaf, isPresent, isWritable, STAGE2_LOCKED } from '../paging/descriptor';
import { ENTRY_AT, SHIFT_AT } from '../paging/stage';
import { violated } from '../systems/kernel';
import { primaryAddress } from './guest';
import { Guest, Known, Sim, TLB_ENTRIES, WALKER } from './records';
import { stateOf } from './tables';
import { KNOWN } from './tlb';

/** G1: no entry of the guest allows what its tables do not. */
export function checkKnown(sim: Sim, guest: Guest, by: u32): void {
  for (let cpu: u32 = 0; cpu < sim.lane.cpus; cpu++) {
    const w = WALKER(sim, cpu);
    for (let i: u32 = 0; i < TLB_ENTRIES; i++) {
      checkEntry(sim, guest, KNOWN(w.stage2, i), cpu);
      checkEntry(sim, guest, KNOWN(w.combined, i), cpu);
      checkUnique(sim, guest, w.combined, i, cpu);
    }
  }
}

function checkEntry(sim: Sim, guest: Guest, known: Known, cpu: u32): void {
  if (known.vm != guest.vm + 1) return;
  const stage = guest.stage;
  const end = known.ipa + ((<u64>1) << known.shift);
  for (let ipa = known.ipa; ipa < end;) {
    const height = findLeaf(sim, guest, ipa);
    const bytes = (<u64>1) << SHIFT_AT(stage, max(height, 0));
    const isSame =
      height >= 0 &&
      (addressOf(stage, found, height) | (ipa & (bytes - 1))) == frameOf(guest, known) + (ipa - known.ipa);
    const grew = isWritable(stage, known.leaf) && !isWritable(stage, found);
    const ran = isExecutable(stage, known.leaf) && !isExecutable(stage, found);
    if (!isSame || grew || ran) {
      violated(sim.lane, Check.Stale, ipa, cpu);
      return;
    }
    ipa = (ipa | (bytes - 1)) + 1;
  }
}

/** The entry that findLeaf found. */
let found: u64 = 0;

/** The height of the leaf for `ipa`; -1: there is none. */
function findLeaf(sim: Sim, guest: Guest, ipa: u64): i32 {
  const stage = guest.stage;
  let table = guest.root;
  for (let height = <i32>stage.depth - 1; height >= 0; height--) {
    found = load<u64>(DESCRIPTOR(sim.lane.tables, ENTRY_AT(stage, table, ipa, height)));
    if (!isPresent(stage, found, height)) return -1;
    if (isLeaf(stage, found, height)) return height;
    table = addressOf(stage, found, height);
  }
  return -1;
}

function frameOf(guest: Guest, known: Known): u64 {
  return addressOf(guest.stage, known.leaf, heightOf(guest, known));
}

function heightOf(guest: Guest, known: Known): u32 {
  return (known.shift - guest.stage.pageShift) / guest.stage.indexBits;
}

/** G5: no two entries give an address different frames. */
function checkUnique(sim: Sim, guest: Guest, entries: usize, i: u32, cpu: u32): void {
  const known = KNOWN(entries, i);
  for (let j: u32 = 0; j < i; j++) {
    const other = KNOWN(entries, j);
    if (known.vm != guest.vm + 1 || other.vm != known.vm) continue;
    const shift = max(known.shift, other.shift);
    if ((known.ipa ^ other.ipa) >> shift) continue;
    if (frameOf(guest, known) - known.ipa != frameOf(guest, other) - other.ipa) {
      violated(sim.lane, Check.Conflict, known.ipa, cpu);
    }
  }
}

/** When no walker is at work: every guest's tables, and what vCPUs know. */
export function checkQuiet(sim: Sim): void {
  let guest = sim.guests;
  for (; guest; guest = guest!.next) {
    if (!guest!.live) continue;
    checkTable(sim, guest!, guest!.root, 0, guest!.stage.depth - 1);
    checkKnown(sim, guest!, 0);
  }
}

/** D-I2, D-I6 and G6 of a table of `height` for the addresses from `ipa` on. */
function checkTable(sim: Sim, guest: Guest, table: u64, ipa: u64, height: u32): void {
  const stage = guest.stage;
  const isRoot = height == stage.depth - 1;
  const bits = isRoot ? stage.rootBits : stage.indexBits;
  const perPage = (<u64>1) << stage.indexBits;
  let references: u32 = 1;
  for (let i: u64 = 0; i >> bits == 0; i++) {
    const entry = load<u64>(DESCRIPTOR(sim.lane.tables, table + i * 8));
    const at = ipa + (i << SHIFT_AT(stage, height));
    if (entry) references++;
    if (entry == STAGE2_LOCKED) violated(sim.lane, Check.Locked, at, 0);
    if (isPresent(stage, entry, height)) {
      const target = addressOf(stage, entry, height);
      if (!isLeaf(stage, entry, height)) checkTable(sim, guest, target, at, height - 1);
      else if (target != primaryAddress(guest, at)) violated(sim.lane, Check.Primary, at, 0);
    }
    if ((i + 1) % perPage && (i + 1) >> bits == 0) continue;
    const page = (table + i * 8) & ~(((<u64>1) << stage.pageShift) - 1);
    if (stateOf(sim, page).references != references) violated(sim.lane, Check.Accounting, at, 0);
    references = 1;
  }
}

/** D-I7: when the last guest is gone, so are all tables but those that vCPUs have at hand. */
export function checkTornDown(sim: Sim): void {
  let guest = sim.guests;
  while (guest && !guest.live) guest = guest.next;
  if (guest) return;
  let spares: u64 = 0;
  for (let cpu: u32 = 0; cpu < sim.lane.cpus; cpu++) spares += WALKER(sim, cpu).spareCount;
  if (sim.tables != spares) violated(sim.lane, Check.Accounting, 0, 0);
}
