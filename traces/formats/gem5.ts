// gem5 packet traces, of its memory trace probe, as util/protolib.py reads them; messages of src/proto/packet.proto:
//   file    = "gem5" { varint length, message }      the first message is the header, the others are packets
//   header  = 1 name of the object | 2 version | 3 u64 ticks per second | 4 names of requestors
//   packet  = 1 u64 tick | 2 u32 command | 3 u64 address | 4 u32 size | 5 u32 flags | 6 id | 7 pc
//     67656d35 0b0a03736f641880a094a58d1d 0a08e80710011880202040      a header, a read of 64 bytes at 0x1000 at tick 1000
// Packets are past the TLB: addresses are physical, and `va` repeats them. Commands are numbered by the enum of
// src/mem/packet.hh: 1 (ReadReq) and 4 (WriteReq) in every version, the others as in versions 21 to 25.

import protobuf from 'protobufjs/minimal.js';
import { FETCH, LOAD, STORE, type Batch, type ColumnName } from '../batch.js';
import { InputError } from '../errors.js';
import { type ParseOptions, type TraceFormat } from '../format.js';
import { type Input } from '../input.js';
import { Rows } from '../rows.js';

const COLUMNS: readonly ColumnName[] = ['cpu', 'kind', 'va', 'pa', 'size', 'time'];
const MAGIC = [0x67, 0x65, 0x6d, 0x35];
/** Longest message; headers name some hundred requestors. */
const MAX_MESSAGE = 1 << 20;
const MAX_SIZE = 0xffff;
/** Request::INST_FETCH in `flags`. */
const INSTRUCTION = 0x100;

/** What a command does. */
const NOTHING = 0;
const READ = 1;
const WRITE = 2;
const BOTH = 3;

const COMMANDS: Readonly<Record<number, readonly [name: string, does: number]>> = {
  1: ['ReadReq', READ],
  2: ['ReadResp', NOTHING],
  3: ['ReadRespWithInvalidate', NOTHING],
  4: ['WriteReq', WRITE],
  5: ['WriteResp', NOTHING],
  6: ['WriteCompleteResp', NOTHING],
  7: ['WritebackDirty', NOTHING],
  8: ['WritebackClean', NOTHING],
  9: ['WriteClean', NOTHING],
  10: ['CleanEvict', NOTHING],
  11: ['SoftPFReq', NOTHING],
  12: ['SoftPFExReq', NOTHING],
  13: ['HardPFReq', NOTHING],
  16: ['WriteLineReq', WRITE],
  17: ['UpgradeReq', WRITE],
  22: ['ReadExReq', WRITE],
  24: ['ReadCleanReq', READ],
  25: ['ReadSharedReq', READ],
  26: ['LoadLockedReq', READ],
  27: ['StoreCondReq', WRITE],
  34: ['SwapReq', BOTH],
};

/** What every command does, by number. */
const DOES = new Uint8Array(64);
for (const [command, [, does]] of Object.entries(COMMANDS)) DOES[Number(command)] = does;

// Tags: field << 3 | wire type (0 varint, 2 bytes).
const OBJECT = (1 << 3) | 2;
const TICKS_PER_SECOND = 3 << 3;
const TICK = 1 << 3;
const COMMAND = 2 << 3;
const ADDRESS = 3 << 3;
const SIZE = 4 << 3;
const FLAGS = 5 << 3;

/** What the packets were, beside their rows. */
class Tally {
  object = '';
  ticksPerSecond = '?';
  /** Packets passed over, by command. */
  readonly others = new Map<number, number>();
}

/** A 64-bit number as the reader gives it. */
interface Words {
  low: number;
  high: number;
}

/** Takes the messages of a stream apart, as far as they are whole. */
class Messages {
  private rest: Uint8Array = new Uint8Array(0);
  private skip = MAGIC.length;
  private reader = protobuf.Reader.create(new Uint8Array(0));
  private at = 0;
  /** Messages taken. */
  count = 0;

  constructor(private readonly source: string) {}

  push(chunk: Uint8Array): void {
    const bytes = this.rest.length ? Buffer.concat([this.rest, chunk]) : chunk;
    this.reader = protobuf.Reader.create(bytes);
    this.rest = bytes;
    this.at = Math.min(this.skip, bytes.length);
    this.skip -= this.at;
  }

  /** Gives the next message to `parse`, as a reader and where it ends; false when it is not whole yet. */
  next(parse: (reader: protobuf.Reader, end: number) => void): boolean {
    const { rest, reader } = this;
    let length = 0;
    let from = this.at;
    for (let unit = 1; ; unit *= 0x80) {
      if (from === rest.length) return this.keep();
      const byte = rest[from++];
      length += (byte & 0x7f) * unit;
      if (length > MAX_MESSAGE) throw this.damaged(`a length of ${length} bytes`);
      if (byte < 0x80) break;
    }
    const end = from + length;
    if (end > rest.length) return this.keep();
    reader.pos = from;
    try {
      parse(reader, end);
    } catch (error) {
      throw error instanceof InputError ? error : this.damaged((error as Error).message);
    }
    if (reader.pos !== end) throw this.damaged('fields that end elsewhere than the message');
    this.at = end;
    this.count++;
    return true;
  }

