// Where a kernel's parts lie: the images and address ranges of Debian's Linux 6.1 (image sizes by the symbols of 6.1.192),
// and for arm64 also the layout that text replication asks for, in which the image has an entry of the root table to itself.
// Which part of the read-only data is read-only only after init is in no symbol of arm64: 64 KiB at its end are taken.
// Sources: Documentation/x86/x86_64/mm.rst, Documentation/arm64/memory.rst, arch/arm64/include/asm/memory.h (6.1).

import { type TraceMetadata } from '../../traces/metadata.js';

/** Addresses from `va` on. */
export interface Range {
  va: bigint;
  bytes: number;
}

/** The kernel image: its parts follow one another in this order, all but the third at a multiple of `align`. */
export interface Image {
  va: bigint;
  textBytes: number;
  rodataBytes: number;
  roaiBytes: number;
  initBytes: number;
  dataBytes: number;
  align: number;
}

export interface Kernel {
  arch: 'x86-64' | 'arm64';
  paging: { levels: number } | { granule: string; vaBits: number };
  image: Image;
  modules: Range;
  vmalloc: Range;
  /** Where programs for BPF go. */
  bpf: Range;
  linear: Range;
  user: Range;
  /** Bytes of an instruction that a patch writes. */
  patchBytes: number;
}

export const PAGE = 4096;
export const LINE = 64;
/** What one entry of a 4-level root table covers. */
export const ROOT_SLOT = 2 ** 39;

/** Text of a user program. */
export const USER_TEXT: Range = { va: 0x40_0000n, bytes: 16 * 2 ** 20 };

const GIB = 2 ** 30;
const TIB = 2 ** 40;
const ROAI = 0x1_0000;

const X86_MODULES = { va: 0xffffffff_c0000000n, bytes: 0x3f00_0000 };
const X86: Kernel = {
  arch: 'x86-64',
  paging: { levels: 4 },
  image: {
    va: 0xffffffff_81000000n,
    textBytes: 0xe0_2000,
    rodataBytes: 0x8e_b000 - ROAI,
    roaiBytes: ROAI,
    initBytes: 0x2c_2000,
    dataBytes: 0x64_4000 + 0x112_a000,
    align: 0x20_0000,
  },
  modules: X86_MODULES,
  vmalloc: { va: 0xffffc900_00000000n, bytes: 32 * TIB },
  bpf: X86_MODULES,
  linear: { va: 0xffff8880_00000000n, bytes: 64 * TIB },
  user: { va: 0n, bytes: 128 * TIB },
  patchBytes: 5,
};

const ARM64_MODULES_BYTES = GIB / 8;
const ARM64_IMAGE = {
  textBytes: 0xcf_0000,
  rodataBytes: 0x96_0000 - ROAI,
  roaiBytes: ROAI,
  initBytes: 0x65_0000,
  dataBytes: 0x36_0000,
  align: 0x1_0000,
};

/** The image begins 64 KiB after the end of the modules' range. */
function arm64(modulesEnd: bigint, vmallocVa: bigint): Kernel {
  const vmalloc = { va: vmallocVa, bytes: Number(0xfffffbff_f0000000n - vmallocVa) };
  return {
    arch: 'arm64',
    paging: { granule: '4K', vaBits: 48 },
    image: { va: modulesEnd + 0x1_0000n, ...ARM64_IMAGE },
    modules: { va: modulesEnd - BigInt(ARM64_MODULES_BYTES), bytes: ARM64_MODULES_BYTES },
    vmalloc,
    bpf: vmalloc,
    linear: { va: 0xffff0000_00000000n, bytes: 128 * TIB },
    user: { va: 0n, bytes: 256 * TIB },
    patchBytes: 4,
  };
}

/** The kernel of an architecture; `layout` matters for arm64 only, x86-64 has one. */
export function kernelOf(arch: Kernel['arch'], layout: 'debian' | 'replication'): Kernel {
  if (arch === 'x86-64') return X86;
  return layout === 'debian'
    ? arm64(0xffff8000_08000000n, 0xffff8000_08000000n)
    : arm64(0xffff8080_00000000n, 0xffff8100_00000000n);
}

/** The text of an image. */
export function textOf({ va, textBytes }: Image): Range {
  return { va, bytes: textBytes };
}

/** The read-only data of an image, with what is read-only after init. */
export function rodataOf({ va, textBytes, rodataBytes, roaiBytes, align }: Image): Range {
  return { va: aligned(va + BigInt(textBytes), align), bytes: rodataBytes + roaiBytes };
}

/** The next multiple of `align`. */
export function aligned(va: bigint, align: number): bigint {
  const step = BigInt(align);
  return ((va + step - 1n) / step) * step;
}

/** The regions of the trace's metadata, the image at home on `homeNode`. */
export function regionsOf(kernel: Kernel, homeNode: number): TraceMetadata['regions'] {
  const { image, modules, vmalloc, linear, user } = kernel;
  const rodata = rodataOf(image);
  const init = { va: aligned(rodata.va + BigInt(rodata.bytes), image.align), bytes: image.initBytes };
  const data = { va: aligned(init.va + BigInt(init.bytes), image.align), bytes: image.dataBytes };
  const region = (name: string, { va, bytes }: Range, node: number | null) => ({
    ...{ name, va: `0x${va.toString(16)}`, pa: null, bytes, pageSize: null, node },
  });
  return [
    region('text', textOf(image), homeNode),
    region('rodata', rodata, homeNode),
    region('init', init, homeNode),
    region('data', data, homeNode),
    region('modules', modules, null),
    region('vmalloc', vmalloc, null),
    region('linear-map', linear, null),
    region('user-text', USER_TEXT, null),
    region('user', user, null),
  ];
}
