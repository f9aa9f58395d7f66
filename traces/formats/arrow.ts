// Arrow files and streams of other tools, with columns of other names or types than a trace has (named.ts): integers of
// any width, whole floating-point numbers, times, text, and dictionaries of those. Arrow columnar format, "Buffer listing".
// A record batch of any size is read in pieces; only compressed buffers are unpacked whole.

import { open, type FileHandle } from 'node:fs/promises';
import { DataType, type Field, type Schema } from 'apache-arrow';
import { BATCH_ROWS, type Batch } from '../batch.js';
import { unpack } from '../codec.js';
import { InputError } from '../errors.js';
import { readFault } from '../files.js';
import { type TraceFormat } from '../format.js';
import { CONVERT_AGAIN, readIndex, schemaAtStart, type Block, type Dictionary, type Index } from '../ipc.js';
import { extentOf } from '../schema.js';
import { isArrowFile } from '../sniff.js';
import { sliceBatch } from '../writer.js';
import { areNamed, ColumnRows, columnsOf, mapColumns, NAMED_OPTIONS, passedOver, type NamedMapping } from './named.js';

/** A column in every record batch: its type, field node and first buffer (validity). */
interface Place {
  name: string;
  type: DataType;
  node: number;
  buffer: number;
}

function placesOf(schema: Schema, source: string): Place[] {
  let node = 0;
  let buffer = 0;
  return schema.fields.map((field: Field) => {
    const place = { name: field.name, type: field.type as DataType, node, buffer };
    const extent = extentOf(field.type, source, field.name);
    node += extent.nodes;
    buffer += extent.buffers;
    return place;
  });
}

type Numbers =
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Float32Array
  | Float64Array;
type NumbersType = { new (buffer: ArrayBuffer): Numbers; readonly BYTES_PER_ELEMENT: number };

const SIGNED: Readonly<Record<number, NumbersType>> = {
  8: Int8Array,
  16: Int16Array,
  32: Int32Array,
  64: BigInt64Array,
};
const UNSIGNED: Readonly<Record<number, NumbersType>> = {
  8: Uint8Array,
  16: Uint16Array,
  32: Uint32Array,
  64: BigUint64Array,
};

/** The array of a type of numbers; undefined for other types. */
function numbersOf(type: DataType): NumbersType | undefined {
  if (DataType.isInt(type)) return (type.isSigned ? SIGNED : UNSIGNED)[type.bitWidth];
  if (DataType.isFloat(type)) return [undefined, Float32Array, Float64Array][type.precision];
  if (DataType.isTimestamp(type) || DataType.isDuration(type)) return BigInt64Array;
  return undefined;
}

/** One record batch or dictionary batch: the values of its columns, piece by piece. */
class BatchValues {
  private readonly unpacked = new Map<number, Uint8Array>();

  constructor(
    private readonly file: FileHandle,
    private readonly source: string,
    private readonly name: string,
    private readonly block: Block,
    private readonly dictionaries: ReadonlyMap<number, readonly unknown[]>,
  ) {}

  /** The values of rows [from, from + count). */
  async read(place: Place, from: number, count: number): Promise<ArrayLike<unknown>> {
    const values = await this.values(place, from, count);
    const nulls = this.block.header.nodes[place.node]?.nullCount ?? 0;
    if (nulls === 0) return values;
    const bits = await this.bytes(place, place.buffer, from >> 3, (from + count + 7) >> 3, (this.block.rows + 7) >> 3);
    const isValid = (i: number) => (bits[((from & 7) + i) >> 3] >> ((from + i) & 7)) & 1;
    return Array.from(values, (value, i) => (isValid(i) ? value : null));
  }

  private async values(place: Place, from: number, count: number): Promise<ArrayLike<unknown>> {
    const { type, buffer } = place;
    if (DataType.isDictionary(type)) {
      const numbers = (await this.values({ ...place, type: type.indices }, from, count)) as ArrayLike<number | bigint>;
      const dictionary = this.dictionaries.get(type.id);
      if (!dictionary) throw this.fault(place, 'its dictionary', 'none');
      return Array.from(numbers, (number) => dictionary[Number(number)]);
    }
    const { rows } = this.block;
    const array = numbersOf(type);
    if (array) {
      const width = array.BYTES_PER_ELEMENT;
      const bytes = await this.bytes(place, buffer + 1, from * width, (from + count) * width, rows * width);
      return new array(bytes.slice().buffer);
    }
    if (!DataType.isUtf8(type) && !DataType.isLargeUtf8(type)) {
      throw this.fault(place, 'integers, whole numbers, text or a dictionary of those', `${type}`);
    }
    const width = DataType.isUtf8(type) ? 4 : 8;
    const end = (from + count + 1) * width;
    const bytes = await this.bytes(place, buffer + 1, from * width, end, (rows + 1) * width);
    const offsets = Array.from(
      width === 4 ? new Int32Array(bytes.slice().buffer) : new BigInt64Array(bytes.slice().buffer),
      Number,
    );
    if (offsets[0] < 0 || offsets.some((offset, i) => i > 0 && offset < offsets[i - 1])) {
      throw this.fault(place, 'places of text in order', 'others');
    }
    const text = Buffer.from(await this.bytes(place, buffer + 2, offsets[0], offsets[count], offsets[count]));
    return Array.from({ length: count }, (_, i) =>
      text.toString('utf8', offsets[i] - offsets[0], offsets[i + 1] - offsets[0]),
    );
  }

