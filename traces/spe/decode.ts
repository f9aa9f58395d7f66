// From a stream of SPE packets to sampled records as columns. A record is all packets up to its end: an end packet or a
// timestamp. Damage costs the record in which it lies and what follows up to the next end of a record or alignment; it
// is counted with its offset. Nothing is allocated per packet or record.

import {
  ADDRESS,
  ADDRESS_PC,
  ADDRESS_PHYSICAL,
  ADDRESS_VIRTUAL,
  ALIGNMENT,
  alignmentBytes,
  CONTEXT,
  COUNTER,
  COUNTER_ISSUE,
  COUNTER_TOTAL,
  COUNTER_TRANSLATION,
  END,
  EVENTS,
  EXTENDED,
  OPERATION,
  PACKET_OF,
  PAD,
  payloadBytes,
  SOURCE,
  TIMESTAMP,
} from './packets.js';

/** Bits of `fields`: what a record has. */
export const HAS_PC = 1;
export const HAS_VA = 1 << 1;
export const HAS_PA = 1 << 2;
export const HAS_CONTEXT = 1 << 3;
export const HAS_OPERATION = 1 << 4;
export const HAS_EVENTS = 1 << 5;
export const HAS_TOTAL = 1 << 6;
export const HAS_ISSUE = 1 << 7;
export const HAS_TRANSLATION = 1 << 8;
export const HAS_SOURCE = 1 << 9;
export const HAS_TIMESTAMP = 1 << 10;
const HAS_OTHER = 1 << 11;

const CAPACITY = 4096;
const NOTED_FAULTS = 8;
/** A longer record is damage; the architecture's largest has 2,048 bytes. */
const MAX_RECORD_BYTES = 4096;

/** Records in columns; a column means something where `fields` says so. Addresses are canonical: without tag, NS or EL. */
export class SpeRecords {
  count = 0;
  readonly fields = new Uint16Array(CAPACITY);
  readonly pc = new BigUint64Array(CAPACITY);
  readonly va = new BigUint64Array(CAPACITY);
  readonly pa = new BigUint64Array(CAPACITY);
  readonly timestamp = new BigUint64Array(CAPACITY);
  /** The same as pairs of low and high words. */
  readonly pcWords = new Uint32Array(this.pc.buffer);
  readonly vaWords = new Uint32Array(this.va.buffer);
  readonly paWords = new Uint32Array(this.pa.buffer);
  readonly timestampWords = new Uint32Array(this.timestamp.buffer);
  /** Exception level that the PC packet tells. */
  readonly el = new Uint8Array(CAPACITY);
  readonly context = new Uint32Array(CAPACITY);
  /** Exception level whose CONTEXTIDR the context is. */
  readonly contextEl = new Uint8Array(CAPACITY);
  readonly operationClass = new Uint8Array(CAPACITY);
  readonly operation = new Uint8Array(CAPACITY);
  /** Bits 31..0 of the events. */
  readonly events = new Uint32Array(CAPACITY);
  /** Latencies in cycles. */
  readonly total = new Uint16Array(CAPACITY);
  readonly issue = new Uint16Array(CAPACITY);
  readonly translation = new Uint16Array(CAPACITY);
  readonly source = new Uint16Array(CAPACITY);
}

/** What was wrong in the streams of a file. */
export interface SpeDamage {
  /** Places at which no packet began or a record was cut. */
  faults: number;
  /** Offsets of the first of them. */
  offsets: number[];
}

export const noDamage = (): SpeDamage => ({ faults: 0, offsets: [] });

/** Decodes one stream, in pieces; several streams may share the records. */
export class SpeDecoder {
  /** The record that the last piece cut. */
  private rest = new Uint8Array(0);
  /** Bytes of alignment still to pass over. */
  private skip = 0;
  /** Offset in the stream of `rest`, or of what comes next. */
  private offset = 0;
  /** Whether a record's end is to be found before anything counts. */
  private lost = false;

  constructor(
    private readonly records: SpeRecords,
    private readonly damage: SpeDamage,
  ) {}

  /** Offset in the stream up to which pieces were given. */
  get end(): number {
    return this.offset + this.rest.length;
  }

  /** Says that the stream ends, or goes on at another place: a record that has begun is cut. */
  jump(offset: number): void {
    if (this.rest.length > 0) this.fault(this.offset);
    this.rest = new Uint8Array(0);
    this.skip = 0;
    this.lost = false;
    this.offset = offset;
  }

  /** Decodes a piece; yields records to be taken before the next are asked for. */
  *decode(piece: Uint8Array): Generator<SpeRecords> {
    const bytes = this.rest.length > 0 ? Buffer.concat([this.rest, piece]) : piece;
    let at = 0;
    do {
      this.records.count = 0;
      at = this.packets(bytes, at);
      if (this.records.count > 0) yield this.records;
    } while (this.records.count === CAPACITY);
    this.rest = bytes.slice(at);
    this.offset += at;
  }

  private fault(offset: number): void {
    if (this.damage.offsets.length < NOTED_FAULTS) this.damage.offsets.push(offset);
    this.damage.faults++;
  }

