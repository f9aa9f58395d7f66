// Where perf's samples, from whichever of its formats, become rows and counts.

import { type ParseOptions } from '../../format.js';
import { FETCH, LOAD } from '../../batch.js';
import { type Threads } from '../../threads.js';
import { kindOf, tallyDataSrc } from './dataSrc.js';
import { modeOfCode, SampleRows } from './rows.js';
import { type Sample } from './sample.js';
import { flag, noAddresses } from './settings.js';
import { Tally } from './tally.js';

export class SampleSink {
  readonly rows = new SampleRows();
  readonly tally = new Tally();
  /** Whether instructions become fetch rows. */
  readonly fetch: boolean;
  private readonly threads: Threads;
  private spread = false;

  constructor(settings: ParseOptions) {
    this.fetch = flag(settings, 'fetch');
    this.threads = settings.threads;
  }

  /** The CPU of a thread where samples do not tell. */
  cpuOf(tid: number): number {
    this.spread = true;
    return this.threads.cpuOf(tid);
  }

  /** Adds a sample; `mode` null is that of its instruction, `kind` what it is where its `data_src` does not say. */
  add(sample: Sample, mode: number | null, kind: number | null): void {
    const { rows, tally } = this;
    const { counts } = tally;
    const { ip, address, dataSrc, weight, time } = sample;
    counts.samples++;
    const isAddressed = address !== null && address !== 0n;
    if (!isAddressed) counts.noAddress++;
    const isFetch = this.fetch && ip !== null;
    if (!isAddressed && !isFetch) return;
    const tid = Math.max(0, sample.tid);
    const cpu = sample.cpu >= 0 ? sample.cpu : this.cpuOf(tid);
    const level = mode ?? modeOfCode(ip ?? address ?? 0n);
    if (isFetch) rows.addSample(cpu, FETCH, ip, null, level, tid, time);
    if (!isAddressed) return;
    const known = (dataSrc === null ? null : kindOf(dataSrc)) ?? kind;
    const pa = sample.pa === 0n ? null : sample.pa;
    counts.accesses++;
    if (known === null) counts.unknownOperation++;
    if (pa === null) counts.unknownPa++;
    if (dataSrc !== null) tallyDataSrc(dataSrc, tally);
    if (weight !== null && weight > 0) {
      counts.latencies++;
      counts.latencyCycles += weight;
    }
    rows.addSample(cpu, known ?? LOAD, address, pa, level, tid, time);
  }

  /** Fails when there was nothing to make rows of. */
  finish(source: string): void {
    const { samples, accesses } = this.tally.counts;
    if (accesses === 0 && !this.fetch) throw noAddresses(source, `${samples} samples without them`);
  }

  /** Sentences for the metadata's `notes`. */
  notes(midr?: number): string[] {
    const notes = ['sampled: consecutive rows are not consecutive accesses', ...this.tally.notes(midr)];
    if (this.spread) notes.push('the samples do not tell their CPU: thread k in order of appearance runs on CPU k');
    return notes;
  }
}
