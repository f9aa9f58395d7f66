// The invariants of host-stage2, asked after every event (docs/hoststage2.md, Invariants).

import { Check, Fault, HostText, HostTree, Lane, Option } from '../layout';
import { DESCRIPTOR } from '../memory/tables';
import { addressOf, isDevice, isLeaf, isPresent, isWritable } from '../paging/descriptor';
import { bitsAt, findHostLeaf, hostAddress, OWN_IPA, ROOT, TEXT, textAt } from '../paging/hosttree';
import { SHIFT_AT } from '../paging/stage';
import { PatchedLine } from '../paging/copies';
import { HAS_FAULT, HAS_OPTION, KERNEL, violated } from './kernel';

export function checkHostStage2(lane: Lane): void {
  const tree = lane.hostTree;
  if (!tree) return;
  checkTags(lane, tree);
  if (tree.unbroken) violated(lane, Check.BreakBeforeMake, tree.unbroken & ~1, KERNEL(lane).cpu);
  tree.unbroken = 0;
  for (let root: u32 = 0; root < tree.roots; root++) {
    checkTable(lane, tree, root, ROOT(tree, root), tree.stage.depth - 1, 0);
  }
  for (let i: u32 = 0; i < tree.textCount && tree.replicated; i++) {
    for (let root: u32 = 0; root < tree.roots; root++) checkText(lane, tree, TEXT(tree, i), root);
    checkContent(lane, tree, TEXT(tree, i));
  }
}

/** B-I4: one tag on all nodes, and roots that differ are not declared common. */
function checkTags(lane: Lane, tree: HostTree): void {
  const kernel = KERNEL(lane);
  const common = HAS_OPTION(kernel, Option.Cnp) && HAS_FAULT(kernel, Fault.CnpAcrossNodes);
  if (tree.roots > 1 && (common || tree.vmidPerNode)) violated(lane, Check.Sharing, 0, kernel.cpu);
}

/** B-I1 and B-I3 for the leaves of a root's table of `height` for the addresses from `from` on. */
function checkTable(lane: Lane, tree: HostTree, root: u32, table: u64, height: u32, from: u64): void {
  const stage = tree.stage;
  const bits = bitsAt(tree, height);
  for (let i: u64 = 0; i >> bits == 0; i++) {
    const entry = load<u64>(DESCRIPTOR(lane.tables, table + i * 8));
    if (!isPresent(stage, entry, height)) continue;
    const ipa = from | (i << SHIFT_AT(stage, height));
    if (isLeaf(stage, entry, height)) checkLeaf(lane, tree, root, entry, height, ipa);
    else checkTable(lane, tree, root, addressOf(stage, entry, height), height - 1, ipa);
  }
}

function checkLeaf(lane: Lane, tree: HostTree, root: u32, entry: u64, height: u32, ipa: u64): void {
  if (tree.replicated && textAt(tree, ipa)) return;
  const stage = tree.stage;
  const cpu = KERNEL(lane).cpu;
  const pa = addressOf(stage, entry, height);
  const last = pa | (((<u64>1) << SHIFT_AT(stage, height)) - 1);
  const other = findHostLeaf(lane, tree, tree.home, ipa);
  if (other) {
    const primary = load<u64>(other.at);
    const same = isWritable(stage, primary) == isWritable(stage, entry) && isDevice(primary) == isDevice(entry);
    if (!same || hostAddress(lane, tree, tree.home, ipa) != pa) violated(lane, Check.RootSync, ipa, cpu);
  }
  for (let i: u32 = 0; i < tree.textCount && tree.replicated; i++) {
    const text = TEXT(tree, i);
    for (let node: u32 = 0; node < tree.roots; node++) {
      const copy = load<u64>(text.frames + node * 8);
      if (node == tree.home || copy > last || copy + (text.last - text.from) < pa) continue;
      // A captured address may be the same number as that of a copy, which is the lane's own.
      if (ipa & OWN_IPA) violated(lane, Check.Divergence, ipa, cpu);
    }
  }
}

/** B-I2: a root leads to its own copy, which cannot be written. */
function checkText(lane: Lane, tree: HostTree, text: HostText, root: u32): void {
  const copy = load<u64>(text.frames + root * 8);
  let ipa = text.from;
  while (ipa < text.last) {
    const leaf = findHostLeaf(lane, tree, root, ipa);
    const shift = SHIFT_AT(tree.stage, leaf ? leaf.height : 0);
    if (leaf) {
      if (isWritable(tree.stage, load<u64>(leaf.at))) violated(lane, Check.Writable, ipa, KERNEL(lane).cpu);
      if (hostAddress(lane, tree, root, ipa) != copy + (ipa - text.from)) {
        violated(lane, Check.Divergence, ipa, KERNEL(lane).cpu);
      }
    }
    ipa = ((ipa >> shift) + 1) << shift;
  }
}

/** B-I2: all copies have the same content. */
function checkContent(lane: Lane, tree: HostTree, text: HostText): void {
  let line = changetype<PatchedLine | null>(text.lines);
  while (line) {
    for (let root: u32 = 1; root < tree.roots; root++) {
      if (load<u64>(line.tokens + root * 8) == load<u64>(line.tokens)) continue;
      violated(lane, Check.Divergence, line.va, KERNEL(lane).cpu);
      break;
    }
    line = line.next;
  }
}
