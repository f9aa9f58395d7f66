// Several streams of rows as one, ordered by `time`. The order within a stream stays: of the streams' next rows the
// earliest goes first, and where they are equal that of the stream named first. Rows are copied in runs.

import { type Batch, type ColumnName } from './batch.js';
import { BATCH_ROWS } from './batch.js';
import { OPERANDS } from './events.js';
import { columnOf } from './schema.js';

/** A stream's current batch, and how far it is taken. */
class Cursor {
  batch: Batch | null = null;
  /** `time` as pairs of low and high words: comparing BigInts costs much more. */
  private words: Uint32Array = new Uint32Array(0);
  row = 0;
  private readonly batches: AsyncIterator<Batch>;

  constructor(batches: AsyncIterable<Batch>) {
    this.batches = batches[Symbol.asyncIterator]();
  }

  /** Makes a row available unless the stream has ended. */
  async fill(): Promise<void> {
    while (this.batch === null || this.row === this.batch.rows) {
      const next = await this.batches.next();
      if (next.done) {
        this.batch = null;
        return;
      }
      this.batch = next.value;
      this.row = 0;
      const { buffer, byteOffset, length } = next.value.time!;
      this.words = new Uint32Array(buffer, byteOffset, 2 * length);
    }
  }

  async close(): Promise<void> {
    await this.batches.return?.();
  }

  /** Whether this cursor's row `row` comes before the next row of `other`; `first` wins where they are equal. */
  before(row: number, other: Cursor, first: boolean): boolean {
    const { words } = this;
    const at = 2 * other.row;
    const high = words[2 * row + 1] - other.words[at + 1];
    if (high !== 0) return high < 0;
    const low = words[2 * row] - other.words[at];
    return low < 0 || (low === 0 && first);
  }
}

/**
 * Merges streams whose batches have `columns`, `time` among them. A batch is valid until the next one is asked for.
 */
export async function* mergeByTime(
  streams: readonly AsyncIterable<Batch>[],
  columns: readonly ColumnName[],
): AsyncGenerator<Batch> {
  const cursors = streams.map((stream) => new Cursor(stream));
  const out = { rows: 0 } as Batch;
  for (const name of columns) Object.assign(out, { [name]: new (columnOf(name).array)(BATCH_ROWS) });
  /** A row of operands belongs to the row before it: its stream stays chosen. */
  let chosen = -1;
  try {
    await Promise.all(cursors.map((cursor) => cursor.fill()));
    for (;;) {
      const current = cursors[chosen];
      const bound = current?.batch?.kind[current.row] === OPERANDS;
      if (!bound) chosen = earliest(cursors);
      if (chosen < 0) break;
      const cursor = cursors[chosen];
      const batch = cursor.batch!;
      const rival = second(cursors, chosen);
      const limit = Math.min(batch.rows, cursor.row + BATCH_ROWS - out.rows);
      let end = cursor.row + 1;
      while (
        end < limit &&
        (rival < 0 || batch.kind[end] === OPERANDS || cursor.before(end, cursors[rival], chosen < rival))
      ) {
        end++;
      }
      for (const name of columns) {
        (out[name] as Uint8Array).set(batch[name]!.subarray(cursor.row, end) as Uint8Array, out.rows);
      }
      out.rows += end - cursor.row;
      cursor.row = end;
      if (out.rows === BATCH_ROWS) {
        yield out;
        out.rows = 0;
      }
      await cursor.fill();
    }
    if (out.rows > 0) {
      const rest = { rows: out.rows } as Batch;
      for (const name of columns) Object.assign(rest, { [name]: out[name]!.subarray(0, out.rows) });
      yield rest;
    }
  } finally {
    await Promise.all(cursors.map((cursor) => cursor.close()));
  }
}

/** The cursor with the earliest next row; -1 when all have ended. */
function earliest(cursors: readonly Cursor[]): number {
  return second(cursors, -1);
}

/** The cursor with the earliest next row of all but `except`; -1 when there is none. */
function second(cursors: readonly Cursor[], except: number): number {
  let best = -1;
  for (let i = 0; i < cursors.length; i++) {
    if (i === except || cursors[i].batch === null) continue;
    if (best < 0 || cursors[i].before(cursors[i].row, cursors[best], false)) best = i;
  }
  return best;
}
