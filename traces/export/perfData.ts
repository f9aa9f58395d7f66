// perf.data with Arm SPE data, as `perf record -e arm_spe//` writes it (traces/formats/perfData.ts has the layout): "perf
// script", "perf report -D", "perf mem report" and "perf c2c" read it. Every load or store becomes a record of 64 bytes
// (traces/spe/encode.ts), the records of a CPU one stream. A piped perf.data would need no sizes beforehand, but perf
// itself does not find the trace data of one that is kept as a file.

import { open, unlink } from 'node:fs/promises';
import { FETCH, LOAD, PA_UNKNOWN, STORE, type Batch } from '../batch.js';
import { NodewalkError, UsageError } from '../errors.js';
import { FIRST_EVENT } from '../events.js';
import { encodeRecord, RECORD_BYTES, type SpeRecord } from '../spe/encode.js';
import { CLASS_LOAD_STORE, CLASS_OTHER, EVENT, OPERATION_STORE } from '../spe/packets.js';
import { type TraceExporter } from './format.js';

const AUXTRACE_INFO = 70;
const AUXTRACE = 71;
const TIME_CONV = 79;
const FEATURE_ARCH = 6;
const FEATURE_CPU_COUNT = 7;
const FEATURE_CPU_ID = 9;
const AUXTRACE_ARM_SPE = 4;
const HEADER_BYTES = 104;
const FEATURES_AT = 72;
const AUXTRACE_BYTES = 48;

/** The type that the PMU arm_spe_0 has in the file; the kernel gives a new number at every boot. */
const PMU_TYPE = 8;
const ATTRIBUTES_BYTES = 112;
const EVENT_ID = 1n;
/** IP, TID, TIME, ADDR, CPU, DATA_SRC, IDENTIFIER, PHYS_ADDR. */
const SAMPLE_TYPE = 1 | 2 | 4 | 8 | 0x80 | 0x8000 | 0x10000 | 0x80000;
const SAMPLE_TIME = 4;
const SAMPLE_ID_ALL = 1 << 18;
/** Configuration of the event: timestamps, physical addresses. */
const CONFIG_TIMESTAMP = 1n;
const CONFIG_PA = 2n;
/** Names in features are padded. */
const NAME_BYTES = 64;

/** What a file says besides its records. */
export interface PerfDataOptions {
  /** CPUs of the machine. */
  cpus: number;
  /** Operations between two records. */
  period: bigint;
  /** MIDR_EL1 of the cores, by which perf knows what data sources mean. */
  midr?: number;
  /** Whether records have timestamps; in nanoseconds. */
  timestamps: boolean;
}

