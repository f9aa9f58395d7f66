// Parquet with the trace's columns and types, every row of it; the trace's metadata stands under the key
// `nodewalk`. Row groups of 262,144 rows, plain values packed with Snappy.

import { type DecodedArray, type SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { type Batch, type ColumnName } from '../batch.js';
import { METADATA_KEY } from '../metadata.js';
import { columnOf, inOrder } from '../schema.js';
import { type ExportOptions, type TraceExporter } from './format.js';

const GROUP_ROWS = 1 << 18;

function elementOf(name: ColumnName): SchemaElement {
  const bits = (8 * columnOf(name).array.BYTES_PER_ELEMENT) as 8 | 16 | 32 | 64;
  return {
    name,
    type: bits === 64 ? 'INT64' : 'INT32',
    repetition_type: 'REQUIRED',
    converted_type: `UINT_${bits}`,
    logical_type: { type: 'INTEGER', bitWidth: bits, isSigned: false },
  };
}

/** The rows of a row group being filled. */
class Group {
  private readonly columns: { name: ColumnName; data: Uint8Array | Uint16Array | Uint32Array | BigUint64Array }[];
  rows = 0;

  constructor(names: readonly ColumnName[]) {
    this.columns = names.map((name) => ({ name, data: new (columnOf(name).array)(GROUP_ROWS) }));
  }

  /** Takes rows of a batch from `from` on; returns how many. */
  add(batch: Batch, from: number): number {
    const taken = Math.min(batch.rows - from, GROUP_ROWS - this.rows);
    for (const { name, data } of this.columns) {
      (data as Uint8Array).set(batch[name]!.subarray(from, from + taken) as Uint8Array, this.rows);
    }
    this.rows += taken;
    return taken;
  }

  write(parquet: ParquetWriter): void {
    parquet.write({
      rowGroupSize: GROUP_ROWS,
      columnData: this.columns.map(({ name, data }) => {
        const rows = data.subarray(0, this.rows);
        // The writer takes 32 bits with the top bit set from a plain array only.
        const values = rows instanceof Uint32Array ? Array.from(rows) : rows;
        return { name, data: values as DecodedArray, encoding: 'PLAIN' as const, offsetIndex: false };
      }),
    });
    this.rows = 0;
  }
}

/** What the writer has put into its memory, which is free again. */
function take(writer: ByteWriter): Uint8Array {
  const bytes = writer.getBytes().slice();
  writer.index = 0;
  return bytes;
}

async function* encode(
  batches: AsyncIterable<Batch>,
  { columns, document }: ExportOptions,
): AsyncGenerator<Uint8Array> {
  const names = inOrder(columns);
  const writer = new ByteWriter();
  // Written with the footer, after the rows.
  const kvMetadata: { key: string; value: string }[] = [];
  const parquet = new ParquetWriter({
    writer,
    schema: [{ name: 'trace', num_children: names.length }, ...names.map(elementOf)],
    statistics: false,
    kvMetadata,
    createdBy: 'nodewalk',
  });
  const group = new Group(names);
  for await (const batch of batches) {
    for (let from = 0; from < batch.rows;) {
      from += group.add(batch, from);
      if (group.rows < GROUP_ROWS) continue;
      group.write(parquet);
      yield take(writer);
    }
  }
  if (group.rows > 0) group.write(parquet);
  kvMetadata.push({ key: METADATA_KEY, value: JSON.stringify(await document()) });
  await parquet.finish();
  yield take(writer);
}

export const parquet: TraceExporter = {
  name: 'parquet',
  description: 'Parquet file with named columns',
  loses: '',
  encode,
};
