// The records of drmemtrace for the rows of a trace (formats/drmemtrace.ts has their layout), written into one buffer.

import { FETCH, LOAD, STORE, type Batch, type ColumnName } from '../../batch.js';
import { InputError } from '../../errors.js';
import { PhysicalPages } from '../../formats/drmemtrace/physical.js';
import { FILETYPE, MARKER, RECORD_BYTES, TYPE } from '../../formats/drmemtrace/records.js';
import { type TraceMetadata } from '../../metadata.js';
import { wordsOf } from '../text.js';

const VERSION = 3;
const PAGE_SHIFT = 12;
const PAGE_BYTES = 1 << PAGE_SHIFT;
const CACHE_LINE_BYTES = 64;
/** A CPU_ID has 12 bits for the CPU. */
const MAX_CPU = 0xfff;
const WORDS = RECORD_BYTES / 4;
/** Records of a piece; one row makes no more of them than `ROW_RECORDS`. */
const PIECE_RECORDS = 65_536;
const ROW_RECORDS = 16;
/** Thread and process of a trace that names none. */
const ONLY_THREAD = 1;
/** Bytes of a fetch whose size is not known: a fetch of none would be no fetch. */
const UNKNOWN_FETCH_BYTES = 1;
const NO_TYPE = 0xffff;
const TYPE_OF = new Uint16Array(256).fill(NO_TYPE);
TYPE_OF[FETCH] = TYPE.INSTR;
TYPE_OF[LOAD] = TYPE.READ;
TYPE_OF[STORE] = TYPE.WRITE;

/** What the records so far say about the next access. */
interface Context {
  tid: number;
  pid: number;
  cpu: number;
  timeLow: number;
  timeHigh: number;
}

function hex(low: number, high: number): string {
  return `0x${((BigInt(high) << 32n) | BigInt(low)).toString(16)}`;
}

export class RecordWriter {
  /** Rows that are no access. */
  dropped = 0;
  /** Fetches of unknown size. */
  sizeless = 0;
  private readonly words = new Uint32Array(PIECE_RECORDS * WORDS);
  private fill = 0;
  /** Records that DynamoRIO's reader shows its users. */
  private shown = 0;
  private rowsSeen = 0;
  private instructions = 0;
  private readonly context: Context = { tid: -1, pid: -1, cpu: -1, timeLow: -1, timeHigh: -1 };
  private readonly spaces = new Map<number, PhysicalPages>();

  /** `chunkInstructions`: null when there are no chunks. */
  constructor(
    private readonly output: string,
    private readonly metadata: TraceMetadata,
    private readonly chunkInstructions: number | null,
  ) {}

  /** Whether the records are to be taken before more rows are written. */
  get isFull(): boolean {
    return this.fill + ROW_RECORDS * WORDS > this.words.length;
  }

  /** Whether the chunk has all its instructions. */
  get atChunkEnd(): boolean {
    return this.chunkInstructions !== null && this.instructions >= this.chunkInstructions;
  }

  /** The records since the last call, valid until the next ones are written. */
  take(): Uint8Array {
    const bytes = new Uint8Array(this.words.buffer, 0, this.fill * 4);
    this.fill = 0;
    return bytes;
  }

  header(): void {
    const { arch } = this.metadata;
    this.record(TYPE.HEADER, 0, VERSION, 0);
    this.marker(MARKER.VERSION, VERSION);
    this.marker(MARKER.FILETYPE, arch === 'x86-64' ? FILETYPE.X86_64 : arch === 'arm64' ? FILETYPE.AARCH64 : 0);
  }

  footer(): void {
    if (this.context.tid >= 0) this.record(TYPE.THREAD_EXIT, 4, this.context.tid, 0);
    this.record(TYPE.FOOTER, 0, 0, 0);
  }

  chunkFooter(chunk: number): void {
    this.marker(MARKER.CHUNK_FOOTER, chunk);
  }

  /** What a chunk begins with: how many records came before, and the time and CPU once more. */
  chunkHeader(): void {
    const { timeLow, timeHigh, cpu } = this.context;
    this.marker(MARKER.RECORD_ORDINAL, this.shown % 2 ** 32, Math.floor(this.shown / 2 ** 32));
    this.marker(MARKER.TIMESTAMP, timeLow, timeHigh);
    this.marker(MARKER.CPU_ID, cpu);
    // The reader shows none of the three.
    this.shown -= 3;
    this.instructions = 0;
  }

