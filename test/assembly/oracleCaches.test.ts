// The core against the oracle on random machines with line caches: every counter of every CPU and phase, with invalidations
// and pollution between the rows.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Config, configSchema } from '../../host/config/schema.js';
import { type Build } from '../../host/core/instance.js';
import { type LaneResult, Replayer } from '../../host/replay/replayer.js';
import { topologyOf } from '../../host/replay/topology.js';
import { type ColumnName } from '../../traces/batch.js';
import { type CachesScenario, cachesScenario } from '../oracle/arbitraryCaches.js';
import { Oracle } from '../oracle/oracle.js';
import { type Row, type TraceContext } from '../oracle/types.js';
import { comparable } from './comparable.js';
import { countersByKey } from './replay.js';
import { batchOf } from './rows.js';

/** Runs the rows with the actions where they belong. */
function interleave(
  { rows, actions }: CachesScenario,
  run: (rows: Row[]) => void,
  act: (action: Action) => void,
): void {
  let from = 0;
  for (const action of actions) {
    run(rows.slice(from, action.before));
    act(action);
    from = action.before;
  }
  run(rows.slice(from));
}

type Action = CachesScenario['actions'][number];

function replayOracle(scenario: CachesScenario): Oracle {
  const oracle = new Oracle(scenario.config, scenario.context);
  const act = (action: Action) =>
    'cool' in action ? oracle.cool(action.cool) : oracle.pollute(action.cpu, action.pollute);
  interleave(scenario, (rows) => oracle.run(rows), act);
  return oracle;
}

const hex = (address: bigint) => `0x${address.toString(16)}`;

/** What a trace's metadata says of its machine. */
function metadataOf({ nodes, ranges, regions }: TraceContext) {
  return {
    nodes: Array.from({ length: nodes }, (_, node) => ({
      node,
      ranges: ranges.filter((range) => range.node === node).map(({ from, to }) => ({ from: hex(from), to: hex(to) })),
    })),
    regions: regions.map(({ name, va, bytes, pa }) => {
      return { name, va: hex(va), bytes: Number(bytes), pa: hex(pa!), pageSize: null, node: null };
    }),
  };
}

function replayCore(scenario: CachesScenario, config: Config, build: Build, batchRows: number): LaneResult {
  const { context } = scenario;
  const { cpuNode } = context;
  const topology = topologyOf(config, { cpuNode, cpus: cpuNode.length });
  const columns = Object.keys(batchOf([], context.has)).filter((key) => key !== 'rows') as ColumnName[];
  const trace = { path: 'random', columns, ...metadataOf(context) };
  const replayer = new Replayer(trace, [config], [topology], build);
  const { core } = replayer;
  // The host names text where memory.text or replay.cold asks for it; here `cool` does.
  if (config.memory.text === null) {
    for (const { va, bytes } of context.regions) core.addTextRange(replayer.lanes[0], va, va + bytes - 1n);
  }
  const scopes = { all: core.Scope.All, kernel: core.Scope.Kernel, text: core.Scope.Text };
  expect(new Set(Object.values(scopes)).size).toBe(3);
  const run = (rows: Row[]) => {
    for (let from = 0; from < rows.length; from += batchRows) {
      replayer.feed(batchOf(rows.slice(from, from + batchRows), context.has));
    }
  };
  const act = (action: Action) =>
    'cool' in action ? core.cool(0, scopes[action.cool]) : core.pollute(0, action.cpu, action.pollute);
  interleave(scenario, run, act);
  return replayer.finish()[0];
}

function agree(scenario: CachesScenario, build: Build, batchRows: number): void {
  const oracle = replayOracle(scenario);
  const config = configSchema.parse(scenario.config);
  const lane = replayCore(scenario, config, build, batchRows);
  expect(comparable(countersByKey(lane.counters), config, true)).toEqual(comparable(oracle.counters(), config, false));
  const ofLane = lane.phases.map(({ phase, cpu, counters }) => {
    return { phase, cpu, counters: comparable(countersByKey(counters), config, true) };
  });
  const ofOracle = oracle.phases().map((phase) => {
    return { ...phase, counters: comparable(phase.counters, config, false) };
  });
  expect(ofLane).toEqual(ofOracle);
}

const runs = Number(process.env.NODEWALK_FUZZ_RUNS ?? 300);
const HOUR = 3_600_000;

/** A long synchronous test would starve the test runner's own messages. */
const breathe = () => new Promise((resolve) => setImmediate(resolve));

describe('the core agrees with the oracle', () => {
  test.each([
    ['release', runs],
    ['debug', Math.ceil(runs / 3)],
  ] as const)(
    'on random machines with line caches, %s build',
    async (build, numRuns) => {
      const property = fc.asyncProperty(
        cachesScenario,
        fc.integer({ min: 1, max: 4000 }),
        async (scenario, batchRows) => {
          await breathe();
          agree(scenario, build, batchRows);
        },
      );
      await fc.assert(property, { numRuns });
    },
    HOUR,
  );
});
