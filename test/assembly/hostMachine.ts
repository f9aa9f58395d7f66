// A pKVM host in the core, described call by call, for tests: one CPU per node, arm64 with 4K pages and 48 bits, first-level TLBs of 16
// entries for every size, no walk caches unless asked for.

import { type Core, instantiateCore, type Pointer } from '../../host/core/instance.js';

/** Functions of the core that only the replay calls otherwise. */
interface Events {
  runEvent(record: bigint, cpu: number, kind: number, va: bigint, arg: bigint, a: bigint, b: bigint, c: bigint): void;
}

export interface Row {
  cpu: number;
  va: bigint;
  /** 0 fetch, 1 load, 2 store; a load unless given. */
  kind?: number;
  pa?: bigint;
  /** 1: kernel, which is what rows have unless given. */
  mode?: number;
}

export interface Machine {
  nodes: number;
  /** The kernel's text, if it has any, and its physical address where the capture knows it. */
  text?: { va: bigint; bytes: bigint; pa?: bigint };
  home?: number;
  /** Names of Option and of Fault. */
  options?: string[];
  faults?: string[];
  /** Copies are made by the boot event. */
  later?: boolean;
  /** The number of the stage-1 page size: 0 4K, 1 64K, 2 2M, 3 32M, 4 1G. */
  size?: number;
  /** Pages for stage-2 tables. */
  pool?: number;
  /** Captured memory, [from, last]; rows have their pa then. */
  ranges?: [bigint, bigint][];
  ipaEntries?: number;
  lineCaches?: boolean;
  /** Cycles by names of Cost. */
  costs?: Record<string, number>;
}

const UNKNOWN = (1n << 64n) - 1n;
const MOST_ROWS = 1 << 18;
const LEAVES = [
  [12, 0, 0],
  [16, 0, 4],
  [21, 1, 0],
  [25, 1, 4],
  [30, 2, 0],
];

export class HostMachine {
  readonly core: Core & Events = instantiateCore('debug') as Core & Events;
  readonly lane: Pointer;
  private readonly columns: Record<'Cpu' | 'Kind' | 'Va' | 'Pa' | 'Mode', Pointer>;

  private readonly nodes: number;

  constructor({ nodes, ...machine }: Machine) {
    const { core } = this;
    this.nodes = nodes;
    const bits = (values: Record<string, number>, names: string[] = []) =>
      names.reduce((sum, name) => sum | values[name], 0);
    const lane = (this.lane = core.createLane(nodes, nodes));
    const { HardwareAccess, HardwareDirty } = core.Control;
    core.setStage1(lane, core.Format.ArmStage1, 12, 4, 9, 48, HardwareAccess | HardwareDirty);
    for (const [shift, height, run] of LEAVES) core.addPageSize(lane, shift, height, run);
    for (let cpu = 0; cpu < nodes; cpu++) core.setCpuNode(lane, cpu, cpu);
    for (const level of [core.Level.L1i, core.Level.L1d]) core.addTlbArray(lane, level, 1, 16, 31);
    core.setWalkCache(lane, core.IPA_CACHE, machine.ipaEntries ?? 0);
    core.setPageSizes(lane, machine.size ?? 0, 1 << (machine.size ?? 0));
    core.setPlacement(lane, core.Policy.FirstTouch, 0, core.Policy.FirstTouch, 0);
    for (const [from, last] of machine.ranges ?? []) core.addMemoryRange(lane, from, last, core.Policy.Node, 0);
    core.setReplay(lane, machine.ranges ? core.Mapping.Captured : core.Mapping.Demand, false, false, true);
    if (machine.lineCaches) {
      core.setCache(lane, core.Cache.L1i, 64, 4);
      core.setCache(lane, core.Cache.L1d, 64, 4);
      core.setCaches(lane, 0, 0, false, 0, false, false);
    }
    const options = bits(core.Option, machine.options);
    core.setSystem(lane, core.System.HostStage2, false, options, bits(core.Fault, machine.faults), true);
    for (const [name, cycles] of Object.entries(machine.costs ?? {})) core.setCost(lane, core.Cost[name], cycles);
    core.setStage2Pool(lane, machine.pool ?? 0);
    core.startLane(lane);
    core.setImage(lane, machine.home ?? 0, 12, -1);
    const { text } = machine;
    if (text) core.addImagePart(lane, core.Part.Text, text.va, text.bytes, text.pa ?? UNKNOWN);
    core.bootKernel(lane, false, machine.later ?? false);
    const column = (name: string, bytes: number) => core.attachColumn(core.Column[name], MOST_ROWS * bytes);
    this.columns = {
      Cpu: column('Cpu', 2),
      Kind: column('Kind', 1),
      Va: column('Va', 8),
      Pa: machine.ranges ? column('Pa', 8) : 0,
      Mode: column('Mode', 1),
    };
  }

  /** Replays rows; how it ended (Status). */
  run(rows: readonly Row[]): number {
    const view = new DataView(this.core.memory.buffer);
    rows.forEach(({ cpu, va, kind = 1, pa = UNKNOWN, mode = 1 }, i) => {
      view.setUint16(this.columns.Cpu + i * 2, cpu, true);
      view.setUint8(this.columns.Kind + i, kind);
      view.setBigUint64(this.columns.Va + i * 8, va, true);
      if (this.columns.Pa) view.setBigUint64(this.columns.Pa + i * 8, pa, true);
      view.setUint8(this.columns.Mode + i, mode);
    });
    this.core.replayRows(0, rows.length);
    return this.core.replayStatus();
  }

  /** Expands an event of the given name in Event. */
  event(name: string, cpu: number, ...operands: (bigint | number)[]): void {
    const [va, arg, a, b, c] = Array.from({ length: 5 }, (_, i) => BigInt(operands[i] ?? 0));
    this.core.runEvent(1n, cpu, this.core.Event[name], va, arg, a, b, c);
  }

  /** A counter of one CPU, or the sum over all. */
  counter(stat: string, cpu?: number): number {
    const { core } = this;
    const out = core.allocate(core.Stat.Count * 8, 8);
    const cpus = cpu === undefined ? Array.from({ length: this.nodes }, (_, i) => i) : [cpu];
    return cpus.reduce((sum, one) => {
      core.collectCounters(0, one, out);
      return sum + Number(new DataView(core.memory.buffer).getBigUint64(out + core.Stat[stat] * 8, true));
    }, 0);
  }

  /** How often each invariant was broken, those that were. */
  violations(): Record<string, number> {
    const { core, lane } = this;
    const all = Object.entries(core.Check).filter(([name]) => name !== 'Count');
    return Object.fromEntries(
      all.map(([name, check]) => [name, Number(core.violationCount(lane, check))]).filter(([, count]) => count),
    );
  }

  /** Table pages on a node, and those that only further roots need. */
  tablePages(node: number): [number, number] {
    const { core, lane } = this;
    return [Number(core.tableBytesOf(lane, node)) / 4096, Number(core.replicaTableBytesOf(lane, node)) / 4096];
  }

  address(cpu: number, va: bigint): bigint {
    return this.core.physicalAddress(this.lane, cpu, va, 1, 0);
  }
}
