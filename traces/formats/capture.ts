// What a raw24 capture tells about its machine: registers.json beside it has architecture, paging, CPUs and symbols,
// its own kernel fetches tell where the kernel image lies in memory. No file names the nodes' memory; one of the known
// machines is taken when it explains the accesses from node to node in stats.json exactly.

import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../errors.js';
import { type ParseOptions } from '../format.js';
import { MACHINES } from '../machines.js';
import { type TraceMetadata } from '../metadata.js';

const registersFile = z.looseObject({
  arch: z.enum(['x86-64', 'arm64']),
  levels: z.number().optional(),
  granule: z.number().optional(),
  cpus: z.record(z.string(), z.unknown()),
  symbols: z.record(z.string(), z.string()).default({}),
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

/** The distance from PA to VA of the kernel image, as long as all fetches from its text agree on one. */
export class ImageOffset {
  private readonly high: number;
  private readonly from: number;
  private readonly to: number;
  private offset: bigint | null = null;
  private low = 0;
  private agreed = true;

  constructor(from: string, to: string) {
    this.high = Number(BigInt(from) >> 32n);
    this.from = Number(BigInt(from) & 0xffff_ffffn);
    this.to = this.from + Number(BigInt(to) - BigInt(from));
  }

  /** Looks at a fetch; the addresses come as high and low words. */
  add(vaHigh: number, vaLow: number, paHigh: number, paLow: number): void {
    if (vaHigh !== this.high || vaLow < this.from || vaLow >= this.to || !this.agreed) return;
    if (this.offset !== null && this.low === (vaLow - paLow) >>> 0) return;
    this.agreed = this.offset === null;
    this.offset = (BigInt(vaHigh - paHigh) << 32n) + BigInt(vaLow - paLow);
    this.low = (vaLow - paLow) >>> 0;
  }

  /** VA minus PA; null when there was no such fetch, or the image lies in several places. */
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
  image: ImageOffset | null;
  /** The name of a phase that has none. */
  phaseName: string | null;
  /** Complete when all accesses have been counted. */
  metadata(): Partial<TraceMetadata>;
}

/** Reads the files beside `path` where they exist. */
export async function readCapture(path: string, { meta, warn }: ParseOptions): Promise<Capture> {
  const registers = await readJson(path, 'registers.json', registersFile);
  const stats = await readJson(path, 'stats.json', statsFile);
  const given = meta.nodes !== undefined;
  const [name, machine] = (!given && registers && stats && candidate(registers)) || [];
  const nodeCounts = machine ? new NodeCounts(machine) : null;
  const { _stext, _etext } = registers?.symbols ?? {};
  const image = _stext && _etext ? new ImageOffset(_stext, _etext) : null;
  return {
    ...{ machine: registers, nodeCounts, image },
    phaseName: registers?.workload ? 'workload' : null,
    metadata() {
      const known = registers ? describeMachine(registers, image?.value ?? null) : {};
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
      for (const region of known.regions ?? []) region.node = nodeOf(region.pa, nodes);
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

function describeMachine(registers: Registers, offset: bigint | null): Partial<TraceMetadata> {
  const { arch, levels, granule, symbols } = registers;
  const geometry = registers.leaf_summary.ttbr1_cpu0_geom as { ia_bits?: number } | undefined;
  const parts = IMAGE_PARTS[arch].map(([name, from, to]) => [name, symbols[from], symbols[to]]);
  return {
    arch,
    cpus: Object.keys(registers.cpus).length,
    paging:
      arch === 'x86-64'
        ? { levels }
        : { granule: granule === undefined ? undefined : `${granule >> 10}K`, vaBits: geometry?.ia_bits },
    regions: parts
      .filter(([, from, to]) => from && to)
      .map(([name, from, to]) => ({
        name,
        va: from,
        pa: offset === null ? null : `0x${(BigInt(from) - offset).toString(16)}`,
        bytes: Number(BigInt(to) - BigInt(from)),
        pageSize: null,
        node: null,
      })),
  };
}

function nodeOf(pa: string | null, nodes: TraceMetadata['nodes']): number | null {
  if (pa === null) return null;
  const holds = ({ from, to }: { from: string; to: string }) => BigInt(pa) >= BigInt(from) && BigInt(pa) < BigInt(to);
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
