// Relations between replays that must hold whatever the counts are.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Config, configSchema } from '../../host/config/schema.js';
import { type Scenario, scenario } from '../oracle/arbitrary.js';
import { countersByKey, replayRows, sumOf } from './replay.js';

const RUNS = { numRuns: 60 };

const parse = ({ config }: Scenario): Config => configSchema.parse(config);
const withMachine = (config: Config, machine: Partial<Config['machine']>): Config => ({
  ...config,
  machine: { ...config.machine, ...machine },
});
const oneArray = (sets: number, ways: number) => [{ sets, ways, pages: null }];

/** What a replay found, as plain data. */
const facts = ({ results }: ReturnType<typeof replayRows>) =>
  results.map(({ counters, phases, tableBytes }) => ({
    counters: countersByKey(counters),
    phases: phases.map((phase) => ({ ...phase, counters: countersByKey(phase.counters) })),
    tableBytes,
  }));

describe('captured frames behind a filter of one slot', () => {
  it('a page that changes its frame does not hide the page after it', () => {
    // One set on each side: the filter knows the last page only. 0x2000 enters the data slot and moves to another frame by a fetch; then
    // page 1 is loaded, first with a known frame nowhere: it is a new page, a miss and a first touch of its own.
    const array = [{ sets: 1, ways: 4, pages: null }];
    const config = configSchema.parse({
      machine: { cpuNode: [0], tlb: { l1i: array, l1d: array, l2: null } },
      replay: { mapping: 'captured' },
    });
    const load = (va: bigint, pa?: bigint) => ({ cpu: 0, kind: 1, va, pa });
    const page1 = Array.from({ length: 14 }, (_, i) => load(0x1000n + BigInt(8 * i)));
    const rows = [load(0x2000n, 0x8000n), { cpu: 0, kind: 0, va: 0x2000n, pa: 0x9000n }, ...page1];
    const has = { pa: true, size: false, insns: false, mode: false, asid: false, vm: false };
    const context = { cpuNode: [0], nodes: 1, has, ranges: [], regions: [] };
    // In one batch and row by row; sixteen rows more so that groups are used.
    for (const batchRows of [1000, 1]) {
      const [lane] = replayRows([config], context, [...rows, ...rows], { batchRows }).results;
      // 0x2000 is mapped once, page 1 once; the second round moves 0x2000 back and forth again.
      expect([batchRows, sumOf(lane, 'fault.demand')]).toEqual([batchRows, 2]);
    }
    const facts1000 = facts(replayRows([config], context, [...rows, ...rows], { batchRows: 1000 }));
    expect(facts1000).toEqual(facts(replayRows([config], context, [...rows, ...rows], { batchRows: 1 })));
  });
});

describe('metamorphic rules', () => {
  it('batch size changes nothing', () => {
    fc.assert(
      fc.property(scenario, fc.integer({ min: 1, max: 500 }), (s, batchRows) => {
        const config = parse(s);
        expect(facts(replayRows([config], s.context, s.rows, { batchRows }))).toEqual(
          facts(replayRows([config], s.context, s.rows, { batchRows: 100_000 })),
        );
      }),
      RUNS,
    );
  });

  it('lanes that share an instance count what each counts alone', () => {
    fc.assert(
      fc.property(
        scenario,
        fc.array(fc.tuple(fc.integer({ min: 1, max: 48 }), fc.integer({ min: 1, max: 20 })), {
          minLength: 1,
          maxLength: 6,
        }),
        (s, shapes) => {
          const config = parse(s);
          // Lanes with different first levels stand behind different filters; other replay options make further ones.
          const lanes = shapes.flatMap(([sets, ways], i) => {
            const tlb = {
              l1i: oneArray(ways, sets),
              l1d: oneArray(sets, ways),
              l2: i % 2 ? null : oneArray(sets * 3, ways),
            };
            const lane = withMachine(config, { tlb });
            return [lane, { ...lane, replay: { ...lane.replay, dirty: 'tracked' as const } }];
          });
          const together = facts(replayRows([config, ...lanes], s.context, s.rows));
          const alone = [config, ...lanes].flatMap((lane) => facts(replayRows([lane], s.context, s.rows)));
          expect(together).toEqual(alone);
        },
      ),
      RUNS,
    );
  });

  it('on one node no descriptor is remote', () => {
    fc.assert(
      fc.property(scenario, (s) => {
        const cpuNode = s.context.cpuNode.map(() => 0);
        const flat = withMachine(parse(s), { cpuNode, nodes: 1, distances: null });
        const memory = { ...flat.memory, data: 'first-touch' as const, tables: 'first-touch' as const };
        const config = { ...flat, memory };
        const [lane] = replayRows([config], { ...s.context, cpuNode, nodes: 1 }, s.rows).results;
        expect(sumOf(lane, 'walk.remote')).toBe(0);
        expect(sumOf(lane, 'walk.local')).toBe(sumOf(lane, 'walk.refs'));
      }),
      RUNS,
    );
  });

  it('where tables live changes what is remote, never what is read', () => {
    fc.assert(
      fc.property(scenario, (s) => {
        const config = parse(s);
        const placed = (['first-touch', 'local', 'interleave', { node: 0 }] as const).map((tables) => ({
          ...config,
          memory: { ...config.memory, tables },
        }));
        const lanes = replayRows(placed, s.context, s.rows).results;
        const read = lanes.map((lane) =>
          ['walk.count', 'walk.refs', 'tlb.l1d.miss', 'tlb.l1i.miss', 'fault.demand'].map((key) => sumOf(lane, key)),
        );
        expect(new Set(read.map(String)).size).toBe(1);
        expect(sumOf(lanes[1], 'walk.remote')).toBe(0);
      }),
      RUNS,
    );
  });

  it('a larger fully associative LRU level never misses more', () => {
    fc.assert(
      fc.property(scenario, fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 60 }), (s, ways, more) => {
        const { paging, ...rest } = parse(s);
        // One page size: a look-up then is one entry.
        const config = { ...rest, paging: { ...paging, pageSize: { ...paging.pageSize, rules: [] } } } as Config;
        const lanes = [ways, ways + more].map((n) =>
          withMachine(config, { tlb: { l1i: oneArray(1, n), l1d: oneArray(1, n), l2: null } }),
        );
        const [small, large] = replayRows(lanes, s.context, s.rows).results;
        for (const level of ['tlb.l1i.miss', 'tlb.l1d.miss']) {
          expect(sumOf(large, level)).toBeLessThanOrEqual(sumOf(small, level));
        }
      }),
      RUNS,
    );
  });

  it('every counted row is a look-up of the first level', () => {
    fc.assert(
      fc.property(scenario, (s) => {
        const { replay, ...rest } = parse(s);
        const config = { ...rest, replay: { ...replay, splitPages: false } };
        const [lane] = replayRows([config], s.context, s.rows).results;
        expect(sumOf(lane, 'tlb.l1i.hit') + sumOf(lane, 'tlb.l1i.miss')).toBe(sumOf(lane, 'access.fetch'));
        expect(sumOf(lane, 'tlb.l1d.hit') + sumOf(lane, 'tlb.l1d.miss')).toBe(
          sumOf(lane, 'access.load') + sumOf(lane, 'access.store'),
        );
      }),
      RUNS,
    );
  });
});
