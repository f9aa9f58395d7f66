// DynamoRIO drmemtrace, offline, post-processed: clients/drcachesim/common/trace_entry.h (`trace_entry_t`), read as
// clients/drcachesim/reader/reader.cpp does. Records, little-endian, packed:
//   offset 0  u16  type       2  u16  size: bytes of an access, instructions of a bundle, or which marker
//          4  u64  address, of a marker its value        (32-bit targets: u32, records of 8 bytes)
//     1900 0000 0700000000000000      HEADER, version 7
//     1c00 0c00 0700000000000000      MARKER, VERSION: 7
//     0a00 0300 700bf518727f0000      INSTR, 3 bytes at 0x7f7218f50b70
// A file is those records plain, packed, or in a zip as members chunk.00000000, chunk.00000001 ... of a number of
// instructions each. There is one file per thread, or per core (core-sharded); timestamps put them in order.
// Prefetches, flushes and markers are counted; code bytes and branch targets are passed over.

import { basename } from 'node:path';
import { type Batch } from '../batch.js';
import { recordBlocks } from '../blocks.js';
import { InputError, UsageError } from '../errors.js';
import { type ParseOptions, type Parsed, type TraceFormat } from '../format.js';
import { peek, type Input } from '../input.js';
import { type TraceMetadata } from '../metadata.js';
import { describe } from '../sniff.js';
import { firstMember, unzip } from '../unpack/zip.js';
import { shortId } from './drmemtrace/context.js';
import { traceFiles } from './drmemtrace/folder.js';
import { RecordParser } from './drmemtrace/parser.js';
import { FILETYPE, NARROW_BYTES, RECORD_BYTES, UNKNOWN_FILETYPE } from './drmemtrace/records.js';
import { hasKernel, recordBytesOf, survey } from './drmemtrace/survey.js';

/** Records of a block: about as many rows as a batch has. */
const BLOCK_RECORDS = 65_536;
const CHUNK = /^chunk\.(\d+)$/;
/** A file of one core; the number is the core's. */
const CORE_FILE = /\.core\.(\d+)\./;

/** The bytes of the records in the chunks of a zip. */
function chunkBytes(input: Input, taken: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  let next = 0;
  const visit = (name: string) => {
    const number = CHUNK.exec(name)?.[1];
    if (number === undefined || Number(number) !== next++) {
      throw new InputError({
        source: input.path,
        at: `member "${name}"`,
        expected: `chunk.${next - 1} of a drmemtrace`,
        found: 'another name',
      });
    }
  };
  return unzip(input.seekable('the directory of a zip is at its end'), visit, taken);
}

/** Records of 32-bit targets with their addresses and values widened, block by block. */
async function* widened(blocks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const wide = new Uint32Array((BLOCK_RECORDS * RECORD_BYTES) / 4);
  for await (const block of blocks) {
    const narrow = new Uint32Array(block.buffer as ArrayBuffer, block.byteOffset, block.length / 4);
    for (let from = 0, to = 0; from < narrow.length; from += 2, to += 3) {
      wide[to] = narrow[from];
      wide[to + 1] = narrow[from + 1];
    }
    yield new Uint8Array(wide.buffer, 0, (block.length / NARROW_BYTES) * RECORD_BYTES);
  }
}

async function* rows(blocks: AsyncIterable<Uint8Array>, parser: RecordParser, oneCore: boolean): AsyncGenerator<Batch> {
  for await (const block of blocks) {
    const words = new Uint32Array(block.buffer as ArrayBuffer, block.byteOffset, block.length / 4);
    for (let at = 0; at < words.length;) {
      at = parser.parse(words, at);
      if (parser.full) yield* parser.take();
    }
  }
  yield* parser.take();
  parser.end(oneCore);
}

/** A yes/no option. */
function flag(set: ParseOptions['set'], name: string): boolean {
  const value = set[name] ?? 'no';
  if (value === 'yes' || value === 'no') return value === 'yes';
  throw new UsageError(`--set ${name}=${value}: expected yes or no`);
}

/** Whether CPU_ID markers count. */
function recordedCpus(set: ParseOptions['set']): boolean {
  const value = set.cpu ?? 'recorded';
  if (value === 'recorded' || value === 'thread') return value === 'recorded';
  throw new UsageError(`--set cpu=${value}: expected recorded or thread`);
}

