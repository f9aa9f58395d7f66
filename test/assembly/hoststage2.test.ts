// host-stage2 against its definition (docs/hoststage2.md; MODEL, sections 4, 12 and 16). Tables are counted in pages of 4K, levels as Arm has them:
// a 48-bit stage 2 has levels 0 to 3 (n2 = floor((48 - 8)/9) = 4) and a root of one page.

import { describe, expect, it } from 'vitest';
import { HostMachine, type Row } from './hostMachine.js';

const K = 1024n;
const M = K * K;
const G = K * M;
/** The kernel's text; a lane takes the first memory of its node for it, in step with the address modulo 2M. */
const TEXT = 0xffff_8000_8000_0000n;
const DATA = 0x4000_0000n;
/** Memory of a node's data starts half-way up its 1 TiB. */
const memoryOf = (node: number) => (BigInt(node) << 40n) + (1n << 39n);

const load = (cpu: number, va: bigint): Row => ({ cpu, va });

describe('a cold walk under the stage 2 of the host', () => {
  // (n1 + 1)(n2 + 1) - 1 with n1 = 4 for a 4K page and 3 for a 2M block, n2 = 4, 3, 2 for leaves of 4K, 2M, 1G.
  it.each([
    ['4K', 0, 4n * K, 24],
    ['4K', 0, 2n * M, 19],
    ['4K', 0, G, 14],
    ['2M', 2, 4n * K, 19],
    ['2M', 2, 2n * M, 15],
    ['2M', 2, G, 11],
  ])('of a %s page (size %i) with leaves of %i bytes reads %i descriptors', (_, size, leaf, refs) => {
    const host = new HostMachine({ nodes: 1, size });
    // The first faults, for tables (from address 0) and for data, show the size of the leaf; where there is a table, later ones follow it.
    host.event('Stage2Fault', 0, 0, leaf);
    host.event('Stage2Fault', 0, memoryOf(0), leaf);
    host.run([load(0, DATA)]);
    expect(host.counter('WalkRefs')).toBe(refs);
    const levels = size === 0 ? 4 : 3;
    expect(host.counter('WalkStage2_Refs')).toBe(refs - levels);
    expect(host.violations()).toEqual({});
  });

  it('keeps translations of pages in the IPA cache, whatever the size of the leaf', () => {
    const host = new HostMachine({ nodes: 1, ipaEntries: 16 });
    host.run([load(0, DATA), load(0, DATA + 4n * K)]);
    // Cold 14; the next page finds the four tables in the cache and reads them, and two stage-2 descriptors for itself.
    expect(host.counter('WalkRefs')).toBe(14 + 4 + 2);
    expect(host.counter('WalkCache_HitsIpa')).toBe(4);
  });

  it('makes TLB entries of the smaller of both leaves', () => {
    const misses = (leaf: bigint) => {
      const host = new HostMachine({ nodes: 1, size: 2 });
      host.event('Stage2Fault', 0, memoryOf(0), leaf);
      host.run([load(0, DATA), load(0, DATA + 4n * K), load(0, DATA + 8n * K)]);
      return host.counter('WalkCount');
    };
    // A 2M page in pieces of 4K, and whole.
    expect(misses(4n * K)).toBe(3);
    expect(misses(2n * M)).toBe(1);
  });
});

