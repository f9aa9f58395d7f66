// What SPE in a KVM guest costs (MODEL 8.5, each formula) and what must be more than what (8.6). Times that a test does not name are 0, but stores to
// tables (1 cycle each) and zeroing a page (1 for each of 64 lines).

import { describe, expect, test } from 'vitest';
import { BUFFER, PAGE, spe, SpeMachine } from './speMachine.js';

const cycles = (counts: Record<string, number>) => counts['cycles.maintenance'] ?? 0;
const perPage = PAGE / 64;
const PERIOD = 256;
/** Pages of the buffer that most tests have, and table pages that map it: levels 0 to 3. */
const PAGES = 256;
const TABLES = 4;

describe('times', () => {
  test('V1, once: pages of the machine times (get + map)', () => {
    const machine = new SpeMachine({
      system: { speStrategy: 'pin-vm', speGuestBytes: '64M' },
      costs: { gup: 400, stage2Map: 300 },
    });
    // 64M / 4K = 16384 pages.
    expect(cycles(machine.begin(PAGES * PAGE))).toBe(16384 * (400 + 300));
    expect(cycles(machine.enable())).toBe(0);
  });

  test('V2, each time that the buffer is enabled and disabled: pages times (get + map + let go), a walk, two traps', () => {
    const costs = { gup: 400, stage2Map: 300, unpin: 100, guestRead: 20, exitVhe: 2000 };
    const machine = new SpeMachine({ system: { speStrategy: 'pin-buffer' }, costs });
    machine.begin(PAGES * PAGE, { enabled: false });
    const enabled = cycles(machine.enable());
    const disabled = cycles(machine.disable());
    // The walk reads 4 entries for the first page and 1 for each of the other 255.
    expect(enabled).toBe((PAGES + TABLES) * (400 + 300) + (PAGES + 3) * 20 + 2000);
    expect(disabled).toBe((PAGES + TABLES) * 100 + 2000);
    // A context switch is both, and a trap more for PMBPTR: its cost times the rate of switches is what V2 costs a profiler that follows tasks.
    machine.enable();
    expect(cycles(machine.event('ctx_switch', 0, 1, 1, 0))).toBeGreaterThanOrEqual(enabled + disabled + 2000);
  });

  test('V3, each drain: bytes by the copy, pages by (walk + get)', () => {
    const costs = { gup: 400, guestRead: 20, copyLine: 10, exitVhe: 2000 };
    const machine = new SpeMachine({ system: { speStrategy: 'copy' }, costs });
    machine.begin(PAGES * PAGE);
    machine.samples(3 * perPage);
    // 3 pages are 192 lines; 4 + 1 + 1 words of the guest's tables; the trap of PMBLIMITR.
    expect(cycles(machine.disable())).toBe(192 * 10 + 3 * 400 + 6 * 20 + 2000);
  });

  test('V3 over nodes: every line of a buffer on another node waits for the link', () => {
    const drain = (speKernelNode: number) => {
      const machine = new SpeMachine({
        cpuNode: [0, 1],
        machine: { clockGHz: 2, latency: { localNs: 100, remoteNs: 150 }, mlp: { data: 2 } },
        system: { speStrategy: 'copy', speKernelNode },
        costs: { copyLine: 10 },
      });
      machine.begin(PAGES * PAGE);
      machine.samples(perPage);
      return cycles(machine.disable());
    };
    // 50 ns at 2 GHz are 100 cycles, of which two overlap: 50 for each of 64 lines.
    expect(drain(0)).toBe(64 * 10);
    expect(drain(1)).toBe(64 * (10 + 50));
  });

  test('a full buffer: t_irq + t_exit + what the guest or KVM does, and its share of the time', () => {
    const costs = { speIrq: 1000, exitVhe: 2000, speHandler: 4000, copyLine: 10, gup: 400, guestRead: 20 };
    const blackout = (speStrategy: string, speKernelBytes = PAGE) => {
      const machine = new SpeMachine({ system: { speStrategy, speKernelBytes }, costs });
      machine.begin(PAGE);
      // Until the interrupt of the 65th sample has come.
      return spe(machine.samples(perPage + 5)).blackout;
    };
    expect(blackout('pin-vm')).toBe(1000 + 2000 + 4000);
    // V2: five registers of the buffer trap in the handler: PMBSR twice, PMBPTR twice, PMBLIMITR.
    expect(blackout('pin-buffer')).toBe(1000 + 2000 + 4000 + 5 * 2000);
    // V3: the copy of 64 lines too, with a walk of 4 words.
    expect(blackout('copy')).toBe(1000 + 2000 + 4000 + 5 * 2000 + 64 * 10 + 400 + 4 * 20);
  });

  test('the share of the blackout: of a cycle that fills the buffer and empties it', () => {
    const costs = { speIrq: 1000, exitVhe: 2000, speHandler: 4000 };
    const machine = new SpeMachine({ system: { speStrategy: 'pin-vm', speEnable: 'trace' }, costs });
    machine.run(PERIOD);
    machine.begin(PAGE);
    const { 'spe.blackout': blackout } = machine.samples(2 * perPage);
    machine.disable();
    const time = (record: number) => Number(new DataView(machine.read().buffer).getBigUint64(record * 64 + 40, true));
    // 64 samples fill the page, the 65th stops the unit, the 66th to 68th fall due in the 1000 cycles until the interrupt; 6000 cycles are software's. So the first
    // record of the second page comes 68 periods and 6000 cycles after that of the first one.
    expect(time(perPage) - time(0)).toBe(68 * PERIOD + 6000);
    expect(blackout).toBe(1000 + 6000);
  });

  test('software that keeps the unit from sampling misses its operations over the period', () => {
    const machine = new SpeMachine({
      machine: { cpi: 2 },
      system: { speStrategy: 'pin-buffer' },
      costs: { gup: 400, stage2Map: 300, exitVhe: 2000 },
    });
    // Enabling takes 260 * 700 + 2000 = 184000 cycles, at 2 cycles an operation 92000 operations: 359 periods of 256.
    expect(spe(machine.begin(PAGES * PAGE))).toMatchObject({ missed: Math.floor(184_000 / 2 / PERIOD) });
  });

  test('a stop does not wait for the interrupt: the blackout ends there', () => {
    const machine = new SpeMachine({ system: { speStrategy: 'pin-vm' }, machine: { cpi: 2 }, costs: { speIrq: 1000 } });
    machine.begin(PAGE);
    // The 65th sample finds no room. 150 operations, 300 cycles, later the guest stops.
    machine.run(65 * PERIOD + 150);
    machine.disable();
    expect(spe(machine.sums())).toMatchObject({ full: 1, irqs: 1, blackout: 300 });
  });

  test('what is less than a period of it counts with what comes', () => {
    // Enabling traps once: 200 cycles, each an operation. Of 200, 400 and 600 there are 0, 1 and 2 periods of 256.
    const machine = new SpeMachine({ system: { speStrategy: 'pin-buffer' }, costs: { exitVhe: 200 } });
    machine.begin(PAGE, { enabled: false });
    const missed = [1, 2, 3].map(() => {
      machine.enable();
      machine.disable();
      return spe(machine.sums()).missed ?? 0;
    });
    expect(missed).toEqual([0, 1, 2]);
  });

  test('V2: buffers of any size at any page: their tables and the reads of the walk', () => {
    // Pages before a multiple of 2M, and behind it: a table of 2M each; the three above are the same for all.
    for (const [before, behind] of [
      [0, 1],
      [0, 3],
      [1, 0],
      [1, 513],
      [2, 512],
      [511, 1],
      [512, 513],
    ]) {
      const machine = new SpeMachine({ system: { speStrategy: 'pin-buffer', speGuestBytes: '64M' } });
      const edge = BUFFER + 0x20_0000n;
      machine.event('vcpu_load', 0, 0, 1);
      machine.event('spe_program', 0, edge - BigInt(before * PAGE), edge + BigInt(behind * PAGE), 0, 0);
      const { pins, softWalks, softReads, pinnedMax } = spe(machine.enable());
      const pages = before + behind;
      const tables = Math.ceil(before / 512) + Math.ceil(behind / 512);
      expect(pins).toBe(pages + tables + 3);
      expect(pinnedMax).toBe((pages + tables + 3) * PAGE);
      // 4 reads for the first page of each table, 1 for each page else.
      expect({ softWalks, softReads }).toEqual({ softWalks: pages, softReads: pages + 3 * tables });
      expect(spe(machine.disable()).unpins).toBe(pins);
    }
  });
});

