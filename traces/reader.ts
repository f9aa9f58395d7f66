// Reads a trace batch by batch with bounded memory: an Arrow IPC file, or the same messages as a stream in a file.
// Opening it finds every record batch; reading takes the bytes of the columns that are wanted, several batches in flight,
// and hands out typed arrays over them as they are (only compressed or misaligned buffers are copied).

import { constants } from 'node:buffer';
import { open, type FileHandle } from 'node:fs/promises';
import { type Batch, type ColumnName } from './batch.js';
import { unpack } from './codec.js';
import { InputError } from './errors.js';
import { readFault } from './files.js';
import { CONVERT_AGAIN, readIndex, type Block } from './ipc.js';
import { METADATA_KEY, parseMetadata, type TraceMetadata } from './metadata.js';
import { placeColumns, type ColumnPlace } from './schema.js';
import { sliceBatch } from './writer.js';

/** Rows [from, to), counted from 0, and their columns; everything by default. */
export interface RowRange {
  from?: number;
  to?: number;
  columns?: readonly ColumnName[];
}

/** A column's values in one batch: where they are in the file, how many bytes they take there, and unpacked. */
interface Region {
  place: ColumnPlace;
  from: number;
  bytes: number;
  unpackedBytes: number;
}

/** Reads in flight ahead of the batch that is being used. */
const READ_AHEAD = 3;
/** Columns closer together than this are read together: a read costs more than these bytes. */
const GAP_BYTES = 64 * 1024;

/** An open trace. */
export class TraceReader {
  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    private readonly places: readonly ColumnPlace[],
    private readonly blocks: readonly Block[],
    /** The document of the file, null where another tool wrote it. */
    readonly metadata: TraceMetadata | null,
    /** Rows of the whole trace. */
    readonly rows: number,
    /** Bytes of the file. */
    readonly bytes: number,
  ) {}

  /** Opens a trace. Throws InputError when the file is missing, truncated or no trace. */
  static async open(path: string): Promise<TraceReader> {
    let file: FileHandle | undefined;
    try {
      file = await open(path, 'r');
      const { size } = await file.stat();
      const { schema, blocks } = readIndex(file, path, size);
      const text = schema.metadata.get(METADATA_KEY);
      const metadata = text === undefined ? null : parseMetadata(text, path);
      const rows = blocks.reduce((sum, block) => sum + block.rows, 0);
      return new TraceReader(path, file, placeColumns(schema, path), blocks, metadata, rows, size);
    } catch (error) {
      await file?.close();
      throw readFault(error, path, 'a trace (Arrow IPC file)');
    }
  }

  /** The trace's columns that the file has. */
  get columns(): ColumnName[] {
    return this.places.map((place) => place.column.name);
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  /**
   * The rows in order, in the file's own batches. A batch and its arrays are valid until the next batch is asked for:
   * their memory is used again. Throws InputError for nulls and damaged batches.
   */
  async *batches({ from = 0, to = this.rows, columns = this.columns }: RowRange = {}): AsyncGenerator<Batch> {
    const wanted = overlapping(this.blocks, from, to);
    const places = this.places.filter(({ column }) => columns.includes(column.name));
    const names = places.map(({ column }) => column.name);
    const pending: Promise<Batch>[] = [];
    const memory = new BufferRing(READ_AHEAD + 1);
    const readNext = () => {
      const next = wanted[started++];
      if (!next) return;
      const read = readBatch(this.file, this.path, places, next.block, next.index, memory);
      // A read that fails is reported when its turn comes, and must not count as unhandled until then.
      read.catch(() => {});
      pending.push(read);
    };
    let started = 0;
    try {
      for (let i = 0; i < READ_AHEAD; i++) readNext();
      for (const { block, first } of wanted) {
        const batch = await pending.shift()!;
        readNext();
        const start = Math.max(0, from - first);
        const end = Math.min(block.rows, to - first);
        yield end - start === block.rows ? batch : sliceBatch(batch, names, start, end);
      }
    } finally {
      await Promise.allSettled(pending);
    }
  }
}

/** The blocks that hold rows of [from, to), each with its number and its first row. */
function overlapping(blocks: readonly Block[], from: number, to: number) {
  const found: { block: Block; index: number; first: number }[] = [];
  let first = 0;
  blocks.forEach((block, index) => {
    if (block.rows > 0 && first < to && first + block.rows > from) found.push({ block, index, first });
    first += block.rows;
  });
  return found;
}

/** Buffers used in turn: the n-th request gets the memory of the request n - `count` before it. */
class BufferRing {
  private readonly buffers: ArrayBuffer[];
  private next = 0;

