// Descriptors of every format, 8 bytes each (docs/paging.md has the rules and their sources).
//
//   x86-64      63 NX | 51:12 address | 8 G | 7 PS | 6 D | 5 A | 2 U/S | 1 R/W | 0 P
//   EPT         51:12 address | 9 D | 8 A | 7 leaf | 5:3 memory type | 2 X | 1 W | 0 R
//   Arm stage 1 62:61 APTable | 60 UXNTable | 59 PXNTable | 54 UXN | 53 PXN | 52 Contiguous | 51 DBM | 49:12 address |
//               11 nG | 10 AF | 9:8 SH | 7:6 AP[2:1] | 1:0 type
//   Arm stage 2 54:53 XN | 52 Contiguous | 51 DBM | 49:12 address | 10 AF | 9:8 SH | 7:6 S2AP | 5:2 MemAttr | 1:0 type
//
// Arm type: bit 0 valid; bit 1 is 1 for a table above the last level and for a page at the last level, 0 for a block.
// This file is the only place with masks; what it leaves out is in docs/paging.md.

import { Format, Stage } from '../layout';

/** Control bits of a stage: what the registers beside the root turn on. */
export enum Control {
  // x86: CR0.WP, CR4.SMEP, CR4.SMAP, EFER.NXE
  WriteProtect = 1024,
  Smep = 2048,
  Smap = 4096,
  NoExecute = 8192,
  // Arm: TCR/VTCR.DS, 52-bit addresses with 64K, HA, HD, one privilege (EL2), SCTLR.WXN, HPD, TBI, EPD, FEAT_XNX
  Ds = 1,
  Lpa = 2,
  HardwareAccess = 4,
  HardwareDirty = 8,
  SinglePrivilege = 16,
  WriteExecuteNever = 32,
  NoHierarchy = 64,
  TopByteIgnore = 128,
  Disabled = 256,
  Xnx = 512,
}

/** Effective permissions: bits for user and kernel. */
export enum Permission {
  UserRead = 1,
  UserWrite = 2,
  UserFetch = 4,
  KernelRead = 8,
  KernelWrite = 16,
  KernelFetch = 32,
  All = 63,
}

// x86
const P: u64 = 1 << 0;
const RW: u64 = 1 << 1;
const US: u64 = 1 << 2;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const G: u64 = 1 << 8;
const NX: u64 = (<u64>1) << 63;
const ADDRESS_51_12: u64 = 0x000f_ffff_ffff_f000;

// EPT
const EPT_READ: u64 = 1 << 0;
const EPT_WRITE: u64 = 1 << 1;
const EPT_EXECUTE: u64 = 1 << 2;
const EPT_ALL: u64 = 7;
const EPT_WRITE_BACK: u64 = 6 << 3;

// Arm
const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
const AP_EL0: u64 = 1 << 6;
const AP_READ_ONLY: u64 = 1 << 7;
const S2AP_READ: u64 = 1 << 6;
const S2AP_WRITE: u64 = 1 << 7;
const SH_INNER: u64 = 3 << 8;
const AF: u64 = 1 << 10;
const NG: u64 = 1 << 11;
const DBM: u64 = (<u64>1) << 51;
const CONTIGUOUS: u64 = (<u64>1) << 52;
const PXN: u64 = (<u64>1) << 53;
const UXN: u64 = (<u64>1) << 54;
const PXN_TABLE: u64 = (<u64>1) << 59;
const UXN_TABLE: u64 = (<u64>1) << 60;
const AP_TABLE_NO_EL0: u64 = (<u64>1) << 61;
const AP_TABLE_READ_ONLY: u64 = (<u64>1) << 62;
const MEMATTR_NORMAL: u64 = 0xf << 2;
const MEMATTR_DEVICE: u64 = 1 << 2;
/** An invalid stage-2 entry whose page the hypervisor owns (pKVM: owner 1 in bits 9:2). */
export const HYPERVISOR_OWNED: u64 = 1 << 2;
const ADDRESS_47_12: u64 = 0x0000_ffff_ffff_f000;
const ADDRESS_49_12: u64 = 0x0003_ffff_ffff_f000;

// @ts-ignore: decorator
@inline
function IS_ARM(format: Format): bool {
  return format >= Format.ArmStage1;
}

// @ts-ignore: decorator
@inline
function HAS(stage: Stage, control: Control): bool {
  return (stage.controls & control) != 0;
}

