// Virtual machines of a lane with two stages: each has its own stage-2 tree, its guest's tables and its intermediate addresses
// (docs/models.md, Two stages).

import { Lane, REGIME_GUEST, REGIME_HYPERVISOR, Stage, Vm } from '../layout';
import { allocate } from '../memory/arena';
import { allocateFrame } from '../memory/frames';
import { allocateTables, DESCRIPTOR, newTablePool } from '../memory/tables';
import { addressOf, isLeaf, isPresent, leafDescriptor, tableDescriptor } from './descriptor';
import { ENTRY_AT } from './stage';

/** Chunks of a guest's table directory: 256 MiB of tables. */
const GUEST_CHUNKS: u32 = 4096;

/** The virtual machine that a context of the lane runs in; null when it has one stage. */
// @ts-ignore: decorator
@inline
export function vmOf(lane: Lane, context: u64): Vm | null {
  if (!lane.stage2) return null;
  const regime = (<u32>(context >> 8)) & 0xff;
  if (regime & REGIME_HYPERVISOR && !(regime & REGIME_GUEST)) return null;
  return findVm(lane, (<u32>(context >> 16)) & 0xffff);
}

function findVm(lane: Lane, number: u32): Vm {
  let known = lane.vms;
  while (known) {
    if (known.vm == number) return known;
    known = known.next;
  }
  const vm = changetype<Vm>(allocate(offsetof<Vm>()));
  vm.vm = number;
  vm.tables = newTablePool(lane.stage1.pageShift, GUEST_CHUNKS);
  vm.nextPage = guestPages(lane);
  vm.next = lane.vms;
  lane.vms = vm;
  return vm;
}

/** The first intermediate address of a guest's pages; below it are its tables. */
export function guestPages(lane: Lane): u64 {
  const stage = lane.stage2!;
  const bits = stage.pageShift + (stage.depth - 1) * stage.indexBits + stage.rootBits;
  return (<u64>1) << (min(bits, 48) - 1);
}

/** Where the stage-2 leaf for `ipa` lies in Wasm memory; 0 when stage 2 does not map it. */
export function stage2Leaf(lane: Lane, vm: Vm, ipa: u64): usize {
  if (!vm.root) return 0;
  const stage = lane.stage2!;
  let tablePa = vm.root - 1;
  for (let height = <i32>stage.depth - 1; height >= 0; height--) {
    const at = DESCRIPTOR(lane.tables, ENTRY_AT(stage, tablePa, ipa, height));
    const entry = load<u64>(at);
    if (!isPresent(stage, entry, height)) return 0;
    if (isLeaf(stage, entry, height)) return at;
    tablePa = addressOf(stage, entry, height);
  }
  return 0;
}

/** The physical address that stage 2 gives a mapped `ipa`. */
export function stage2Address(lane: Lane, vm: Vm, ipa: u64): u64 {
  const inside = ((<u64>1) << lane.stage2Shift) - 1;
  return addressOf(lane.stage2!, load<u64>(stage2Leaf(lane, vm, ipa)), lane.stage2Height) | (ipa & inside);
}

/** Maps `ipa` in stage 2, for a CPU of node `cpuNode`. */
export function mapIpa(lane: Lane, vm: Vm, cpuNode: u32, ipa: u64): void {
  const stage = lane.stage2!;
  if (!vm.root) vm.root = allocateTables(lane, cpuNode, rootPages(stage), stage.pageShift) + 1;
  let tablePa = vm.root - 1;
  for (let height = stage.depth - 1; height > lane.stage2Height; height--) {
    const at = DESCRIPTOR(lane.tables, ENTRY_AT(stage, tablePa, ipa, height));
    let entry = load<u64>(at);
    if (!isPresent(stage, entry, height)) {
      entry = tableDescriptor(stage, allocateTables(lane, cpuNode, 1, stage.pageShift));
      store<u64>(at, entry);
    }
    tablePa = addressOf(stage, entry, height);
  }
  const tables = ipa < guestPages(lane);
  const policy = tables ? lane.tablePolicy : lane.dataPolicy;
  const framePa = allocateFrame(lane, cpuNode, ipa, lane.stage2Shift, policy, tables ? lane.tableNode : lane.dataNode);
  const at = DESCRIPTOR(lane.tables, ENTRY_AT(stage, tablePa, ipa, lane.stage2Height));
  store<u64>(at, leafDescriptor(stage, framePa, lane.stage2Height, false, false, false));
}

/** Tables that form the root, one after the other: stage 2 may concatenate up to 16. */
function rootPages(stage: Stage): u32 {
  return stage.rootBits > stage.indexBits ? 1 << (stage.rootBits - stage.indexBits) : 1;
}
