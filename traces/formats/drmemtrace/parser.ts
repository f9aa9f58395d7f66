// Turns the records of one drmemtrace into rows, by the rules of DynamoRIO's own reader (clients/drcachesim/reader/reader.cpp,
// process_input_entry): what is a fetch, what only says where the next access is from, what belongs to the start of a chunk.

import { BATCH_ROWS, FETCH, LOAD, STORE, type Batch, type ColumnName } from '../../batch.js';
import { InputError } from '../../errors.js';
import { Rows } from '../../rows.js';
import { Context, type CpuRule } from './context.js';
import { PhysicalPages } from './physical.js';
import { MARKER, NEWEST_VERSION, OLDEST_VERSION, RECORD_BYTES, TYPE } from './records.js';
import { Tally } from './tally.js';

const WORDS = RECORD_BYTES / 4;
/** Instructions that a bundle may have: it has a byte for the length of each. */
const MAX_BUNDLE = 8;
const DEFAULT_PAGE_SHIFT = 12;

/** What the loop does with a record, by type: 0 to 2 are kinds of rows. */
const ENCODING = 3;
const OTHER = 4;
const ACTION = new Uint8Array(1 << 16).fill(OTHER);
ACTION.fill(FETCH, TYPE.INSTR, TYPE.RETURN + 1);
for (const type of [TYPE.SYSENTER, TYPE.TAKEN_JUMP, TYPE.UNTAKEN_JUMP]) ACTION[type] = FETCH;
ACTION[TYPE.READ] = LOAD;
ACTION[TYPE.WRITE] = STORE;
ACTION[TYPE.ENCODING] = ENCODING;

function isPrefetch(type: number): boolean {
  return (
    (type >= TYPE.PREFETCH && type <= TYPE.PREFETCH_INSTR) ||
    (type >= TYPE.PREFETCH_READ_L1_NT && type <= TYPE.PREFETCH_WRITE_L3_NT) ||
    type === TYPE.HARDWARE_PREFETCH
  );
}

export class RecordParser {
  readonly columns: readonly ColumnName[];
  readonly context: Context;
  readonly tally = new Tally();
  private readonly rows: Rows;
  /** Records before those being parsed. */
  private records = 0;
  private lastType = 0;
  /** Address (two words) and size of the last instruction, fetched or not. */
  private readonly last = new Uint32Array(3);
  /** Whether code bytes came since the last instruction. */
  private encoded = 0;
  private pageShift = DEFAULT_PAGE_SHIFT;
  /** Physical pages by process: each has its own. */
  private readonly spaces = new Map<number, PhysicalPages>();
  private pages: PhysicalPages | null = null;
  /** The frame of the page that the next VIRTUAL_ADDRESS names. */
  private physical: { low: number; high: number } | null = null;
  /** The high half of the next marker's value, and the record that has it. */
  private split: { record: number; value: number } | null = null;
  private chunked = false;
  /** Threads whose chunk ended: the next one begins with their last timestamp and CPU once more. */
  private readonly atChunkStart = new Set<number>();

  constructor(
    private readonly source: string,
    private readonly advise: { physical: string; kernel: string },
    rule: CpuRule,
    private readonly has: { physical: boolean; kernel: boolean },
  ) {
    this.columns = [
      ...(['cpu', 'kind', 'va', 'size', 'asid', 'tid', 'time'] as const),
      ...(has.physical ? (['pa'] as const) : []),
      ...(has.kernel ? (['mode'] as const) : []),
    ];
    this.rows = new Rows(this.columns);
    this.context = new Context(rule);
  }

  /** Parses records from word `at` on until they end or the batch is full; returns where it stopped. */
  parse(words: Uint32Array, at: number): number {
    const { last, tally, rows } = this;
    const { kind, vaWords, size } = rows;
    const { physical } = this.has;
    const first = at;
    let n = rows.count;
    for (; at < words.length && n < BATCH_ROWS; at += WORDS) {
      const head = words[at];
      const action = ACTION[head & 0xffff];
      if (action === ENCODING) {
        this.encoded = 1;
        continue;
      }
      const low = words[at + 1];
      const high = words[at + 2];
      if (action === OTHER) {
        rows.count = n;
        this.other(head & 0xffff, head >>> 16, low, high, this.records + (at - first) / WORDS);
        n = rows.count;
        continue;
      }
      const bytes = head >>> 16;
      if (action === FETCH) {
        // No fetch: only where the next access is from.
        if (bytes === 0) continue;
        tally.encodings += this.encoded;
        this.encoded = 0;
        last[0] = low;
        last[1] = high;
        last[2] = bytes;
      }
      kind[n] = action;
      vaWords[2 * n] = low;
      vaWords[2 * n + 1] = high;
      size[n] = bytes;
      if (physical) this.translate(n, low, high);
      n++;
    }
    rows.count = n;
    this.records += (at - first) / WORDS;
    if (at > first) this.lastType = words[at - WORDS] & 0xffff;
    return at;
  }

