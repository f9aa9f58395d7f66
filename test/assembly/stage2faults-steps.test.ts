// Single steps of guests' stage-2 faults, against Linux 6.12 and 6.1 (arch/arm64/kvm/mmu.c, hyp/pgtable.c, hyp/vhe/tlb.c): barriers, which lock, what two vCPUs
// do to one entry at once, and rows at the edges of a guest's addresses. The guest has 40 bits of addresses: a root of two pages and two levels under it.

import { describe, expect, it } from 'vitest';
import { BLOCK, PAGE, Stage2Machine } from './stage2Machine.js';

const GIB = 2 ** 30;
const STORES = 'MaintenanceTable_Store';
const BARRIERS = 'MaintenanceBarrier';
const RANGE = 'MaintenanceTlbiRipas2e1is';
const ALL = 'MaintenanceTlbiVmalls12e1is';
const IPA = 'MaintenanceTlbiIpas2e1is';
const LOCAL = 'MaintenanceTlbiIpas2e1';

type Options = Partial<ConstructorParameters<typeof Stage2Machine>[0]>;

/** A guest with these leaves of memory mapped from 0 on. */
function mapped(bytes: number, page: number, options: Options = {}): Stage2Machine {
  const machine = new Stage2Machine({ cpus: 1, ...options });
  machine.create();
  machine.fault(0, 0, bytes, page);
  machine.run();
  return machine;
}

function range(machine: Stage2Machine, name: string, from: number, bytes: number, cpu = 0): void {
  machine.event(`Stage2${name}`, cpu, from, bytes, 1);
}

describe('barriers', () => {
  it.each<[string, number, string[], (machine: Stage2Machine) => void]>([
    // kvm_pgtable_stage2_map: DSB ISHST.
    ['a translation fault', 1, [], (machine) => machine.fault(0, GIB, PAGE)],
    // __kvm_tlb_flush_vmid_ipa_nsh: DSB NSHST, DSB NSH behind each TLBI, ISB; relax_perms has none of its own.
    ['a permission fault', 4, [], (machine) => machine.fault(0, 0, PAGE, PAGE, 1)],
    ['a permission fault in 6.1', 4, ['ExclusiveLock'], (machine) => machine.fault(0, 0, PAGE, PAGE, 1)],
    // __kvm_tlb_flush_vmid_ipa, of a leaf and of the two tables that become empty.
    ['unmapping a page', 3 * 4, [], (machine) => range(machine, 'Unmap', 0, PAGE)],
    // Behind the lock __kvm_tlb_flush_vmid: DSB ISHST, DSB ISH, ISB; nothing where nothing changes.
    ['aging', 3, [], (machine) => range(machine, 'Age', 0, PAGE)],
    ['protecting what is protected', 0, [], (machine) => range(machine, 'WriteProtect', 0, PAGE)],
  ])('of %s: %i', (_, barriers, options, rows) => {
    const machine = mapped(PAGE, PAGE, { options });
    range(machine, 'WriteProtect', 0, PAGE);
    machine.run();
    expect(machine.counted([BARRIERS], () => rows(machine))).toEqual({ [BARRIERS]: barriers });
  });

  it('of a block that is split: those of its flush and one more', () => {
    const machine = mapped(BLOCK, BLOCK);
    expect(machine.counted([BARRIERS], () => range(machine, 'Split', 0, BLOCK))).toEqual({ [BARRIERS]: 4 + 1 });
  });

  it('a map that loses a swap has its DSB all the same', () => {
    // Two vCPUs swap the root's entry at once: the winner's DSB, the loser's, and no more, because it finds the page mapped.
    const machine = new Stage2Machine({ cpus: 2, costs: { WalkStep: 1, FaultInside: 100 } });
    machine.create();
    for (const cpu of [0, 1]) machine.fault(cpu, 0, PAGE);
    expect(machine.counted([BARRIERS, 'FaultRetry'], () => {})).toEqual({ [BARRIERS]: 2, FaultRetry: 1 });
  });
});

