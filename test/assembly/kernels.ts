// A machine whose kernel expands events, for tests: text replication on x86-64 and arm64, driven through the core directly.

import { resolveConfig } from '../../host/config/load.js';
import { type Core } from '../../host/core/instance.js';
import { Replayer } from '../../host/replay/replayer.js';
import { topologyOf } from '../../host/replay/topology.js';
import { EVENTS } from '../../traces/events.js';
import { countersByKey } from './replay.js';
import { batchOf } from './rows.js';

export const KB = 1024n;
export const MB = 1024n * KB;
export const UNKNOWN = 0xffff_ffff_ffff_ffffn;
/** Methods of text_patch, areas of kmap and kunmap, bits of a protection, as traces/events.ts has them. */
export const NO_SYNC = 0n;
export const STOP_MACHINE = 1n;
export const BATCH = 2n;
export const ALTERNATIVES = 3n;
export const IMAGE = 0n;
export const VMALLOC = 2n;
export const READ = 1n;
export const READ_WRITE = 3n;
export const READ_EXECUTE = 5n;

export type PartName = 'Text' | 'Rodata' | 'RoAfterInit' | 'Init' | 'Data';
export interface Part {
  kind: PartName;
  va: bigint;
  bytes: bigint;
  pa?: bigint;
}

export interface KernelOptions {
  paging: object;
  /** More of the machine's section. */
  machine?: object;
  /** Cycles by the name of Cost; what is not named costs nothing. */
  costs?: Record<string, number>;
  nodes?: number;
  cpusPerNode?: number;
  /** One view per node; else the kernel as it is. */
  replicate?: boolean;
  /** Names of Option and Fault. */
  options?: string[];
  faults?: string[];
  checks?: boolean;
  image?: Part[];
  home?: number;
  copyShift?: number;
  subtreeNode?: number;
  /** The copies are taken at the boot event. */
  later?: boolean;
}

const has = { pa: false, size: false, insns: false, mode: true, asid: true, vm: false };
const kinds = new Map(EVENTS.map(({ name, kind }) => [name, kind]));

/** Pages of 4K, with room in the TLBs for the kernel's larger ones; the rules name addresses that nobody uses. */
const unused = (...sizes: string[]) => ({
  default: '4K',
  rules: sizes.map((size, i) => ({ from: 0x7000_0000_0000 + i, to: 0x7000_0000_0001 + i, size })),
});
export const X86 = { format: 'x86-64', global: 'kernel', pageSize: unused('2M') };
export const X86_LA57 = { ...X86, levels: 5 };
export const ARM = { format: 'arm64', global: 'kernel', pageSize: unused('64K', '2M') };

/** The parts of an image one after the other from `va` on, by their bytes. */
export function imageAt(va: bigint, parts: [PartName, bigint][], pa?: bigint): Part[] {
  let at = va;
  return parts.map(([kind, bytes], i) => {
    const part = { kind, va: at, bytes, ...(i === 0 && pa !== undefined ? { pa } : {}) };
    at += bytes;
    return part;
  });
}

/** x86: everything in multiples of 2M, as the series aligns it. */
export const X86_TEXT = 0xffff_ffff_8100_0000n;
export const x86Image = (va = X86_TEXT, pa?: bigint): Part[] =>
  imageAt(
    va,
    [
      ['Text', 8n * MB],
      ['Rodata', 4n * MB],
      ['RoAfterInit', 2n * MB],
      ['Init', 2n * MB],
      ['Data', 4n * MB],
    ],
    pa,
  );

/** arm64: text from the second 64K of a 2M slot on, parts in multiples of 64K. */
export const ARM_BASE = 0xffff_8080_0000_0000n;
export const ARM_TEXT = ARM_BASE + 64n * KB;
export const armImage = (pa?: bigint): Part[] =>
  imageAt(
    ARM_TEXT,
    [
      ['Text', 9n * MB],
      ['Rodata', 3n * MB],
      ['RoAfterInit', 64n * KB],
      ['Init', MB],
      ['Data', 4n * MB],
    ],
    pa,
  );

export class KernelMachine {
  readonly core: Core;
  readonly lane: number;
  readonly nodes: number;
  readonly cpus: number;
  private readonly replayer: Replayer;
  private record = 0n;

  constructor({
    paging,
    machine = {},
    costs = {},
    nodes = 2,
    cpusPerNode = 1,
    replicate = true,
    options = [],
    faults = [],
    checks = true,
    image = [],
    home = 0,
    copyShift,
    subtreeNode = -1,
    later = false,
  }: KernelOptions) {
    this.nodes = nodes;
    this.cpus = nodes * cpusPerNode;
    const cpuNode = Array.from({ length: this.cpus }, (_, cpu) => Math.floor(cpu / cpusPerNode));
    const config = resolveConfig({ machine: { ...machine, cpuNode }, paging }, 'test');
    const topology = topologyOf(config, { cpuNode: null, cpus: this.cpus });
    const columns = ['cpu', 'kind', 'va', 'mode', 'asid'] as const;
    this.replayer = new Replayer({ path: 'test', columns, regions: [] }, [config], [topology], 'debug');
    const { core } = this.replayer;
    this.core = core;
    this.lane = this.replayer.lanes[0];
    const bits = (of: Readonly<Record<string, number>>, names: string[]) =>
      names.reduce((sum, name) => sum + of[name], 0);
    const isX86 = (paging as { format: string }).format === 'x86-64';
    const system = isX86 ? core.System.TextX86 : core.System.TextArm;
    core.setSystem(this.lane, system, replicate, bits(core.Option, options), bits(core.Fault, faults), checks);
    for (const [name, cycles] of Object.entries(costs)) core.setCost(this.lane, core.Cost[name], cycles);
    core.setImage(this.lane, home, copyShift ?? (isX86 ? 21 : 12), subtreeNode);
    for (const { kind, va, bytes, pa } of image)
      core.addImagePart(this.lane, core.Part[kind], va, bytes, pa ?? UNKNOWN);
    core.bootKernel(this.lane, false, later);
  }

