// Files of drmemtrace for the tests, put together record by record: u16 type, u16 size, u64 address (trace_entry.h).

import { type Input } from '../../traces/input.js';

/** One record: type, size, address or value. */
export type Entry = readonly [type: number, size: number, value: bigint];

/** The records as a file of a 64-bit target. */
export function wide(entries: readonly Entry[]): Buffer {
  const bytes = Buffer.alloc(12 * entries.length);
  entries.forEach(([type, size, value], i) => {
    bytes.writeUInt16LE(type, 12 * i);
    bytes.writeUInt16LE(size, 12 * i + 2);
    bytes.writeBigUInt64LE(value, 12 * i + 4);
  });
  return bytes;
}

/** The records as a file of a 32-bit target. */
export function narrow(entries: readonly Entry[]): Buffer {
  const bytes = Buffer.alloc(8 * entries.length);
  entries.forEach(([type, size, value], i) => {
    bytes.writeUInt16LE(type, 8 * i);
    bytes.writeUInt16LE(size, 8 * i + 2);
    bytes.writeUInt32LE(Number(value), 8 * i + 4);
  });
  return bytes;
}

export const marker = (number: number, value: bigint | number): Entry => [28, number, BigInt(value)];
export const timestamp = (value: number): Entry => marker(2, value);
export const cpuId = (value: bigint | number): Entry => marker(3, value);
export const instr = (va: bigint, size = 4): Entry => [10, size, va];
export const load = (va: bigint, size = 8): Entry => [0, size, va];
export const store = (va: bigint, size = 8): Entry => [1, size, va];
export const thread = (tid: bigint | number): Entry => [22, 4, BigInt(tid)];
export const pid = (value: bigint | number): Entry => [24, 4, BigInt(value)];
export const FOOTER: Entry = [26, 0, 0n];
/** x86-64, nothing else. */
export const X86 = 0x40;

/** A whole file of one thread with these records in the middle. */
export function file(entries: readonly Entry[], filetype = X86, version = 7): Entry[] {
  return [
    [25, 0, BigInt(version)],
    marker(12, version),
    marker(9, filetype),
    thread(100),
    pid(50),
    marker(18, 4096),
    ...entries,
    [23, 4, 100n],
    FOOTER,
  ];
}

/** An input of these bytes, in chunks of `chunkBytes`. */
export function inputOf(bytes: Uint8Array, chunkBytes = 1000, path = 'test.trace'): Input {
  const chunks = async function* () {
    for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
  };
  return { path, head: bytes.subarray(0, 65_536), size: null, chunks: chunks() } as Partial<Input> as Input;
}
