// SPE in KVM guests, in the core: when samples are taken, what a record is, what each strategy does at each event, and that the guest's stream is what was
// emitted (P-F1 to P-F3). A page has 64 records; costs are 0, so that no time passes in software.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Row } from '../oracle/types.js';
import { BUFFER, fetch, load, PAGE, RECORD, spe, SpeMachine, store } from './speMachine.js';

const STRATEGIES = ['pin-vm', 'pin-buffer', 'copy', 'copy-on-read'] as const;
const PERIOD = 256;
const perPage = PAGE / RECORD;

/** The packets of a record in their order: p and the header to the payload. */
function packets(record: Uint8Array): Record<string, bigint> {
  const found: Record<string, bigint> = {};
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  let at = 0;
  while (at < record.length && record[at] !== 0) {
    const bytes = 1 << ((record[at] >> 4) & 3);
    let payload = 0n;
    for (let i = bytes; i > 0; i--) payload = (payload << 8n) | BigInt(view.getUint8(at + i));
    found[`p${record[at].toString(16)}`] = payload;
    at += 1 + bytes;
  }
  expect(record.slice(at).every((byte) => byte === 0)).toBe(true);
  return found;
}

const last = (stream: Uint8Array) => packets(stream.slice(-RECORD));

describe('sampling', () => {
  test('an operation is an instruction of a fetch row, or a load or store row; every period of them is a sample', () => {
    const machine = new SpeMachine({ has: { insns: true } });
    machine.begin(PAGE);
    // 16 rows of 16 instructions are 256 operations: one sample; it is in flight until the guest stops.
    expect(spe(machine.feed(Array.from({ length: 16 }, () => fetch(0x1000n, 16))))).toEqual({});
    expect(spe(machine.feed([load(0x2000n)]))).toEqual({});
    expect(spe(machine.disable())).toMatchObject({ samples: 1, bytes: RECORD });
    // 17 operations are gone; the interval counter starts anew when the buffer is enabled.
    machine.enable();
    machine.feed(Array.from({ length: 15 }, () => fetch(0x1000n, 17)));
    expect(spe(machine.disable()).samples).toBeUndefined();
  });

  test('a sample that is due before the one before it is complete collides, and the guest is told', () => {
    for (const speStrategy of ['pin-vm', 'pin-buffer', 'copy', 'copy-on-read']) {
      const machine = new SpeMachine({ system: { speStrategy } });
      machine.begin(PAGE);
      machine.run(PERIOD - 1);
      // A far page: 4 descriptors of 234 cycles and one to issue, 937 from operation 256 on, so up to 1193: samples 512, 768 and 1024 collide.
      machine.feed([load(0x7f00_0000_0000n)]);
      expect(spe(machine.run(4 * PERIOD))).toMatchObject({ collisions: 3 });
      machine.disable();
      expect(spe(machine.sums())).toMatchObject({ samples: 2, collisions: 3 });
      // F-I1: told by PMBSR.COLL.
      expect(machine.violations()).toEqual([]);
    }
  });

  test('batches and groups of rows do not matter', () => {
    const rows = Array.from({ length: 5000 }, (_, i) =>
      i % 3 === 0 ? fetch(BigInt(0x1000 + i * 4), 1 + (i % 7)) : load(BigInt(0x10_0000 + i * 8)),
    );
    const read = (sizes: number[]) => {
      const machine = new SpeMachine({ has: { insns: true } });
      machine.begin(16 * PAGE);
      for (let from = 0, i = 0; from < rows.length; i++) {
        machine.feed(rows.slice(from, from + sizes[i % sizes.length]));
        from += sizes[i % sizes.length];
      }
      machine.disable();
      return Buffer.from(machine.read()).toString('hex');
    };
    const whole = read([5000]);
    expect(whole.length).toBeGreaterThan(20 * 2 * RECORD);
    expect(read([1, 17, 300])).toBe(whole);
  });

  test('jitter moves a sample by at most itself, the same for a seed', () => {
    const intervals = (speSeed: number) => {
      const machine = new SpeMachine({ system: { speJitter: 20, speSeed, speEnable: 'trace' } });
      // With all pages in the TLB an operation is a cycle.
      machine.run(PERIOD);
      machine.begin(PAGE);
      machine.samples(40);
      machine.disable();
      const stream = machine.read();
      const times = Array.from({ length: stream.length / RECORD }, (_, i) =>
        Number(packets(stream.slice(i * RECORD, (i + 1) * RECORD)).p71),
      );
      return times.slice(1).map((time, i) => time - times[i]);
    };
    expect(intervals(1)).toEqual(intervals(1));
    expect(intervals(1)).not.toEqual(intervals(2));
    expect(Math.min(...intervals(1))).toBeGreaterThanOrEqual(PERIOD - 20);
    expect(Math.max(...intervals(1))).toBeLessThanOrEqual(PERIOD + 20);
    expect(new Set(intervals(1)).size).toBeGreaterThan(10);
  });

  test('vCPUs of a machine draw differently', () => {
    const machine = new SpeMachine({ cpus: 2, system: { speStrategy: 'pin-vm', speJitter: 64 } });
    machine.begin(PAGE);
    // The same rows on both: equal intervals would give the same addresses.
    for (const cpu of [0, 1]) machine.samples(20, cpu);
    for (const cpu of [0, 1]) machine.disable(cpu);
    const addresses = [0, 1].map((cpu) => {
      const stream = Buffer.from(machine.emitted(cpu));
      return Array.from({ length: 10 }, (_, i) => stream.readUInt32LE(i * RECORD + 5 + 2 + 5 + 9 + 1));
    });
    expect(addresses[0]).not.toEqual(addresses[1]);
  });

  test('only the levels of the filter are sampled, and never the host at EL2', () => {
    const rows = (mode: number) => Array.from({ length: PERIOD }, (_, i) => load(BigInt(0x1000 + i * 8), 0, mode));
    const counts = (speFilter: string, mode: number) => {
      const machine = new SpeMachine({ system: { speFilter } });
      machine.begin(PAGE);
      return machine.changes(() => {
        machine.feed(rows(mode));
        machine.disable();
      });
    };
    expect(counts('user', 16)).toMatchObject({ 'spe.samples': 1 });
    expect(counts('user', 17)).toMatchObject({ 'spe.filtered': 1 });
    expect(counts('kernel', 17)).toMatchObject({ 'spe.samples': 1 });
    expect(counts('both', 2)).toMatchObject({ 'spe.filtered': 1 });
  });

  test('a vCPU that is not on a CPU is not sampled, and its interval goes on when it is back', () => {
    const machine = new SpeMachine();
    machine.begin(PAGE);
    machine.run(200);
    expect(machine.event('vm_exit', 0, 0, 1, 0)).toMatchObject({ 'spe.drains': 1 });
    machine.run(1000);
    machine.event('vm_entry', 0, 0, 1);
    machine.run(55);
    expect(spe(machine.disable()).samples).toBeUndefined();
    machine.enable();
    machine.run(200);
    machine.event('vcpu_put', 0, 0, 1);
    machine.event('vcpu_load', 0, 0, 1);
    machine.run(56);
    expect(spe(machine.disable()).samples).toBe(1);
  });

  test('a trace without spe events is profiled as configured; one that has them is obeyed', () => {
    const always = new SpeMachine({ system: { speBufferBytes: 2 * PAGE } });
    always.run(PERIOD + 1);
    always.core.finishSpe(always.lane);
    expect(always.sums()['spe.samples']).toBe(1);
    const never = new SpeMachine({ system: { speEnable: 'trace' } });
    never.run(10 * PERIOD);
    never.core.finishSpe(never.lane);
    expect(Object.keys(spe(never.sums()))).toEqual([]);
  });
});

