// From decoded SPE records to rows: a sampled load or store with an address becomes a row, its other packets are counted.

import { FETCH, LOAD, MODE_HYPERVISOR, MODE_KERNEL, MODE_USER, STORE } from '../../batch.js';
import {
  HAS_CONTEXT,
  HAS_EVENTS,
  HAS_OPERATION,
  HAS_PA,
  HAS_PC,
  HAS_SOURCE,
  HAS_TIMESTAMP,
  HAS_TOTAL,
  HAS_TRANSLATION,
  HAS_VA,
  type SpeDamage,
  type SpeRecords,
} from '../../spe/decode.js';
import { CLASS_LOAD_STORE, EVENT, OPERATION_STORE } from '../../spe/packets.js';
import { type SampleRows } from './rows.js';
import { type Tally } from './tally.js';

const TLB_ACCESS = 1 << EVENT.tlbAccess;
const TLB_WALK = 1 << EVENT.tlbWalk;
const REMOTE_ACCESS = 1 << EVENT.remoteAccess;
const L1D_ACCESS = 1 << EVENT.l1dAccess;
const L1D_REFILL = 1 << EVENT.l1dRefill;
const LLC_ACCESS = 1 << EVENT.llcAccess;
const LLC_MISS = 1 << EVENT.llcMiss;

/** Bit 55, which tells the half of the address space, in the high word. */
const UPPER_HALF = 1 << 23;

/** What records do not tell themselves. */
export interface SpeSource {
  cpu: number;
  /** MIDR_EL1 of the CPU, where known. */
  midr: number | undefined;
  /** The thread that ran on the CPU, from the record's context packet or else from what the file says. */
  tid(time: bigint, context: number | null): number;
  /** From a timestamp to the column `time`. */
  timeOf(timestamp: bigint): bigint;
  /** Time of the last record: one without a timestamp is as old. */
  time: bigint;
}

/** Turns streams of records into rows. */
export class SpeRows {
  constructor(
    private readonly rows: SampleRows,
    private readonly tally: Tally,
    /** Whether every sampled instruction becomes a fetch row too. */
    private readonly fetch: boolean,
  ) {}

  /** Adds the rows of all complete records, at most two for each. */
  add(records: SpeRecords, source: SpeSource): void {
    const { rows, fetch } = this;
    const { counts } = this.tally;
    const sources = this.tally.sourcesOf(source.midr);
    for (let i = 0; i < records.count; i++) {
      const has = records.fields[i];
      counts.samples++;
      const isAccess = (has & HAS_OPERATION) !== 0 && records.operationClass[i] === CLASS_LOAD_STORE;
      const isFetch = fetch && (has & HAS_PC) !== 0;
      const withVa = isAccess && (has & HAS_VA) !== 0;
      if (isAccess && !withVa) counts.noAddress++;
      if (!withVa && !isFetch) continue;

      if ((has & HAS_TIMESTAMP) !== 0) source.time = source.timeOf(records.timestamp[i]);
      const { time } = source;
      const tid = source.tid(time, (has & HAS_CONTEXT) !== 0 ? records.context[i] : null);
      const mode = modeOf(records, i);
      if (isFetch) rows.addSample(source.cpu, FETCH, records.pc[i], null, mode, tid, time);
      if (!withVa) continue;
      this.count(records, i, sources);
      const pa = (has & HAS_PA) !== 0 ? records.pa[i] : null;
      if (pa === null) counts.unknownPa++;
      const kind = (records.operation[i] & OPERATION_STORE) !== 0 ? STORE : LOAD;
      rows.addSample(source.cpu, kind, records.va[i], pa, mode, tid, time);
    }
  }

  /** Counts what the record of a load or store says. */
  private count(records: SpeRecords, i: number, sources: Float64Array): void {
    const { counts } = this.tally;
    const has = records.fields[i];
    counts.accesses++;
    if ((has & HAS_EVENTS) !== 0) {
      const events = records.events[i];
      if ((events & TLB_ACCESS) !== 0) counts.tlbAccess++;
      if ((events & TLB_WALK) !== 0) counts.tlbWalk++;
      if ((events & REMOTE_ACCESS) !== 0) counts.remoteAccess++;
      if ((events & L1D_ACCESS) !== 0) counts.l1dAccess++;
      if ((events & L1D_REFILL) !== 0) counts.l1dRefill++;
      if ((events & LLC_ACCESS) !== 0) counts.llcAccess++;
      if ((events & LLC_MISS) !== 0) counts.llcMiss++;
    }
    if ((has & HAS_TOTAL) !== 0) {
      counts.latencies++;
      counts.latencyCycles += records.total[i];
    }
    if ((has & HAS_TRANSLATION) !== 0) {
      counts.translations++;
      counts.translationCycles += records.translation[i];
    }
    if ((has & HAS_SOURCE) !== 0 && (records.operation[i] & OPERATION_STORE) === 0) sources[records.source[i]]++;
  }
}

/**
 * EL0 is user, EL1 kernel. At EL2 the upper half exists for a host kernel only (VHE), so code there is kernel, and code
 * of the lower half a hypervisor. Without the PC the half in which the data lies decides.
 */
function modeOf(records: SpeRecords, i: number): number {
  if ((records.fields[i] & HAS_PC) === 0) {
    return (records.vaWords[2 * i + 1] & UPPER_HALF) !== 0 ? MODE_KERNEL : MODE_USER;
  }
  const el = records.el[i];
  if (el < 2) return el === 0 ? MODE_USER : MODE_KERNEL;
  return (records.pcWords[2 * i + 1] & UPPER_HALF) !== 0 ? MODE_KERNEL : MODE_HYPERVISOR;
}

/** What is to be said of damage; nothing when there was none. */
export function damageNotes({ faults, offsets }: SpeDamage): string[] {
  return faults > 0
    ? [`damaged SPE data in ${faults} places, first at bytes ${offsets.join(', ')} of their streams`]
    : [];
}
