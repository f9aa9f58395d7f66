// Replication of kernel text and tables on x86-64 (docs/replication.md): every number is that of the definition's formulas.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BATCH,
  IMAGE,
  KB,
  KernelMachine,
  type KernelOptions,
  maintenance,
  MB,
  READ,
  UNKNOWN,
  X86,
  X86_LA57,
  X86_TEXT,
  x86Image,
} from './kernels.js';

const machine = (options: Partial<KernelOptions> = {}) =>
  new KernelMachine({ paging: X86, image: x86Image(), options: ['Rodata', 'Modules'], ...options });

/** Text and read-only data of x86Image. */
const COPIED = Number(12n * MB);
const RODATA = X86_TEXT + 8n * MB;
const MODULE = 0xffff_ffff_c000_0000n;
const K = 1024;
const USER = 0x10_0000_0000_00n;
const slot = (n: bigint) => n << 39n;

describe('set-up', () => {
  // PGD (two with PTI), [P4D], PUD and the two PMDs of the top 2 GiB.
  it.each([
    ['4 levels', X86, [], 16 * K],
    ['PTI', X86, ['Kpti'], 20 * K],
    ['LA57', X86_LA57, [], 20 * K],
    ['LA57 and PTI', X86_LA57, ['Kpti'], 24 * K],
  ])('%s: closed form of the tables of a further node', (_, paging, options, bytes) => {
    for (const nodes of [1, 2, 4]) {
      const kernel = machine({ paging, nodes, options: [...options, 'Rodata'] });
      expect(kernel.replicaTableBytes()).toBe((nodes - 1) * bytes);
      for (let node = 1; node < nodes; node++) expect(kernel.replicaTableBytes(node)).toBe(bytes);
      // Node 0 has the same and the page of the fixmap, which all share.
      expect(kernel.tableBytes(0)).toBe(bytes + 4 * K);
      expect(kernel.replicaBytes()).toBe((nodes - 1) * COPIED);
    }
  });

  it('the leaf of 2M kernel text at 0x1_2340_0000 is 0x1234001a1', () => {
    // P, A, PS, G; read-only, executable: bits 0, 5, 7, 8.
    const kernel = machine({ image: x86Image(X86_TEXT, 0x1_2340_0000n) });
    expect(kernel.leaf(X86_TEXT)).toBe(0x1_2340_01a1n);
  });

  it('copies are on their nodes, in leaves of the same size and rights, at the same offset', () => {
    const kernel = machine({ nodes: 3 });
    for (let at = X86_TEXT; at < X86_TEXT + 12n * MB; at += MB / 2n) {
      for (let view = 0; view < 3; view++) {
        expect(kernel.pa(at, view) >> 40n).toBe(BigInt(view));
        expect(kernel.walk(at, view)).toHaveLength(3);
        expect(kernel.leaf(at, view) & 0xfffn).toBe(kernel.leaf(at) & 0xfffn);
        expect(kernel.leaf(at, view) >> 63n).toBe(kernel.leaf(at) >> 63n);
      }
    }
  });

  it('the home node need not be node 0: every other view has copies, view 0 too', () => {
    const kernel = machine({ home: 1 });
    kernel.event('boot');
    expect([0, 1].map((view) => kernel.pa(RODATA, view) >> 40n)).toEqual([0n, 1n]);
    expect([0, 1].map((node) => kernel.replicaBytes(node))).toEqual([COPIED, 0]);
    // Modules are on node 0 all the same.
    kernel.event('module_load', { va: MODULE, arg: 4n * KB });
    expect([0, 1].map((node) => kernel.replicaBytes(node))).toEqual([COPIED, 4 * K]);
    expect(kernel.violations()).toEqual({});
  });

  it('a shift of the image changes nothing but addresses', () => {
    const facts = (shift: bigint) => {
      const kernel = machine({ image: x86Image(X86_TEXT + shift) });
      const counts = [
        kernel.counts('boot'),
        kernel.counts('text_patch', { va: X86_TEXT + shift, arg: 5n, more: [BATCH, 4n] }),
        kernel.counts('set_memory', { va: RODATA + shift, arg: 512n, more: [READ] }),
      ];
      return { counts, tables: [0, 1].map((node) => kernel.tableBytes(node)), bytes: kernel.replicaBytes() };
    };
    expect(facts(18n * MB)).toEqual(facts(0n));
  });

  it('copies that are aligned to 4K only are mapped by pages: one table for each 2M of them', () => {
    const kernel = machine({ copyShift: 12 });
    expect(kernel.walk(X86_TEXT, 0)).toHaveLength(3);
    expect(kernel.walk(X86_TEXT, 1)).toHaveLength(4);
    // 12M of copies: six tables beside the 16K.
    expect(kernel.replicaTableBytes()).toBe(16 * K + 6 * 4 * K);
    kernel.event('boot');
    expect(kernel.violations()).toEqual({});
  });
});

