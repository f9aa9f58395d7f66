// Parquet files with named columns (named.ts): hyparquet reads the footer, parquetPages.ts the columns side by side, so
// that memory does not grow with a row group. All codecs that Parquet names. Nested columns are no columns of a trace.
// What the key `nodewalk` of the file's metadata says is that of the trace that was written; the rows are counted again.

import { open, type FileHandle } from 'node:fs/promises';
import {
  parquetMetadataAsync,
  type AsyncBuffer,
  type ColumnChunk,
  type FileMetaData,
  type SchemaElement,
} from 'hyparquet';
import { BATCH_ROWS, type Batch } from '../batch.js';
import { otherCounts } from '../counts.js';
import { InputError, NodewalkError } from '../errors.js';
import { readFault } from '../files.js';
import { type TraceFormat } from '../format.js';
import { METADATA_KEY, metadataWith, parseMetadata, type TraceMetadata } from '../metadata.js';
import { sliceBatch } from '../writer.js';
import { ColumnPages } from './parquetPages.js';
import { ColumnRows, columnsOf, mapColumns, NAMED_OPTIONS, passedOver, type NamedMapping } from './named.js';

const MAGIC = [0x50, 0x41, 0x52, 0x31];
function fileBuffer(file: FileHandle, size: number): AsyncBuffer {
  return {
    byteLength: size,
    async slice(start, end = size) {
      if (start < 0 || end > size || start > end) throw new RangeError(`bytes ${start} to ${end} of ${size}`);
      const bytes = new Uint8Array(end - start);
      await file.read(bytes, 0, bytes.length, start);
      return bytes.buffer;
    },
  };
}

/** What hyparquet and the pages throw is about the bytes that they read. */
function damaged(source: string, at: string | undefined, error: unknown): unknown {
  if (error instanceof NodewalkError) return error;
  const advice = 'the file is truncated or damaged, or of a kind that is not read';
  return new InputError({ source, at, expected: 'an intact Parquet file', found: (error as Error).message, advice });
}

/** A file with what its footer says. */
interface Source {
  file: FileHandle;
  path: string;
  bytes: number;
  metadata: FileMetaData;
  elements: readonly SchemaElement[];
}

async function* parse(source: Source, mapping: NamedMapping): AsyncGenerator<Batch> {
  const { file, path, bytes, metadata, elements } = source;
  const names = elements.map(({ name }) => name);
  const columns = columnsOf(mapping);
  const rows = new ColumnRows(mapping, names, BATCH_ROWS);
  let first = 0;
  for (const [number, group] of metadata.row_groups.entries()) {
    const total = Number(group.num_rows);
    const faulty = (index: number, error: unknown) =>
      damaged(path, `row group ${number}: column "${names[index]}"`, error);
    const pages = mapping.columns.map(({ index }) => {
      const chunk = group.columns.find(({ meta_data }) => meta_data?.path_in_schema.join('.') === names[index]);
      try {
        return new ColumnPages(file, bytes, chunk ?? ({} as ColumnChunk), elements[index], total);
      } catch (error) {
        throw faulty(index, error);
      }
    });
    for (let from = 0; from < total; from += BATCH_ROWS) {
      const count = Math.min(BATCH_ROWS, total - from);
      for (const [i, { index }] of mapping.columns.entries()) {
        for (let filled = 0; filled < count;) {
          const part = await pages[i]
            .next(count - filled)
            .catch((error: unknown) => Promise.reject(faulty(index, error)));
          rows.fill(i, part.values, part.from, filled, part.count, path, first + from);
          filled += part.count;
        }
      }
      yield sliceBatch(rows.batch, columns, 0, count);
    }
    first += total;
  }
}

export const parquet: TraceFormat = {
  name: 'parquet',
  description: 'Parquet file with named columns',
  addresses: 'as the columns say',
  options: NAMED_OPTIONS,
  detect: (head) => MAGIC.every((byte, i) => head[i] === byte),
  async parse(input, { set }) {
    const path = input.seekable('its row groups are found from its end');
    const file = await open(path, 'r').catch((error: unknown) =>
      Promise.reject(readFault(error, path, 'a Parquet file')),
    );
    try {
      const bytes = (await file.stat()).size;
      const metadata = await parquetMetadataAsync(fileBuffer(file, bytes));
      const elements = topLevel(metadata);
      const mapping = mapColumns(
        elements.map(({ name }) => name),
        set,
        path,
      );
      const known = documentOf(metadata, path);
      let done = 0;
      const counted = async function* () {
        try {
          for await (const batch of parse({ file, path, bytes, metadata, elements }, mapping)) {
            yield batch;
            done += batch.rows;
          }
        } catch (error) {
          throw damaged(path, undefined, error);
        } finally {
          await file.close();
        }
      };
      return {
        columns: columnsOf(mapping),
        batches: counted(),
        taken: () => Math.floor((done / Math.max(1, Number(metadata.num_rows))) * bytes),
        metadata: () => ({
          ...known,
          counts: otherCounts(known.counts),
          notes: [...known.notes, ...passedOver(mapping)],
        }),
      };
    } catch (error) {
      await file.close();
      throw damaged(path, undefined, error);
    }
  },
};

/** The document of the trace that the file was written from, or that of a file of another tool. */
function documentOf({ key_value_metadata: pairs = [] }: FileMetaData, path: string): TraceMetadata {
  const text = pairs.find(({ key }) => key === METADATA_KEY)?.value;
  return text === undefined
    ? metadataWith({ source: { tool: 'parquet', command: null, input: [] } })
    : parseMetadata(text, path);
}

/** The columns beside the root; those inside of others are left out. */
function topLevel({ schema }: FileMetaData): SchemaElement[] {
  const elements: SchemaElement[] = [];
  for (let i = 1; i < schema.length;) {
    elements.push({ ...schema[i], name: schema[i].name ?? '' });
    for (let open = 1; open > 0 && i < schema.length; i++) open += (schema[i].num_children ?? 0) - 1;
  }
  return elements;
}