describe('copy on read', () => {
  const costs = { exitVhe: 1000, gup: 400, copyLine: 20, stage2Map: 300, tlbiBroadcast: 350, dsb: 35 };
  const stop = (speStrategy: string, speShareRead: number) => {
    const machine = new SpeMachine({ system: { speStrategy, speShareRead }, costs });
    machine.begin(64 * PAGE);
    machine.samples(32 * perPage);
    return cycles(machine.disable());
  };
  // Per page: a copy is 64 lines of 20 and the page; taking it from stage 2 a store, two TLBI, two DSB, and a fresh page for KVM (64 lines zeroed); a read that
  // faults is a trap, the page, mapping it (a store more) and the copy.
  const copy = 64 * 20 + 400;
  const unmap = 1 + 2 * 350 + 2 * 35 + 64;
  const trap = 1000 + 300 + 1;

  test.each([0, 0.25, 0.5, 1])('a share of %f: p (t_trap + t_copy) + t_unmap against t_copy', (p) => {
    const difference = 32 * (p * (trap + copy) + unmap - copy);
    expect(stop('copy-on-read', p) - stop('copy', p)).toBe(difference);
  });

  test('it wins below p = (t_copy - t_unmap) / (t_trap + t_copy) and loses above', () => {
    const even = (copy - unmap) / (trap + copy);
    const steps = [1, 2, 4, 6, 7, 8, 9, 10, 12, 16].map((n) => n / 32);
    expect(steps.some((p) => p < even) && steps.some((p) => p > even)).toBe(true);
    for (const p of steps) expect([p, stop('copy-on-read', p) < stop('copy', p)]).toEqual([p, p < even]);
  });
});