  /** Whether a batch is to be taken before more is parsed. */
  get full(): boolean {
    return this.rows.full;
  }

  /** Hands on the rows of a batch, if there are any, and begins the next one. */
  *take(): Generator<Batch, void> {
    this.fill(this.records);
    if (this.rows.count > 0) yield* this.rows.take();
    this.context.restart(this.rows);
  }

  /** Throws InputError when the records end where no file does. */
  end(oneCore: boolean): void {
    if (this.lastType === TYPE.FOOTER || oneCore) return;
    throw this.malformed(this.records, 'a FOOTER record at the end', 'the end of the file', 'the file is truncated');
  }

  /** Any record that is neither an access nor code bytes. */
  private other(type: number, size: number, low: number, high: number, record: number): void {
    const { tally, context, last } = this;
    switch (type) {
      case TYPE.MARKER:
        this.marker(size, low, high | this.highHalf(record), record);
        break;
      case TYPE.MAYBE_FETCH:
      case TYPE.NO_FETCH:
        if (size === 0) break;
        tally.encodings += this.encoded;
        this.encoded = 0;
        // A string instruction is fetched once, however often it repeats.
        if (type === TYPE.NO_FETCH || (last[0] === low && last[1] === high && last[2] !== 0)) tally.noFetch++;
        else this.fetch(low, high, size);
        last[0] = low;
        last[1] = high;
        last[2] = size;
        break;
      case TYPE.BUNDLE:
        this.bundle(size, low, high, record);
        break;
      case TYPE.THREAD:
      case TYPE.THREAD_EXIT:
        this.fill(record);
        context.thread(low, high);
        this.enterSpace();
        break;
      case TYPE.PID:
        this.fill(record);
        context.process(low, high);
        this.enterSpace();
        break;
      case TYPE.INSTR_FLUSH:
      case TYPE.INSTR_FLUSH_END:
        // A flush without a size is ended by another record.
        if (size !== 0 || type === TYPE.INSTR_FLUSH_END) tally.instructionFlushes++;
        break;
      case TYPE.DATA_FLUSH:
      case TYPE.DATA_FLUSH_END:
        if (size !== 0 || type === TYPE.DATA_FLUSH_END) tally.dataFlushes++;
        break;
      case TYPE.HEADER:
        if (record !== 0) throw this.malformed(record, 'one HEADER record at the start', 'another');
        this.checkVersion(low, high, record);
        break;
      case TYPE.FOOTER:
        break;
      default:
        if (!isPrefetch(type)) {
          throw this.malformed(record, `a type from 0 to ${TYPE.UNTAKEN_JUMP}`, `${type}`);
        }
        tally.prefetches++;
    }
  }

  /** The high half of a marker's value, where the record before it is one that has it. */
  private highHalf(record: number): number {
    const { split } = this;
    this.split = null;
    if (!split) return 0;
    if (split.record === record - 1) return split.value;
    throw this.malformed(record, 'the marker whose value SPLIT_VALUE began right after it', 'others in between');
  }

  private marker(number: number, low: number, highBits: number, record: number): void {
    const { context, tally } = this;
    const high = highBits >>> 0;
    if (this.isChunkStart(number)) return;
    tally.marker(number);
    switch (number) {
      case MARKER.SPLIT_VALUE:
        this.split = { record, value: low };
        break;
      case MARKER.TIMESTAMP:
        this.fill(record);
        context.time = (BigInt(high) << 32n) | BigInt(low);
        break;
      case MARKER.CPU_ID:
        this.fill(record);
        context.cpuIs(low, high);
        break;
      case MARKER.VERSION:
        this.checkVersion(low, high, record);
        break;
      case MARKER.PHYSICAL_ADDRESS:
        this.physical = { low, high };
        break;
      case MARKER.VIRTUAL_ADDRESS:
      case MARKER.PHYSICAL_ADDRESS_NOT_AVAILABLE:
        this.mapped(number, low, high, record);
        break;
      case MARKER.PAGE_SIZE:
        this.setPageSize(low, high, record);
        break;
      case MARKER.CHUNK_INSTR_COUNT:
        this.chunked = low !== 0 || high !== 0;
        break;
      case MARKER.CHUNK_FOOTER:
        if (this.chunked && context.tid !== null) this.atChunkStart.add(context.tid);
        break;
      case MARKER.SYSCALL_TRACE_START:
      case MARKER.SYSCALL_TRACE_END:
      case MARKER.CONTEXT_SWITCH_START:
      case MARKER.CONTEXT_SWITCH_END:
      case MARKER.HARDWARE_EVENT:
      case MARKER.HARDWARE_CONTEXT_RETURN:
        this.fill(record);
        if (context.transfer(number) && !this.has.kernel) {
          throw this.malformed(
            record,
            'no kernel code in a file whose FILETYPE names none',
            `marker ${number}`,
            this.advise.kernel,
          );
        }
    }
  }

