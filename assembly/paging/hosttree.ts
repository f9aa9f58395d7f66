// The stage 2 under which a pKVM host runs, with one root per node (docs/hoststage2.md): its shape, and finding its leaves; hostfill.ts changes
// them. It maps every address to itself, but the kernel's text to the copy of the root's node.
//
// Intermediate addresses: a captured physical address is its own; an address of the lane's own frames and tables has OWN_IPA set, so that
// the two never meet.

import { Format, HostText, HostTree, Lane, REGIME_GUEST, REGIME_HYPERVISOR, NODE_OF_CPU } from '../layout';
import { allocate } from '../memory/arena';
import { DESCRIPTOR } from '../memory/tables';
import { addressOf, isLeaf, isPresent, isWritable } from './descriptor';
import { findPage, SIZE } from './map';
import { isCaptured } from './own';
import { ENTRY_AT, newStage, SHIFT_AT } from './stage';

/** In an intermediate address: it is one of the lane's own frames or tables. */
export const OWN_IPA: u64 = (<u64>1) << 47;
/** What functions return for an address that is not mapped. */
export const NOT_MAPPED: u64 = u64.MAX_VALUE;

const IPA_BITS: u32 = 48;
/** Tables that a root may be made of, as a power of two (KVM). */
const CONCATENATED: u32 = 4;
const MAX_TEXTS: u32 = 8;
/** Regimes that are not under the host's stage 2, in a context. */
const NOT_HOST: u64 = (<u64>(REGIME_GUEST | REGIME_HYPERVISOR)) << 8;

/** The stage 2 that a context of the lane runs under; null: none. */
// @ts-ignore: decorator
@inline
export function hostOf(lane: Lane, context: u64): HostTree | null {
  return context & NOT_HOST ? null : lane.hostTree;
}

/** A stage 2 of KVM's geometry with the granule of stage 1; its roots come with openHostRoots. */
export function newHostTree(lane: Lane): HostTree {
  const shift = lane.stage1.pageShift;
  const bits = shift - 3;
  const depth = max((IPA_BITS - CONCATENATED - 4) / bits, 2);
  const tree = changetype<HostTree>(allocate(offsetof<HostTree>()));
  tree.stage = newStage(Format.ArmStage2, shift, depth, IPA_BITS - shift - (depth - 1) * bits, IPA_BITS, 0);
  tree.roots = lane.nodes;
  tree.root = allocate(tree.roots * 8);
  tree.texts = allocate(MAX_TEXTS * offsetof<HostText>());
  tree.stores = allocate(lane.nodes * 4);
  return tree;
}

// @ts-ignore: decorator
@inline
export function TEXT(tree: HostTree, i: u32): HostText {
  return changetype<HostText>(tree.texts + i * offsetof<HostText>());
}

// @ts-ignore: decorator
@inline
export function ROOT(tree: HostTree, root: u32): u64 {
  return load<u64>(tree.root + root * 8);
}

/** Index bits of a table of `height`. */
export function bitsAt(tree: HostTree, height: u32): u32 {
  return height == tree.stage.depth - 1 ? tree.stage.rootBits : tree.stage.indexBits;
}

/** Adds the pages that hold [from, last] to the text. */
export function addHostText(tree: HostTree, from: u64, last: u64): void {
  const inside = ((<u64>1) << tree.stage.pageShift) - 1;
  from &= ~inside;
  last |= inside;
  if (tree.textCount) {
    const before = TEXT(tree, tree.textCount - 1);
    if (from >= before.from && from <= before.last + 1) {
      before.last = max(before.last, last);
      return;
    }
  }
  if (tree.textCount == MAX_TEXTS) return;
  const text = TEXT(tree, tree.textCount++);
  text.from = from;
  text.last = last;
  text.frames = allocate(tree.roots * 8);
}

/** The stretch of text at `ipa`; null when there is none. */
export function textAt(tree: HostTree, ipa: u64): HostText | null {
  for (let i: u32 = 0; i < tree.textCount; i++) {
    if (ipa >= TEXT(tree, i).from && ipa <= TEXT(tree, i).last) return TEXT(tree, i);
  }
  return null;
}

