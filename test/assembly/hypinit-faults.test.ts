// hyp-init: what must hold wherever the init page is, and what must be found when a part of the scheme is missing (MODEL 5.3, 5.6, N-10, N-11).

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HypMachine, PAGE, type HypOptions } from './hypMachine.js';

// arm64, 48 bits: HYP addresses are the kernel's lower 48 bits, so the linear map from its first byte on begins at 0.
const KERNEL = 0xffff_0000_0000_0000n;
const INIT_VA = KERNEL + 0x8000n;
/** A stack: two pages at HYP address 0x10_0000, which are elsewhere in memory. */
const STACK = 0x10_0000n;
const STACK_PA = 0x4010_0000n;
const MAPS: [bigint, bigint, bigint][] = [[KERNEL + STACK, STACK_PA, 2n]];
const NO_STEP_D = { inject: ['skip-hyp-tlbi'] };

function started(pa: bigint, system: Record<string, unknown> = {}, options: HypOptions = {}): HypMachine {
  const machine = new HypMachine({ ...options, system });
  machine.begin(INIT_VA, pa, MAPS);
  return machine;
}

/** Init pages: anywhere in 48 bits, and often where the stack's HYP addresses are, or its frames. */
const positions = fc.oneof(
  fc.constantFrom(STACK, STACK + PAGE, STACK + 2n * PAGE, STACK_PA, 0n),
  fc.bigInt(0n, (1n << 36n) - 2n).map((page) => page * PAGE),
);

describe('the scheme of 2013', () => {
  test.each([false, true])('passes wherever the init page is, up and down (adversary: %s)', (specWalks) => {
    fc.assert(
      fc.property(positions, (pa) => {
        const machine = started(pa, { specWalks });
        machine.touch(0, STACK);
        machine.cycle(1);
        machine.touch(1, STACK + PAGE);
        expect(machine.states()).toEqual(['Up', 'Up']);
        expect(machine.violations()).toEqual({});
      }),
      { numRuns: 25 },
    );
  });

  test('P-C2: a hundred times down and up change no byte of tables, and cost a hundred times the same', () => {
    const machine = started(STACK, { specWalks: true });
    const bytes = machine.tableBytes();
    const frames = [STACK, STACK + PAGE, 0xffff_ffff_f000n].map((va) => machine.walk('runtime', va));
    machine.event('cpu_down', 0, 1);
    const first = machine.event('cpu_up', 0, 1);
    for (let i = 0; i < 99; i++) {
      machine.event('cpu_down', 0, 1);
      expect(machine.event('cpu_up', 0, 1)).toEqual(first);
    }
    // The kernel's own root register, and the two writes of 5.4.
    expect(first['maintenance.rootWrite']).toBe(1 + 2);
    expect(machine.tableBytes()).toBe(bytes);
    expect([STACK, STACK + PAGE, 0xffff_ffff_f000n].map((va) => machine.walk('runtime', va))).toEqual(frames);
    expect(machine.violations()).toEqual({});
  });

  test('P-C3: init pages drawn by a seed are pages, differ, and pass', () => {
    const seen = new Set<bigint>();
    for (let hypSeed = 0; hypSeed < 20; hypSeed++) {
      const machine = started(0n, { hypIdmap: 'random', hypSeed, hypArch: 'arm32-lpae' });
      const pa = machine.core.hypInitPa(machine.lane);
      expect(pa % PAGE).toBe(0n);
      expect(pa).toBeLessThan(0xffff_0000n);
      seen.add(pa);
      expect(machine.violations()).toEqual({});
    }
    // Among 2^20 pages 20 draws are expected to have 20 * 19 / 2 / 2^20 = 0.0002 equal pairs.
    expect(seen.size).toBe(20);
  });
});

describe('N-10: without step (d)', () => {
  test('a stale translation is used exactly when the init page is where a page of HYP is that is touched later', () => {
    fc.assert(
      fc.property(positions, fc.subarray([STACK, STACK + PAGE]), fc.boolean(), (pa, touched, load) => {
        const machine = started(pa, NO_STEP_D);
        for (const va of touched) machine.touch(1, va + 0x10n, load ? 1 : 0);
        expect('Stale' in machine.violations()).toBe(touched.includes(pa));
      }),
      { numRuns: 40 },
    );
  });

  test('the adversary has two translations of the page at once exactly when it is mapped for HYP (G5)', () => {
    fc.assert(
      fc.property(positions, (pa) => {
        const machine = started(pa, { ...NO_STEP_D, specWalks: true });
        expect('Conflict' in machine.violations()).toBe(pa === STACK || pa === STACK + PAGE);
      }),
      { numRuns: 25 },
    );
  });

  test('entries of the boot table stay in every case (C-I2), named by the event that left them', () => {
    // Records 0 and 1 are the tables and the stack; record 2 starts CPU 0.
    expect(started(0x7000_0000n, NO_STEP_D).violations()).toEqual({ BootEntry: 2 });
    expect(started(STACK, NO_STEP_D).violations()).toEqual({ BootEntry: 2, IdmapOverlap: 2 });
  });

  test('one TLBI, one DSB and the cold walk after it are what it saves', () => {
    const whole = started(0x7000_0000n).event('cpu_up', 0, 0);
    expect(whole).not.toHaveProperty('maintenance.tlbi.alle2');
    const machine = started(0x7000_0000n, NO_STEP_D);
    machine.event('cpu_down', 0, 1);
    // Root writes: the kernel's one and two; 3 ISB and 1 DSB; walks of the identity mapping and of the trampoline.
    expect(machine.event('cpu_up', 0, 1)).toMatchObject({
      'maintenance.tlbi.alle2': 1,
      'maintenance.barrier': 4,
      'walk.refs': 8,
    });
  });
});

