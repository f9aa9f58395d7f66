// Guests' stage-2 faults as users replay them: the timeline of a summary, and the search of interleavings through the command line.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../../host/config/load.js';
import { packageRoot } from '../../../host/paths.js';
import { replayTrace } from '../../../host/replay/replay.js';
import { writeScenario } from '../../../host/synth/index.js';
import { temporaryFolder } from '../sweep/support.js';

const folder = temporaryFolder();
const GUESTS = ['paging.format=arm64', 'system.name=stage2-faults'];

const scenario = async (name: string, parameters: Record<string, unknown>) => {
  const path = join(folder, `${name}.arrow`);
  await writeScenario(name, { nodes: 1, ...parameters }, path);
  return path;
};

describe('the timeline', () => {
  it('follows the phases, ends with the trace, and has what was deferred', async () => {
    const path = await scenario('s2-collapse', { cpus: 2, memory: '4M' });
    const { config } = loadConfig({ sets: GUESTS });
    const [{ timeline, totals }] = await replayTrace(path, [config]);
    const points = timeline!;
    const phases = points.map(({ phase }) => phase).filter((phase, i, all) => phase !== all[i - 1]);
    expect(phases).toEqual([1, 2, 3, null]);
    expect(points.every(({ us }, i) => i === 0 || us >= points[i - 1].us)).toBe(true);
    // 1,024 pages of each of two vCPUs, then the two blocks of each; the guest and its tables are gone in the end.
    const last = points.at(-1)!;
    expect(last).toMatchObject({ faults: 2 * (1024 + 2), deferredBytes: 0, tableBytes: 0, holding: 0, waiting: 0 });
    const most = Math.max(...points.map(({ deferredBytes }) => deferredBytes));
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual((totals.maintenance as { deferredMax: number }).deferredMax);
  });

  it('is left out with s2SampleUs 0 and with a seed', async () => {
    const path = await scenario('s2-populate', { cpus: 2, memory: '2M' });
    const configs = ['system.s2SampleUs=0', 'system.s2Seed=3'].map(
      (set) => loadConfig({ sets: [...GUESTS, set] }).config,
    );
    for (const { timeline } of await replayTrace(path, configs)) expect(timeline).toBeUndefined();
  });
});

describe('a search of interleavings', () => {
  const replay = (path: string, ...sets: string[]) => {
    const named = [...GUESTS, 'replay.checks=true', ...sets].flatMap((set) => ['--set', set]);
    const args = [join(packageRoot(), 'dist/host/cli.js'), 'replay', path, ...named];
    return spawnSync(process.execPath, args, { encoding: 'utf8' });
  };

  // Three vCPUs split and put together the same block.
  const race = () => scenario('s2-same-page', { cpus: 3, memory: '2M', iterations: 2 });
  const broken = 'system.inject=[free-without-grace]';

  it('finds a table that is freed without a grace period, and names the seed, which alone does it again', async () => {
    const path = await race();
    expect(replay(path, broken).status).toBe(0);
    const found = replay(path, broken, 'system.s2Seed=0', 'system.s2Seeds=100');
    expect(found.status).toBe(1);
    const [, seed] = /invariant useAfterFree was broken .*\(system\.s2Seed: ([0-9]+)\)/.exec(found.stderr)!;
    const again = replay(path, broken, `system.s2Seed=${seed}`);
    expect([again.status, again.stderr]).toEqual([1, found.stderr]);
    // It is the first.
    if (Number(seed) > 0) expect(replay(path, broken, 'system.s2Seed=0', `system.s2Seeds=${seed}`).status).toBe(0);
  });

  it('finds nothing where nothing is broken, and says how many seeds were tried', async () => {
    const { status, stdout } = replay(await race(), 'system.s2Seed=0', 'system.s2Seeds=40');
    expect(status).toBe(0);
    expect(stdout).toMatch(/invariants +all [0-9]+ hold, with 40 seeds/);
  });
});

it.each([
  [['system.s2Seeds=5', 'replay.checks=true'], 'system.s2Seeds: 5 needs system.s2Seed'],
  [['system.s2Seeds=5', 'system.s2Seed=0'], 'system.s2Seeds: 5 needs replay.checks: true'],
  [['system.s2Seeds=2', 'system.s2Seed=4294967295', 'replay.checks=true'], 'needs seeds below 2^32'],
  [['replay.intervals=10'], 'replay.intervals: contradicts system.name stage2-faults'],
])('%j is refused', (sets, message) => {
  expect(() => loadConfig({ sets: [...GUESTS, ...sets] })).toThrow(message);
});