describe('flushes of ranges', () => {
  it('a notifier flushes its range though nothing is mapped there', () => {
    const machine = mapped(PAGE, PAGE, { options: ['TlbRange'] });
    expect(machine.counted([STORES, RANGE], () => range(machine, 'Unmap', GIB, BLOCK))).toEqual({
      [STORES]: 0,
      [RANGE]: 1,
    });
  });

  it.each([
    ['a range of the memory slot', ['TlbRange'], 1, 0],
    ['the whole VM', [], 0, 1],
  ])('behind a write-protection go %s', (_, options, ranges, all) => {
    const machine = mapped(2 * PAGE, PAGE, { options });
    const counted = machine.counted([RANGE, ALL], () => range(machine, 'WriteProtect', 0, 2 * PAGE));
    expect(counted).toEqual({ [RANGE]: ranges, [ALL]: all });
  });

  // A TLBI takes 100 cycles. CPU 1 asks for the lock when CPU 0 has it: it waits for that long where the flush is inside.
  it.each([
    ['Age', 100],
    ['WriteProtect', 0],
  ])('%s holds the lock for %i cycles of its flush', (name, waits) => {
    const machine = mapped(PAGE, PAGE, { cpus: 2, costs: { TlbiBroadcast: 100 } });
    range(machine, name, 0, PAGE);
    range(machine, 'Age', GIB, PAGE, 1);
    expect(machine.counted(['CyclesLock'], () => {})).toEqual({ CyclesLock: waits });
  });
});

describe('locks', () => {
  const costs = { FaultInside: 100 };
  /** Cycles that two vCPUs wait for each other when each relaxes a leaf of its own. */
  function waited(leaf: number, options: string[], more = {}): number {
    const machine = mapped(2 * leaf, leaf, { cpus: 2, options, costs: { ...costs, ...more } });
    range(machine, 'WriteProtect', 0, 2 * leaf);
    machine.run();
    for (const cpu of [0, 1]) machine.fault(cpu, cpu * leaf, leaf, leaf, 1);
    return machine.counted(['CyclesLock'], () => {}).CyclesLock;
  }

  it.each([
    // user_mem_abort of 6.1: use_read_lock, if the granule of the fault is a page.
    ['6.1 relaxes pages as a reader', PAGE, ['ExclusiveLock'], 0],
    ['6.1 relaxes blocks as a writer', BLOCK, ['ExclusiveLock'], 100],
    ['6.12 relaxes blocks as a reader', BLOCK, [], 0],
  ])('%s', (_, leaf, options, cycles) => {
    expect(waited(leaf, options)).toBe(cycles);
  });

  // CPU 0 takes the line over from the first faults, or keeps it: of 2 takings and 2 leavings all but CPU 0's first cost 5, and its transfer lets the second wait.
  it('the fast mode relaxes without a lock, and the line of none moves', () => {
    expect(waited(PAGE, ['FastFaults'], { LineTransfer: 5 })).toBe(0);
    expect(waited(PAGE, [], { LineTransfer: 5 })).toBeGreaterThan(0);
  });

  it('a reader waits behind a writer that came before it', () => {
    // CPU 0 reads for 100 cycles from 0 on. CPU 1 would write, CPU 2 reads: it does not pass CPU 1, whose flush takes 1000 under the lock.
    const machine = mapped(PAGE, PAGE, { cpus: 3, costs: { ...costs, TlbiBroadcast: 1000 } });
    machine.fault(0, GIB, PAGE);
    range(machine, 'Age', 0, PAGE, 1);
    machine.fault(2, 2 * GIB, PAGE);
    machine.run();
    expect([1, 2].map((cpu) => machine.counter('CyclesLock', cpu))).toEqual([100, 1100]);
  });

  it('a notifier begins when it has the lock, so who had it before does not fault again', () => {
    // CPU 0 is in its section from 0 to 100; the unmapping of its page waits for that.
    const machine = mapped(PAGE, PAGE, { cpus: 2, costs });
    machine.fault(0, PAGE, PAGE);
    range(machine, 'Unmap', PAGE, PAGE, 1);
    expect(machine.counted(['FaultTranslation', 'FaultRetry'], () => {})).toEqual({
      FaultTranslation: 1,
      FaultRetry: 0,
    });
  });
});

