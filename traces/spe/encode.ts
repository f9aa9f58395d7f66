// From the fields of a record to the packets of the emulator's profiling unit: records of exactly 64 bytes, in this
// order, padded with zeros at the end.
//   b0 PC (8)   64 | EL - 1, context (4)   49 load/store or 48 other, payload (1)   62 events (4)
//   98 99 9a total, issue and translation latency (2 each)   b2 data VA (8)   43 source (1)   b3 data PA (8)   71 timestamp (8)
// A packet without meaning is left out; a record without a timestamp ends with 01.

export const RECORD_BYTES = 64;

/** The fields of a record; what is not there has no packet. */
export interface SpeRecord {
  pc?: bigint;
  /** Exception level of the instruction. */
  el?: number;
  /** CONTEXTIDR of `contextEl`, 1 or 2. */
  context?: number;
  contextEl?: number;
  /** CLASS_OTHER, CLASS_LOAD_STORE or CLASS_BRANCH. */
  operationClass?: number;
  /** Payload of the operation. */
  operation?: number;
  /** Bits of EVENT. */
  events?: number;
  /** Latencies in cycles; the counters stop at 65,535. */
  total?: number;
  issue?: number;
  translation?: number;
  va?: bigint;
  source?: number;
  pa?: bigint;
  timestamp?: bigint;
}

const MAX_CYCLES = 0xffff;
/** Non-secure; of a PC and a PA in the top byte. */
const NS = 1n << 63n;
const ADDRESS_MASK = (1n << 56n) - 1n;

/** Writes a record at `at`, all 64 bytes of it. */
export function encodeRecord(view: DataView, at: number, record: SpeRecord): void {
  const end = at + RECORD_BYTES;
  const word = (header: number, value: bigint) => {
    view.setUint8(at, header);
    view.setBigUint64(at + 1, BigInt.asUintN(64, value), true);
    at += 9;
  };
  const cycles = (header: number, value: number | undefined) => {
    if (value === undefined) return;
    view.setUint8(at, header);
    view.setUint16(at + 1, Math.min(value, MAX_CYCLES), true);
    at += 3;
  };
  const long = (header: number, value: number) => {
    view.setUint8(at, header);
    view.setUint32(at + 1, value, true);
    at += 5;
  };
  const byte = (header: number, value: number) => {
    view.setUint8(at, header);
    view.setUint8(at + 1, value);
    at += 2;
  };
  if (record.pc !== undefined) word(0xb0, (record.pc & ADDRESS_MASK) | (BigInt(record.el ?? 0) << 61n) | NS);
  if (record.context !== undefined) long(0x64 | ((record.contextEl ?? 1) - 1), record.context);
  if (record.operationClass !== undefined) byte(0x48 | record.operationClass, record.operation ?? 0);
  if (record.events !== undefined) long(0x62, record.events);
  cycles(0x98, record.total);
  cycles(0x99, record.issue);
  cycles(0x9a, record.translation);
  if (record.va !== undefined) word(0xb2, record.va);
  if (record.source !== undefined) byte(0x43, record.source);
  if (record.pa !== undefined) word(0xb3, (record.pa & ADDRESS_MASK) | NS);
  if (record.timestamp !== undefined) word(0x71, record.timestamp);
  else view.setUint8(at++, 0x01);
  while (at < end) view.setUint8(at++, 0);
}
