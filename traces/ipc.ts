// Where the record batches of an Arrow file lie: an IPC file, whose footer says so, or the same messages as a stream in a
// file. Metadata is checked before it is decoded (flatbuffer.ts), and no length is believed that the file cannot have.

import { readSync } from 'node:fs';
import { type FileHandle } from 'node:fs/promises';
import { Message, type Field, type Schema } from 'apache-arrow';
import { Footer } from 'apache-arrow/ipc/metadata/file';
import { InputError } from './errors.js';
import { isFooter, isMessage } from './flatbuffer.js';
import { describe, isArrowFile } from './sniff.js';

/** A record batch in a file. */
export interface Block {
  /** Where its body starts. */
  body: number;
  bodyBytes: number;
  header: RecordBatchHeader;
  rows: number;
}

/** What a file holds. */
export interface Index {
  schema: Schema;
  blocks: Block[];
  /** Values of dictionary columns, in order. */
  dictionaries: Dictionary[];
}

/** A dictionary batch in a file: the values that a column's numbers stand for. */
export interface Dictionary extends Block {
  id: number;
  /** Whether it goes on where an earlier one ended. */
  delta: boolean;
}

const MAGIC_BYTES = 6;
/** Length and magic at the end of an Arrow file. */
const TAIL_BYTES = 4 + MAGIC_BYTES;
/** A message starts with this and its length; files older than Arrow 0.15 have only the length. */
const CONTINUATION = 0xffff_ffff;
/** Longest header of a batch; a thousand columns take 100 KB. */
const MAX_HEADER = 1 << 24;
/** Most rows of a batch, as Arrow itself has it for the types of a trace. */
const MAX_ROWS = 2 ** 31;

/** What to do about a damaged file. */
export const CONVERT_AGAIN = 'the file is truncated or damaged; convert or copy it again';

/** Finds the schema and the place and rows of every batch. Throws InputError when the file is damaged or no Arrow file. */
export function readIndex(file: FileHandle, path: string, size: number): Index {
  const head = readAt(file, 0, Math.min(size, 4096));
  if (isArrowFile(head)) return readFooter(file, path, size);
  const start = new DataView(head.buffer, head.byteOffset, head.length);
  if (head.length >= 8 && start.getUint32(0, true) === CONTINUATION) return readStream(file, path, size);
  throw new InputError({
    source: path,
    expected: 'a trace (Arrow IPC file)',
    found: describe(head),
    advice: head.length ? 'nodewalk convert makes a trace of it if it reads the format' : undefined,
  });
}

/** The index at the end of an Arrow file: footer, its length, magic. */
function readFooter(file: FileHandle, path: string, size: number): Index {
  const broken = (found: string) =>
    new InputError({ source: path, expected: 'a complete Arrow file', found, advice: CONVERT_AGAIN });
  const tail = readAt(file, Math.max(0, size - TAIL_BYTES), Math.min(size, TAIL_BYTES));
  if (size < MAGIC_BYTES + 2 + TAIL_BYTES || !isArrowFile(tail.subarray(4))) {
    throw broken(`its start but no end after ${size} bytes`);
  }
  const length = new DataView(tail.buffer, tail.byteOffset, 4).getInt32(0, true);
  if (length <= 0 || length > size - TAIL_BYTES) throw broken(`a footer of ${length} bytes in a file of ${size}`);
  const bytes = readAt(file, size - TAIL_BYTES - length, length);
  const footer = isFooter(bytes) ? decoded(bytes, Footer.decode) : undefined;
  if (!footer || !isSound(footer.schema)) throw broken('a footer that cannot be read');

  const batchOf = ({ offset, metaDataLength: headerBytes, bodyLength: bodyBytes }: FileBlock, at: string) => {
    if (offset + headerBytes + bodyBytes > size) throw broken(`${at} ending after the ${size} bytes of the file`);
    const sane = offset >= 0 && headerBytes >= 8 && headerBytes <= MAX_HEADER && bodyBytes >= 0;
    const batch = sane && batchOfMessage(readAt(file, offset, headerBytes), offset + headerBytes, bodyBytes);
    if (!batch) throw broken(`something else at the place of ${at}`);
    return batch;
  };
  const places = decoded(bytes, () => ({
    batches: [...footer.recordBatches()],
    others: [...footer.dictionaryBatches()],
  }));
  if (!places) throw broken('a footer with places beyond any file');
  const blocks = places.batches.map((block, i) => batchOf(block, `record batch ${i}`));
  const dictionaries = places.others.map((block, i) => batchOf(block, `dictionary ${i}`));
  if (blocks.some(isDictionary) || !dictionaries.every(isDictionary)) throw broken('batches of the wrong kind');
  return { schema: footer.schema, blocks, dictionaries };
}

