// What every writer of a foreign format offers to convert.ts.

import { type Batch, type ColumnName } from '../batch.js';
import { type TraceMetadata } from '../metadata.js';

/** What an exporter is given beside the rows. */
export interface ExportOptions {
  /** Columns that the rows have. */
  columns: readonly ColumnName[];
  /** What is known about the trace before its rows are read. */
  metadata: TraceMetadata;
  /** The whole document of the trace, to be asked for after its last row. */
  document(): Promise<TraceMetadata>;
  /** Name of the output, for messages. */
  output: string;
  /** The format's own options that the user gave, by name; only names that the format lists. */
  set: Readonly<Record<string, string>>;
  /** Tells the user something that is no error: what the format cannot hold, counted. */
  warn(message: string): void;
}

export interface TraceExporter {
  name: string;
  description: string;
  /** What of a trace it cannot hold; empty where it holds everything. */
  loses: string;
  /** Its own options, `--set name=value`: what each one does. */
  options?: Readonly<Record<string, string>>;
  /**
   * The bytes of the file, in pieces. A batch is valid until the next one is asked for, and so is a piece. Throws
   * InputError for a row that the format cannot hold in any way.
   */
  encode(batches: AsyncIterable<Batch>, options: ExportOptions): AsyncIterable<Uint8Array>;
}
