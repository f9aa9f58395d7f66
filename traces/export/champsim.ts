// ChampSim's records of 64 bytes (traces/formats/champsim.ts), of one CPU: a fetch row and the loads and stores after it
// up to the next fetch are an instruction. It has 4 slots for loads and 2 for stores; where they do not suffice, a
// further record with the same address takes the rest. Where the next instruction is not the one that follows in
// memory, it is marked as a taken branch, with the registers by which ChampSim knows a conditional one; a fetch without a
// size is none.

import { FETCH, LOAD, STORE, type Batch } from '../batch.js';
import { UsageError } from '../errors.js';
import { type ExportOptions, type TraceExporter } from './format.js';
import { wordsOf } from './text.js';

const RECORD_BYTES = 64;
const WORDS = RECORD_BYTES / 4;
const PIECE_RECORDS = 16_384;
/** 32-bit words of a record where the slots are. */
const STORES = 4;
const LOADS = 8;
/** The words with the flags of a taken branch and with its registers: the instruction pointer (26) and the flags (25). */
const BRANCH = 0x001a_0101;
const BRANCH_SOURCES = 0x0000_191a;
/** The instruction of accesses that no fetch came before. */
const NO_CODE = 0x40_0000;

/** What the format could not hold, by what it was. */
class Losses {
  events = 0;
  otherCpus = 0;
  zero = 0;
  repeated = 0;
  instructions = 0;
  reordered = 0;
  noCode = 0;

  tell({ output, warn }: ExportOptions, cpu: number): void {
    const say = (count: number, what: string) => count > 0 && warn(`${output}: ${count} ${what}`);
    say(this.otherCpus, `rows of other CPUs than ${cpu} left out: a file is of one CPU; --set cpu=N names another`);
    say(this.events, 'rows of events left out');
    say(this.zero, 'accesses to address 0 left out: 0 is an empty slot');
    say(this.noCode, `accesses before any fetch are of an instruction put at 0x${NO_CODE.toString(16)}`);
    say(this.repeated, 'instructions repeated, for more loads or stores than a record has slots');
    say(this.instructions, 'instructions left out: fetch rows stand for several');
    say(this.reordered, 'instructions whose loads go before stores that came first');
  }
}

/** Records being filled; the last one stays open until the next fetch is known. */
class Records {
  private readonly words = new Uint32Array(WORDS * (PIECE_RECORDS + 1));
  /** Word where the open record begins, and one behind it. */
  private at = -1;
  private end = 0;
  private loads = 0;
  private stores = 0;
  /** Address behind the open instruction. */
  private nextLow = 0;
  private nextHigh = 0;
  private reordered = false;
  /** Whether the open instruction was fetched, and its length is known. */
  private fetched = false;
  private sized = false;

  constructor(private readonly losses: Losses) {}

  get full(): boolean {
    return this.end >= WORDS * PIECE_RECORDS;
  }

  /** The closed records, or all, valid until something is written. */
  take(all: boolean): Uint8Array {
    const closed = all || this.at < 0 ? this.end : this.at;
    const piece = new Uint8Array(this.words.buffer, 0, 4 * closed).slice();
    this.words.copyWithin(0, closed, this.end);
    this.end -= closed;
    this.at = this.end > 0 ? 0 : -1;
    return piece;
  }

  fetch(low: number, high: number, size: number): void {
    if (this.sized && (low !== this.nextLow || high !== this.nextHigh)) {
      this.words[this.at + 2] = BRANCH;
      this.words[this.at + 3] = BRANCH_SOURCES;
    }
    this.nextLow = (low + size) >>> 0;
    this.nextHigh = low + size > 0xffff_ffff ? (high + 1) >>> 0 : high;
    this.sized = size > 0;
    this.fetched = true;
    this.reordered = false;
    this.begin(low, high);
  }

  access(kind: number, low: number, high: number): void {
    if ((low | high) === 0) {
      this.losses.zero++;
      return;
    }
    if (this.at < 0) this.begin(NO_CODE, 0);
    if (!this.fetched) this.losses.noCode++;
    if (kind === LOAD && this.stores > 0 && !this.reordered) {
      this.reordered = true;
      this.losses.reordered++;
    }
    if (kind === LOAD ? this.loads === WORDS - LOADS : this.stores === LOADS - STORES) {
      this.losses.repeated++;
      this.begin(this.words[this.at], this.words[this.at + 1]);
    }
    const slot = this.at + (kind === LOAD ? LOADS + this.loads : STORES + this.stores);
    this.words[slot] = low;
    this.words[slot + 1] = high;
    if (kind === LOAD) this.loads += 2;
    else this.stores += 2;
  }

  private begin(low: number, high: number): void {
    this.at = this.end;
    this.end += WORDS;
    this.words.fill(0, this.at, this.end);
    this.words[this.at] = low;
    this.words[this.at + 1] = high;
    this.loads = this.stores = 0;
  }
}

async function* encode(batches: AsyncIterable<Batch>, options: ExportOptions): AsyncGenerator<Uint8Array> {
  const losses = new Losses();
  const records = new Records(losses);
  let chosen = cpuOf(options.set.cpu);
  for await (const { rows, cpu, kind, va, size, insns } of batches) {
    const words = wordsOf(va);
    for (let i = 0; i < rows; i++) {
      if (kind[i] > STORE) {
        losses.events++;
        continue;
      }
      if (chosen < 0) chosen = cpu[i];
      if (cpu[i] !== chosen) {
        losses.otherCpus++;
        continue;
      }
      if (kind[i] !== FETCH) records.access(kind[i], words[2 * i], words[2 * i + 1]);
      else {
        if (insns && insns[i] > 1) losses.instructions += insns[i] - 1;
        records.fetch(words[2 * i], words[2 * i + 1], size ? size[i] : 0);
      }
      if (records.full) yield records.take(false);
    }
  }
  yield records.take(true);
  losses.tell(options, chosen);
}

/** The CPU of --set cpu; -1 for that of the first row. */
function cpuOf(text: string | undefined): number {
  if (text === undefined) return -1;
  if (/^\d{1,5}$/.test(text) && Number(text) <= 0xffff) return Number(text);
  throw new UsageError(`--set cpu=${text}: expected the number of a CPU`);
}

export const champsim: TraceExporter = {
  name: 'champsim',
  description: 'ChampSim, records of 64 bytes',
  loses: 'sizes, physical addresses, registers, untaken branches, events and all CPUs but one',
  options: { cpu: 'the CPU whose rows are written (default: that of the first row)' },
  encode,
};
