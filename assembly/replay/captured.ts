// The captured mapping: which frame each page of each context has at this point of the trace. It is the same for every
// lane behind a filter, so the filter keeps it and tells the lanes when a page changes.
//
// An open-addressing hash table that doubles when it is half full.

import { PA_UNKNOWN } from '../layout';
import { allocate } from '../memory/arena';


@unmanaged
class Page {
  vpn: u64;
  /** The context with its lowest bit set, so that 0 means "free". */
  key: u64;
  /** The frame number, or PA_UNKNOWN where the page was touched before its address was known. */
  pfn: u64;
}

const PAGE_BYTES: u32 = <u32>offsetof<Page>();
const FIRST_PAGES: u32 = 1024;

/** The table. */
@unmanaged
export class CapturedPages {
  /** Page[mask + 1]. */
  pages: usize;
  mask: u32;
  used: u32;
}

export function newCapturedPages(): CapturedPages {
  const table = changetype<CapturedPages>(allocate(offsetof<CapturedPages>()));
  table.pages = allocate(FIRST_PAGES * PAGE_BYTES);
  table.mask = FIRST_PAGES - 1;
  return table;
}

/** Notes that `vpn` of `context` is at frame `pfn` (or PA_UNKNOWN) now; true when it was mapped to another frame before. */
export function noteFrame(table: CapturedPages, vpn: u64, context: u64, pfn: u64): bool {
  let page = slot(table, vpn, context | 1);
  if (page.key) {
    if (pfn == PA_UNKNOWN || page.pfn == pfn) return false;
    page.pfn = pfn;
    return true;
  }
  if (++table.used * 2 > table.mask) {
    grow(table);
    page = slot(table, vpn, context | 1);
  }
  page.vpn = vpn;
  page.key = context | 1;
  page.pfn = pfn;
  return false;
}

function slot(table: CapturedPages, vpn: u64, key: u64): Page {
  const mask = table.mask;
  let i = (<u32>(((vpn ^ key) * 0x9e37_79b9_7f4a_7c15) >> 32)) & mask;
  while (true) {
    const page = changetype<Page>(table.pages + i * PAGE_BYTES);
    if (!page.key || (page.vpn == vpn && page.key == key)) return page;
    i = (i + 1) & mask;
  }
}

function grow(table: CapturedPages): void {
  const old = table.pages;
  const oldMask = table.mask;
  table.mask = oldMask * 2 + 1;
  table.pages = allocate((table.mask + 1) * PAGE_BYTES);
  for (let i: u32 = 0; i <= oldMask; i++) {
    const from = old + i * PAGE_BYTES;
    const page = changetype<Page>(from);
    if (page.key) memory.copy(changetype<usize>(slot(table, page.vpn, page.key)), from, PAGE_BYTES);
  }
}
