// A machine with profiling in KVM guests, for tests: events one by one, runs of rows, what was counted, and both streams.

import { resolveConfig } from '../../host/config/load.js';
import { type Core, type Build } from '../../host/core/instance.js';
import { Replayer } from '../../host/replay/replayer.js';
import { topologyOf } from '../../host/replay/topology.js';
import { EVENTS } from '../../traces/events.js';
import { countersByKey } from './replay.js';
import { batchOf } from './rows.js';
import { type Row } from '../oracle/types.js';

export interface SpeOptions {
  cpus?: number;
  cpuNode?: number[];
  paging?: object;
  machine?: object;
  system?: Record<string, unknown>;
  /** Cycles by key of machine.costs; what is not named costs nothing. */
  costs?: Record<string, number>;
  checks?: boolean;
  build?: Build;
  has?: Partial<typeof HAS>;
}

export const PAGE = 4096;
export const RECORD = 64;
/** A buffer in the guest kernel's addresses, at a multiple of 2M. */
export const BUFFER = 0xffff_8000_0000_0000n;
/** Where guests have the pages of buffers and their tables, in the order in which they take them. */
export const PAGES = 0x8000_0000n;
export const TABLES = 0x4000_0000n;
const VM = 1;

const kinds = new Map(EVENTS.map(({ name, kind }) => [name, kind]));
const HAS = { pa: false, size: false, insns: false, mode: true, asid: true, vm: false };
const FREE = Object.fromEntries(
  [
    ...['rootWrite', 'rootWriteFlush', 'tlbiLocal', 'tlbiBroadcast', 'isb', 'dsb', 'hvc', 'pageAlloc', 'copyLine'],
    ...['exitVhe', 'exitNvhe', 'speIrq', 'speHandler', 'gup', 'stage2Map', 'unpin', 'guestRead'],
  ].map((key) => [key, 0]),
);

export class SpeMachine {
  readonly core: Core;
  readonly lane: number;
  readonly cpus: number;
  private readonly replayer: Replayer;
  private readonly has: typeof HAS;
  private record = 0n;

  constructor({
    cpus = 1,
    cpuNode = Array.from({ length: cpus }, () => 0),
    paging = {},
    machine = {},
    system = {},
    costs = {},
    checks = true,
    build = 'debug',
    has = {},
  }: SpeOptions = {}) {
    this.cpus = cpuNode.length;
    this.has = { ...HAS, ...has };
    const config = resolveConfig(
      {
        machine: { cpuNode, ...machine, costs: { ...FREE, ...costs } },
        paging: { format: 'arm64', ...paging },
        system: { name: 'spe', spePeriod: 256, speKeep: true, ...system },
        replay: { checks },
      },
      'test',
    );
    const topology = topologyOf(config, { cpuNode: null, cpus: this.cpus });
    const columns = Object.entries({ cpu: true, kind: true, va: true, ...this.has })
      .filter(([, there]) => there)
      .map(([name]) => name) as ['cpu'];
    this.replayer = new Replayer({ path: 'test', columns, regions: [] }, [config], [topology], build);
    this.core = this.replayer.core;
    this.lane = this.replayer.lanes[0];
  }

  /** Expands an event; what it counted over all CPUs, zeros left out. */
  event(name: string, cpu: number, ...operands: (bigint | number)[]): Record<string, number> {
    const [va = 0n, arg = 0n, a = 0n, b = 0n, c = 0n] = operands.map(BigInt);
    return this.changes(() => this.core.runEvent(this.record++, cpu, kinds.get(name)!, va, arg, a, b, c));
  }

  /** The machine that a test starts with: vCPU n on CPU n, each with a buffer of `bytes`, enabled. */
  begin(bytes: number, { enabled = true } = {}): Record<string, number> {
    return this.changes(() => {
      this.event('vm_create', 0, VM, 40);
      for (let cpu = 0; cpu < this.cpus; cpu++) {
        this.event('vcpu_load', cpu, cpu, VM);
        const at = BUFFER + BigInt(cpu) * 0x1000_0000n;
        this.event('spe_program', cpu, at, at + BigInt(bytes), cpu, 0);
        if (enabled) this.event('spe_enable', cpu, cpu, VM);
      }
    });
  }

  enable = (cpu = 0) => this.event('spe_enable', cpu, cpu, VM);
  disable = (cpu = 0) => this.event('spe_disable', cpu, cpu, VM);
  readPointer = (cpu = 0) => this.event('spe_read_ptr', cpu, cpu, VM);
  destroy = () => this.event('vm_destroy', 0, VM);

  /** Rows as they are. */
  feed(rows: readonly Row[]): Record<string, number> {
    return this.changes(() => this.replayer.feed(batchOf(rows, this.has)));
  }

  /** `count` loads of a CPU within a few pages. */
  run(count: number, cpu = 0): Record<string, number> {
    return this.feed(Array.from({ length: count }, (_, i) => load(BigInt(0x10_0000 + ((i * 64) % 0x4000)), cpu)));
  }

  /** Loads for so many samples. */
  samples(count: number, cpu = 0): Record<string, number> {
    return this.run(count * 256, cpu);
  }

  /** What a CPU's unit has written, and what the guest has read there. */
  emitted = (cpu = 0) => this.stream(cpu, false);
  read = (cpu = 0) => this.stream(cpu, true);

  private stream(cpu: number, read: boolean): Uint8Array {
    const { core, lane } = this;
    const at = core.speStream(lane, cpu, read);
    return new Uint8Array(core.memory.buffer, at, core.speStreamBytes(lane, cpu, read)).slice();
  }

  tableBytes(): number {
    return Number(this.core.tableBytesOf(this.lane, 0));
  }

  /** Names of the invariants that were broken. */
  violations(): string[] {
    const { core, lane } = this;
    return Object.entries(core.Check)
      .filter(([name, check]) => name !== 'Count' && core.violationCount(lane, check) > 0n)
      .map(([name]) => name)
      .sort();
  }

  changes(act: () => void): Record<string, number> {
    const before = this.sums();
    act();
    const after = this.sums();
    const changed = Object.entries(after).map(([key, n]) => [key, n - (before[key] ?? 0)] as const);
    return Object.fromEntries(changed.filter(([, n]) => n !== 0));
  }

  sums(): Record<string, number> {
    const { core } = this;
    const counters = new BigUint64Array(core.Stat.Count * this.cpus);
    const out = core.allocate(core.Stat.Count * 8, 8);
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      core.collectCounters(0, cpu, out);
      counters.set(new BigUint64Array(core.memory.buffer, out, core.Stat.Count), cpu * core.Stat.Count);
    }
    const sums: Record<string, number> = {};
    for (const own of countersByKey(counters))
      for (const [key, n] of Object.entries(own)) sums[key] = (sums[key] ?? 0) + n;
    return sums;
  }
}

export const load = (va: bigint, cpu = 0, mode = 16): Row => ({ cpu, kind: 1, va, mode, asid: 7 }) as Row;
export const store = (va: bigint, cpu = 0, mode = 16): Row => ({ ...load(va, cpu, mode), kind: 2 });
export const fetch = (va: bigint, insns = 1, cpu = 0, mode = 16): Row =>
  ({ ...load(va, cpu, mode), kind: 0, insns }) as Row;

/** The counters of profiling alone, without the prefix. */
export const spe = (counts: Record<string, number>) =>
  Object.fromEntries(
    Object.entries(counts)
      .filter(([key]) => key.startsWith('spe.'))
      .map(([key, n]) => [key.slice(4), n]),
  );