describe('two at one entry', () => {
  it('of two that relax a page one loses, and flushes all the same', () => {
    const machine = mapped(PAGE, PAGE, { cpus: 2, costs: { WalkStep: 1, FaultInside: 100 } });
    range(machine, 'WriteProtect', 0, PAGE);
    machine.run();
    for (const cpu of [0, 1]) machine.fault(cpu, 0, PAGE, PAGE, 1);
    const stats = ['FaultPermission', 'MaintenanceCas_Failed', STORES, LOCAL];
    expect(Object.values(machine.counted(stats, () => {}))).toEqual([2, 1, 1, 2]);
  });

  /** CPU 0 accesses a page while CPU 1 unmaps it, in steps of one cycle; nobody takes the lock for the access. */
  function unmapped(faultClass: number, prepare: string, wait: number): Stage2Machine {
    const costs = { WalkStep: 10, FaultInside: 100, TlbiLocal: 1 };
    const machine = mapped(PAGE, PAGE, { cpus: 2, options: ['FastFaults'], costs });
    range(machine, prepare, 0, PAGE);
    machine.run();
    // Each load of another vCPU is a TLBI of a cycle.
    for (let i = 0; i <= wait; i++) machine.event('VcpuLoad', 0, i, 1);
    machine.fault(0, 0, PAGE, PAGE, faultClass);
    range(machine, 'Unmap', 0, PAGE, 1);
    machine.run();
    return machine;
  }

  // The unmapping reads three entries by cycle 30 and stores at 30. Hardware reads the leaf at wait + 20, the fault's own walk the three entries at wait + 30, 40 and 50.
  it('a page that has gone meanwhile is flushed, and faults again', () => {
    const machine = unmapped(1, 'WriteProtect', 5);
    expect(machine.counter(LOCAL)).toBe(1);
    expect(machine.counter('FaultTranslation')).toBe(2);
    expect(machine.violations()).toEqual({});
  });

  // At wait 0 CPU 0 enters the leaf's table at 40, before CPU 1 clears the entry that leads there, and reads it at 50.
  it.each([0, 5, 9])('a table that a notifier empties is there while a vCPU without the lock reads it (%i)', (wait) => {
    const machine = unmapped(2, 'Age', wait);
    machine.destroy();
    expect([machine.tablePages(), machine.violations()]).toEqual([0, {}]);
  });
});

it('who has detached a table waits until CPUs in a section have left it', () => {
  // CPU 1 begins 200 cycles later (a TLBI), both spend 1000 in the section: the interrupt at 1000 is answered at 1200.
  const costs = { FaultInside: 1000, TlbiLocal: 200 };
  const machine = mapped(PAGE, PAGE, { cpus: 2, options: ['HypIpi'], costs });
  range(machine, 'WriteProtect', 0, PAGE);
  machine.run();
  machine.fault(0, 0, BLOCK, BLOCK, 1);
  for (const vcpu of [0, 1]) machine.event('VcpuLoad', 1, vcpu, 1);
  machine.fault(1, GIB, PAGE);
  const before = machine.counter('CyclesMaintenance', 0);
  machine.run();
  expect(machine.counter('CyclesMaintenance', 0) - before).toBe(200);
});

