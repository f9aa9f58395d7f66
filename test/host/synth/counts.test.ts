// Every scenario's trace is one that the reader accepts, and its rows by kind are what the definition in docs/synth.md says.

import { describe, expect, it } from 'vitest';
import { inspect } from '../../../traces/info.js';
import { traceOf } from './support.js';

async function kindsOf(name: string, params: Record<string, unknown>): Promise<Record<string, number>> {
  const { kinds } = await inspect(await traceOf(name, params));
  return kinds;
}

/** Rows for the operands after the second one. */
const rest = (operands: number) => Math.ceil((operands - 2) / 2);

describe.each(['x86-64', 'arm64'])('on %s', (arch) => {
  it('boot: one event of 10 operands; every CPU but CPU 0 goes up, and down and up in each cycle', async () => {
    const [cpus, downs, suspends] = [6, 2, 3];
    expect(await kindsOf('boot', { arch, cpus, downs, suspends })).toEqual({
      boot: 1,
      operands: rest(10),
      cpu_up: (cpus - 1) * (1 + downs + suspends),
      cpu_down: (cpus - 1) * (downs + suspends),
      cpu_suspend: suspends,
      cpu_resume: suspends,
      phase_begin: 1 + downs + suspends,
      phase_end: 1 + downs + suspends,
    });
  });

  it.each([
    { processes: 5, puds: 3, pages: 7, exec: false, forkers: [0, 3] },
    { processes: 3, puds: 4, pages: 2, exec: true, forkers: [1] },
  ])('fork: %o', async (params) => {
    const { processes, puds, pages, exec, forkers } = params;
    const forks = forkers.length * processes;
    // Each parent and each child has an address space, an exec gives one more.
    const spaces = forkers.length + forks * (exec ? 2 : 1);
    const parts = Math.min(puds, pages); // parts of an address space that have a page
    // To the child, back to the parent, and for exec once more; each parent comes and goes.
    const switches = 2 * forkers.length + forks * (exec ? 3 : 2);
    // user_map has 4 operands, user_unmap and ctx_switch have 3: one further row each.
    const operands = 2 * spaces * parts + switches;
    const nodes = new Set(forkers.map((cpu) => Math.floor(cpu / 2))).size;
    expect(await kindsOf('fork', { arch, ...params, textBytes: '8K', functionLines: 3 })).toEqual({
      mm_create: spaces,
      mm_destroy: spaces,
      user_pud_alloc: spaces * puds,
      user_pud_free: spaces * puds,
      user_map: spaces * parts,
      user_unmap: spaces * parts,
      ctx_switch: switches,
      operands,
      kernel_enter: forks * (exec ? 3 : 2),
      kernel_exit: forks * (exec ? 3 : 2),
      fetch: forks * (8192 / 64),
      store: forks * pages,
      phase_begin: nodes,
      phase_end: nodes,
    });
  });

  it.each([
    { rodataBytes: '8K', dataBytes: '4K', changes: 7 }, // text 3, rodata 3, data 1
    { rodataBytes: 0, dataBytes: '4K', changes: 4 },
    { rodataBytes: 0, dataBytes: 0, changes: 3 },
  ])('module: $changes changes of protection with %o', async ({ changes, ...sizes }) => {
    const [cycles, modules, bpf] = [2, 3, 4];
    const loads = cycles * modules;
    expect(await kindsOf('module', { arch, cycles, modules, bpf, cpu: 2, ...sizes })).toEqual({
      module_load: loads,
      module_unload: loads,
      bpf_load: bpf,
      set_memory: loads * changes + bpf * 2,
      // module_load has 4 operands, set_memory 3: one further row each.
      operands: loads + loads * changes + bpf * 2,
      phase_begin: 2 * cycles + 1,
      phase_end: 2 * cycles + 1,
    });
  });

  it('patch: the fetches between patches, and each CPU fetches each patched site', async () => {
    const [patches, every, batch, cpus] = [5, 7, 3, 4];
    const params = { arch, cpus, patches, every, batch, sites: 10, methods: ['nosync', 'bp_batch'], cpu: 'rotate' };
    expect(await kindsOf('patch', params)).toEqual({
      text_patch: 2 * patches,
      operands: 2 * patches * rest(5),
      fetch: patches * (every + cpus) + patches * (every + cpus * batch),
      phase_begin: 2,
      phase_end: 2,
    });
  });

  it('migration: one switch to the kernel and one to the task for each move', async () => {
    const [operations, every] = [10, 4]; // stays of 4, 4 and 2 operations: 2 moves
    const params = { arch, operations, every, puds: 2, pages: 2, dataBytesPerOp: 640, rodataReads: 3 };
    const kinds = await kindsOf('migration', { ...params, kernelFetches: 20, userFetches: 5 });
    const { load, store, ...others } = kinds;
    expect(load + store).toBe(operations * (10 + 3)); // 640 bytes are 10 lines
    expect(others).toEqual({
      mm_create: 1,
      mm_destroy: 1,
      user_pud_alloc: 2,
      user_pud_free: 2,
      user_map: 2,
      user_unmap: 2,
      ctx_switch: 2 * (1 + 2),
      operands: 2 * 2 + 2 * (1 + 2),
      kernel_enter: operations,
      kernel_exit: operations,
      fetch: operations * (20 + 5),
      phase_begin: 3,
      phase_end: 3,
    });
  });

  it.each([
    { node: 'all', busy: 4, phases: 2 },
    { node: 1, busy: 2, phases: 1 },
  ])('db-text on node $node', async ({ node, busy, phases }) => {
    const operations = 3 * busy;
    const params = {
      arch,
      node,
      operations: 3,
      kernelFetches: 50,
      userFetches: 6,
      dataBytesPerOp: 128,
      rodataReads: 4,
    };
    expect(await kindsOf('db-text', { ...params, storeShare: 1 })).toEqual({
      fetch: operations * (50 + 6),
      load: operations * 4,
      store: operations * 2,
      kernel_enter: operations,
      kernel_exit: operations,
      phase_begin: phases,
      phase_end: phases,
    });
  });

  it('vmalloc: a mapping for each slot, read by every CPU', async () => {
    expect(await kindsOf('vmalloc', { arch, slots: 5, cpus: 3 })).toEqual({
      kmap: 5,
      kunmap: 5,
      operands: 10, // 4 operands each
      load: 5 * 3,
      phase_begin: 2,
      phase_end: 2,
    });
  });
});