/** SPE packets of one CPU, and how many bytes they are. */
export interface SpeStream {
  cpu: number;
  bytes: number;
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** A perf.data of SPE packets as they were written to memory, such as the emulated profiling unit's file of each CPU. */
export async function* perfDataOfSpe(
  streams: readonly SpeStream[],
  options: PerfDataOptions,
): AsyncGenerator<Uint8Array> {
  const size = streams.reduce((sum, { bytes }) => sum + AUXTRACE_BYTES + padded(bytes), 0);
  const { opening, closing } = frame(options, size);
  yield opening;
  for (const { cpu, bytes, chunks } of streams) {
    yield auxtrace(cpu, 0, bytes);
    let left = bytes;
    for await (const chunk of chunks) {
      left -= chunk.length;
      yield chunk;
    }
    if (left !== 0) throw new NodewalkError(`SPE data of CPU ${cpu}: expected ${bytes} bytes, found ${bytes - left}`);
    yield new Uint8Array(padded(bytes) - bytes);
  }
  yield closing;
}

export const perfData: TraceExporter = {
  name: 'perf-data',
  description: 'perf.data with Arm SPE records of the loads and stores',
  loses:
    'events, sizes, fetches but as the PC of the access after them, the mode where no fetch precedes, guests, address spaces',
  options: {
    fetch: 'true: a record for every fetch too',
    period: 'operations between two records, as the file is to say; 1 unless given',
    midr: 'MIDR_EL1 of the cores, as the file is to say; hexadecimal',
  },
  async *encode(batches, { columns, metadata, output, set, warn }) {
    const period = set.period ?? '1';
    const midr = set.midr ?? '0x0';
    if (!/^[1-9]\d{0,8}$/.test(period)) throw new UsageError(`--set period: expected a number, found "${period}"`);
    if (!/^0x[0-9a-f]{1,8}$/i.test(midr)) throw new UsageError(`--set midr: expected 0x..., found "${midr}"`);
    if (!['true', 'false'].includes(set.fetch ?? 'false')) {
      throw new UsageError(`--set fetch: expected true or false, found "${set.fetch}"`);
    }
    const options = {
      cpus: metadata.cpus ?? 1,
      period: BigInt(period),
      midr: Number(midr) || undefined,
      timestamps: columns.includes('time'),
    };
    // How much it will be stands in the header: until that is known, it is kept in a file that has no name any more.
    const spool = await open(`${output}.spool-${process.pid}`, 'wx+');
    try {
      await unlink(`${output}.spool-${process.pid}`);
      let size = 0;
      let events = 0;
      const streams = new Map<number, CpuRecords>();
      for await (const batch of batches) {
        events += addRows(batch, streams, set.fetch === 'true');
        for (const [cpu, stream] of streams) {
          for (const piece of stream.take(cpu)) {
            await spool.writeFile(piece);
            size += piece.length;
          }
        }
      }
      if (events > 0) warn(`${events} events are left out: a perf.data of SPE cannot hold them`);
      const { opening, closing } = frame(options, size);
      yield opening;
      if (size > 0) yield* spool.createReadStream({ start: 0, autoClose: false }) as AsyncIterable<Uint8Array>;
      yield closing;
    } finally {
      await spool.close();
    }
  },
};

/** Adds a batch to the streams of its CPUs; returns how many rows were events. */
function addRows(batch: Batch, streams: Map<number, CpuRecords>, fetches: boolean): number {
  let events = 0;
  for (let row = 0; row < batch.rows; row++) {
    if (batch.kind[row] >= FIRST_EVENT) {
      events++;
      continue;
    }
    let stream = streams.get(batch.cpu[row]);
    if (!stream) streams.set(batch.cpu[row], (stream = new CpuRecords()));
    stream.add(batch, row, fetches);
  }
  return events;
}

/** The records of one CPU between two writes. */
class CpuRecords {
  private bytes = new Uint8Array(64 * RECORD_BYTES);
  private view = new DataView(this.bytes.buffer);
  private fill = 0;
  private offset = 0;
  /** The last instruction that was fetched. */
  private pc: bigint | undefined;

