// What is in a trace, found in one pass: rows by kind, mode and CPU, phases, distinct pages.

import { STORE, type Batch } from './batch.js';
import { noRows, type RowCounts } from './counts.js';
import { InputError } from './errors.js';
import { isKnownKind, kindName, PHASE_BEGIN, PHASE_END } from './events.js';
import { type TraceMetadata } from './metadata.js';
import { PageSet } from './pages.js';
import { TraceReader } from './reader.js';
import { ReuseDistances, type ReuseHistogram, type ReuseUnit } from './reuse.js';

export interface PhaseInfo extends RowCounts {
  number: number;
  name: string | null;
  /** The CPU of its begin row. */
  cpu: number;
  rows: number;
  /** How often it began. */
  times: number;
  /** Whether its last begin has no end. */
  open: boolean;
}

/** Distinct pages by size of page. */
export interface PageCounts {
  '4K': number;
  '2M': number;
  '1G': number;
}

export interface TraceInfo {
  path: string;
  bytes: number;
  records: number;
  columns: string[];
  mix: RowCounts;
  /** Rows by name of kind. */
  kinds: Record<string, number>;
  /** Accesses by mode, where the trace has the column. */
  modes: Record<string, number> | null;
  /** Accesses by CPU. */
  cpus: ({ cpu: number; node: number | null } & RowCounts)[];
  phases: PhaseInfo[];
  /** Distinct pages that are accessed, by address alone: the same VA in two address spaces counts once. */
  pages: { va: PageCounts; fetchVa: PageCounts; pa: PageCounts | null };
  /** Reuse distances by what they count, where they were asked for. */
  reuse?: Partial<Record<ReuseUnit, ReuseHistogram[]>>;
  metadata: TraceMetadata | null;
}

const KINDS = 256;
const UNKNOWN_WORD = 0xffff_ffff;
const MODES = ['user', 'kernel', 'hypervisor'];
const GUEST_BIT = 16;
/** From pages of 4 KiB. */
const SHIFT_2M = 9;
const SHIFT_1G = 18;

/** Reads a trace once. `onProgress` gets rows done and rows in all; `reuse` says which reuse distances to count as well. */
export async function inspect(
  path: string,
  onProgress: (done: number, total: number) => void = () => {},
  reuse: readonly ReuseUnit[] = [],
): Promise<TraceInfo> {
  const reader = await TraceReader.open(path);
  try {
    const census = new Census(reader);
    const distances = reuse.map((unit) => new ReuseDistances(unit));
    for await (const batch of reader.batches()) {
      census.add(batch);
      for (const counter of distances) counter.add(batch);
      onProgress(census.rows, reader.rows);
    }
    const info = census.result();
    if (distances.length > 0) info.reuse = Object.fromEntries(distances.map((d) => [d.unit, d.result()]));
    return info;
  } finally {
    await reader.close();
  }
}

/** The counts while the pass goes on. Rows are counted per (CPU, kind); everything else follows from that. */
class Census {
  rows = 0;
  private readonly va = new PageSet();
  private readonly fetchVa = new PageSet();
  private readonly pa = new PageSet();
  private readonly modes = new Float64Array(256);
  private kinds: Float64Array[] = [];
  private insns: number[] = [];
  private readonly phases = new Map<number, { info: PhaseInfo; start: RowCounts & { rows: number } }>();

  constructor(private readonly reader: TraceReader) {}

  add(batch: Batch): void {
    const { rows, cpu, kind, mode, insns } = batch;
    const vaWords = new Uint32Array(batch.va.buffer, batch.va.byteOffset, 2 * rows);
    const paWords = batch.pa && new Uint32Array(batch.pa.buffer, batch.pa.byteOffset, 2 * rows);
    for (let i = 0; i < rows; i++) {
      const k = kind[i];
      // A phase holds the rows between its begin and its end: it ends before its end row counts and begins after its
      // begin row does. A begin also ends a phase of the same number that was left open.
      if (k === PHASE_BEGIN || k === PHASE_END) this.end(vaWords[2 * i], this.rows + i);
      const byKind = (this.kinds[cpu[i]] ??= new Float64Array(KINDS));
      byKind[k]++;
      if (k > STORE) {
        if (!isKnownKind(k)) throw this.unknownKind(k, this.rows + i);
        if (k === PHASE_BEGIN) this.begin(vaWords[2 * i], cpu[i], this.rows + i);
        continue;
      }
      this.va.addAddress(vaWords[2 * i + 1], vaWords[2 * i]);
      if (k === 0) {
        this.fetchVa.addAddress(vaWords[2 * i + 1], vaWords[2 * i]);
        this.insns[cpu[i]] = (this.insns[cpu[i]] ?? 0) + (insns ? insns[i] : 1);
      }
      if (mode) this.modes[mode[i]]++;
      if (paWords && (paWords[2 * i] !== UNKNOWN_WORD || paWords[2 * i + 1] !== UNKNOWN_WORD)) {
        this.pa.addAddress(paWords[2 * i + 1], paWords[2 * i]);
      }
    }
    this.rows += rows;
  }