  /** Bytes [from, to) of a buffer that has at least `length`. */
  private async bytes(place: Place, buffer: number, from: number, to: number, length: number): Promise<Uint8Array> {
    const { header, body, bodyBytes } = this.block;
    const region = header.buffers[buffer];
    if (!region || region.offset < 0 || region.length < 0 || region.offset + region.length > bodyBytes)
      throw this.fault(place, 'values inside the batch', 'none');
    if (!header.compression) {
      if (to > region.length) throw this.fault(place, `${length} bytes`, `${region.length}`);
      return this.readExactly(place, body + region.offset + from, to - from);
    }
    let whole = this.unpacked.get(buffer);
    if (!whole && length > 0) {
      const packed = await this.readExactly(place, body + region.offset, region.length);
      try {
        whole = unpack(header.compression.type, packed, length);
      } catch (error) {
        throw this.fault(place, 'a compressed buffer', (error as Error).message);
      }
      this.unpacked.set(buffer, whole);
    }
    return (whole ?? new Uint8Array(0)).subarray(from, to);
  }

  private async readExactly(place: Place, position: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    const { bytesRead } = await this.file.read(bytes, 0, length, position);
    if (bytesRead < length) throw this.fault(place, `${length} bytes`, `${bytesRead}`);
    return bytes;
  }

  private fault(place: Place, expected: string, found: string): InputError {
    const at = `${this.name}: column "${place.name}"`;
    return new InputError({ source: this.source, at, expected, found, advice: CONVERT_AGAIN });
  }
}

/** The values that the numbers of dictionary columns stand for, of the dictionaries that are needed. */
async function readDictionaries(
  file: FileHandle,
  source: string,
  dictionaries: readonly Dictionary[],
  places: readonly Place[],
): Promise<Map<number, readonly unknown[]>> {
  const values = new Map<number, readonly unknown[]>();
  for (const dictionary of dictionaries) {
    const place = places.find(({ type }) => DataType.isDictionary(type) && type.id === dictionary.id);
    if (!place) continue;
    const type = (place.type as DataType & { dictionary: DataType }).dictionary;
    const batch = new BatchValues(file, source, `dictionary ${dictionary.id}`, dictionary, new Map());
    const read = Array.from(await batch.read({ name: place.name, type, node: 0, buffer: 0 }, 0, dictionary.rows));
    values.set(dictionary.id, dictionary.delta ? [...(values.get(dictionary.id) ?? []), ...read] : read);
  }
  return values;
}

async function* parse(
  file: FileHandle,
  source: string,
  { blocks, dictionaries, schema }: Index,
  mapping: NamedMapping,
): AsyncGenerator<Batch> {
  try {
    const places = placesOf(schema, source);
    const wanted = mapping.columns.map(({ index }) => places[index]);
    const known = await readDictionaries(file, source, dictionaries, wanted);
    const names = schema.fields.map(({ name }) => name);
    const rows = new ColumnRows(mapping, names, BATCH_ROWS);
    const columns = columnsOf(mapping);
    let first = 0;
    for (const [number, block] of blocks.entries()) {
      const values = new BatchValues(file, source, `record batch ${number}`, block, known);
      for (let from = 0; from < block.rows; from += BATCH_ROWS) {
        const count = Math.min(BATCH_ROWS, block.rows - from);
        for (let i = 0; i < wanted.length; i++) {
          rows.fill(i, await values.read(wanted[i], from, count), 0, 0, count, source, first + from);
        }
        yield sliceBatch(rows.batch, columns, 0, count);
      }
      first += block.rows;
    }
  } finally {
    await file.close();
  }
}

export const arrow: TraceFormat = {
  name: 'arrow',
  description: 'Arrow file or stream of another tool, with named columns',
  addresses: 'as the columns say',
  options: NAMED_OPTIONS,
  detect(head) {
    const schema = schemaAtStart(head);
    return schema ? areNamed(schema.fields.map(({ name }) => name)) : isArrowFile(head);
  },
  async parse(input, { set }) {
    const path = input.seekable('its record batches are found from its end');
    const file = await open(path, 'r').catch((error: unknown) =>
      Promise.reject(readFault(error, path, 'an Arrow file')),
    );
    try {
      const index = readIndex(file, path, (await file.stat()).size);
      const names = index.schema.fields.map(({ name }) => name);
      const mapping = mapColumns(names, set, path);
      const total = index.blocks.reduce((sum, { rows }) => sum + rows, 0);
      let done = 0;
      const counted = async function* () {
        for await (const batch of parse(file, path, index, mapping)) {
          yield batch;
          done += batch.rows;
        }
      };
      return {
        columns: columnsOf(mapping),
        batches: counted(),
        taken: () => Math.floor((done / Math.max(1, total)) * (input.size ?? 0)),
        metadata: () => ({ source: { tool: 'arrow', command: null, input: [] }, notes: passedOver(mapping) }),
      };
    } catch (error) {
      await file.close();
      throw error;
    }
  },
};
