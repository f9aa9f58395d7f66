// What the core and the oracle must agree on.

import { type Config } from '../../host/config/schema.js';

export type Counts = Record<string, number>;

/** The oracle counts nothing for a level that is absent, and has the cycles of L2 TLB hits in one sum. */
export function comparable(counters: Counts[], { machine }: Config, core: boolean): Counts[] {
  const absent = (['l1i', 'l1d', 'l2'] as const).filter((level) => !machine.tlb[level]?.length);
  return counters.map((all) => {
    const kept = Object.entries(all).filter(([key, n]) => n !== 0 && !absent.some((l) => key.startsWith(`tlb.${l}.`)));
    const counts = Object.fromEntries(kept);
    const l2Cycles = (counts['tlb.l2.hit'] ?? 0) * machine.latency.l2TlbCycles;
    if (core && l2Cycles) counts['cycles.walk'] = (counts['cycles.walk'] ?? 0) + l2Cycles;
    return counts;
  });
}
