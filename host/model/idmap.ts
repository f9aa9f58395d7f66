// Where KVM's HYP addresses are (Linux arch/arm64/kvm/va_layout.c, arch/arm64/kvm/mmu.c:kvm_mmu_init; for 32 bits
// arch/arm/include/asm/kvm_mmu.h).

/** kern_hyp_va: bits of a kernel address that are kept, and bits that are set. */
export interface HypLayout {
  mask: bigint;
  tag: bigint;
}

/** A kernel whose hypervisor is laid out. */
export interface HypKernel {
  arch: 'arm32-lpae' | 'arm64';
  vaBits: number;
  /** HYP runs on one table that has the identity mapping too (since 4.8). */
  oneTable: boolean;
}

/** The page at the top of HYP's addresses where the init code is in both tables: arm32's vectors page, arm64's last page. */
export function trampolineVa({ arch, vaBits }: HypKernel): bigint {
  return arch === 'arm32-lpae' ? 0xffff_0000n : (1n << BigInt(vaBits)) - 4096n;
}

/**
 * kern_hyp_va for an init page at `idmap`: the kernel's own low bits, and with one table on arm64 the half of the addresses in which the
 * identity mapping is not.
 */
export function hypLayout({ arch, vaBits, oneTable }: HypKernel, idmap: bigint): HypLayout {
  if (arch === 'arm32-lpae' || !oneTable) return { mask: (1n << BigInt(vaBits)) - 1n, tag: 0n };
  const msb = 1n << BigInt(vaBits - 1);
  return { mask: msb - 1n, tag: (idmap & msb) ^ msb };
}

export function kernHypVa({ mask, tag }: HypLayout, va: bigint): bigint {
  return (va & mask) | tag;
}

/** The kernel's linear map: PAGE_OFFSET, and the end of the memory in it (high_memory). */
export interface LinearMap {
  pageOffset: bigint;
  highMemory: bigint;
}

/** Low memory of a 32-bit kernel with 3 GiB for users, less what vmalloc keeps. */
const LOW_MEMORY = 760n << 20n;

/** The linear map of a kernel with `memoryBytes`; null: as much as it has room for. */
export function linearMap({ arch, vaBits }: HypKernel, memoryBytes: number | null): LinearMap {
  const arm32 = arch === 'arm32-lpae';
  const pageOffset = arm32 ? 0xc000_0000n : (1n << 64n) - (1n << BigInt(vaBits));
  const room = arm32 ? LOW_MEMORY : 1n << BigInt(vaBits - 1);
  const bytes = memoryBytes === null || BigInt(memoryBytes) > room ? room : BigInt(memoryBytes);
  return { pageOffset, highMemory: pageOffset + bytes };
}

/** HYP addresses [from, end) of a linear map, as kvm_mmu_init compares with them. */
export function hypRange(layout: HypLayout, { pageOffset, highMemory }: LinearMap): { from: bigint; end: bigint } {
  return { from: kernHypVa(layout, pageOffset), end: kernHypVa(layout, highMemory - 1n) };
}
