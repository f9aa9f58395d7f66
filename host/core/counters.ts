// From the core's counters to the keys of a result. One rule turns a member's name into its dotted key.

import { type CoreEnum } from './instance.js';

/**
 * The dotted key of a counter: a capital starts a segment, an underscore before a capital continues the segment in camel case,
 * an underscore before a digit starts a numeric segment, M standing for minus.
 * @example TlbL1dHit is tlb.l1d.hit, WalkCache_HitsPde is walk.cacheHits.pde, WalkLevels_M1 is walk.levels.-1
 */
export function counterKey(member: string): string {
  const segments = member
    .replace(/_(M?)(\d)/g, (_, minus: string, digit: string) => `.${minus && '-'}${digit}`)
    .replace(/(?<![._])[A-Z]/g, (capital) => `.${capital.toLowerCase()}`)
    .replace(/_/g, '');
  return segments.replace(/^\./, '');
}

/** Every counter's key and its place among the counters of a CPU, in the core's order. */
export function counterKeys(stats: CoreEnum): { key: string; index: number }[] {
  return Object.entries(stats)
    .filter(([member]) => member !== 'Count')
    .map(([member, index]) => ({ key: counterKey(member), index }))
    .sort((a, b) => a.index - b.index);
}
