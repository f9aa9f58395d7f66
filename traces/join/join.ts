// Several traces as one (`nodewalk merge`): by time, or one after the other. Columns are united, an absent one filled with
// the constant that it stands for; documents are joined, and where they say different things of the machine it is an
// error. On request the CPUs, address spaces or virtual machines of each trace become others than those of the rest.

import { existsSync, realpathSync } from 'node:fs';
import { type Batch, type ColumnName } from '../batch.js';
import { countRows, noRows } from '../counts.js';
import { InputError, UsageError } from '../errors.js';
import { openInput } from '../input.js';
import { mergeByTime } from '../merge.js';
import { type TraceMetadata } from '../metadata.js';
import { TraceReader } from '../reader.js';
import { inOrder } from '../schema.js';
import { joinedDocument } from './document.js';
import { filledRows, MOST_PARTS, type Part, partsOf, type Separate } from './parts.js';
import { writeTrace, type Written } from '../writer.js';

export interface MergeOptions {
  /** One after the other in the order given, instead of by time. */
  concatenate?: boolean;
  /** Give each trace CPUs, address spaces, virtual machines of its own. */
  separate?: readonly Separate[];
  compress?: 'lz4';
  /** Rows done and rows in all. */
  onProgress?(done: number, total: number): void;
}

export interface Merged extends Written {
  metadata: TraceMetadata;
}

/** Merges the traces `paths` and writes `output`. */
export async function mergeTraces(
  paths: readonly string[],
  output: string,
  options: MergeOptions = {},
): Promise<Merged> {
  if (paths.length > MOST_PARTS)
    throw new UsageError(`merge: expected at most ${MOST_PARTS} traces, found ${paths.length}`);
  for (const path of paths) {
    if (existsSync(path) && existsSync(output) && realpathSync(path) === realpathSync(output))
      throw new UsageError(`${output}: expected an output that is not one of the traces; name another with -o`);
  }
  const readers: TraceReader[] = [];
  try {
    for (const path of paths) readers.push(await TraceReader.open(path));
    const parts = await partsOf(readers, options.separate ?? []);
    const columns = commonColumns(parts, options);
    const document = joinedDocument(
      parts,
      columns,
      options.separate?.includes('cpus') ?? false,
      options.concatenate ?? false,
    );
    if (options.concatenate) await dropBrokenTime(parts, columns, document);
    else checkClocks(parts);

    const counts = noRows();
    const total = readers.reduce((sum, { rows }) => sum + rows, 0);
    const streams = parts.map((part) => filledRows(part, columns));
    const rows = observed(options.concatenate ? chained(streams) : mergeByTime(streams, columns), counts, (done) =>
      options.onProgress?.(done, total),
    );
    let metadata = document;
    const finish = async () => {
      const input = await Promise.all(paths.map(digestOf));
      const history = [...document.history, { step: options.concatenate ? 'concatenate' : 'merge', input }];
      return (metadata = { ...document, history, counts: { ...document.counts, ...counts } });
    };
    return { ...(await writeTrace(output, columns, rows, finish, { compress: options.compress })), metadata };
  } finally {
    await Promise.all(readers.map((reader) => reader.close()));
  }
}

async function digestOf(path: string) {
  const input = await openInput(path);
  return input.digest().finally(() => input.close());
}

/** The columns of all, and those that are absent everywhere but stand for different values. */
function commonColumns(parts: readonly Part[], { separate = [] }: MergeOptions): ColumnName[] {
  const names = new Set(parts.flatMap(({ reader }) => reader.columns));
  if (separate.includes('asids')) names.add('asid');
  if (separate.includes('vms') && parts.some(({ vmOffset }) => vmOffset > 0)) names.add('vm');
  for (const { metadata } of parts) {
    for (const [name, value] of Object.entries(metadata.constants)) {
      if (parts.some((part) => part.metadata.constants[name] !== value)) names.add(name as ColumnName);
    }
  }
  return inOrder([...names]);
}

/** By time goes only what has the same clock. */
function checkClocks(parts: readonly Part[]): void {
  const [first] = parts;
  const advice = '--concatenate puts the traces one after the other';
  for (const { reader, metadata } of parts) {
    const source = reader.path;
    if (!reader.columns.includes('time'))
      throw new InputError({
        source,
        expected: 'a column "time" to merge by',
        found: reader.columns.join(', '),
        advice,
      });
    if (metadata.clock !== first.metadata.clock) {
      const clock = (unit: string | null) => (unit === null ? 'no unit' : `the unit "${unit}"`);
      const expected = `time in ${clock(first.metadata.clock)}, as ${first.reader.path}`;
      throw new InputError({ source, expected, found: clock(metadata.clock), advice });
    }
  }
}

/** Leaves the column out where one trace after the other would make it run backwards. */
async function dropBrokenTime(parts: readonly Part[], columns: ColumnName[], document: TraceMetadata): Promise<void> {
  if (!columns.includes('time')) return;
  let latest = -1n;
  let broken = parts.some(({ reader }) => !reader.columns.includes('time'));
  for (const { reader } of broken ? [] : parts) {
    let last = latest;
    for await (const { rows, time } of reader.batches({ columns: ['time'] })) {
      for (let i = 0; i < rows; i++) {
        if (time![i] < latest) broken = true;
        if (time![i] > last) last = time![i];
      }
    }
    latest = last;
  }
  if (!broken) return;
  columns.splice(columns.indexOf('time'), 1);
  document.clock = null;
  document.notes = [
    ...document.notes,
    'concatenated: the column time is left out, as it would run backwards from trace to trace',
  ];
}

async function* chained(streams: readonly AsyncIterable<Batch>[]): AsyncGenerator<Batch> {
  for (const stream of streams) yield* stream;
}

async function* observed(
  batches: AsyncIterable<Batch>,
  counts: ReturnType<typeof noRows>,
  onRows: (done: number) => void,
): AsyncGenerator<Batch> {
  let done = 0;
  for await (const batch of batches) {
    countRows(batch, counts);
    yield batch;
    onRows((done += batch.rows));
  }
}
