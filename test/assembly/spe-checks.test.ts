// Every invariant of SPE in KVM guests fires when the fault is built in that breaks it, and only then (MODEL 8.4, N-15, N-16). Each test first runs the same
// without the fault.

import { describe, expect, test } from 'vitest';
import { BUFFER, PAGE, PAGES, SpeMachine, TABLES } from './speMachine.js';

const VM = 1;

/** The invariants that a run breaks, without and with a fault. */
function broken(
  inject: string,
  system: Record<string, unknown>,
  run: (machine: SpeMachine) => void,
): { without: string[]; with: string[] } {
  const violations = (faults: string[]) => {
    const machine = new SpeMachine({ system: { ...system, inject: faults } });
    run(machine);
    return machine.violations();
  };
  return { without: violations([]), with: violations([inject]) };
}

const profile = (machine: SpeMachine) => {
  machine.begin(4 * PAGE);
  machine.samples(10);
  machine.disable();
};

describe('F-I1: the guest reads what was emitted, or is told of what is missing', () => {
  test.each(['pin-vm', 'pin-buffer', 'copy', 'copy-on-read'])(
    '%s: a record that is in flight at a stop is lost without a drain',
    (speStrategy) => {
      expect(broken('spe-skip-drain', { speStrategy }, profile)).toEqual({ without: [], with: ['SpeStream'] });
    },
  );

  test("V3: samples that a full buffer of KVM's cost are told", () => {
    const run = (machine: SpeMachine) => {
      machine.begin(4 * PAGE);
      machine.samples(70);
      machine.readPointer();
    };
    expect(broken('spe-hide-loss', { speStrategy: 'copy', speKernelBytes: PAGE }, run)).toEqual({
      without: [],
      with: ['SpeStream'],
    });
  });
});

test('F-I2: the pointer does not go back', () => {
  const run = (machine: SpeMachine) => {
    machine.begin(4 * PAGE);
    machine.samples(10);
    machine.readPointer();
    machine.samples(5);
    machine.readPointer();
  };
  // From 10 records to 5; then what the guest has before its pointer is not what was emitted behind it either.
  expect(broken('spe-reset-pointer', { speStrategy: 'copy' }, run)).toEqual({
    without: [],
    with: ['SpePointer', 'SpeStream'],
  });
});

test("F-I3: with V3 the unit has none of the guest's addresses", () => {
  const { without, with: found } = broken('spe-leak-pointer', { speStrategy: 'copy' }, profile);
  expect(without).toEqual([]);
  expect(found).toContain('SpeRegister');
});

describe('F-I4: stage 2 never stops the unit where the buffer is pinned', () => {
  test('N-15: the guest remaps its buffer while it is enabled under V2', () => {
    const run = (speStrategy: string) => {
      const machine = new SpeMachine({ system: { speStrategy } });
      machine.begin(4 * PAGE);
      machine.samples(10);
      machine.event('kmap', 0, BUFFER, 4, PAGE, 2);
      const counts = machine.samples(10);
      machine.disable();
      // What was lost was reported, and everything else arrives: KVM resolves the fault.
      expect(machine.read()).toEqual(machine.emitted());
      return { violations: machine.violations(), events: counts['spe.stage2Events'] };
    };
    expect(run('pin-buffer')).toEqual({ violations: ['SpeStage2'], events: 1 });
    expect(run('pin-vm')).toEqual({ violations: [], events: undefined });
    expect(run('copy')).toEqual({ violations: [], events: undefined });
  });

  test('N-15: not when it remaps between a stop and a start', () => {
    const machine = new SpeMachine({ system: { speStrategy: 'pin-buffer' } });
    machine.begin(4 * PAGE);
    machine.samples(10);
    machine.disable();
    machine.event('kmap', 0, BUFFER, 4, PAGE, 2);
    machine.enable();
    machine.samples(10);
    machine.disable();
    expect(machine.read()).toHaveLength(20 * 64);
    expect(machine.violations()).toEqual([]);
  });

  test("N-16: the buffer is pinned and the guest's tables are not; the host reclaims a table", () => {
    const run = (machine: SpeMachine) => {
      machine.begin(4 * PAGE);
      // The last-level table is the guest's fourth table page: root, level 1, level 2, level 3.
      machine.event('s2_unmap', 0, TABLES + BigInt(3 * PAGE), PAGE, VM);
      machine.samples(3);
      machine.disable();
    };
    expect(broken('spe-skip-table-pin', { speStrategy: 'pin-buffer' }, run)).toEqual({
      without: [],
      with: ['SpeStage2'],
    });
  });

  test('a dirty log that protects pinned pages', () => {
    const run = (machine: SpeMachine) => {
      machine.begin(4 * PAGE);
      machine.event('s2_wp', 0, PAGES, 4 * PAGE, VM);
      machine.samples(3);
      machine.disable();
    };
    for (const speStrategy of ['pin-vm', 'pin-buffer'])
      expect(broken('spe-protect-pinned', { speStrategy }, run)).toEqual({ without: [], with: ['SpeStage2'] });
  });
});

test('F-I5: a stop lets go what the start has pinned', () => {
  expect(broken('spe-leak-pins', { speStrategy: 'pin-buffer' }, profile)).toEqual({ without: [], with: ['SpePins'] });
});

test("F-I6: behind its pointer the guest finds nothing of the host's", () => {
  expect(broken('spe-copy-whole', { speStrategy: 'copy' }, profile)).toEqual({ without: [], with: ['SpeHostData'] });
});

test('F-I7: what stage 2 does to the unit is between it and KVM', () => {
  const run = (machine: SpeMachine) => {
    machine.begin(4 * PAGE);
    machine.event('kmap', 0, BUFFER, 4, PAGE, 2);
    machine.samples(3);
  };
  // The remap alone is N-15.
  expect(broken('spe-forward-fault', { speStrategy: 'pin-buffer' }, run)).toEqual({
    without: ['SpeStage2'],
    with: ['SpeStage2', 'SpeVisible'],
  });
});

test('F-I8: where KVM can hide that the buffer is its own, it does', () => {
  const run = (machine: SpeMachine) => {
    machine.begin(PAGE);
    machine.readPointer();
  };
  expect(broken('spe-show-owner', { speStrategy: 'copy', speFgt: true }, run)).toEqual({
    without: [],
    with: ['SpeOwner'],
  });
});

test('G1: a TLBI reaches what the unit knows', () => {
  const run = (machine: SpeMachine) => {
    machine.begin(4 * PAGE);
    machine.samples(3);
    // V2 with its tables pinned, but the guest moves the buffer; then the old translation is stale.
    machine.event('kmap', 0, BUFFER, 4, PAGE, 2);
    machine.samples(3);
  };
  const { with: found } = broken('spe-skip-tlbi', { speStrategy: 'pin-vm' }, run);
  expect(found).toContain('Stale');
  expect(broken('spe-skip-tlbi', { speStrategy: 'pin-vm' }, run).without).toEqual([]);
});
