// The captured mapping: which frame each page of each context has at this point of the trace. It is the same for every
// lane behind a filter, so the filter keeps it and tells the lanes when a page changes.

import { PA_UNKNOWN, PageMap } from '../layout';
import { addWord, findWord } from '../memory/pagemap';

/**
 * Notes that `vpn` of `context` is at frame `pfn` now, or is touched before its frame is known (PA_UNKNOWN); true when it was mapped to
 * another frame before.
 */
export function noteFrame(pages: PageMap, vpn: u64, context: u64, pfn: u64): bool {
  const known = findWord(pages, vpn, context);
  if (!known) {
    addWord(pages, vpn, context, pfn);
    return false;
  }
  if (pfn == PA_UNKNOWN || load<u64>(known) == pfn) return false;
  store<u64>(known, pfn);
  return true;
}

/** Whether `vpn` of `context` is known to be at frame `pfn`. */
export function isNoted(pages: PageMap, vpn: u64, context: u64, pfn: u64): bool {
  const known = findWord(pages, vpn, context);
  return known != 0 && load<u64>(known) == pfn;
}
