// TLB maintenance: what each instruction removes from one CPU's TLBs and walk caches, with the reach that the manuals give it
// (Intel SDM vol. 3, 4.10.4; Arm ARM D8.16). An entry built from both stages is found by stage-1 instructions only: one by IPA
// does not reach it.

import { GLOBAL, Lane, Level, REGIME_GUEST, REGIME_HYPERVISOR, TlbArray } from '../layout';
import { ARRAY, LEVEL } from './hierarchy';
import { clear, ENTRY_BYTES } from './set';
import { CACHE, IPA_CACHE, removeFromCache, STAGE1_CACHES, STAGE2_CACHES, CACHES } from './walkcache';

/** The instructions. Address ranges are inclusive; a page is the range of its addresses. */
export enum Invalidation {
  /** x86 INVLPG: the pages of the current PCID and global ones; every walk-cache entry of the PCID. */
  Invlpg,
  /** INVPCID 0: the pages of a PCID, not global ones; its walk-cache entries. */
  InvpcidAddress,
  /** INVPCID 1, and MOV CR3 without bit 63: everything of a PCID but global pages. */
  InvpcidContext,
  /** INVPCID 2, and toggling CR4.PGE: everything. */
  InvpcidAll,
  /** INVPCID 3, and MOV CR3 without PCIDs: everything but global pages. */
  InvpcidNonGlobal,
  /** TLBI VAE1, RVAE1: pages of an ASID and global ones, with the walk-cache entries above them. */
  TlbiVa,
  /** TLBI VALE1, RVALE1: the same without walk caches. */
  TlbiVaLast,
  /** TLBI VAAE1, RVAAE1: pages of any ASID, with the walk-cache entries above them. */
  TlbiVaAnyAsid,
  /** TLBI VAALE1, RVAALE1. */
  TlbiVaAnyAsidLast,
  /** TLBI ASIDE1: everything of an ASID but global pages. */
  TlbiAsid,
  /** TLBI VMALLE1: everything of stage 1, and combined, of the current VMID. */
  TlbiVm,
  /** TLBI VMALLS12E1: both stages of the current VMID. */
  TlbiVmBoth,
  /** TLBI IPAS2E1, RIPAS2E1: stage-2 entries of the current VMID for intermediate addresses. */
  TlbiIpa,
  /** TLBI IPAS2LE1, RIPAS2LE1: the same without stage-2 walk caches. */
  TlbiIpaLast,
  /** TLBI ALLE1: all VMIDs, both stages, not EL2. */
  TlbiAll,
  /** TLBI VAE2 and VALE2 are TlbiVaAnyAsid and TlbiVaAnyAsidLast with an EL2 context; TLBI ALLE2: the whole EL2 regime. */
  TlbiEl2All,
}

// Fields of a context (layout.ts, CONTEXT).
const ASID: u64 = 0xffff_ffff_0000_0000;
const VM: u64 = 0xffff_0000;
const REGIME: u64 = 0xff00;
const WORLD: u64 = VM | REGIME;
const HYPERVISOR: u64 = (<u64>REGIME_HYPERVISOR) << 8;
const GUEST: u64 = (<u64>REGIME_GUEST) << 8;

