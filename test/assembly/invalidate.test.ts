// TLB maintenance, with the reach that the manuals give each instruction: touch pages, run it, touch them again, and see in the
// counters what had to be looked up anew. Each case says what must be left.

import { describe, expect, it } from 'vitest';
import { resolveConfig } from '../../host/config/load.js';
import { Replayer } from '../../host/replay/replayer.js';
import { topologyOf } from '../../host/replay/topology.js';
import { countersByKey } from './replay.js';
import { batchOf } from './rows.js';

const KERNEL = 0xffff_8000_0000_0000n;
const LAST = (1n << 64n) - 1n;
const page = (n: bigint) => n << 12n;
const has = { pa: false, size: false, insns: false, mode: true, asid: true, vm: true };

interface Touch {
  va: bigint;
  asid?: number;
  vm?: number;
  cpu?: number;
  mode?: number;
}

/** A machine of two CPUs with room for everything, so that only maintenance makes look-ups miss again. */
class Machine {
  private readonly replayer: Replayer;

  constructor(paging: object) {
    const config = resolveConfig({ machine: { cpuNode: [0, 0] }, paging }, 'test');
    const topology = topologyOf(config, { cpuNode: null, cpus: 2 });
    const columns = ['cpu', 'kind', 'va', 'mode', 'asid', 'vm'] as const;
    this.replayer = new Replayer({ path: 'test', columns, regions: [] }, [config], [topology]);
  }

  /** Loads from the addresses; what they counted over all CPUs. */
  touch(...touches: Touch[]): (key: string) => number {
    const before = this.count();
    const rows = touches.map(({ cpu = 0, mode = 0, asid = 0, vm = 0, va }) => ({ cpu, kind: 1, va, mode, asid, vm }));
    this.replayer.feed(batchOf(rows, has));
    const after = this.count();
    return (key) => (after[key] ?? 0) - (before[key] ?? 0);
  }

  invalidate(instruction: string, { va, asid = 0, vm = 0, mode = 0 }: Partial<Touch> = {}, cpu = 2, last = va): void {
    const { core } = this.replayer;
    core.invalidate(0, cpu, core.Invalidation[instruction], mode, asid, vm, va ?? 0n, (last ?? LAST) | 0xfffn);
  }

  private count(): Record<string, number> {
    const sum: Record<string, number> = {};
    const [{ counters }] = this.replayer.finish();
    for (const cpu of countersByKey(counters))
      for (const [key, n] of Object.entries(cpu)) sum[key] = (sum[key] ?? 0) + n;
    return sum;
  }
}

/** Which of the touches miss the TLBs when they are repeated after `act`. */
function lost(machine: Machine, touches: Touch[], act: () => void): Touch[] {
  machine.touch(...touches);
  act();
  return touches.filter((touch) => machine.touch(touch)('walk.count') > 0);
}

const x86 = { format: 'x86-64', global: 'kernel' };
const arm = { format: 'arm64', global: 'kernel' };
const a1 = { va: page(1n), asid: 1 };
const a1Other = { va: page(2n), asid: 1 };
const a2 = { va: page(1n), asid: 2 };
const kernel = { va: KERNEL, asid: 1, mode: 1 };

describe('x86', () => {
  it('INVLPG removes the page for the current PCID, on this CPU only', () => {
    const machine = new Machine(x86);
    const elsewhere = { ...a1, cpu: 1 };
    const gone = lost(machine, [a1, a1Other, a2, elsewhere], () => machine.invalidate('Invlpg', a1, 0));
    expect(gone).toEqual([a1]);
  });

  it('INVLPG removes a global page whatever the PCID', () => {
    const machine = new Machine(x86);
    const gone = lost(machine, [kernel, a1], () => machine.invalidate('Invlpg', { ...kernel, asid: 7 }, 0));
    expect(gone).toEqual([kernel]);
  });

  it('INVLPG empties the walk caches of the PCID for every address', () => {
    const machine = new Machine(x86);
    machine.touch(a1, a2);
    machine.invalidate('Invlpg', { va: page(99n), asid: 1 }, 0);
    // Page 3 shares its tables with page 1: four reads without walk caches, one below a cached PDE.
    expect(machine.touch({ va: page(3n), asid: 1 })('walk.refs')).toBe(4);
    expect(machine.touch({ va: page(3n), asid: 2 })('walk.refs')).toBe(1);
  });

  it('INVLPG removes every fragment of a large page', () => {
    const machine = new Machine({ ...x86, pageSize: '2M' });
    // In an array indexed by 4K pages a 2M page sits in the set of each address used.
    const touches = [{ va: page(0n) }, { va: page(1n) }, { va: page(2n) }];
    machine.touch(...touches);
    machine.invalidate('Invlpg', { va: 0n }, 0, (1n << 21n) - 1n);
    expect(machine.touch(...touches)('tlb.l1d.miss')).toBe(3);
  });

  it('INVPCID 0 leaves global pages', () => {
    const machine = new Machine(x86);
    expect(lost(machine, [a1, a1Other], () => machine.invalidate('InvpcidAddress', a1, 0))).toEqual([a1]);
    expect(lost(machine, [kernel], () => machine.invalidate('InvpcidAddress', kernel, 0))).toEqual([]);
  });

  it('INVPCID 1 and MOV CR3 remove a PCID but global pages and other PCIDs', () => {
    const machine = new Machine(x86);
    const gone = lost(machine, [a1, a1Other, a2, kernel], () => machine.invalidate('InvpcidContext', { asid: 1 }, 0));
    expect(gone).toEqual([a1, a1Other]);
  });

  it('INVPCID 2 and PGE toggles remove everything, INVPCID 3 all but global pages', () => {
    const machine = new Machine(x86);
    const all = [a1, a2, kernel];
    expect(lost(machine, all, () => machine.invalidate('InvpcidNonGlobal', {}, 0))).toEqual([a1, a2]);
    expect(lost(machine, all, () => machine.invalidate('InvpcidAll', {}, 0))).toEqual(all);
  });
});