describe('faults of the host', () => {
  const touch = (from: bigint, last: bigint): number => {
    const host = new HostMachine({ nodes: 1, ranges: [[from, last]] });
    const rows: Row[] = [];
    for (let pa = from; pa <= last; pa += 4n * K) rows.push({ cpu: 0, va: pa - from, pa });
    host.run(rows);
    return host.counter('FaultStage2');
  };

  it('are as many as blocks are needed for 1 GiB that is aligned', () => {
    // One block of 1G, and one for the stage-1 tables.
    expect(touch(G, 2n * G - 1n)).toBe(1 + 1);
  });

  it('are as many as blocks and pages are needed for 1 GiB that is not', () => {
    // From 1G + 2M + 4K on: 511 pages to the next 2M, 511 blocks of 2M, 1 page; none of the two 1G blocks lies inside. And the tables.
    const from = G + 2n * M + 4n * K;
    expect(touch(from, from + G - 1n)).toBe(511 + 511 + 1 + 1);
  });

  it.each([
    // Tables and data of CPU 0; then CPU 1 finds all roots filled.
    ['eager, shared', [], 2],
    ['eager, full', ['FullTables'], 2],
    // CPU 1 faults for the root entries of both.
    ['lazy, shared', ['LazyFill'], 4],
    ['lazy, full', ['LazyFill', 'FullTables'], 4],
  ])('%s: what one node has mapped', (_, options, faults) => {
    const host = new HostMachine({ nodes: 2, options });
    host.run([load(0, DATA), load(1, DATA)]);
    expect(host.counter('FaultStage2')).toBe(faults);
  });

  it('lazily, tables that are shared serve all nodes, complete ones do not', () => {
    const faults = (options: string[]) => {
      const host = new HostMachine({ nodes: 2, options: ['LazyFill', ...options], ranges: [[G, 4n * G - 1n]] });
      const touch = (cpu: number, pa: bigint): Row => ({ cpu, va: pa, pa });
      host.run([touch(0, G), touch(1, G), touch(0, 2n * G), touch(1, 2n * G)]);
      return host.counter('FaultStage2', 1);
    };
    // Tables and the first block; the second is in the level-1 table that the first root entry leads to.
    expect(faults([])).toBe(2);
    expect(faults(['FullTables'])).toBe(3);
  });

  it('that the trace shows count even where the memory is mapped by now, and store nothing then', () => {
    const host = new HostMachine({ nodes: 1, ranges: [[G, 2n * G - 1n]] });
    const counted = (bytes: bigint, faultClass: number): number[] => {
      const stats = ['FaultStage2', 'MaintenanceTrap', 'MaintenanceTable_Store'];
      const before = stats.map((stat) => host.counter(stat));
      host.event('Stage2Fault', 0, G, bytes, 0, faultClass);
      return stats.map((stat, i) => host.counter(stat) - before[i]);
    };
    // Two tables and the leaf of 2M; the same again, and a fault for permissions: a trap each.
    expect(counted(2n * M, 0)).toEqual([1, 1, 3]);
    expect(counted(2n * M, 0)).toEqual([1, 1, 0]);
    expect(counted(4n * K, 1)).toEqual([1, 1, 0]);
  });

  it('give up device memory when the pool is used up, once, and lose nothing', () => {
    // Memory is [1G, 2G). The pool: root, two level-1 tables (own tables, captured addresses) and two level-2 tables, for devices of two
    // gigabytes: those of the third make room.
    const ranges: [bigint, bigint][] = [[G, 2n * G - 1n]];
    const host = new HostMachine({ nodes: 1, ranges, pool: 5 });
    const touch = (pa: bigint): Row => ({ cpu: 0, va: pa, pa });
    const status = host.run([touch(G), touch(2n * G), touch(3n * G), touch(4n * G)]);
    expect(status).toBe(host.core.Status.Done);
    expect(host.counter('MaintenanceTlbiIpas2e1is')).toBe(1);
    // Tables, memory, three devices.
    expect(host.counter('FaultStage2')).toBe(5);
    host.run([touch(G)]);
    expect(host.counter('FaultStage2')).toBe(5);
    host.run([touch(2n * G)]);
    expect(host.counter('FaultStage2')).toBe(6);
    expect(host.counter('MaintenanceTlbiIpas2e1is')).toBe(1);
    host.event('CtxSwitch', 0, 0, 0);
    expect(host.violations()).toEqual({});
  });

  it('end the replay when the pool is too small without devices', () => {
    const host = new HostMachine({ nodes: 1, ranges: [[G, 2n * G - 1n]], pool: 2 });
    expect(host.run([{ cpu: 0, va: G, pa: G }])).toBe(host.core.Status.GuestMemoryFull);
  });
});

