// Where Linux keeps what, besides its image, when it is not randomised: Documentation/x86/x86_64/mm.rst (4 levels) and
// Documentation/arm64/memory.rst (4K granule, 48 bits, before 6.5). A capture whose image lies at the default address has
// these; with KASLR or other paging the registers and symbols of a capture do not tell them.

/** A range of addresses; `to` is exclusive. */
export interface KernelRange {
  name: string;
  from: bigint;
  to: bigint;
}

const USER_BITS = { 'x86-64': 47n, arm64: 48n } as const;

const X86_IMAGE = 0xffff_ffff_8100_0000n;
const X86: readonly KernelRange[] = [
  { name: 'linear', from: 0xffff_8880_0000_0000n, to: 0xffff_c880_0000_0000n },
  { name: 'vmalloc', from: 0xffff_c900_0000_0000n, to: 0xffff_e900_0000_0000n },
  { name: 'vmemmap', from: 0xffff_ea00_0000_0000n, to: 0xffff_eb00_0000_0000n },
  { name: 'modules', from: 0xffff_ffff_a000_0000n, to: 0xffff_ffff_ff00_0000n },
];

/** _stext: the image starts 64K before it. */
const ARM_TEXT = 0xffff_8000_0801_0000n;
const ARM: readonly KernelRange[] = [
  { name: 'linear', from: 0xffff_0000_0000_0000n, to: 0xffff_8000_0000_0000n },
  { name: 'modules', from: 0xffff_8000_0000_0000n, to: 0xffff_8000_0800_0000n },
  { name: 'vmalloc', from: 0xffff_8000_0800_0000n, to: 0xffff_fbff_f000_0000n },
  { name: 'vmemmap', from: 0xffff_fc00_0000_0000n, to: 0xffff_fe00_0000_0000n },
];

/** The ranges of a captured kernel, empty where they are not known for certain; "user" is the lower half. */
export function kernelRanges(machine: {
  arch: 'x86-64' | 'arm64';
  levels?: number;
  granule?: number;
  symbols: Readonly<Record<string, string>>;
}): readonly KernelRange[] {
  const { arch, levels, granule, symbols } = machine;
  const at = (symbol: string, address: bigint) => symbols[symbol] !== undefined && BigInt(symbols[symbol]) === address;
  const known = arch === 'x86-64' ? levels === 4 && at('_text', X86_IMAGE) : granule === 4096 && at('_stext', ARM_TEXT);
  if (!known) return [];
  const user = { name: 'user', from: 0n, to: 1n << USER_BITS[arch] };
  return [...(arch === 'x86-64' ? X86 : ARM), user];
}