/** Whether an Arm stage has blocks at a height above the last level. */
export function armHasBlocks(stage: Stage, height: u32): bool {
  if (stage.pageShift == 12) return height <= 2 || (height == 3 && HAS(stage, Control.Ds));
  if (stage.pageShift == 14) return height == 1 || (height == 2 && HAS(stage, Control.Ds));
  return height == 1 || (height == 2 && HAS(stage, Control.Lpa));
}

/** Whether an entry read at `height` leads anywhere: it is present, and of a type that its level has. */
export function isPresent(stage: Stage, entry: u64, height: u32): bool {
  if (stage.format == Format.X86) return (entry & P) != 0;
  if (stage.format == Format.Ept) return (entry & EPT_ALL) != 0;
  if (!(entry & VALID)) return false;
  if (entry & TABLE_OR_PAGE) return true;
  return height > 0 && armHasBlocks(stage, height);
}

/** Whether a present entry read at `height` maps a page or block. */
export function isLeaf(stage: Stage, entry: u64, height: u32): bool {
  if (height == 0) return true;
  if (IS_ARM(stage.format)) return !(entry & TABLE_OR_PAGE);
  // At levels 4 and 5 the bit is reserved: no leaf.
  return (entry & PS) != 0 && height <= 2;
}

/** The address in a table entry, or the frame's in a leaf at `height`. */
export function addressOf(stage: Stage, entry: u64, height: u32): u64 {
  const pageShift = stage.pageShift;
  const shift = isLeaf(stage, entry, height) ? pageShift + height * stage.indexBits : pageShift;
  const below = ((<u64>1) << shift) - 1;
  if (!IS_ARM(stage.format)) return entry & ADDRESS_51_12 & ~below;
  if (HAS(stage, Control.Ds)) return (entry & ADDRESS_49_12 & ~below) | (((entry >> 8) & 3) << 50);
  const address = entry & ADDRESS_47_12 & ~below;
  return HAS(stage, Control.Lpa) ? address | (((entry >> 12) & 0xf) << 48) : address;
}

/** Whether a present entry has a reserved bit set (x86, EPT). */
export function hasReserved(stage: Stage, entry: u64, height: u32): bool {
  if (IS_ARM(stage.format)) return false;
  const leaf = isLeaf(stage, entry, height);
  let reserved = ADDRESS_51_12 & ~(((<u64>1) << stage.outputBits) - 1);
  if (height > 2) reserved |= PS;
  if (leaf && height > 0) {
    // Bit 12 of a large x86 leaf belongs to its memory type.
    const lowest: u64 = stage.format == Format.X86 ? 1 << 13 : 1 << 12;
    reserved |= ((<u64>1) << (12 + 9 * height)) - lowest;
  }
  if (stage.format == Format.Ept) return (entry & reserved) != 0 || (entry & (EPT_READ | EPT_WRITE)) == EPT_WRITE;
  if (!HAS(stage, Control.NoExecute)) reserved |= NX;
  return (entry & reserved) != 0;
}

/** Whether an address does not fit the output size (Arm). */
export function isTooLarge(stage: Stage, address: u64): bool {
  return IS_ARM(stage.format) && address >> stage.outputBits != 0;
}

/** Whether a leaf's access flag is clear and hardware does not set it (Arm). */
export function lacksAccessFlag(stage: Stage, leaf: u64): bool {
  return IS_ARM(stage.format) && !(leaf & AF) && !HAS(stage, Control.HardwareAccess);
}

/**
 * Limits that a walk has gathered, in a form that is the format's own: x86 and EPT the AND of the entries (NX inverted), Arm the
 * OR of the tables' limits. Starts from noLimits.
 */
export function noLimits(stage: Stage): u64 {
  return IS_ARM(stage.format) ? 0 : u64.MAX_VALUE;
}

/** The limits after an entry; the leaf counts too for x86 and EPT. */
export function limitsWith(stage: Stage, limits: u64, entry: u64): u64 {
  if (stage.format == Format.X86) return limits & (entry ^ NX);
  if (stage.format == Format.Ept) return limits & entry;
  if (stage.format == Format.ArmStage2 || HAS(stage, Control.NoHierarchy)) return 0;
  return limits | (entry & (AP_TABLE_READ_ONLY | AP_TABLE_NO_EL0 | UXN_TABLE | PXN_TABLE));
}

