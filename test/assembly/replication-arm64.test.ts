// Replication of kernel text and tables on arm64 (docs/replication.md): every number is that of the definition's formulas.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ALTERNATIVES,
  ARM,
  ARM_BASE,
  ARM_TEXT,
  armImage,
  imageAt,
  IMAGE,
  KB,
  KernelMachine,
  type KernelOptions,
  maintenance,
  MB,
  NO_SYNC,
  READ,
  STOP_MACHINE,
  UNKNOWN,
  VMALLOC,
} from './kernels.js';

const machine = (options: Partial<KernelOptions> = {}) =>
  new KernelMachine({ paging: ARM, image: armImage(), options: ['Rodata', 'RoProtect', 'SyncImageUnmap'], ...options });

const K = 1024;
/** Text and read-only data of armImage. */
const COPIED = Number(12n * MB);
/** A 2M slot that is all text, and one that is all read-only data. */
const TEXT_SLOT = ARM_BASE + 2n * MB;
const RODATA_SLOT = ARM_BASE + 10n * MB;
const NEW_SLOT = 0xffff_c000_0000_0000n;
const CONTIGUOUS = 1n << 52n;

/**
 * armImage covers nine slots of 2M: text from 64K on, read-only data from 9M + 64K, data from 13M + 128K, the end at 17M + 128K. Wholly one
 * part are 1, 2, 3 (text), 5 (read-only data) and 7 (data); 0, 4, 6 and 8 have edges and therefore tables of pages.
 */
const EDGES = 4;
const COPIED_BLOCKS = 4;

describe('set-up', () => {
  it.each([
    ['2M', 21, EDGES],
    ['64K', 16, EDGES + COPIED_BLOCKS],
    ['4K', 12, EDGES + COPIED_BLOCKS],
  ])('copies aligned to %s: closed form of the tables of a further node', (_, copyShift, lastTables) => {
    for (const kpti of [false, true]) {
      for (const nodes of [1, 2, 4]) {
        const kernel = machine({ nodes, copyShift, options: ['Rodata', 'RoProtect', ...(kpti ? ['Kpti'] : [])] });
        // reserved and swapper root, with KPTI the trampoline's; L1, L2, and L3 by slots.
        const bytes = (kpti ? 12 : 8) * K + 4 * K + 4 * K + lastTables * 4 * K;
        expect(kernel.replicaTableBytes()).toBe((nodes - 1) * bytes);
        for (let node = 1; node < nodes; node++) expect(kernel.tableBytes(node)).toBe(bytes);
        expect(kernel.tableBytes(0)).toBe(((kpti ? 12 : 8) + 4 + 4 + EDGES * 4) * K);
        expect(kernel.replicaBytes()).toBe((nodes - 1) * COPIED);
      }
    }
  });

  it('the leaf of 2M kernel text at 0x8020_0000 is 0x0040000080200781', () => {
    // Block, AttrIndx 0, AP read-only, inner shareable, AF, UXN.
    const kernel = machine({ image: imageAt(ARM_BASE, [['Text', 4n * MB]], 0x8020_0000n) });
    expect(kernel.leaf(ARM_BASE)).toBe(0x0040_0000_8020_0781n);
  });

  it('copies aligned to 2M keep blocks, to 64K runs, to 4K neither', () => {
    const steps = (copyShift: number) => {
      const kernel = machine({ copyShift });
      const inSlot = TEXT_SLOT + 68n * KB;
      return [kernel.walk(inSlot, 1).length, (kernel.leaf(inSlot, 1) & CONTIGUOUS) !== 0n];
    };
    const original = machine();
    expect([original.walk(TEXT_SLOT).length, original.leaf(ARM_TEXT) & CONTIGUOUS]).toEqual([3, CONTIGUOUS]);
    expect([21, 16, 12].map(steps)).toEqual([
      [3, false],
      [4, true],
      [4, false],
    ]);
  });

  it('the tables below the roots can be on one node', () => {
    const subtree = (4 + 4 + (EDGES + COPIED_BLOCKS) * 4) * K;
    const kernel = machine({ nodes: 3, subtreeNode: 2 });
    // Roots stay at home; node 2 has the three subtrees, node 0's without split blocks.
    expect(kernel.tableBytes(1)).toBe(8 * K);
    expect(kernel.tableBytes(0)).toBe(8 * K);
    expect(kernel.tableBytes(2)).toBe(8 * K + 2 * subtree + (subtree - COPIED_BLOCKS * 4 * K));
  });

  it.each(['16K', '64K'])('granule %s: copies are on their nodes', (granule) => {
    const kernel = machine({ paging: { format: 'arm64', granule, global: 'kernel' } });
    kernel.event('boot');
    expect((kernel.leaf(TEXT_SLOT, 1) >> 40n) & 0xffn).toBe(1n);
    expect(kernel.violations()).toEqual({});
  });

  it('the home node need not be node 0', () => {
    const kernel = machine({ home: 1 });
    kernel.event('boot');
    expect([0, 1].map((view) => kernel.pa(RODATA_SLOT, view) >> 40n)).toEqual([0n, 1n]);
    expect(kernel.violations()).toEqual({});
  });
});