describe('translation', () => {
  it('a view differs from view 0 in the copied bytes alone, and there keeps the offset', () => {
    const kernel = machine({ nodes: 4 });
    kernel.event('kmap', { va: 0xffff_c900_0000_0000n, arg: 16n, more: [4n * KB, 2n] });
    const image = fc.bigInt(0n, 20n * MB - 1n).map((offset) => X86_TEXT + offset);
    const vmalloc = fc.bigInt(0n, 64n * KB - 1n).map((offset) => 0xffff_c900_0000_0000n + offset);
    fc.assert(
      fc.property(fc.oneof(image, vmalloc), fc.integer({ min: 1, max: 3 }), (va, view) => {
        const isCopied = va >= X86_TEXT && va < X86_TEXT + 12n * MB;
        const [original, own] = [kernel.pa(va), kernel.pa(va, view)];
        if (!isCopied) expect(own).toBe(original);
        else expect([own >> 40n, own & (2n * MB - 1n)]).toEqual([BigInt(view), original & (2n * MB - 1n)]);
      }),
    );
  });

  it('a task that moves to another node costs no table write, and its next fetch walks and reads that node', () => {
    const kernel = machine();
    kernel.event('ctx_switch', { cpu: 0, va: 1n, arg: 1n });
    const first = kernel.touch(X86_TEXT, { cpu: 0, kind: 0, asid: 1 });
    expect(maintenance(kernel.counts('ctx_switch', { cpu: 1, va: 1n, arg: 1n }))).toEqual({ rootWrite: 1 });
    const next = kernel.touch(X86_TEXT, { cpu: 1, kind: 0, asid: 1 });
    // PML4, PDPT, PD: three references, all local in both places.
    expect([first['walk.local'], next['walk.local']]).toEqual([3, 3]);
    expect(next['walk.remote']).toBeUndefined();
    expect(kernel.pa(X86_TEXT, 1) >> 40n).toBe(1n);
    expect(kernel.violations()).toEqual({});
  });
});

describe('boot', () => {
  it('copies text and read-only data once per further node, then flushes everything everywhere', () => {
    const kernel = machine({ nodes: 4 });
    // Entries of a further view: PGD 1, PUD 2, PMD of the image 10 (20M in 2M leaves), PMD of the fixmap 1.
    // numa_setup_pgd: one root write and one local flush; flush_tlb_all: three IPIs and a global flush on each of four CPUs.
    expect(maintenance(kernel.counts('boot'))).toEqual({
      bytesCopied: 3 * COPIED,
      tableStore: 3 * (1 + 2 + 10 + 1),
      rootWrite: 1,
      'tlbi.cr3': 1,
      'ipi.shootdown': 3,
      'tlbi.global': 4,
    });
  });
});

describe.each([1, 2, 4])('address spaces, %i nodes', (nodes) => {
  it.each([
    ['', [], 1],
    ['PTI', ['Kpti'], 2],
  ])('%s 1000 forks take N roots each and give all of them back', (_, options, pages) => {
    const kernel = machine({ nodes, options, checks: false });
    const [tables, replicas] = [kernel.tableBytes(), kernel.replicaTableBytes()];
    for (let n = 1n; n <= 1000n; n++) {
      const counts = kernel.counts('mm_create', { va: n, arg: n });
      // Half of every root page belongs to the kernel.
      expect(maintenance(counts)).toEqual({ bytesCopied: nodes * pages * 2 * K });
    }
    expect(kernel.tableBytes() - tables).toBe(1000 * nodes * pages * 4 * K);
    for (let node = 1; node < nodes; node++) expect(kernel.tableBytes(node)).toBeGreaterThan(1000 * pages * 4 * K);
    for (let n = 1n; n <= 1000n; n++) kernel.event('mm_destroy', { va: n });
    expect([kernel.tableBytes(), kernel.replicaTableBytes()]).toEqual([tables, replicas]);
  });

  it.each([
    ['', X86, [], 1],
    ['PTI', X86, ['Kpti'], 2],
    ['LA57', X86_LA57, [], 1],
  ])(
    '%s three new top-level entries are 3(N-1) stores of synchronisation, clearing them as many',
    (_, paging, options, pages) => {
      const kernel = machine({ paging, nodes, options });
      kernel.event('mm_create', { va: 1n, arg: 1n });
      const before = kernel.tableBytes();
      const top = (n: bigint) => n << (paging === X86_LA57 ? 48n : 39n);
      const change = (name: string) =>
        kernel.changes(() => [0n, 1n, 2n].forEach((n) => kernel.event(name, { va: top(n), arg: 1n })));
      const sync = 3 * (nodes - 1) * pages;
      const stores = { tableStore: 3 * nodes * pages, ...(sync ? { syncStore: sync } : {}) };
      expect(maintenance(change('user_pud_alloc'))).toEqual(stores);
      expect(kernel.tableBytes() - before).toBe(3 * 4 * K);
      for (let view = 0; view < nodes; view++) expect(kernel.walk(top(2n), view, 1)[0].value & 1n).toBe(1n);
      // No other CPU runs it: the caller alone flushes, once each.
      expect(maintenance(change('user_pud_free'))).toEqual({ ...stores, 'tlbi.cr3': 3 });
      expect(kernel.tableBytes()).toBe(before);
      for (let view = 0; view < nodes; view++) expect(kernel.walk(top(2n), view, 1)[0].value).toBe(0n);
      expect(kernel.violations()).toEqual({});
    },
  );
});

