// A summary as plain text: what `nodewalk replay` prints.

import { nanoseconds, number, percent } from '../format.js';
import { table } from '../table.js';
import { type Violations } from '../replay/replayer.js';
import { type Counters, type Summary } from './summary.js';

/** The totals, and a table of phases and of CPUs where there is more than one. */
export function summaryText(summary: Summary): string {
  const { trace, totals, phases, cpus, run } = summary;
  const invariants = invariantsText(summary);
  const parts = [`${trace.path}: ${number(trace.records)} records`, '', totalsText(totals, invariants)];
  if (phases.length > 0) parts.push(tableOf('phase', phases, (p) => `${p.name} (cpu ${p.cpu})`));
  if (cpus.length > 1)
    parts.push(
      tableOf('cpu', cpus as (Counters & { cpu: number; node: number })[], (c) => `${c.cpu} (node ${c.node})`),
    );
  const { seconds, accessesPerSecond } = (run ?? {}) as { seconds?: number; accessesPerSecond?: number };
  if (seconds !== undefined && accessesPerSecond)
    parts.push(`replayed in ${nanoseconds(seconds * 1e9)}, ${number(Math.round(accessesPerSecond / 1e6))} M records/s`);
  return `${parts.join('\n')}\n`;
}

function totalsText(totals: Counters, invariants: string | null): string {
  const { fault, cycles, table: tables } = totals;
  const rows: [string, string][] = [
    // A trace of events alone has nothing to look up.
    ...(accesses(totals) > 0 ? lookupRows(totals) : []),
    ...cacheRows(totals),
    ...faultRows(totals),
    ...maintenanceRows(totals),
    ...profileRows(totals),
    ...(invariants ? [['invariants', invariants] as [string, string]] : []),
    ['first touches', number(fault.demand ?? 0)],
    ['page tables', `${number(tables?.bytes ?? 0)} bytes`],
    [
      'cycles',
      `${number(cycles.total)} (slowest CPU ${number(cycles.critical ?? cycles.total)}; ${partsText(cycles)})`,
    ],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

/** The invariants that were broken, a line each: how often, and where first. */
export function brokenInvariants({ checks, config }: Summary): string[] {
  const seed = (config.system as { s2Seed?: number | null } | undefined)?.s2Seed ?? null;
  const by = seed === null ? '' : ` (system.s2Seed: ${seed})`;
  const found = (checks ?? {}) as Record<string, Partial<Violations>>;
  return Object.entries(found).flatMap(([name, { violations = 0, first }]) => {
    if (violations === 0) return [];
    const where = first ? `; first at record ${first.record}, address ${first.va}, CPU ${first.cpu}` : '';
    return [`invariant ${name} was broken ${number(violations)} times${where}${by}`];
  });
}

/** Whether invariants hold, in words; null where none was checked. */
export function invariantsText(summary: Summary): string | null {
  const checked = Object.keys(summary.checks ?? {}).length;
  if (checked === 0) return null;
  const seeds = summary.search ? `, with ${number(summary.search.seeds)} seeds` : '';
  return brokenInvariants(summary).join('; ') || `all ${checked} hold${seeds}`;
}

/** What accesses, TLBs and walks did. */
function lookupRows(totals: Counters): [string, string][] {
  const { access, tlb, walk } = totals;
  return [
    [
      'accesses',
      `${number(accesses(totals))} (${number(access.fetch)} fetch, ${number(access.load)} load, ${number(access.store)} store)`,
    ],
    ['instructions', number(access.insns)],
    ...Object.entries(tlb).map(([level, { hit, miss }]): [string, string] => [
      `${level} TLB misses`,
      `${number(miss)} of ${number(hit + miss)} look-ups (${percent(ratio(miss, hit + miss))})`,
    ]),
    [
      'walks',
      `${number(walk.count)}, reading ${number(walk.refs)} descriptors (${number(ratio(walk.refs, walk.count))} per walk)`,
    ],
    ['remote descriptors', `${number(walk.remote)} (${percent(ratio(walk.remote, walk.refs))})`],
    [
      'walk-cache hits',
      Object.entries(walk.cacheHits)
        .map(([name, n]) => `${name} ${number(n)}`)
        .join(', '),
    ],
  ];
}

/** Faults of guests and hosts by class; first touches stand apart. */
function faultRows({ fault }: Counters): [string, string][] {
  const { demand: _demand, ...classes } = fault as Record<string, number>;
  const shown = Object.entries(classes).flatMap(([name, n]) =>
    n > 0 ? [`${number(n)} ${FAULT_NAMES[name] ?? name}`] : [],
  );
  return shown.length > 0 ? [['faults', shown.join(', ')]] : [];
}

const FAULT_NAMES: Readonly<Record<string, string>> = {
  stage2: "of the host's stage 2",
  accessFlag: 'access flag',
  refault: 'of them on what a block was split into',
  retry: 'sent back',
};

/** What statistical profiling took and lost. */
function profileRows({ spe }: Counters): [string, string][] {
  const counts = (spe ?? {}) as Record<string, number>;
  if (!(counts.samples > 0 || counts.lost > 0)) return [];
  const { samples, lost, missed, collisions, bytes, blackout, pinnedMax, copyLocal, copyRemote } = counts;
  return [
    [
      'samples',
      `${number(samples)} (${number(bytes)} bytes), ${number(lost + missed)} lost, ${number(collisions)} collisions`,
    ],
    [
      'profiling',
      `${number(blackout)} cycles of blackout, ${number(pinnedMax)} bytes pinned, ${number(copyLocal + copyRemote)} copied`,
    ],
  ];
}

/** What events made the kernel do, where there were any. */
function maintenanceRows({ maintenance, table: tables }: Counters): [string, string][] {
  const counts = (maintenance ?? {}) as Record<string, number | Record<string, number>>;
  const sum = (value: number | Record<string, number> = 0) =>
    typeof value === 'number' ? value : Object.values(value).reduce((total, n) => total + n, 0);
  const names = {
    tableStore: 'table stores',
    syncStore: 'of them to keep copies in step',
    tlbi: 'TLB invalidations',
    ipi: 'interrupts',
    trap: 'traps',
    casFailed: 'failed CAS',
    rootWrite: 'root writes',
    bytesCopied: 'bytes copied',
  };
  const shown = Object.entries(names).flatMap(([key, name]) =>
    sum(counts[key]) > 0 ? [`${number(sum(counts[key]))} ${name}`] : [],
  );
  const replicas = tables?.replicaBytes ?? 0;
  return [
    ...(shown.length > 0 ? [['maintenance', shown.join(', ')] as [string, string]] : []),
    ...(replicas > 0 ? [['copies of text', `${number(replicas)} bytes`] as [string, string]] : []),
  ];
}

/** Line caches, which not every machine has. */
function cacheRows({ cache = {} }: Counters): [string, string][] {
  return Object.entries(cache).flatMap(([name, by]): [string, string][] => {
    const sum = (end: string) =>
      Object.values(by).reduce<number>((n, counts) => n + (typeof counts === 'number' ? 0 : (counts[end] ?? 0)), 0);
    const [hit, miss, local, remote] = ['hit', 'miss', 'local', 'remote'].map(sum);
    if (name === 'prefetch') return [['prefetched lines', number(Number(by.lines))]];
    if (name === 'memory') return [['lines from memory', `${number(local + remote)}, ${number(remote)} remote`]];
    return [
      [
        `${name} cache misses`,
        `${number(miss)} of ${number(hit + miss)} accesses (${percent(ratio(miss, hit + miss))})`,
      ],
    ];
  });
}

const PART_NAMES: Readonly<Record<string, string>> = { walk: 'walks', fault: 'faults' };

/** What CPUs wait for, in shares of all cycles. */
function partsText({ total, ...parts }: Counters['cycles']): string {
  const shown = ['fetch', 'data', 'walk', 'fault', 'maintenance', 'lock'].filter(
    (name) => name === 'walk' || parts[name],
  );
  return shown.map((name) => `${PART_NAMES[name] ?? name} ${percent(ratio(Number(parts[name]), total))}`).join(', ');
}

function tableOf<T extends Counters>(name: string, list: T[], label: (item: T) => string): string {
  const headers = [name, 'accesses', 'l1i miss', 'l1d miss', 'walks', 'refs', 'remote', 'cycles'].map((text) => ({
    name: text,
  }));
  const rows = list.map((item) => [
    label(item),
    accesses(item),
    item.tlb.l1i?.miss ?? null,
    item.tlb.l1d?.miss ?? null,
    item.walk.count,
    item.walk.refs,
    percent(ratio(item.walk.remote, item.walk.refs)),
    Math.round(item.cycles.total),
  ]);
  return table([headers[0], ...headers.slice(1).map((h) => ({ ...h, align: 'right' as const }))], rows);
}

const accesses = ({ access }: Counters) => access.fetch + access.load + access.store;
const ratio = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