describe('translation', () => {
  it.each([12, 16, 21])('a view differs from view 0 in the copied bytes alone, alignment 2^%i', (copyShift) => {
    const kernel = machine({ nodes: 3, copyShift });
    const end = ARM_TEXT + 12n * MB;
    const first = [1, 2].map((view) => kernel.pa(ARM_TEXT, view));
    fc.assert(
      fc.property(fc.bigInt(0n, 17n * MB - 1n), fc.integer({ min: 1, max: 2 }), (offset, view) => {
        const va = ARM_TEXT + offset;
        // Text and read-only data are two copies, one behind the other; each keeps its offsets.
        const start = va < ARM_TEXT + 9n * MB ? first[view - 1] : kernel.pa(ARM_TEXT + 9n * MB, view) - 9n * MB;
        expect(kernel.pa(va, view)).toBe(va < end ? start + offset : kernel.pa(va));
        if (va < end) expect(kernel.pa(va, view) >> 40n).toBe(BigInt(view));
      }),
    );
  });

  it('a task that moves to another node costs no table write and its next fetch reads that node', () => {
    const kernel = machine({ options: ['Rodata', 'RoProtect', 'Kpti'] });
    kernel.event('ctx_switch', { cpu: 0, va: 1n, arg: 1n });
    kernel.touch(TEXT_SLOT, { cpu: 0, kind: 0, asid: 1 });
    // TTBR1 with the ASID, TTBR0, an ISB behind each.
    expect(maintenance(kernel.counts('ctx_switch', { cpu: 1, va: 1n, arg: 1n }))).toEqual({ rootWrite: 2, barrier: 2 });
    const next = kernel.touch(TEXT_SLOT, { cpu: 1, kind: 0, asid: 1 });
    // L0 to L3, since the copy has pages there.
    expect([next['walk.local'], next['walk.remote']]).toEqual([4, undefined]);
    expect(kernel.violations()).toEqual({});
  });
});

describe('boot', () => {
  it('copies and cleans text and read-only data once per further node', () => {
    const kernel = machine({ nodes: 4 });
    // Entries of a further view: L0 1, L1 1, L2 9; L3: slot 0 from 64K on 496, slots 4 and 6 512 each, slot 8 up to 1M + 128K 288; and
    // 512 for each block that became pages.
    const stores = 1 + 1 + 9 + 496 + 512 + 512 + 288 + COPIED_BLOCKS * 512;
    expect(maintenance(kernel.counts('boot'))).toEqual({
      bytesCopied: 3 * COPIED,
      tableStore: 3 * stores,
      dcLines: (3 * COPIED) / 64,
      icLines: (3 * COPIED) / 64,
      // DSB, DSB, ISB.
      barrier: 3 * 3,
    });
    expect(kernel.violations()).toEqual({});
  });

  it('copies taken at the boot event: CPUs of further nodes come up after it', () => {
    const kernel = machine({ later: true });
    kernel.touch(TEXT_SLOT, { cpu: 1, kind: 0 });
    expect(kernel.pa(TEXT_SLOT, 1)).toBe(kernel.pa(TEXT_SLOT));
    kernel.event('boot');
    expect(kernel.pa(TEXT_SLOT, 1) >> 40n).toBe(1n);
    expect(kernel.violations()).toEqual({});
  });
});

