// Guests' stage-2 faults: counts of each event from docs/stage2faults.md, concurrency, and what the lock and TLBI cost. The guest has 40 bits of
// addresses: a root of two pages (levels 1), a table of level 2 and one of level 3 on the way to a page.

import { describe, expect, it } from 'vitest';
import { BLOCK, PAGE, Stage2Machine } from './stage2Machine.js';

const GIB = 2 ** 30;
const STORES = 'MaintenanceTable_Store';
const IPA = 'MaintenanceTlbiIpas2e1is';
const RANGE = 'MaintenanceTlbiRipas2e1is';
const COMBINED = 'MaintenanceTlbiVmalle1is';
const ALL = 'MaintenanceTlbiVmalls12e1is';
const LOCAL = 'MaintenanceTlbiIpas2e1';
const MODES = [[], ['ExclusiveLock'], ['FastFaults'], ['HypIpi']];

function guest(machine: Partial<ConstructorParameters<typeof Stage2Machine>[0]> = {}): Stage2Machine {
  const made = new Stage2Machine({ cpus: 1, ...machine });
  made.create();
  return made;
}

/** With these leaves of memory mapped. */
function mapped(bytes: number, page: number, machine = {}): Stage2Machine {
  const made = guest(machine);
  made.fault(0, 0, bytes, page);
  made.run();
  return made;
}

const protect = (machine: Stage2Machine, bytes: number) => {
  machine.event('Stage2WriteProtect', 0, 0, bytes, 1);
  machine.run();
};

