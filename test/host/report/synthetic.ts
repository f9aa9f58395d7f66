// Results as `sweep -o` and `replay -o` write them, made from closed formulas instead of replays: two traces, sixteen
// cells (page size x second-level ways x table placement), sixteen phases. The numbers are plausible, add up (totals
// are the sum of the phases plus what lies between them) and are the same every time.

import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Manifest } from '../../../host/results/manifest.js';
import { type Counters, type Summary } from '../../../host/results/summary.js';

export const PHASES = ['fork/1', 'fork/N', 'mmap', 'mmap+touch', 'mmap locked', 'open', 'mount', 'kill'].flatMap(
  (name, i) =>
    [0, 1].map((node) => ({
      phase: 0x100 + (i + 1) * 16 + node,
      name: `${name} node ${node}`,
      cpu: 1 + 2 * node,
      node,
    })),
);

export interface Varied {
  pageSize: string;
  ways: number;
  tables: string;
}

/** Counters of `rows` accesses: bigger pages and more ways walk less; `first-touch` reads tables of node 0. */
export function counters(rows: number, { pageSize, ways, tables }: Varied, weight: number, node: number): Counters {
  const fetch = Math.round(rows * 0.62);
  const load = Math.round(rows * 0.25);
  const store = rows - fetch - load;
  const l1iMiss = Math.round(fetch * 0.004 * weight * (pageSize === '2M' ? 0.45 : 1));
  const l1dMiss = Math.round((load + store) * 0.03 * weight * (pageSize === '2M' ? 0.4 : 1));
  const l2Lookups = l1iMiss + l1dMiss;
  const walks = Math.round(l2Lookups * (0.6 / Math.sqrt(ways)) * (pageSize === '2M' ? 0.5 : 1));
  const upper = Math.round(walks * 0.12);
  const refs = walks + upper * 2;
  const remote = tables === 'local' ? 0 : Math.round(refs * (node === 0 ? 0.08 : 0.83));
  const faults = Math.round(walks * 0.05);
  const insns = fetch * 3;
  const walkCycles = (l2Lookups - walks) * 7 + (refs - remote) * 230 + remote * 370;
  const total = insns + walkCycles + faults * 900;
  return {
    access: { fetch, load, store, event: 0, insns },
    tlb: {
      l1i: { hit: fetch - l1iMiss, miss: l1iMiss },
      l1d: { hit: load + store - l1dMiss, miss: l1dMiss },
      l2: { hit: l2Lookups - walks, miss: walks },
    },
    walk: {
      ...{ count: walks, refs, local: refs - remote, remote },
      levels: { '4': 0, '3': upper, '2': upper, '1': walks },
      ...{ stage2Refs: 0, updates: 0, remaps: 0 },
      cacheHits: { pde: walks - upper, pdpte: upper, pml4e: 0 },
    },
    fault: { demand: faults },
    cycles: { total, critical: Math.round(total * 0.97), base: insns, walk: walkCycles, fault: faults * 900 },
  };
}

/** Adds two groups of counters key by key. */
function add<T>(a: T, b: T): T {
  if (typeof a === 'number') return ((a as number) + (b as number)) as T;
  return Object.fromEntries(
    Object.entries(a as object).map(([key, value]) => [key, add(value, (b as never)[key])]),
  ) as T;
}

export function summary(trace: string, varied: Varied, scale: number): Summary {
  const phases = PHASES.map(({ phase, name, cpu, node }, i) => {
    const counts = counters(40_000 * scale + i * 7_000, varied, 0.4 + ((i * 5) % 9) / 5, node);
    return { phase, name, cpu, ...counts, cycles: { ...counts.cycles, own: Math.round(counts.cycles.total * 0.95) } };
  });
  const outside = counters(90_000 * scale, varied, 0.7, 0);
  const sums = phases.map(
    ({ phase: _phase, name: _name, cpu: _cpu, cycles: { own: _own, ...cycles }, ...rest }) =>
      ({ ...rest, cycles }) as Counters,
  );
  const totals = {
    ...sums.reduce(add, outside),
    table: { bytes: varied.pageSize === '2M' ? 28_672 : 1_150_976, replicaBytes: 0 },
  };
  const onCpu = (cpu: number) => sums.filter((_, i) => PHASES[i].cpu === cpu).reduce(add);
  return {
    schema: 'nodewalk.summary/1',
    trace: {
      path: `traces/${trace}.arrow`,
      records: totals.access.fetch + totals.access.load + totals.access.store,
      sha256: createHash('sha256').update(trace).digest('hex'),
    },
    config: config(varied),
    totals,
    phases,
    cpus: [
      { cpu: 0, node: 0 },
      { cpu: 1, node: 0, ...add(onCpu(1), outside) },
      { cpu: 2, node: 1 },
      { cpu: 3, node: 1, ...onCpu(3) },
    ],
    nodes: [0, 1].map((node) => ({
      node,
      walk: { local: node === 0 ? totals.walk.local : 0, remote: node === 0 ? totals.walk.remote : 0 },
      table: { bytes: node === 0 ? totals.table.bytes : 0 },
    })),
    run: { version: '0.1.0', seconds: 0.5, accessesPerSecond: 3e8, workers: 4 },
  };
}

