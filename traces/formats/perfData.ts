// perf.data of `perf record`, as a file or as it comes through a pipe (tools/perf/util/header.{h,c}, session.c):
//   file  = "PERFILE2", u64 104, u64 bytes of an entry of attrs, 3 sections { u64 offset, u64 size }: attrs, data, unused;
//           256 bits: which features follow the data. An entry of attrs is a perf_event_attr and a section of u64 ids;
//           data is records (perf/capture.ts); behind it a section for each feature, in the order of the bits
//   pipe  = "PERFILE2", u64 16, records; attributes and features are records too
//     50 45 52 46 49 4c 45 32  68 00 00 00 00 00 00 00      "PERFILE2", header of 104 bytes
//     47 00 00 00 00 00 30 00  00 10 00 00 00 00 00 00 ..   AUXTRACE, 0x30 bytes, followed by 0x1000 bytes of SPE packets
// Samples with an address (PERF_SAMPLE_ADDR) and the loads and stores of Arm SPE become rows.

import { type Batch } from '../batch.js';
import { InputError } from '../errors.js';
import { type TraceFormat } from '../format.js';
import { type Input } from '../input.js';
import { ByteReader } from './perf/bytes.js';
import { AUXTRACE, Capture, COMPRESSED, COMPRESSED2, HEADER_BYTES, TRACING_DATA } from './perf/capture.js';
import { readFeature } from './perf/features.js';
import { Inflater } from './perf/inflate.js';
import { SampleRows } from './perf/rows.js';

const FILE_HEADER_BYTES = 104;
const PIPE_HEADER_BYTES = 16;
const FEATURES_AT = 72;
const FEATURE_BITS = 256;
/** Attributes and ids before the data, and one feature: more is damage. */
const MAX_SECTION_BYTES = 1 << 26;

const magicOf = (head: Uint8Array) =>
  Buffer.from(head.buffer, head.byteOffset, Math.min(8, head.length)).toString('latin1');

async function* parse(input: Input, capture: Capture): AsyncGenerator<Batch> {
  const reader = new ByteReader(input.chunks);
  const header = await readHeader(reader, input.path, capture);
  capture.unfinished = !header.piped && header.dataBytes === 0;
  const end = header.dataBytes === 0 ? Infinity : reader.position + header.dataBytes;
  const inflater = new Inflater();
  let unpacked: Uint8Array = new Uint8Array(0);
  while (reader.position < end) {
    const position = reader.position;
    if (!(await reader.fill(HEADER_BYTES))) {
      if (reader.ready === 0 && end === Infinity) break;
      throw capture.damaged(position, 'another record', 'the end of the file');
    }
    const head = reader.peek(HEADER_BYTES);
    const type = head.getUint32(0, true);
    const size = head.getUint16(6, true);
    if (size < HEADER_BYTES) throw capture.damaged(position, `a record of at least ${HEADER_BYTES} bytes`, `${size}`);
    if (!(await reader.fill(size))) {
      throw capture.damaged(position, `a record of ${size} bytes`, `the end of the file after ${reader.ready}`);
    }
    const view = reader.peek(size);
    const bytes = reader.take(size);
    if (type === AUXTRACE) {
      const data = capture.auxData(view, 0, size, position);
      for (let left = data.bytes; left > 0;) {
        const piece = await reader.some(left);
        if (!piece)
          throw capture.damaged(position, `${data.bytes} bytes of data`, `the end of the file ${left} before`);
        left -= piece.length;
        if (!data.stream) continue;
        for (const _ of capture.decode(data.stream, piece)) yield* capture.rows.take();
      }
    } else if (type === TRACING_DATA && header.piped && size >= HEADER_BYTES + 4) {
      for (let left = view.getUint32(HEADER_BYTES, true); left > 0;) {
        const piece = await reader.some(left);
        if (!piece) throw capture.damaged(position, `${left} bytes of event formats`, 'the end of the file');
        left -= piece.length;
      }
    } else if (type === COMPRESSED || type === COMPRESSED2) {
      const packed = type === COMPRESSED ? bytes.subarray(HEADER_BYTES) : packedBytes(view, bytes);
      let plain: Uint8Array;
      try {
        plain = inflater.push(packed);
      } catch (error) {
        throw capture.damaged(position, 'intact zstd-compressed records', (error as Error).message);
      }
      unpacked = unpacked.length > 0 ? Buffer.concat([unpacked, plain]) : plain;
      unpacked = yield* parseUnpacked(unpacked, capture, position);
    } else capture.record(view, 0, size, position);
    if (capture.rows.full) yield* capture.rows.take();
  }
  if (unpacked.length > 0) throw capture.damaged(reader.position, 'whole compressed records', 'the last one cut');
  await readFeatures(reader, header.features, capture);
  capture.finish();
  if (capture.rows.count > 0) yield* capture.rows.take();
}

/** COMPRESSED2 says how many of its bytes are data; the others are alignment. */
function packedBytes(view: DataView, bytes: Uint8Array): Uint8Array {
  const start = HEADER_BYTES + 8;
  if (bytes.length < start) return bytes.subarray(0, 0);
  return bytes.subarray(start, start + Number(view.getBigUint64(HEADER_BYTES, true)));
}

