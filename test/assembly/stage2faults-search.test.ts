// Interleavings of guests' stage-2 faults: what is right breaks no invariant in any order of steps, and every fault that is built in is found.
// NODEWALK_FUZZ_RUNS is the number of interleavings in all.

import { describe, expect, it } from 'vitest';
import { Stage2Machine } from './stage2Machine.js';

const RUNS = Number(process.env.NODEWALK_FUZZ_RUNS ?? 4000);
const MODES = [
  ['ExclusiveLock'],
  ['ExclusiveLock', 'TlbRange', 'HardwareAf', 'EagerSplit'],
  [],
  ['TlbRange', 'HardwareAf'],
  ['EagerSplit'],
  ['FastFaults'],
  ['FastFaults', 'TlbRange', 'HardwareAf', 'EagerSplit'],
  ['HypIpi', 'TlbRange'],
  ['TlbiOfVm', 'TlbRange', 'EagerSplit'],
];
const CPUS = [2, 3, 5];

describe('random interleavings', () => {
  it.each(MODES)(
    'break nothing %s',
    (...options) => {
      const runs = Math.ceil(RUNS / MODES.length / CPUS.length);
      for (const cpus of CPUS) {
        const machine = new Stage2Machine({ cpus, options, build: 'release' });
        const found = machine.core.runInterleavings(machine.lane, 0, runs);
        expect([found, machine.violations()]).toEqual([0, {}]);
        expect(machine.tablePages()).toBe(0);
        // They did something.
        expect(machine.counter('MaintenanceTrap')).toBeGreaterThan(runs);
      }
    },
    600_000,
  );

  // Seeds within which each is found with three CPUs: several times what it took.
  it.each([
    ['SkipBlockBreak', 'BreakBeforeMake', 50],
    ['FreeWithoutGrace', 'UseAfterFree', 500],
    ['SkipReload', 'UseAfterFree', 50],
    ['FlushStage2Only', 'Stale', 50],
    ['FlushReversed', 'Stale', 1000],
    ['SkipRelaxTlbi', 'Livelock', 200],
  ])('find %s: %s within %i seeds', (fault, check, seeds) => {
    const machine = new Stage2Machine({ cpus: 3, faults: [fault] });
    expect(machine.core.runInterleavings(machine.lane, 0, seeds)).toBeGreaterThan(0);
    expect(Object.keys(machine.violations())).toContain(check);
  });
});