  /** Expands an event; returns its record. */
  event(name: string, { cpu = 0, va = 0n, arg = 0n, more = [] as bigint[] } = {}): bigint {
    const record = this.record++;
    const [a = 0n, b = 0n, c = 0n] = more;
    this.core.runEvent(record, cpu, kinds.get(name)!, va, arg, a, b, c);
    return record;
  }

  /** Expands an event; what it counted over all CPUs, by key, zeros left out. */
  counts(name: string, operands: Parameters<KernelMachine['event']>[1] = {}): Record<string, number> {
    return this.changes(() => this.event(name, operands));
  }

  /** What `act` counted over all CPUs. */
  changes(act: () => void): Record<string, number> {
    const before = this.sums();
    act();
    const after = this.sums();
    const changed = Object.entries(after).map(([key, n]) => [key, n - (before[key] ?? 0)] as const);
    return Object.fromEntries(changed.filter(([, n]) => n !== 0));
  }

  /** An access; the filter in front of the lane forgets before it, because events may have changed the TLBs. */
  touch(va: bigint, { cpu = 0, kind = 1, mode = 1, asid = 0 } = {}): Record<string, number> {
    const { core } = this;
    return this.changes(() => {
      core.invalidate(0, this.cpus, core.Invalidation.InvpcidAddress, 0, 0xffff, 0, 0n, 0n);
      this.replayer.feed(batchOf([{ cpu, kind, va, mode, asid }], has));
    });
  }

  /** The descriptors of a walk in a view, root first: address and value; what is not mapped ends in an entry that is not present. */
  walk(va: bigint, view = 0, asid = 0): { pa: bigint; value: bigint }[] {
    const out = this.core.allocate(5 * 16, 8);
    const steps = Math.abs(this.core.probe(this.lane, va, 0, asid, 0, out, view));
    const words = new BigUint64Array(this.core.memory.buffer, out, steps * 2);
    return Array.from({ length: steps }, (_, i) => ({ pa: words[2 * i], value: words[2 * i + 1] }));
  }

  isMapped(va: bigint, view = 0, asid = 0): boolean {
    return this.core.probe(this.lane, va, 0, asid, 0, this.core.allocate(5 * 16, 8), view) > 0;
  }

  leaf(va: bigint, view = 0): bigint {
    return this.walk(va, view).at(-1)!.value;
  }

  /** The physical address of `va` in a view, by the number of levels read (4K granule, 48 bits). */
  pa(va: bigint, view = 0, depth = 4): bigint {
    const steps = this.walk(va, view);
    const inside = (1n << BigInt(12 + 9 * (depth - steps.length))) - 1n;
    return (steps.at(-1)!.value & 0x0000_ffff_ffff_f000n & ~inside) | (va & inside);
  }

  tableBytes(node?: number): number {
    return this.sum((n) => this.core.tableBytesOf(this.lane, n), node);
  }

  replicaTableBytes(node?: number): number {
    return this.sum((n) => this.core.replicaTableBytesOf(this.lane, n), node);
  }

  replicaBytes(node?: number): number {
    return this.sum((n) => this.core.replicaBytesOf(this.lane, n), node);
  }

  /** The invariants that were broken, with the record of the first event that broke them. */
  violations(): Record<string, bigint> {
    const { core, lane } = this;
    const broken = Object.entries(core.Check).filter(
      ([name, check]) => name !== 'Count' && core.violationCount(lane, check) > 0n,
    );
    return Object.fromEntries(broken.map(([name, check]) => [name, core.violationRecord(lane, check)]));
  }

  private sum(of: (node: number) => bigint, node?: number): number {
    const nodes = node === undefined ? Array.from({ length: this.nodes }, (_, n) => n) : [node];
    return nodes.reduce((total, n) => total + Number(of(n)), 0);
  }

  private sums(): Record<string, number> {
    const sum: Record<string, number> = {};
    const [{ counters }] = this.replayer.finish();
    for (const cpu of countersByKey(counters))
      for (const [key, n] of Object.entries(cpu)) sum[key] = (sum[key] ?? 0) + n;
    return sum;
  }
}

/** The counters of maintenance alone, cycles left out. */
export const maintenance = (counts: Record<string, number>) =>
  Object.fromEntries(
    Object.entries(counts)
      .filter(([key]) => key.startsWith('maintenance.'))
      .map(([key, n]) => [key.slice('maintenance.'.length), n]),
  );