describe('user pages', () => {
  it('are mapped, protected and unmapped in tables that all views share', () => {
    const kernel = machine();
    kernel.event('ctx_switch', { cpu: 1, va: 1n, arg: 1n });
    kernel.event('user_pud_alloc', { va: USER, arg: 1n });
    expect(maintenance(kernel.counts('user_map', { va: USER, arg: 8n, more: [1n, UNKNOWN] }))).toEqual({
      tableStore: 8,
    });
    kernel.touch(USER, { cpu: 1, mode: 0, asid: 1 });
    // CPU 1 runs it, CPU 0 asks: one IPI, eight INVLPG on both.
    const flushed = { tableStore: 8, 'ipi.shootdown': 1, 'tlbi.invlpg': 16 };
    expect(maintenance(kernel.counts('user_prot', { va: USER, arg: 8n, more: [1n, READ] }))).toEqual(flushed);
    expect(kernel.walk(USER, 1, 1).at(-1)!.value & 2n).toBe(0n);
    expect(maintenance(kernel.counts('user_unmap', { va: USER, arg: 8n, more: [1n] }))).toEqual(flushed);
    expect([0, 1].map((view) => kernel.isMapped(USER, view, 1))).toEqual([false, false]);
    expect(kernel.violations()).toEqual({});
  });

  it('leave the TLBs of a CPU that has run the address space and runs another now', () => {
    const kernel = machine();
    kernel.event('ctx_switch', { cpu: 1, va: 1n, arg: 1n });
    kernel.event('user_map', { va: USER, arg: 1n, more: [1n, UNKNOWN] });
    kernel.touch(USER, { cpu: 1, mode: 0, asid: 1 });
    kernel.event('ctx_switch', { cpu: 1, va: 2n, arg: 2n });
    const counts = maintenance(kernel.counts('user_unmap', { va: USER, arg: 1n, more: [1n] }));
    expect(counts).toEqual({ tableStore: 1, 'tlbi.invlpg': 1 });
    expect(kernel.violations()).toEqual({});
  });
});

