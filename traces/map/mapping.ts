// What every source of virtual to physical addresses offers.

export interface PageMapping {
  /** Bytes of its pages. */
  pageBytes: number;
  /** Where it is from, for the trace's provenance. */
  source: string;
  /** Physical address, or -1n */
  translate(va: bigint, asid: number): bigint;
  /** Pages. */
  size: number;
}