describe('Arm', () => {
  it('TLBI VAE1IS removes a page of the ASID on all CPUs, global pages whatever the ASID', () => {
    const machine = new Machine(arm);
    const elsewhere = { ...a1, cpu: 1 };
    expect(lost(machine, [a1, a1Other, a2, elsewhere], () => machine.invalidate('TlbiVa', a1))).toEqual([
      a1,
      elsewhere,
    ]);
    expect(lost(machine, [kernel, a1], () => machine.invalidate('TlbiVa', { ...kernel, asid: 9 }))).toEqual([kernel]);
  });

  it('VALE1 leaves the walk caches, VAE1 does not', () => {
    const machine = new Machine(arm);
    machine.touch(a1);
    machine.invalidate('TlbiVaLast', a1);
    expect(machine.touch(a1)('walk.refs')).toBe(1);
    machine.invalidate('TlbiVa', a1);
    expect(machine.touch(a1)('walk.refs')).toBe(4);
  });

  it('VAAE1 removes a page of every ASID', () => {
    const machine = new Machine(arm);
    expect(lost(machine, [a1, a1Other, a2], () => machine.invalidate('TlbiVaAnyAsid', { va: a1.va }))).toEqual([
      a1,
      a2,
    ]);
  });

  it('a range removes its pages and no other', () => {
    const machine = new Machine(arm);
    const pages = [0n, 1n, 2n, 3n].map((n) => ({ va: page(n), asid: 1 }));
    const gone = lost(machine, pages, () => machine.invalidate('TlbiVa', pages[1], 2, page(2n)));
    expect(gone).toEqual([pages[1], pages[2]]);
  });

  it('ASIDE1 removes an ASID, not global pages', () => {
    const machine = new Machine(arm);
    expect(lost(machine, [a1, a2, kernel], () => machine.invalidate('TlbiAsid', { asid: 1 }))).toEqual([a1]);
  });

  it('VMALLE1 removes one VMID, ALLE1 all of them, neither the EL2 regime', () => {
    const guest = (vm: number) => ({ va: page(1n), asid: 1, vm, mode: 17 });
    const el2 = { va: page(1n), mode: 2 };
    const all = [guest(1), guest(2), el2];
    const machine = new Machine(arm);
    expect(lost(machine, all, () => machine.invalidate('TlbiVm', guest(1)))).toEqual([guest(1)]);
    expect(lost(machine, all, () => machine.invalidate('TlbiAll'))).toEqual([guest(1), guest(2)]);
    expect(lost(machine, all, () => machine.invalidate('TlbiEl2All', el2))).toEqual([el2]);
  });
});

describe('Arm, stage 2', () => {
  const nested = { ...arm, stage2: { granule: '4K', ipaBits: 40 } };
  // The guest's pages start in the middle of its 40-bit intermediate addresses; its first page is the first touched.
  const firstPage = 1n << 39n;
  const guest = { va: page(1n), vm: 1, mode: 16 };

  it('IPAS2E1 does not remove the combined entry', () => {
    const machine = new Machine(nested);
    expect(lost(machine, [guest], () => machine.invalidate('TlbiIpa', { ...guest, va: firstPage }))).toEqual([]);
  });

  it('IPAS2E1 makes the next walk translate the IPA again, through the whole of stage 2', () => {
    const machine = new Machine(nested);
    machine.touch(guest);
    machine.invalidate('TlbiVaLast', guest);
    // The leaf is read below the cached l2 descriptor, and its IPA is known.
    expect(machine.touch(guest)('walk.refs')).toBe(1);
    machine.invalidate('TlbiVaLast', guest);
    machine.invalidate('TlbiIpaLast', { ...guest, va: firstPage });
    // Its IPA is not: one stage-2 descriptor below the cached s2l2.
    expect(machine.touch(guest)('walk.refs')).toBe(2);
    machine.invalidate('TlbiVaLast', guest);
    machine.invalidate('TlbiIpa', { ...guest, va: firstPage });
    // 40 bits are three levels of stage 2 (KVM concatenates its root): all of them now.
    expect(machine.touch(guest)('walk.refs')).toBe(4);
  });

  it('VMALLS12E1 removes both stages', () => {
    const machine = new Machine(nested);
    machine.touch(guest);
    machine.invalidate('TlbiVmBoth', guest);
    // Cold, but the IPA cache fills on the way: each of the four tables and the page is one stage-2 page. The guest's four tables
    // share their stage-2 tables: 3 reads for the first and 1 for each other, and 3 for the page, far away, besides the 4.
    expect(machine.touch(guest)('walk.refs')).toBe(4 + (3 + 1 + 1 + 1) + 3);
  });
});
