// Cuts a part out of a trace: filters, slices, samples (filters.ts, select.ts). The columns that decide are read first;
// record batches of which nothing stays are not read any further.

import { BATCH_ROWS, type Batch, type ColumnName, PA_UNKNOWN, STORE } from '../batch.js';
import { countRows, noRows } from '../counts.js';
import { PHASE_END } from '../events.js';
import { openInput } from '../input.js';
import { metadataWith, type TraceMetadata } from '../metadata.js';
import { TraceReader } from '../reader.js';
import { columnOf } from '../schema.js';
import { sliceBatch, writeTrace, type Written } from '../writer.js';
import { Filter, type Filters } from './filters.js';
import { type Sampling, Selection } from './select.js';

export interface CutOptions extends Filters, Sampling {
  /** What was asked for, for the metadata. */
  description: string;
  compress?: 'lz4';
  /** Rows done and rows in all. */
  onProgress?(done: number, total: number): void;
}

export interface Cut extends Written {
  /** Rows of the trace that was cut. */
  from: number;
  metadata: TraceMetadata;
}

/** Writes the part of the trace `path` that the options keep to `output`. */
export async function cutTrace(path: string, output: string, options: CutOptions): Promise<Cut> {
  const reader = await TraceReader.open(path);
  try {
    const { columns, rows: from } = reader;
    const filter = new Filter(options, path, columns, reader.metadata);
    const selection = new Selection(filter, options);
    const counts = { ...noRows(), unknownPa: 0 };
    const rows = counted(keptRows(reader, filter, selection, options), counts);
    let metadata = metadataWith();
    const finish = async () => (metadata = await documentOf(reader, selection, counts, options));
    const written = await writeTrace(output, columns, rows, finish, { compress: options.compress });
    return { ...written, from, metadata };
  } finally {
    await reader.close();
  }
}

/** The rows that stay. A batch is valid until the next one is asked for. */
async function* keptRows(
  reader: TraceReader,
  filter: Filter,
  selection: Selection,
  { onProgress }: CutOptions,
): AsyncGenerator<Batch> {
  const { columns } = reader;
  const few = filter.columns;
  const group = emptyBatch(columns, BATCH_ROWS);
  let first = 0;
  let lastTime = 0n;
  for await (const deciding of reader.batches({ columns: few })) {
    selection.batch(deciding, first);
    const { rows: kept } = selection;
    if (kept.length > 0) {
      for await (const whole of reader.batches({ from: first, to: first + deciding.rows })) {
        lastTime = whole.time?.[kept[kept.length - 1] - first] ?? lastTime;
        for await (const part of gather(reader, whole, first, kept, group)) yield part;
      }
    }
    first += deciding.rows;
    onProgress?.(first, reader.rows);
    if (selection.done) break;
  }
  for (const row of selection.unended()) {
    const [end] = await oneRow(reader, row);
    end.kind[0] = PHASE_END;
    end.time?.fill(lastTime);
    yield end;
  }
}

/** The rows `kept` of the trace, of which `whole` holds those from row `first` on. */
async function* gather(
  reader: TraceReader,
  whole: Batch,
  first: number,
  kept: readonly number[],
  group: Batch,
): AsyncGenerator<Batch> {
  const { columns } = reader;
  if (kept.length === whole.rows && kept[0] === first) return yield whole;
  for (let from = 0; from < kept.length;) {
    if (kept[from] < first) {
      yield* await oneRow(reader, kept[from++]);
      continue;
    }
    let to = from;
    while (to < kept.length && to - from < BATCH_ROWS && kept[to] >= first) to++;
    for (const name of columns) {
      const source = whole[name] as Uint32Array;
      const target = group[name] as Uint32Array;
      for (let i = from; i < to; i++) target[i - from] = source[kept[i] - first];
    }
    yield sliceBatch(group, columns, 0, to - from);
    from = to;
  }
}

/** One row of a trace as a batch of its own. */
async function oneRow(reader: TraceReader, row: number): Promise<Batch[]> {
  const found: Batch[] = [];
  for await (const batch of reader.batches({ from: row, to: row + 1 })) {
    const copy = { rows: 1 } as Batch;
    for (const name of reader.columns) Object.assign(copy, { [name]: batch[name]!.slice() });
    found.push(copy);
  }
  return found;
}

function emptyBatch(columns: readonly ColumnName[], rows: number): Batch {
  const batch = { rows } as Batch;
  for (const name of columns) Object.assign(batch, { [name]: new (columnOf(name).array)(rows) });
  return batch;
}

async function* counted(
  batches: AsyncIterable<Batch>,
  counts: ReturnType<typeof noRows> & { unknownPa: number },
): AsyncGenerator<Batch> {
  for await (const batch of batches) {
    countRows(batch, counts);
    const { pa, kind, rows } = batch;
    if (pa) for (let i = 0; i < rows; i++) if (kind[i] <= STORE && pa[i] === PA_UNKNOWN) counts.unknownPa++;
    yield batch;
  }
}

/** The document of the cut: that of the trace, with what has changed. */
async function documentOf(
  { path, metadata, columns }: TraceReader,
  selection: Selection,
  counts: ReturnType<typeof noRows> & { unknownPa: number },
  { description }: CutOptions,
): Promise<TraceMetadata> {
  const known = metadata ?? metadataWith();
  const input = await openInput(path);
  const digest = await input.digest().finally(() => input.close());
  const { unknownPa, ...rows } = counts;
  return {
    ...known,
    phases: known.phases.filter(({ number }) => selection.phases.has(number)),
    filters: [...known.filters, description],
    history: [...known.history, { step: 'cut', input: [digest] }],
    // What else was counted was counted of the whole.
    counts: columns.includes('pa') ? { ...rows, unknownPa } : rows,
  };
}
