// What the events say and the order in which they come.

import { describe, expect, it } from 'vitest';
import { inspect } from '../../../traces/info.js';
import { eventNames, stepsOf, traceOf } from './support.js';

const MIB = 2n ** 20n;

describe('boot', () => {
  it('states the image, the nodes and the CPUs', async () => {
    const [, boot] = await stepsOf('boot', { arch: 'arm64', nodes: 2, cpus: 3, homeNode: 1, textBytes: '16M' });
    // Text at its place in Debian's 6.1; 9.375 MiB of read-only data of which 64 KiB are read-only after init.
    const rodata = 0x960000n - 0x10000n;
    const operands = [0xffff_8000_0801_0000n, 1n, 16n * MIB, rodata, 0x10000n, 0x650000n, 0x360000n, 2n, 3n, 0x10000n];
    expect(boot).toEqual({ name: 'boot', cpu: 0, operands });
  });

  it('takes all other CPUs down before the machine sleeps', async () => {
    const names = eventNames(await stepsOf('boot', { cpus: 3, suspends: 1 }));
    expect(names.slice(names.lastIndexOf('phase_begin'))).toEqual([
      'phase_begin',
      'cpu_down',
      'cpu_down',
      'cpu_suspend',
      'cpu_resume',
      'cpu_up',
      'cpu_up',
      'phase_end',
    ]);
  });
});

describe('fork', () => {
  it('gives each child its address space and takes it away after the CPU has left it', async () => {
    const steps = await stepsOf('fork', { processes: 1, forkers: [1], puds: 1, pages: 1 });
    const child = eventNames(steps).slice(steps.findIndex(({ name }) => name === 'phase_begin') + 1);
    expect(child).toEqual([
      ...['kernel_enter', 'mm_create', 'user_pud_alloc', 'user_map', 'ctx_switch', 'kernel_exit'],
      ...['kernel_enter', 'user_unmap', 'user_pud_free', 'ctx_switch', 'mm_destroy', 'kernel_exit', 'phase_end'],
      ...['user_unmap', 'user_pud_free', 'ctx_switch', 'mm_destroy'],
    ]);
    const switches = steps.filter(({ name }) => name === 'ctx_switch').map(({ operands }) => operands.slice(0, 3));
    // Kernel 0 to parent 1, to child 2, back, to the kernel: mm switched to, its ASID, mm left.
    expect(switches).toEqual([
      [1n, 1n, 0n],
      [2n, 2n, 1n],
      [1n, 1n, 2n],
      [0n, 0n, 1n],
    ]);
  });

  it.each([false, true])(
    'never destroys an address space that runs, nor lets a destroyed one run (exec %s)',
    async (exec) => {
      const running = new Map<number, bigint>();
      const alive = new Set([0n]);
      for (const { name, cpu, operands } of await stepsOf('fork', { processes: 4, textBytes: 640, exec })) {
        if (name === 'mm_create') alive.add(operands[0]);
        if (name === 'ctx_switch') {
          expect(alive).toContain(operands[0]);
          expect(operands[2]).toBe(running.get(cpu) ?? 0n);
          running.set(cpu, operands[0]);
        }
        if (name === 'mm_destroy') {
          expect([...running.values()]).not.toContain(operands[0]);
          expect(alive.delete(operands[0])).toBe(true);
        }
      }
      expect([...alive]).toEqual([0n]);
    },
  );

  it('uses a root entry of 512 GiB for each PUD page and divides the pages among them', async () => {
    const steps = await stepsOf('fork', { processes: 1, forkers: [0], puds: 3, pages: 5 });
    const maps = steps.filter(({ name }) => name === 'user_map').slice(0, 3);
    expect(maps.map(({ operands }) => operands[0] >> 39n)).toEqual([0n, 1n, 2n]);
    expect(maps.map(({ operands }) => operands[1])).toEqual([2n, 2n, 1n]);
  });
});

