// The packets of the Arm Statistical Profiling Extension (Arm ARM, "Statistical Profiling Extension Sample Record
// Specification"; tools/perf/util/arm-spe-decoder/arm-spe-pkt-decoder.{h,c}): a header of one byte, or of two when the
// first is 0b001000xx, then a little-endian payload of 1 << (bits 5..4 of the last header byte) bytes.
//
//   0000 0000 padding              0000 0001 end of record          0111 0001 timestamp, and end of record
//   01ss 0010 events               01ss 0011 data source            0110 01ee context (CONTEXTIDR) of EL1 + ee
//   0100 10cc operation, class c   1011 0iii address, index i       1001 1iii counter, index i
//   0010 00jj extended: an address or counter header follows, whose index gets jj as bits 4..3
//   001x aaaa 0000 0000: alignment, padding up to a multiple of 2^(aaaa + 1) bytes
//
// So only events and data source vary in size: an address and a timestamp have 8 bytes, a context 4, a counter 2, an operation 1.

/** Kinds of packets. */
export const UNKNOWN = 0;
export const PAD = 1;
export const END = 2;
export const TIMESTAMP = 3;
export const EVENTS = 4;
export const SOURCE = 5;
export const CONTEXT = 6;
export const OPERATION = 7;
export const ADDRESS = 8;
export const COUNTER = 9;
/** Has a second header byte: of an address, of a counter, or zero for alignment. */
export const EXTENDED = 10;
/** A first byte that only alignment has. */
export const ALIGNMENT = 11;

/** The kind of packet that each header byte begins. */
export const PACKET_OF: Uint8Array = Uint8Array.from({ length: 256 }, (_, header) => {
  if (header === 0x00) return PAD;
  if (header === 0x01) return END;
  if (header === 0x71) return TIMESTAMP;
  if ((header & 0xcf) === 0x42) return EVENTS;
  if ((header & 0xcf) === 0x43) return SOURCE;
  if ((header & 0xfc) === 0x64) return CONTEXT;
  if ((header & 0xfc) === 0x48) return OPERATION;
  if ((header & 0xfc) === 0x20) return EXTENDED;
  if ((header & 0xf0) === 0x20) return ALIGNMENT;
  if ((header & 0xf8) === 0xb0) return ADDRESS;
  if ((header & 0xf8) === 0x98) return COUNTER;
  return UNKNOWN;
});

/** Payload bytes that a header byte announces. */
export const payloadBytes = (header: number): number => 1 << ((header >>> 4) & 3);

/** Bytes that an alignment packet at `offset` of the stream takes, itself included. */
export const alignmentBytes = (header: number, offset: number): number => {
  const alignment = 2 << (header & 15);
  return alignment - (offset % alignment);
};

/** Indices of addresses. 1 is a branch's target, 4 the target before it. */
export const ADDRESS_PC = 0;
export const ADDRESS_VIRTUAL = 2;
export const ADDRESS_PHYSICAL = 3;

/** Indices of counters, in cycles: from dispatch to completion, to issue, and of the address translation. */
export const COUNTER_TOTAL = 0;
export const COUNTER_ISSUE = 1;
export const COUNTER_TRANSLATION = 2;

/** Classes of operations. */
export const CLASS_OTHER = 0;
export const CLASS_LOAD_STORE = 1;
export const CLASS_BRANCH = 2;

/** Payload bit of a load/store operation: a store; else a load, a swap or another atomic with a result. */
export const OPERATION_STORE = 1;

/** What made a load or store. */
export type LoadStoreSubclass =
  | 'general'
  | 'simd-fp'
  | 'unspecified'
  | 'system-register'
  | 'tag'
  | 'copy'
  | 'set'
  | 'extended'
  | 'sve-sme'
  | 'control-stack'
  | 'unknown';

const LOAD_STORE_SUBCLASSES: readonly [mask: number, value: number, name: LoadStoreSubclass][] = [
  [0xfe, 0x00, 'general'],
  [0xfe, 0x04, 'simd-fp'],
  [0xfe, 0x10, 'unspecified'],
  [0xfe, 0x14, 'tag'],
  [0xfe, 0x20, 'copy'],
  [0xff, 0x25, 'set'],
  [0xfe, 0x30, 'system-register'],
  [0xfa, 0x40, 'control-stack'],
  // Atomic (bit 2), exclusive (bit 3), acquire or release (bit 4).
  [0xe2, 0x02, 'extended'],
  // Vector length in bits 6..4, predicated (bit 2), gather or scatter (bit 7).
  [0x0a, 0x08, 'sve-sme'],
];

/** The subclass of a load/store operation by its payload. */
export function loadStoreSubclass(payload: number): LoadStoreSubclass {
  return LOAD_STORE_SUBCLASSES.find(([mask, value]) => (payload & mask) === value)?.[2] ?? 'unknown';
}

/** Bits of an events packet; those not named are implementation defined. */
export const EVENT = {
  exception: 0,
  retired: 1,
  l1dAccess: 2,
  l1dRefill: 3,
  tlbAccess: 4,
  tlbWalk: 5,
  notTaken: 6,
  mispredicted: 7,
  llcAccess: 8,
  llcMiss: 9,
  remoteAccess: 10,
  misaligned: 11,
  transaction: 16,
  partialPredicate: 17,
  emptyPredicate: 18,
  l2dAccess: 19,
  l2dMiss: 20,
  modified: 21,
  recentlyFetched: 22,
  snooped: 23,
  streamingSve: 24,
  smcu: 25,
} as const;
