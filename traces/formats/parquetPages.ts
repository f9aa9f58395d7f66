// The values of one flat column of a Parquet row group, page by page: parquet-format's README, Encodings.md and
// parquet.thrift (compact protocol). Memory is that of a page and the dictionary, and no size is believed that the row
// group or the page cannot have. Encodings PLAIN, dictionary and DELTA_BINARY_PACKED; other ones are refused.

import { type FileHandle } from 'node:fs/promises';
import { type ColumnChunk, type SchemaElement } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';

/** Most bytes of a page, packed and not; writers make them of a megabyte. */
const MAX_PAGE = 1 << 28;
/** A page header with the longest statistics. */
const MAX_HEADER = 1 << 16;
const MAX_DEPTH = 16;

const DATA_PAGE = 0;
const DICTIONARY_PAGE = 2;
const DATA_PAGE_V2 = 3;

const PLAIN = 0;
const PLAIN_DICTIONARY = 2;
const DELTA_BINARY_PACKED = 5;
const RLE_DICTIONARY = 8;

/** What a header has that is a number, or a structure of such, by field. */
type Fields = Map<number, number | Fields>;

/** Values of a page. */
type Values = ArrayLike<unknown>;

/** Bytes being taken from left to right. Throws RangeError at their end. */
class Bytes {
  constructor(
    readonly bytes: Uint8Array,
    public at = 0,
  ) {}

  byte(): number {
    if (this.at >= this.bytes.length) throw new RangeError('the end of a page');
    return this.bytes[this.at++];
  }

  take(length: number): Uint8Array {
    if (!(length >= 0 && length <= this.bytes.length - this.at)) throw new RangeError(`${length} bytes of a page`);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  u32(): number {
    const [a, b, c, d] = this.take(4);
    return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
  }

  /** Seven bits a byte; a number beyond 2^53 loses its last bits. */
  varint(): number {
    let value = 0;
    for (let unit = 1; unit < 2 ** 70; unit *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a number of more than 10 bytes');
  }

  /** The same, exact, with the sign in the lowest bit. */
  zigzag(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return (value >> 1n) ^ -(value & 1n);
    }
    throw new RangeError('a number of more than 10 bytes');
  }

  /** A structure of Thrift's compact protocol. */
  struct(depth = 0): Fields {
    if (depth > MAX_DEPTH) throw new RangeError('a header that is too deep');
    const fields: Fields = new Map();
    for (let field = 0, head = this.byte(); head !== 0; head = this.byte()) {
      field = head >> 4 ? field + (head >> 4) : Number(this.zigzag());
      const value = this.element(head & 15, depth);
      if (value !== undefined) fields.set(field, value);
    }
    return fields;
  }

  private element(type: number, depth: number): number | Fields | undefined {
    switch (type) {
      case 1:
      case 2:
        return 2 - type;
      case 3:
        return this.byte();
      case 4:
      case 5:
      case 6:
        return Number(this.zigzag());
      case 7:
        this.take(8);
        return undefined;
      case 8:
        this.take(this.varint());
        return undefined;
      case 12:
        return this.struct(depth + 1);
      default:
        throw new RangeError(`a header with a field of type ${type}`);
    }
  }

  /** Runs and bit-packed groups of numbers of `width` bits. */
  hybrid(width: number, count: number): Uint32Array {
    const values = new Uint32Array(count);
    if (width > 32) throw new RangeError(`numbers of ${width} bits`);
    for (let filled = 0; width > 0 && filled < count;) {
      const head = this.varint();
      if (head % 2 === 0) {
        let value = 0;
        for (let shift = 0; shift < width; shift += 8) value += this.byte() * 2 ** shift;
        const length = Math.min(head / 2, count - filled);
        if (length === 0) throw new RangeError('a run of nothing');
        values.fill(value, filled, filled + length);
        filled += length;
      } else {
        const groups = Math.min((head - 1) / 2, Math.ceil((count - filled) / 8));
        if (groups === 0) throw new RangeError('a run of nothing');
        filled += unpackBits(this.take(groups * width), width, values, filled);
      }
    }
    return values;
  }
}

/** Unpacks numbers of `width` bits, lowest bits first; returns how many. */
function unpackBits(bytes: Uint8Array, width: number, values: Uint32Array, from: number): number {
  const count = Math.min((bytes.length * 8) / width, values.length - from);
  let buffer = 0;
  let bits = 0;
  let at = 0;
  for (let i = 0; i < count; i++) {
    // A double holds the 39 bits that a number of 32 may leave over.
    for (; bits < width; bits += 8) buffer += bytes[at++] * 2 ** bits;
    const unit = 2 ** width;
    values[from + i] = buffer % unit;
    buffer = Math.floor(buffer / unit);
    bits -= width;
  }
  return count;
}

/** Numbers each told by the difference to the one before, in blocks of equal widths. */
function deltas(bytes: Bytes, count: number): BigInt64Array {
  const values = new BigInt64Array(count);
  const blockSize = bytes.varint();
  const parts = bytes.varint();
  const total = bytes.varint();
  let value = bytes.zigzag();
  const size = blockSize / parts;
  if (total < count || parts === 0 || size % 32 !== 0 || size === 0) throw new RangeError('a block of no such size');
  if (count > 0) values[0] = value;
  for (let filled = 1; filled < count;) {
    const least = bytes.zigzag();
    const widths = bytes.take(parts);
    for (let part = 0; part < parts && filled < count; part++) {
      const width = widths[part];
      if (width > 64) throw new RangeError(`numbers of ${width} bits`);
      const packed = bytes.take((size / 8) * width);
      for (let i = 0; i < size && filled < count; i++) {
        value = BigInt.asIntN(64, value + least + bitsAt(packed, i * width, width));
        values[filled++] = value;
      }
    }
  }
  return values;
}

/** `width` bits from bit `from` on. */
function bitsAt(bytes: Uint8Array, from: number, width: number): bigint {
  let value = 0n;
  let taken = 0;
  for (let at = from; taken < width;) {
    const bits = Math.min(8 - (at & 7), width - taken);
    value |= BigInt((bytes[at >> 3] >> (at & 7)) & ((1 << bits) - 1)) << BigInt(taken);
    at += bits;
    taken += bits;
  }
  return value;
}

/** One column of a row group. `next` gives its values in order. */
export class ColumnPages {
  private readonly codec: string;
  private at: number;
  private readonly end: number;
  private dictionary: Values | null = null;
  private page: Values = [];
  private used = 0;
  private left: number;

