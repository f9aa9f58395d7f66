// The numbers of DynamoRIO's trace records: types, markers, file types (clients/drcachesim/common/trace_entry.h).

/** Bytes of a record of a 64-bit target, the only width that the parser meets, and of a 32-bit target. */
export const RECORD_BYTES = 12;
export const NARROW_BYTES = 8;

/** `trace_type_t`, as far as a name is needed here. */
export const TYPE = {
  READ: 0,
  WRITE: 1,
  PREFETCH: 2,
  PREFETCH_INSTR: 9,
  INSTR: 10,
  RETURN: 16,
  BUNDLE: 17,
  INSTR_FLUSH: 18,
  INSTR_FLUSH_END: 19,
  DATA_FLUSH: 20,
  DATA_FLUSH_END: 21,
  THREAD: 22,
  THREAD_EXIT: 23,
  PID: 24,
  HEADER: 25,
  FOOTER: 26,
  HARDWARE_PREFETCH: 27,
  MARKER: 28,
  NO_FETCH: 29,
  MAYBE_FETCH: 30,
  SYSENTER: 31,
  PREFETCH_READ_L1_NT: 32,
  PREFETCH_WRITE_L3_NT: 46,
  ENCODING: 47,
  TAKEN_JUMP: 48,
  UNTAKEN_JUMP: 49,
} as const;

/** `trace_marker_type_t`: what the size field of a marker says; its value is in the address field. */
export const MARKER = {
  KERNEL_EVENT: 0,
  KERNEL_XFER: 1,
  TIMESTAMP: 2,
  CPU_ID: 3,
  FUNC_ID: 4,
  FUNC_RETADDR: 5,
  FUNC_ARG: 6,
  FUNC_RETVAL: 7,
  SPLIT_VALUE: 8,
  FILETYPE: 9,
  CACHE_LINE_SIZE: 10,
  VERSION: 12,
  PHYSICAL_ADDRESS: 15,
  PHYSICAL_ADDRESS_NOT_AVAILABLE: 16,
  VIRTUAL_ADDRESS: 17,
  PAGE_SIZE: 18,
  CHUNK_INSTR_COUNT: 20,
  CHUNK_FOOTER: 21,
  RECORD_ORDINAL: 22,
  SYSCALL: 25,
  MAYBE_BLOCKING_SYSCALL: 26,
  SYSCALL_TRACE_START: 27,
  SYSCALL_TRACE_END: 28,
  BRANCH_TARGET: 29,
  CORE_WAIT: 32,
  CORE_IDLE: 33,
  CONTEXT_SWITCH_START: 34,
  CONTEXT_SWITCH_END: 35,
  HARDWARE_EVENT: 43,
  HARDWARE_CONTEXT_RETURN: 44,
  SKIPPED_MEMREF: 46,
} as const;

/** `offline_file_type_t`, the bits of the marker FILETYPE. */
export const FILETYPE = {
  FILTERED: 0x1,
  INSTRUCTION_ONLY: 0x4,
  AARCH64: 0x8,
  ARM32: 0x10,
  X86_32: 0x20,
  X86_64: 0x40,
  IFILTERED: 0x80,
  DFILTERED: 0x100,
  ENCODINGS: 0x200,
  KERNEL_SYSCALLS: 0x1000,
  BIMODAL_FILTERED_WARMUP: 0x2000,
  KERNEL_SYSCALL_INSTR_ONLY: 0x4000,
  KERNEL_SYSCALL_TRACE_TEMPLATES: 0x8000,
  CORE_SHARDED: 0x1_0000,
  ARCH_REGDEPS: 0x2_0000,
  WHOLE_SYSTEM: 0x4_0000,
} as const;

/** Bits of which nothing is known here. */
export const UNKNOWN_FILETYPE = 0xfff8_0000;

/** Versions of the format that are read, `trace_version_t`. */
export const OLDEST_VERSION = 2;
export const NEWEST_VERSION = 7;