describe('module', () => {
  it('changes protections in the order of complete_formation and do_init_module', async () => {
    const params = { cycles: 1, modules: 1, bpf: 1, textBytes: '8K', rodataBytes: '4K', dataBytes: '12K' };
    const steps = await stepsOf('module', { ...params, arch: 'arm64' });
    const [text, bpf] = [0xffff_8000_0000_0000n, 0xffff_8000_0800_0000n];
    const rodata = text + 0x2000n;
    const data = rodata + 0x1000n;
    expect(steps.find(({ name }) => name === 'module_load')!.operands).toEqual([text, 0x2000n, 0x1000n, 0x3000n]);
    const changes = steps.filter(({ name }) => name === 'set_memory').map(({ operands }) => operands.slice(0, 3));
    expect(changes).toEqual([
      [text, 2n, 1n], // ro
      [rodata, 1n, 1n], // ro
      [rodata, 1n, 1n], // nx
      [data, 3n, 3n], // nx
      [text, 2n, 5n], // x
      [text, 2n, 5n], // ro after init
      [rodata, 1n, 1n],
      [bpf, 1n, 1n],
      [bpf, 1n, 5n],
    ]);
  });
});

describe('patch', () => {
  it('states method, sites and their distance, and the sites are fetched afterwards', async () => {
    const params = { arch: 'x86-64', cpus: 2, patches: 3, every: 0, sites: 4, batch: 2, cpu: 1 };
    const steps = await stepsOf('patch', { ...params, methods: ['bp_batch'] });
    // 0xe02000 bytes of text for 4 sites: 0x380800 apart, a multiple of 64.
    const [va, stride] = [0xffff_ffff_8100_0000n, 0x380800n];
    const patches = steps.filter(({ name }) => name === 'text_patch');
    expect(patches.map(({ operands }) => operands.slice(0, 5))).toEqual([
      [va, 5n, 2n, 2n, stride],
      [va + 2n * stride, 5n, 2n, 2n, stride],
      [va, 5n, 2n, 2n, stride], // two groups of two sites, in turn
    ]);
    const fetches = steps.slice(2, 6).map(({ cpu, operands }) => [cpu, operands[0]]);
    expect(fetches).toEqual([
      [0, va],
      [0, va + stride],
      [1, va],
      [1, va + stride],
    ]);
  });
});

describe('migration', () => {
  it('runs on the first CPU of each node in turn, and its phases come back', async () => {
    const params = { nodes: 2, cpus: 4, operations: 6, every: 2 };
    const { phases } = await inspect(await traceOf('migration', params));
    expect(phases.map(({ number, name, cpu, times }) => [number, name, cpu, times])).toEqual([
      [1, 'node 0', 0, 2],
      [2, 'node 1', 2, 1],
    ]);
  });
});

describe('vmalloc', () => {
  it.each([
    ['x86-64', 'debian', 0xffffc9n << 40n],
    ['arm64', 'debian', 0xffff8000_08000000n],
    ['arm64', 'replication', 0xffff8100_00000000n],
  ])('%s %s: maps at the start of root entries after the one that vmalloc begins in', async (arch, layout, start) => {
    const steps = await stepsOf('vmalloc', { arch, layout, slots: 3, cpus: 2 });
    const maps = steps.filter(({ name }) => name === 'kmap');
    const first = (start >> 39n) + 1n;
    expect(maps.map(({ operands }) => operands[0])).toEqual([0n, 1n, 2n].map((slot) => (first + slot) << 39n));
    expect(maps.map(({ cpu }) => cpu)).toEqual([0, 1, 0]);
  });
});

it('with the layout for replication the image has its root entry to itself', async () => {
  const { metadata } = await inspect(await traceOf('boot', { arch: 'arm64', layout: 'replication' }));
  const slots = new Map(
    metadata!.regions.map(({ name, va, bytes }) => [
      name,
      [BigInt(va) >> 39n, (BigInt(va) + BigInt(bytes) - 1n) >> 39n] as const,
    ]),
  );
  const [image, end] = [slots.get('text')![0], slots.get('data')![1]];
  expect(end).toBe(image);
  expect(slots.get('modules')![1]).toBeLessThan(image);
  expect(slots.get('vmalloc')![0]).toBeGreaterThan(image);
});