  /** Decodes from `at` until the bytes end or the records are full; returns where the next record begins. */
  private packets(bytes: Uint8Array, at: number): number {
    const { fields, pcWords, vaWords, paWords, timestampWords, el, context, contextEl } = this.records;
    const { operationClass, operation, events, total, issue, translation, source } = this.records;
    const end = bytes.length;
    let n = 0;
    /** What the record being read has, and where it begins. */
    let has = 0;
    let begin = at;
    if (this.skip > 0) {
      const skipped = Math.min(this.skip, end - at);
      this.skip -= skipped;
      at += skipped;
    }
    while (at < end) {
      const start = at;
      const header = bytes[at++];
      let kind = PACKET_OF[header];
      let index = header & 7;
      if (has === 0) begin = start;
      if (kind === PAD) continue;
      if (kind === EXTENDED || kind === ALIGNMENT) {
        if (at >= end) {
          at = start;
          break;
        }
        const second = bytes[at++];
        if (second === 0) {
          // Alignment stands between records.
          if (has !== 0 && !this.lost) this.fault(this.offset + begin);
          has = 0;
          this.lost = false;
          const past = start + alignmentBytes(header, this.offset + start);
          this.skip = Math.max(0, past - end);
          at = Math.min(past, end);
          continue;
        }
        kind = kind === EXTENDED ? PACKET_OF[second] : 0;
        if (kind !== ADDRESS && kind !== COUNTER) kind = 0;
        index = ((header & 3) << 3) | (second & 7);
      }
      switch (kind) {
        case ADDRESS: {
          if (at + 8 > end) break;
          const low = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
          const high = bytes[at + 4] | (bytes[at + 5] << 8) | (bytes[at + 6] << 16);
          if (index === ADDRESS_VIRTUAL) {
            vaWords[2 * n] = low;
            // The top byte is a tag, NS and EL, or nothing: bit 55 tells the half of the address space.
            vaWords[2 * n + 1] = (high << 8) >> 8;
            has |= HAS_VA;
          } else if (index === ADDRESS_PC) {
            pcWords[2 * n] = low;
            pcWords[2 * n + 1] = (high << 8) >> 8;
            el[n] = (bytes[at + 7] >>> 5) & 3;
            has |= HAS_PC;
          } else if (index === ADDRESS_PHYSICAL) {
            paWords[2 * n] = low;
            paWords[2 * n + 1] = high;
            has |= HAS_PA;
          } else has |= HAS_OTHER;
          at += 8;
          continue;
        }
        case COUNTER: {
          if (at + 2 > end) break;
          const cycles = bytes[at] | (bytes[at + 1] << 8);
          if (index === COUNTER_TOTAL) {
            total[n] = cycles;
            has |= HAS_TOTAL;
          } else if (index === COUNTER_ISSUE) {
            issue[n] = cycles;
            has |= HAS_ISSUE;
          } else if (index === COUNTER_TRANSLATION) {
            translation[n] = cycles;
            has |= HAS_TRANSLATION;
          } else has |= HAS_OTHER;
          at += 2;
          continue;
        }
        case EVENTS: {
          const size = payloadBytes(header);
          if (at + size > end) break;
          let bits = bytes[at];
          if (size > 1) bits |= bytes[at + 1] << 8;
          if (size > 2) bits |= (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
          events[n] = bits;
          has |= HAS_EVENTS;
          at += size;
          continue;
        }
        case SOURCE: {
          const size = payloadBytes(header);
          if (at + size > end) break;
          source[n] = size > 1 ? bytes[at] | (bytes[at + 1] << 8) : bytes[at];
          has |= HAS_SOURCE;
          at += size;
          continue;
        }
        case CONTEXT:
          if (at + 4 > end) break;
          context[n] = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
          contextEl[n] = (header & 3) + 1;
          has |= HAS_CONTEXT;
          at += 4;
          continue;
        case OPERATION:
          if (at + 1 > end) break;
          operationClass[n] = header & 3;
          operation[n] = bytes[at];
          has |= HAS_OPERATION;
          at += 1;
          continue;
        case TIMESTAMP:
        case END:
          if (kind === TIMESTAMP) {
            if (at + 8 > end) break;
            timestampWords[2 * n] = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
            timestampWords[2 * n + 1] =
              bytes[at + 4] | (bytes[at + 5] << 8) | (bytes[at + 6] << 16) | (bytes[at + 7] << 24);
            if (has !== 0) has |= HAS_TIMESTAMP;
            at += 8;
          }
          if (has !== 0 && !this.lost) fields[n++] = has;
          has = 0;
          this.lost = false;
          if (n < CAPACITY) continue;
          this.records.count = n;
          return at;
        default:
          if (!this.lost) this.fault(this.offset + start);
          this.lost = true;
          // One byte on: the next packet may begin anywhere.
          at = start + 1;
          continue;
      }
      // The packet is cut.
      at = start;
      break;
    }
    this.records.count = n;
    if (has === 0 || this.lost) return at;
    if (end - begin <= MAX_RECORD_BYTES) return begin;
    this.fault(this.offset + begin);
    this.lost = true;
    return at;
  }
}
