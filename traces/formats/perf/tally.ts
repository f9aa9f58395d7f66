// What the samples of a capture say besides their addresses, counted: how often an access needed a table walk or remote
// memory, and how long it took. A replay of the same program can be held against these rates.

import { type DataSource, dataSource } from '../../spe/dataSource.js';

const SOURCES = 1 << 16;

/** Counts over the sampled loads and stores of a capture. */
export class Tally {
  readonly counts = {
    /** Samples of any kind. */
    samples: 0,
    /** Loads and stores with an address: the rows, and what the counts below are over. */
    accesses: 0,
    /** Loads and stores for which no address was recorded: no rows. */
    noAddress: 0,
    /** Accesses of which nothing says whether they load or store; they count as loads. */
    unknownOperation: 0,
    unknownPa: 0,
    /** Accesses that looked a translation up, where the source says so, and those that needed a walk. */
    tlbAccess: 0,
    tlbWalk: 0,
    remoteAccess: 0,
    l1dAccess: 0,
    l1dRefill: 0,
    llcAccess: 0,
    llcMiss: 0,
    /** Accesses that tell their latency, and their cycles; the same of their translations. */
    latencies: 0,
    latencyCycles: 0,
    translations: 0,
    translationCycles: 0,
  };
  /** Loads by core (MIDR_EL1; undefined where unknown) and number of their data source. */
  private readonly sources = new Map<number | undefined, Float64Array>();

  /** The counts of loads by data source on the cores with this MIDR. */
  sourcesOf(midr: number | undefined): Float64Array {
    let counts = this.sources.get(midr);
    if (!counts) this.sources.set(midr, (counts = new Float64Array(SOURCES)));
    return counts;
  }

  /** `counts` of the metadata: those that the capture tells. */
  told(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.counts).filter(([, count]) => count > 0));
  }

  /** Sentences for the metadata's `notes`. */
  notes(midr?: number): string[] {
    const { accesses, tlbAccess, tlbWalk, remoteAccess, translations, translationCycles, unknownOperation } =
      this.counts;
    const share = (count: number, of: number) => `${((100 * count) / of).toFixed(2)} %`;
    const notes: string[] = [];
    if (tlbAccess + tlbWalk > 0) notes.push(`${share(tlbWalk, accesses)} of the sampled accesses needed a table walk`);
    if (remoteAccess > 0) notes.push(`${share(remoteAccess, accesses)} of the sampled accesses were remote`);
    if (translations > 0) {
      notes.push(`mean latency of a translation: ${(translationCycles / translations).toFixed(1)} cycles`);
    }
    const sources = [...this.bySource(midr)].sort((a, b) => b[1] - a[1]);
    const loads = sources.reduce((sum, [, count]) => sum + count, 0);
    if (loads > 0) {
      const shares = sources.map(([source, count]) => `${source} ${share(count, loads)}`);
      notes.push(`sampled loads were served by: ${shares.join(', ')}`);
    }
    if (unknownOperation > 0) {
      notes.push(`${unknownOperation} samples do not say whether they load or store: rows of loads`);
    }
    return notes;
  }

  private bySource(midr?: number): Map<DataSource, number> {
    const loads = new Map<DataSource, number>();
    for (const [core, counts] of this.sources) {
      counts.forEach((count, source) => {
        if (count === 0) return;
        const name = dataSource(core ?? midr, source);
        loads.set(name, (loads.get(name) ?? 0) + count);
      });
    }
    return loads;
  }
}