describe('loads of vCPUs', () => {
  const loads = (...rows: [vcpu: number, vm: number][]) => {
    const machine = new Stage2Machine({ cpus: 1, costs: { TlbiLocal: 7 } });
    for (const vm of [1, 2]) machine.create(vm);
    for (const [vcpu, vm] of rows) machine.event('VcpuLoad', 0, vcpu, vm);
    const stats = ['MaintenanceTlbiVmalle1', 'MaintenanceIc_Lines', BARRIERS, 'CyclesMaintenance'];
    return Object.values(machine.counted(stats, () => {}));
  };

  // kvm_arch_vcpu_load: last_vcpu_ran is the guest's, for each CPU. A flush is VMALLE1, IC IALLU, DSB, ISB.
  it('a guest that ran in between changes nothing', () => {
    expect(loads([0, 1], [0, 2], [0, 1])).toEqual([0, 0, 0, 0]);
    expect(loads([0, 1], [0, 2], [1, 1])).toEqual([1, 1, 2, 7]);
  });

  it('a guest that is made again has run on no CPU', () => {
    const machine = new Stage2Machine({ cpus: 1 });
    for (const vcpu of [0, 1]) {
      machine.create();
      machine.event('VcpuLoad', 0, vcpu, 1);
      machine.run();
      machine.destroy();
    }
    expect(machine.counter('MaintenanceTlbiVmalle1')).toBe(0);
  });
});

describe('rows at the edges', () => {
  const fault = (machine: Stage2Machine, ipa: number, bytes: number) =>
    machine.counted(['FaultTranslation', STORES], () => machine.fault(0, ipa, bytes));

  it('a row that is not aligned is an access to each page that it has a part of', () => {
    // Two leaves of 2 stores in tables that are there.
    expect(fault(mapped(8 * PAGE, PAGE), 8.5 * PAGE, PAGE)).toEqual({ FaultTranslation: 2, [STORES]: 4 });
  });

  it('what is beyond the addresses of the guest faults to it, what is before is mapped', () => {
    const machine = mapped(PAGE, PAGE);
    // The last page of 40 bits: two tables and a leaf; then one fault that changes nothing and ends the row.
    expect(fault(machine, 2 ** 40 - PAGE, 3 * PAGE)).toEqual({ FaultTranslation: 2, [STORES]: 6 });
    const beyond = machine.counted(['FaultTranslation', STORES], () => range(machine, 'WriteProtect', 0, 2 ** 41));
    // Both pages are protected.
    expect(beyond).toEqual({ FaultTranslation: 0, [STORES]: 2 });
    expect(machine.violations()).toEqual({});
  });

  it('a range ends with the addresses of the guest, however long it is', () => {
    const machine = mapped(PAGE, PAGE, { costs: { WalkStep: 1 } });
    const [whole, more] = [40, 62].map(
      (bits) => machine.counted(['CyclesMaintenance'], () => range(machine, 'Split', 0, 2 ** bits)).CyclesMaintenance,
    );
    expect(more).toBe(whole);
  });

  it('a guest that is made where one has the number takes its place', () => {
    const machine = mapped(PAGE, PAGE);
    machine.create();
    expect(fault(machine, 0, PAGE)).toEqual({ FaultTranslation: 1, [STORES]: 6 });
    machine.destroy();
    expect([machine.tablePages(), machine.violations()]).toEqual([0, {}]);
  });

  it('a guest whose whole memory is taken away has it elsewhere, in the same sizes', () => {
    const machine = mapped(GIB, GIB);
    range(machine, 'Unmap', 0, 2 ** 40);
    machine.run();
    // A block of 1G again: one leaf in the root.
    const again = machine.counted(['FaultTranslation', STORES], () => machine.fault(0, 0, GIB, GIB));
    expect(again).toEqual({ FaultTranslation: 1, [STORES]: 2 });
    // When 2M of it have moved alone there are only blocks of 2M: a table, a leaf.
    range(machine, 'Unmap', BLOCK, BLOCK);
    machine.run();
    const smaller = machine.counted(['FaultTranslation', STORES], () => machine.fault(0, 0, GIB, GIB));
    expect(smaller).toEqual({ FaultTranslation: 1, [STORES]: 4 });
    expect(machine.violations()).toEqual({});
  });
});