  /** Throws Error when the column is of a kind that is not read. */
  constructor(
    private readonly file: FileHandle,
    private readonly fileBytes: number,
    { meta_data: meta }: ColumnChunk,
    private readonly element: SchemaElement,
    rows: number,
  ) {
    if (!meta) throw new Error('a column without its place');
    if (element.repetition_type === 'REPEATED' || element.num_children) throw new Error('a nested column');
    this.codec = meta.codec;
    this.at = Number(meta.dictionary_page_offset || meta.data_page_offset);
    this.end = this.at + Number(meta.total_compressed_size);
    this.left = rows;
    if (!(this.at >= 0 && this.end >= this.at && this.end <= fileBytes)) throw new RangeError('pages outside the file');
    if (Number(meta.num_values) !== rows) throw new RangeError(`${meta.num_values} values for ${rows} rows`);
  }

  /** At most `count` values: an array, and where in it they are. Throws when the pages hold fewer. */
  async next(count: number): Promise<{ values: Values; from: number; count: number }> {
    while (this.used === this.page.length) await this.readPage();
    const taken = Math.min(count, this.page.length - this.used);
    this.used += taken;
    return { values: this.page, from: this.used - taken, count: taken };
  }

  private async readPage(): Promise<void> {
    if (this.at >= this.end) throw new RangeError(`the last page with ${this.left} values missing`);
    const head = new Bytes(await this.read(this.at, Math.min(MAX_HEADER, this.fileBytes - this.at)));
    const header = head.struct();
    const [type, size, packedSize] = [1, 2, 3].map((field) => Number(header.get(field)));
    if (!(size >= 0 && size <= MAX_PAGE && packedSize >= 0 && packedSize <= MAX_PAGE)) {
      throw new RangeError(`a page of ${packedSize} bytes, unpacked ${size}`);
    }
    this.at += head.at;
    const bytes = await this.read(this.at, packedSize);
    this.at += packedSize;
    const details = (field: number): Fields => {
      const value = header.get(field);
      if (value instanceof Map) return value;
      throw new RangeError('a page without its header');
    };
    if (type === DICTIONARY_PAGE) {
      const count = Number(details(7).get(1));
      if (!(count >= 0 && count <= size)) throw new RangeError(`a dictionary of ${count} values in ${size} bytes`);
      this.dictionary = this.plain(new Bytes(this.unpack(bytes, size)), count);
      return;
    }
    if (type === DATA_PAGE) this.page = this.dataPage(new Bytes(this.unpack(bytes, size)), details(5));
    else if (type === DATA_PAGE_V2) this.page = this.dataPage2(bytes, size, details(8));
    else return;
    this.used = 0;
    this.left -= this.page.length;
  }

