// The native yardstick of replays with line caches (caches.c): a configuration in its words, and its results.

import { UsageError } from '../../traces/errors.js';
import { type Config } from '../../host/config/schema.js';
import { type Topology } from '../../host/replay/topology.js';
import { type LoadedTrace, writeColumns } from './columns.js';
import { Program } from './compile.js';

interface Shape {
  sets: number;
  ways: number;
}

/** What of a configuration's machine concerns its line caches. */
interface CachedMachine {
  caches: {
    l1i: Shape;
    l1d: Shape;
    l2: Shape | null;
    llc: (Shape & { inclusive: boolean; remoteCacheable: boolean; cpus?: number | null }) | null;
    prefetchLines: number;
    walks: string;
  };
  latency: { l2Cycles: number; llcNs: number };
}

/** The best time in nanoseconds per row, and counters over all CPUs by key. */
export interface CachesResult {
  ns: number;
  counters: Record<string, number>;
}

/** The machine of a configuration as the program's arguments. It has 4 KiB pages only, so of each TLB level the array that takes them. */
export function machineArguments(
  config: Config,
  topology: Topology,
  nodes: LoadedTrace['metadata']['nodes'],
): string[] {
  const { machine, paging, replay } = config;
  const { caches, latency } = machine as unknown as CachedMachine;
  const { l1i, l1d, l2, llc, prefetchLines, walks } = caches;
  const arm = paging.format === 'arm64';
  const shape = (key: string, { sets, ways }: Shape) => `${key}=${sets}x${ways}`;
  const pages = (key: string, arrays: readonly (Shape & { pages?: readonly string[] | null })[]) => {
    const array = arrays.find((array) => !array.pages || array.pages.includes('4K'));
    if (!array) throw new UsageError(`machine.tlb: the native program needs an array for 4K pages in ${key}`);
    return shape(`tlb.${key}`, array);
  };
  const names = arm ? (['l2', 'l1', 'l0'] as const) : (['pde', 'pdpte', 'pml4e'] as const);
  return [
    `format=${paging.format}`,
    `mapping=${replay.mapping}`,
    `nodes=${topology.cpuNode.join()}`,
    `latency=${topology.latencyCycles.flat().join()}`,
    ...nodes.flatMap(({ node, ranges }) => ranges.map(({ from, to }) => `range=${from}:${to}:${node}`)),
    pages('l1i', machine.tlb.l1i),
    pages('l1d', machine.tlb.l1d),
    ...(machine.tlb.l2 ? [pages('l2', machine.tlb.l2)] : []),
    `walkCaches=${names.map((name) => machine.walkCaches[name]).join()}`,
    shape('l1i', l1i),
    shape('l1d', l1d),
    ...(l2 ? [shape('l2', l2)] : []),
    ...(llc
      ? [
          shape('llc', llc),
          `inclusive=${Number(llc.inclusive)}`,
          `remoteCacheable=${Number(llc.remoteCacheable)}`,
          `llcCpus=${llc.cpus ?? 0}`,
        ]
      : []),
    `prefetch=${prefetchLines}`,
    `walks=${walks}`,
    `l2Cycles=${latency.l2Cycles}`,
    `llcCycles=${Math.round(latency.llcNs * machine.clockGHz)}`,
  ];
}

/** The compiled yardstick. */
export class NativeCaches {
  private constructor(private readonly program: Program) {}

  /** Compiles it; null when there is no C compiler. */
  static async build(): Promise<NativeCaches | null> {
    const program = await Program.build('caches.c');
    return program && new NativeCaches(program);
  }

  /** Hands it the columns. */
  async load({ columns }: Pick<LoadedTrace, 'columns'>): Promise<void> {
    await writeColumns(this.program.columns, columns, ['va', 'pa', 'cpu', 'kind', 'insns', 'mode']);
  }

  /** Replays them on the machine that the arguments describe. */
  async measure(rows: number, machine: readonly string[], repetitions = 1): Promise<CachesResult> {
    return this.program.run<CachesResult>(String(rows), String(repetitions), ...machine);
  }

  async remove(): Promise<void> {
    await this.program.remove();
  }
}
