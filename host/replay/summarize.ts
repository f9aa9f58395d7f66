// From a lane's counters to the summary document (nodewalk.summary/1): sums over CPUs, groups by node, cycles.

import { walkCachesOf } from '../config/machine.js';
import { secondStageCaches } from './machine.js';
import { tableLevels } from '../config/paging.js';
import { type Config } from '../config/schema.js';
import { counterKeys } from '../core/counters.js';
import { type CoreEnum } from '../core/instance.js';
import { type Counters as Groups, type Flat, type TimelinePoint } from '../results/summary.js';
import { type Counters } from './counters.js';
import { type LaneResult } from './replayer.js';
import { type Topology } from './topology.js';

/** The counter groups of a summary, with the sums of one lane in them. */
export interface LaneSummary {
  totals: Groups;
  phases: (Groups & { phase: number; name: string; cpu: number })[];
  cpus: (Groups & { cpu: number; node: number })[];
  nodes: (Groups & { node: number })[];
  /** Only with replay.intervals. */
  intervals?: (Groups & { from: number; to: number })[];
  /** Only of a simulation by clocks. */
  timeline?: TimelinePoint[];
}

/** What a system that issues no maintenance has of it. */
const NO_MAINTENANCE = { tlbi: {}, ipi: {}, trap: 0, barrier: 0, rootWrite: 0, syncStore: 0, bytesCopied: 0 };

/** The sums of one lane's counters. `phaseNames` gives names to phase numbers. */
export function summarizeLane(
  { counters, phases, intervals, timeline, tableBytes, replicaTableBytes, replicaBytes }: LaneResult,
  config: Config,
  topology: Topology,
  stats: CoreEnum,
  phaseNames: ReadonlyMap<number, string>,
): LaneSummary {
  const layout = layoutOf(config, stats);
  const every = topology.cpuNode.map((_, cpu) => cpu);
  const groups = (from: Counters, cpus: number[]) => layout.groups(cpus.map((cpu) => layout.flat(from, cpu)));
  // CPUs that did nothing say nothing: a machine of 160 CPUs may replay a trace of four.
  const active = every.filter((cpu) => layout.flat(counters, cpu).some(([, n]) => n !== 0));
  const sum = (bytes: number[]) => bytes.reduce((total, n) => total + n, 0);
  const withTable = (counted: Groups, nodes: number[]) => {
    const of = (bytes: number[]) => sum(nodes.map((node) => bytes[node]));
    const replicaTables = of(replicaTableBytes);
    const purpose = { tables: of(tableBytes) - replicaTables, replicaTables };
    return { ...counted, table: { bytes: of(tableBytes), replicaBytes: of(replicaBytes), purpose } };
  };
  const stretches = intervals.map(({ from, to, counters }) => ({ from, to, ...groups(counters, every) }));
  return {
    totals: withTable(groups(counters, every), [...tableBytes.keys()]),
    phases: phases.map((phase) => {
      const { cycles, ...rest } = groups(phase.counters, every);
      const own = groups(phase.counters, [phase.cpu]).cycles.total;
      const name = phaseNames.get(phase.phase) ?? `phase ${phase.phase}`;
      return { phase: phase.phase, name, cpu: phase.cpu, ...rest, cycles: { ...cycles, own } };
    }),
    cpus: active.map((cpu) => ({ cpu, node: topology.cpuNode[cpu], ...groups(counters, [cpu]) })),
    nodes: tableBytes.map((_, node) => {
      const own = every.filter((cpu) => topology.cpuNode[cpu] === node);
      return { node, ...withTable(groups(counters, own), [node]) };
    }),
    ...(config.replay.intervals === null ? {} : { intervals: stretches }),
    ...(timeline && { timeline }),
  };
}

/** Classes of faults that only guests of stage2-faults have. */
const GUEST_FAULTS = ['translation', 'permission', 'accessFlag', 'refault', 'spurious', 'retry'];