  /** Whether this is the timestamp or the CPU that a chunk repeats from the one before. */
  private isChunkStart(number: number): boolean {
    if (this.atChunkStart.size === 0 || (number !== MARKER.TIMESTAMP && number !== MARKER.CPU_ID)) return false;
    const tid = this.context.tid;
    if (tid === null || !this.atChunkStart.has(tid)) return false;
    if (number === MARKER.CPU_ID) this.atChunkStart.delete(tid);
    return true;
  }

  /** The address of the page that a PHYSICAL_ADDRESS came before, or that has none. */
  private mapped(number: number, low: number, high: number, record: number): void {
    const { physical } = this;
    this.physical = null;
    if (number === MARKER.VIRTUAL_ADDRESS && !physical) {
      throw this.malformed(record, 'a PHYSICAL_ADDRESS before a VIRTUAL_ADDRESS', 'none');
    }
    if (!this.has.physical) {
      throw this.malformed(
        record,
        'no physical addresses in a file that begins without',
        `marker ${number}`,
        this.advise.physical,
      );
    }
    if (!this.pages) throw this.malformed(record, 'THREAD and PID records before physical addresses', 'none');
    const known = number === MARKER.VIRTUAL_ADDRESS ? physical : null;
    this.pages.report(low, high, known ? this.pages.pageOf(known.low, known.high) : -1);
  }

  private setPageSize(low: number, high: number, record: number): void {
    const shift = 31 - Math.clz32(low);
    if (high !== 0 || low !== (1 << shift) >>> 0 || shift < DEFAULT_PAGE_SHIFT) {
      const found = `0x${((BigInt(high) << 32n) | BigInt(low)).toString(16)}`;
      throw this.malformed(record, 'a page size that is a power of two from 4096 on', found);
    }
    if (shift === this.pageShift) return;
    this.pageShift = shift;
    this.spaces.clear();
    this.enterSpace();
  }

  /** Takes the pages of the process that the records are now of. */
  private enterSpace(): void {
    const { pid } = this.context;
    if (!this.has.physical || pid === null) return;
    let pages = this.spaces.get(pid);
    if (!pages) this.spaces.set(pid, (pages = new PhysicalPages(this.pageShift)));
    this.pages = pages;
  }

  /** Instructions that follow the last one, each as long as a byte says. */
  private bundle(count: number, low: number, high: number, record: number): void {
    const { last } = this;
    if (last[2] === 0 || count > MAX_BUNDLE) {
      throw this.malformed(record, `an instruction, then a bundle of at most ${MAX_BUNDLE}`, `a bundle of ${count}`);
    }
    for (let i = 0; i < count; i++) {
      const length = ((i < 4 ? low : high) >>> (8 * (i & 3))) & 0xff;
      if (length === 0) throw this.malformed(record, 'instructions with a length in a bundle', 'one of 0 bytes');
      const next = last[0] + last[2];
      if (next > 0xffff_ffff) last[1]++;
      last[0] = next;
      last[2] = length;
      this.fetch(last[0], last[1], length);
    }
  }

  private fetch(low: number, high: number, bytes: number): void {
    const row = this.rows.add(FETCH, low, high);
    this.rows.size[row] = bytes;
    if (this.has.physical) this.translate(row, low, high);
  }

  private translate(row: number, low: number, high: number): void {
    const { pages, rows } = this;
    // Without pages there is no process either, which is an error when the row is filled.
    if (pages !== null && !pages.translate(low, high, rows.paWords, 2 * row)) this.tally.unknownPa++;
  }

  /** Fills the rows so far with the context, which is about to change in `record`. */
  private fill(record: number): void {
    const { context, rows } = this;
    if ((context.tid === null || context.pid === null) && context.lacks(rows)) {
      throw this.malformed(record, 'THREAD and PID records before accesses', 'accesses without');
    }
    context.fill(rows);
  }

  private checkVersion(low: number, high: number, record: number): void {
    if (high === 0 && low >= OLDEST_VERSION && low <= NEWEST_VERSION) return;
    throw this.malformed(
      record,
      `version ${OLDEST_VERSION} to ${NEWEST_VERSION} of the format`,
      high === 0 ? `version ${low}` : 'no version',
      'only these are known',
    );
  }

  private malformed(record: number, expected: string, found: string, advice = 'the file is damaged'): InputError {
    return new InputError({ source: this.source, at: `record ${record}`, expected, found, advice });
  }
}
