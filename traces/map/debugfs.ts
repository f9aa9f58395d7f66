// The kernel's own listing of its page tables: /sys/kernel/debug/page_tables/* (x86, arch/x86/mm/dump_pagetables.c),
// /sys/kernel/debug/kernel_page_tables and kvm/*/stage2_page_tables (arm64, arch/arm64/mm/ptdump.c, kvm/ptdump.c):
//   ---[ High Kernel Mapping ]---
//   0xffffffff81000000-0xffffffff82000000          16M     ro         PSE     GLB x  pmd
//   0xffff800008010000-0xffff800008200000        1984K PTE       ro NX SHD AF  CON     UXN    MEM/NORMAL
// A range of entries that are alike, its size, its level (x86 at the end, arm64 after the size; of stage 2 a number) and
// flags. Ranges without flags (x86) or with F (arm64) map nothing. Physical addresses are not printed: what a trace gains
// are regions with the size of their pages.

import { InputError, UsageError } from '../errors.js';
import { type TraceMetadata } from '../metadata.js';
import { badLine } from './dump.js';
import { headText, textLines } from './lines.js';
import { type MappingFormat, type MappingOptions, type PageMapping } from './mapping.js';

const SECTION = /^---\[ (.+) \]---$/;
const RANGE = /^0x([0-9a-f]{1,16})-0x([0-9a-f]{1,16})\s+\d+[KMGTPE]\s*(.*)$/;
/** Tables between a leaf and the last level, by the name of the leaf's level; numbers are those of Arm. */
const HEIGHTS: Readonly<Record<string, number>> = {
  ...{ pte: 0, pmd: 1, pud: 2, p4d: 3, pgd: 4 },
  ...{ '3': 0, '2': 1, '1': 2, '0': 3 },
};
const GRANULE_SHIFTS: Readonly<Record<string, number>> = { '4K': 12, '16K': 14, '64K': 16 };
const UNITS = ['', 'K', 'M', 'G', 'T', 'P'];

function isListing(head: Uint8Array): boolean {
  const lines = headText(head).split(/\r?\n/).slice(0, -1);
  return lines.some((line) => SECTION.test(line)) && lines.some((line) => RANGE.test(line));
}

async function read(path: string, { set }: MappingOptions): Promise<PageMapping> {
  const shift = GRANULE_SHIFTS[set.granule ?? '4K'];
  if (shift === undefined)
    throw new UsageError(`--set granule=${set.granule}: expected ${Object.keys(GRANULE_SHIFTS).join(', ')}`);
  const regions: (TraceMetadata['regions'][number] & { end: bigint })[] = [];
  let section = '';
  for await (const { line, text } of textLines(path)) {
    const named = SECTION.exec(text);
    if (named) section = named[1];
    if (named || text.trim() === '') continue;
    const [, from, to, rest] = RANGE.exec(text) ?? [];
    if (from === undefined) throw badLine(path, line, 'a range of addresses or ---[ a section ]---', text);
    const [va, end] = [BigInt(`0x${from}`), BigInt(`0x${to}`)];
    const words = rest.split(/\s+/).filter((word) => word !== '');
    const level = words.map((word) => word.toLowerCase()).find((word) => word in HEIGHTS);
    // The last range of all may be of no level, and nothing is mapped there.
    if (level === undefined || words.length === 1 || words.includes('F') || end <= va) continue;
    const pageSize = sizeText(2 ** (shift + HEIGHTS[level] * (shift - 3)));
    const last = regions.at(-1);
    if (last && last.end === va && last.name === section && last.pageSize === pageSize) {
      last.end = end;
      last.bytes = Number(end - BigInt(last.va));
    } else {
      regions.push({
        name: section,
        va: `0x${va.toString(16)}`,
        pa: null,
        bytes: Number(end - va),
        pageSize,
        node: null,
        end,
      });
    }
  }
  if (regions.length === 0) throw new InputError({ source: path, expected: 'ranges that are mapped', found: 'none' });
  return {
    ...{ pageBytes: 2 ** shift, source: 'kernel page-table listing', size: 0 },
    translate: () => -1n,
    regions: regions.map(({ name, va, pa, bytes, pageSize, node }) => ({ name, va, pa, bytes, pageSize, node })),
  };
}

function sizeText(bytes: number): string {
  let unit = 0;
  for (; bytes >= 1024; bytes /= 1024) unit++;
  return `${bytes}${UNITS[unit]}`;
}

export const debugfs: MappingFormat = {
  name: 'debugfs',
  description: "the kernel's listing of its page tables: regions, no physical addresses",
  detect: isListing,
  read,
};
