// The layout of a perf sample, which the event's attributes decide (include/uapi/linux/perf_event.h, PERF_RECORD_SAMPLE),
// and of the fields that other records carry at their end (sample_id_all).

/** Bits of sample_type, in perf's numbering. */
const IP = 1;
const TID = 1 << 1;
const TIME = 1 << 2;
export const ADDR = 1 << 3;
const READ = 1 << 4;
const CALLCHAIN = 1 << 5;
const ID = 1 << 6;
const CPU = 1 << 7;
const PERIOD = 1 << 8;
const STREAM_ID = 1 << 9;
const RAW = 1 << 10;
const BRANCH_STACK = 1 << 11;
const REGS_USER = 1 << 12;
const STACK_USER = 1 << 13;
const WEIGHT = 1 << 14;
const DATA_SRC = 1 << 15;
const IDENTIFIER = 1 << 16;
const TRANSACTION = 1 << 17;
const REGS_INTR = 1 << 18;
const PHYS_ADDR = 1 << 19;
const WEIGHT_STRUCT = 1 << 24;

const READ_ENABLED = 1;
const READ_RUNNING = 2;
const READ_ID = 4;
const READ_GROUP = 8;
const READ_LOST = 16;

const BRANCH_HW_INDEX = 1 << 17;
const BRANCH_COUNTERS = 1 << 19;
const FLAG_FREQ = 1 << 10;
const FLAG_SAMPLE_ID_ALL = 1 << 18;

/** What is used of an event's attributes (struct perf_event_attr). */
export interface Attributes {
  type: number;
  config: bigint;
  /** Events between samples, or with `frequency` samples per second. */
  period: bigint;
  frequency: boolean;
  sampleType: number;
  readFormat: number;
  sampleIdAll: boolean;
  branchType: number;
  userRegisters: number;
  interruptRegisters: number;
}

/** Smallest size of the attributes in any version. */
export const ATTRIBUTES_BYTES = 64;

/** Reads the attributes of an event; fields that an older version does not have are zero. */
export function readAttributes(view: DataView, at: number, bytes: number): Attributes {
  const word = (offset: number) => (offset + 8 <= bytes ? view.getBigUint64(at + offset, true) : 0n);
  const low = (offset: number) => Number(word(offset) & 0xffff_ffffn) | 0;
  const flags = low(40);
  return {
    type: view.getUint32(at, true),
    config: word(8),
    period: word(16),
    frequency: (flags & FLAG_FREQ) !== 0,
    sampleType: low(24),
    readFormat: low(32),
    sampleIdAll: (flags & FLAG_SAMPLE_ID_ALL) !== 0,
    branchType: low(72),
    userRegisters: ones(word(80)),
    interruptRegisters: ones(word(96)),
  };
}

/** What is used of a sample; null or -1 where it does not say. */
export interface Sample {
  ip: bigint | null;
  tid: number;
  time: bigint;
  address: bigint | null;
  cpu: number;
  weight: number | null;
  dataSrc: bigint | null;
  pa: bigint | null;
}

/** A sample that says nothing. */
export const emptySample = (): Sample => ({
  ip: null,
  tid: -1,
  time: 0n,
  address: null,
  cpu: -1,
  weight: null,
  dataSrc: null,
  pa: null,
});

