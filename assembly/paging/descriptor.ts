// One view of the descriptor formats for the walker and the builder, which do not care which architecture they read.

import { Arch } from '../layout';
import { ARM_ADDRESS, ARM_DIRTIED, ARM_IS_LEAF, ARM_PRESENT, armLeaf, armTable } from './arm';
import { X86_ADDRESS, X86_DIRTIED, X86_IS_LEAF, X86_PRESENT, x86Leaf, x86Table } from './x86';

// @ts-ignore: decorator
@inline
export function PRESENT(arch: Arch, entry: u64): bool {
  return arch == Arch.X86 ? X86_PRESENT(entry) : ARM_PRESENT(entry);
}

// @ts-ignore: decorator
@inline
export function IS_LEAF(arch: Arch, entry: u64, height: u32): bool {
  return arch == Arch.X86 ? X86_IS_LEAF(entry, height) : ARM_IS_LEAF(entry, height);
}

/** The next table's address, or the frame's. */
// @ts-ignore: decorator
@inline
export function ADDRESS(arch: Arch, entry: u64): u64 {
  return arch == Arch.X86 ? X86_ADDRESS(entry) : ARM_ADDRESS(entry);
}

/** `leaf` as the hardware leaves it after a store. */
// @ts-ignore: decorator
@inline
export function DIRTIED(arch: Arch, leaf: u64): u64 {
  return arch == Arch.X86 ? X86_DIRTIED(leaf) : ARM_DIRTIED(leaf);
}

export function tableDescriptor(arch: Arch, pa: u64): u64 {
  return arch == Arch.X86 ? x86Table(pa) : armTable(pa);
}

export function leafDescriptor(arch: Arch, pa: u64, height: u32, dirty: bool): u64 {
  return arch == Arch.X86 ? x86Leaf(pa, height, dirty) : armLeaf(pa, height, dirty);
}