/** How the counters of a configuration's machine are named and grouped. */
function layoutOf(config: Config, stats: CoreEnum) {
  const { machine } = config;
  const absent = (['l1i', 'l1d', 'l2'] as const).filter((level) => !machine.tlb[level]?.length);
  const caches = new Set<string>([...walkCachesOf(config.paging), ...secondStageCaches(config)]);
  const lines = machine.caches;
  const present = new Set(lines ? ['l1i', 'l1d', 'memory', 'prefetch', lines.l2 && 'l2', lines.llc && 'llc'] : []);
  const levels = new Set(levelsOf(config).map(String));
  const exists = (key: string) => {
    const [group, kind, name] = key.split('.');
    if (group === 'tlb') return !absent.some((level) => level === kind);
    if (group === 'cache') return present.has(kind);
    if (kind === 'cacheHits') return caches.has(name);
    if (kind === 'levels') return levels.has(name);
    if (group === 'fault' && kind.startsWith('hyp')) return config.system.name === 'hyp-init';
    if (group === 'spe') return config.system.name === 'spe';
    if (group === 'fault' && GUEST_FAULTS.includes(kind)) return config.system.name === 'stage2-faults';
    return true;
  };
  const all = counterKeys(stats);
  const kept = all.filter(({ key }) => exists(key));
  const cyclesOf = (flat: Flat) => {
    const base = flat['access.insns'] * machine.cpi;
    const walk = flat['cycles.walk'] / machine.mlp.walk + (flat['tlb.l2.hit'] ?? 0) * machine.latency.l2TlbCycles;
    const fetch = flat['cycles.fetch'] / machine.mlp.fetch;
    const data = flat['cycles.data'] / machine.mlp.data;
    const fault = flat['fault.demand'] * machine.costs.demandFault + (flat['cycles.fault'] ?? 0);
    const { 'cycles.maintenance': maintenance = 0, 'cycles.lock': lock = 0 } = flat;
    return { base, fetch, data, walk, fault, maintenance, lock };
  };
  return {
    /** One CPU's counters by key. */
    flat: (counters: Counters, cpu: number): [string, number][] =>
      kept.map(({ key, index }) => [key, Number(counters[cpu * all.length + index])]),

    /** The sums over some CPUs, in groups. */
    groups(perCpu: [string, number][][]): Groups {
      const sum: Flat = Object.fromEntries(kept.map(({ key }) => [key, 0]));
      let critical = 0;
      for (const flat of perCpu) {
        critical = Math.max(critical, total(cyclesOf(Object.fromEntries(flat))));
        for (const [key, n] of flat) sum[key] += n;
      }
      const parts = cyclesOf(sum);
      const { cycles: _, ...counted } = nested(sum) as unknown as Groups;
      const { access, tlb = {}, walk, cache = {}, maintenance = {}, fault, ...others } = counted;
      return {
        ...{
          access,
          tlb,
          walk,
          cache,
          maintenance: { ...NO_MAINTENANCE, ...(maintenance as object) },
          fault,
          ...others,
        },
        cycles: { total: total(parts), critical, ...parts },
      };
    },
  };
}

const total = (parts: Record<string, number>) => Object.values(parts).reduce((sum, n) => sum + n, 0);

/** The architectural numbers of a format's table levels. */
function levelsOf({ paging, system }: Config): number[] {
  // EL2 has tables of its own.
  if (system.name === 'hyp-init') return [0, 1, 2, 3];
  const levels = tableLevels(paging);
  return paging.format === 'arm64' ? [-1, 0, 1, 2, 3].slice(5 - levels) : [5, 4, 3, 2, 1].slice(5 - levels);
}

/** Dotted keys as nested objects. */
function nested(flat: Flat): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(flat)) {
    const path = key.split('.');
    const last = path.pop()!;
    let at = root;
    for (const segment of path) at = (at[segment] ??= {}) as Record<string, unknown>;
    at[last] = value;
  }
  return root;
}
