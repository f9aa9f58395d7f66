// Every checker of the text-replication systems fires when its fault is built in, with the record of the event that broke the invariant, alone; and is
// silent without the fault.

import { describe, expect, it } from 'vitest';
import {
  ARM,
  ARM_BASE,
  ARM_TEXT,
  armImage,
  BATCH,
  IMAGE,
  KB,
  KernelMachine,
  type KernelOptions,
  MB,
  NO_SYNC,
  READ,
  UNKNOWN,
  VMALLOC,
  X86,
  X86_TEXT,
  x86Image,
} from './kernels.js';

const x86 = (options: Partial<KernelOptions> = {}) =>
  new KernelMachine({ paging: X86, image: x86Image(), options: ['Rodata', 'Modules'], ...options });
const MENDED = ['Rodata', 'RoProtect', 'SyncImageUnmap'];
const arm = (options: Partial<KernelOptions> = {}) =>
  new KernelMachine({ paging: ARM, image: armImage(), options: MENDED, ...options });

const USER = 1n << 40n;

/** Runs a scenario, which returns the record of its event, with a fault and without it. */
function fires(check: string, fault: string, scenario: (faults: string[]) => [KernelMachine, bigint]): void {
  const [broken, record] = scenario([fault]);
  expect(broken.violations()).toEqual({ [check]: record });
  const [sound] = scenario([]);
  expect(sound.violations()).toEqual({});
}