describe('records', () => {
  const sampledRow = (row: Row, options: ConstructorParameters<typeof SpeMachine>[0] = {}) => {
    const machine = new SpeMachine(options);
    machine.begin(PAGE);
    const pc = { ...fetch(0xffff_8000_1234_5678n), mode: row.mode };
    machine.feed([...Array.from({ length: PERIOD - 2 }, () => load(0x9000n)), pc, row]);
    machine.disable();
    return last(machine.read());
  };
  const NS = 1n << 63n;

  test('a load of user space: every packet in its place', () => {
    const record = sampledRow(load(0x4321n));
    // A cold page of a machine with 4 levels: TLB access and walk, retired. Walk: 90 ns at 2.6 GHz, 234 cycles for each of 3 descriptors, as the table
    // descriptors of level 0 and 1 and 2 were cached by the page before: 1 descriptor.
    expect(Object.keys(record)).toEqual(['pb0', 'p64', 'p49', 'p62', 'p98', 'p99', 'p9a', 'pb2', 'pb3', 'p71']);
    expect(record.pb0).toBe((0xffff_8000_1234_5678n & ((1n << 56n) - 1n)) | NS);
    expect(record.p64).toBe(7n);
    expect(record.p49).toBe(0n);
    expect(record.p62).toBe(0b110010n);
    expect(record.p9a).toBe(234n);
    expect(record.p99).toBe(1n);
    expect(record.p98).toBe(235n);
    expect(record.pb2).toBe(0x4321n);
    // The page is the second that the lane has touched: 0x80_0000_0000 + its place, and the offset.
    expect(record.pb3 & 0xfffn).toBe(0x321n);
    expect(record.pb3 & NS).toBe(NS);
  });

  test('a store of the kernel to a page that the TLB has: EL1, store, no walk', () => {
    const record = sampledRow(store(0x9008n, 0, 17));
    expect(record.pb0 >> 61n).toBe(0b101n);
    expect(record.p49).toBe(1n);
    expect(record.p62).toBe(0b010010n);
    expect(record.p9a).toBe(0n);
    expect(record.p98).toBe(1n);
  });

  test('an instruction that is no access: its address, no data', () => {
    const record = sampledRow(fetch(0x7000n));
    expect(Object.keys(record)).toEqual(['pb0', 'p64', 'p48', 'p62', 'p98', 'p99', 'p71']);
    expect(record.pb0).toBe(0x7000n | NS);
    expect(record.p62).toBe(2n);
  });

  test('with line caches: where the data came from, and the events of it', () => {
    const caches = { l1i: { sets: 64, ways: 8 }, l1d: { sets: 64, ways: 8 }, l2: { sets: 512, ways: 8 }, llc: null };
    const machine = { cpuNode: [0], caches };
    // A line from the own node's memory: L1D access and refill, source DRAM. There is no LLC to access.
    expect(sampledRow(load(0x9040n), { machine })).toMatchObject({ p43: 0x0en, p62: 0b011110n, p98: 235n });
    expect(sampledRow(load(0x9000n), { machine })).toMatchObject({ p43: 0n, p62: 0b010110n, p98: 1n });
    // A store has no source.
    expect(sampledRow(store(0x9000n), { machine }).p43).toBeUndefined();
  });
});