// KVM: floor((bits - 8) / index bits) levels, at least 2 (stage2_pgtable_levels), the first with what is left of the bits.
it.each([
  [12, 32, 2 ** 11 / 512, 2],
  [12, 39, 1, 3],
  [12, 40, 2, 3],
  [12, 43, 16, 3],
  [12, 44, 1, 4],
  [12, 48, 1, 4],
  [12, 52, 16, 4],
  [14, 40, 16, 2],
  [14, 44, 1, 3],
  [14, 48, 2, 3],
  [14, 52, 1, 4],
  // 24 / 13 is 1: two levels all the same.
  [16, 32, 1, 2],
  [16, 44, 4, 2],
  [16, 48, 1, 3],
  [16, 52, 1, 3],
] as const)(
  'pages of 2^%i bytes: a guest of %i bits has a root of %i pages and %i levels',
  (shift, bits, pages, levels) => {
    const machine = new Stage2Machine({ cpus: 1, pageShift: shift });
    machine.create(1, bits);
    expect((machine.tablePages() * PAGE) / 2 ** shift).toBe(pages);
    const counted = machine.counted([STORES], () => machine.fault(0, 0, PAGE));
    expect(counted).toEqual({ [STORES]: 2 * levels });
  },
);

it.each([
  // KVM_PGTABLE_MIN_BLOCK_LEVEL: level 1 with 4K pages, else level 2.
  [12, 2 ** 30],
  [14, 2 ** 25],
  [16, 2 ** 29],
] as const)('pages of 2^%i bytes: the largest block has %i bytes', (shift, bytes) => {
  const machine = new Stage2Machine({ cpus: 1, pageShift: shift });
  machine.create(1, 48);
  for (const ipa of [0, bytes - 2 ** shift, bytes]) machine.fault(0, ipa, 2 ** shift, 2 ** 42);
  // One for the first block, one for the next.
  expect(machine.counted(['FaultTranslation'], () => {})).toEqual({ FaultTranslation: 2 });
});

it('an access-flag fault takes no table, a translation fault one for each level below the root', () => {
  const machine = mapped(PAGE, PAGE, { cpus: 2 });
  range(machine, 'Age', 0, PAGE);
  machine.run();
  const pages = machine.tablePages();
  machine.fault(1, 0, PAGE, PAGE, 2);
  machine.run();
  expect(machine.counter('FaultAccess_Flag', 1)).toBe(1);
  expect(machine.tablePages()).toBe(pages);
  machine.fault(1, PAGE, PAGE);
  machine.run();
  expect(machine.tablePages()).toBe(pages + 2);
});

it('a leaf that has become old is no leaf that is there: mapping it again breaks it', () => {
  // stage2_pte_needs_update: the access flag is no permission. CPU 1 ages the page that CPU 0 has found missing, when CPU 2 has mapped it.
  const costs = { FaultOutside: 1000, WalkStep: 1 };
  const machine = mapped(PAGE, PAGE, { cpus: 3, costs: { ...costs, TlbiLocal: 600 } });
  machine.fault(2, PAGE, PAGE);
  // Both find the page missing, CPU 0 at 600: it maps from 1600 on, CPU 2 at 1000, CPU 1 ages at 1200.
  for (const vcpu of [0, 1]) machine.event('VcpuLoad', 0, vcpu, 1);
  machine.fault(0, PAGE, PAGE, PAGE, 2);
  for (const vcpu of [0, 1, 2]) machine.event('VcpuLoad', 1, vcpu, 1);
  range(machine, 'Age', PAGE, PAGE, 1);
  const counted = machine.counted(['FaultTranslation', 'FaultAccess_Flag', IPA], () => {});
  expect(counted).toEqual({ FaultTranslation: 2, FaultAccess_Flag: 0, [IPA]: 1 });
  expect(machine.violations()).toEqual({});
});

it('a class of fault that finds its page mapped is no refault', () => {
  const machine = mapped(BLOCK, BLOCK);
  range(machine, 'WriteProtect', 0, BLOCK);
  machine.run();
  machine.fault(0, 0, PAGE, PAGE, 1);
  machine.run();
  range(machine, 'WriteProtect', 0, PAGE);
  machine.run();
  const counted = machine.counted(['FaultPermission', 'FaultRefault'], () => machine.fault(0, 0, PAGE, PAGE, 1));
  expect(counted).toEqual({ FaultPermission: 1, FaultRefault: 0 });
});