describe('faults', () => {
  it.each([
    ['x86-64', x86, X86_TEXT, BATCH],
    ['arm64', arm, ARM_TEXT, NO_SYNC],
  ])('%s: a patch that skips one copy is a divergence', (_, make, va, method) => {
    fires('Divergence', 'SkipReplicaPatch', (faults) => {
      const kernel = make({ faults, nodes: 3 });
      kernel.event('boot');
      kernel.touch(va, { cpu: 2, kind: 0 });
      return [kernel, kernel.event('text_patch', { va, arg: 4n, more: [method, 1n] })];
    });
  });

  it.each([
    ['x86-64', x86, X86_TEXT],
    ['x86-64, a page of a 2M leaf', x86, X86_TEXT + 20n * KB],
    ['arm64', arm, ARM_BASE + 2n * MB],
  ])('%s: text that becomes not executable without a flush is stale', (_, make, va) => {
    fires('Stale', 'SkipSetMemoryTlbi', (faults) => {
      const kernel = make({ faults });
      kernel.event('boot');
      for (const cpu of [0, 1]) kernel.touch(va, { cpu, kind: 0 });
      return [kernel, kernel.event('set_memory', { va, arg: 1n, more: [READ] })];
    });
  });

  it('memory that becomes read-only without a flush is stale', () => {
    fires('Stale', 'SkipSetMemoryTlbi', (faults) => {
      const kernel = x86({ faults });
      const va = X86_TEXT + 16n * MB;
      kernel.touch(va, { cpu: 1, kind: 2 });
      return [kernel, kernel.event('set_memory', { va, arg: 512n, more: [READ] })];
    });
  });

  it('roots that differ under CnP in one domain of all CPUs are shared wrongly', () => {
    fires('Sharing', 'CnpAcrossNodes', (faults) => {
      const kernel = arm({ faults, options: [...MENDED, 'Cnp'] });
      return [kernel, kernel.event('boot')];
    });
    const alike = arm({ faults: ['CnpAcrossNodes'], options: [...MENDED, 'Cnp'], replicate: false });
    alike.event('boot');
    expect(alike.violations()).toEqual({});
  });

  it.each([[[]], [['Kpti']]])(
    "a user's top-level entry that further roots do not get is a livelock (%j)",
    (options) => {
      fires('Livelock', 'SkipPudSync', (faults) => {
        const kernel = x86({ faults, options });
        kernel.event('mm_create', { va: 1n, arg: 1n });
        return [kernel, kernel.event('user_pud_alloc', { va: USER, arg: 1n })];
      });
    },
  );

  it("a top-level entry of the kernel's half that further roots do not get: the roots disagree", () => {
    fires('RootSync', 'SkipPudSync', (faults) => {
      const kernel = arm({ faults });
      return [kernel, kernel.event('kmap', { va: 0xffff_c000_0000_0000n, arg: 1n, more: [4n * KB, VMALLOC] })];
    });
  });

  it('a top-level entry that is cleared in one root only leads to freed tables', () => {
    fires('UseAfterFree', 'SkipPudClear', (faults) => {
      const kernel = x86({ faults });
      kernel.event('ctx_switch', { cpu: 1, va: 1n, arg: 1n });
      kernel.event('user_pud_alloc', { cpu: 1, va: USER, arg: 1n });
      kernel.event('user_map', { cpu: 1, va: USER, arg: 4n, more: [1n, UNKNOWN] });
      kernel.touch(USER, { cpu: 1, mode: 0, asid: 1 });
      kernel.touch(USER, { cpu: 0, mode: 0, asid: 1 });
      return [kernel, kernel.event('user_pud_free', { va: USER, arg: 1n })];
    });
  });

  it('a new top-level entry goes into every root, whatever stood there', () => {
    const kernel = x86({ faults: ['SkipPudClear'] });
    kernel.event('mm_create', { va: 1n, arg: 1n });
    kernel.event('user_pud_alloc', { va: USER, arg: 1n });
    kernel.event('user_pud_free', { va: USER, arg: 1n });
    const checked = kernel.core.violationCount(kernel.lane, kernel.core.Check.UseAfterFree);
    // Others get the pages that were freed.
    kernel.event('mm_create', { va: 2n, arg: 2n });
    kernel.event('user_pud_alloc', { va: USER, arg: 1n });
    expect(kernel.walk(USER, 1, 1)[0].value).toBe(kernel.walk(USER, 0, 1)[0].value);
    expect(checked).toBe(1n);
    expect(Object.keys(kernel.violations())).toEqual(['UseAfterFree']);
  });

  it('global entries survive a mere reload of CR3 when the copies are taken', () => {
    const scenario = (faults: string[], paging: object): [KernelMachine, bigint] => {
      const kernel = x86({ faults, paging, later: true });
      for (const cpu of [0, 1]) kernel.touch(X86_TEXT + 8n * MB, { cpu });
      return [kernel, kernel.event('boot')];
    };
    fires('Stale', 'SkipGlobalFlush', (faults) => scenario(faults, X86));
    // Pages that are not global leave with the reload.
    const [kernel] = scenario(['SkipGlobalFlush'], { ...X86, global: 'none' });
    expect(kernel.violations()).toEqual({});
  });

  it.each([
    ['x86-64', x86, X86_TEXT + 14n * MB],
    ['arm64', arm, ARM_TEXT + 12n * MB + 64n * KB],
  ])('%s: init memory that is freed in one view only is a divergence', (_, make, va) => {
    fires('Divergence', 'FreeInitMasterOnly', (faults) => {
      const kernel = make({ faults });
      kernel.event('boot');
      kernel.touch(va, { cpu: 1 });
      return [kernel, kernel.event('kunmap', { va, arg: 256n, more: [4n * KB, IMAGE] })];
    });
  });
});

describe('what the arm64 series leaves open', () => {
  it('without syncImageUnmap freed init memory stays mapped in the other views', () => {
    const kernel = arm({ options: ['Rodata', 'RoProtect'] });
    kernel.event('boot');
    const record = kernel.event('kunmap', { va: ARM_TEXT + 12n * MB + 64n * KB, arg: 256n, more: [4n * KB, IMAGE] });
    expect(kernel.violations()).toEqual({ Divergence: record });
  });

  it('without roProtect copies of read-only data can be written', () => {
    const kernel = arm({ options: ['Rodata', 'SyncImageUnmap'] });
    expect(kernel.violations()).toEqual({});
    expect(kernel.event('boot')).toBe(0n);
    expect(kernel.violations()).toEqual({ Writable: 0n });
    // Read-only (AP[2]) in the kernel's own tables.
    const rodata = ARM_BASE + 10n * MB;
    expect([0, 1].map((view) => (kernel.leaf(rodata, view) >> 7n) & 1n)).toEqual([1n, 0n]);
  });
});

