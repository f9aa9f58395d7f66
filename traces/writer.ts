// Writes a trace: an Arrow IPC file of record batches of exactly 65,536 rows (the last one shorter), with bounded
// memory whatever the length. The metadata document is final only when the last row is known, so the footer carries it;
// the schema message at the start carries an empty one.

import { open, writeFile, type FileHandle } from 'node:fs/promises';
import { CompressionType, Message, RecordBatchFileWriter, type Schema } from 'apache-arrow';
import { BATCH_ROWS, type Batch, type ColumnName } from './batch.js';
import { NOT_PACKED } from './codec.js';
import { writeWhole } from './files.js';
import { METADATA_KEY, metadataWith, type TraceMetadata } from './metadata.js';
import { columnOf, inOrder, schemaOf, toRecordBatch } from './schema.js';

export interface WriteOptions {
  compress?: 'lz4';
}

export interface Written {
  rows: number;
  bytes: number;
}

/**
 * Writes the batches, of any size, to `path`. `metadata` is asked once, after the last batch. A batch need be valid only
 * until the next one is asked for. Throws NodewalkError when the file cannot be written; then `path` is untouched.
 */
export async function writeTrace(
  path: string,
  columns: readonly ColumnName[],
  batches: AsyncIterable<Batch>,
  metadata: () => TraceMetadata | Promise<TraceMetadata>,
  options: WriteOptions = {},
): Promise<Written> {
  const written: Written = { rows: 0, bytes: 0 };
  const names = inOrder(columns);
  await writeWhole(path, async (temporary) => {
    const file = await open(temporary, 'w');
    try {
      await writeAhead(file, encode(names, batches, metadata, options, written));
    } finally {
      await file.close();
    }
  });
  return written;
}

/** Writes the pieces, each while the next one is being made. */
async function writeAhead(file: FileHandle, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  let writing: Promise<unknown> = Promise.resolve();
  try {
    for await (const piece of pieces) {
      await writing;
      writing = writeFile(file, piece);
      // A failure is met at the next piece, and must not count as unhandled until then.
      writing.catch(() => {});
    }
  } finally {
    await writing;
  }
}

/** The bytes of the file, one piece per record batch. */
async function* encode(
  columns: readonly ColumnName[],
  batches: AsyncIterable<Batch>,
  metadata: () => TraceMetadata | Promise<TraceMetadata>,
  options: WriteOptions,
  written: Written,
): AsyncGenerator<Uint8Array> {
  const document = new Map([[METADATA_KEY, JSON.stringify(metadataWith())]]);
  const schema = schemaOf(columns, document);
  const encoder = new Encoder(options.compress === 'lz4');
  const take = () => {
    const bytes = encoder.take();
    written.bytes += bytes.length;
    return bytes;
  };
  encoder.start(schema);
  for await (const batch of regroup(columns, batches)) {
    written.rows += batch.rows;
    encoder.write(toRecordBatch(schema, batch));
    yield take();
  }
  document.set(METADATA_KEY, JSON.stringify(await metadata()));
  encoder.finish();
  yield take();
}

/** Batches of exactly BATCH_ROWS rows; a batch that has them already is passed on as it is, others are copied together. */
async function* regroup(columns: readonly ColumnName[], batches: AsyncIterable<Batch>): AsyncGenerator<Batch> {
  const group = { rows: 0 } as Batch;
  for (const name of columns) Object.assign(group, { [name]: new (columnOf(name).array)(BATCH_ROWS) });
  for await (const batch of batches) {
    if (group.rows === 0 && batch.rows === BATCH_ROWS) {
      yield batch;
      continue;
    }
    for (let from = 0; from < batch.rows;) {
      const count = Math.min(batch.rows - from, BATCH_ROWS - group.rows);
      copyRows(columns, batch, from, count, group);
      from += count;
      if (group.rows === BATCH_ROWS) {
        yield group;
        group.rows = 0;
      }
    }
  }
  if (group.rows > 0) yield sliceBatch(group, columns, 0, group.rows);
}

/** Appends `count` rows of `batch` to `group`. */
function copyRows(columns: readonly ColumnName[], batch: Batch, from: number, count: number, group: Batch): void {
  for (const name of columns) {
    const rows = batch[name]!.subarray(from, from + count);
    (group[name] as Uint8Array).set(rows as Uint8Array, group.rows);
  }
  group.rows += count;
}

/** The rows [from, to) of a batch, over the same arrays. */
export function sliceBatch(batch: Batch, columns: readonly ColumnName[], from: number, to: number): Batch {
  const slice = { rows: to - from } as Batch;
  for (const name of columns) Object.assign(slice, { [name]: batch[name]!.subarray(from, to) });
  return slice;
}

/**
 * apache-arrow's file writer with its output taken piece by piece instead of queued, and with two things that
 * apache-arrow 21 leaves out or gets wrong: the schema message after the magic, which readers that take the file as a
 * stream need, and the *unpacked* length before a compressed buffer.
 */
class Encoder extends RecordBatchFileWriter {
  private pieces: Uint8Array[] = [];

  constructor(compress: boolean) {
    super({ compressionType: compress ? CompressionType.LZ4_FRAME : null });
  }

  start(schema: Schema): void {
    this.reset(undefined, schema);
  }

  /** What was written since the last call; the arrays that it came from are free again. */
  take(): Uint8Array {
    const bytes = Buffer.concat(this.pieces);
    this.pieces = [];
    return bytes;
  }

  protected override _write(chunk: ArrayBufferView): this {
    if (!this._started || chunk.byteLength === 0) return this;
    this.pieces.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    this._position += chunk.byteLength;
    return this;
  }

  protected override _writeSchema(schema: Schema): this {
    super._writeSchema(schema);
    return this._writeMessage(Message.from(schema));
  }

  protected override _compressBodyBuffers(
    buffers: ArrayBufferView[],
  ): ReturnType<RecordBatchFileWriter['_compressBodyBuffers']> {
    const packed = super._compressBodyBuffers(buffers);
    buffers.forEach(({ byteLength }, i) => {
      const { buffer, byteOffset, byteLength: prefixed } = packed.buffers[2 * i];
      const prefix = new DataView(buffer, byteOffset, prefixed);
      if (prefixed > 0 && prefix.getBigInt64(0, true) !== NOT_PACKED) prefix.setBigInt64(0, BigInt(byteLength), true);
    });
    return packed;
  }
}
