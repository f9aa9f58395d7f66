// The core against the oracle: every counter of every CPU and phase, every translation, on random machines and traces.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { configSchema } from '../../host/config/schema.js';
import { type Build } from '../../host/core/instance.js';
import { type Replayer } from '../../host/replay/replayer.js';
import { type Scenario, scenario } from '../oracle/arbitrary.js';
import { Oracle } from '../oracle/oracle.js';
import { type Row } from '../oracle/types.js';
import { comparable, type Counts } from './comparable.js';
import { countersByKey, replayRows } from './replay.js';

/** The oracle and one lane of the core agree on everything. */
function agree({ config: document, context, rows }: Scenario, build: Build, batchRows: number): void {
  const oracle = new Oracle(document, context);
  oracle.run(rows);
  const config = configSchema.parse(document);
  const { replayer, results } = replayRows([config], context, rows, { build, batchRows });
  const [lane] = results;
  expect(comparable(countersByKey(lane.counters), config, true)).toEqual(comparable(oracle.counters(), config, false));
  const phases = (list: { phase: number; cpu: number; counters: Counts[] }[], core: boolean) =>
    list.map(({ phase, cpu, counters }) => ({ phase, cpu, counters: comparable(counters, config, core) }));
  const ofLane = lane.phases.map((phase) => ({ ...phase, counters: countersByKey(phase.counters) }));
  expect(phases(ofLane, true)).toEqual(phases(oracle.phases(), false));
  expect(lane.tableBytes).toEqual(oracle.tableBytes());
  for (const row of rows) expect(translation(replayer, row)).toEqual(oracleTranslation(oracle, row));
}

/** The descriptors that translate a row's address in the core's tables: [its PA, value] from the root to the leaf. */
function translation({ core, lanes }: Replayer, row: Row): bigint[][] | null {
  const out = core.allocate(5 * 16, 8);
  const steps = core.probe(lanes[0], row.va, row.mode ?? 0, row.asid ?? 0, row.vm ?? 0, out);
  if (steps <= 0) return null;
  const words = new BigUint64Array(core.memory.buffer, out, steps * 2);
  return Array.from({ length: steps }, (_, i) => [words[2 * i], words[2 * i + 1]]);
}

function oracleTranslation(oracle: Oracle, row: Row): bigint[][] | null {
  const found = oracle.translate(row);
  return found && found.entries.map(({ entryPa, value }) => [entryPa, value]);
}

const runs = Number(process.env.NODEWALK_FUZZ_RUNS ?? 300);
const HOUR = 3_600_000;

/** A long synchronous test would starve the test runner's own messages. */
const breathe = () => new Promise((resolve) => setImmediate(resolve));

describe('the core agrees with the oracle', () => {
  it(
    'on random machines and traces, release build',
    async () => {
      const batchRows = fc.integer({ min: 1, max: 4000 });
      const property = fc.asyncProperty(scenario, batchRows, async (s, rows) => {
        await breathe();
        agree(s, 'release', rows);
      });
      await fc.assert(property, { numRuns: runs });
    },
    HOUR,
  );

  it(
    'on random machines and traces, debug build with all checks',
    async () => {
      const property = fc.asyncProperty(scenario, async (s) => {
        await breathe();
        agree(s, 'debug', 1000);
      });
      await fc.assert(property, { numRuns: Math.ceil(runs / 3) });
    },
    HOUR,
  );
});
