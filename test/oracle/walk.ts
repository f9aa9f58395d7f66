// The walk of one CPU and its walk caches: one fully associative true-LRU list per table-descriptor level, the most recent
// tag first. Stage 1 and stage 2 each have their own.
import { type Format, type Level } from './format.js';
import { type Step } from './tables.js';
import { type WalkCacheName } from './types.js';

/** What one walk did: the cache that served its upper part, and the descriptors it read. */
export interface Walk {
  hit: WalkCacheName | null;
  reads: Step[];
}

/** A fully associative cache of tags with true LRU. */
export class TagCache {
  private readonly tags: string[] = [];

  constructor(private readonly entries: number) {}

  lookup(tag: string): boolean {
    const at = this.tags.indexOf(tag);
    if (at >= 0) this.tags.unshift(...this.tags.splice(at, 1));
    return at >= 0;
  }

  insert(tag: string): void {
    this.tags.unshift(tag);
    if (this.tags.length > this.entries) this.tags.pop();
  }

  clear(): void {
    this.tags.length = 0;
  }
}

/** The walk caches of one CPU for one stage. */
export class Walker {
  private readonly caches = new Map<Level, TagCache>();

  constructor(
    private readonly format: Format,
    entries: Record<WalkCacheName, number>,
  ) {
    for (const level of format.levels) if (level.cache) this.caches.set(level, new TagCache(entries[level.cache]));
  }

  /** Walks a mapped address, whose descriptors from the root to the leaf are `path`. */
  walk(context: string, address: bigint, path: Step[]): Walk {
    const hit = this.lookup(context, address);
    const reads = hit === null ? path : path.slice(this.format.levels.indexOf(hit) + 1);
    for (const { level, value } of reads) {
      if (this.format.isTable(value, level)) this.caches.get(level)!.insert(tagOf(context, address, level));
    }
    return { hit: hit?.cache ?? null, reads };
  }

  /** Empties the walk caches. */
  clear(): void {
    for (const cache of this.caches.values()) cache.clear();
  }

  /** Asks the caches from the one closest to the leaf upwards; only the first that hits is touched. */
  private lookup(context: string, address: bigint): Level | null {
    const bottomUp = [...this.caches].reverse();
    return bottomUp.find(([level, cache]) => cache.lookup(tagOf(context, address, level)))?.[0] ?? null;
  }
}

function tagOf(context: string, address: bigint, level: Level): string {
  return `${context} ${address >> level.shift}`;
}