  constructor(count: number) {
    this.buffers = Array.from({ length: count }, () => new ArrayBuffer(0));
  }

  take(bytes: number): Uint8Array {
    const slot = this.next++ % this.buffers.length;
    if (this.buffers[slot].byteLength < bytes) this.buffers[slot] = new ArrayBuffer(bytes);
    return new Uint8Array(this.buffers[slot], 0, bytes);
  }
}

/** Reads the columns of one record batch into memory of the ring. */
async function readBatch(
  file: FileHandle,
  path: string,
  places: readonly ColumnPlace[],
  block: Block,
  index: number,
  memory: BufferRing,
): Promise<Batch> {
  const runs = runsOf(places.map((place) => regionOf(path, block, index, place)));
  const total = runs.reduce((sum, { from, to }) => sum + aligned(to - from), 0);
  if (total > constants.MAX_LENGTH) {
    throw new InputError({ source: path, expected: 'record batches below 4 GiB', found: `one of ${total} bytes` });
  }
  const bytes = memory.take(total);
  const batch = { rows: block.rows } as Batch;
  let at = 0;
  for (const { from, to, regions } of runs) {
    const run = bytes.subarray(at, at + (to - from));
    await readExactly(file, path, run, from);
    for (const region of regions)
      Object.assign(batch, decode(path, block, index, region, run.subarray(region.from - from)));
    at += aligned(run.length);
  }
  return batch;
}

/** Where a column's values lie; throws when they cannot be there or have nulls among them. */
function regionOf(path: string, { header, body, bodyBytes, rows }: Block, index: number, place: ColumnPlace): Region {
  const { column, node, buffer } = place;
  const nulls = header.nodes[node]?.nullCount ?? 0;
  if (nulls !== 0) {
    throw columnFault(path, index, column.name, 'no nulls', `${nulls}`, 'fill or drop them before writing the file');
  }
  const values = header.buffers[buffer + 1];
  if (!values || values.offset < 0 || values.length < 0 || values.offset + values.length > bodyBytes || rows < 0) {
    throw columnFault(path, index, column.name, 'values inside the batch', 'none');
  }
  const unpackedBytes = rows * column.array.BYTES_PER_ELEMENT;
  if (!header.compression && values.length < unpackedBytes) {
    throw columnFault(path, index, column.name, `${unpackedBytes} bytes of values`, `${values.length}`);
  }
  return { place, from: body + values.offset, bytes: values.length, unpackedBytes };
}

/** The stretches of the file that hold the regions. */
function runsOf(regions: readonly Region[]): { from: number; to: number; regions: Region[] }[] {
  const runs: { from: number; to: number; regions: Region[] }[] = [];
  for (const region of [...regions].sort((a, b) => a.from - b.from)) {
    const last = runs.at(-1);
    const to = region.from + region.bytes;
    if (last && region.from - last.to <= GAP_BYTES) {
      last.to = Math.max(last.to, to);
      last.regions.push(region);
    } else runs.push({ from: region.from, to, regions: [region] });
  }
  return runs;
}

/** Runs start at multiples of 8 in memory as bodies do in the file, so that columns can be used in place. */
const aligned = (bytes: number) => Math.ceil(bytes / 8) * 8;

async function readExactly(file: FileHandle, path: string, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done);
    if (bytesRead === 0) {
      const found = `${done}`;
      throw new InputError({ source: path, expected: `${bytes.length} bytes`, found, advice: CONVERT_AGAIN });
    }
    done += bytesRead;
  }
}

/** One column of a record batch, `bytes` starting with its values. */
function decode(
  path: string,
  { header, rows }: Block,
  index: number,
  region: Region,
  bytes: Uint8Array,
): Partial<Batch> {
  const { column } = region.place;
  let values = bytes.subarray(0, region.bytes);
  if (header.compression && region.unpackedBytes > 0) {
    try {
      values = unpack(header.compression.type, values, region.unpackedBytes);
    } catch (error) {
      throw columnFault(path, index, column.name, 'a compressed buffer', (error as Error).message);
    }
    if (values.length < region.unpackedBytes) {
      throw columnFault(path, index, column.name, `${region.unpackedBytes} bytes of values`, `${values.length}`);
    }
  }
  if (values.byteOffset % column.array.BYTES_PER_ELEMENT !== 0) values = values.slice(0, region.unpackedBytes);
  return { [column.name]: new column.array(values.buffer as ArrayBuffer, values.byteOffset, rows) };
}

function columnFault(
  path: string,
  index: number,
  name: ColumnName,
  expected: string,
  found: string,
  advice = CONVERT_AGAIN,
) {
  return new InputError({ source: path, at: `record batch ${index}: column "${name}"`, expected, found, advice });
}
