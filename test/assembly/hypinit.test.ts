// hyp-init in the core: the tables of each geometry, what starting a CPU does step by step and costs (MODEL 5.1 to 5.4).

import { describe, expect, test } from 'vitest';
import { HypMachine, PAGE } from './hypMachine.js';

const ARM32 = { hypArch: 'arm32-lpae' };
// A kernel with 3 GiB for users, whose memory begins at 2 GiB; its init page is the kernel's own alias of the page at 0x80008000.
const VA32 = 0xc000_8000n;
const PA32 = 0x8000_8000n;
const TRAMPOLINE32 = 0xffff_0000n;
// Linear map of arm64 with 48 bits, memory from 1 GiB on.
const VA64 = 0xffff_0000_0000_8000n;
const PA64 = 0x4000_8000n;
const TRAMPOLINE64 = 0xffff_ffff_f000n;
// arm64: bits 47:0; as kern_hyp_va before 4.8 keeps them.
const hyp64 = (va: bigint) => va & 0xffff_ffff_ffffn;
const STACK64 = 0xffff_0000_0010_0000n;
const STACK32 = 0xc010_0000n;

describe('tables', () => {
  test('arm32: two tables of one root page, and a page table and its directory for each 1 GiB that is mapped', () => {
    const machine = new HypMachine({ system: ARM32 });
    machine.event('hyp_init', 0, VA32, PA32);
    // Boot: root; the identity mapping in root entry 2 and the trampoline in entry 3, a directory and a table each: 5.
    // Runtime: root and the trampoline's two: 3. Together 8 pages.
    expect(machine.tableBytes()).toBe(8 * 4096);
    expect(machine.address('boot', PA32)).toBe(PA32);
    expect(machine.address('boot', TRAMPOLINE32)).toBe(PA32);
    expect(machine.address('runtime', TRAMPOLINE32)).toBe(PA32);
    expect(machine.address('runtime', PA32)).toBeNull();
    // Valid, page, AP[1], inner shareable, AF: 0x743. Three levels: start level 1.
    const walk = machine.walk('runtime', TRAMPOLINE32);
    expect(walk).toHaveLength(3);
    expect(walk[2]).toBe(PA32 | 0x743n);
    expect(walk.slice(0, 2).map((entry) => entry & 0xfffn)).toEqual([3n, 3n]);
  });

  test('arm64 with 48 bits: four levels, and the trampoline in the last page', () => {
    const machine = new HypMachine();
    machine.event('hyp_init', 0, VA64, PA64);
    // Boot: root, 3 for the identity mapping (root entry 0), 3 for the trampoline (entry 511): 7. Runtime: 1 + 3. 11 pages.
    expect(machine.tableBytes()).toBe(11 * 4096);
    expect(machine.walk('boot', PA64)).toHaveLength(4);
    expect(machine.address('runtime', TRAMPOLINE64)).toBe(PA64);
  });

  test('memory above 39 address bits: a further top level leads to both tables, and CPUs stay on it', () => {
    const high = 0x80_4000_8000n;
    const machine = new HypMachine({ vaBits: 39 });
    machine.begin(0xffff_ff80_0000_8000n, high, [[0xffff_ff80_0010_0000n, 0x80_4010_0000n, 1n]]);
    expect(machine.states()).toEqual(['Up', 'Up']);
    // The boot table translates the 39 lower bits: 0x40008000 and the trampoline at the end of them. Root, 2 and 2 pages: 5.
    // Runtime: root, 2 for the trampoline, 2 for the stack: 5. The level above both: 1.
    expect(machine.tableBytes()).toBe(11 * 4096);
    expect(machine.address('boot', high & 0x7f_ffff_ffffn)).toBe(high);
    // A cold walk from the top: 4 descriptors.
    expect(machine.touch(0, 0x10_0000n)).toMatchObject({ 'walk.refs': 4 });
    expect(machine.violations()).toEqual({});
  });

  test('a second init page starts over, with as many tables', () => {
    const machine = new HypMachine();
    machine.begin(VA64, PA64, [[STACK64, PA64, 3n]]);
    const bytes = machine.tableBytes();
    machine.begin(VA64, PA64 + PAGE, [[STACK64, PA64, 3n]]);
    expect(machine.tableBytes()).toBe(bytes);
    expect(machine.address('boot', PA64 + PAGE)).toBe(PA64 + PAGE);
    expect(machine.address('boot', PA64)).toBeNull();
  });
});