describe('N-11: the boot table is given up', () => {
  test.each(['arm64', 'arm32-lpae'])('the first start passes, the second falls off (%s)', (hypArch) => {
    fc.assert(
      fc.property(fc.bigInt(0x200n, 0xf_ffefn), (page) => {
        const machine = started(page * PAGE, { inject: ['free-boot-table'], hypArch });
        expect(machine.violations()).toEqual({});
        expect(machine.states()).toEqual(['Up', 'Up']);
        machine.event('cpu_down', 0, 1);
        const up = machine.event('cpu_up', 0, 1);
        expect(up['fault.hypTranslation']).toBe(1);
        expect(machine.states()).toEqual(['Up', 'Lost']);
        // Records: tables, stack, two CPUs, down: the start is record 5.
        expect(machine.violations()).toEqual({ FellOff: 5 });
      }),
      { numRuns: 10 },
    );
  });

  test('where the runtime table has another page at that address, the CPU is lost without a fault', () => {
    const machine = started(STACK, { inject: ['free-boot-table'] });
    machine.event('cpu_down', 0, 1);
    expect(machine.event('cpu_up', 0, 1)).not.toHaveProperty('fault.hypTranslation');
    expect(machine.states()[1]).toBe('Lost');
    expect(machine.violations()).toHaveProperty('FellOff', 5);
  });
});

describe('the scheme before 2013', () => {
  const LEGACY = { hypScheme: 'legacy' };
  const ELSEWHERE = 0x7000_0000n;

  test('starts every CPU once; the identity entry outlives its descriptor', () => {
    const machine = started(ELSEWHERE, LEGACY);
    expect(machine.states()).toEqual(['Up', 'Up']);
    expect(machine.address('runtime', ELSEWHERE)).toBeNull();
    expect(machine.violations()).toEqual({ Stale: 2 });
  });

  test('a CPU that comes back jumps to an address that is not mapped', () => {
    const machine = started(ELSEWHERE, LEGACY);
    machine.event('cpu_down', 0, 1);
    // One table, no TLBI at EL2: the kernel's root and HYP's, and a walk that ends at the first descriptor that is not valid.
    expect(machine.event('cpu_up', 0, 1)).toMatchObject({ 'maintenance.rootWrite': 2, 'fault.hypTranslation': 1 });
    expect(machine.states()).toEqual(['Up', 'Lost']);
    expect(machine.violations()).toMatchObject({ FellOff: 5 });
  });

  test('what is mapped later at the address of the init page is shadowed', () => {
    const machine = started(ELSEWHERE, LEGACY);
    machine.event('hyp_map', 0, KERNEL + ELSEWHERE, STACK_PA + 2n * PAGE, 1n);
    expect(machine.touch(0, ELSEWHERE)).not.toHaveProperty('walk.refs');
    expect(machine.violations()).toMatchObject({ Stale: 2, IdmapOverlap: 4 });
  });

  test('what was mapped there before is overwritten, and then gone', () => {
    const machine = started(STACK, LEGACY);
    expect(machine.violations()).toHaveProperty('IdmapOverlap', 2);
    expect(machine.address('runtime', STACK)).toBeNull();
  });

  test('an unmapping leaves the entries of EL2', () => {
    const machine = started(ELSEWHERE, LEGACY, { cpus: 1 });
    machine.touch(0, STACK);
    expect(machine.event('hyp_unmap', 0, KERNEL + STACK, STACK_PA, 2n)).not.toHaveProperty('maintenance.trap');
    expect(machine.touch(0, STACK)).not.toHaveProperty('fault.hypTranslation');
  });
});