describe('what is known of TLB entries', () => {
  it('is not held against an entry that was made anew', () => {
    // The first level has one page of 4K, the second level takes 2M. A page enters the first level from a walk as writable and makes room for
    // another; then both levels are flushed. It comes back from the second level, which the other page's walk has filled.
    const tlb = { l1d: { sets: 1, ways: 1, pages: ['4K'] }, l2: { sets: 1, ways: 4 } };
    const kernel = x86({ machine: { tlb } });
    const [page, other] = [X86_TEXT + 16n * MB, X86_TEXT + 16n * MB + 4n * KB];
    expect(kernel.touch(page)['walk.count']).toBe(1);
    expect(kernel.touch(other)['tlb.l2.hit']).toBe(1);
    kernel.event('set_memory', { va: page, arg: 512n, more: [READ] });
    expect(kernel.touch(other)['walk.count']).toBe(1);
    expect(kernel.touch(page)['tlb.l2.hit']).toBe(1);
    kernel.event('kernel_enter');
    expect(kernel.violations()).toEqual({});
  });

  it('a stale entry is found once, a divergence after every event', () => {
    const kernel = x86({ faults: ['SkipSetMemoryTlbi', 'SkipReplicaPatch'] });
    kernel.touch(X86_TEXT, { cpu: 1, kind: 0 });
    kernel.event('set_memory', { va: X86_TEXT, arg: 512n, more: [READ] });
    kernel.event('text_patch', { va: X86_TEXT, arg: 1n, more: [NO_SYNC, 1n] });
    kernel.event('kernel_enter');
    const { core, lane } = kernel;
    // Stale in the first and in the second level.
    expect(core.violationCount(lane, core.Check.Stale)).toBe(2n);
    expect([core.violationVa(lane, core.Check.Stale), core.violationCpu(lane, core.Check.Stale)]).toEqual([
      X86_TEXT,
      1,
    ]);
    expect(core.violationCount(lane, core.Check.Divergence)).toBe(2n);
  });
});

describe('cycles', () => {
  // Two nodes, 64-byte lines; from a node to the other 400 cycles more than to itself.
  const machine = { clockGHz: 1, latency: { localNs: 100, remoteNs: 500 } };
  const cycles = (counts: Record<string, number>) => counts['cycles.maintenance'];

  it('a top-level entry: the page and its lines, the store, and the synchronisation on the other node', () => {
    const kernel = x86({ machine, costs: { PageAlloc: 500 } });
    kernel.event('mm_create', { va: 1n, arg: 1n });
    expect(cycles(kernel.counts('user_pud_alloc', { va: USER, arg: 1n }))).toBe(500 + 64 + 1 + (1 + 400));
    // Misses that overlap by two (256 is one) halve the distance.
    const overlapping = x86({ machine, costs: { Overlap: 512 } });
    overlapping.event('mm_create', { va: 1n, arg: 1n });
    expect(cycles(overlapping.counts('user_pud_alloc', { va: USER, arg: 1n }))).toBe(64 + 1 + (1 + 200));
  });

  it('a flush: the sender waits for its slowest target, every target runs the handler', () => {
    const costs = { Shootdown: 1500, IpiLocal: 1000, IpiRemote: 2000, IpiHandler: 300, Invlpg: 100 };
    const kernel = x86({ machine, costs, cpusPerNode: 2, replicate: false });
    const va = 0xffff_c900_0000_0000n;
    kernel.event('kmap', { va, arg: 2n, more: [4n * KB, VMALLOC] });
    const sender = 2 + 1500 + 2000 + 300 + 2 * 100;
    const target = 300 + 2 * 100;
    expect(cycles(kernel.counts('kunmap', { va, arg: 2n, more: [4n * KB, VMALLOC] }))).toBe(sender + 3 * target);
  });

  it('a patch on arm64: the fixmap, the bytes in both places, and a clean of each', () => {
    const costs = { TlbiBroadcast: 350, Isb: 30, Dsb: 40, CmoLine: 20, CopyLine: 10 };
    const kernel = arm({ machine, costs });
    const fixmap = 2 + 350 + 2 * 40 + 30;
    // One line each; the copy's is on the other node.
    const bytes = 10 + (10 + 400);
    const clean = 20 + 40 + 20 + 40 + 30;
    const counts = kernel.counts('text_patch', { va: ARM_TEXT, arg: 4n, more: [NO_SYNC, 1n] });
    expect(cycles(counts)).toBe(fixmap + bytes + 2 * clean);
  });
});
