// What every reader of a foreign format offers to convert.ts: how to recognise it, and how to turn its bytes into
// batches and into what is known about the capture.

import { type Batch, type ColumnName } from './batch.js';
import { type Input } from './input.js';
import { type TraceMetadata } from './metadata.js';
import { type Threads } from './threads.js';

/** What a format may need beyond the bytes. */
export interface ParseOptions {
  /** Drop accesses to devices, where the format marks them. */
  dropMmio?: boolean;
  /** Add the events that the files beside a capture tell, where the format knows how. */
  derive?: boolean;
  /** Metadata that the user gave; it counts for more than what the format finds out. */
  meta: Partial<TraceMetadata>;
  /** The format's own options that the user gave, by name; only names that the format lists. */
  set: Readonly<Record<string, string>>;
  /** On which CPU a thread runs where the source does not say; one for all inputs. */
  threads: Threads;
  /** Tells the user something that is no error. */
  warn(message: string): void;
}

/** One input, being parsed. */
export interface Parsed {
  columns: readonly ColumnName[];
  /** A batch is valid until the next one is asked for. */
  batches: AsyncIterable<Batch>;
  /** Bytes of the file used so far, where the format reads the file itself instead of the input's chunks. */
  taken?(): number;
  /** What the format knows about the capture; complete after the last batch. */
  metadata(): Partial<TraceMetadata>;
}

export interface TraceFormat {
  name: string;
  description: string;
  /** What its addresses are: VA, PA, user or kernel. */
  addresses: string;
  /** Its own options, `--set name=value`: what each one does. */
  options?: Readonly<Record<string, string>>;
  /** Whether several inputs ran at the same time: their rows are merged by the column `time`, which all of them have. */
  concurrent?: boolean;
  /** Whether the unpacked start of a file looks like this format. */
  detect(head: Uint8Array): boolean;
  /**
   * The inputs that a folder with the files `names` stands for; undefined when it is none of this format. Throws
   * InputError, with what to do, for a folder of this format that cannot be read as it is.
   */
  folder?(path: string, names: readonly string[]): readonly string[] | undefined;
  parse(input: Input, options: ParseOptions): Promise<Parsed>;
}