/** What the type of a file says that its rows do not. */
function remarks(filetype: number): { filters: string[]; notes: string[] } {
  const has = (...bits: number[]) => bits.some((bit) => (filetype & bit) !== 0);
  const until = has(FILETYPE.BIMODAL_FILTERED_WARMUP) ? ', up to the marker FILTER_ENDPOINT' : '';
  const filters: string[] = [];
  if (has(FILETYPE.FILTERED, FILETYPE.IFILTERED)) filters.push(`fetches that hit a small cache left out${until}`);
  if (has(FILETYPE.FILTERED, FILETYPE.DFILTERED)) filters.push(`data accesses that hit a small cache left out${until}`);
  if (has(FILETYPE.INSTRUCTION_ONLY)) filters.push('data accesses left out');
  const notes: string[] = [];
  if (has(FILETYPE.ARCH_REGDEPS))
    notes.push('instructions are of the synthetic DR_ISA_REGDEPS; addresses are as they were');
  if (has(FILETYPE.KERNEL_SYSCALL_INSTR_ONLY)) notes.push('the kernel has fetches only');
  if (has(FILETYPE.KERNEL_SYSCALL_TRACE_TEMPLATES)) notes.push('templates of system calls, not the trace of a program');
  return { filters, notes };
}

function archOf(filetype: number): TraceMetadata['arch'] {
  if (filetype & FILETYPE.X86_64) return 'x86-64';
  return filetype & FILETYPE.AARCH64 ? 'arm64' : null;
}

async function parse(input: Input, options: ParseOptions): Promise<Parsed> {
  if (firstMember(input.head) === undefined) return parseRecords(input, options, input.head, input.chunks);
  let taken = 0;
  const unzipped = chunkBytes(input, (bytes) => (taken = bytes));
  const { head, chunks } = await peek(unzipped);
  try {
    return { ...parseRecords(input, options, head, chunks), taken: () => taken };
  } catch (error) {
    await unzipped.return(undefined);
    throw error;
  }
}

/** Parses records of which `head` is the start. */
function parseRecords(
  input: Input,
  options: ParseOptions,
  head: Uint8Array,
  chunks: AsyncIterable<Uint8Array>,
): Parsed {
  const recorded = recordedCpus(options.set);
  const forced = { physical: flag(options.set, 'pa'), kernel: flag(options.set, 'mode') };
  const width = recordBytesOf(head);
  if (width === undefined) {
    throw new InputError({
      source: input.path,
      at: 'record 0',
      expected: 'a HEADER record with a version, then a marker or a THREAD record',
      found: describe(head),
      advice: 'drmemtrace wants files that drrun -t drmemtrace -offline left in trace/',
    });
  }
  const start = survey(head, width);
  const { filetype } = start;
  const unknown = (filetype & UNKNOWN_FILETYPE) >>> 0;
  if (unknown) options.warn(`${input.path}: its FILETYPE has bits that are not known: 0x${unknown.toString(16)}`);
  const { filters, notes } = remarks(filetype);
  for (const filter of filters) options.warn(`${input.path}: captured with ${filter}; counts are of what is left`);
  const oneCore = (filetype & FILETYPE.CORE_SHARDED) !== 0;
  if (oneCore && !recorded) throw new UsageError(`--set cpu=thread: ${input.path} is the trace of one core`);
  const name = oneCore ? CORE_FILE.exec(basename(input.path)) : null;
  const core = name ? Number(name[1]) : null;
  if (core !== null) options.threads.ran(core);
  const parser = new RecordParser(
    input.path,
    { physical: 'convert it with --set pa=yes', kernel: 'convert it with --set mode=yes' },
    { oneCore, core, recorded, threads: options.threads },
    { physical: forced.physical || start.physical, kernel: forced.kernel || hasKernel(filetype) },
  );
  // Files are read side by side: their threads are numbered here, where the order is that of the files.
  if (core === null && start.thread && !(recorded && start.cpuKnown)) {
    options.threads.cpuOf(shortId(start.thread.low, start.thread.high));
  }
  const blocks = recordBlocks(chunks, width, BLOCK_RECORDS, input.path);
  return {
    columns: parser.columns,
    batches: rows(width === NARROW_BYTES ? widened(blocks) : blocks, parser, oneCore),
    metadata: () => ({
      arch: archOf(filetype),
      source: { tool: 'DynamoRIO drmemtrace', command: null, input: [] },
      cpus: options.threads.cpusUsed || null,
      clock: 'microseconds since 1601-01-01 UTC',
      filters,
      notes: [...notes, ...parser.context.notes()],
      counts: parser.tally.counts(),
    }),
  };
}

export const drmemtrace: TraceFormat = {
  name: 'drmemtrace',
  description: 'DynamoRIO drmemtrace after post-processing: a file, or a folder with one per thread',
  addresses: 'virtual, user (kernel where it was traced); physical with -use_physical',
  options: {
    cpu: 'recorded (default): the CPU of the last CPU_ID marker; thread: thread k on CPU k modulo the CPUs of --meta',
    pa: 'yes: physical addresses, where the file does not begin with any',
    mode: 'yes: user or kernel, where the file does not say that it has both',
  },
  concurrent: true,
  detect(head) {
    const member = firstMember(head);
    return member === undefined ? recordBytesOf(head) !== undefined : CHUNK.test(member);
  },
  folder: traceFiles,
  parse,
};
