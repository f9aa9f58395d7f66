// Pseudo-random numbers: xorshift64* (Vigna 2016), one word of state for each who draws.

/** The state after `state`, which is never 0 if that is not; its upper bits are the number. */
export function nextRandom(state: u64): u64 {
  state ^= state >> 12;
  state ^= state << 25;
  return state ^ (state >> 27);
}
