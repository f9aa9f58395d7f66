// One set of a line cache: `ways` entries of 8 bytes, the most recent first, so that the order is the LRU state.
//
//   63 captured | 62 private | 51:6 line number (PA >> 6) | 5 valid | 4 owned | 3 prefetched | 2 kernel | 1 text | 0 local (LOCAL)
//
// An empty entry is 0, so memory fresh from the arena is an empty cache. The bits from 5 up tell lines apart: they make the *key* of a
// line. A set takes an even number of places, so that entries are searched and moved in pairs; the one left over stays empty.

/** The entry holds a line. */
export const VALID: u64 = 1 << 5;
/** In a first-level data cache: the CPU has written the line, and nobody else has it. */
export const OWNED: u64 = 1 << 4;
/** In a first-level instruction cache: brought by a prefetch and not asked for yet. */
export const PREFETCHED: u64 = 1 << 3;
/** An access to an address of the upper half entered the line. */
export const KERNEL: u64 = 1 << 2;
/** An access to text entered the line. */
export const TEXT: u64 = 1 << 1;
const FLAGS: u64 = VALID - 1;

export const ENTRY_BYTES: u32 = 8;

/** Bytes of a set of `ways` entries. */
export function setBytesOf(ways: u32): u32 {
  return ((ways + 1) & ~1) * ENTRY_BYTES;
}

/** The key of the line that holds an address. */
// @ts-ignore: decorator
@inline
export function KEY(address: u64): u64 {
  return (address & ~(<u64>63)) | VALID;
}

/** Whether a line is there; nothing changes. */
export function has(set: usize, bytes: u32, key: u64): bool {
  const wanted = i64x2.splat(key);
  const bits = i64x2.splat(~FLAGS);
  let any = i64x2.splat(0);
  for (let at = set; at < set + bytes; at += 16) any = v128.or(any, i64x2.eq(v128.and(v128.load(at), bits), wanted));
  return v128.any_true(any);
}

/** What becomes of a pair of entries when a line moves to the front, `above` being the pair before it: see touch. */
// @ts-ignore: decorator
@inline
function moved(above: v128, here: v128, match: v128, found: v128): v128 {
  const before = v128.or(found, i64x2.shuffle(i64x2.splat(0), match, 0, 2));
  return v128.bitselect(here, i64x2.shuffle(above, here, 1, 2), before);
}

/** All ones when the line was found up to a pair. */
// @ts-ignore: decorator
@inline
function foundWith(found: v128, match: v128): v128 {
  return v128.or(found, v128.or(match, i64x2.shuffle(match, match, 1, 0)));
}

/**
 * Looks for a line; a hit becomes the most recent entry. Returns the entry, 0 on a miss. Does not branch on where the line is found, which cannot
 * be predicted: entry i keeps its place if the line came before it, else it takes the place of i - 1.
 */
export function touch(set: usize, bytes: u32, key: u64): u64 {
  const first = load<u64>(set);
  if ((first & ~FLAGS) == key) return first;
  if (bytes == 64) return touchEight(set, key);
  if (!has(set, bytes, key)) return 0;
  const wanted = i64x2.splat(key);
  const bits = i64x2.splat(~FLAGS);
  const end = set + bytes;
  let found = i64x2.splat(0);
  let entry = i64x2.splat(0);
  let above = i64x2.splat(0);
  for (let at = set; at < end; at += 16) {
    const here = v128.load(at);
    const match = i64x2.eq(v128.and(here, bits), wanted);
    v128.store(at, moved(above, here, match, found));
    entry = v128.or(entry, v128.and(here, match));
    found = foundWith(found, match);
    above = here;
  }
  const hit = i64x2.extract_lane(entry, 0) | i64x2.extract_lane(entry, 1);
  store<u64>(set, hit);
  return hit;
}

/** The same for sets of eight ways, the most frequent, whose entries fit the registers. */
// @ts-ignore: decorator
@inline
export function touchEight(set: usize, key: u64): u64 {
  const wanted = i64x2.splat(key);
  const bits = i64x2.splat(~FLAGS);
  const none = i64x2.splat(0);
  const a = v128.load(set);
  const b = v128.load(set, 16);
  const c = v128.load(set, 32);
  const d = v128.load(set, 48);
  const inA = i64x2.eq(v128.and(a, bits), wanted);
  const inB = i64x2.eq(v128.and(b, bits), wanted);
  const inC = i64x2.eq(v128.and(c, bits), wanted);
  const inD = i64x2.eq(v128.and(d, bits), wanted);
  if (!v128.any_true(v128.or(v128.or(inA, inB), v128.or(inC, inD)))) return 0;
  const entry = v128.or(v128.or(v128.and(a, inA), v128.and(b, inB)), v128.or(v128.and(c, inC), v128.and(d, inD)));
  const hit = i64x2.extract_lane(entry, 0) | i64x2.extract_lane(entry, 1);
  const byA = foundWith(none, inA);
  const byB = foundWith(byA, inB);
  const byC = foundWith(byB, inC);
  v128.store(set, i64x2.replace_lane(moved(none, a, inA, none), 0, hit));
  v128.store(set, moved(a, b, inB, byA), 16);
  v128.store(set, moved(b, c, inC, byB), 32);
  v128.store(set, moved(c, d, inD, byC), 48);
  return hit;
}

/** Where the entry of a line lies, 0 when it is not there; nothing changes. */
export function find(set: usize, bytes: u32, key: u64): usize {
  if (!has(set, bytes, key)) return 0;
  let at = set;
  while ((load<u64>(at) & ~FLAGS) != key) at += ENTRY_BYTES;
  return at;
}

/** Enters a line (its key and flags) that is not there as the most recent entry; returns the entry that is lost, or 0. */
export function insert(set: usize, ways: u32, entry: u64): u64 {
  let at = set + (ways - 1) * ENTRY_BYTES;
  const lost = load<u64>(at);
  for (; at >= set + 16; at -= 16) v128.store(at - 8, v128.load(at - 16));
  if (at > set) store<u64>(at, load<u64>(at - 8));
  store<u64>(set, entry);
  return lost;
}

/** Removes a line; the entries behind it keep their order. True when it was there. */
export function remove(set: usize, bytes: u32, key: u64): bool {
  let at = find(set, bytes, key);
  if (!at) return false;
  const last = set + bytes - ENTRY_BYTES;
  for (; at < last; at += ENTRY_BYTES) store<u64>(at, load<u64>(at + ENTRY_BYTES));
  store<u64>(last, 0);
  return true;
}

/** Removes the lines with any of `flags`; the others keep their order. */
export function removeFlagged(set: usize, bytes: u32, flags: u64): void {
  const end = set + bytes;
  let to = set;
  for (let at = set; at < end; at += ENTRY_BYTES) {
    const entry = load<u64>(at);
    if (entry & flags) continue;
    store<u64>(to, entry);
    to += ENTRY_BYTES;
  }
  memory.fill(to, 0, end - to);
}