describe('starting a CPU', () => {
  const costs = { hvc: 1_000_000, rootWrite: 10_000, tlbiLocal: 1000, isb: 100, dsb: 10 };

  test('two tables: 2 TTBR writes, 2 TLBI ALLE2, 3 ISB and 2 DSB, one HVC', () => {
    const machine = new HypMachine({ costs });
    machine.event('hyp_init', 0, VA64, PA64);
    // Fetches: the identity mapping after (a), the trampoline after (b), the same after (c) from the TLB, and cold after (d): 3 walks
    // of 4 levels. Cycles: 1 HVC, 2 root writes, 2 TLBI, 3 ISB, 2 DSB.
    expect(machine.event('hyp_init', 0, VA64, PA64)).toMatchObject({
      'maintenance.rootWrite': 2,
      'maintenance.tlbi.alle2': 2,
      'maintenance.barrier': 5,
      'maintenance.trap': 1,
      'walk.count': 3,
      'walk.refs': 12,
      'walk.levels.0': 3,
      'walk.levels.3': 3,
      'cycles.maintenance': 1_000_000 + 2 * 10_000 + 2 * 1000 + 3 * 100 + 2 * 10,
    });
    expect(machine.states()).toEqual(['Up', 'Stub']);
    expect(machine.violations()).toEqual({});
  });

  test('arm32: a second HVC, and walks of 3 levels', () => {
    const machine = new HypMachine({ system: ARM32, costs });
    machine.event('hyp_init', 0, VA32, PA32);
    // The second call enters by the identity mapping, which is in the TLB: 3 walks of 3 levels.
    expect(machine.event('hyp_init', 0, VA32, PA32)).toMatchObject({
      'maintenance.rootWrite': 2,
      'maintenance.tlbi.alle2': 2,
      'maintenance.barrier': 5,
      'maintenance.trap': 2,
      'walk.count': 3,
      'walk.refs': 9,
    });
  });

  test('after (d) stack, vectors and text are walked for anew, once each', () => {
    const machine = new HypMachine();
    machine.begin(VA64, PA64, [[STACK64, PA64 + 16n * PAGE, 2n]]);
    const { 'walk.refs': cold, 'tlb.l1d.miss': misses } = machine.touch(1, hyp64(STACK64));
    expect([cold, misses]).toEqual([4, 1]);
    expect(machine.touch(0, hyp64(STACK64) + PAGE, 0)).toMatchObject({ 'walk.refs': 4, 'tlb.l1i.miss': 1 });
    machine.cycle(1);
    expect(machine.touch(1, hyp64(STACK64))).toMatchObject({ 'walk.refs': 4 });
    expect(machine.touch(1, hyp64(STACK64) + 8n)).not.toHaveProperty('walk.refs');
  });

  test('the vectors of a CPU that is up stay, whatever is asked', () => {
    const machine = new HypMachine();
    machine.begin(VA64, PA64);
    expect(machine.event('hyp_init', 0, VA64, PA64)).toEqual({});
  });

  test('one table: no switch, one TLBI', () => {
    const machine = new HypMachine({ system: { hypScheme: 'merged' } });
    machine.event('hyp_init', 0, VA64, PA64);
    // Barriers: 2 ISB, 1 DSB. One walk, for the identity mapping.
    expect(machine.event('hyp_init', 0, VA64, PA64)).toMatchObject({
      'maintenance.rootWrite': 1,
      'maintenance.tlbi.alle2': 1,
      'maintenance.barrier': 3,
      'walk.count': 1,
    });
    expect(machine.address('runtime', PA64)).toBe(PA64);
    // Bit 47 of the init page is 0, so HYP's own addresses have it set: kern_hyp_va of 4.8.
    machine.event('hyp_map', 0, STACK64, PA64, 1n);
    expect(machine.address('runtime', 0x8000_0010_0000n)).toBe(PA64);
  });

  test('pKVM takes its own table with the MMU off, and again when asked', () => {
    const machine = new HypMachine({ system: { hypScheme: 'pkvm-switch' } });
    machine.begin(VA64, PA64, [[STACK64, PA64 + PAGE, 1n]]);
    const bytes = machine.tableBytes();
    expect(machine.states()).toEqual(['Up', 'Up']);
    // Both CPUs: an HVC, ISB, TLBI ALLE2, TTBR0_EL2, DSB, ISB. One more DSB for the stores of the new table.
    // Walks: both return to the identity address through an empty TLB.
    expect(machine.event('hyp_init', 1, VA64, PA64)).toMatchObject({
      'maintenance.rootWrite': 2,
      'maintenance.tlbi.alle2': 2,
      'maintenance.barrier': 2 * 3 + 1,
      'maintenance.trap': 2,
      'walk.count': 2,
    });
    expect(machine.tableBytes()).toBe(bytes);
    machine.touch(0, 0x8000_0010_0000n);
    machine.cycle(0);
    expect(machine.violations()).toEqual({});
  });
});