describe('the adversary', () => {
  const ELSEWHERE = 0x7000_0000n;

  test('leaves a CPU that goes down what its TLB held: without a TLBI it starts on an entry that is no more', () => {
    for (const specWalks of [false, true]) {
      const machine = started(ELSEWHERE, { hypScheme: 'legacy', specWalks });
      machine.cycle(1);
      expect(machine.states()).toEqual(['Up', specWalks ? 'Up' : 'Lost']);
      expect(machine.violations()).toHaveProperty('FellOff', 5);
    }
  });

  test('takes a page when it is mapped, so that one that EL2 is not told of leaving is found at once', () => {
    for (const specWalks of [false, true]) {
      const machine = started(ELSEWHERE, { specWalks });
      machine.event('cpu_down', 1, 0);
      machine.event('hyp_map', 0, KERNEL + 0x30_0000n, STACK_PA + 2n * PAGE, 1n);
      // CPU 0 is not up: no HVC.
      machine.event('hyp_unmap', 0, KERNEL + 0x30_0000n, STACK_PA + 2n * PAGE, 1n);
      // Records: tables, stack, two CPUs, down, map.
      expect(machine.violations()).toEqual(specWalks ? { Stale: 6 } : {});
    }
  });

  test.each(['legacy', 'trampoline', 'merged', 'pkvm-switch'])('to be suspended is to go down (%s)', (hypScheme) => {
    const events = (down: string, up: string) => {
      const machine = started(ELSEWHERE, { hypScheme, specWalks: true });
      machine.event(down, 1, 1);
      const states = machine.states();
      const counted = machine.event(up, 1, 1);
      return { states, counted, after: machine.states(), violations: machine.violations() };
    };
    const suspended = events('cpu_suspend', 'cpu_resume');
    expect(suspended.states).toEqual(['Up', 'Stub']);
    expect(suspended).toEqual(events('cpu_down', 'cpu_up'));
  });
});

describe('one table', () => {
  const MERGED = { hypScheme: 'merged', specWalks: true };

  test.each(['merged', 'pkvm-switch'])('%s passes wherever the init page is on arm64', (hypScheme) => {
    fc.assert(
      fc.property(positions, (pa) => {
        const machine = new HypMachine({ system: { ...MERGED, hypScheme } });
        machine.begin(INIT_VA, pa, MAPS);
        // kern_hyp_va: the half of the addresses in which the init page is not.
        const stack = (pa >> 47n) & 1n ? STACK : STACK | (1n << 47n);
        machine.touch(0, stack);
        machine.cycle(1);
        expect(machine.address('runtime', stack)).toBe(STACK_PA);
        expect(machine.states()).toEqual(['Up', 'Up']);
        expect(machine.violations()).toEqual({});
      }),
      { numRuns: 20 },
    );
  });

  test('C-I5: a CPU that stays on the old table when pKVM makes another is found', () => {
    const machine = started(0x7000_0000n, { hypScheme: 'pkvm-switch', inject: ['skip-table-switch'] });
    // The first CPU is alone up when it takes the hypervisor's table; the second starts on that.
    expect(machine.violations()).toEqual({});
    // Records: tables, stack, two CPUs.
    machine.event('hyp_init', 0, INIT_VA, 0x7000_0000n);
    expect(machine.violations()).toEqual({ RuntimeRoot: 4 });
  });

  test('on arm32 the kernel gives up when the init page is within the HYP addresses of its memory', () => {
    // PAGE_OFFSET 3 GiB, 512 MiB of memory: 0xc0000000 to 0xdfffffff, the last byte excluded.
    const system = { hypScheme: 'merged', hypArch: 'arm32-lpae', hypMemoryBytes: '512M' };
    const machine = new HypMachine({ system });
    expect(machine.event('hyp_init', 0, 0xc000_8000n, 0xd000_0000n)).toMatchObject({ 'fault.hypRefused': 1 });
    machine.event('hyp_init', 0, 0xc000_8000n, 0xd000_0000n);
    machine.event('hyp_map', 0, 0xc000_8000n, 0x8000_8000n, 1n);
    expect(machine.states()).toEqual(['Stub', 'Stub']);
    expect(machine.tableBytes()).toBe(0);
    // Where the kernel's own address of the page is its physical one, both are the same mapping.
    const same = new HypMachine({ system });
    same.begin(0xd000_0000n, 0xd000_0000n);
    expect(same.states()).toEqual(['Up', 'Up']);
    expect(same.violations()).toEqual({});
  });

  test('what is mapped at the address of the init page outside of the linear map is found (C-I3)', () => {
    const pa = 0xf800_0000n;
    const machine = new HypMachine({ system: { hypScheme: 'merged', hypArch: 'arm32-lpae' } });
    machine.begin(0xc000_8000n, pa);
    machine.event('hyp_map', 0, pa, 0x8000_0000n, 1n);
    // Records: tables, two CPUs.
    expect(machine.violations()).toHaveProperty('IdmapOverlap', 3);
  });
});