/** The permissions of a leaf under the limits of the tables above it. */
export function permissionsOf(stage: Stage, leaf: u64, limits: u64): u32 {
  switch (stage.format) {
    case Format.X86:
      return x86Permissions(stage, limitsWith(stage, limits, leaf));
    case Format.Ept:
      return eptPermissions(limitsWith(stage, limits, leaf));
    case Format.ArmStage1:
      return HAS(stage, Control.SinglePrivilege) ? armSingle(stage, leaf, limits) : armDouble(stage, leaf, limits);
    default:
      return armStage2(stage, leaf);
  }
}

function x86Permissions(stage: Stage, limits: u64): u32 {
  const user = (limits & US) != 0;
  const writable = (limits & RW) != 0;
  // Inverted on the way: set when no entry forbids.
  const executable = (limits & NX) != 0 || !HAS(stage, Control.NoExecute);
  const hidden = user && HAS(stage, Control.Smap);
  let permissions: u32 = 0;
  if (user) permissions |= Permission.UserRead;
  if (user && writable) permissions |= Permission.UserWrite;
  if (user && executable) permissions |= Permission.UserFetch;
  if (!hidden) permissions |= Permission.KernelRead;
  if (!hidden && (writable || !HAS(stage, Control.WriteProtect))) permissions |= Permission.KernelWrite;
  if (executable && !(user && HAS(stage, Control.Smep))) permissions |= Permission.KernelFetch;
  return permissions;
}

function eptPermissions(limits: u64): u32 {
  let permissions: u32 = 0;
  if (limits & EPT_READ) permissions |= Permission.UserRead | Permission.KernelRead;
  if (limits & EPT_WRITE) permissions |= Permission.UserWrite | Permission.KernelWrite;
  if (limits & EPT_EXECUTE) permissions |= Permission.UserFetch | Permission.KernelFetch;
  return permissions;
}

/** Whether hardware manages the dirty state of an entry: HD counts only together with HA. */
function armManagesDirty(stage: Stage, leaf: u64): bool {
  return (leaf & DBM) != 0 && HAS(stage, Control.HardwareDirty) && HAS(stage, Control.HardwareAccess);
}

/** Read-only, unless hardware manages the entry's dirty state: then it is "writable clean". */
function armReadOnly(stage: Stage, leaf: u64): bool {
  return (leaf & AP_READ_ONLY) != 0 && !armManagesDirty(stage, leaf);
}

function armSingle(stage: Stage, leaf: u64, limits: u64): u32 {
  const writable = !armReadOnly(stage, leaf) && !(limits & AP_TABLE_READ_ONLY);
  const executable = !(leaf & UXN) && !(limits & UXN_TABLE) && !(writable && HAS(stage, Control.WriteExecuteNever));
  let permissions: u32 = Permission.UserRead | Permission.KernelRead;
  if (writable) permissions |= Permission.UserWrite | Permission.KernelWrite;
  if (executable) permissions |= Permission.UserFetch | Permission.KernelFetch;
  return permissions;
}

function armDouble(stage: Stage, leaf: u64, limits: u64): u32 {
  const writable = !armReadOnly(stage, leaf) && !(limits & AP_TABLE_READ_ONLY);
  const user = (leaf & AP_EL0) != 0 && !(limits & AP_TABLE_NO_EL0);
  const never = HAS(stage, Control.WriteExecuteNever);
  let permissions: u32 = Permission.KernelRead;
  if (user) permissions |= Permission.UserRead;
  if (user && writable) permissions |= Permission.UserWrite;
  if (writable) permissions |= Permission.KernelWrite;
  if (!(leaf & UXN) && !(limits & UXN_TABLE) && !(never && user && writable)) permissions |= Permission.UserFetch;
  // What EL0 can write, EL1 never executes.
  if (!(leaf & PXN) && !(limits & PXN_TABLE) && !(writable && (user || never))) permissions |= Permission.KernelFetch;
  return permissions;
}

function armStage2(stage: Stage, leaf: u64): u32 {
  let permissions: u32 = 0;
  if (leaf & S2AP_READ) permissions |= Permission.UserRead | Permission.KernelRead;
  if (leaf & S2AP_WRITE || armManagesDirty(stage, leaf)) permissions |= Permission.UserWrite | Permission.KernelWrite;
  // XN[1:0]: 00 both, 01 EL0 only, 10 none, 11 EL1 only; without FEAT_XNX the low bit is ignored.
  const xn: u64 = (leaf >> 53) & (HAS(stage, Control.Xnx) ? 3 : 2);
  if (xn < 2) permissions |= Permission.UserFetch;
  if (xn == 0 || xn == 3) permissions |= Permission.KernelFetch;
  return permissions;
}