/** Reads the sample at `at` into `sample`. Throws RangeError when it is longer than its record, which ends at `end`. */
export function readSample(view: DataView, at: number, end: number, attributes: Attributes, sample: Sample): void {
  const { sampleType } = attributes;
  const has = (bit: number) => (sampleType & bit) !== 0;
  const skip = (bytes: number) => {
    at += bytes;
    if (at > end) throw new RangeError('the sample is longer than its record');
  };
  const word = () => {
    skip(8);
    return view.getBigUint64(at - 8, true);
  };
  /** A number of things that follow, of so many bytes each. */
  const list = (bytesEach: number, before = 0) => {
    const count = word();
    if (count > BigInt(end)) throw new RangeError('a list is longer than its record');
    skip(before + Number(count) * bytesEach);
  };
  Object.assign(sample, NO_SAMPLE);
  if (has(IDENTIFIER)) skip(8);
  if (has(IP)) sample.ip = word();
  if (has(TID)) {
    skip(8);
    sample.tid = view.getInt32(at - 4, true);
  }
  if (has(TIME)) sample.time = word();
  if (has(ADDR)) sample.address = word();
  if (has(ID)) skip(8);
  if (has(STREAM_ID)) skip(8);
  if (has(CPU)) {
    skip(8);
    sample.cpu = view.getInt32(at - 8, true);
  }
  if (has(PERIOD)) skip(8);
  if (has(READ)) {
    const { readFormat } = attributes;
    const times = bits(readFormat, READ_ENABLED, READ_RUNNING);
    const perValue = 8 * (1 + bits(readFormat, READ_ID, READ_LOST));
    if ((readFormat & READ_GROUP) !== 0) list(perValue, 8 * times);
    else skip(perValue + 8 * times);
  }
  if (has(CALLCHAIN)) list(8);
  if (has(RAW)) {
    skip(4);
    skip(view.getUint32(at - 4, true));
  }
  if (has(BRANCH_STACK)) {
    const counters = (attributes.branchType & BRANCH_COUNTERS) !== 0 ? 8 : 0;
    list(24 + counters, (attributes.branchType & BRANCH_HW_INDEX) !== 0 ? 8 : 0);
  }
  if (has(REGS_USER) && word() !== 0n) skip(8 * attributes.userRegisters);
  if (has(STACK_USER)) {
    const size = word();
    if (size > BigInt(end)) throw new RangeError('the stack is longer than its record');
    if (size > 0n) skip(Number(size) + 8);
  }
  if (has(WEIGHT)) sample.weight = Number(word());
  else if (has(WEIGHT_STRUCT)) sample.weight = Number(word() & 0xffff_ffffn);
  if (has(DATA_SRC)) sample.dataSrc = word();
  if (has(TRANSACTION)) skip(8);
  if (has(REGS_INTR) && word() !== 0n) skip(8 * attributes.interruptRegisters);
  if (has(PHYS_ADDR)) sample.pa = word();
}

const NO_SAMPLE: Readonly<Sample> = emptySample();

/** Where in a sample the event's id stands, in bytes from its start; null where it has none. */
export function idOffset({ sampleType }: Attributes): number | null {
  if ((sampleType & IDENTIFIER) !== 0) return 0;
  return (sampleType & ID) === 0 ? null : 8 * bits(sampleType, IP, TID, TIME, ADDR);
}

/** Who, when and where, of a record that is no sample; null where it does not say. */
export interface Trailer {
  tid: number | null;
  time: bigint | null;
  cpu: number | null;
}

/** Reads the fields at the end of a record that ends at `end` and begins at `begin`. */
export function readTrailer(view: DataView, begin: number, end: number, attributes: Attributes): Trailer {
  const { sampleType, sampleIdAll } = attributes;
  const bytes = 8 * bits(sampleType, TID, TIME, ID, STREAM_ID, CPU, IDENTIFIER);
  let at = end - bytes;
  if (!sampleIdAll || at < begin) return { tid: null, time: null, cpu: null };
  const trailer: Trailer = { tid: null, time: null, cpu: null };
  if ((sampleType & TID) !== 0) {
    trailer.tid = view.getInt32(at + 4, true);
    at += 8;
  }
  if ((sampleType & TIME) !== 0) {
    trailer.time = view.getBigUint64(at, true);
    at += 8;
  }
  at += 8 * bits(sampleType, ID, STREAM_ID);
  if ((sampleType & CPU) !== 0) trailer.cpu = view.getInt32(at, true);
  return trailer;
}

/** How many of these bits are set. */
function bits(value: number, ...each: number[]): number {
  return each.filter((bit) => (value & bit) !== 0).length;
}

function ones(word: bigint): number {
  return word.toString(2).replaceAll('0', '').length;
}
