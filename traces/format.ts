// What every reader of a foreign format offers to convert.ts: how to recognise it, and how to turn its bytes into
// batches and into what is known about the capture.

import { type Batch, type ColumnName } from './batch.js';
import { type Input } from './input.js';
import { type TraceMetadata } from './metadata.js';

/** What a format may need beyond the bytes. */
export interface ParseOptions {
  /** Drop accesses to devices, where the format marks them. */
  dropMmio?: boolean;
  /** Add the events that the files beside a capture tell, where the format knows how. */
  derive?: boolean;
  /** Metadata that the user gave; it counts for more than what the format finds out. */
  meta: Partial<TraceMetadata>;
  /** Tells the user something that is no error. */
  warn(message: string): void;
}

/** One input, being parsed. */
export interface Parsed {
  columns: readonly ColumnName[];
  /** A batch is valid until the next one is asked for. */
  batches: AsyncIterable<Batch>;
  /** What the format knows about the capture; complete after the last batch. */
  metadata(): Partial<TraceMetadata>;
}

export interface TraceFormat {
  name: string;
  description: string;
  /** What its addresses are: VA, PA, user or kernel. */
  addresses: string;
  /** Whether the unpacked start of a file looks like this format. */
  detect(head: Uint8Array): boolean;
  parse(input: Input, options: ParseOptions): Promise<Parsed>;
}