describe.each([1, 2, 4])('tables, %i nodes', (nodes) => {
  const sync = nodes > 1 ? { syncStore: nodes - 1 } : {};

  it('a new slot of the root is stored N times, the master through the fixmap; what is below once', () => {
    const kernel = machine({ nodes });
    const kmap = (va: bigint) => kernel.counts('kmap', { va, arg: 4n, more: [4n * KB, VMALLOC] });
    expect(maintenance(kmap(NEW_SLOT))).toEqual({
      // Four pages, the fixmap's entry set and cleared, N-1 further roots.
      tableStore: 4 + 2 + (nodes - 1),
      ...sync,
      'tlbi.vaale1is': 1,
      barrier: 3,
    });
    for (let view = 1; view < nodes; view++) {
      expect(kernel.walk(NEW_SLOT, view)[0].value).toBe(kernel.walk(NEW_SLOT)[0].value);
    }
    expect(maintenance(kmap(NEW_SLOT + MB))).toEqual({ tableStore: 4 });
    const kunmap = { va: NEW_SLOT, arg: 4n, more: [4n * KB, VMALLOC] };
    kernel.touch(NEW_SLOT, { cpu: nodes - 1 });
    expect(maintenance(kernel.counts('kunmap', kunmap))).toEqual({ tableStore: 4, 'tlbi.vaale1is': 4, barrier: 3 });
    for (let view = 0; view < nodes; view++) expect(kernel.isMapped(NEW_SLOT, view)).toBe(false);
    expect(kernel.violations()).toEqual({});
  });

  it('user tables hang off TTBR0 and are not replicated', () => {
    const kernel = machine({ nodes });
    const before = kernel.tableBytes();
    expect(maintenance(kernel.counts('mm_create', { va: 1n, arg: 1n }))).toEqual({});
    expect(maintenance(kernel.counts('user_pud_alloc', { va: 0n, arg: 1n }))).toEqual({ tableStore: 1 });
    expect(kernel.tableBytes() - before).toBe(2 * 4 * K);
    const freed = maintenance(kernel.counts('user_pud_free', { va: 0n, arg: 1n }));
    expect(freed).toEqual({ tableStore: 1, 'tlbi.aside1is': 1, barrier: 3 });
    kernel.event('mm_destroy', { va: 1n });
    expect(kernel.tableBytes()).toBe(before);
    expect(kernel.violations()).toEqual({});
  });

  it.each([
    ['home', 0],
    ['last', nodes - 1],
  ])('a patch from the %s node stores to N places and cleans each, the master once more from elsewhere', (_, cpu) => {
    const kernel = machine({ nodes });
    const cleaned = nodes + (cpu > 0 ? 1 : 0);
    const counts = maintenance(kernel.counts('text_patch', { cpu, va: TEXT_SLOT, arg: 4n, more: [NO_SYNC, 1n] }));
    expect(counts).toEqual({
      bytesCopied: 4 * nodes,
      tableStore: 2,
      'tlbi.vaale1is': 1,
      dcLines: cleaned,
      icLines: cleaned,
      // Fixmap: DSB, DSB, ISB; per place DSB, DSB, ISB.
      barrier: 3 + 3 * cleaned,
    });
    expect(kernel.violations()).toEqual({});
  });

  it('stop_machine: one IPI and one ISB for every other CPU, then the patches', () => {
    const kernel = machine({ nodes, cpusPerNode: 2 });
    const others = 2 * nodes - 1;
    const counts = maintenance(kernel.counts('text_patch', { va: TEXT_SLOT, arg: 4n, more: [STOP_MACHINE, 5n] }));
    expect(counts['ipi.stopMachine']).toBe(others);
    expect(counts.barrier).toBe(others + 5 * (3 + 3 * nodes));
    expect(counts.dcLines).toBe(5 * nodes);
  });

  it('alternatives: words to every place, cleaned; one invalidation of all instruction caches', () => {
    const kernel = machine({ nodes });
    const counts = maintenance(kernel.counts('text_patch', { va: TEXT_SLOT, arg: 4n, more: [ALTERNATIVES, 10n] }));
    expect(counts).toEqual({ bytesCopied: 40 * nodes, dcLines: 10 * nodes, icLines: 1, barrier: 3 });
    expect(kernel.violations()).toEqual({});
  });

  it('modules are not replicated', () => {
    const kernel = machine({ nodes });
    const module = ARM_BASE - 512n * 1024n * MB;
    const tables = () => [kernel.tableBytes(), kernel.replicaTableBytes(), kernel.replicaBytes()];
    const counts = maintenance(kernel.counts('module_load', { va: module, arg: 8n * KB, more: [4n * KB, 4n * KB] }));
    expect(counts).toEqual({
      // Four pages in a new slot of the root; then two of text and one of read-only data are protected.
      tableStore: 4 + 2 + (nodes - 1) + 3,
      ...sync,
      'tlbi.vaale1is': 1 + 3,
      barrier: 3 * 3,
    });
    kernel.event('module_unload', { va: module });
    const before = tables();
    for (let i = 0; i < 10; i++) {
      kernel.event('module_load', { va: module, arg: 8n * KB, more: [4n * KB, 4n * KB] });
      kernel.touch(module, { cpu: nodes - 1, kind: 0 });
      kernel.event('module_unload', { va: module });
    }
    expect(tables()).toEqual(before);
    expect(kernel.violations()).toEqual({});
  });
});

