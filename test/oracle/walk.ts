// The walk of one CPU and its walk caches: one fully associative true-LRU list per table-descriptor level, the most
// recent tag first.
import { type Format, type Level } from './format.js';
import { type Step } from './tables.js';
import { type WalkCacheName } from './types.js';

/** What one walk did: the cache that served its upper part, and the descriptors it read. */
export interface Walk {
  hit: WalkCacheName | null;
  reads: Step[];
}

/** The walk caches of one CPU. */
export class Walker {
  private readonly tags = new Map<Level, string[]>();

  constructor(
    private readonly format: Format,
    private readonly entries: Record<WalkCacheName, number>,
  ) {
    for (const level of format.levels) this.tags.set(level, []);
  }

  /** Walks a mapped VA, whose descriptors from the root to the leaf are `path`. */
  walk(context: string, va: bigint, path: Step[]): Walk {
    const hit = this.lookup(context, va);
    const reads = hit === null ? path : path.slice(this.format.levels.indexOf(hit) + 1);
    for (const { level, value } of reads) if (this.format.isTable(value, level)) this.insert(context, va, level);
    return { hit: hit?.cache ?? null, reads };
  }

  /** Asks the caches from the one closest to the leaf upwards; only the first that hits is touched. */
  private lookup(context: string, va: bigint): Level | null {
    for (const level of [...this.format.levels].reverse()) {
      const tags = this.tags.get(level)!;
      const at = tags.indexOf(tagOf(context, va, level));
      if (at < 0) continue;
      tags.unshift(...tags.splice(at, 1));
      return level;
    }
    return null;
  }

  private insert(context: string, va: bigint, level: Level): void {
    const tags = this.tags.get(level)!;
    tags.unshift(tagOf(context, va, level));
    if (tags.length > this.entries[level.cache!]) tags.pop();
  }
}

function tagOf(context: string, va: bigint, level: Level): string {
  return `${context} ${va >> level.shift}`;
}
