// Profiling where vCPUs, machines and buffers come and go: what was recorded is not lost, and nothing of one is another's.

import { describe, expect, test } from 'vitest';
import { BUFFER, PAGE, PAGES, RECORD, spe, SpeMachine } from './speMachine.js';

const STRATEGIES = ['pin-vm', 'pin-buffer', 'copy', 'copy-on-read'];

describe.each(STRATEGIES)('%s', (speStrategy) => {
  const machine = (more: object = {}) =>
    new SpeMachine({ system: { speStrategy, speGuestBytes: '16M' }, cpuNode: [0, 0], ...more });

  test('a vCPU that goes to a CPU with another clock is sampled there as before', () => {
    const it = machine();
    it.event('vcpu_load', 0, 0, 1);
    it.event('spe_program', 0, BUFFER, BUFFER + 0x1_0000n, 0, 0);
    it.enable(0);
    it.samples(10, 0);
    it.event('vcpu_load', 1, 0, 1);
    // CPU 1 has done nothing yet; 5 intervals of 256 loads there. The record of the last is written by the stop.
    const there = spe(it.samples(5, 1));
    expect(there.collisions).toBeUndefined();
    it.disable(1);
    expect(spe(it.sums()).samples).toBe(15);
    expect(it.violations()).toEqual([]);
  });

  test('another machine that is destroyed on the CPU does not stop it', () => {
    const it = machine();
    it.begin(4 * PAGE);
    it.event('vcpu_load', 0, 7, 2);
    it.event('spe_program', 0, BUFFER, BUFFER + 0x1000n, 7, 0);
    it.event('spe_enable', 0, 7, 2);
    it.samples(2);
    it.event('vcpu_load', 0, 0, 1);
    it.event('vm_destroy', 0, 2);
    const before = it.emitted().length;
    it.samples(6);
    it.disable();
    expect(it.emitted().length - before).toBe(6 * RECORD);
    expect(it.violations()).toEqual([]);
  });

  test('what a vCPU has recorded is read at the end though it is on no CPU then, and nothing stays pinned', () => {
    const it = machine();
    it.begin(4 * PAGE);
    it.samples(5, 1);
    it.event('vcpu_put', 1, 1, 1);
    it.core.finishSpe(it.lane);
    expect(it.read(1)).toEqual(it.emitted(1));
    expect(it.read(1).length).toBe(5 * RECORD);
    const { pins, unpins } = spe(it.sums());
    // V1 pins for the machine's life.
    if (speStrategy !== 'pin-vm') expect(unpins).toBe(pins);
  });

  test('a buffer that begins anywhere begins at a multiple of 64: no record crosses a page', () => {
    const it = machine();
    it.event('vcpu_load', 0, 0, 1);
    it.event('spe_program', 0, BUFFER + 40n, BUFFER + 0x2000n, 0, 0);
    it.enable();
    // [64, 8192) holds (8192 - 64) / 64 = 127 records; of 129 samples the 128th finds no room and the 129th follows in the buffer that is empty again.
    const counts = spe(it.samples(129));
    expect(counts).toMatchObject({ samples: 127, lost: 1, full: 1 });
    it.disable();
    expect(it.read()).toEqual(it.emitted());
    expect(it.violations()).toEqual([]);
  });

  test('a buffer without room for a record is none', () => {
    const it = machine();
    for (const [from, limit] of [
      [BUFFER, BUFFER],
      [BUFFER, 0n],
      [BUFFER + 0x800n, BUFFER + 0xc00n],
      [0xffff_ffff_ffff_fff8n, 0xffff_ffff_ffff_ffffn],
      [BUFFER, 0xffff_ffff_ffff_ffffn],
    ]) {
      it.event('spe_program', 0, from, limit, 0, 0);
      it.enable();
      expect(spe(it.samples(3)).samples).toBeUndefined();
      it.disable();
    }
    expect(it.violations()).toEqual([]);
  });

  test('pages of 4K that are mapped anew are of one page of 16K', () => {
    const it = machine({ paging: { granule: '16K' } });
    it.event('vcpu_load', 0, 0, 1);
    it.event('spe_program', 0, BUFFER, BUFFER + 0x1_0000n, 0, 0);
    it.event('kmap', 0, BUFFER, 4, PAGE, 2);
    // Pages at 0x8000_0000: four for the buffer, one for the kmap, no more.
    const taken = Array.from({ length: 8 }, (_, i) => it.event('s2_fault', 0, 0x8000_0000 + i * 0x4000, 0x4000, 1));
    const stores = taken.map((counts) => counts['maintenance.tableStore'] ?? 0);
    // The host maps what stage 2 has not: the new page, unless V1 has mapped it already.
    expect(stores).toEqual([0, 0, 0, 0, speStrategy === 'pin-vm' ? 0 : 1, 0, 0, 0]);
  });

  test('the own profiling of the system ends where the events of the trace begin', () => {
    const it = machine();
    it.samples(4, 0);
    it.samples(4, 1);
    it.event('spe_program', 0, BUFFER, BUFFER + 0x1000n, 0, 0);
    expect(it.emitted(0).length + it.emitted(1).length).toBe(8 * RECORD);
    it.samples(4, 0);
    it.samples(4, 1);
    expect(it.emitted(0).length + it.emitted(1).length).toBe(8 * RECORD);
  });

  test('a machine that is there is not created again', () => {
    const it = machine();
    it.begin(4 * PAGE);
    it.event('vm_create', 0, 1, 40);
    it.samples(3);
    it.disable(0);
    it.disable(1);
    it.destroy();
    expect(it.tableBytes()).toBe(machineBytes());
    const { pins = 0, unpins = 0 } = spe(it.sums());
    expect(unpins).toBe(pins);
  });

  /** Tables that stay when the only machine is gone: the kernel's, and those of KVM's buffer. */
  function machineBytes(): number {
    const it = machine();
    it.begin(4 * PAGE);
    it.samples(3);
    it.disable(0);
    it.disable(1);
    it.destroy();
    return it.tableBytes();
  }
});