describe("guests' stage-2 faults", () => {
  // vm_create has 2 operands, s2_fault 5 (two further rows), s2_wp and s2_age 3 (one).
  const guest = { vm_create: 1, vm_destroy: 1, vcpu_load: 3 };
  it.each([
    ['s2-populate', {}, { s2_fault: 3, operands: 6, phase_begin: 1, phase_end: 1 }],
    ['s2-same-page', {}, { s2_fault: 3, operands: 6, phase_begin: 1, phase_end: 1 }],
    ['s2-dirty-log', { iterations: 2 }, { s2_fault: 9, s2_wp: 2, operands: 20, phase_begin: 5, phase_end: 5 }],
    ['s2-collapse', {}, { s2_fault: 6, s2_wp: 1, operands: 13, phase_begin: 3, phase_end: 3 }],
    ['s2-same-page', { iterations: 2 }, { s2_fault: 9, s2_wp: 2, operands: 20, phase_begin: 5, phase_end: 5 }],
    // The second round has a phase of writes more, and s2_wp before it.
    ['s2-collapse', { iterations: 2 }, { s2_fault: 12, s2_wp: 3, operands: 27, phase_begin: 7, phase_end: 7 }],
    // 16M in pieces of 8M.
    ['s2-unmap', { unmap: '8M' }, { s2_fault: 9, s2_unmap: 6, operands: 24, phase_begin: 2, phase_end: 2 }],
    ['s2-mkold', {}, { s2_fault: 6, s2_age: 1, operands: 13, phase_begin: 3, phase_end: 3 }],
  ])('%s %o: a row for each of three vCPUs and phase', async (name, params, rows) => {
    expect(await kindsOf(name, { cpus: 4, vcpus: 3, ...params })).toEqual({ ...guest, ...rows });
  });

  it('each guest is made, protected and destroyed by itself', async () => {
    const rows = await kindsOf('s2-dirty-log', { cpus: 4, vms: 2 });
    expect(rows).toMatchObject({ vm_create: 2, vm_destroy: 2, vcpu_load: 4, s2_fault: 8, s2_wp: 2 });
    await expect(kindsOf('s2-dirty-log', { cpus: 4, vms: 3 })).rejects.toThrow('expected a divisor of the 4 vCPUs');
  });
});