describe('a buffer that fills', () => {
  test('after 64 records of a page the 65th is lost, once in a cycle; the guest begins anew', () => {
    const machine = new SpeMachine({ system: { speStrategy: 'pin-vm' } });
    machine.begin(PAGE);
    // The 64th is written when the unit finds no room for the 65th.
    expect(spe(machine.samples(perPage + 1))).toMatchObject({
      samples: perPage,
      lost: 1,
      full: 1,
      irqs: 1,
      guestIrqs: 1,
    });
    expect(machine.read()).toHaveLength(PAGE);
    expect(machine.violations()).toEqual([]);
  });

  test('samples between the event and its interrupt are lost: operations of t_irq over the period', () => {
    const machine = new SpeMachine({ system: { speStrategy: 'pin-vm' }, costs: { speIrq: 4 * PERIOD } });
    machine.begin(PAGE);
    // The 65th stops the unit; the interrupt comes 1024 operations later, before the 69th sample, which is due at the same operation: lost are the 65th
    // to 68th.
    expect(spe(machine.samples(perPage + 5))).toMatchObject({ lost: 4, blackout: 4 * PERIOD });
    expect(spe(machine.disable())).toMatchObject({ samples: 1 });
    expect(machine.violations()).toEqual([]);
  });

  test.each([
    [4, 1],
    [2, 2],
    [1, 4],
    // 3 pages, then the one that the guest's buffer has left.
    [3, 2],
  ])("V3: a guest's buffer of 4 pages and KVM's of %i pages: %i blackouts per guest's buffer", (pages, blackouts) => {
    const machine = new SpeMachine({ system: { speStrategy: 'copy', speKernelBytes: pages * PAGE } });
    machine.begin(4 * PAGE);
    // Each blackout loses the sample that finds the buffer full.
    expect(spe(machine.samples(4 * perPage + blackouts))).toMatchObject({
      irqs: blackouts,
      lost: blackouts,
      guestIrqs: 1,
      copyLocal: 4 * PAGE,
    });
    expect(machine.violations()).toEqual([]);
  });

  test('operations of the interrupt are rounded up', () => {
    // 513 cycles at 2 an operation are 257 operations: the sample 256 behind the one without room is lost as well. 512 are 256, and at that one the
    // interrupt is first.
    for (const [speIrq, lost] of [
      [513, 2],
      [512, 1],
    ]) {
      const machine = new SpeMachine({ system: { speStrategy: 'pin-vm' }, machine: { cpi: 2 }, costs: { speIrq } });
      machine.begin(PAGE);
      expect(spe(machine.samples(67)).lost).toBe(lost);
    }
  });

  test('1 MiB holds 16384 records', () => {
    const machine = new SpeMachine({ system: { speStrategy: 'pin-buffer' }, build: 'release' });
    machine.begin(2 ** 20);
    const counts = machine.changes(() => {
      for (let i = 0; i < 17; i++) machine.samples(1024);
    });
    // 17 * 1024 = 17408 samples: 16384, one lost, 1023, the last in flight.
    expect(spe(counts)).toMatchObject({ full: 1, lost: 1, samples: 16384 + 1022 });
  });
});