  private count(fields: Fields): number {
    const count = Number(fields.get(1));
    if (count >= 0 && count <= this.left) return count;
    throw new RangeError(`a page of ${count} values where ${this.left} are left`);
  }

  private dataPage(bytes: Bytes, fields: Fields): Values {
    const count = this.count(fields);
    const levels = this.optional ? new Bytes(bytes.take(bytes.u32())).hybrid(1, count) : null;
    return this.withNulls(bytes, Number(fields.get(2)), count, levels);
  }

  /** Levels stand before the values and are not packed. */
  private dataPage2(bytes: Uint8Array, size: number, fields: Fields): Values {
    const count = this.count(fields);
    const page = new Bytes(bytes);
    page.take(Number(fields.get(6) ?? 0));
    const levelBytes = page.take(Number(fields.get(5)));
    const levels = this.optional ? new Bytes(levelBytes).hybrid(1, count) : null;
    const rest = bytes.subarray(page.at);
    const values = fields.get(7) === 0 ? rest : this.unpack(rest, size - page.at);
    return this.withNulls(new Bytes(values), Number(fields.get(4)), count, levels);
  }

  private withNulls(bytes: Bytes, encoding: number, count: number, levels: Uint32Array | null): Values {
    const present = levels ? levels.reduce((sum, level) => sum + level, 0) : count;
    const values = this.values(bytes, encoding, present);
    if (!levels || present === count) return values;
    let next = 0;
    return Array.from(levels, (level) => (level ? values[next++] : null));
  }

  private values(bytes: Bytes, encoding: number, count: number): Values {
    if (encoding === PLAIN) return this.plain(bytes, count);
    if (encoding === PLAIN_DICTIONARY || encoding === RLE_DICTIONARY) {
      const { dictionary } = this;
      if (!dictionary) throw new Error('numbers of a dictionary that is not there');
      if (count === 0) return [];
      const numbers = bytes.hybrid(bytes.byte(), count);
      if (dictionary instanceof BigInt64Array)
        return BigInt64Array.from(numbers, (n) => within(dictionary, n) as bigint);
      return Array.from(numbers, (n) => within(dictionary, n));
    }
    if (encoding === DELTA_BINARY_PACKED && (this.element.type === 'INT32' || this.element.type === 'INT64')) {
      const values = deltas(bytes, count);
      return this.element.type === 'INT64' ? values : Int32Array.from(values, Number);
    }
    throw new Error(`encoding ${encoding}, which is none of PLAIN, dictionary and DELTA_BINARY_PACKED`);
  }

  private plain(bytes: Bytes, count: number): Values {
    const copy = (width: number) => bytes.take(count * width).slice().buffer;
    switch (this.element.type) {
      case 'INT32':
        return this.element.converted_type === 'UINT_32' ? new Uint32Array(copy(4)) : new Int32Array(copy(4));
      case 'INT64':
        return new BigInt64Array(copy(8));
      case 'FLOAT':
        return new Float32Array(copy(4));
      case 'DOUBLE':
        return new Float64Array(copy(8));
      case 'BYTE_ARRAY':
        return Array.from({ length: count }, () => Buffer.from(bytes.take(bytes.u32())).toString('utf8'));
      default:
        throw new Error(`values of type ${this.element.type}`);
    }
  }

  private get optional(): boolean {
    return this.element.repetition_type === 'OPTIONAL';
  }

  private unpack(bytes: Uint8Array, size: number): Uint8Array {
    if (this.codec === 'UNCOMPRESSED' || size === 0) return bytes;
    const unpack = compressors[this.codec as keyof typeof compressors];
    if (!unpack) throw new Error(`codec ${this.codec}`);
    const unpacked = unpack(bytes, size);
    if (unpacked.length < size) throw new RangeError(`${unpacked.length} bytes of ${size}`);
    return unpacked;
  }

  private async read(position: number, length: number): Promise<Uint8Array> {
    if (position + length > this.fileBytes) throw new RangeError('a page that ends outside the file');
    const bytes = new Uint8Array(length);
    const { bytesRead } = await this.file.read(bytes, 0, length, position);
    return bytes.subarray(0, bytesRead);
  }
}

function within(dictionary: Values, number: number): unknown {
  if (number < dictionary.length) return dictionary[number];
  throw new RangeError(`value ${number} of a dictionary of ${dictionary.length}`);
}
