// A machine on which KVM/ARM starts HYP mode, for tests: events one by one, rows at EL2, and what the tables and CPUs are afterwards.

import { resolveConfig } from '../../host/config/load.js';
import { type Core } from '../../host/core/instance.js';
import { Replayer } from '../../host/replay/replayer.js';
import { topologyOf } from '../../host/replay/topology.js';
import { EVENTS } from '../../traces/events.js';
import { countersByKey } from './replay.js';
import { batchOf } from './rows.js';

export interface HypOptions {
  cpus?: number;
  vaBits?: number;
  system?: Record<string, unknown>;
  costs?: Record<string, number>;
}

export const PAGE = 4096n;
export const NOWHERE = (1n << 64n) - 1n;
const kinds = new Map(EVENTS.map(({ name, kind }) => [name, kind]));
const has = { pa: false, size: false, insns: false, mode: true, asid: false, vm: false };
/** Costs nothing, so that cycles are those that a test names. */
const FREE = Object.fromEntries(
  ['rootWrite', 'rootWriteFlush', 'tlbiLocal', 'tlbiBroadcast', 'isb', 'dsb', 'hvc', 'pageAlloc'].map((k) => [k, 0]),
);

export class HypMachine {
  readonly core: Core;
  readonly lane: number;
  readonly cpus: number;
  private readonly replayer: Replayer;
  private record = 0n;

  constructor({ cpus = 2, vaBits = 48, system = {}, costs = {} }: HypOptions = {}) {
    this.cpus = cpus;
    const config = resolveConfig(
      {
        machine: { cpuNode: Array.from({ length: cpus }, () => 0), costs: { ...FREE, ...costs } },
        paging: { format: 'arm64', granule: '4K', vaBits },
        system: { name: 'hyp-init', ...system },
        replay: { checks: true },
      },
      'test',
    );
    const topology = topologyOf(config, { cpuNode: null, cpus });
    const columns = ['cpu', 'kind', 'va', 'mode'] as const;
    this.replayer = new Replayer({ path: 'test', columns, regions: [] }, [config], [topology], 'debug');
    this.core = this.replayer.core;
    this.lane = this.replayer.lanes[0];
  }

  /** Expands an event; what it counted over all CPUs, by key, zeros left out. */
  event(name: string, cpu: number, ...operands: (bigint | number)[]): Record<string, number> {
    const [va = 0n, arg = 0n, pages = 0n] = operands.map(BigInt);
    return this.changes(() => this.core.runEvent(this.record++, cpu, kinds.get(name)!, va, arg, pages, 0n, 0n));
  }

  /** One row at EL2: 0 fetch, 1 load, 2 store. */
  touch(cpu: number, va: bigint, kind = 1): Record<string, number> {
    return this.changes(() => this.replayer.feed(batchOf([{ cpu, kind, va, mode: 2, asid: 0 }], has)));
  }

  /** The tables for an init page, mapped pages, and the CPUs that are up then. */
  begin(va: bigint, pa: bigint, maps: [va: bigint, pa: bigint, pages: bigint][] = []): void {
    this.event('hyp_init', 0, va, pa);
    for (const [mapVa, mapPa, pages] of maps) this.event('hyp_map', 0, mapVa, mapPa, pages);
    for (let cpu = 0; cpu < this.cpus; cpu++) this.event('hyp_init', cpu, va, pa);
  }

  /** A CPU goes down and up. */
  cycle(cpu: number): void {
    this.event('cpu_down', 0, cpu);
    this.event('cpu_up', 0, cpu);
  }

  /** Names of the CPUs' states. */
  states(): string[] {
    const { HypState } = this.core;
    const names = new Map(Object.entries(HypState).map(([name, value]) => [value, name]));
    return Array.from({ length: this.cpus }, (_, cpu) => names.get(this.core.hypStateOf(this.lane, cpu))!);
  }

  /** Where a table leads; null: nowhere. */
  address(table: 'boot' | 'runtime', va: bigint): bigint | null {
    const pa = this.core.hypAddress(this.lane, table === 'boot', va);
    return pa === NOWHERE ? null : pa;
  }

  /** The descriptors of a walk, root first. */
  walk(table: 'boot' | 'runtime', va: bigint): bigint[] {
    const steps = [0, 1, 2, 3].map((step) => this.core.hypDescriptor(this.lane, table === 'boot', va, step));
    return steps.filter((entry) => entry !== 0n);
  }

  tableBytes(): number {
    return Number(this.core.tableBytesOf(this.lane, 0));
  }

  /** The invariants that were broken, each with the record of the first event that broke it. */
  violations(): Record<string, number> {
    const { core, lane } = this;
    const broken = Object.entries(core.Check).filter(
      ([name, check]) => name !== 'Count' && core.violationCount(lane, check) > 0n,
    );
    return Object.fromEntries(broken.map(([name, check]) => [name, Number(core.violationRecord(lane, check))]));
  }

  private changes(act: () => void): Record<string, number> {
    const before = this.sums();
    act();
    const after = this.sums();
    const changed = Object.entries(after).map(([key, n]) => [key, n - (before[key] ?? 0)] as const);
    return Object.fromEntries(changed.filter(([, n]) => n !== 0));
  }

  private sums(): Record<string, number> {
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