describe('strategies', () => {
  test('V1 pins the machine once, nothing traps', () => {
    const machine = new SpeMachine({ system: { speStrategy: 'pin-vm', speGuestBytes: '64M' } });
    expect(spe(machine.begin(4 * PAGE))).toEqual({ pins: 16384, pinnedMax: 64 * 2 ** 20 });
    machine.samples(10);
    expect(spe(machine.disable())).toEqual({ samples: 1, bytes: RECORD, drains: 1 });
    expect(spe(machine.destroy())).toEqual({ unpins: 16384 });
  });

  test('V1 with erratum 1978083 traps PMBPTR and PMBLIMITR', () => {
    const machine = new SpeMachine({ system: { speStrategy: 'pin-vm', speErratum: true } });
    // Programmed: pointer and limit; enabled: limit.
    expect(spe(machine.begin(PAGE))).toMatchObject({ 'trap.pmbptr': 1, 'trap.pmblimitr': 2 });
  });

  test.each([
    [2 ** 20, 0n, 1],
    // From the middle of 2M on: two last-level tables.
    [2 ** 21, 0x10_0000n, 2],
  ])('V2 pins %i bytes and the tables that map them', (bytes, offset, tables) => {
    const machine = new SpeMachine({ system: { speStrategy: 'pin-buffer' } });
    machine.event('spe_program', 0, BUFFER + offset, BUFFER + offset + BigInt(bytes), 0, 0);
    // B + 4K (last-level tables + level 2, level 1, root).
    const pinned = bytes + PAGE * (tables + 3);
    expect(spe(machine.event('spe_enable', 0, 0, 0))).toMatchObject({
      pinnedMax: pinned,
      pins: pinned / PAGE,
      softWalks: bytes / PAGE,
      // The whole way for the first page of a table, else its last entry.
      softReads: bytes / PAGE + 3 * tables,
    });
    expect(spe(machine.event('spe_disable', 0, 0, 0))).toMatchObject({ unpins: pinned / PAGE });
    expect(machine.violations()).toEqual([]);
  });

  test('V2 pins and unpins at every context switch of a profiler that follows a task', () => {
    const counts = (speToggle: boolean) => {
      const machine = new SpeMachine({ system: { speStrategy: 'pin-buffer', speToggle } });
      machine.begin(16 * PAGE);
      return spe(machine.event('ctx_switch', 0, 1, 1, 0));
    };
    // 16 pages and 4 tables; PMBLIMITR twice and PMBPTR.
    expect(counts(true)).toMatchObject({ pins: 20, unpins: 20, 'trap.pmblimitr': 2, 'trap.pmbptr': 1 });
    expect(counts(false)).toEqual({});
  });

  test('context switches need no trace', () => {
    const machine = new SpeMachine({ system: { speStrategy: 'pin-buffer', speSwitchOps: 1000 } });
    machine.begin(16 * PAGE);
    expect(spe(machine.run(5000))).toMatchObject({ pins: 5 * 20, unpins: 5 * 20 });
    expect(machine.violations()).toEqual([]);
  });

  test('V3: no page of the guest is pinned; a read of the pointer drains and copies', () => {
    const machine = new SpeMachine({ system: { speStrategy: 'copy', speKernelBytes: 2 * PAGE } });
    expect(spe(machine.begin(4 * PAGE))).toEqual({ kernelMax: 2 * PAGE, 'trap.pmbptr': 1, 'trap.pmblimitr': 2 });
    machine.samples(10);
    expect(spe(machine.readPointer())).toMatchObject({ 'trap.pmbptr': 1, copyLocal: 10 * RECORD, ownerSeen: 1 });
    // Ten more on the same page: bytes of the guest behind the first ten.
    machine.samples(10);
    expect(spe(machine.disable())).toMatchObject({ copyLocal: 10 * RECORD });
    expect(machine.read()).toHaveLength(20 * RECORD);
    expect(machine.violations()).toEqual([]);
  });

  test("V3: a buffer of KVM's on another node is copied from there", () => {
    const machine = new SpeMachine({ cpuNode: [0, 1], system: { speStrategy: 'copy', speKernelNode: 0 } });
    machine.begin(PAGE);
    machine.samples(5, 0);
    machine.samples(5, 1);
    expect(spe(machine.disable(0))).toMatchObject({ copyLocal: 5 * RECORD });
    expect(spe(machine.disable(1))).toMatchObject({ copyRemote: 5 * RECORD });
  });

  test('V3: PMBIDR.P is visible while profiling, unless its reads can be trapped', () => {
    const counts = (speFgt: boolean) => {
      const machine = new SpeMachine({ system: { speStrategy: 'copy', speFgt } });
      machine.begin(PAGE);
      const seen = spe(machine.readPointer());
      expect(machine.violations()).toEqual([]);
      return seen;
    };
    expect(counts(false)).toMatchObject({ ownerSeen: 1 });
    expect(counts(true)).toMatchObject({ 'trap.pmbidr': 1 });
    expect(counts(true).ownerSeen).toBeUndefined();
  });

  test('V3L: a stop takes the pages from stage 2, and reading one is a fault and a copy', () => {
    const machine = new SpeMachine({ system: { speStrategy: 'copy-on-read', speShareRead: 0.5 } });
    machine.begin(8 * PAGE);
    machine.samples(4 * perPage);
    // Of 4 pages the guest reads 2. Per page: IPAS2E1IS and VMALLE1IS.
    const counts = machine.disable();
    expect(spe(counts)).toMatchObject({ unmapped: 4, readFaults: 2, copyLocal: 2 * PAGE, kernelMax: 4 * PAGE });
    expect(counts).toMatchObject({ 'maintenance.tlbi.ipas2e1is': 4, 'maintenance.tlbi.vmalle1is': 4 });
    expect(machine.read()).toEqual(
      new Uint8Array([...machine.emitted().slice(PAGE, 2 * PAGE), ...machine.emitted().slice(3 * PAGE)]),
    );
    expect(machine.violations()).toEqual([]);
  });

  test('a page that the guest no longer maps ends its profiling with a stage-1 event, and what went there is lost', () => {
    for (const [speStrategy, lost] of [
      ['pin-vm', 2],
      ['copy', 20],
    ] as const) {
      const machine = new SpeMachine({ system: { speStrategy } });
      machine.begin(4 * PAGE);
      machine.event('kunmap', 0, BUFFER, 4, PAGE, 2);
      machine.samples(20);
      machine.readPointer();
      const all = spe(machine.sums());
      // V1: the first record finds no page when the second sample is due, which is lost with it; then profiling has ended. V3: all 20 when they are to be
      // copied.
      expect(all).toMatchObject({ stage1Events: 1, lost });
      expect(all.stage2Events).toBeUndefined();
      expect(machine.violations()).toEqual([]);
    }
  });

  test('V3 writes to the pages that the guest maps when it copies', () => {
    const machine = new SpeMachine({ system: { speStrategy: 'copy' } });
    machine.begin(4 * PAGE);
    machine.samples(3);
    machine.event('kmap', 0, BUFFER, 4, PAGE, 2);
    machine.samples(3);
    machine.disable();
    expect(machine.read()).toEqual(machine.emitted());
    expect(machine.violations()).toEqual([]);
  });

  test('the host cannot reclaim what is pinned; V3 has it brought back', () => {
    const reclaim = (speStrategy: string) => {
      const machine = new SpeMachine({ system: { speStrategy } });
      machine.begin(4 * PAGE);
      machine.samples(5);
      const counts = spe(machine.event('s2_unmap', 0, 0x8000_0000, 4 * PAGE, 1));
      machine.samples(5);
      machine.disable();
      expect(machine.read()).toEqual(machine.emitted());
      expect(machine.read()).toHaveLength(10 * RECORD);
      expect(machine.violations()).toEqual([]);
      return counts;
    };
    expect(reclaim('pin-vm')).toEqual({ refused: 4 });
    expect(reclaim('pin-buffer')).toEqual({ refused: 4 });
    expect(reclaim('copy')).toEqual({});
  });

  test('a dirty log: pinned pages count as always dirty, copies say what they write', () => {
    const dirty = (speStrategy: string) => {
      const machine = new SpeMachine({ system: { speStrategy } });
      machine.begin(4 * PAGE);
      const start = spe(machine.event('s2_wp', 0, 0x8000_0000, 4 * PAGE, 1)).dirtyPages ?? 0;
      machine.samples(perPage + 10);
      const stop = spe(machine.disable()).dirtyPages ?? 0;
      expect(machine.violations()).toEqual([]);
      return [start, stop];
    };
    expect(dirty('pin-vm')).toEqual([4, 0]);
    expect(dirty('pin-buffer')).toEqual([4, 0]);
    // 74 records are on two pages.
    expect(dirty('copy')).toEqual([0, 2]);
  });

  test('old pages: without PMBIDR.F pinned ones stay young; with it the unit sets the flag', () => {
    for (const speHardwareAf of [false, true]) {
      const machine = new SpeMachine({ system: { speStrategy: 'pin-buffer', speHardwareAf } });
      machine.begin(PAGE);
      machine.event('s2_age', 0, 0x8000_0000, PAGE, 1);
      machine.samples(5);
      machine.disable();
      expect(machine.read()).toHaveLength(5 * RECORD);
      expect(machine.violations()).toEqual([]);
    }
  });

  test('a cold translation of the unit: (4 + 1)(3 + 1) - 1 descriptors in a guest of 40 bits, 4 at EL2', () => {
    const refs = (speStrategy: string) => {
      const machine = new SpeMachine({ system: { speStrategy } });
      machine.begin(PAGE);
      machine.samples(5);
      machine.disable();
      const { unitWalks, unitRefs } = spe(machine.sums());
      return [unitWalks, unitRefs];
    };
    expect(refs('pin-buffer')).toEqual([1, 19]);
    expect(refs('copy')).toEqual([1, 4]);
  });
});

