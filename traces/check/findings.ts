// The trace invariants that `nodewalk check` knows, and what was found against them: every violation is counted, the first
// ones are kept with their records.

/** A record against an invariant. `row` and `cpu` are null for what the metadata says. */
export interface Violation {
  row: number | null;
  cpu: number | null;
  found: string;
}

/** What came of one invariant. */
export interface Finding {
  name: InvariantName;
  /** What has to hold. */
  holds: string;
  /** A note is worth knowing and may be right; the exit code does not depend on it. */
  severity: 'error' | 'note';
  violations: number;
  first: Violation[];
  /** Why it could not be checked, else null. */
  skipped: string | null;
}

/** Name of an invariant: what has to hold. */
export const INVARIANTS = {
  kinds: 'every kind has a meaning',
  operands:
    'an event is followed by all rows of kind 19 that it takes, and by no others; operands without a meaning are 0',
  'operand-range': 'operands are in their range: listed values, CPUs of the machine, counts above 0',
  modes: 'modes are user, kernel or hypervisor, in a guest or not',
  sizes: 'a fetch has at most 64 bytes, and 64 where a row stands for a line',
  'no-size': 'accesses have a size; 0 is one that the capture does not know',
  'wide-data': 'loads and stores have at most 64 bytes (some instructions that save a state have more)',
  canonical: 'virtual addresses of the host are canonical for its paging',
  cpus: 'CPUs are below the number of CPUs in the metadata',
  time: 'time does not run backwards on a CPU',
  'page-offset': 'va and pa of an access have the same offset in a page of 4 KiB',
  'one-pa': 'a page of an address space has one physical address until an event maps it again',
  'pa-node': "physical addresses lie in a node's ranges, but for those of devices",
  phases: 'phases of a CPU begin and end in pairs that nest',
  'phase-names': 'phases have a name in the metadata (not every format keeps them)',
  counts: 'the counts in the metadata are those of the rows',
  machine: 'CPUs, nodes and their ranges in the metadata fit together',
  regions: 'regions of the metadata do not overlap, unless one lies inside the other',
} as const;

export type InvariantName = keyof typeof INVARIANTS;

/** Those that no trace has to keep. */
const NOTES: readonly InvariantName[] = ['no-size', 'wide-data', 'phase-names'];

/** Collects what is found. */
export class Findings {
  private readonly found = new Map<InvariantName, Finding>();

  constructor(private readonly limit: number) {
    for (const name of Object.keys(INVARIANTS) as InvariantName[]) {
      const finding: Finding = {
        ...{ name, holds: INVARIANTS[name], severity: 'error', violations: 0, first: [], skipped: null },
      };
      this.found.set(name, finding);
    }
    for (const name of NOTES) this.note(name);
  }

  /** Counts a violation; `found` is asked only for those that are kept. */
  add(name: InvariantName, row: number | null, cpu: number | null, found: () => string, times = 1): void {
    const finding = this.found.get(name)!;
    if (finding.first.length < this.limit) finding.first.push({ row, cpu, found: found() });
    finding.violations += times;
  }

  /** Makes an invariant one that the trace cannot prove broken. */
  note(name: InvariantName): void {
    this.found.get(name)!.severity = 'note';
  }

  /** Says why an invariant cannot be checked. */
  skip(name: InvariantName, reason: string): void {
    this.found.get(name)!.skipped = reason;
  }

  skipped(name: InvariantName): boolean {
    return this.found.get(name)!.skipped !== null;
  }

  list(): Finding[] {
    return [...this.found.values()];
  }
}