describe('counts of each event', () => {
  // 2 writes for each missing level and 2 for the leaf; the exclusive lock stores each entry once.
  it.each([
    ['a page', PAGE, [], 6],
    ['a block', BLOCK, [], 4],
    ['a page, exclusive lock', PAGE, ['ExclusiveLock'], 3],
  ])('a translation fault maps %s without a TLBI', (_, page, options, stores) => {
    const machine = guest({ options });
    const counted = machine.counted(['FaultTranslation', STORES, IPA, COMBINED], () => machine.fault(0, 0, page, page));
    expect(counted).toEqual({ FaultTranslation: 1, [STORES]: stores, [IPA]: 0, [COMBINED]: 0 });
    // Root, the tables on the way, and what the memcache of two has left.
    expect(machine.tablePages()).toBe(4);
  });

  it.each([
    ['2M', BLOCK, 4],
    ['1G', GIB, 6],
  ])('a write to a protected block of %s breaks it and maps one page', (_, block, stores) => {
    const machine = mapped(block, block);
    protect(machine, block);
    const counted = machine.counted(['FaultPermission', STORES, IPA, COMBINED], () => machine.fault(0, 0, PAGE));
    expect(counted).toEqual({ FaultPermission: 1, [STORES]: stores, [IPA]: 1, [COMBINED]: 1 });
    expect(machine.violations()).toEqual({});
  });

  it('a host, VM 0, is there from the start with 48 bits of addresses', () => {
    const machine = new Stage2Machine({ cpus: 1 });
    const counted = machine.counted(['FaultTranslation', STORES], () =>
      machine.event('Stage2Fault', 0, 2 ** 47, PAGE, 0),
    );
    // A root of one page and three tables: levels 0 to 3.
    expect(counted).toEqual({ FaultTranslation: 1, [STORES]: 2 * 3 + 2 });
  });

  it.each([
    // A guest's page has moved away from its block, which is then mapped page by page; a host's memory is where it is.
    ['guest', 1, 512],
    ['host', 0, 1],
  ])('after a page of it was unmapped a block of a %s', (_, vm, faults) => {
    const machine = new Stage2Machine({ cpus: 1 });
    const block = () => machine.event('Stage2Fault', 0, BLOCK, BLOCK, vm, 0, BLOCK);
    block();
    machine.event('Stage2Unmap', 0, BLOCK + PAGE, PAGE, vm);
    machine.run();
    const again = () => {
      for (let ipa = BLOCK; ipa < 2 * BLOCK; ipa += PAGE) machine.event('Stage2Fault', 0, ipa, PAGE, vm, 0, BLOCK);
    };
    expect(machine.counted(['FaultTranslation'], again)).toEqual({ FaultTranslation: faults });
    expect(machine.violations()).toEqual({});
  });

  it('a block that was split lazily faults again on its 511 other pages', () => {
    const machine = mapped(BLOCK, BLOCK);
    protect(machine, BLOCK);
    const stats = ['FaultTranslation', 'FaultRefault', STORES, COMBINED];
    machine.fault(0, 0, PAGE);
    machine.run();
    const counted = machine.counted(stats, () => machine.fault(0, PAGE, BLOCK - PAGE));
    // LOCKED and the leaf for each.
    expect(counted).toEqual({ FaultTranslation: 511, FaultRefault: 511, [STORES]: 1022, [COMBINED]: 0 });
  });

  it('a block that is split eagerly takes 1,024 stores, 2 more, one TLBI and no fault to read', () => {
    const machine = mapped(BLOCK, BLOCK);
    const split = machine.counted([STORES, IPA], () => machine.event('Stage2Split', 0, 0, BLOCK, 1));
    expect(split).toEqual({ [STORES]: 1026, [IPA]: 1 });
    const read = machine.counted(['MaintenanceTrap'], () => machine.fault(0, 0, BLOCK, PAGE, 2));
    expect(read).toEqual({ MaintenanceTrap: 0 });
  });

  it.each([
    ['only here', [], 1, 0],
    ['everywhere with the exclusive lock', ['ExclusiveLock'], 0, 1],
  ])('relaxing a permission is one store, and a TLBI %s', (_, options, local, broadcast) => {
    const machine = mapped(PAGE, PAGE, { options });
    protect(machine, PAGE);
    const counted = machine.counted(['FaultPermission', STORES, LOCAL, IPA], () => machine.fault(0, 0, PAGE, PAGE, 1));
    expect(counted).toEqual({ FaultPermission: 1, [STORES]: 1, [LOCAL]: local, [IPA]: broadcast });
  });

  it('a stricter entry that is known elsewhere costs a fault without a store', () => {
    const machine = mapped(PAGE, PAGE, { cpus: 2 });
    protect(machine, PAGE);
    machine.fault(1, 0, PAGE, PAGE, 2);
    machine.run();
    machine.fault(0, 0, PAGE, PAGE, 1);
    machine.run();
    const counted = machine.counted(['FaultSpurious', STORES, LOCAL], () => machine.fault(1, 0, PAGE, PAGE, 1));
    expect(counted).toEqual({ FaultSpurious: 1, [STORES]: 0, [LOCAL]: 1 });
  });

  it.each([
    ['faults without a TLBI', [], 1, 0],
    ['is set by hardware', ['HardwareAf'], 0, 1],
  ])('an old page that is read %s', (_, options, faults, updates) => {
    const machine = mapped(PAGE, PAGE, { options });
    const aged = machine.counted([STORES, ALL], () => machine.event('Stage2Age', 0, 0, PAGE, 1));
    expect(aged).toEqual({ [STORES]: 1, [ALL]: 1 });
    const stats = ['FaultAccess_Flag', 'WalkUpdates', STORES, LOCAL, IPA];
    const read = machine.counted(stats, () => machine.fault(0, 0, PAGE, PAGE, 2));
    expect(read).toEqual({ FaultAccess_Flag: faults, WalkUpdates: updates, [STORES]: faults, [LOCAL]: 0, [IPA]: 0 });
  });

  it.each([
    ['range TLBI', ['TlbRange'], [1, 1, 0]],
    ['a TLBI of the whole VM', [], [0, 0, 1]],
  ])('a collapse is two stores and %s; its table is freed after the grace period', (_, options, flushes) => {
    const machine = mapped(2 * PAGE, PAGE, { options, costs: { GracePeriod: 1000 } });
    protect(machine, BLOCK);
    const stats = [STORES, RANGE, COMBINED, ALL, 'MaintenanceDeferred_Max'];
    const counted = machine.counted(stats, () => machine.fault(0, 0, BLOCK, BLOCK, 1));
    expect(Object.values(counted)).toEqual([2, ...flushes, PAGE]);
    machine.destroy();
    expect(machine.counter('MaintenanceDeferred_Byte_Cycles')).toBe(PAGE * 1000);
    expect(machine.tablePages()).toBe(0);
  });

  it('a collapse to 1G defers the table and its child', () => {
    const machine = mapped(PAGE, PAGE);
    protect(machine, PAGE);
    machine.fault(0, 0, GIB, GIB, 1);
    machine.run();
    expect(machine.counter('MaintenanceDeferred_Max')).toBe(2 * PAGE);
  });

  // Two leaves and two tables that become empty: the leaves one by one or as one range, the tables always one by one.
  it.each([
    ['entry by entry', [], 4, 0],
    ['with one range for the leaves', ['TlbRange'], 2, 1],
  ])('unmapping clears leaves and empty tables, %s', (_, options, entries, ranges) => {
    const machine = mapped(2 * PAGE, PAGE, { options });
    const before = machine.tablePages();
    const unmap = () => machine.event('Stage2Unmap', 0, 0, 2 * PAGE, 1);
    expect(machine.counted([STORES, IPA, RANGE], unmap)).toEqual({ [STORES]: 4, [IPA]: entries, [RANGE]: ranges });
    expect(machine.tablePages()).toBe(before - 2);
    // The kernel has moved the page: a new fault maps the new frame.
    machine.fault(0, 0, PAGE);
    machine.run();
    expect(machine.violations()).toEqual({});
  });

  it('write-protecting two pages is two stores and one flush of the VM', () => {
    const machine = mapped(2 * PAGE, PAGE);
    const counted = machine.counted([STORES, ALL], () => machine.event('Stage2WriteProtect', 0, 0, 2 * PAGE, 1));
    expect(counted).toEqual({ [STORES]: 2, [ALL]: 1 });
  });

  it('a CPU that gets another vCPU of the guest forgets what it knows', () => {
    const machine = guest();
    for (const vcpu of [0, 0, 1]) machine.event('VcpuLoad', 0, vcpu, 1);
    machine.run();
    expect(machine.counter('MaintenanceTlbiVmalle1')).toBe(1);
  });
});

