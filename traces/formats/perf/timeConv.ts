// From ticks of the timer that stamps SPE records to the clock of perf (nanoseconds), with the factors of a TIME_CONV
// record, as tsc_to_perf_time of tools/perf/util/tsc.c.

/** Factors of the conversion. */
export interface TimeConversion {
  shift: bigint;
  mult: bigint;
  zero: bigint;
  /** With a short counter: its value at some time, and its bits. */
  cycles: bigint;
  mask: bigint;
  short: boolean;
}

/** Nanoseconds of perf's clock at which the timer had this value. */
export function perfTime(ticks: bigint, { shift, mult, zero, cycles, mask, short }: TimeConversion): bigint {
  const full = short ? cycles + ((ticks - cycles) & mask) : ticks;
  const quotient = full >> shift;
  const remainder = full & ((1n << shift) - 1n);
  return BigInt.asUintN(64, zero + quotient * mult + ((remainder * mult) >> shift));
}
