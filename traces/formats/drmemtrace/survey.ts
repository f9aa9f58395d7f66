// What the start of a drmemtrace says about the whole: how wide its records are, and which columns its rows have.

import { isUnknownCpu } from './context.js';
import { FILETYPE, MARKER, NARROW_BYTES, RECORD_BYTES, TYPE } from './records.js';

/** Versions beyond this are no versions. */
const MAX_VERSION = 0xff;

/** Bytes of the records, judged by the first two: HEADER with the version, then a marker or THREAD; undefined: neither. */
export function recordBytesOf(head: Uint8Array): number | undefined {
  if (head.length < 2 * RECORD_BYTES) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const version = view.getUint32(4, true);
  if (view.getUint32(0, true) !== TYPE.HEADER || version === 0 || version > MAX_VERSION) return undefined;
  return [NARROW_BYTES, RECORD_BYTES].find((bytes) => {
    const type = view.getUint16(bytes, true);
    return (type === TYPE.MARKER || type === TYPE.THREAD) && (bytes === NARROW_BYTES || view.getUint32(8, true) === 0);
  });
}

export interface Survey {
  filetype: number;
  /** Whether pages' physical addresses are reported, which begins before the first access. */
  physical: boolean;
  /** The first thread, as its record has it; null when none is in sight. */
  thread: { low: number; high: number } | null;
  /** Whether the first CPU is known. */
  cpuKnown: boolean;
}

/** Looks through the records at the start of a file. */
export function survey(head: Uint8Array, recordBytes: number): Survey {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const found: Survey = { filetype: 0, physical: false, thread: null, cpuKnown: false };
  let cpuSeen = false;
  for (let at = 0; at + recordBytes <= head.length; at += recordBytes) {
    const type = view.getUint16(at, true);
    const number = view.getUint16(at + 2, true);
    const low = view.getUint32(at + 4, true);
    const high = recordBytes === RECORD_BYTES ? view.getUint32(at + 8, true) : 0;
    if (type === TYPE.THREAD) found.thread ??= { low, high };
    if (type !== TYPE.MARKER) continue;
    if (number === MARKER.FILETYPE && found.filetype === 0) found.filetype = low;
    if (number === MARKER.PHYSICAL_ADDRESS || number === MARKER.PHYSICAL_ADDRESS_NOT_AVAILABLE) found.physical = true;
    if (number === MARKER.CPU_ID && !cpuSeen) {
      cpuSeen = true;
      found.cpuKnown = !isUnknownCpu(low, high);
    }
  }
  return found;
}

/** Whether a file of this type has, or may have, code of the kernel. */
export function hasKernel(filetype: number): boolean {
  const KERNEL =
    FILETYPE.KERNEL_SYSCALLS |
    FILETYPE.KERNEL_SYSCALL_INSTR_ONLY |
    FILETYPE.KERNEL_SYSCALL_TRACE_TEMPLATES |
    FILETYPE.CORE_SHARDED |
    FILETYPE.WHOLE_SYSTEM;
  return (filetype & KERNEL) !== 0;
}