  /** Throws when the stream ended inside a message. */
  end(): void {
    if (this.rest.length > 0) throw this.damaged(`the end of the file after ${this.rest.length} bytes of it`);
  }

  damaged(found: string): InputError {
    return new InputError({
      source: this.source,
      at: this.count === 0 ? 'header' : `packet ${this.count - 1}`,
      expected: 'a message of a gem5 packet trace',
      found,
      advice: 'the file is truncated or damaged',
    });
  }

  private keep(): false {
    this.rest = this.rest.subarray(this.at);
    this.at = 0;
    return false;
  }
}

function parseHeader(reader: protobuf.Reader, end: number, tally: Tally): void {
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === OBJECT) tally.object = reader.string();
    else if (tag === TICKS_PER_SECOND) tally.ticksPerSecond = `${reader.uint64()}`;
    else reader.skipType(tag & 7);
  }
}

function parsePacket(reader: protobuf.Reader, end: number, rows: Rows, tally: Tally, messages: Messages): void {
  let command = 0;
  let flags = 0;
  let size = 0;
  let addressLow = 0;
  let addressHigh = 0;
  let tickLow = 0;
  let tickHigh = 0;
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === TICK || tag === ADDRESS) {
      const { low, high } = reader.uint64() as Words;
      if (tag === TICK) {
        tickLow = low;
        tickHigh = high;
      } else {
        addressLow = low;
        addressHigh = high;
      }
    } else if (tag === COMMAND) command = reader.uint32();
    else if (tag === SIZE) size = reader.uint32();
    else if (tag === FLAGS) flags = reader.uint32();
    else reader.skipType(tag & 7);
  }
  const does = command < DOES.length ? DOES[command] : NOTHING;
  if (does === NOTHING) {
    tally.others.set(command, (tally.others.get(command) ?? 0) + 1);
    return;
  }
  if (size > MAX_SIZE) throw messages.damaged(`a size of ${size} bytes`);
  const isFetch = (flags & INSTRUCTION) !== 0;
  if (does !== WRITE) addRow(isFetch ? FETCH : LOAD);
  if (does !== READ) addRow(STORE);

  function addRow(kind: number): void {
    const row = rows.add(kind, addressLow, addressHigh);
    rows.paWords[2 * row] = addressLow;
    rows.paWords[2 * row + 1] = addressHigh;
    rows.timeWords[2 * row] = tickLow;
    rows.timeWords[2 * row + 1] = tickHigh;
    rows.size[row] = size;
  }
}

async function* parse(input: Input, tally: Tally): AsyncGenerator<Batch> {
  const rows = new Rows(COLUMNS);
  const messages = new Messages(input.path);
  const header = (reader: protobuf.Reader, end: number) => parseHeader(reader, end, tally);
  const packet = (reader: protobuf.Reader, end: number) => parsePacket(reader, end, rows, tally, messages);
  for await (const chunk of input.chunks) {
    messages.push(chunk);
    while (messages.next(messages.count === 0 ? header : packet)) {
      if (rows.full) yield* rows.take();
    }
  }
  messages.end();
  if (rows.count > 0) yield* rows.take();
}

/** "HardPFReq 12, command 77 3": what was passed over. */
function listed(others: ReadonlyMap<number, number>): string {
  const sorted = [...others].sort(([a], [b]) => a - b);
  return sorted.map(([command, count]) => `${COMMANDS[command]?.[0] ?? `command ${command}`} ${count}`).join(', ');
}

/** Says which commands are unknown, once at the end. */
function warnUnknown(path: string, others: ReadonlyMap<number, number>, { warn }: ParseOptions): void {
  const unknown = new Map([...others].filter(([command]) => !(command in COMMANDS)));
  if (unknown.size > 0) warn(`${path}: passed over packets of unknown meaning: ${listed(unknown)}`);
}

export const gem5: TraceFormat = {
  name: 'gem5',
  description: 'gem5 packet traces, protobuf',
  addresses: 'physical',
  concurrent: true,
  detect: (head) => MAGIC.every((byte, i) => head[i] === byte),
  async parse(input, options) {
    const tally = new Tally();
    return {
      columns: COLUMNS,
      batches: parse(input, tally),
      metadata() {
        warnUnknown(input.path, tally.others, options);
        return {
          source: { tool: 'gem5', command: null, input: [], origin: tally.object },
          cpus: 1,
          clock: `1/${tally.ticksPerSecond} s`,
          filters: tally.others.size > 0 ? [`passed over packets: ${listed(tally.others)}`] : [],
          notes: ['physical addresses: va repeats pa', 'commands are numbered as in gem5 21 to 25'],
        };
      },
    };
  },
};
