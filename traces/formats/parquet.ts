// Parquet files with named columns (named.ts), read by hyparquet one row group and one column after the other: memory
// grows with the rows of a row group, some tens of bytes each. All codecs that Parquet names. Nested columns are no
// columns of a trace.

import { open, type FileHandle } from 'node:fs/promises';
import { parquetMetadataAsync, parquetRead, type AsyncBuffer, type FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { BATCH_ROWS, type Batch } from '../batch.js';
import { InputError } from '../errors.js';
import { readFault } from '../files.js';
import { type TraceFormat } from '../format.js';
import { sliceBatch } from '../writer.js';
import { ColumnRows, columnsOf, mapColumns, NAMED_OPTIONS, passedOver, type NamedMapping } from './named.js';

const MAGIC = [0x50, 0x41, 0x52, 0x31];
/** Most rows of a row group; writers put a million or less into one. */
const MAX_GROUP_ROWS = 1 << 26;

/** Times as the numbers that they are. */
const parsers = {
  timestampFromMilliseconds: (value: bigint) => value,
  timestampFromMicroseconds: (value: bigint) => value,
  timestampFromNanoseconds: (value: bigint) => value,
};

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

function damaged(source: string, at: string | undefined, error: unknown): unknown {
  if (error instanceof InputError) return error;
  const advice = 'the file is truncated or damaged, or of a kind that hyparquet does not read';
  return new InputError({ source, at, expected: 'an intact Parquet file', found: (error as Error).message, advice });
}

async function* parse(
  buffer: AsyncBuffer,
  source: string,
  metadata: FileMetaData,
  names: readonly string[],
  mapping: NamedMapping,
): AsyncGenerator<Batch> {
  const columns = columnsOf(mapping);
  let first = 0;
  for (const [number, group] of metadata.row_groups.entries()) {
    const count = Number(group.num_rows);
    if (!(count >= 0 && count <= MAX_GROUP_ROWS))
      throw damaged(source, `row group ${number}`, new Error(`${count} rows`));
    const rows = new ColumnRows(mapping, names, count);
    for (const [i, { index }] of mapping.columns.entries()) {
      const at = `row group ${number}: column "${names[index]}"`;
      const parts: ArrayLike<unknown>[] = [];
      try {
        await parquetRead({
          file: buffer,
          metadata: { ...metadata, row_groups: [group] },
          columns: [names[index]],
          parsers,
          compressors,
          onChunk: ({ columnData }) => void parts.push(columnData),
        });
      } catch (error) {
        throw damaged(source, at, error);
      }
      let filled = 0;
      for (const part of parts) {
        const used = Math.min(part.length, count - filled);
        rows.fill(i, part, filled, used, source, first);
        filled += used;
      }
      if (filled < count) throw damaged(source, at, new Error(`${filled} of ${count} rows`));
    }
    for (let from = 0; from < count; from += BATCH_ROWS) {
      yield sliceBatch(rows.batch, columns, from, Math.min(count, from + BATCH_ROWS));
    }
    first += count;
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
      const buffer = fileBuffer(file, (await file.stat()).size);
      const metadata = await parquetMetadataAsync(buffer).catch((error: unknown) =>
        Promise.reject(damaged(path, undefined, error)),
      );
      const names = topLevelNames(metadata);
      const mapping = mapColumns(names, set, path);
      let done = 0;
      const counted = async function* () {
        try {
          for await (const batch of parse(buffer, path, metadata, names, mapping)) {
            yield batch;
            done += batch.rows;
          }
        } finally {
          await file.close();
        }
      };
      return {
        columns: columnsOf(mapping),
        batches: counted(),
        taken: () => Math.floor((done / Math.max(1, Number(metadata.num_rows))) * buffer.byteLength),
        metadata: () => ({ source: { tool: 'parquet', command: null, input: [] }, notes: passedOver(mapping) }),
      };
    } catch (error) {
      await file.close();
      throw error;
    }
  },
};

/** Names of the columns beside the root; those inside of others are left out. */
function topLevelNames({ schema }: FileMetaData): string[] {
  const names: string[] = [];
  for (let i = 1; i < schema.length;) {
    names.push(schema[i].name);
    for (let open = 1; open > 0 && i < schema.length; i++) open += (schema[i].num_children ?? 0) - 1;
  }
  return names;
}
