// The memory that pKVM reserves at boot for page tables of its own: the host's stage 2 and the hypervisor's stage 1, as
// asm/kvm_pkvm.h of Linux 6.12 sizes them (host_s2_pgtable_pages, hyp_s1_pgtable_pages): enough for everything mapped with the
// smallest pages, at every level that the kernel knows.

/** What is reserved for: `levels` is how many the kernel counts, five since Linux 6.12 (-1 to 3), four in 6.1. */
export interface Pool {
  memoryBytes: number;
  pageBytes: number;
  levels: number;
}

const DESCRIPTOR_BYTES = 8;
/** Mappings of devices are given room for this much address space. */
const DEVICE_BYTES = 2 ** 30;
/** A root of the host's stage 2 may be this many concatenated tables. */
const CONCATENATED = 16;

/** Pages for the host's stage 2, the memory being one block. */
export function hostStage2Pages({ memoryBytes, pageBytes, levels }: Pool): number {
  return hypStage1Pages({ memoryBytes, pageBytes, levels }) + CONCATENATED;
}

/** Pages for the hypervisor's own stage 1, the memory being one block. */
export function hypStage1Pages({ memoryBytes, pageBytes, levels }: Pool): number {
  const tables = (bytes: number) => tablePages(Math.ceil(bytes / pageBytes), pageBytes / DESCRIPTOR_BYTES, levels);
  return tables(memoryBytes) + tables(DEVICE_BYTES);
}

/** Tables that map `pages` pages: each level has one for every `fanout` tables or pages of the level below. */
function tablePages(pages: number, fanout: number, levels: number): number {
  let below = pages;
  let sum = 0;
  for (let level = 0; level < levels; level++) sum += below = Math.ceil(below / fanout);
  return sum;
}
