// A trace as one file of DynamoRIO's drmemtrace, version 3 (no code bytes, no branch targets), plain, or by the name of the
// output packed with gzip (.gz) or in a zip of chunks of 10 million instructions (.zip). Threads and CPUs take turns in the
// one file as the rows have them: a THREAD and a PID record, then markers, wherever one changes.

import { once } from 'node:events';
import { PassThrough, pipeline, Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import yazl from 'yazl';
import { UsageError } from '../errors.js';
import { RecordWriter } from './drmemtrace/writer.js';
import { type ExportOptions, type TraceExporter } from './format.js';
import { type Batch } from '../batch.js';

/** What DynamoRIO itself takes. */
const CHUNK_INSTRUCTIONS = 10_000_000;
/** The same inputs give the same bytes. */
const MEMBER = { mtime: new Date(1980, 0, 1), forceDosTimestamp: true };
const OTHER_PACKING = /\.(lz4|sz|xz|zst|bz2)$/;

/** Pieces of the records; null ends a chunk, where there are chunks of `chunkInstructions`. */
async function* pieces(
  batches: AsyncIterable<Batch>,
  { metadata, output, warn }: ExportOptions,
  chunkInstructions: number | null,
): AsyncGenerator<Uint8Array | null> {
  const writer = new RecordWriter(output, metadata, chunkInstructions);
  writer.header();
  let chunks = 1;
  for await (const batch of batches) {
    for (let row = 0; row < batch.rows;) {
      row = writer.rows(batch, row);
      if (writer.isFull) yield writer.take();
      if (!writer.atChunkEnd) continue;
      writer.chunkFooter(chunks++);
      yield writer.take();
      yield null;
      writer.chunkHeader();
    }
  }
  writer.footer();
  yield writer.take();
  const { dropped, sizeless } = writer;
  if (dropped > 0) warn(`${output}: ${dropped} events left out, which drmemtrace cannot hold`);
  if (sizeless > 0) warn(`${output}: ${sizeless} fetches of unknown size written as fetches of one byte`);
}

/** Pieces for a stream, which keeps them. */
async function* copies(source: AsyncIterable<Uint8Array | null>): AsyncGenerator<Uint8Array> {
  for await (const piece of source) if (piece) yield piece.slice();
}

async function* plain(source: AsyncIterable<Uint8Array | null>): AsyncGenerator<Uint8Array> {
  for await (const piece of source) if (piece) yield piece;
}

async function* gzipped(source: AsyncIterable<Uint8Array | null>): AsyncGenerator<Uint8Array> {
  yield* pipeline(Readable.from(copies(source)), createGzip(), () => {}) as AsyncIterable<Uint8Array>;
}

async function* zipped(source: AsyncIterable<Uint8Array | null>): AsyncGenerator<Uint8Array> {
  const zip = new yazl.ZipFile();
  const output = zip.outputStream as PassThrough;
  const stopped = new AbortController();
  const begin = (number: number) => {
    const member = new PassThrough();
    zip.addReadStream(member, `chunk.${String(number).padStart(8, '0')}`, MEMBER);
    return member;
  };
  const feed = async () => {
    let chunks = 0;
    let member = begin(chunks++);
    for await (const piece of source) {
      if (piece === null) {
        member.end();
        member = begin(chunks++);
      } else if (!member.write(piece.slice())) await once(member, 'drain', { signal: stopped.signal });
    }
    member.end();
    zip.end();
  };
  feed().catch((error: Error) => output.destroy(error));
  try {
    yield* output as AsyncIterable<Uint8Array>;
  } finally {
    stopped.abort();
  }
}

export const drmemtrace: TraceExporter = {
  name: 'drmemtrace',
  description: 'DynamoRIO drmemtrace, one file, packed as the name says: .zip, .gz or plain',
  loses: 'events, mode, insns and vm',
  encode(batches, options) {
    const { output } = options;
    if (OTHER_PACKING.test(output)) throw new UsageError(`${output}: expected a name with .zip, .gz or no packing`);
    if (output.endsWith('.zip')) return zipped(pieces(batches, options, CHUNK_INSTRUCTIONS));
    const records = pieces(batches, options, null);
    return output.endsWith('.gz') ? gzipped(records) : plain(records);
  },
};