describe('protection', () => {
  const protect = { va: RODATA_SLOT, arg: 512n, more: [READ] };
  const flushed = { 'tlbi.vaale1is': 512, barrier: 3 };

  it("set_memory on the image reaches the kernel's own tables only, with roProtect the copies too", () => {
    // One block; a copy that is out of step has 512 pages.
    const plain = machine({ options: ['Rodata'] });
    expect(maintenance(plain.counts('set_memory', protect))).toEqual({ tableStore: 1, ...flushed });
    expect(maintenance(machine().counts('set_memory', protect))).toEqual({ tableStore: 1 + 512, ...flushed });
  });

  it('more than 512 pages are one VMALLE1IS', () => {
    const counts = maintenance(machine({ replicate: false }).counts('set_memory', { ...protect, arg: 513n }));
    // The block, and of the run of 16 pages behind it one: the run is broken first.
    expect(counts).toEqual({ tableStore: 1 + 16 + 1, 'tlbi.vmalle1is': 1, barrier: 3 });
  });
});

describe('CPUs', () => {
  it('CnP, and a resume into a root of the node, replace TTBR1: two writes, a local TLBI, a DSB, three ISB', () => {
    const replaced = { rootWrite: 2, 'tlbi.vmalle1': 1, barrier: 4 };
    const up = (options: string[], event: string, replicate = true) =>
      maintenance(machine({ replicate, options: ['Rodata', 'RoProtect', ...options] }).counts(event, { va: 1n }));
    expect(up([], 'cpu_up')).toEqual({ rootWrite: 1 });
    expect(up(['Cnp'], 'cpu_up')).toEqual({ ...replaced, rootWrite: 3 });
    expect(up([], 'cpu_resume')).toEqual(replaced);
    expect(up([], 'cpu_resume', false)).toEqual({ rootWrite: 1 });
  });

  it('entering and leaving the kernel goes through the trampoline with KPTI', () => {
    const kernel = machine({ options: ['Rodata', 'RoProtect', 'Kpti'] });
    for (const event of ['kernel_enter', 'kernel_exit'])
      expect(maintenance(kernel.counts(event, { cpu: 1 }))).toEqual({ rootWrite: 1, barrier: 1 });
  });

  it('with one view every event costs what it costs on one node of as many CPUs', () => {
    const events = (kernel: KernelMachine) =>
      [
        kernel.counts('boot'),
        kernel.counts('cpu_resume', { va: 1n }),
        kernel.counts('kmap', { va: NEW_SLOT, arg: 4n, more: [4n * KB, VMALLOC] }),
        kernel.counts('text_patch', { va: TEXT_SLOT, arg: 4n, more: [NO_SYNC, 1n] }),
        kernel.counts('set_memory', { va: RODATA_SLOT, arg: 512n, more: [READ] }),
        kernel.counts('kunmap', { va: ARM_TEXT + 12n * MB + 64n * KB, arg: 256n, more: [4n * KB, IMAGE] }),
        kernel.counts('mm_create', { va: 1n, arg: 1n }),
        kernel.counts('user_map', { va: 0n, arg: 2n, more: [1n, UNKNOWN] }),
        kernel.counts('user_unmap', { va: 0n, arg: 2n, more: [1n] }),
      ].map(maintenance);
    const plain = events(machine({ nodes: 2, replicate: false }));
    expect(plain).toEqual(events(machine({ nodes: 1, cpusPerNode: 2 })));
    expect(plain[0]).toEqual({});
    expect(plain.at(-1)).toEqual({ tableStore: 2, 'tlbi.vale1is': 2, barrier: 3 });
  });
});