describe.each([1, 2, 4])('text and its protection, %i nodes', (nodes) => {
  it('256 sites: three rounds of IPIs, and per poke 2N root writes', () => {
    const kernel = machine({ nodes });
    const sites = 256;
    // INT3, tail, first byte: 1, 4 and 1 bytes in each of N places, through an entry that is set and cleared again.
    const expected = {
      rootWrite: 3 * sites * 2 * nodes,
      tableStore: 3 * sites * 2 * nodes,
      bytesCopied: sites * (1 + 4 + 1) * nodes,
      ...(nodes > 1 ? { 'ipi.textPoke': 3 * (nodes - 1) } : {}),
    };
    const batch = { va: X86_TEXT, arg: 5n, more: [BATCH, BigInt(sites)] };
    expect(maintenance(kernel.counts('text_patch', batch))).toEqual(expected);
    expect(kernel.violations()).toEqual({});
  });

  it('text that is not replicated is poked in one place', () => {
    const kernel = machine({ nodes, options: ['Rodata'] });
    kernel.event('module_load', { va: MODULE, arg: 8n * KB });
    const counts = maintenance(kernel.counts('text_patch', { va: MODULE, arg: 5n, more: [BATCH, 1n] }));
    expect(counts.rootWrite).toBe(3 * 2);
  });

  it('set_memory on the window flushes N times, elsewhere once', () => {
    const kernel = machine({ nodes, cpusPerNode: 2 });
    const cpus = 2 * nodes;
    // One 2M leaf in each view; 512 pages are more than 33, so each flush is a global one on every CPU.
    expect(maintenance(kernel.counts('set_memory', { va: RODATA, arg: 512n, more: [READ] }))).toEqual({
      tableStore: nodes,
      'ipi.shootdown': nodes * (cpus - 1),
      'tlbi.global': nodes * cpus,
    });
    // Of 16 pages: the leaf is split into 512 entries and a link in each view, then 16 of them change.
    const before = kernel.tableBytes();
    expect(maintenance(kernel.counts('set_memory', { va: RODATA, arg: 16n, more: [READ] }))).toEqual({
      tableStore: nodes * (513 + 16),
      'ipi.shootdown': nodes * (cpus - 1),
      'tlbi.invlpg': nodes * 16 * cpus,
    });
    expect(kernel.tableBytes() - before).toBe(nodes * 4 * K);
    const vmalloc = 0xffff_c900_0000_0000n;
    kernel.event('kmap', { va: vmalloc, arg: 16n, more: [4n * KB, 2n] });
    expect(maintenance(kernel.counts('set_memory', { va: vmalloc, arg: 16n, more: [READ] }))).toEqual({
      tableStore: 16,
      'ipi.shootdown': cpus - 1,
      'tlbi.invlpg': 16 * cpus,
    });
    expect(kernel.violations()).toEqual({});
  });

  it('modules: mapped N times, copied N-1 times, flushed twice more, and unloaded without a leak', () => {
    const kernel = machine({ nodes });
    const load = () => kernel.counts('module_load', { va: MODULE, arg: 16n * KB, more: [8n * KB, 4n * KB] });
    const other = nodes - 1;
    // Seven pages; four of text and two of rodata are cleared and set again in each other view, and protected in every view.
    // The link to each further view's table of pages counts too. IPIs: two for the copies, then N each for the protection of text and rodata.
    const flushes = (nodes > 1 ? 2 : 0) + 2 * nodes;
    const counts = maintenance(load());
    expect(counts).toEqual({
      tableStore: 7 * nodes + other + 2 * 6 * other + 6 * nodes,
      ...(other
        ? { syncStore: 7 * other + other, bytesCopied: 6 * 4 * K * other, 'ipi.shootdown': flushes * other }
        : {}),
      'tlbi.invlpg': ((nodes > 1 ? 6 : 0) + 6 * nodes) * nodes,
    });
    expect(kernel.replicaBytes()).toBe(other * (COPIED + 6 * 4 * K));
    for (let view = 0; view < nodes; view++) expect(kernel.pa(MODULE, view) >> 40n).toBe(BigInt(view));
    expect(kernel.pa(MODULE + 24n * KB, other) >> 40n).toBe(0n);
    kernel.event('module_unload', { va: MODULE });
    const [tables, replicas] = [kernel.tableBytes(), kernel.replicaTableBytes()];
    for (let i = 0; i < 10; i++) {
      load();
      kernel.touch(MODULE, { cpu: kernel.cpus - 1, kind: 0 });
      kernel.event('module_unload', { va: MODULE });
    }
    expect([kernel.tableBytes(), kernel.replicaTableBytes()]).toEqual([tables, replicas]);
    expect(kernel.replicaBytes()).toBe(other * COPIED);
    expect(kernel.violations()).toEqual({});
  });

  it('of any number of modules every one is copied', () => {
    const kernel = machine({ nodes });
    const count = 40;
    for (let i = 0; i < count; i++)
      kernel.event('module_load', { va: MODULE + BigInt(i) * 32n * KB, arg: 16n * KB, more: [8n * KB, 4n * KB] });
    // Four pages of text and two of read-only data each, on every further node.
    expect(kernel.replicaBytes()).toBe((nodes - 1) * (COPIED + count * 6 * 4 * K));
    for (let view = 0; view < nodes; view++)
      for (let i = 0; i < count; i++) expect(kernel.pa(MODULE + BigInt(i) * 32n * KB, view) >> 40n).toBe(BigInt(view));
    expect(kernel.violations()).toEqual({});
  });

  it('modules are mapped by pages whatever the policy for sizes', () => {
    const kernel = machine({ nodes, paging: { ...X86, pageSize: { ...X86.pageSize, default: '2M' } } });
    kernel.event('module_load', { va: MODULE, arg: 8n * KB });
    for (let view = 0; view < nodes; view++) expect(kernel.walk(MODULE, view)).toHaveLength(4);
    expect(kernel.isMapped(MODULE + 8n * KB)).toBe(false);
    expect(kernel.violations()).toEqual({});
  });

  it('kernel pages that are not global leave under every PCID', () => {
    const kernel = machine({ nodes, paging: { ...X86, global: 'none' } });
    for (const asid of [1, 2]) {
      kernel.event('ctx_switch', { va: BigInt(asid), arg: BigInt(asid) });
      kernel.touch(X86_TEXT, { kind: 0, asid });
    }
    kernel.event('set_memory', { va: X86_TEXT, arg: 16n, more: [READ] });
    expect(kernel.violations()).toEqual({});
    for (const asid of [1, 2]) expect(kernel.touch(X86_TEXT, { kind: 0, asid })['walk.count']).toBe(1);
  });

  it('BPF: one set of pages, mapped and protected in every view', () => {
    const kernel = machine({ nodes });
    const counts = maintenance(kernel.counts('bpf_load', { va: MODULE, arg: 8n * KB }));
    const other = nodes - 1;
    expect(counts).toEqual({
      // Two pages mapped and two protected in N views, and the link to each further view's table.
      tableStore: 4 * nodes + other,
      ...(other ? { syncStore: 3 * other, 'ipi.shootdown': nodes * other } : {}),
      'tlbi.invlpg': nodes * 2 * nodes,
    });
    for (let view = 1; view < nodes; view++) expect(kernel.pa(MODULE, view)).toBe(kernel.pa(MODULE));
  });
});