describe('concurrency', () => {
  it('one of four faults on a page wins, the others free the table that they took', () => {
    // Every step takes a cycle, so the four read the root's entry before the first of them swaps it.
    const machine = guest({ cpus: 4, costs: { WalkStep: 1, FaultInside: 100 } });
    for (let cpu = 0; cpu < 4; cpu++) machine.fault(cpu, 0, PAGE);
    const counted = machine.counted(['MaintenanceTrap', 'MaintenanceCas_Failed', 'FaultRetry', STORES], () => {});
    expect(counted).toEqual({ MaintenanceTrap: 4, MaintenanceCas_Failed: 3, FaultRetry: 3, [STORES]: 6 });
    // Root 2, tables 2, and one that each of the three has left of two.
    expect(machine.tablePages()).toBe(7);
  });

  it.each(MODES)('48 vCPUs that touch memory of their own lose nothing %s', (...options) => {
    const machine = guest({ cpus: 48, options, costs: { WalkStep: 1, FaultInside: 20, FaultOutside: 5 } });
    for (let cpu = 0; cpu < 48; cpu++) machine.fault(cpu, cpu * BLOCK, 16 * PAGE);
    machine.run();
    // A second pass finds everything mapped.
    for (let cpu = 0; cpu < 48; cpu++) machine.fault(cpu, cpu * BLOCK, 16 * PAGE);
    expect(machine.counted(['MaintenanceTrap'], () => {})).toEqual({ MaintenanceTrap: 0 });
    machine.destroy();
    expect([machine.tablePages(), machine.violations()]).toEqual([0, {}]);
  });

  it.each(MODES)('47 vCPUs read while one collapses %s', (...options) => {
    const machine = mapped(48 * PAGE, PAGE, { cpus: 48, options, costs: { WalkStep: 1, TlbiBroadcast: 10 } });
    protect(machine, BLOCK);
    machine.fault(0, 0, BLOCK, BLOCK, 1);
    for (let cpu = 1; cpu < 48; cpu++) machine.fault(cpu, cpu * PAGE, PAGE, PAGE, 2);
    machine.run();
    machine.destroy();
    expect([machine.tablePages(), machine.violations()]).toEqual([0, {}]);
  });

  it.each([...MODES, ['EagerSplit', 'TlbRange', 'HardwareAf']])(
    'a dirty log cycle leaves nothing behind %s',
    (...options) => {
      const machine = guest({ cpus: 4, options, costs: { WalkStep: 1, FaultInside: 20, TlbiBroadcast: 7 } });
      const all = (page: number, faultClass: number) => {
        for (let cpu = 0; cpu < 4; cpu++) machine.fault(cpu, cpu * BLOCK, BLOCK, page, faultClass);
        machine.run();
      };
      all(BLOCK, 0);
      for (let round = 0; round < 2; round++) {
        protect(machine, 4 * BLOCK);
        all(PAGE, 1);
        machine.event('Stage2Split', 0, 0, 4 * BLOCK, 1);
        protect(machine, 4 * BLOCK);
        all(BLOCK, 1);
      }
      machine.destroy();
      expect([machine.tablePages(), machine.violations()]).toEqual([0, {}]);
    },
  );

  it('without RCU all other CPUs answer an interrupt before a table is freed', () => {
    const machine = mapped(PAGE, PAGE, { cpus: 4, options: ['HypIpi'] });
    protect(machine, PAGE);
    const pages = machine.tablePages();
    machine.fault(0, 0, BLOCK, BLOCK, 1);
    machine.run();
    expect(machine.counter('MaintenanceIpiFree_Table')).toBe(3);
    // The table has gone, and the memcache is full again with two.
    expect(machine.tablePages()).toBe(pages - 1 + 2);
  });
});