  add({ kind, va, pa, mode, tid, time }: Batch, row: number, fetches: boolean): void {
    const isFetch = kind[row] === FETCH;
    if (isFetch) this.pc = va[row];
    if (isFetch && !fetches) return;
    const isAccess = kind[row] === LOAD || kind[row] === STORE;
    const record: SpeRecord = {
      pc: this.pc,
      el: mode ? mode[row] & 3 : 0,
      context: tid?.[row] || undefined,
      operationClass: isAccess ? CLASS_LOAD_STORE : CLASS_OTHER,
      operation: kind[row] === STORE ? OPERATION_STORE : 0,
      events: 1 << EVENT.retired,
      timestamp: time?.[row],
    };
    if (isAccess) {
      record.va = va[row];
      if (pa && pa[row] !== PA_UNKNOWN) record.pa = pa[row];
    }
    if (this.fill === this.bytes.length) {
      const larger = new Uint8Array(2 * this.bytes.length);
      larger.set(this.bytes);
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    encodeRecord(this.view, this.fill, record);
    this.fill += RECORD_BYTES;
  }

  /** What was added since the last time, as a record of the file. */
  *take(cpu: number): Generator<Uint8Array> {
    if (this.fill === 0) return;
    yield auxtrace(cpu, this.offset, this.fill);
    yield this.bytes.subarray(0, this.fill);
    this.offset += this.fill;
    this.fill = 0;
  }
}

/** Trace data is padded to words. */
const padded = (bytes: number) => Math.ceil(bytes / 8) * 8;

/** What stands before `bytes` of packets that `cpu` wrote at `offset` of its stream. */
function auxtrace(cpu: number, offset: number, bytes: number): Uint8Array {
  return record(AUXTRACE, AUXTRACE_BYTES - 8, (view) => {
    view.setBigUint64(0, BigInt(padded(bytes)), true);
    view.setBigUint64(8, BigInt(offset), true);
    view.setUint32(24, cpu, true);
    view.setInt32(28, -1, true);
    view.setUint32(32, cpu, true);
  });
}

/** What stands before and behind `bytes` of trace data. */
function frame({ cpus, period, timestamps, midr }: PerfDataOptions, bytes: number) {
  const ids = HEADER_BYTES;
  const attributes = ids + 8;
  const data = attributes + ATTRIBUTES_BYTES + 16;
  const head = new Uint8Array(data);
  const view = new DataView(head.buffer);
  head.set(Buffer.from('PERFILE2', 'latin1'));
  // Version 1 of the SPE information: the type of the PMU, and that every CPU has a buffer of its own.
  const info = record(AUXTRACE_INFO, 24, (fields) => {
    fields.setUint32(0, AUXTRACE_ARM_SPE, true);
    fields.setBigUint64(8, BigInt(PMU_TYPE), true);
    fields.setBigUint64(16, 1n, true);
  });
  // Timestamps are perf's time: shift 0, factor 1, zero 0. perf wants to know before it learns of SPE.
  const time = record(TIME_CONV, 48, (fields) => {
    fields.setBigUint64(8, 1n, true);
    fields.setUint8(40, 1);
  });
  const records = timestamps ? [time, info] : [info];
  const dataBytes = records.reduce((sum, { length }) => sum + length, bytes);
  const words = [HEADER_BYTES, ATTRIBUTES_BYTES + 16, attributes, ATTRIBUTES_BYTES + 16, data, dataBytes];
  words.forEach((word, i) => view.setBigUint64(8 + 8 * i, BigInt(word), true));
  const features = featuresOf(cpus, midr);
  for (const { id } of features) head[FEATURES_AT + (id >> 3)] |= 1 << (id & 7);
  view.setBigUint64(ids, EVENT_ID, true);
  view.setUint32(attributes, PMU_TYPE, true);
  view.setUint32(attributes + 4, ATTRIBUTES_BYTES, true);
  view.setBigUint64(attributes + 8, CONFIG_PA | (timestamps ? CONFIG_TIMESTAMP : 0n), true);
  view.setBigUint64(attributes + 16, period, true);
  view.setBigUint64(attributes + 24, BigInt(timestamps ? SAMPLE_TYPE : SAMPLE_TYPE & ~SAMPLE_TIME), true);
  view.setBigUint64(attributes + 40, BigInt(SAMPLE_ID_ALL), true);
  view.setBigUint64(attributes + ATTRIBUTES_BYTES, BigInt(ids), true);
  view.setBigUint64(attributes + ATTRIBUTES_BYTES + 8, 8n, true);
  const table = Buffer.alloc(16 * features.length);
  features.reduce(
    (at, { bytes: { length } }, i) => {
      table.writeBigUInt64LE(BigInt(at), 16 * i);
      table.writeBigUInt64LE(BigInt(length), 16 * i + 8);
      return at + length;
    },
    data + dataBytes + table.length,
  );
  return {
    opening: Buffer.concat([head, ...records]),
    closing: Buffer.concat([table, ...features.map((feature) => feature.bytes)]),
  };
}

/** The features of the machine that stand behind the data, in the order of their numbers. */
function featuresOf(cpus: number, midr: number | undefined): { id: number; bytes: Uint8Array }[] {
  const name = (text: string) => {
    const bytes = new Uint8Array(4 + NAME_BYTES);
    new DataView(bytes.buffer).setUint32(0, NAME_BYTES, true);
    bytes.set(Buffer.from(text, 'latin1'), 4);
    return bytes;
  };
  const counts = new Uint8Array(Uint32Array.of(cpus, cpus).buffer);
  const known = [
    { id: FEATURE_ARCH, bytes: name('aarch64') },
    { id: FEATURE_CPU_COUNT, bytes: counts },
  ];
  if (midr === undefined) return known;
  return [...known, { id: FEATURE_CPU_ID, bytes: name(`0x${midr.toString(16).padStart(16, '0')}`) }];
}

/** A record with `size` bytes after its header. */
function record(type: number, size: number, fill: (fields: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(8 + size);
  const header = new DataView(bytes.buffer);
  header.setUint32(0, type, true);
  header.setUint16(6, bytes.length, true);
  fill(new DataView(bytes.buffer, 8));
  return bytes;
}
