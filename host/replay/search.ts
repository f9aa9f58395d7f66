// Searches interleavings of a trace: it is replayed with one seed of the random scheduler after the other, several in a pass, until an invariant is broken.

import { type Config } from '../config/schema.js';
import { type Summary } from '../results/summary.js';
import { brokenInvariants } from '../results/text.js';

/** Seeds that share a pass. */
const TOGETHER = 16;

/** Whether a configuration asks for more than one seed. */
export function isSearch({ system }: Config): boolean {
  return system.s2Seeds > 1;
}

/** The summary of the first seed that breaks an invariant, else of the first one of all; `search` says how many seeds were tried. */
export async function searchSeeds(config: Config, replay: (configs: Config[]) => Promise<Summary[]>): Promise<Summary> {
  const { s2Seed, s2Seeds } = config.system;
  const withSeed = (seed: number): Config => ({ ...config, system: { ...config.system, s2Seed: seed, s2Seeds: 1 } });
  let first: Summary | undefined;
  for (let tried = 0; tried < s2Seeds; tried += TOGETHER) {
    const count = Math.min(TOGETHER, s2Seeds - tried);
    const summaries = await replay(Array.from({ length: count }, (_, i) => withSeed(s2Seed! + tried + i)));
    first ??= summaries[0];
    const found = summaries.findIndex((summary) => brokenInvariants(summary).length > 0);
    if (found >= 0) return { ...summaries[found], search: { seeds: tried + found + 1 } };
  }
  return { ...first!, search: { seeds: s2Seeds } };
}
