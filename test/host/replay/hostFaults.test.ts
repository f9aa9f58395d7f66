// The stage-2 faults that a captured pKVM host took, replayed: the sample, under the host's own stage 2 and in the simulation
// of faults under each lock.

import { join } from 'node:path';
import { expect, it } from 'vitest';
import { resolveConfig } from '../../../host/config/load.js';
import { packageRoot } from '../../../host/paths.js';
import { replayTrace } from '../../../host/replay/replay.js';
import { flatten } from '../../../host/results/summary.js';
import { TraceReader } from '../../../traces/reader.js';

const SAMPLE = join(packageRoot(), 'traces/samples/arm64-pkvm.arrow');
const S2_FAULT = 60;

async function faultRows(): Promise<number> {
  const reader = await TraceReader.open(SAMPLE);
  let count = 0;
  for await (const { kind } of reader.batches({ columns: ['kind'] })) {
    for (const one of kind) if (one === S2_FAULT) count++;
  }
  await reader.close();
  return count;
}

/** Counters of the whole sample by their dotted paths, and how often any invariant was broken. */
async function replayed(system: object) {
  const doc = { paging: { format: 'arm64' }, system, replay: { mapping: 'captured', checks: true } };
  const [{ totals, checks }] = await replayTrace(SAMPLE, [resolveConfig(doc, 'test')]);
  const broken = Object.values(checks as Record<string, { violations: number }>);
  return { counted: flatten(totals), violations: broken.reduce((sum, { violations }) => sum + violations, 0) };
}

it('under the stage 2 of a host, beside those of its own first touches', async () => {
  const { counted, violations } = await replayed({ name: 'host-stage2' });
  // The stage 2 begins empty: at least what the accesses to either node's memory and to their tables need.
  expect(counted['fault.stage2']).toBeGreaterThan((await faultRows()) + 2);
  expect(counted['maintenance.trap']).toBe(counted['fault.stage2']);
  expect(violations).toBe(0);
});

it.each(['exclusive', 'shared', 'fast', 'hyp-ipi'])('as faults of VM 0 under the lock %s', async (s2Lock) => {
  const { counted, violations } = await replayed({ name: 'stage2-faults', s2Lock });
  // Every one is to a page that nothing has mapped yet: one fault, none of which waits for another.
  expect(counted['fault.translation']).toBe(await faultRows());
  expect(counted['fault.retry']).toBe(0);
  expect(violations).toBe(0);
});