  /** Writes rows from `row` on until the buffer or the chunk is full; returns the row after them. */
  rows(batch: Batch, row: number): number {
    const va = wordsOf(batch.va);
    const pa = batch.pa && wordsOf(batch.pa);
    const time = batch.time && wordsOf(batch.time);
    const { kind, cpu, tid, asid, size } = batch;
    const fixed = {
      tid: this.constant('tid', ONLY_THREAD),
      asid: this.constant('asid', ONLY_THREAD),
      time: this.constant('time', 0),
      size: this.constant('size', 0),
    };
    const first = row;
    for (; row < batch.rows && !this.isFull && !this.atChunkEnd; row++) {
      const type = TYPE_OF[kind[row]];
      if (type === NO_TYPE) {
        this.dropped++;
        continue;
      }
      this.enter(
        tid ? tid[row] : fixed.tid,
        asid ? asid[row] : fixed.asid,
        cpu[row],
        time ? time[2 * row] : fixed.time % 2 ** 32,
        time ? time[2 * row + 1] : Math.floor(fixed.time / 2 ** 32),
        this.rowsSeen + row - first,
      );
      const low = va[2 * row];
      const high = va[2 * row + 1];
      if (pa) this.report(low, high, pa[2 * row], pa[2 * row + 1], this.rowsSeen + row - first);
      let bytes = size ? size[row] : fixed.size;
      if (type === TYPE.INSTR) {
        this.instructions++;
        if (bytes === 0) {
          this.sizeless++;
          bytes = UNKNOWN_FETCH_BYTES;
        }
      }
      this.record(type, bytes, low, high);
    }
    this.rowsSeen += row - first;
    return row;
  }

  /** The value of a column that the trace does not have. */
  private constant(column: ColumnName, otherwise: number): number {
    return this.metadata.constants[column] ?? otherwise;
  }

  /** Writes what an access's thread, process, CPU and time change. */
  private enter(tid: number, pid: number, cpu: number, timeLow: number, timeHigh: number, row: number): void {
    const { context } = this;
    const first = context.tid < 0;
    const switched = context.tid !== tid || context.pid !== pid;
    if (switched) {
      this.record(TYPE.THREAD, 4, tid, 0);
      this.record(TYPE.PID, 4, pid, 0);
      context.tid = tid;
      context.pid = pid;
    }
    if (first) {
      this.marker(MARKER.CACHE_LINE_SIZE, CACHE_LINE_BYTES);
      if (this.chunkInstructions !== null) this.marker(MARKER.CHUNK_INSTR_COUNT, this.chunkInstructions);
      this.marker(MARKER.PAGE_SIZE, PAGE_BYTES);
    }
    if (context.timeLow !== timeLow || context.timeHigh !== timeHigh) {
      this.marker(MARKER.TIMESTAMP, timeLow, timeHigh);
      context.timeLow = timeLow;
      context.timeHigh = timeHigh;
    }
    if (!switched && context.cpu === cpu) return;
    if (cpu > MAX_CPU) throw this.cannotHold(row, `a CPU up to ${MAX_CPU}`, `${cpu}`, 'drmemtrace has 12 bits for it');
    this.marker(MARKER.CPU_ID, cpu);
    context.cpu = cpu;
  }

  /** Writes where the page of an access is, unless that is what was written last. */
  private report(low: number, high: number, paLow: number, paHigh: number, row: number): void {
    const { pid } = this.context;
    let pages = this.spaces.get(pid);
    if (!pages) this.spaces.set(pid, (pages = new PhysicalPages(PAGE_SHIFT)));
    const known = paLow !== 0xffff_ffff || paHigh !== 0xffff_ffff;
    if (known && ((paLow ^ low) & (PAGE_BYTES - 1)) !== 0) {
      const expected = `a physical address with the page offset of the virtual one, ${hex(low, high)}`;
      throw this.cannotHold(row, expected, hex(paLow, paHigh), 'drmemtrace has physical addresses by page');
    }
    const frame = known ? pages.pageOf(paLow, paHigh) : -1;
    if (pages.reported(low, high) === frame) return;
    pages.report(low, high, frame);
    if (known) this.marker(MARKER.PHYSICAL_ADDRESS, paLow, paHigh);
    this.marker(known ? MARKER.VIRTUAL_ADDRESS : MARKER.PHYSICAL_ADDRESS_NOT_AVAILABLE, low, high);
  }

  private marker(number: number, low: number, high = 0): void {
    this.record(TYPE.MARKER, number, low, high);
    this.shown++;
  }

  private record(type: number, size: number, low: number, high: number): void {
    const { words, fill } = this;
    words[fill] = type | (size << 16);
    words[fill + 1] = low;
    words[fill + 2] = high;
    this.fill = fill + WORDS;
    if (type < TYPE.THREAD) this.shown++;
  }

  private cannotHold(row: number, expected: string, found: string, advice: string): InputError {
    return new InputError({ source: this.output, at: `row ${row}`, expected, found, advice });
  }
}