/** The intermediate address of the physical address `pa` that stage 1 gives `va`. */
export function ipaOf(lane: Lane, context: u64, va: u64, pa: u64): u64 {
  return isCaptured(lane, va, context) ? pa : pa | OWN_IPA;
}

/** The same for a mapped page's byte at `va`; NOT_MAPPED where stage 1 has none. */
export function hostIpa(lane: Lane, context: u64, va: u64): u64 {
  const page = findPage(lane, context, va, 0);
  if (!page) return NOT_MAPPED;
  const height = SIZE(lane, page.size).height;
  const inside = ((<u64>1) << SHIFT_AT(lane.stage1, height)) - 1;
  return ipaOf(lane, context, va, addressOf(lane.stage1, load<u64>(page.leaf), height) | (va & inside));
}

/** A leaf that was found. */
@unmanaged
export class HostLeaf {
  /** Where it lies in Wasm memory, and its physical address. */
  at: usize;
  pa: u64;
  height: u32;
}

const found = changetype<HostLeaf>(allocate(offsetof<HostLeaf>()));

/** A root's leaf for `ipa`, valid until the next call; null when there is none. */
export function findHostLeaf(lane: Lane, tree: HostTree, root: u32, ipa: u64): HostLeaf | null {
  const stage = tree.stage;
  let table = ROOT(tree, root);
  for (let height = <i32>stage.depth - 1; height >= 0; height--) {
    const pa = ENTRY_AT(stage, table, ipa, height);
    const at = DESCRIPTOR(lane.tables, pa);
    const entry = load<u64>(at);
    if (!isPresent(stage, entry, height)) return null;
    if (isLeaf(stage, entry, height)) {
      found.at = at;
      found.pa = pa;
      found.height = height;
      return found;
    }
    table = addressOf(stage, entry, height);
  }
  return null;
}

/** The physical address that a root gives `ipa`. */
export function hostAddress(lane: Lane, tree: HostTree, root: u32, ipa: u64): u64 {
  const leaf = findHostLeaf(lane, tree, root, ipa);
  if (!leaf) return NOT_MAPPED;
  const inside = ((<u64>1) << SHIFT_AT(tree.stage, leaf.height)) - 1;
  return addressOf(tree.stage, load<u64>(leaf.at), leaf.height) | (ipa & inside);
}

/** log2 of the bytes of a root's leaf for `ipa`; that of a page where there is none. */
export function hostShift(lane: Lane, tree: HostTree, root: u32, ipa: u64): u32 {
  const leaf = findHostLeaf(lane, tree, root, ipa);
  return SHIFT_AT(tree.stage, leaf ? leaf.height : 0);
}

/** Whether a root allows stores to `ipa`. */
export function mayStore(lane: Lane, tree: HostTree, root: u32, ipa: u64): bool {
  const leaf = findHostLeaf(lane, tree, root, ipa);
  return leaf != null && isWritable(tree.stage, load<u64>(leaf.at));
}

/**
 * What a CPU's stage 2 makes of the address `pa` that stage 1 gives `va`: the same where there is none; NOT_MAPPED where it has no leaf, or a
 * read-only one and stores are asked for.
 */
export function behindHost(lane: Lane, cpu: u32, context: u64, va: u64, pa: u64, writable: bool): u64 {
  const tree = hostOf(lane, context);
  if (!tree) return pa;
  const ipa = ipaOf(lane, context, va, pa);
  const node = NODE_OF_CPU(lane, cpu);
  return writable && !mayStore(lane, tree, node, ipa) ? NOT_MAPPED : hostAddress(lane, tree, node, ipa);
}

/** Whether the table that an entry of `height` for `ipa` leads to is a root's own: whether it translates any text, or always. */
export function isOwnTable(tree: HostTree, ipa: u64, height: u32): bool {
  if (tree.full) return true;
  const inside = ((<u64>1) << SHIFT_AT(tree.stage, height)) - 1;
  for (let i: u32 = 0; i < tree.textCount; i++) {
    if ((ipa | inside) >= TEXT(tree, i).from && (ipa & ~inside) <= TEXT(tree, i).last) return true;
  }
  return false;
}