/** Runs one instruction on one CPU; `context` is that of the address space, [from, last] the addresses where it names some. */
export function invalidateOn(
  lane: Lane,
  block: usize,
  instruction: Invalidation,
  context: u64,
  from: u64,
  last: u64,
): void {
  switch (instruction) {
    case Invalidation.Invlpg:
      dropEntries(lane, block, from, last, context, ASID | WORLD | GLOBAL);
      dropEntries(lane, block, from, last, context | GLOBAL, WORLD | GLOBAL);
      dropWalks(lane, block, 0, u64.MAX_VALUE, context, ASID | WORLD);
      break;
    case Invalidation.InvpcidAddress:
      dropEntries(lane, block, from, last, context, ASID | WORLD | GLOBAL);
      dropWalks(lane, block, 0, u64.MAX_VALUE, context, ASID | WORLD);
      break;
    case Invalidation.InvpcidContext:
    case Invalidation.TlbiAsid:
      dropEntries(lane, block, 0, u64.MAX_VALUE, context, ASID | WORLD | GLOBAL);
      dropWalks(lane, block, 0, u64.MAX_VALUE, context, ASID | WORLD);
      break;
    case Invalidation.InvpcidAll:
      dropEntries(lane, block, 0, u64.MAX_VALUE, context, WORLD);
      dropWalks(lane, block, 0, u64.MAX_VALUE, context, WORLD);
      break;
    case Invalidation.InvpcidNonGlobal:
      dropEntries(lane, block, 0, u64.MAX_VALUE, context, WORLD | GLOBAL);
      dropWalks(lane, block, 0, u64.MAX_VALUE, context, WORLD);
      break;
    case Invalidation.TlbiVa:
      dropWalks(lane, block, from, last, context, ASID | WORLD);
    // falls through
    case Invalidation.TlbiVaLast:
      dropEntries(lane, block, from, last, context, ASID | WORLD | GLOBAL);
      dropEntries(lane, block, from, last, context | GLOBAL, WORLD | GLOBAL);
      break;
    case Invalidation.TlbiVaAnyAsid:
      dropWalks(lane, block, from, last, context, WORLD);
    // falls through
    case Invalidation.TlbiVaAnyAsidLast:
      dropEntries(lane, block, from, last, context, WORLD);
      break;
    case Invalidation.TlbiVmBoth:
      dropStage2(lane, block, 0, u64.MAX_VALUE, context, VM, true);
    // falls through
    case Invalidation.TlbiVm:
    case Invalidation.TlbiEl2All:
      dropEntries(lane, block, 0, u64.MAX_VALUE, context, WORLD);
      dropWalks(lane, block, 0, u64.MAX_VALUE, context, WORLD);
      break;
    case Invalidation.TlbiIpa:
      dropStage2(lane, block, from, last, context, VM, true);
      break;
    case Invalidation.TlbiIpaLast:
      dropStage2(lane, block, from, last, context, VM, false);
      break;
    case Invalidation.TlbiAll:
      // All but EL2's: what is not the hypervisor's, and what is a guest's.
      dropEntries(lane, block, 0, u64.MAX_VALUE, 0, HYPERVISOR);
      dropEntries(lane, block, 0, u64.MAX_VALUE, GUEST, GUEST);
      dropWalks(lane, block, 0, u64.MAX_VALUE, 0, HYPERVISOR);
      dropWalks(lane, block, 0, u64.MAX_VALUE, GUEST, GUEST);
      dropStage2(lane, block, 0, u64.MAX_VALUE, 0, 0, true);
      break;
  }
}

/** Removes the TLB entries for addresses in [from, last] whose context agrees with the given one in the bits of `mask`. */
function dropEntries(lane: Lane, block: usize, from: u64, last: u64, context: u64, mask: u64): void {
  for (let i = 0; i < Level.Count; i++) {
    const level = LEVEL(lane, i);
    for (let a: u32 = 0; a < level.arrayCount; a++) dropFromArray(ARRAY(level, a), block, from, last, context, mask);
  }
}

function dropFromArray(array: TlbArray, block: usize, from: u64, last: u64, context: u64, mask: u64): void {
  const setBytes = array.ways * ENTRY_BYTES;
  const end = block + array.offset + array.sets * setBytes;
  for (let set = block + array.offset; set < end; set += setBytes) {
    // The entries that stay close ranks, so that their order stays that of their use.
    let to = set;
    for (let entry = set; entry < set + setBytes; entry += ENTRY_BYTES) {
      const tag = load<u64>(entry);
      const meta = load<u64>(entry, 8);
      const shift = meta & SHIFT_BITS;
      const first = tag << shift;
      const covered = first <= last && first + (((<u64>1) << shift) - 1) >= from;
      if (covered && !((meta ^ context) & mask) && ~meta) continue;
      if (to != entry) v128.store(to, v128.load(entry));
      to += ENTRY_BYTES;
    }
    clear(to, <u32>(set + setBytes - to) / ENTRY_BYTES);
  }
}

/** The bits of an entry's second word that hold its shift. */
const SHIFT_BITS: u64 = GLOBAL - 1;

/** Removes stage-1 walk-cache entries likewise. */
function dropWalks(lane: Lane, block: usize, from: u64, last: u64, context: u64, mask: u64): void {
  for (let number = STAGE1_CACHES; number < IPA_CACHE; number++) {
    removeFromCache(CACHE(lane, number), block, from, last, context, mask);
  }
}

/** Removes IPA-cache entries, and stage-2 walk-cache entries where `walks`. */
function dropStage2(lane: Lane, block: usize, from: u64, last: u64, context: u64, mask: u64, walks: bool): void {
  removeFromCache(CACHE(lane, IPA_CACHE), block, from, last, context, mask);
  if (!walks) return;
  for (let number = STAGE2_CACHES; number < CACHES; number++) {
    removeFromCache(CACHE(lane, number), block, from, last, context, mask);
  }
}
