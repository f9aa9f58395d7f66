// The scenarios of HYP start-up: their rows by kind, and what a replay of them counts by the definition in docs/hypinit.md.

import { describe, expect, it } from 'vitest';
import { resolveConfig } from '../../../host/config/load.js';
import { replayTrace } from '../../../host/replay/replay.js';
import { type Summary } from '../../../host/results/summary.js';
import { inspect } from '../../../traces/info.js';
import { eventNames, stepsOf, traceOf } from './support.js';

const CPUS = 3;
const TEXT = 5;
const CALLS = 2;
const COMMON = { cpus: CPUS, nodes: 1, textPages: TEXT, calls: CALLS };
/** Rows with which a CPU enters HYP: a fetch from each page of text and a load, each time. */
const RUN = CALLS * (TEXT + 1);

const config = (system: object = {}) =>
  resolveConfig(
    { paging: { format: 'arm64' }, system: { name: 'hyp-init', ...system }, replay: { checks: true } },
    'test',
  );

async function replayed(trace: string, ...systems: object[]) {
  return replayTrace(trace, systems.map(config));
}

const maintenance = ({ totals }: Summary) => totals.maintenance as Record<string, unknown>;

/** The checks that were broken. */
const broken = ({ checks }: Summary) =>
  Object.entries(checks as Record<string, { violations: number }>)
    .filter(([, { violations }]) => violations > 0)
    .map(([name]) => name);

describe('rows', () => {
  it('hyp-boot: each CPU is started once; structures of guests come and go', async () => {
    const [guests, guestPages] = [4, 3];
    const { kinds } = await inspect(await traceOf('hyp-boot', { ...COMMON, guests, guestPages }));
    expect(kinds).toEqual({
      boot: 1,
      cpu_up: CPUS - 1,
      hyp_init: 1 + CPUS,
      hyp_map: 2 + guests,
      hyp_unmap: guests,
      // 8 more of boot, one more of each mapping and unmapping.
      operands: 4 + 2 + 2 * guests,
      fetch: CPUS * CALLS * TEXT,
      load: CPUS * CALLS + guests * CPUS * guestPages,
      phase_begin: 2 + CPUS + guests,
      phase_end: 2 + CPUS + guests,
    });
  });

  it('hyp-hotplug: all CPUs but CPU 0 go down and up in each cycle', async () => {
    const events = eventNames(await stepsOf('hyp-hotplug', { ...COMMON, cycles: 2 }));
    const cycle = ['phase_begin', 'cpu_down', 'cpu_up', 'cpu_down', 'cpu_up', 'phase_end'];
    expect(events.slice(events.indexOf('phase_end') + 1)).toEqual([...cycle, ...cycle]);
  });

  it('hyp-random-idmap: the last positions are the HYP addresses of stacks', async () => {
    const params = { ...COMMON, positions: 5, colliding: 4 };
    const steps = await stepsOf('hyp-random-idmap', params);
    const positions = steps.filter(({ name }, i) => name === 'hyp_init' && steps[i - 1].name === 'phase_begin');
    // Stacks are from byte 0x200000 of memory on, a page for each CPU.
    expect(positions.map(({ operands: [, pa] }) => pa).slice(1)).toEqual([
      0x20_0000n,
      0x20_1000n,
      0x20_2000n,
      0x20_0000n,
    ]);
    // The kernel's own address differs from one position to the next.
    expect(new Set(positions.slice(0, 2).map(({ operands: [va] }) => va)).size).toBe(2);
  });

  it('more collisions than positions are refused', async () => {
    await expect(traceOf('hyp-random-idmap', { positions: 2, colliding: 3 })).rejects.toThrow(
      /colliding: expected at most positions/,
    );
  });
});

describe('replayed', () => {
  it('hotplug: walks of each start and each first use, and the registers of 5.4', async () => {
    const cycles = 7;
    const trace = await traceOf('hyp-hotplug', { ...COMMON, cycles });
    const [two, one, pkvm, legacy] = await replayed(
      trace,
      {},
      { hypScheme: 'merged' },
      { hypScheme: 'pkvm-switch' },
      { hypScheme: 'legacy' },
    );
    const starts = CPUS + cycles * (CPUS - 1);
    const ups = cycles * (CPUS - 1); // each writes the kernel's own root too
    // A start walks 3 times with two tables, once with one; then text and stack are walked for, 4 levels each.
    expect(two.totals.walk.refs).toBe(starts * (3 + TEXT + 1) * 4);
    expect(maintenance(two)).toMatchObject({
      rootWrite: starts * 2 + ups,
      trap: starts,
      barrier: starts * 5 + 2,
    });
    expect(maintenance(two).tlbi).toMatchObject({ alle2: starts * 2 });
    expect(two.totals.tlb).toMatchObject({ l1i: { miss: starts * TEXT }, l1d: { miss: starts } });
    expect(one.totals.walk.refs).toBe(starts * (1 + TEXT + 1) * 4);
    // The first CPU takes the hypervisor's table: one more walk.
    expect(pkvm.totals.walk.refs).toBe((starts * (1 + TEXT + 1) + 1) * 4);
    for (const summary of [two, one, pkvm]) {
      expect(broken(summary)).toEqual([]);
      expect(summary.totals.fault).toEqual({ demand: 0, stage2: 0, hypTranslation: 0, hypRefused: 0 });
    }
    // Before 2013 no CPU comes back.
    expect(legacy.totals.fault).toMatchObject({ hypTranslation: ups });
    expect(broken(legacy)).toEqual(['stale', 'fellOff']);
    // Rows of a CPU that is lost translate nothing: what CPUs walked for is from their first start.
    expect(legacy.totals.tlb).toMatchObject({ l1i: { miss: CPUS * TEXT } });
    expect(RUN * (CPUS + ups)).toBe(legacy.totals.access.fetch + legacy.totals.access.load);
  });

  it('positions: without step (d) a stack is read through a stale entry at each that collides, and at no other', async () => {
    const trace = await traceOf('hyp-random-idmap', { ...COMMON, positions: 6, colliding: 2 });
    const [whole, faulty] = await replayed(trace, { specWalks: true }, { inject: ['skip-hyp-tlbi'] });
    expect(broken(whole)).toEqual([]);
    const { stale } = faulty.checks as Record<string, { violations: number; first: { va: string } }>;
    // CPU c reads the stack that is at position c of the two.
    expect(stale.violations).toBe(2 * 1);
    expect(stale.first.va).toBe('0x200000');
  });

  it('an init page that the configuration states takes the place of the one in the trace', async () => {
    const trace = await traceOf('hyp-boot', COMMON);
    const [summary] = await replayed(trace, { hypIdmap: '0x200000', inject: ['skip-hyp-tlbi'] });
    expect(broken(summary)).toContain('stale');
  });

  it('guests: an unmapping is an HVC and a TLBI for each page', async () => {
    const [guests, guestPages] = [3, 2];
    const [summary] = await replayed(await traceOf('hyp-boot', { ...COMMON, guests, guestPages }), {});
    expect(maintenance(summary).tlbi).toMatchObject({ vae2is: guests * guestPages });
    expect(maintenance(summary).trap).toBe(CPUS + guests);
    expect(broken(summary)).toEqual([]);
  });
});