it('eager splits of a protected block leave its pages protected', () => {
  const machine = mapped(BLOCK, BLOCK, { options: ['EagerSplit'] });
  range(machine, 'WriteProtect', 0, BLOCK);
  machine.run();
  const counted = machine.counted(['FaultPermission', STORES], () => machine.fault(0, 0, 4 * PAGE, PAGE, 1));
  expect(counted).toEqual({ FaultPermission: 4, [STORES]: 4 });
});

it('what has been freed is deferred no more', () => {
  const machine = mapped(PAGE, PAGE, { costs: { GracePeriod: 1, FaultOutside: 100 } });
  for (let round = 0; round < 3; round++) {
    range(machine, 'WriteProtect', 0, BLOCK);
    machine.run();
    // The block takes the table's place, and the grace period ends within the next fault.
    machine.fault(0, 0, BLOCK, BLOCK, 1);
    machine.fault(0, (round + 1) * GIB, PAGE);
    range(machine, 'WriteProtect', 0, BLOCK);
    machine.fault(0, 0, PAGE, PAGE, 1);
    machine.run();
  }
  expect(machine.counter('MaintenanceDeferred_Max')).toBe(PAGE);
});

it('a guest that takes another one up has run nowhere yet', () => {
  // Limited to the CPUs of a guest: the first guest ran on both CPUs, the one that takes its place only on CPU 0, so CPU 1's flush does not delay it.
  const machine = new Stage2Machine({ cpus: 2, options: ['TlbiOfVm'], costs: { TlbiBroadcast: 100 } });
  machine.create(1);
  for (const cpu of [0, 1]) machine.event('VcpuLoad', cpu, cpu, 1);
  machine.destroy(1);
  for (const vm of [1, 2]) machine.create(vm);
  const each = (name: string, ...more: number[]) => {
    for (const cpu of [0, 1]) machine.event(name, cpu, 0, BLOCK, cpu + 1, ...more);
    machine.run();
  };
  each('Stage2Fault', 0, BLOCK);
  each('Stage2WriteProtect');
  for (const cpu of [0, 1]) machine.event('Stage2Fault', cpu, 0, PAGE, cpu + 1, 1, PAGE);
  // Two TLBI of 100 cycles each.
  expect(machine.counted(['MaintenanceBlackout'], () => {})).toEqual({ MaintenanceBlackout: 400 });
});

// The fault notes the sequence at 0 and has the lock at 1000; the notifier takes another page away meanwhile. user_mem_abort asks for it, handle_access_fault does not.
it.each([
  ['a permission fault', 1, 'WriteProtect', 'FaultPermission', 2, 1],
  ['an access-flag fault', 2, 'Age', 'FaultAccess_Flag', 1, 0],
])('a notifier that ran since sends %s back or not', (_, faultClass, prepare, stat, faults, retries) => {
  const machine = mapped(2 * PAGE, PAGE, { cpus: 2, costs: { FaultOutside: 1000 } });
  range(machine, prepare, 0, PAGE);
  machine.run();
  machine.fault(0, 0, PAGE, PAGE, faultClass);
  range(machine, 'Unmap', PAGE, PAGE, 1);
  expect(machine.counted([stat, 'FaultRetry'], () => {})).toEqual({ [stat]: faults, FaultRetry: retries });
});

it('a flag that hardware has set is there for the next CPU', () => {
  const machine = mapped(PAGE, PAGE, { cpus: 2, options: ['HardwareAf'] });
  range(machine, 'Age', 0, PAGE);
  machine.run();
  for (const cpu of [0, 1]) {
    machine.fault(cpu, 0, PAGE, PAGE, 2);
    machine.run();
  }
  expect(machine.counter('WalkUpdates')).toBe(1);
});