describe('the fixmap', () => {
  it('has a table from before the copies, which stays shared', () => {
    const kernel = machine();
    const va = 0xffff_ffff_ff60_0000n;
    expect(maintenance(kernel.counts('kmap', { va, arg: 1n, more: [4n * KB, 4n] }))).toEqual({ tableStore: 1 });
    expect(kernel.leaf(va, 1)).toBe(kernel.leaf(va, 0));
  });
});

describe('other operations', () => {
  it('entering and leaving the kernel writes the root with PTI only', () => {
    for (const [options, n] of [
      [[], undefined],
      [['Kpti'], 1],
    ] as const) {
      const kernel = machine({ options: [...options] });
      expect(kernel.counts('kernel_enter')['maintenance.rootWrite']).toBe(n);
      expect(kernel.counts('kernel_exit')['maintenance.rootWrite']).toBe(n);
    }
  });

  it('a CPU that was off gets no IPI and comes back with empty TLBs', () => {
    const kernel = machine();
    kernel.touch(X86_TEXT, { cpu: 1, kind: 0 });
    kernel.event('cpu_down', { va: 1n });
    const counts = kernel.counts('set_memory', { va: X86_TEXT, arg: 512n, more: [READ] });
    expect(counts['maintenance.ipi.shootdown']).toBeUndefined();
    // The root that it came up with, then its node's, and a flush.
    expect(maintenance(kernel.counts('cpu_up', { va: 1n }))).toEqual({ rootWrite: 2, 'tlbi.cr3': 1 });
    expect(kernel.touch(X86_TEXT, { cpu: 1, kind: 0 })['walk.count']).toBe(1);
    expect(kernel.violations()).toEqual({});
  });

  it('with one view every event costs what it costs on one node of as many CPUs', () => {
    const events = (kernel: KernelMachine) =>
      [
        kernel.counts('boot'),
        kernel.counts('ctx_switch', { va: 1n, arg: 1n }),
        kernel.counts('user_pud_alloc', { va: slot(1n), arg: 1n }),
        kernel.counts('text_patch', { va: X86_TEXT, arg: 5n, more: [BATCH, 3n] }),
        kernel.counts('set_memory', { va: RODATA, arg: 512n, more: [READ] }),
        kernel.counts('module_load', { va: MODULE, arg: 8n * KB, more: [4n * KB, 0n] }),
        kernel.counts('module_unload', { va: MODULE }),
        kernel.counts('kunmap', { va: X86_TEXT + 14n * MB, arg: 512n, more: [4n * KB, IMAGE] }),
        kernel.counts('user_pud_free', { va: slot(1n), arg: 1n }),
        kernel.counts('mm_destroy', { va: 1n }),
      ].map(maintenance);
    const plain = events(machine({ nodes: 2, replicate: false }));
    expect(plain).toEqual(events(machine({ nodes: 1, cpusPerNode: 2 })));
    expect(plain[0]).toEqual({});
  });
});
