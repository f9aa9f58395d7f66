// A directory of results as one HTML page.

import { readSummary } from '../results/summary.js';
import { resultKind } from '../results/manifest.js';
import { replayPage } from './replayPage.js';
import { readSweep } from './sweepData.js';
import { sweepPage } from './sweepPage.js';

/** The page for what `sweep -o` or `replay -o` wrote. The same results give the same bytes. */
export async function reportPage(dir: string): Promise<string> {
  return resultKind(dir) === 'sweep' ? sweepPage(readSweep(dir)) : replayPage(readSummary(dir));
}