describe('orderings', () => {
  const costs = { speIrq: 1250, exitVhe: 2200, speHandler: 4000, copyLine: 10, gup: 400, stage2Map: 300, unpin: 100 };
  const profile = (speStrategy: string, speKernelBytes = 64 * PAGE) => {
    const machine = new SpeMachine({ system: { speStrategy, speKernelBytes, speGuestBytes: '16M' }, costs });
    const counts = machine.changes(() => {
      machine.begin(64 * PAGE);
      for (let i = 0; i < 5; i++) machine.samples(40 * perPage);
      machine.disable();
    });
    expect(machine.violations()).toEqual([]);
    const { lost = 0, missed = 0, pinnedMax = 0, kernelMax = 0, blackout } = spe(counts);
    return { lost, gone: lost + missed, pinnedMax, kernelMax, blackout };
  };
  const v1 = profile('pin-vm');
  const v2 = profile('pin-buffer');
  const v3 = [64, 16, 4].map((pages) => profile('copy', pages * PAGE));

  test('samples that are gone: V1, as bare metal; V2 more, by the time of enabling; V3 more with a smaller buffer', () => {
    expect(v2.lost).toBe(v1.lost);
    expect(v2.gone).toBeGreaterThan(v1.gone);
    // Lost at the unit: as often as a buffer is full.
    expect(v3[0].lost).toBe(v1.lost);
    expect(v3[1].lost).toBeGreaterThan(v3[0].lost);
    expect(v3[2].lost).toBeGreaterThan(v3[1].lost);
    expect(v3[2].gone).toBeGreaterThan(v1.gone);
    expect(v3.map(({ blackout }) => blackout)).toEqual(v3.map(({ blackout }) => blackout).sort((a, b) => a - b));
  });

  test("pinned: V1 all of the machine, V2 the buffer and its tables, V3 nothing of the guest's", () => {
    expect(v1.pinnedMax).toBe(16 * 2 ** 20);
    expect(v2.pinnedMax).toBe((64 + TABLES) * PAGE);
    expect(v3.map(({ pinnedMax }) => pinnedMax)).toEqual([0, 0, 0]);
    // What the host gives besides.
    expect([v1.kernelMax, v2.kernelMax]).toEqual([0, 0]);
    expect(v3.map(({ kernelMax }) => kernelMax)).toEqual([64 * PAGE, 16 * PAGE, 4 * PAGE]);
  });
});
