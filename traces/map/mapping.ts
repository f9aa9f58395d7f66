// What gives the accesses of a trace their physical addresses (`convert --map`): pagemaps, page-table dumps, table images.

import { type InputDigest } from '../input.js';
import { type TraceMetadata } from '../metadata.js';

/** A mapping of virtual to physical addresses. */
export interface PageMapping {
  /** Bytes of its smallest page. */
  pageBytes: number;
  /** What it is, for messages and for the trace's notes. */
  source: string;
  /** Pages that it maps; 0: it has no physical addresses at all. */
  size: number;
  /** The physical address of `va`, or -1n where it maps nothing. */
  translate(va: bigint, asid: number): bigint;
  /** What it tells of the machine besides. */
  nodes?: TraceMetadata['nodes'];
  regions?: TraceMetadata['regions'];
  /** The files that it was read from. */
  input?: readonly InputDigest[];
}

/** What a reader of mappings is given. */
export interface MappingOptions {
  /** The options of mappings that the user gave, by name. */
  set: Readonly<Record<string, string>>;
  /** Tells the user something that is no error. */
  warn(message: string): void;
}

/** A kind of file that holds a mapping. */
export interface MappingFormat {
  name: string;
  description: string;
  /** Whether the unpacked start of a file looks like it. */
  detect(head: Uint8Array): boolean;
  /** Reads a file; the caller adds its digest. Throws InputError. */
  read(path: string, options: MappingOptions): Promise<PageMapping>;
}
