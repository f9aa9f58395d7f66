// Machines whose vCPUs are moved, profiled, stopped and remapped at random, under every strategy: no invariant breaks, what the interval counter has
// produced is accounted for, and every stream can be read back.

import { describe, expect, test } from 'vitest';
import { noDamage, SpeDecoder, SpeRecords } from '../../traces/spe/decode.js';
import { BUFFER, fetch, load, PAGES, RECORD, spe, SpeMachine, store, TABLES } from './speMachine.js';
import { numbersFrom } from '../traces/mutations.js';

const STRATEGIES = ['pin-vm', 'pin-buffer', 'copy', 'copy-on-read'];
const CPUS = 3;
const STEPS = 120;
const GRANULES = { '4K': 4096, '16K': 16384, '64K': 65536 } as const;

/** What the test knows of a vCPU: where it is, and the operations since its buffer was enabled. */
interface Known {
  number: number;
  cpu: number;
  programmed: boolean;
  enabled: boolean;
  operations: number;
  va: bigint;
  pages: number;
}

class RandomMachine {
  readonly machine: SpeMachine;
  readonly period: number;
  /** Intervals that have ended. */
  produced = 0;
  private readonly page: number;
  private readonly vcpus: Known[] = Array.from({ length: CPUS }, (_, number) => ({
    number,
    cpu: -1,
    programmed: false,
    enabled: false,
    operations: 0,
    va: 0n,
    pages: 0,
  }));

  constructor(
    private readonly speStrategy: string,
    private readonly below: (bound: number) => number,
  ) {
    const granule = this.pick(Object.keys(GRANULES) as (keyof typeof GRANULES)[]);
    this.page = GRANULES[granule];
    this.period = this.pick([256, 300, 512]);
    this.machine = new SpeMachine({
      cpuNode: [0, 0, 1],
      paging: { granule },
      build: 'release',
      has: { insns: true },
      costs: { speIrq: this.pick([0, 500, 3000]), speHandler: this.pick([0, 1000]), exitVhe: 10, gup: 7, copyLine: 3 },
      system: {
        speStrategy,
        spePeriod: this.period,
        speEnable: 'trace',
        speGuestBytes: '16M',
        speKernelBytes: this.page * this.pick([1, 3, 64]),
        speToggle: this.pick([true, false]),
        speFgt: this.pick([true, false]),
        speShareRead: this.pick([1, 1, 0.5, 0]),
        speSwitchOps: this.pick([0, 0, 5000]),
      },
    });
    this.machine.event('vm_create', 0, 1, 40);
  }

  private pick = <T>(of: readonly T[]): T => of[this.below(of.length)];
  private on = (cpu: number) => this.vcpus.find((v) => v.cpu === cpu);

  private enter(v: Known, cpu: number): void {
    const there = this.on(cpu);
    if (there) there.cpu = -1;
    v.cpu = cpu;
  }

  private stop(v: Known): void {
    if (v.enabled) this.produced += Math.floor(v.operations / this.period);
    v.enabled = false;
    v.operations = 0;
  }

  step(): void {
    const { machine, page } = this;
    const v = this.pick(this.vcpus);
    const cpu = v.cpu >= 0 && this.below(5) > 0 ? v.cpu : this.below(CPUS);
    const own = (name: string) => {
      machine.event(name, cpu, v.number, 1);
      this.enter(v, cpu);
    };
    switch (
      this.pick(['program', 'enable', 'enable', 'disable', 'look', 'move', 'host', 'remap', 'down', 'rows', 'rows'])
    ) {
      case 'program': {
        own('vcpu_load');
        v.pages = this.pick([1, 2, 3, 5]);
        // At a multiple of 2M or across one; beginning within the first page, ending a little behind the last.
        v.va = BUFFER + BigInt(v.number * 0x1000_0000 + this.pick([0, 0x20_0000 - page]));
        const begins = v.va + BigInt(this.pick([0, 0, 64, 640, page - RECORD]));
        const ends = v.va + BigInt(v.pages * page + this.pick([0, 100]));
        machine.event('spe_program', cpu, begins, ends, v.number, this.below(4));
        this.stop(v);
        v.programmed = true;
        break;
      }
      case 'enable':
        own('spe_enable');
        v.enabled = v.programmed;
        break;
      case 'disable':
        own('spe_disable');
        this.stop(v);
        break;
      case 'look':
        own(this.pick(['spe_read_ptr', 'spe_drain', 'spe_irq']));
        break;
      case 'move':
        if (this.below(2)) own('vcpu_load');
        else if (v.cpu >= 0) {
          machine.event('vcpu_put', v.cpu, v.number, 1);
          v.cpu = -1;
        } else machine.event('ctx_switch', cpu, 0, 1, 0);
        break;
      case 'host':
        machine.event(this.pick(['s2_unmap', 's2_wp', 's2_age']), 0, this.pick([PAGES, TABLES]), 0x100_0000, 1);
        break;
      case 'remap':
        // V2 does not survive that of an enabled buffer (N-15).
        if (v.programmed && v.cpu >= 0 && !(this.speStrategy === 'pin-buffer' && v.enabled))
          machine.event('kmap', v.cpu, v.va, v.pages, page, 2);
        break;
      case 'down': {
        const there = this.on(2);
        machine.event('cpu_down', 0, 2);
        machine.event('cpu_up', 0, 2);
        if (there) there.cpu = -1;
        break;
      }
      case 'rows':
        this.rows(cpu);
    }
  }

  private rows(cpu: number): void {
    let operations = 0;
    const rows = Array.from({ length: this.below(3000) }, () => {
      const mode = 16 + this.below(2);
      const va = BigInt(0x10_0000 + this.below(0x800) * 8);
      const insns = this.pick([1, 4, 16, 200]);
      const isFetch = this.below(3) === 0;
      operations += isFetch ? insns : 1;
      if (isFetch) return fetch(va, insns, cpu, mode);
      return { ...this.pick([load, store])(va, cpu, mode), insns: 0 };
    });
    const v = this.on(cpu);
    if (v?.enabled) v.operations += operations;
    this.machine.feed(rows);
  }

  end(): void {
    this.machine.core.finishSpe(this.machine.lane);
    this.vcpus.forEach((v) => this.stop(v));
  }
}

function timestamps(stream: Uint8Array): bigint[] {
  const times: bigint[] = [];
  for (const { count, timestamp } of new SpeDecoder(new SpeRecords(), noDamage()).decode(stream)) {
    times.push(...timestamp.subarray(0, count));
  }
  expect(times.length).toBe(stream.length / RECORD);
  return times;
}

describe.each(STRATEGIES)('%s', (speStrategy) => {
  test.each([1, 2, 3, 4, 5, 6])('machine %i', (seed) => {
    const it = new RandomMachine(speStrategy, numbersFrom(seed));
    for (let step = 0; step < STEPS; step++) {
      it.step();
      expect(it.machine.violations(), `step ${step}`).toEqual([]);
    }
    it.end();
    const { machine } = it;
    expect(machine.violations()).toEqual([]);
    const { samples = 0, lost = 0, filtered = 0, collisions = 0, pins = 0, unpins = 0 } = spe(machine.sums());
    expect(samples + lost + filtered + collisions).toBe(it.produced);
    expect(samples).toBeGreaterThan(0);
    if (speStrategy === 'pin-buffer') expect(unpins).toBe(pins);
    for (let cpu = 0; cpu < CPUS; cpu++) {
      const times = timestamps(machine.emitted(cpu));
      expect(times).toEqual([...times].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
    }
  });
});