describe('table bytes', () => {
  const MB24 = 24n * M;
  // Per further node of shared tables: root, levels 1 and 2, and level 3 for each 2M of the text, or where blocks do not fit.
  it.each([
    ['pages, aligned', ['TextPages'], 0n, 1 + 1 + 1 + 12],
    ['pages, 64K off', ['TextPages'], 64n * K, 1 + 1 + 1 + 13],
    ['blocks, aligned', [], 0n, 1 + 1 + 1],
    ['blocks, 64K off', [], 64n * K, 1 + 1 + 1 + 2],
  ])('%s: shared tables are extra by the way to the text', (_, options, offset, extra) => {
    const host = new HostMachine({ nodes: 3, options, text: { va: TEXT + offset, bytes: MB24 } });
    expect([0, 1, 2].map((node) => host.tablePages(node)[1])).toEqual([0, extra, extra]);
    // On a further node are also the tables, common to all, that say page by page whose its copy is: levels 1 and 2 and level 3 for each 2M.
    const owner = 1 + 1 + (offset ? 13 : 12);
    expect(host.tablePages(1)[0]).toBe(extra + owner);
  });

  it('complete tables are as many for every node', () => {
    const host = new HostMachine({ nodes: 2, options: ['FullTables', 'TextPages'], text: { va: TEXT, bytes: MB24 } });
    // Root, levels 1 to 3 of the text, and of the copy's owner.
    const set = 1 + (1 + 1 + 12) + (1 + 1 + 12);
    expect(host.tablePages(1)).toEqual([set, set]);
    // The home has the kernel's own too: three levels to blocks of 2M.
    expect(host.tablePages(0)).toEqual([set + 3, 0]);
  });

  it('are all on node 0 when the pool is', () => {
    const text = { va: TEXT, bytes: MB24 };
    const host = new HostMachine({ nodes: 2, options: ['PoolNode0'], text });
    expect(host.tablePages(1)).toEqual([0, 0]);
    expect(host.tablePages(0)[1]).toBe(3);
    // Cold, CPU 1 reads 4 stage-1 descriptors of its own node, each behind 2 of stage 2 (a 1G block), and 3 for the data: it is in the same 1G
    // as the copy, so blocks are of 2M. All of stage 2 is on node 0.
    host.run([{ cpu: 1, va: DATA, mode: 0 }]);
    expect([host.counter('WalkRemote', 1), host.counter('WalkLocal', 1)]).toEqual([4 * 2 + 3, 4]);
  });
});

describe('the text', () => {
  const text = { va: TEXT, bytes: 4n * M };

  it('is where the node has its copy, and nothing else moves', () => {
    for (const options of [[], ['FullTables'], ['TextPages'], ['LazyFill']]) {
      const host = new HostMachine({ nodes: 2, text, options, later: true });
      host.run([load(0, TEXT), load(1, TEXT), load(0, DATA), load(1, DATA)]);
      const before = [DATA, TEXT + 4n * K].map((va) => host.address(1, va));
      expect(before[1]).toBe(memoryOf(0) + 4n * K);
      host.event('Boot', 0);
      host.run([load(0, TEXT), load(1, TEXT), load(0, DATA), load(1, DATA)]);
      expect(host.address(0, TEXT + 4n * K)).toBe(memoryOf(0) + 4n * K);
      expect(host.address(1, TEXT + 4n * K)).toBe(memoryOf(1) + 4n * K);
      for (const cpu of [0, 1]) expect(host.address(cpu, DATA)).toBe(before[0]);
      expect(host.core.replicaBytesOf(host.lane, 1)).toBe(4n * M);
      expect(host.violations()).toEqual({});
    }
  });

  it('comes from the own node after replication', () => {
    const remote = (later: boolean) => {
      const host = new HostMachine({ nodes: 2, text, later, lineCaches: true });
      host.run([{ cpu: 1, va: TEXT, kind: 0 }]);
      return [host.counter('CacheMemoryFetchLocal', 1), host.counter('CacheMemoryFetchRemote', 1)];
    };
    expect(remote(true)).toEqual([0, 1]);
    expect(remote(false)).toEqual([1, 0]);
  });

  it('is replicated behind broken blocks, one flush for each', () => {
    const host = new HostMachine({ nodes: 2, text, later: true });
    // Stage 2 has a 1G block for the text, and one on node 1 for data, in which the copy will lie.
    host.run([load(0, TEXT), load(1, DATA)]);
    host.event('Boot', 0);
    expect(host.counter('MaintenanceTlbiIpas2e1is')).toBe(2);
    expect(host.violations()).toEqual({});
  });

  it('stores trap one by one and reach every copy', () => {
    const host = new HostMachine({ nodes: 3, text });
    const before = host.counter('MaintenanceTrap');
    // Four sites of two instructions, no synchronisation (method 0).
    host.event('TextPatch', 1, TEXT + 64n, 8, 0, 4, 64);
    expect(host.counter('MaintenanceTrap') - before).toBe(4 * 2);
    // The kernel's bytes and those of two copies.
    expect(host.counter('MaintenanceBytes_Copied')).toBe(4 * 8 * 3);
    // DC: the kernel's own line per site; the hypervisor's per store and copy.
    expect(host.counter('MaintenanceDc_Lines')).toBe(4 * (1 + 2 * 3));
    expect(host.violations()).toEqual({});
  });

  it('is patched with one hypercall per site where the kernel asks', () => {
    const host = new HostMachine({ nodes: 2, text, options: ['PatchHvc'] });
    host.event('TextPatch', 0, TEXT, 8, 0, 4, 64);
    expect(host.counter('MaintenanceTrap')).toBe(4);
  });

  it('of another place is patched without a trap', () => {
    const host = new HostMachine({ nodes: 2, text });
    const module = TEXT + 64n * M;
    host.run([load(0, module)]);
    const before = host.counter('MaintenanceTrap');
    host.event('TextPatch', 0, module, 4, 0, 1, 4);
    expect(host.counter('MaintenanceTrap')).toBe(before);
  });
});

