// The records of a perf.data: who ran where, which bytes are whose, and the rows of the samples. Defined by
// include/uapi/linux/perf_event.h and, from type 64 on, tools/lib/perf/include/perf/event.h.
//   record = u32 type, u16 misc, u16 size, payload       size is that of the whole record

import { type ParseOptions } from '../../format.js';
import { MODE_GUEST, MODE_HYPERVISOR, MODE_KERNEL, MODE_USER } from '../../batch.js';
import { InputError } from '../../errors.js';
import { type TraceMetadata } from '../../metadata.js';
import { noDamage, SpeDecoder, SpeRecords } from '../../spe/decode.js';
import { readFeature, type Features } from './features.js';
import { type SampleRows } from './rows.js';
import { Running } from './running.js';
import {
  ADDR,
  ATTRIBUTES_BYTES,
  emptySample,
  idOffset,
  readAttributes,
  readSample,
  readTrailer,
  type Attributes,
} from './sample.js';
import { noAddresses } from './settings.js';
import { SampleSink } from './sink.js';
import { damageNotes, SpeRows, type SpeSource } from './speRows.js';
import { perfTime, type TimeConversion } from './timeConv.js';

export const HEADER_BYTES = 8;

/** Types of records. */
const LOST = 2;
const SAMPLE = 9;
const AUX = 11;
const ITRACE_START = 12;
const LOST_SAMPLES = 13;
const SWITCH = 14;
const SWITCH_CPU_WIDE = 15;
const ATTRIBUTES = 64;
export const TRACING_DATA = 66;
const AUXTRACE_INFO = 70;
export const AUXTRACE = 71;
const AUXTRACE_ERROR = 72;
const TIME_CONV = 79;
const FEATURE = 80;
export const COMPRESSED = 81;
export const COMPRESSED2 = 83;

/** The event that stands for mappings and threads and has no samples. */
const SOFTWARE = 1;
const SOFTWARE_DUMMY = 9n;

/** Bits of `misc`. */
const MISC_CPUMODE = 7;
const MISC_SWITCH_OUT = 1 << 13;
const MODE_OF_CPUMODE: readonly (number | null)[] = [
  null,
  MODE_KERNEL,
  MODE_USER,
  MODE_HYPERVISOR,
  MODE_GUEST + MODE_KERNEL,
  MODE_GUEST + MODE_USER,
];

/** Flags of an AUX record. */
const AUX_TRUNCATED = 1;
const AUX_PARTIAL = 4;
const AUX_COLLISION = 8;

const AUXTRACE_ARM_SPE = 4;
/** Other kinds of trace data beside samples (tools/perf/util/auxtrace.h). */
const AUXTRACE_NAMES: Readonly<Record<number, string>> = {
  1: 'Intel PT',
  2: 'Intel BTS',
  3: 'CoreSight ETM',
  5: 's390 CPU measurement',
  6: 'HiSilicon PTT',
  7: 'PowerVM dispatch log',
};

/** Bytes of AUXTRACE, without the data that follows it. */
const AUXTRACE_BYTES = 48;

/** One CPU's or thread's SPE data. */
interface Stream {
  decoder: SpeDecoder;
  source: SpeSource;
}

/** What the records of a file add up to. */
export class Capture {
  private readonly sink: SampleSink;
  readonly features: Features = {};
  /** The kind of its AUX data; null without any. */
  private auxKind: string | null = null;
  private readonly running = new Running();
  private readonly events: Attributes[] = [];
  private readonly eventOf = new Map<bigint, Attributes>();
  private readonly sample = emptySample();
  private readonly records = new SpeRecords();
  private readonly damage = noDamage();
  private readonly streams = new Map<number, Stream>();
  private readonly midrs = new Map<number, number>();
  private readonly aux = { records: 0, truncated: 0, partial: 0, collision: 0, errors: 0 };
  private readonly speRows: SpeRows;
  private timeConversion: TimeConversion | null = null;
  private pmuType: number | null = null;
  /** Set when perf did not finish the file. */
  unfinished = false;
  private stamped = false;
  private lost = 0;