describe('times', () => {
  const costs = { FaultOutside: 10, FaultInside: 100 };
  const once = (machine: Stage2Machine) =>
    machine.counted(['CyclesLock', 'CyclesFault'], () => {
      for (let cpu = 0; cpu < 4; cpu++) machine.fault(cpu, cpu * GIB, PAGE);
    });

  it('the exclusive lock serves one after the other', () => {
    // CPU k waits for k others: 100 (0 + 1 + 2 + 3).
    const counted = once(guest({ cpus: 4, options: ['ExclusiveLock'], costs }));
    expect(counted).toEqual({ CyclesLock: 600, CyclesFault: 440 });
  });

  it('the shared lock passes its line on', () => {
    // Taken at 10, 15, 20, 25: 0 + 5 + 10 + 15; left at 110, 115, 120, 125, each with a transfer of 5.
    expect(once(guest({ cpus: 4, costs: { ...costs, LineTransfer: 5 } }))).toEqual({
      CyclesLock: 50,
      CyclesFault: 440,
    });
  });

  // The first TLBI of CPU k meets k others; each second one meets all: n = 4: 500, 600, 700 and 800 cycles.
  it.each([
    [1, 200],
    [2, 300 + 400],
    [4, 500 + 600 + 700 + 800],
  ])('a TLBI takes as long as there are CPUs at it: %i', (cpus, blackout) => {
    const machine = guest({ cpus, costs: { TlbiBroadcast: 100 } });
    for (let cpu = 0; cpu < cpus; cpu++) machine.fault(cpu, cpu * BLOCK, BLOCK, BLOCK);
    machine.run();
    protect(machine, cpus * BLOCK);
    for (let cpu = 0; cpu < cpus; cpu++) machine.fault(cpu, cpu * BLOCK, PAGE, PAGE, 1);
    expect(machine.counted(['MaintenanceBlackout'], () => {})).toEqual({ MaintenanceBlackout: blackout });
  });
});