describe('geometries', () => {
  // Levels of the guest's tables and of stage 2 with 40 bits: MODEL 12, 1.2.
  test.each([
    [{ granule: '4K', vaBits: 39 }, 3, 3],
    [{ granule: '16K', vaBits: 47 }, 3, 2],
    [{ granule: '64K', vaBits: 42 }, 2, 2],
    [{ granule: '64K', vaBits: 48 }, 3, 2],
    [{ granule: '4K', vaBits: 52 }, 5, 3],
  ])('%j: a cold translation reads (n1 + 1)(n2 + 1) - 1 descriptors', (paging, n1, n2) => {
    const bytes = 2 ** 17;
    for (const speStrategy of STRATEGIES) {
      const machine = new SpeMachine({ paging, system: { speStrategy, speKernelBytes: '64K' } });
      const at = -(1n << BigInt(paging.vaBits)) + 0x1000_0000n;
      machine.event('spe_program', 0, BigInt.asUintN(64, at), BigInt.asUintN(64, at + BigInt(bytes)), 0, 0);
      machine.event('spe_enable', 0, 0, 0);
      machine.samples(20);
      machine.event('spe_disable', 0, 0, 0);
      const { unitWalks, unitRefs } = spe(machine.sums());
      const each = speStrategy.startsWith('copy') ? n1 : (n1 + 1) * (n2 + 1) - 1;
      expect([unitWalks, unitRefs]).toEqual([1, each]);
      expect(machine.read()).toEqual(machine.emitted());
      expect(machine.violations()).toEqual([]);
    }
  });
});