  result(): TraceInfo {
    const { path, metadata, columns } = this.reader;
    for (const { info, start } of this.phases.values()) if (info.open) this.addUp(info, start, this.rows);
    const kinds: Record<string, number> = {};
    this.kinds.forEach((byKind) =>
      byKind.forEach((count, k) => {
        if (count > 0) kinds[kindName(k)] = (kinds[kindName(k)] ?? 0) + count;
      }),
    );
    return {
      path,
      bytes: this.reader.bytes,
      records: this.rows,
      columns,
      mix: this.mix(),
      kinds,
      modes: columns.includes('mode') ? this.byMode() : null,
      cpus: Object.keys(this.kinds)
        .map(Number)
        .map((cpu) => ({ cpu, node: metadata?.cpuNode?.[cpu] ?? null, ...this.mixOf(cpu) })),
      phases: [...this.phases.values()].map(({ info }) => info),
      pages: {
        va: pageCounts(this.va),
        fetchVa: pageCounts(this.fetchVa),
        pa: columns.includes('pa') ? pageCounts(this.pa) : null,
      },
      metadata,
    };
  }

  private mixOf(cpu: number): RowCounts {
    const [fetch, load, store, ...rest] = this.kinds[cpu];
    return { fetch, load, store, event: rest.reduce((sum, n) => sum + n, 0), insns: this.insns[cpu] ?? 0 };
  }

  private mix(): RowCounts {
    const total = noRows();
    this.kinds.forEach((_, cpu) => addMix(total, this.mixOf(cpu), 1));
    return total;
  }

  private byMode(): Record<string, number> {
    const named = [...this.modes].map((count, mode) => [modeName(mode), count] as const);
    return Object.fromEntries(named.filter(([, count]) => count > 0));
  }

  private begin(number: number, cpu: number, row: number): void {
    const name = this.reader.metadata?.phases.find((phase) => phase.number === number)?.name ?? null;
    const info: PhaseInfo = this.phases.get(number)?.info ?? {
      ...{ number, name, cpu, rows: 0, times: 0, open: true },
      ...noRows(),
    };
    info.times++;
    info.open = true;
    this.phases.set(number, { info, start: { ...this.mix(), rows: row + 1 } });
  }

  private end(number: number, row: number): void {
    const phase = this.phases.get(number);
    if (!phase?.info.open) return;
    this.addUp(phase.info, phase.start, row);
    phase.info.open = false;
  }

  /** Adds what happened since `start` to a phase. */
  private addUp(info: PhaseInfo, start: RowCounts & { rows: number }, row: number): void {
    addMix(info, this.mix(), 1);
    addMix(info, start, -1);
    info.rows += row - start.rows;
  }

  private unknownKind(kind: number, row: number): InputError {
    return new InputError({
      source: this.reader.path,
      at: `row ${row}`,
      expected: 'a kind of docs/formats.md',
      found: `${kind}`,
    });
  }
}

function addMix(sum: RowCounts, mix: RowCounts, sign: 1 | -1): void {
  for (const key of ['fetch', 'load', 'store', 'event', 'insns'] as const) sum[key] += sign * mix[key];
}

function modeName(mode: number): string {
  const name = MODES[mode & ~GUEST_BIT] ?? `mode ${mode}`;
  return mode & GUEST_BIT ? `guest ${name}` : name;
}

function pageCounts(pages: PageSet): PageCounts {
  return { '4K': pages.distinct(0), '2M': pages.distinct(SHIFT_2M), '1G': pages.distinct(SHIFT_1G) };
}
