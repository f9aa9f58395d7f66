// Arm VMSAv8-64 stage-1 descriptors (Arm ARM D8.3) with 48-bit output addresses.
//
//   54 UXN | 53 PXN | 52 Contiguous | 51 DBM | 47:12 address | 11 nG | 10 AF | 9:8 SH | 7:6 AP[2:1] | 4:2 AttrIndx | 1:0 type
//
// Type: bit 0 valid; bit 1 is 1 for a table above the last level and for a page at the last level, 0 for a block.
// Dirty state managed by hardware (FEAT_HAFDBS): AP[2] set with DBM set is "writable clean"; the first store clears AP[2].
// Kept here: what demand mapping writes and the walker reads.

const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
const AP_EL0: u64 = 1 << 6;
const AP_READ_ONLY: u64 = 1 << 7;
const SH_INNER: u64 = 3 << 8;
const AF: u64 = 1 << 10;
const NG: u64 = 1 << 11;
const DBM: u64 = 1 << 51;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

// @ts-ignore: decorator
@inline
export function ARM_PRESENT(entry: u64): bool {
  return (entry & VALID) != 0;
}

/** Whether a valid entry read at `height` above the last level maps a page or block. */
// @ts-ignore: decorator
@inline
export function ARM_IS_LEAF(entry: u64, height: u32): bool {
  return height == 0 || (entry & TABLE_OR_PAGE) == 0;
}

/** The address in a table entry or in a page entry (for granules above 4K the lower bits are zero in both). */
// @ts-ignore: decorator
@inline
export function ARM_ADDRESS(entry: u64): u64 {
  return entry & ADDRESS;
}

/** A table descriptor for the table at `pa`, with no hierarchical limits. */
export function armTable(pa: u64): u64 {
  return pa | VALID | TABLE_OR_PAGE;
}

/** A leaf at `height` for the frame at `pa`: read-write from EL0 and EL1, executable, accessed; clean when it is tracked. */
export function armLeaf(pa: u64, height: u32, dirty: bool): u64 {
  return (
    pa | VALID | AP_EL0 | SH_INNER | AF | NG | DBM | (dirty ? 0 : AP_READ_ONLY) | (height == 0 ? TABLE_OR_PAGE : 0)
  );
}

/** The leaf after its first store. */
// @ts-ignore: decorator
@inline
export function ARM_DIRTIED(leaf: u64): u64 {
  return leaf & ~AP_READ_ONLY;
}
