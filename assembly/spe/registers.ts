// The registers of the profiling extension, as far as they are modelled (Arm ARM, "The Statistical Profiling Extension System registers";
// Linux arch/arm64/tools/sysreg).
//
//   PMBLIMITR_EL1   63:12 LIMIT | 0 E           PMBPTR_EL1   VA of the next record
//   PMBSR_EL1       31:26 EC | 19 DL | 17 S | 16 COLL | 15:0 MSS: BSC, or the fault status code
//   PMBIDR_EL1      5 F: hardware manages the access flag | 4 P: programming not allowed

/** A management event was taken: nothing is written until software clears it. */
export const SERVICE: u64 = 1 << 17;
/** Records were lost. */
export const DATA_LOSS: u64 = 1 << 19;
/** A sample was due before the one before it was complete. */
export const COLLISION: u64 = 1 << 16;

const CLASS_SHIFT: u64 = 26;
export const CLASS_BUFFER: u64 = 0;
export const CLASS_STAGE1: u64 = 0x24;
export const CLASS_STAGE2: u64 = 0x25;
/** Status code of CLASS_BUFFER: no room for another record. */
export const BUFFER_FULL: u64 = 1;

// Fault status codes, to which the level is added; the first is that of a translation fault at level -1.
const TRANSLATION_FAULT_M1: u64 = 0x2b;
export const TRANSLATION_FAULT: u64 = 0x04;
export const ACCESS_FLAG_FAULT: u64 = 0x08;
export const PERMISSION_FAULT: u64 = 0x0c;

/** PMBSR of a management event. */
export function managementEvent(eventClass: u64, code: u64): u64 {
  return SERVICE | (eventClass << CLASS_SHIFT) | code;
}

/** The class of an event. */
export function classOf(status: u64): u64 {
  return status >> CLASS_SHIFT;
}

/** The code of a fault of a kind at a level. */
export function faultCode(kind: u64, level: i32): u64 {
  return level < 0 ? TRANSLATION_FAULT_M1 : kind | (<u64>level);
}

/** Bytes of a record (PMSIDR.MaxSize). */
export const RECORD_BYTES: u64 = 64;

// Filter: exception levels that are sampled (PMSCR_EL1.E0SPE, E1SPE).
export const SAMPLE_EL0: u32 = 1;
export const SAMPLE_EL1: u32 = 2;
