// The trace invariants, checked in one pass with memory as large as the trace's footprint. findings.ts names them.

import { FETCH, MODE_GUEST, MODE_HYPERVISOR, MODE_KERNEL, STORE, type Batch } from '../batch.js';
import { countRows, noRows, type RowCounts } from '../counts.js';
import { kindName, OPERANDS } from '../events.js';
import { type TraceMetadata } from '../metadata.js';
import { TraceReader } from '../reader.js';
import { EventChecks } from './events.js';
import { type Finding, Findings } from './findings.js';
import { checkMachine, NodeRanges } from './machine.js';
import { TranslationChecks } from './translations.js';

export interface CheckOptions {
  /** Records that are kept of each invariant. */
  limit?: number;
  /** Rows done and rows in all. */
  onProgress?(done: number, total: number): void;
}

export interface CheckReport {
  path: string;
  records: number;
  /** Whether no invariant is broken; notes do not count. */
  ok: boolean;
  invariants: Finding[];
}

const DEFAULT_LIMIT = 5;
const UNKNOWN_WORD = 0xffff_ffff;
const PAGE_MASK = 0xfff;
const LINE_BYTES = 64;
const CPUS = 2 ** 16;

/** Checks a trace. */
export async function checkTrace(
  path: string,
  { limit = DEFAULT_LIMIT, onProgress }: CheckOptions = {},
): Promise<CheckReport> {
  const reader = await TraceReader.open(path);
  try {
    const findings = new Findings(limit);
    const rows = new RowChecks(reader, findings);
    let done = 0;
    for await (const batch of reader.batches()) {
      rows.add(batch);
      onProgress?.((done += batch.rows), reader.rows);
    }
    rows.finish();
    const invariants = findings.list();
    const ok = invariants.every(({ severity, violations }) => severity === 'note' || violations === 0);
    return { path, records: done, ok, invariants };
  } finally {
    await reader.close();
  }
}

/** The invariants of rows, with what has to be remembered from row to row. */
class RowChecks {
  private row = 0;
  private readonly metadata: TraceMetadata | null;
  private readonly events: EventChecks;
  private readonly translations: TranslationChecks;
  private readonly nodes: NodeRanges;
  private readonly cpus: number;
  /** The bits of an address that have to be equal, all in its high word: the lowest of them, and as a mask; 0: not known. */
  private readonly vaBits: number;
  private readonly signMask: number;
  private readonly counts: RowCounts & { unknownPa: number } = { ...noRows(), unknownPa: 0 };
  /** The latest time of every CPU, as pairs of low and high words. */
  private readonly times: Uint32Array;
  private outside = 0;

  constructor(
    reader: TraceReader,
    private readonly findings: Findings,
  ) {
    const { metadata, columns } = reader;
    this.metadata = metadata;
    this.events = new EventChecks(findings, metadata);
    this.translations = new TranslationChecks(findings, metadata);
    this.nodes = new NodeRanges(metadata?.nodes ?? []);
    this.cpus = metadata?.cpus ?? metadata?.cpuNode?.length ?? CPUS;
    this.times = new Uint32Array(columns.includes('time') ? 2 * CPUS : 0);
    this.vaBits = vaBitsOf(metadata);
    // The top byte of an Arm address may be a tag (TBI); bit 55 tells the halves apart.
    const topBit = metadata?.arch === 'arm64' ? 55 : 63;
    this.signMask = 2 ** (topBit - this.vaBits + 1) - 1;

    const without = (name: 'pa' | 'size' | 'mode' | 'time', ...invariants: Parameters<Findings['skip']>[0][]) => {
      if (!columns.includes(name)) for (const invariant of invariants) findings.skip(invariant, `no column ${name}`);
    };
    without('pa', 'page-offset', 'one-pa', 'pa-node');
    without('size', 'sizes', 'no-size', 'wide-data');
    without('mode', 'modes');
    without('time', 'time');
    const unknown = 'the metadata does not say';
    if (this.vaBits === 0) findings.skip('canonical', unknown);
    if (this.cpus === CPUS) findings.skip('cpus', unknown);
    if (this.nodes.empty) findings.skip('pa-node', unknown);
    if (!metadata)
      for (const name of ['phase-names', 'counts', 'machine', 'regions'] as const) findings.skip(name, 'no metadata');
    else checkMachine(metadata, findings);
    // Without address spaces a change may be another space's page as well as a new mapping.
    if (!columns.includes('asid') && metadata?.constants.asid === undefined) findings.note('one-pa');
    // Devices lie outside of every node; how many accesses went to them not every source says.
    if (metadata?.counts.mmio === undefined) findings.note('pa-node');
  }

