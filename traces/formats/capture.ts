// What a raw24 capture tells about its machine: FILE.json (of the plugin in tools/capture/qemu) or registers.json beside it
// has architecture, paging, CPUs and symbols, its own kernel fetches tell where the kernel image lies in memory. Only
// FILE.json names the nodes' memory; else one of the known machines is taken when it explains the accesses from node to
// node in stats.json exactly.

import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../errors.js';
import { type ParseOptions } from '../format.js';
import { MACHINES } from '../machines.js';
import { type TraceMetadata } from '../metadata.js';
import { kernelRanges } from './kernelMap.js';

function onlyNames(values: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

const registersFile = z.looseObject({
  arch: z.enum(['x86-64', 'arm64']),
  levels: z.number().optional(),
  granule: z.number().optional(),
  vaBits: z.number().optional(),
  cpuNode: z.array(z.number()).optional(),
  nodes: z
    .array(z.object({ node: z.number(), ranges: z.array(z.object({ from: z.string(), to: z.string() })) }))
    .optional(),
  cpus: z.record(z.string(), z.unknown()),
  symbols: z.record(z.string(), z.string()).default({}),
  /** Names of phases by number; other captures have other things to say about a phase. */
  phases: z.record(z.string(), z.unknown()).default({}).transform(onlyNames),
  /** First and last exclusive address, where the capture knows it better than the symbols. */
  kernel_rodata: z.tuple([z.string(), z.string()]).optional(),
  leaf_summary: z.record(z.string(), z.unknown()).default({}),
  workload: z.unknown().optional(),
});
type Registers = z.infer<typeof registersFile>;

const statsFile = z.looseObject({
  accesses_vcpu_node_x_mem_node: z.record(z.string(), z.number()).default({}),
});

/** Parts of the kernel image: name, first symbol, symbol after it. */
const IMAGE_PARTS = {
  'x86-64': [
    ['text', '_stext', '_etext'],
    ['rodata', '__start_rodata', '__end_rodata'],
    ['data', '_sdata', '_edata'],
    ['bss', '__bss_start', '_end'],
  ],
  // What mark_rodata_ro() protects has no symbols of its own there.
  arm64: [
    ['text', '_stext', '_etext'],
    ['rodata', '_etext', '__init_begin'],
    ['hyp-text', '__hyp_text_start', '__hyp_text_end'],
  ],
} as const;

/** Accesses from each CPU's node to each memory node, as a machine would have it. */
export class NodeCounts {
  private readonly cpuNode: readonly number[];
  private readonly starts: readonly number[];
  private readonly counts: Float64Array;

  constructor(machine: Partial<TraceMetadata>) {
    this.cpuNode = machine.cpuNode!;
    this.starts = machine.nodes!.map((node) => Number(node.ranges[0].from));
    this.counts = new Float64Array(this.starts.length ** 2);
  }

  /** Counts one access. As in stats.json, devices above the last node's memory count for that node. */
  add(cpu: number, pa: number): void {
    const { starts } = this;
    let node = starts.length - 1;
    while (node > 0 && pa < starts[node]) node--;
    this.counts[this.cpuNode[cpu] * starts.length + node]++;
  }

  /** The counts under the names of stats.json. */
  named(): Record<string, number> {
    const width = this.starts.length;
    return Object.fromEntries(
      [...this.counts].map((count, i) => [`cpu_node${Math.floor(i / width)}->mem_node${i % width}`, count]),
    );
  }
}

/** The distance from PA to VA of a range of addresses, as long as all accesses to it agree on one. */
export class RangeOffset {
  private readonly from: readonly [high: number, low: number];
  private readonly to: readonly [high: number, low: number];
  private offset: bigint | null = null;
  private readonly seen: [high: number, low: number] = [0, 0];
  private agreed = true;

  constructor(from: bigint, to: bigint) {
    const words = (va: bigint) => [Number(va >> 32n), Number(va & 0xffff_ffffn)] as const;
    this.from = words(from);
    this.to = words(to);
  }

  /** Looks at an access; the addresses come as high and low words. */
  add(vaHigh: number, vaLow: number, paHigh: number, paLow: number): void {
    const { from, to, seen } = this;
    if (vaHigh < from[0] || (vaHigh === from[0] && vaLow < from[1])) return;
    if (vaHigh > to[0] || (vaHigh === to[0] && vaLow >= to[1]) || !this.agreed) return;
    const low = (vaLow - paLow) >>> 0;
    const high = (vaHigh - paHigh - (vaLow < paLow ? 1 : 0)) >>> 0;
    if (this.offset !== null && low === seen[1] && high === seen[0]) return;
    this.agreed = this.offset === null;
    this.offset = (BigInt(high) << 32n) | BigInt(low);
    this.seen[0] = high;
    this.seen[1] = low;
  }

  /** VA minus PA; null when there was no such access, or the range lies in several places. */
  get value(): bigint | null {
    return this.agreed ? this.offset : null;
  }
}

/** What is known about a capture besides its records. */
export interface Capture {
  /** Architecture, levels and symbols, where registers.json is there. */
  machine: Registers | null;
  /** To be fed with every access, where a machine is to be proved by them. */
  nodeCounts: NodeCounts | null;
  /** To be fed with every fetch, where the kernel's text is known. */
  image: RangeOffset | null;
  /** To be fed with every load and store, where the linear map's place is known. */
  linear: RangeOffset | null;
  /** Names of phases by number. */
  phases: Readonly<Record<string, string>>;
  /** The name of a phase that has none. */
  phaseName: string | null;
  /** Complete when all accesses have been counted. */
  metadata(): Partial<TraceMetadata>;
}

/** Reads the files beside `path` where they exist. */
export async function readCapture(path: string, { meta, warn }: ParseOptions): Promise<Capture> {
  const own = `${basename(path).replace(/\.(gz|xz|zst)$/, '')}.json`;
  const registers =
    (await readJson(path, own, registersFile)) ?? (await readJson(path, 'registers.json', registersFile));
  const stats = await readJson(path, 'stats.json', statsFile);
  const given = (meta.nodes ?? registers?.nodes) !== undefined;
  const [name, machine] = (!given && registers && stats && candidate(registers)) || [];
  const nodeCounts = machine ? new NodeCounts(machine) : null;
  const { _stext, _etext } = registers?.symbols ?? {};
  const image = _stext && _etext ? new RangeOffset(BigInt(_stext), BigInt(_etext)) : null;
  const linearMap = registers ? kernelRanges(registers).find(({ name }) => name === 'linear') : undefined;
  const linear = linearMap ? new RangeOffset(linearMap.from, linearMap.to) : null;
  return {
    ...{ machine: registers, nodeCounts, image, linear },
    phases: registers?.phases ?? {},
    phaseName: registers?.workload ? 'workload' : null,
    metadata() {
      const known = registers ? describeMachine(registers, image?.value ?? null, linear?.value ?? null) : {};
      if (nodeCounts && machine && agrees(nodeCounts.named(), stats!.accesses_vcpu_node_x_mem_node)) {
        known.cpuNode = machine.cpuNode;
        known.nodes = machine.nodes;
        known.notes = [
          `nodes: those of ${name}; architecture and CPUs are those of registers.json, and the accesses from node to node are those of stats.json`,
        ];
      } else if (!given) {
        const names = Object.keys(MACHINES).join(', ');
        warn(
          `${path}: which memory and CPUs belong to which node is unknown; --meta FILE tells it (or one of ${names})`,
        );
      }
      const nodes = meta.nodes ?? known.nodes ?? [];
      for (const region of known.regions ?? []) region.node = nodeOf(region, nodes);
      return known;
    },
  };
}

/** The known machine of the capture's architecture and number of CPUs. */
function candidate(registers: Registers): [string, Partial<TraceMetadata>] | undefined {
  const cpus = Object.keys(registers.cpus).length;
  return Object.entries(MACHINES).find(([, machine]) => machine.arch === registers.arch && machine.cpus === cpus);
}

function agrees(measured: Record<string, number>, recorded: Record<string, number>): boolean {
  return Object.entries(measured).every(([key, count]) => recorded[key] === count);
}

function describeMachine(registers: Registers, image: bigint | null, linear: bigint | null): Partial<TraceMetadata> {
  const { arch, levels, granule, symbols, kernel_rodata } = registers;
  const geometry = registers.leaf_summary.ttbr1_cpu0_geom as { ia_bits?: number } | undefined;
  const parts = IMAGE_PARTS[arch].flatMap(([name, first, after]) => {
    const [from, to] = (name === 'rodata' && kernel_rodata) || [symbols[first], symbols[after]];
    return from && to ? [regionOf(name, BigInt(from), BigInt(to), image)] : [];
  });
  const ranges = kernelRanges(registers).map(({ name, from, to }) =>
    regionOf(name, from, to, name === 'linear' ? linear : null),
  );
  return {
    arch,
    cpus: Object.keys(registers.cpus).length,
    ...(registers.nodes && { cpuNode: registers.cpuNode ?? null, nodes: registers.nodes }),
    paging:
      arch === 'x86-64'
        ? { levels }
        : {
            granule: granule === undefined ? undefined : `${granule >> 10}K`,
            vaBits: registers.vaBits ?? geometry?.ia_bits,
          },
    // Arm's image lies in the range of vmalloc: the first region that has an address is the one it belongs to.
    regions: [...parts, ...ranges],
  };
}

function regionOf(name: string, from: bigint, to: bigint, offset: bigint | null): TraceMetadata['regions'][number] {
  const hex = (address: bigint) => `0x${address.toString(16)}`;
  return {
    ...{ name, va: hex(from), pa: offset === null ? null : hex(from - offset), bytes: Number(to - from) },
    ...{ pageSize: null, node: null },
  };
}

/** The node that has all of a region. */
function nodeOf({ pa, bytes }: TraceMetadata['regions'][number], nodes: TraceMetadata['nodes']): number | null {
  if (pa === null) return null;
  const holds = ({ from, to }: { from: string; to: string }) =>
    BigInt(pa) >= BigInt(from) && BigInt(pa) + BigInt(bytes) <= BigInt(to);
  return nodes.find(({ ranges }) => ranges.some(holds))?.node ?? null;
}

async function readJson<T>(path: string, name: string, schema: z.ZodType<T>): Promise<T | null> {
  if (path === '-') return null;
  const file = join(dirname(path), name);
  const text = await readFile(file, 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    const found = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw new InputError({ source: file, expected: 'the registers or statistics of a capture', found });
  }
}