/** The index of an Arrow stream, made by going from message to message. */
function readStream(file: FileHandle, path: string, size: number): Index {
  const broken = (found: string) =>
    new InputError({ source: path, expected: 'a complete Arrow stream', found, advice: CONVERT_AGAIN });
  const blocks: Block[] = [];
  const dictionaries: Dictionary[] = [];
  let schema: Schema | undefined;
  for (let offset = 0; offset + 8 <= size;) {
    const prefix = readAt(file, offset, 8);
    const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getUint32(4, true);
    if (length === 0) break;
    const headerBytes = 8 + length;
    if (headerBytes > MAX_HEADER || offset + headerBytes > size)
      throw broken(`a message ending after the ${size} bytes of the file`);
    const { message, header } = messageOf(readAt(file, offset, headerBytes)) ?? {};
    if (!message || message.bodyLength < 0) throw broken(`something that is no message at byte ${offset}`);
    const bodyBytes = message.bodyLength;
    if (offset + headerBytes + bodyBytes > size) throw broken(`a message ending after the ${size} bytes of the file`);
    if (message.isSchema()) schema = header as Schema;
    else {
      const batch = blockOf(message, header, offset + headerBytes, bodyBytes);
      if (!batch) throw broken(`a message of unknown kind at byte ${offset}`);
      if (isDictionary(batch)) dictionaries.push(batch);
      else blocks.push(batch);
    }
    offset += headerBytes + bodyBytes;
  }
  if (!schema || !isSound(schema)) throw broken('no schema');
  return { schema, blocks, dictionaries };
}

/** A message and its header, from the bytes that start with its continuation mark and length. */
function messageOf(bytes: Uint8Array) {
  const mark = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(0, true);
  const body = bytes.subarray(mark === CONTINUATION ? 8 : 4);
  if (!isMessage(body)) return undefined;
  return decoded(body, () => {
    const message = Message.decode(body);
    return { message, header: message.header() };
  });
}

/** apache-arrow's decoders throw whatever their flatbuffers run into when the bytes are not theirs. */
function decoded<T>(bytes: Uint8Array, decode: (bytes: Uint8Array) => T): T | undefined {
  try {
    return decode(bytes);
  } catch {
    return undefined;
  }
}

/** Reads a few bytes at once: going through thousands of small headers, waiting for each would take far longer. */
function readAt(file: FileHandle, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  return bytes.subarray(0, readSync(file.fd, bytes, 0, length, position));
}

function batchOfMessage(bytes: Uint8Array, body: number, bodyBytes: number): Block | Dictionary | undefined {
  const { message, header } = messageOf(bytes) ?? {};
  return message && blockOf(message, header, body, bodyBytes);
}

/** The batch of a message; undefined when it is something else. */
function blockOf(message: Message, header: unknown, body: number, bodyBytes: number): Block | Dictionary | undefined {
  const dictionary = message.isDictionaryBatch() ? (header as DictionaryHeader) : null;
  const batch = dictionary ? dictionary.data : message.isRecordBatch() ? (header as RecordBatchHeader) : null;
  if (!batch || batch.length < 0 || batch.length > MAX_ROWS) return undefined;
  const block = { header: batch, body, bodyBytes, rows: batch.length };
  return dictionary ? { ...block, id: dictionary.id, delta: dictionary.isDelta } : block;
}

function isDictionary(block: Block | Dictionary): block is Dictionary {
  return 'id' in block;
}

/** The schema at the start of an Arrow file or stream; undefined where there is none, or it does not fit. */
export function schemaAtStart(head: Uint8Array): Schema | undefined {
  const start = isArrowFile(head) ? MAGIC_BYTES + 2 : 0;
  if (head.length < start + 8) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const end = start + 8 + view.getUint32(start + 4, true);
  if (view.getUint32(start, true) !== CONTINUATION || end > head.length) return undefined;
  const { message, header } = messageOf(head.subarray(start, end)) ?? {};
  const schema = message?.isSchema() ? (header as unknown as Schema) : undefined;
  return schema && isSound(schema) ? schema : undefined;
}

/** Whether every field has a name, and the fields that its type needs inside. */
function isSound({ fields }: Schema): boolean {
  const isField = (field: Field | null | undefined): boolean =>
    typeof field?.name === 'string' && (field.type?.children ?? []).every(isField);
  return fields.every(isField);
}

/** A place in the footer. */
interface FileBlock {
  offset: number;
  metaDataLength: number;
  bodyLength: number;
}

/** A record batch's own description. */
export type RecordBatchHeader = Extract<ReturnType<Message['header']>, { compression: unknown }>;
type DictionaryHeader = Extract<ReturnType<Message['header']>, { isDelta: boolean }>;