  constructor(
    private readonly path: string,
    private readonly settings: ParseOptions,
  ) {
    this.sink = new SampleSink(settings);
    this.speRows = new SpeRows(this.sink.rows, this.sink.tally, this.sink.fetch);
  }

  /** Adds an event, and the ids by which its records name it. */
  event(view: DataView, at: number, bytes: number, ids: readonly bigint[]): void {
    if (bytes < ATTRIBUTES_BYTES)
      throw this.damaged(at, `attributes of at least ${ATTRIBUTES_BYTES} bytes`, `${bytes}`);
    const attributes = readAttributes(view, at, bytes);
    this.events.push(attributes);
    for (const id of ids) this.eventOf.set(id, attributes);
  }

  /** The rows so far. */
  get rows(): SampleRows {
    return this.sink.rows;
  }

  /** Takes the record of `size` bytes at `at` in the view, which is at `position` of the file. */
  record(view: DataView, at: number, size: number, position: number): void {
    const end = at + size;
    const body = at + HEADER_BYTES;
    const misc = view.getUint16(at + 4, true);
    const need = (bytes: number) => {
      if (size < HEADER_BYTES + bytes) {
        throw this.damaged(position, `a record of at least ${HEADER_BYTES + bytes} bytes`, `${size}`);
      }
    };
    switch (view.getUint32(at, true)) {
      case SAMPLE:
        this.addSample(view, body, end, misc, position);
        break;
      case LOST:
        need(16);
        this.lost += Number(view.getBigUint64(body + 8, true));
        break;
      case LOST_SAMPLES:
        need(8);
        this.lost += Number(view.getBigUint64(body, true));
        break;
      case AUX:
        need(24);
        this.countAux(Number(view.getBigUint64(body + 16, true) & 0xffn));
        break;
      case AUXTRACE_ERROR:
        this.aux.errors++;
        break;
      case ITRACE_START:
        need(8);
        this.runs(view, body, end, view.getInt32(body + 4, true));
        break;
      case SWITCH:
        if ((misc & MISC_SWITCH_OUT) === 0) this.runs(view, body, end, null);
        break;
      case SWITCH_CPU_WIDE:
        need(8);
        // A CPU that is switched out tells which thread is next, one that is switched in which thread it is.
        this.runs(view, body, end, (misc & MISC_SWITCH_OUT) !== 0 ? view.getInt32(body + 4, true) : null);
        break;
      case ATTRIBUTES: {
        need(8);
        const bytes = view.getUint32(body + 4, true);
        if (bytes > size - HEADER_BYTES)
          throw this.damaged(position, `attributes of at most ${size} bytes`, `${bytes}`);
        this.event(view, body, bytes, words(view, body + bytes, end));
        break;
      }
      case AUXTRACE_INFO:
        need(8);
        this.auxInfo(view.getUint32(body, true), words(view, body + 8, end));
        break;
      case TIME_CONV:
        need(24);
        this.convertTime(words(view, body, end));
        break;
      case FEATURE:
        need(8);
        readFeature(
          Number(view.getBigUint64(body, true)),
          new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + body + 8, size - HEADER_BYTES - 8),
          this.features,
        );
        break;
    }
  }

  /** The stream to which the data after an AUXTRACE record belongs, and the size of the data. */
  auxData(view: DataView, at: number, size: number, position: number): { bytes: number; stream: Stream | null } {
    if (size < AUXTRACE_BYTES) throw this.damaged(position, `a record of at least ${AUXTRACE_BYTES} bytes`, `${size}`);
    const bytes = Number(view.getBigUint64(at + 8, true));
    const offset = Number(view.getBigUint64(at + 16, true));
    if (this.pmuType === null) return { bytes, stream: null };
    const index = view.getUint32(at + 32, true);
    const tid = view.getInt32(at + 36, true);
    const cpu = view.getInt32(at + 40, true);
    let stream = this.streams.get(index);
    if (!stream) this.streams.set(index, (stream = this.newStream(cpu, tid)));
    // The data is padded to 8 bytes, so the next one may begin a little before its end.
    const gap = stream.decoder.end - offset;
    if (gap < 0 || gap > 7) stream.decoder.jump(offset);
    return { bytes, stream };
  }

  /** Decodes a piece of a stream's data; asks to be called on whenever the rows are full. */
  *decode({ decoder, source }: Stream, piece: Uint8Array): Generator<void> {
    for (const records of decoder.decode(piece)) {
      this.speRows.add(records, source);
      if (this.sink.rows.full) yield;
    }
  }

  /** Says that no more comes. Throws InputError when the file never had an address. */
  finish(): void {
    for (const { decoder } of this.streams.values()) decoder.jump(0);
    if (this.pmuType !== null) return;
    if (this.auxKind === null) this.sink.finish(this.path);
    else if (this.sink.tally.counts.samples === 0) {
      throw noAddresses(this.path, `${this.auxKind} data, which tells what code ran but not which data it used`);
    }
  }

  /** The damage of a record as an error. */
  damaged(position: number, expected: string, found: string): InputError {
    return new InputError({
      source: this.path,
      at: `byte ${position}`,
      expected,
      found,
      advice: 'the file is truncated or damaged',
    });
  }

  metadata(): Partial<TraceMetadata> {
    const { version, command, arch, cpus, cpuNode, nodes, midr } = this.features;
    const isSpe = this.pmuType !== null;
    const inTicks = isSpe && this.stamped && this.timeConversion === null;
    return {
      source: { tool: version ? `perf ${version}` : 'perf', command: command ?? null, input: [] },
      arch: arch ?? (isSpe ? 'arm64' : null),
      cpus: cpus ?? null,
      cpuNode: cpuNode ?? null,
      nodes: nodes ?? [],
      clock: inTicks ? 'ticks of the timer that stamps SPE records' : 'ns',
      counts: this.sink.tally.told(),
      notes: [...this.sink.notes(midr), ...this.sampling(), ...this.losses()],
    };
  }

  /** That the rows are samples, and how many. */
  private sampling(): string[] {
    const notes: string[] = [];
    for (const { type, config, period, frequency, sampleType } of this.events) {
      const event = `event ${config} of PMU type ${type}`;
      if (type === this.pmuType) notes.push(`sampled: one in ${period} operations (Arm SPE)`);
      else if ((sampleType & ADDR) !== 0 && !(type === SOFTWARE && config === SOFTWARE_DUMMY)) {
        notes.push(`sampled: ${frequency ? `${period} per second` : `one in ${period}`} of ${event}`);
      }
    }
    if (this.streams.size > 1) notes.push('rows of each CPU are in order; between CPUs they are in that of the file');
    return notes;
  }

  /** What is missing from the capture. */
  private losses(): string[] {
    const { records, truncated, partial, collision, errors } = this.aux;
    const of = `of ${records} profiling buffers`;
    return [
      this.unfinished ? 'perf record was not ended properly: nothing is known of the machine' : '',
      truncated > 0 ? `${truncated} ${of} were full: samples are missing` : '',
      partial > 0 ? `${partial} ${of} have gaps` : '',
      collision > 0 ? `in ${collision} ${of} samples collided: some were dropped` : '',
      errors > 0 ? `perf met ${errors} errors in the trace data` : '',
      this.lost > 0 ? `perf lost ${this.lost} records` : '',
      ...damageNotes(this.damage),
    ].filter(Boolean);
  }

  private addSample(view: DataView, body: number, end: number, misc: number, position: number): void {
    const attributes = this.attributesOf(view, body, end);
    if (!attributes) throw this.damaged(position, 'an event before its first sample', 'none');
    const { sample, sink } = this;
    try {
      readSample(view, body, end, attributes, sample);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw this.damaged(position, 'a sample as its event describes it', error.message);
    }
    if ((attributes.sampleType & ADDR) === 0) sample.address = null;
    sink.add(sample, MODE_OF_CPUMODE[misc & MISC_CPUMODE], null);
  }

  /** The event of a sample: by its id where there are several. */
  private attributesOf(view: DataView, body: number, end: number): Attributes | undefined {
    const [first] = this.events;
    if (this.events.length < 2) return first;
    const offset = idOffset(first);
    if (offset === null || body + offset + 8 > end) return first;
    return this.eventOf.get(view.getBigUint64(body + offset, true)) ?? first;
  }

  /** Notes that a thread runs: `tid`, or the one that the record's trailer names. */
  private runs(view: DataView, body: number, end: number, tid: number | null): void {
    if (this.events.length === 0) return;
    const trailer = readTrailer(view, body, end, this.events[0]);
    const thread = tid ?? trailer.tid;
    if (thread !== null && thread >= 0 && trailer.cpu !== null)
      this.running.set(trailer.cpu, trailer.time ?? 0n, thread);
  }

  private countAux(flags: number): void {
    this.aux.records++;
    if ((flags & AUX_TRUNCATED) !== 0) this.aux.truncated++;
    if ((flags & AUX_PARTIAL) !== 0) this.aux.partial++;
    if ((flags & AUX_COLLISION) !== 0) this.aux.collision++;
  }

  /**
   * AUXTRACE_INFO of SPE: version 1 is { type of the PMU, per-CPU buffers }, version 2 { 2, words of this header, type of
   * the PMU, CPUs } and per CPU { magic, CPU, number of words that follow, MIDR_EL1, ... } (tools/perf/util/arm-spe.h).
   */
  private auxInfo(kind: number, priv: readonly bigint[]): void {
    if (kind !== AUXTRACE_ARM_SPE) {
      this.auxKind = AUXTRACE_NAMES[kind] ?? `AUX trace of the unknown kind ${kind}`;
      this.settings.warn(`${this.path}: ${this.auxKind} data is passed over: it has no data addresses`);
      return;
    }
    this.auxKind = 'Arm SPE';
    if (priv.length < 4 || priv[0] !== 2n) {
      this.pmuType = Number(priv[0] ?? 0n);
      return;
    }
    this.pmuType = Number(priv[2]);
    for (let at = Number(priv[1]); at + 3 < priv.length; at += 3 + Number(priv[at + 2])) {
      this.midrs.set(Number(priv[at + 1]), Number(priv[at + 3] & 0xffff_ffffn));
    }
  }

  private convertTime([shift, mult, zero, cycles = 0n, mask = 0n, caps = 0n]: readonly bigint[]): void {
    this.timeConversion = { shift: shift & 63n, mult, zero, cycles, mask, short: ((caps >> 8n) & 0xffn) !== 0n };
  }

  private newStream(auxCpu: number, auxTid: number): Stream {
    const cpu = auxCpu >= 0 ? auxCpu : this.sink.cpuOf(Math.max(0, auxTid));
    const source: SpeSource = {
      cpu,
      midr: this.midrs.get(cpu),
      time: 0n,
      // The context is the thread's number where the kernel is built to put it there, else zero.
      tid: (time, context) => context || (this.running.at(cpu, time) ?? Math.max(0, auxTid)),
      timeOf: (timestamp) => {
        this.stamped = true;
        return this.timeConversion ? perfTime(timestamp, this.timeConversion) : timestamp;
      },
    };
    return { decoder: new SpeDecoder(this.records, this.damage), source };
  }
}

/** All whole words from `at` to `end`. */
function words(view: DataView, at: number, end: number): bigint[] {
  return Array.from({ length: Math.max(0, (end - at) >> 3) }, (_, i) => view.getBigUint64(at + 8 * i, true));
}
