// Which CPUs and nodes a machine has: what the configuration says, and where it leaves that to the trace, what the trace says.

import { type TraceMetadata } from '../../traces/metadata.js';
import { UsageError } from '../../traces/errors.js';
import { type Config } from '../config/schema.js';

/** The CPUs and nodes of one machine. */
export interface Topology {
  /** The node of each CPU. */
  cpuNode: number[];
  nodes: number;
  /** Cycles of a memory reference, by the CPU's node (row) and the memory's node. */
  latencyCycles: number[][];
}

/** What a trace says about its machine: the document's keys, and the CPUs that its rows name. */
export type TraceCpus = Pick<TraceMetadata, 'cpuNode'> & { cpus: number };

/** The machine of `config` for a trace. */
export function topologyOf(config: Config, trace: TraceCpus): Topology {
  const { machine } = config;
  const cpuNode = machine.cpuNode ?? laidOut(machine, trace);
  const nodes = Math.max(machine.nodes ?? machine.distances?.length ?? 0, ...cpuNode.map((node) => node + 1));
  for (const key of ['data', 'tables', 'text'] as const) {
    const placement = config.memory[key];
    if (typeof placement === 'object' && placement !== null && placement.node >= nodes)
      throw new UsageError(`memory.${key}: node ${placement.node} is outside the machine's nodes 0 to ${nodes - 1}`);
  }
  return { cpuNode, nodes, latencyCycles: latencies(machine, nodes) };
}

/** The node of each CPU where the configuration only counts them. */
function laidOut(machine: Config['machine'], trace: TraceCpus): number[] {
  const captured = machine.topology === 'trace' ? (trace.cpuNode ?? []) : [];
  const cpus = machine.cpus ?? Math.max(trace.cpus, captured.length);
  const nodes = machine.nodes ?? Math.max(1, ...captured.map((node) => node + 1));
  const fits = captured.every((node) => node < nodes);
  return Array.from({ length: cpus }, (_, cpu) =>
    fits && cpu < captured.length ? captured[cpu] : Math.floor((cpu * nodes) / cpus),
  );
}

/** Latency grows on the straight line through the local distance and the smallest remote one. */
function latencies({ latency, clockGHz, distances }: Config['machine'], nodes: number): number[][] {
  const distance = (from: number, to: number) => distances?.[from]?.[to] ?? (from === to ? 10 : 20);
  const every = Array.from({ length: nodes }, (_, node) => node);
  const remote = Math.min(...every.flatMap((from) => every.map((to) => distance(from, to))).filter((d) => d > 10));
  const nsPerStep = Number.isFinite(remote) ? (latency.remoteNs - latency.localNs) / (remote - 10) : 0;
  const cycles = (d: number) => Math.max(0, Math.round((latency.localNs + (d - 10) * nsPerStep) * clockGHz));
  return every.map((from) => every.map((to) => cycles(distance(from, to))));
}