/** Takes all whole records; returns what is left of the last one. Errors name the compressed record at `position`. */
function* parseUnpacked(bytes: Uint8Array, capture: Capture, position: number): Generator<Batch, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  while (at + HEADER_BYTES <= bytes.length) {
    const size = view.getUint16(at + 6, true);
    if (size < HEADER_BYTES) throw capture.damaged(position, `a record of at least ${HEADER_BYTES} bytes`, `${size}`);
    if (at + size > bytes.length) break;
    if (view.getUint32(at, true) === AUXTRACE) throw capture.damaged(position, 'no trace data in it', 'AUXTRACE');
    capture.record(view, at, size, position);
    at += size;
    if (capture.rows.full) yield* capture.rows.take();
  }
  return bytes.subarray(at);
}

interface Header {
  piped: boolean;
  /** Zero: up to the end of the file. */
  dataBytes: number;
  features: number[];
}

/** Reads up to the data. */
async function readHeader(reader: ByteReader, source: string, capture: Capture): Promise<Header> {
  const truncated = () =>
    capture.damaged(0, 'the header of a perf.data', `the end of the file after ${reader.ready} bytes`);
  if (!(await reader.fill(PIPE_HEADER_BYTES))) throw truncated();
  refuseOthers(reader.peek(8), source);
  const headerBytes = Number(reader.peek(PIPE_HEADER_BYTES).getBigUint64(8, true));
  if (headerBytes === PIPE_HEADER_BYTES) {
    reader.take(PIPE_HEADER_BYTES);
    return { piped: true, dataBytes: 0, features: [] };
  }
  if (!(await reader.fill(FILE_HEADER_BYTES))) throw truncated();
  const fixed = reader.peek(FILE_HEADER_BYTES);
  const word = (at: number) => Number(fixed.getBigUint64(at, true));
  const [entryBytes, attrsAt, attrsBytes, dataAt, dataBytes] = [16, 24, 32, 40, 48].map(word);
  const features = Array.from({ length: FEATURE_BITS }, (_, bit) => bit).filter(
    (bit) => (fixed.getUint8(FEATURES_AT + (bit >> 3)) & (1 << (bit & 7))) !== 0,
  );
  if (
    headerBytes !== FILE_HEADER_BYTES ||
    attrsAt + attrsBytes > dataAt ||
    dataAt > MAX_SECTION_BYTES ||
    entryBytes < 80
  ) {
    throw capture.damaged(
      8,
      'a header of 104 bytes, or 16 through a pipe, and attributes before the data',
      `a header of ${headerBytes}, attributes up to ${attrsAt + attrsBytes} in entries of ${entryBytes}, data at ${dataAt}`,
    );
  }
  if (!(await reader.fill(dataAt))) throw truncated();
  const view = reader.peek(dataAt);
  for (let at = attrsAt; at + entryBytes <= attrsAt + attrsBytes; at += entryBytes) {
    const bytes = entryBytes - 16;
    const idsAt = Number(view.getBigUint64(at + bytes, true));
    const idBytes = Number(view.getBigUint64(at + bytes + 8, true));
    if (idsAt + idBytes > dataAt) throw capture.damaged(at, 'the ids of an event before the data', `ids at ${idsAt}`);
    const ids = Array.from({ length: idBytes >> 3 }, (_, i) => view.getBigUint64(idsAt + 8 * i, true));
    capture.event(view, at, bytes, ids);
  }
  reader.take(dataAt);
  return { piped: false, dataBytes, features };
}

/** Refuses what is a perf.data, but of another kind. */
function refuseOthers(magic: DataView, source: string): void {
  const text = magicOf(new Uint8Array(magic.buffer, magic.byteOffset, 8));
  if (text === 'PERFILE2') return;
  throw new InputError({
    source,
    expected: 'a little-endian perf.data, which starts with PERFILE2',
    found:
      text === '2ELIFREP'
        ? 'a big-endian one'
        : text === 'PERFFILE'
          ? 'one of the first version, from before Linux 2.6.38'
          : JSON.stringify(text),
    advice: 'on the machine that recorded it, "perf script" makes text that can be converted',
  });
}

/** Reads the features behind the data, which are about the machine only: what is damaged is left out. */
async function readFeatures(reader: ByteReader, features: readonly number[], capture: Capture): Promise<void> {
  const tableBytes = 16 * features.length;
  if (tableBytes === 0 || !(await reader.fill(tableBytes))) return;
  const table = reader.peek(tableBytes);
  const sections = features.map((id, i) => ({
    id,
    at: Number(table.getBigUint64(16 * i, true)),
    bytes: Number(table.getBigUint64(16 * i + 8, true)),
  }));
  reader.take(tableBytes);
  for (const { id, at, bytes } of sections.sort((a, b) => a.at - b.at)) {
    const before = at - reader.position;
    if (before < 0 || before + bytes > MAX_SECTION_BYTES || !(await reader.fill(before + bytes))) continue;
    reader.take(before);
    readFeature(id, reader.take(bytes), capture.features);
  }
}

export const perfData: TraceFormat = {
  name: 'perf-data',
  description: 'perf.data: samples with data addresses (perf mem, perf record -d) and Arm SPE',
  addresses: 'virtual, and physical where recorded; kernel and user',
  options: { fetch: 'true: a fetch row for the instruction of every sample' },
  detect: (head) => ['PERFILE2', '2ELIFREP', 'PERFFILE'].includes(magicOf(head)),
  async parse(input, settings) {
    const capture = new Capture(input.path, settings);
    return {
      columns: SampleRows.COLUMNS,
      batches: parse(input, capture),
      metadata: () => capture.metadata(),
    };
  },
};
