// Making a lane's line caches cold (docs/caches.md, Cold, hot, repeated).

import { Cache, Caches, LineCache, Scope } from '../layout';
import { LINE_CACHE } from './hierarchy';
import { KERNEL, removeFlagged, TEXT } from './lines';

/** Removes the lines in `scope` from the caches of all CPUs and from all LLCs. */
export function coolLines(caches: Caches, scope: Scope): void {
  // An entry notes who entered it there, so that a line may leave an LLC only.
  if (scope != Scope.All) caches.hasAll = false;
  for (let i: u32 = 0; i < caches.activeCount; i++) {
    const lines = caches.lines + <usize>load<u32>(caches.active + i * 4) * caches.cpuBytes;
    for (let cache = 0; cache < Cache.Llc; cache++) coolCache(LINE_CACHE(caches, cache), lines, scope);
  }
  for (let llc: u32 = 0; llc < caches.llcCount; llc++) {
    coolCache(LINE_CACHE(caches, Cache.Llc), caches.llcs + <usize>llc * caches.llcBytes, scope);
  }
}

function coolCache(cache: LineCache, block: usize, scope: Scope): void {
  const first = block + cache.offset;
  const end = first + cache.sets * cache.setBytes;
  if (scope == Scope.All) {
    memory.fill(first, 0, end - first);
    return;
  }
  const flag = scope == Scope.Kernel ? KERNEL : TEXT;
  for (let set = first; set < end; set += cache.setBytes) removeFlagged(set, cache.setBytes, flag);
}
