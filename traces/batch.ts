// The columns of a trace and a batch of its rows, as typed arrays: the one shape in which rows travel between the
// reader, the importers, the writer and the replay. Column types are those of the Arrow schema (schema.ts).

/** Kinds of rows below the events. */
export const FETCH = 0;
export const LOAD = 1;
export const STORE = 2;

/** `pa` where the capture does not know it. */
export const PA_UNKNOWN = 0xffff_ffff_ffff_ffffn;

/** `mode`: privilege in the low bits, plus MODE_GUEST inside a virtual machine. */
export const MODE_USER = 0;
export const MODE_KERNEL = 1;
export const MODE_HYPERVISOR = 2;
export const MODE_GUEST = 16;

/** The typed array of every column. `cpu`, `kind` and `va` are always there. */
export interface Columns {
  cpu: Uint16Array;
  kind: Uint8Array;
  va: BigUint64Array;
  pa?: BigUint64Array;
  size?: Uint16Array;
  insns?: Uint8Array;
  mode?: Uint8Array;
  asid?: Uint32Array;
  vm?: Uint16Array;
  tid?: Uint32Array;
  time?: BigUint64Array;
  arg?: BigUint64Array;
}

export type ColumnName = keyof Columns;

/** `rows` consecutive rows; every array present has exactly that length. */
export interface Batch extends Columns {
  rows: number;
}

/** Rows of a record batch in a trace file. */
export const BATCH_ROWS = 65_536;
