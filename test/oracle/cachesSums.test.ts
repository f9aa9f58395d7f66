// What holds for every replay with line caches, whatever the machine: each access is a hit or a miss at each level that it
// reaches, latencies add up, and the caches change nothing of what TLBs and tables do.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CachesScenario, cachesScenario } from './arbitraryCaches.js';
import { memoryCycles } from './latency.js';
import { Oracle } from './oracle.js';
import { type Counters } from './types.js';

function replay({ config, context, rows, actions }: CachesScenario, caches = config.machine.caches): Oracle {
  const oracle = new Oracle({ ...config, machine: { ...config.machine, caches } }, context);
  let from = 0;
  for (const action of actions) {
    oracle.run(rows.slice(from, action.before));
    if ('cool' in action) oracle.cool(action.cool);
    else oracle.pollute(action.cpu, action.pollute);
    from = action.before;
  }
  oracle.run(rows.slice(from));
  return oracle;
}

const KINDS = ['fetch', 'data', 'walk'] as const;
type Level = 'l1i' | 'l1d' | 'l2' | 'llc' | 'memory';

describe('every replay with line caches', () => {
  test('asks each level for what the one before has missed', () => {
    fc.assert(
      fc.property(cachesScenario, (scenario) => {
        const caches = scenario.config.machine.caches!;
        for (const counters of replay(scenario).counters()) {
          const of = (level: Level, kind: string, outcome: string) =>
            counters[`cache.${level}.${kind}.${outcome}`] ?? 0;
          const asked = (level: Level, kind: string) =>
            level === 'memory'
              ? of(level, kind, 'local') + of(level, kind, 'remote')
              : of(level, kind, 'hit') + of(level, kind, 'miss');
          for (const kind of KINDS) {
            const l1 = kind === 'fetch' ? 'l1i' : 'l1d';
            const hasL1 = kind !== 'walk' || caches.walks === 'l1d';
            const levels = [hasL1 && l1, caches.l2 && 'l2', caches.llc && 'llc', 'memory'].filter(Boolean) as Level[];
            for (const [i, level] of levels.slice(1).entries()) {
              expect(asked(level, kind)).toBe(of(levels[i], kind, 'miss'));
            }
            if (kind === 'walk') expect(asked(levels[0], kind)).toBe(counters['walk.refs'] ?? 0);
            // A fetch that does not cross pages is one access; one that does is two.
            if (kind === 'fetch' && !scenario.config.replay.splitPages) {
              expect(asked(l1, kind)).toBe(counters['access.fetch'] ?? 0);
            }
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  test('has latencies between those of the nearest and the farthest memory', () => {
    fc.assert(
      fc.property(cachesScenario, (scenario) => {
        const { machine } = scenario.config;
        const { cpuNode, nodes } = scenario.context;
        const memory = memoryCycles(machine, nodes);
        const llc = Math.round(machine.latency.llcNs! * machine.clockGHz);
        for (const [cpu, counters] of replay(scenario).counters().entries()) {
          const row = memory[cpuNode[cpu]];
          const local = row[cpuNode[cpu]];
          const farther = Math.max(...row) - local;
          for (const kind of ['fetch', 'data'] as const) {
            const of = (key: string) => counters[`cache.${key}`] ?? 0;
            const least =
              of(`l2.${kind}.hit`) * machine.latency.l2Cycles! +
              of(`llc.${kind}.hit`) * llc +
              (of(`memory.${kind}.local`) + of(`memory.${kind}.remote`)) * local;
            const more = (of(`llc.${kind}.hit`) + of(`memory.${kind}.remote`)) * farther;
            expect(counters[`cycles.${kind}`] ?? 0).toBeGreaterThanOrEqual(least);
            expect(counters[`cycles.${kind}`] ?? 0).toBeLessThanOrEqual(least + more);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  test('does with TLBs and tables what it does without', () => {
    const others = (all: Counters[]) =>
      all.map((counters) =>
        Object.fromEntries(Object.entries(counters).filter(([key]) => !/^(cache|cycles)\./.test(key))),
      );
    fc.assert(
      fc.property(cachesScenario, (scenario) => {
        expect(others(replay(scenario).counters())).toEqual(others(replay(scenario, null).counters()));
      }),
      { numRuns: 60 },
    );
  });

  test('reaches every counter', () => {
    const total: Counters = {};
    for (const scenario of fc.sample(cachesScenario, { numRuns: 100, seed: 1 })) {
      for (const counters of replay(scenario).counters()) {
        for (const [key, n] of Object.entries(counters)) total[key] = (total[key] ?? 0) + n;
      }
    }
    const levels = ['l1d', 'l2', 'llc'].flatMap((level) =>
      ['data', 'walk'].flatMap((kind) => ['hit', 'miss'].map((outcome) => `cache.${level}.${kind}.${outcome}`)),
    );
    const fetches = ['l1i', 'l2', 'llc'].flatMap((level) => [`cache.${level}.fetch.hit`, `cache.${level}.fetch.miss`]);
    const memory = KINDS.flatMap((kind) => [`cache.memory.${kind}.local`, `cache.memory.${kind}.remote`]);
    const rest = ['cache.prefetch.lines', 'cache.prefetch.memory', 'cache.llc.backInvalidated'];
    const cycles = KINDS.map((kind) => `cycles.${kind}`);
    for (const key of [...levels, ...fetches, ...memory, ...rest, ...cycles])
      expect(total[key], key).toBeGreaterThan(0);
  });
});