describe('mapping at run time', () => {
  test('a mapping needs no TLBI; an unmapping asks HYP for one per page', () => {
    const machine = new HypMachine();
    machine.begin(VA64, PA64, [[STACK64, PA64, 2n]]);
    const bytes = machine.tableBytes();
    const va = 0xffff_0080_0000_0000n;
    const mapped = machine.event('hyp_map', 1, va, PA64, 2n);
    // A new entry of the root (512 GiB), two tables below it, and two pages: 3 + 2 stores; one DSB.
    expect(mapped).toMatchObject({ 'maintenance.tableStore': 5, 'maintenance.barrier': 1 });
    expect(Object.keys(mapped).filter((key) => key.startsWith('maintenance.tlbi'))).toEqual([]);
    machine.touch(0, hyp64(va));
    // Two pages and the three entries above them, which are empty then.
    expect(machine.event('hyp_unmap', 1, va, PA64, 2n)).toMatchObject({
      'maintenance.tableStore': 5,
      'maintenance.trap': 1,
      'maintenance.tlbi.vae2is': 2,
      'maintenance.barrier': 3,
    });
    expect(machine.tableBytes()).toBe(bytes);
    expect(machine.touch(0, hyp64(va))).toMatchObject({ 'fault.hypTranslation': 1 });
    expect(machine.violations()).toEqual({});
  });

  test('an entry that is valid must not be changed', () => {
    const machine = new HypMachine();
    machine.begin(VA64, PA64, [[STACK64, PA64, 1n]]);
    machine.event('hyp_map', 0, STACK64, PA64, 1n);
    expect(machine.violations()).toEqual({});
    // Events so far: tables, a mapping, two CPUs, the same mapping; record 5 is the one at fault.
    machine.event('hyp_map', 0, STACK64, PA64 + PAGE, 1n);
    expect(machine.violations()).toEqual({ BreakBeforeMake: 5 });
  });

  test('C-I4: nothing else may use the trampoline', () => {
    const machine = new HypMachine({ system: ARM32 });
    machine.begin(VA32, PA32);
    machine.event('hyp_map', 0, TRAMPOLINE32, PA32 + PAGE, 1n);
    expect(machine.violations()).toHaveProperty('Trampoline', 3);
    // A CPU that starts now has the boot table's entry until (d), but TTBR0_EL2 says otherwise at (c): record 5.
    machine.event('cpu_down', 0, 1);
    machine.event('cpu_up', 0, 1);
    expect(machine.violations()).toHaveProperty('FellOff', 5);
    expect(machine.states()).toEqual(['Up', 'Lost']);
  });

  test('C-I6: on arm32 the init page is not in the last 64 KiB', () => {
    const last = new HypMachine({ system: ARM32 });
    last.begin(VA32, 0xffff_1000n);
    expect(last.violations()).toHaveProperty('LastPages', 0);
    const before = new HypMachine({ system: ARM32 });
    before.begin(VA32, 0xfffe_f000n);
    expect(before.violations()).toEqual({});
  });
});

test('a row at EL2 of a CPU whose MMU is off there is not translated', () => {
  const machine = new HypMachine({ system: ARM32 });
  machine.event('hyp_init', 0, VA32, PA32);
  expect(machine.touch(0, STACK32)).toEqual({ 'access.load': 1, 'tlb.l1d.hit': 1 });
});