  add(batch: Batch): void {
    const { rows, cpu, kind, va, pa, size, insns, mode, arg } = batch;
    const { findings, events, translations, nodes, cpus, vaBits } = this;
    const vaWords = new Uint32Array(va.buffer, va.byteOffset, 2 * rows);
    const paWords = pa && new Uint32Array(pa.buffer, pa.byteOffset, 2 * rows);
    const time = batch.time && new Uint32Array(batch.time.buffer, batch.time.byteOffset, 2 * rows);
    const ranges = !nodes.empty;
    let inEvent = true;
    for (let i = 0; i < rows; i++) {
      const row = this.row + i;
      const k = kind[i];
      if (cpu[i] >= cpus) findings.add('cpus', row, cpu[i], () => `CPU ${cpu[i]} of ${cpus}`);
      if (mode !== undefined && (mode[i] & ~MODE_GUEST) > MODE_HYPERVISOR) {
        findings.add('modes', row, cpu[i], () => `mode ${mode[i]}`);
      }
      if (time !== undefined && k !== OPERANDS) this.checkTime(time, i, row, cpu[i]);
      if (k > STORE) {
        events.row(row, cpu[i], k, va[i], arg ? arg[i] : 0n);
        translations.event(k, va[i], arg ? arg[i] : 0n);
        inEvent = true;
        continue;
      }
      if (inEvent) events.access();
      inEvent = false;
      const high = vaWords[2 * i + 1];
      const low = vaWords[2 * i];
      if (size !== undefined) {
        const bytes = size[i];
        if (bytes === 0) findings.add('no-size', row, cpu[i], () => kindName(k));
        else if (k === FETCH && bytes > LINE_BYTES) {
          findings.add('sizes', row, cpu[i], () => `${bytes} bytes`);
        } else if (bytes > LINE_BYTES) findings.add('wide-data', row, cpu[i], () => `${bytes} bytes`);
        else if (k === FETCH && insns !== undefined && insns[i] > 1 && bytes !== LINE_BYTES) {
          findings.add('sizes', row, cpu[i], () => `a fetch of ${insns[i]} instructions with ${bytes} bytes`);
        }
      }
      if (vaBits > 0 && (mode === undefined || mode[i] <= MODE_KERNEL) && !this.canonical(high)) {
        findings.add('canonical', row, cpu[i], () => `va ${hex(va[i])}`);
      }
      if (paWords === undefined) continue;
      const paHigh = paWords[2 * i + 1];
      const paLow = paWords[2 * i];
      if (paLow === UNKNOWN_WORD && paHigh === UNKNOWN_WORD) {
        this.counts.unknownPa++;
        continue;
      }
      if (((low ^ paLow) & PAGE_MASK) !== 0) {
        findings.add('page-offset', row, cpu[i], () => `va ${hex(va[i])}, pa ${hex(pa![i])}`);
      }
      translations.access(batch, i, row, high, low, paHigh, paLow);
      if (ranges && !nodes.has(paHigh, paLow)) this.lost(row, cpu[i], pa![i]);
    }
    countRows(batch, this.counts);
    this.row += rows;
  }

  /** What is known only after the last row. */
  finish(): void {
    this.events.finish();
    const { metadata, findings, counts } = this;
    for (const [name, stated] of Object.entries(metadata?.counts ?? {})) {
      if (!(name in counts) || (name === 'unknownPa' && findings.skipped('page-offset'))) continue;
      const counted = counts[name as keyof typeof counts];
      if (counted !== stated)
        findings.add('counts', null, null, () => `${name} is ${counted}, the metadata says ${stated}`);
    }
  }

  private checkTime(words: Uint32Array, i: number, row: number, cpu: number): void {
    const { times } = this;
    const low = words[2 * i];
    const high = words[2 * i + 1];
    const before = times[2 * cpu + 1];
    if (high < before || (high === before && low < times[2 * cpu])) {
      const found = () => `${high * 2 ** 32 + low} after ${before * 2 ** 32 + times[2 * cpu]}`;
      this.findings.add('time', row, cpu, found);
      return;
    }
    times[2 * cpu] = low;
    times[2 * cpu + 1] = high;
  }

  private canonical(high: number): boolean {
    const bits = (high >>> (this.vaBits - 32)) & this.signMask;
    return bits === 0 || bits === this.signMask;
  }

  /** An access outside of the nodes' memory: of a device, as long as the metadata knows of so many. */
  private lost(row: number, cpu: number, pa: bigint): void {
    this.outside++;
    if (this.outside <= (this.metadata?.counts.mmio ?? 0)) return;
    const found = () => {
      const devices = this.metadata?.counts.mmio;
      return `pa ${hex(pa)}${devices === undefined ? '' : `, after the ${devices} accesses to devices of the metadata`}`;
    };
    this.findings.add('pa-node', row, cpu, found);
  }
}

/** The lowest bit that has to equal all above it; 0 where the paging is not known. */
function vaBitsOf(metadata: TraceMetadata | null): number {
  const { arch, paging } = metadata ?? {};
  // x86: bits 47 (4 levels) or 56 (5 levels) and up are equal. Arm: each half has vaBits bits below its sign.
  if (arch === 'x86-64' && paging?.levels) return 9 * paging.levels + 11;
  if (arch === 'arm64' && paging?.vaBits) return paging.vaBits;
  return 0;
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
