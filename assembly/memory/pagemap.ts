// A table from (page number, context) to a word: open addressing, doubled when it is half full.

import { PageMap } from '../layout';
import { allocate } from './arena';


@unmanaged
class PageWord {
  number: u64;
  /** The context with its lowest bit set, so that 0 means "free". */
  key: u64;
  word: u64;
}

const PAGE_BYTES: u32 = <u32>offsetof<PageWord>();
const FIRST_PAGES: u32 = 1024;

export function newPageMap(): PageMap {
  const map = changetype<PageMap>(allocate(offsetof<PageMap>()));
  map.pages = allocate(FIRST_PAGES * PAGE_BYTES);
  map.mask = FIRST_PAGES - 1;
  return map;
}

/** Forgets all words. */
export function clearPageMap(map: PageMap): void {
  if (map.used) memory.fill(map.pages, 0, (map.mask + 1) * PAGE_BYTES);
  map.used = 0;
}

/** Where the word of a page lies; 0 when the page has none. Valid until the next word is added. */
export function findWord(map: PageMap, number: u64, context: u64): usize {
  const page = slot(map, number, context | 1);
  return page.key ? changetype<usize>(page) + offsetof<PageWord>('word') : 0;
}

/** Gives a page that has none yet its word. */
export function addWord(map: PageMap, number: u64, context: u64, word: u64): void {
  if (++map.used * 2 > map.mask) grow(map);
  const page = slot(map, number, context | 1);
  page.number = number;
  page.key = context | 1;
  page.word = word;
}

function slot(map: PageMap, number: u64, key: u64): PageWord {
  const mask = map.mask;
  let i = (<u32>(((number ^ key) * 0x9e37_79b9_7f4a_7c15) >> 32)) & mask;
  while (true) {
    const page = changetype<PageWord>(map.pages + i * PAGE_BYTES);
    if (!page.key || (page.number == number && page.key == key)) return page;
    i = (i + 1) & mask;
  }
}

function grow(map: PageMap): void {
  const old = map.pages;
  const oldMask = map.mask;
  map.mask = oldMask * 2 + 1;
  map.pages = allocate((map.mask + 1) * PAGE_BYTES);
  for (let i: u32 = 0; i <= oldMask; i++) {
    const from = old + i * PAGE_BYTES;
    const page = changetype<PageWord>(from);
    if (page.key) memory.copy(changetype<usize>(slot(map, page.number, page.key)), from, PAGE_BYTES);
  }
}
