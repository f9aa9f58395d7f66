// Describes line caches to the core: their geometry, which CPUs share an LLC, and the nodes that lines belong to.

import { InputError, UsageError } from '../../traces/errors.js';
import { type Caches } from '../config/caches.js';
import { type Config } from '../config/schema.js';
import { type Core, type Pointer } from '../core/instance.js';
import { namedRegions, policy, type TraceMemory } from './placement.js';
import { type Topology } from './topology.js';

/** Gives a lane its line caches. */
export function setLineCaches(core: Core, lane: Pointer, config: Config, caches: Caches, topology: Topology): void {
  const { l1i, l1d, l2, llc, walks, prefetchLines } = caches;
  const { latency, clockGHz } = config.machine;
  const { L1i, L1d, L2, Llc } = core.Cache;
  const present = [[L1i, l1i] as const, [L1d, l1d] as const, [L2, l2] as const, [Llc, llc] as const];
  for (const [cache, geometry] of present) if (geometry) core.setCache(lane, cache, geometry.sets, geometry.ways);
  const llcCycles = Math.round(latency.llcNs * clockGHz);
  const inclusive = llc?.inclusive ?? false;
  const remoteCacheable = llc?.remoteCacheable ?? true;
  core.setCaches(lane, latency.l2Cycles, llcCycles, walks === 'l1d', prefetchLines, inclusive, remoteCacheable);
  clustersOf(caches, topology).forEach((cluster, cpu) => core.setCluster(lane, cpu, cluster));
}

/** The LLC of each CPU, numbered from node 0: one per node, or one for so many CPUs of a node in ascending order. */
export function clustersOf({ llc }: Caches, { cpuNode, nodes }: Topology): number[] {
  const size = llc?.cpus ?? cpuNode.length;
  const clusters = cpuNode.map(() => 0);
  let first = 0;
  for (let node = 0; node < nodes; node++) {
    const own = cpuNode.flatMap((home, cpu) => (home === node ? [cpu] : []));
    own.forEach((cpu, place) => (clusters[cpu] = first + Math.floor(place / size)));
    // The LLC of a node without CPUs holds the lines of its memory where LLCs belong to that.
    first += Math.max(llc?.cpus ? 0 : 1, Math.ceil(own.length / size));
  }
  return clusters;
}

/** The LLCs of a machine. */
export function clusterCount(caches: Caches, topology: Topology): number {
  return Math.max(topology.nodes, ...clustersOf(caches, topology).map((cluster) => cluster + 1));
}

/** Which node has the text and the captured physical addresses; the range added first decides. */
export function setHomes(core: Core, lane: Pointer, config: Config, topology: Topology, trace: TraceMemory): void {
  const { text, textRegions } = config.memory;
  const captured = config.replay.mapping !== 'demand' && (config.machine.caches || config.replay.mapping === 'tables');
  if (text !== null) core.setTextPlacement(lane, ...policy(core, text));
  if (text !== null || config.replay.cold === 'text') {
    for (const { name, va, pa, bytes } of namedRegions(trace, textRegions, 'memory.textRegions')) {
      core.addTextRange(lane, BigInt(va), BigInt(va) + BigInt(bytes) - 1n);
      if (text === null || !captured) continue;
      if (pa === null) throw noAddress(trace, name);
      core.addMemoryRange(lane, BigInt(pa), BigInt(pa) + BigInt(bytes) - 1n, ...policy(core, text));
    }
  }
  if (!captured || topology.nodes === 1) return;
  const ranges = (trace.nodes ?? []).flatMap(({ node, ranges }) =>
    ranges.map(({ from, to }) => ({ node, from: BigInt(from), to: BigInt(to) })),
  );
  if (ranges.length === 0) throw noRanges(trace);
  for (const { node, from, to } of ranges) {
    if (node >= topology.nodes)
      throw new UsageError(
        `machine.nodes: ${trace.path} was captured with memory on node ${node}, and the machine has the nodes 0 to ${topology.nodes - 1}; use replay.mapping demand or more nodes`,
      );
    if (from < to) core.addMemoryRange(lane, from, to - 1n, core.Policy.Node, node);
  }
}

const WITH_META = 'convert the capture again with --meta FILE, a YAML file such as';

function noRanges({ path }: TraceMemory): InputError {
  const example = '"nodes: [{ node: 0, ranges: [{ from: 0x0, to: 0x80000000 }] }, { node: 1, ranges: [...] }]"';
  return new InputError({
    source: path,
    at: 'metadata key "nodes"',
    expected:
      'the physical ranges of each node, which machine.caches with replay.mapping: captured needs on more than one node',
    found: 'none',
    advice: `${WITH_META} ${example}, or use replay.mapping: demand`,
  });
}

function noAddress({ path }: TraceMemory, region: string): InputError {
  return new InputError({
    source: path,
    at: `metadata key "regions", region "${region}"`,
    expected: 'its physical address "pa", which memory.text with replay.mapping: captured needs',
    found: 'none',
    advice: `${WITH_META} "regions: [{ name: ${region}, va: 0x..., pa: 0x..., bytes: ... }]", or use replay.mapping: demand`,
  });
}