function config({ pageSize, ways, tables }: Varied): Summary['config'] {
  return {
    extends: 'generic',
    machine: {
      cpuNode: [0, 0, 1, 1],
      clockGHz: 2.6,
      cpi: 1,
      tlb: {
        l1i: [{ sets: 16, ways: 8, pages: null }],
        l1d: [{ sets: 16, ways: 4, pages: null }],
        l2: [{ sets: 128, ways, pages: null }],
      },
      walkCaches: { pde: 32, pdpte: 4, pml4e: 2 },
      latency: { localNs: 90, remoteNs: 140, l2TlbCycles: 7 },
    },
    paging: { format: 'x86-64', levels: 4, pageSize: { default: pageSize, rules: [] } },
    memory: { data: 'first-touch', tables },
    replay: { mapping: 'demand', dirty: 'set', warmup: 0 },
  };
}

const KEYS = { pageSize: 'paging.pageSize', ways: 'machine.tlb.l2.ways', tables: 'memory.tables' } as const;

/** Writes a sweep's directory; `traces` are names, `keys` choose what varies. Returns the manifest. */
export function writeSweep(
  dir: string,
  {
    traces = ['x86-64-kernel', 'redis-server'],
    keys = ['pageSize', 'ways', 'tables'] as (keyof typeof KEYS)[],
    baseline = 0 as number | null,
    ways: allWays = [4, 8, 12, 16],
    tables: allTables = ['first-touch', 'local'],
  } = {},
): Manifest {
  const choices = (key: keyof typeof KEYS, all: (string | number)[]) => (keys.includes(key) ? all : all.slice(0, 1));
  const variants = choices('pageSize', ['4K', '2M']).flatMap((pageSize) =>
    choices('ways', allWays).flatMap((ways) =>
      choices('tables', allTables).map((tables) => ({ pageSize, ways, tables }) as Varied),
    ),
  );
  mkdirSync(join(dir, 'cells'), { recursive: true });
  const cells = traces.flatMap((trace, t) =>
    variants.map((varied, v) => {
      const hash = createHash('sha256')
        .update(`${trace} ${JSON.stringify(varied)}`)
        .digest('hex')
        .slice(0, 16);
      const file = `cells/${hash}.json`;
      writeFileSync(join(dir, file), JSON.stringify(summary(trace, varied, t + 1)));
      const shown = Object.fromEntries(keys.map((key) => [KEYS[key], varied[key]]));
      const first = t * variants.length;
      return {
        ...{ cell: first + v, hash, trace, part: 0, varied: shown, file, done: true },
        baseline: baseline === null ? null : first + baseline,
      };
    }),
  );
  const manifest: Manifest = {
    schema: 'nodewalk.sweep/1',
    title: 'Page size, second-level TLB and table placement',
    description:
      'What do page size, the ways of the second-level TLB and the placement of page tables buy on these traces?',
    published: [],
    core: '5f0c2b7e91aa',
    vary: keys.map((key) => KEYS[key]),
    traces: traces.map((name, t) => {
      const { trace } = summary(name, variants[0], t + 1);
      return { path: trace.path, name, records: trace.records, sha256: trace.sha256 };
    }),
    cells,
  };
  writeFileSync(join(dir, 'manifest.json'), JSON.stringify(manifest));
  return manifest;
}

/** Writes what `replay -o` writes. */
export function writeReplay(
  dir: string,
  trace = 'x86-64-kernel',
  varied: Varied = { pageSize: '4K', ways: 12, tables: 'first-touch' },
): Summary {
  mkdirSync(dir, { recursive: true });
  const document = summary(trace, varied, 1);
  writeFileSync(join(dir, 'summary.json'), JSON.stringify(document));
  return document;
}