test('V3L: what was not read of a buffer is given up when it is programmed anew', () => {
  const it = new SpeMachine({ system: { speStrategy: 'copy-on-read', speShareRead: 0 } });
  it.begin(2 * PAGE);
  it.samples(10);
  it.readPointer();
  it.samples(10);
  // KVM keeps bytes 640 to 1280 of the first page.
  it.disable();
  it.event('spe_program', 0, BUFFER, BUFFER + 0x2000n, 0, 0);
  it.enable();
  it.samples(3);
  it.disable();
  expect(it.violations()).toEqual([]);
});

test('V3L: what is kept for a page goes with it when the guest remaps', () => {
  const it = new SpeMachine({ system: { speStrategy: 'copy-on-read' } });
  it.begin(PAGE);
  it.samples(10);
  it.readPointer();
  it.samples(10);
  // Bytes 0 to 640 are in the page, KVM keeps 640 to 1280.
  it.event('ctx_switch', 0, 2, 8, 1);
  it.event('kmap', 0, BUFFER, 1, PAGE, 2);
  it.disable();
  expect(it.read().length).toBe(20 * RECORD);
  expect(it.read()).toEqual(it.emitted());
  expect(it.violations()).toEqual([]);
});

test('V2: the host finds pinned pages old only where the unit sets the access flag', () => {
  for (const [speHardwareAf, old] of [
    [false, 0],
    [true, 4],
  ] as const) {
    const it = new SpeMachine({ system: { speStrategy: 'pin-buffer', speHardwareAf } });
    it.begin(4 * PAGE);
    expect(it.event('s2_age', 0, PAGES, 4 * PAGE, 1)['maintenance.tableStore'] ?? 0).toBe(old);
    it.samples(3);
    it.disable();
    expect(it.violations()).toEqual([]);
  }
});

test('a fault that is found at a context switch ends the profiling as any other', () => {
  const it = new SpeMachine({ system: { speStrategy: 'pin-vm' } });
  it.begin(PAGE);
  it.samples(1);
  it.event('kunmap', 0, BUFFER, 1, PAGE, 2);
  // The stop drains the record of the sample, for which there is no page.
  expect(spe(it.event('ctx_switch', 0, 2, 8, 1))).toMatchObject({ stage1Events: 1, guestIrqs: 1, lost: 1 });
  expect(spe(it.samples(3))).toEqual({});
});