describe('P-F1 to P-F3', () => {
  const step = fc.oneof(
    fc.record({
      is: fc.constant('run' as const),
      samples: fc.integer({ min: 1, max: 90 }),
      cpu: fc.integer({ min: 0, max: 1 }),
    }),
    fc.record({
      is: fc.constantFrom(
        'disable',
        'enable',
        'spe_read_ptr',
        'spe_drain',
        'spe_irq',
        'ctx_switch',
        'exit',
        'reclaim',
        'wp',
        'remap',
      ),
      cpu: fc.integer({ min: 0, max: 1 }),
    }),
  );

  test.each(STRATEGIES)(
    '%s: whatever happens, the guest reads the records that were emitted, in order',
    (speStrategy) => {
      fc.assert(
        fc.property(fc.array(step, { minLength: 1, maxLength: 25 }), fc.integer({ min: 1, max: 3 }), (steps, pages) => {
          const machine = new SpeMachine({
            cpus: 2,
            system: { speStrategy, speKernelBytes: pages * PAGE, speJitter: 30, speEnable: 'trace' },
            costs: { speIrq: 300 },
          });
          // The tables of what the rows access.
          for (const cpu of [0, 1]) {
            machine.run(1, cpu);
            machine.event('ctx_switch', cpu, 1, 1, 0);
          }
          const base = machine.tableBytes();
          machine.begin(2 * PAGE);
          for (const action of steps) {
            const { cpu } = action;
            if (action.is === 'run') machine.samples(action.samples, cpu);
            else if (action.is === 'disable') machine.disable(cpu);
            else if (action.is === 'enable') machine.enable(cpu);
            else if (action.is === 'ctx_switch') machine.event('ctx_switch', cpu, 1, 1, 0);
            else if (action.is === 'exit') {
              machine.event('vm_exit', cpu, cpu, 1, 0);
              machine.event('vm_entry', cpu, cpu, 1);
            } else if (action.is === 'reclaim') machine.event('s2_unmap', cpu, 0x8000_0000, 4 * PAGE, 1);
            else if (action.is === 'wp') machine.event('s2_wp', cpu, 0x8000_0000, 4 * PAGE, 1);
            // V2 must not see the guest change its buffer while it is enabled (N-15).
            else if (action.is === 'remap') {
              if (speStrategy === 'pin-buffer') machine.disable(cpu);
              machine.event('kmap', cpu, BUFFER + BigInt(cpu) * 0x1000_0000n, 2, PAGE, 2);
            } else machine.event(action.is, cpu, cpu, 1);
          }
          for (const cpu of [0, 1]) machine.disable(cpu);
          for (const cpu of [0, 1]) expect(Buffer.compare(machine.emitted(cpu), machine.read(cpu))).toBe(0);
          const { samples = 0, lost = 0, bytes = 0 } = spe(machine.sums());
          expect(bytes).toBe(samples * RECORD);
          expect(machine.emitted(0).length + machine.emitted(1).length).toBe(bytes);
          if (samples < 60) expect(lost).toBe(0);
          machine.destroy();
          // What is left are the host's own tables for buffers: the root and a way of 3.
          if (!steps.some(({ is }) => is === 'remap'))
            expect(machine.tableBytes() - base).toBe(speStrategy.startsWith('copy') ? 4 * PAGE : 0);
          expect(machine.violations()).toEqual([]);
        }),
        { numRuns: 25 },
      );
    },
  );
});