/** An entry that points to the table at `address`, without limits. */
export function tableDescriptor(stage: Stage, address: u64): u64 {
  if (stage.format == Format.X86) return address | P | RW | US | A;
  if (stage.format == Format.Ept) return address | EPT_ALL;
  return armAddress(stage, address) | VALID | TABLE_OR_PAGE;
}

/**
 * A leaf at `height` for the frame at `address`, with all permissions, accessed, and dirty unless `clean`. `contiguous` marks an entry of
 * a run (Arm), `global` one that serves all ASIDs. Stage 2 gets what KVM writes for normal memory.
 */
export function leafDescriptor(
  stage: Stage,
  address: u64,
  height: u32,
  clean: bool,
  contiguous: bool,
  global: bool,
): u64 {
  if (stage.format == Format.X86) {
    return address | P | RW | US | A | (clean ? 0 : D) | (height > 0 ? PS : 0) | (global ? G : 0);
  }
  if (stage.format == Format.Ept) return address | EPT_ALL | EPT_WRITE_BACK | (height > 0 ? PS : 0);
  const type = height == 0 ? VALID | TABLE_OR_PAGE : VALID;
  // With DS bits 9:8 belong to the address, and shareability comes from TCR or VTCR.
  const common = armAddress(stage, address) | type | AF | (HAS(stage, Control.Ds) ? 0 : SH_INNER);
  if (stage.format == Format.ArmStage2) return common | MEMATTR_NORMAL | S2AP_READ | S2AP_WRITE;
  return common | AP_EL0 | (global ? 0 : NG) | DBM | (clean ? AP_READ_ONLY : 0) | (contiguous ? CONTIGUOUS : 0);
}

/** A stage-2 leaf (Arm) at `height` for device memory: read and write, never executed, Device-nGnRE. */
export function deviceLeaf(stage: Stage, address: u64, height: u32): u64 {
  const normal = leafDescriptor(stage, address, height, false, false, false);
  return (normal & ~MEMATTR_NORMAL) | MEMATTR_DEVICE | UXN;
}

/** A page of EL2 as KVM maps its own (PAGE_HYP): read, write and execute; AP[1] is RES1 in a regime of one privilege. */
export function hypLeaf(stage: Stage, address: u64): u64 {
  return armAddress(stage, address) | VALID | TABLE_OR_PAGE | AP_EL0 | SH_INNER | AF;
}

/** Whether a stage-2 leaf (Arm) maps device memory. */
export function isDevice(leaf: u64): bool {
  return (leaf & MEMATTR_NORMAL) == MEMATTR_DEVICE;
}

function armAddress(stage: Stage, address: u64): u64 {
  if (HAS(stage, Control.Ds)) return (address & ADDRESS_49_12) | (((address >> 50) & 3) << 8);
  if (HAS(stage, Control.Lpa)) return (address & ADDRESS_47_12) | (((address >> 48) & 0xf) << 12);
  return address;
}

/**
 * A leaf of the kernel image at `height`, as Linux maps it: global unless told otherwise, no user access, not dirty when read-only. Vectors: x86 2M text
 * at 0x1_2340_0000 is 0x1234001a1, arm64 2M text at 0x8020_0000 is 0x0040000080200781.
 */
export function kernelLeaf(
  stage: Stage,
  address: u64,
  height: u32,
  executable: bool,
  writable: bool,
  run: bool,
  global: bool,
): u64 {
  if (stage.format == Format.X86) {
    const large = height > 0 ? PS : 0;
    return address | P | A | large | (global ? G : 0) | (writable ? RW | D : 0) | (executable ? 0 : NX);
  }
  const type = height == 0 ? VALID | TABLE_OR_PAGE : VALID;
  const common = armAddress(stage, address) | type | AF | (HAS(stage, Control.Ds) ? 0 : SH_INNER) | UXN;
  const rights = (writable ? DBM : AP_READ_ONLY) | (executable ? 0 : PXN);
  return common | rights | (global ? 0 : NG) | (run ? CONTIGUOUS : 0);
}

/** An entry with another address; `height` is the leaf's, 0 for a table. */
export function withAddress(stage: Stage, entry: u64, address: u64, height: u32): u64 {
  if (!IS_ARM(stage.format)) {
    const below = ((<u64>1) << (12 + 9 * height)) - 1;
    return (entry & ~(ADDRESS_51_12 & ~below)) | address;
  }
  if (HAS(stage, Control.Ds)) return (entry & ~(ADDRESS_49_12 | SH_INNER)) | armAddress(stage, address);
  const high: u64 = HAS(stage, Control.Lpa) ? 0xf << 12 : 0;
  return (entry & ~(ADDRESS_47_12 | high)) | armAddress(stage, address);
}

