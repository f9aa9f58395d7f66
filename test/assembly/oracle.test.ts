// The core against the oracle: every counter of every CPU and phase, every translation, on random machines and traces.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Batch, type ColumnName } from '../../traces/batch.js';
import { baseSize, PAGE_SHIFTS } from '../../host/config/paging.js';
import { type Config, configSchema } from '../../host/config/schema.js';
import { counterKeys } from '../../host/core/counters.js';
import { type Build, instantiateCore } from '../../host/core/instance.js';
import { type Counters, Replayer } from '../../host/replay/replayer.js';
import { topologyOf } from '../../host/replay/topology.js';
import { type Scenario, scenario } from '../oracle/arbitrary.js';
import { Oracle } from '../oracle/oracle.js';
import { type Row } from '../oracle/types.js';
import { batchOf } from './rows.js';

const keys = counterKeys(instantiateCore().Stat);

/** The core's counters per CPU by key, zeros left out. */
function byKey(counters: Counters): Record<string, number>[] {
  const perCpu = counters.length / keys.length;
  return Array.from({ length: perCpu }, (_, cpu) => {
    const named = keys.map(({ key, index }) => [key, Number(counters[cpu * keys.length + index])] as const);
    return Object.fromEntries(named.filter(([, n]) => n !== 0));
  });
}

/** What both sides must agree on: the oracle counts nothing for a level that is absent, and has the cycles of L2 hits in one sum. */
function comparable(counters: Record<string, number>[], config: Config, core: boolean): Record<string, number>[] {
  const absent = (['l1i', 'l1d', 'l2'] as const).filter((level) => !config.machine.tlb[level]?.some((a) => a.sets && a.ways));
  return counters.map((all) => {
    const kept = Object.fromEntries(Object.entries(all).filter(([key, n]) => n !== 0 && !absent.some((l) => key.startsWith(`tlb.${l}.`))));
    const l2Cycles = (kept['tlb.l2.hit'] ?? 0) * config.machine.latency.l2TlbCycles;
    if (core && l2Cycles) kept['cycles.walk'] = (kept['cycles.walk'] ?? 0) + l2Cycles;
    return kept;
  });
}

function replayed(build: Build, scenarios: readonly Scenario[], batchRows: number) {
  const { rows, context } = scenarios[0];
  const configs = scenarios.map((s) => configSchema.parse(s.config));
  const topologies = configs.map((config) => topologyOf(config, { cpuNode: context.cpuNode, cpus: context.cpuNode.length }));
  const batches: Batch[] = [];
  for (let from = 0; from < rows.length; from += batchRows) batches.push(batchOf(rows.slice(from, from + batchRows), context.has));
  const columns = Object.keys(batchOf([], context.has)).filter((key) => key !== 'rows') as ColumnName[];
  const regions = context.regions.map(({ name, va, bytes }) => ({
    name,
    va: `0x${va.toString(16)}`,
    bytes: Number(bytes),
    pa: null,
    pageSize: null,
    node: null,
  }));
  const replayer = new Replayer({ path: 'random', columns, regions }, configs, topologies, build);
  for (const batch of batches) replayer.feed(batch);
  return { replayer, results: replayer.finish(), configs };
}

/** The oracle and one lane of the core agree on everything. */
function agree({ config, context, rows }: Scenario, build: Build, batchRows: number): void {
  const oracle = new Oracle(config, context);
  oracle.run(rows);
  const { replayer, results, configs } = replayed(build, [{ config, context, rows } as Scenario], batchRows);
  const [lane] = results;
  const [resolved] = configs;
  expect(comparable(byKey(lane.counters), resolved, true)).toEqual(comparable(oracle.counters(), resolved, false));
  const phases = (list: { phase: number; cpu: number; counters: Record<string, number>[] }[], core: boolean) =>
    list.map(({ phase, cpu, counters }) => ({ phase, cpu, counters: comparable(counters, resolved, core) }));
  expect(phases(lane.phases.map((p) => ({ ...p, counters: byKey(p.counters) })), true)).toEqual(phases(oracle.phases(), false));
  expect(lane.tableBytes).toEqual(oracle.tableBytes());
  for (const row of rows) expect(translation(replayer, resolved, row)).toEqual(oracleTranslation(oracle, row));
}

/** The descriptors that translate a row's address in the core's tables: [table PA, value] from the root to the leaf. */
function translation({ core, lanes }: Replayer, config: Config, row: Row): bigint[][] | null {
  const out = core.allocate(5 * 16, 8);
  const steps = core.probe(lanes[0], row.va, row.mode ?? 0, row.asid ?? 0, row.vm ?? 0, out);
  if (steps <= 0) return null;
  const words = new BigUint64Array(core.memory.buffer, out, steps * 2);
  const offset = (1n << BigInt(PAGE_SHIFTS[baseSize(config.paging)])) - 1n;
  return Array.from({ length: steps }, (_, i) => [words[2 * i] & ~offset, words[2 * i + 1]]);
}

function oracleTranslation(oracle: Oracle, row: Row): bigint[][] | null {
  const found = oracle.translate(row);
  return found && found.entries.map(({ tablePa, value }) => [tablePa, value]);
}

const runs = Number(process.env.NODEWALK_FUZZ_RUNS ?? 300);

/** A long synchronous test would starve the test runner's own messages. */
const breathe = () => new Promise((resolve) => setImmediate(resolve));

describe('the core agrees with the oracle', () => {
  it('on random machines and traces, release build', async () => {
    const batchRows = fc.integer({ min: 1, max: 4000 });
    const property = fc.asyncProperty(scenario, batchRows, async (s, rows) => {
      await breathe();
      agree(s, 'release', rows);
    });
    await fc.assert(property, { numRuns: runs });
  }, 3_600_000);

  it('on random machines and traces, debug build with all checks', async () => {
    const property = fc.asyncProperty(scenario, async (s) => {
      await breathe();
      agree(s, 'debug', 1000);
    });
    await fc.assert(property, { numRuns: Math.ceil(runs / 3) });
  }, 3_600_000);
});