describe('exits', () => {
  it('cost what an exit costs, and load the root of the node again without VHE', () => {
    const exits = (options: string[], cycles: number) => {
      const host = new HostMachine({ nodes: 2, options, costs: { Exit: cycles } });
      for (let i = 0; i < 3; i++) {
        host.event('VmEntry', 1, 0, 1);
        host.event('VmExit', 1, 0, 1);
      }
      return [host.counter('CyclesMaintenance', 1), host.counter('MaintenanceRoot_Write', 1)];
    };
    expect(exits([], 6500)).toEqual([3 * 6500, 3 + 3]);
    expect(exits(['Vhe'], 2200)).toEqual([3 * 2200, 3]);
  });
});

describe('what a checker must find', () => {
  const text = { va: TEXT, bytes: 4n * M };
  const VA = TEXT + 512n * M;

  it('entries that a TLBI of another node misses, with a VMID per node', () => {
    const violations = (faults: string[]) => {
      const host = new HostMachine({ nodes: 2, text, faults });
      host.run([load(0, VA), load(1, VA)]);
      // One page of 4K, in the vmalloc area.
      host.event('Kunmap', 0, VA, 1, 4096, 2);
      return host.violations();
    };
    expect(violations([])).toEqual({});
    // CPU 1 keeps its entry; and more than one tag is a violation as such.
    expect(violations(['VmidPerNode'])).toEqual({ Stale: 1, Sharing: 1 });
  });

  it('a copy that a patch leaves out', () => {
    const host = new HostMachine({ nodes: 2, text, faults: ['SkipReplicaPatch'] });
    host.event('TextPatch', 0, TEXT, 4, 0, 1, 4);
    expect(host.violations()).toEqual({ Divergence: 1 });
  });

  it('a block that is replaced while it is live', () => {
    const host = new HostMachine({ nodes: 2, text, later: true, faults: ['SkipBreak'] });
    host.run([load(1, DATA)]);
    host.event('Boot', 0);
    expect(host.violations().BreakBeforeMake).toBe(1);
  });

  it('text that stays writable because nothing was broken', () => {
    const host = new HostMachine({ nodes: 2, text, later: true, faults: ['SkipBreak'] });
    // A 1G block holds the text, and stays; both roots lead to the home's bytes.
    host.run([load(0, TEXT)]);
    host.event('Boot', 0);
    expect(host.violations()).toMatchObject({ Writable: 2, Divergence: 1 });
  });

  it('roots that disagree', () => {
    const options = ['LazyFill', 'FullTables'];
    const host = new HostMachine({ nodes: 2, options, ranges: [[G, 2n * G - 1n]] });
    const touch = (cpu: number): Row => ({ cpu, va: 2n * G, pa: 2n * G });
    host.run([touch(0)]);
    // Node 0 has device memory there; then it becomes memory, and node 1 has that.
    host.core.addMemoryRange(host.lane, 2n * G, 3n * G - 1n, host.core.Policy.Node, 0);
    host.run([touch(1)]);
    host.event('CtxSwitch', 0, 0, 0);
    expect(host.violations()).toEqual({ RootSync: 1 });
  });

  it('a copy that the host can still reach', () => {
    const host = new HostMachine({ nodes: 2, text, faults: ['SkipDonate'] });
    host.run([load(1, DATA)]);
    host.event('CtxSwitch', 0, 0, 0);
    // The same 1G block in both roots.
    expect(host.violations()).toEqual({ Divergence: 2 });
  });

  it('memory that was given away and is used again is mapped again', () => {
    const host = new HostMachine({ nodes: 2, text });
    host.run([load(0, DATA), load(1, DATA)]);
    const faults = host.counter('FaultStage2');
    const pa = host.address(0, DATA);
    host.event('Stage2Unmap', 0, pa, 4096, 0);
    expect(host.address(1, DATA)).toBe((1n << 64n) - 1n);
    expect(host.violations()).toEqual({});
    host.run([load(1, DATA), load(0, DATA)]);
    expect(host.counter('FaultStage2')).toBe(faults + 1);
    expect(host.address(0, DATA)).toBe(pa);
  });
});