/** A leaf out of its contiguous run. */
export function withoutRun(stage: Stage, leaf: u64): u64 {
  return IS_ARM(stage.format) ? leaf & ~CONTIGUOUS : leaf;
}

/** A page at `address` with the rights of a block. */
export function pageOfBlock(stage: Stage, block: u64, address: u64, run: bool): u64 {
  const page = withAddress(stage, block, address, 0);
  if (!IS_ARM(stage.format)) return page & ~PS;
  return (page & ~CONTIGUOUS) | TABLE_OR_PAGE | (run ? CONTIGUOUS : 0);
}

/** Whether stores are allowed by a leaf, whoever makes them. */
export function isWritable(stage: Stage, leaf: u64): bool {
  if (stage.format == Format.X86) return (leaf & RW) != 0;
  if (stage.format == Format.Ept) return (leaf & EPT_WRITE) != 0;
  return stage.format == Format.ArmStage1 ? !(leaf & AP_READ_ONLY) : (leaf & S2AP_WRITE) != 0;
}

/** Whether fetches are allowed by a leaf, in some mode. */
export function isExecutable(stage: Stage, leaf: u64): bool {
  const fetch: u32 = Permission.UserFetch | Permission.KernelFetch;
  return (permissionsOf(stage, leaf, noLimits(stage)) & fetch) != 0;
}

/** A leaf that allows stores. */
export function writableLeaf(stage: Stage, leaf: u64): u64 {
  return stage.format == Format.X86 ? leaf | RW | D : (leaf & ~AP_READ_ONLY) | DBM;
}

/** Whether a leaf belongs to a contiguous run (Arm). */
export function isInRun(stage: Stage, leaf: u64): bool {
  return IS_ARM(stage.format) && (leaf & CONTIGUOUS) != 0;
}

/** A leaf with other permissions; read-only for good, not "writable clean". */
export function protectedLeaf(stage: Stage, leaf: u64, writable: bool, executable: bool): u64 {
  switch (stage.format) {
    case Format.X86:
      return (leaf & ~(RW | NX)) | (writable ? RW : 0) | (executable ? 0 : NX);
    case Format.Ept:
      return (leaf & ~(EPT_WRITE | EPT_EXECUTE)) | (writable ? EPT_WRITE : 0) | (executable ? EPT_EXECUTE : 0);
    case Format.ArmStage1:
      leaf &= ~(AP_READ_ONLY | DBM | UXN | PXN);
      return leaf | (writable ? DBM : AP_READ_ONLY) | (executable ? 0 : UXN | PXN);
    default:
      leaf &= ~(S2AP_WRITE | DBM | UXN | PXN);
      return leaf | (writable ? S2AP_WRITE : 0) | (executable ? 0 : UXN);
  }
}

/** A stage-1 leaf as hardware leaves it after a store. */
export function dirtied(stage: Stage, leaf: u64): u64 {
  if (stage.format == Format.X86) return leaf & RW ? leaf | D : leaf;
  return leaf & DBM ? leaf & ~AP_READ_ONLY : leaf;
}

/** An entry of a guest's stage 2 (KVM_INVALID_PTE_LOCKED) that a walker has taken out to replace it: invalid, bit 10. */
export const STAGE2_LOCKED: u64 = 1 << 10;

/** Whether the walker of hardware follows an Arm entry. */
// @ts-ignore: decorator
@inline
export function isValid(entry: u64): bool {
  return (entry & VALID) != 0;
}

/** Whether the access flag of an Arm leaf is set, and the leaf with it set or cleared. */
export function isYoung(leaf: u64): bool {
  return (leaf & AF) != 0;
}

export function youngLeaf(leaf: u64): u64 {
  return leaf | AF;
}

export function oldLeaf(leaf: u64): u64 {
  return leaf & ~AF;
}

/** Whether replacing one Arm entry by another needs break-before-make: both valid, another output address or another kind. */
export function needsBreak(stage: Stage, from: u64, to: u64, height: u32): bool {
  if (!isValid(from) || !isValid(to)) return false;
  if (isLeaf(stage, from, height) != isLeaf(stage, to, height)) return true;
  return addressOf(stage, from, height) != addressOf(stage, to, height);
}