describe('broadcast to the CPUs of a guest only', () => {
  /** Two guests, each on two of four CPUs; all four split a block at once. The cycles between taking the blocks out and the tables in their place. */
  function blackout(options: string[], vmOf: (cpu: number) => number): number {
    const machine = new Stage2Machine({ cpus: 4, options, costs: { TlbiBroadcast: 100 } });
    for (const vm of [1, 2]) machine.create(vm);
    const each = (page: number, faultClass: number) => {
      for (let cpu = 0; cpu < 4; cpu++) {
        machine.event('Stage2Fault', cpu, cpu * BLOCK, page, vmOf(cpu), faultClass, page);
      }
      machine.run();
    };
    each(BLOCK, 0);
    for (const vm of [1, 2]) machine.event('Stage2WriteProtect', 0, 0, 4 * BLOCK, vm);
    machine.run();
    const before = machine.counter('MaintenanceBlackout');
    each(PAGE, 1);
    expect(machine.violations()).toEqual({});
    return machine.counter('MaintenanceBlackout') - before;
  }

  const halves = (cpu: number) => 1 + (cpu >> 1);

  // CPU k's first TLBI meets those of the CPUs before it, every second one those of all that it meets at all: with n of them 100 (1 + ... + n) + 100 n n.
  it.each([
    ['all four', [], 1000 + 1600],
    ['two and two', ['TlbiOfVm'], 2 * (300 + 400)],
  ])("%s are in each other's way", (_, options, cycles) => {
    expect(blackout(options, halves)).toBe(cycles);
  });

  it('guests that have run on the same CPU still are', () => {
    const machine = new Stage2Machine({ cpus: 2, options: ['TlbiOfVm'], costs: { TlbiBroadcast: 100 } });
    for (const vm of [1, 2]) {
      machine.create(vm);
      for (const cpu of [0, 1]) machine.event('VcpuLoad', cpu, cpu, vm);
    }
    for (const cpu of [0, 1]) machine.event('Stage2Fault', cpu, 0, BLOCK, cpu + 1, 0, BLOCK);
    machine.run();
    for (const vm of [1, 2]) machine.event('Stage2WriteProtect', 0, 0, BLOCK, vm);
    machine.run();
    for (const cpu of [0, 1]) machine.event('Stage2Fault', cpu, 0, PAGE, cpu + 1, 1, PAGE);
    // 100 + 200, then 200 each.
    expect(machine.counted(['MaintenanceBlackout'], () => {})).toEqual({ MaintenanceBlackout: 700 });
  });
});

describe('over time', () => {
  it('points are as far apart as needed for a fixed number of them', () => {
    // Every fault takes 10 cycles, so that at 10 k cycles k were taken.
    const machine = guest({ costs: { FaultOutside: 10 } });
    const { core, lane } = machine;
    core.setStage2Timeline(lane, 10);
    machine.fault(0, 0, 600 * PAGE);
    core.endTakenEvents();
    const { Clock, Faults, TableBytes, Count } = core.Point;
    const points = Array.from(
      { length: core.stage2PointCount(lane) },
      (_, i) => new BigUint64Array(core.memory.buffer, core.stage2Points(lane) + i * Count * 8, Count),
    );
    // 512 points 10 apart become 256 that are 20 apart; up to 6,000 these are 301, and one for the end.
    const clocks = [...Array.from({ length: 301 }, (_, i) => 20 * i), 6000];
    expect(points.map((point) => Number(point[Clock]))).toEqual(clocks);
    expect(points.map((point) => Number(point[Faults]))).toEqual(clocks.map((clock) => clock / 10));
    // A root of two pages; in the end a table of level 2, two of level 3, and the memcache's two.
    expect([points[0], points[301]].map((point) => Number(point[TableBytes]))).toEqual([2 * PAGE, 7 * PAGE]);
  });

  it('what still waits at the end counts until then', () => {
    const machine = mapped(2 * PAGE, PAGE, { costs: { GracePeriod: 1000, FaultOutside: 100 } });
    protect(machine, BLOCK);
    // The table is unlinked after the first fault's time, the second one takes 100 more.
    machine.fault(0, 0, BLOCK, BLOCK, 1);
    machine.fault(0, GIB, PAGE);
    machine.run();
    expect(machine.counter('MaintenanceDeferred_Byte_Cycles')).toBe(0);
    machine.core.endTakenEvents();
    expect(machine.counter('MaintenanceDeferred_Byte_Cycles')).toBe(100 * PAGE);
  });
});
