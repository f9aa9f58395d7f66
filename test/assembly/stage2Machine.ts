// Guests' stage-2 faults in the core, described call by call, for tests: one node, 4K pages and every time 0 unless given.

import { type Core, instantiateCore, type Pointer } from '../../host/core/instance.js';

export interface Machine {
  cpus: number;
  /** Names of Option and of Fault. */
  options?: string[];
  faults?: string[];
  /** Cycles by names of Cost. */
  costs?: Record<string, number>;
  build?: 'debug' | 'release';
  pageShift?: 12 | 14 | 16;
}

export const PAGE = 2 ** 12;
export const BLOCK = 2 ** 21;

export class Stage2Machine {
  readonly core: Core;
  readonly lane: Pointer;
  private readonly cpus: number;
  private rows = 0;

  constructor({ cpus, ...machine }: Machine) {
    const core = (this.core = instantiateCore(machine.build ?? 'debug'));
    this.cpus = cpus;
    const bits = (values: Record<string, number>, names: string[] = []) =>
      names.reduce((sum, name) => sum | values[name], 0);
    const lane = (this.lane = core.createLane(cpus, 1));
    const shift = machine.pageShift ?? 12;
    // 48 bits of addresses.
    const levels = Math.ceil((48 - shift) / (shift - 3));
    const rootBits = 48 - shift - (levels - 1) * (shift - 3);
    core.setStage1(lane, core.Format.ArmStage1, shift, levels, rootBits, 48, 0);
    core.addPageSize(lane, shift, 0, 0);
    for (const level of [core.Level.L1i, core.Level.L1d]) core.addTlbArray(lane, level, 1, 1, 1);
    core.setPageSizes(lane, 0, 1);
    core.setPlacement(lane, core.Policy.FirstTouch, 0, core.Policy.FirstTouch, 0);
    core.setReplay(lane, core.Mapping.Demand, false, false, true);
    const options = bits(core.Option, machine.options);
    core.setSystem(lane, core.System.Stage2Faults, false, options, bits(core.Fault, machine.faults), true);
    for (const [name, cycles] of Object.entries(machine.costs ?? {})) core.setCost(lane, core.Cost[name], cycles);
    core.startLane(lane);
  }

  /** Takes an event of the given name in Event up, at a CPU. */
  event(name: string, cpu: number, ...operands: number[]): void {
    const [va, arg, a, b, c] = Array.from({ length: 5 }, (_, i) => BigInt(operands[i] ?? 0));
    this.core.runEvent(BigInt(this.rows++), cpu, this.core.Event[name], va, arg, a, b, c);
  }

  /** A guest of 40 bits of addresses: a root of two pages, two levels under it. */
  create(vm = 1, ipaBits = 40): void {
    this.event('VmCreate', 0, vm, ipaBits);
  }

  destroy(vm = 1): void {
    this.event('VmDestroy', 0, vm);
  }

  /** Accesses to [ipa, ipa + bytes), with mappings of `page` bytes; class 0 and 1 write, 2 reads. */
  fault(cpu: number, ipa: number, bytes: number, page = PAGE, faultClass = 0): void {
    this.event('Stage2Fault', cpu, ipa, bytes, 1, faultClass, page);
  }

  /** Runs what was taken up. */
  run(): void {
    this.core.runTakenEvents();
  }

  /** A counter of one CPU, or the sum over all. */
  counter(stat: string, cpu?: number): number {
    const { core } = this;
    const out = core.allocate(core.Stat.Count * 8, 8);
    const cpus = cpu === undefined ? Array.from({ length: this.cpus }, (_, i) => i) : [cpu];
    return cpus.reduce((sum, one) => {
      core.collectCounters(0, one, out);
      return sum + Number(new DataView(core.memory.buffer).getBigUint64(out + core.Stat[stat] * 8, true));
    }, 0);
  }

  /** What the counters named count from now until `rows` have been run. */
  counted(stats: string[], rows: () => void): Record<string, number> {
    const before = stats.map((stat) => this.counter(stat));
    rows();
    this.run();
    return Object.fromEntries(stats.map((stat, i) => [stat, this.counter(stat) - before[i]]));
  }

  /** How often each invariant was broken, those that were. */
  violations(): Record<string, number> {
    const { core, lane } = this;
    const all = Object.entries(core.Check).filter(([name]) => name !== 'Count');
    return Object.fromEntries(
      all.map(([name, check]) => [name, Number(core.violationCount(lane, check))]).filter(([, count]) => count),
    );
  }

  tablePages(): number {
    return Number(this.core.tableBytesOf(this.lane, 0)) / PAGE;
  }
}
