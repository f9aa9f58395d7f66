// x86-64 descriptors (Intel SDM vol. 3, 4.5): every level has the same 8-byte entry.
//
//   63 NX | 62:59 key | 51:12 address | 8 G | 7 PS | 6 D | 5 A | 4 PCD | 3 PWT | 2 U/S | 1 R/W | 0 P
//
// Kept here: what demand mapping writes and the walker reads.

const P: u64 = 1 << 0;
const RW: u64 = 1 << 1;
const US: u64 = 1 << 2;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

// @ts-ignore: decorator
@inline
export function X86_PRESENT(entry: u64): bool {
  return (entry & P) != 0;
}

/** Whether a present entry read at `height` above the last level maps a page. */
// @ts-ignore: decorator
@inline
export function X86_IS_LEAF(entry: u64, height: u32): bool {
  return height == 0 || (entry & PS) != 0;
}

/** The address in a table entry or in a 4K leaf. */
// @ts-ignore: decorator
@inline
export function X86_ADDRESS(entry: u64): u64 {
  return entry & ADDRESS;
}

/** An entry that points to the table at `pa`: all permissions, accessed. */
export function x86Table(pa: u64): u64 {
  return pa | P | RW | US | A;
}

/** A leaf at `height` for the frame at `pa`: all permissions, accessed; dirty unless it is tracked. */
export function x86Leaf(pa: u64, height: u32, dirty: bool): u64 {
  return pa | P | RW | US | A | (dirty ? D : 0) | (height > 0 ? PS : 0);
}

/** The leaf after its first store. */
// @ts-ignore: decorator
@inline
export function X86_DIRTIED(leaf: u64): u64 {
  return leaf | D;
}
