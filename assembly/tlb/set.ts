// One set of a TLB array: `ways` entries of 16 bytes, the most recent first, so that the order is the LRU state.
//
//   entry: u64 tag (VA >> size of the entry) | u64 context and size (the entry's shift in the lowest byte)
//
// An empty entry is all ones: no context has all bits set. Entries move as one 128-bit word.

export const ENTRY_BYTES: u32 = 16;

/** Makes `ways` entries at `set` empty. */
export function clear(set: usize, ways: u32): void {
  memory.fill(set, 0xff, ways * ENTRY_BYTES);
}

/** Looks for (tag, context); a hit becomes the most recent entry. */
export function lookup(set: usize, ways: u32, tag: u64, context: u64): bool {
  const end = set + ways * ENTRY_BYTES;
  for (let entry = set; entry < end; entry += ENTRY_BYTES) {
    if (load<u64>(entry) == tag && load<u64>(entry, 8) == context) {
      moveDown(set, entry);
      store<u64>(set, tag);
      store<u64>(set, context, 8);
      return true;
    }
  }
  return false;
}

/**
 * Looks for (tag, context) and makes it the most recent entry, entering it where it was not; true when it was there. Does not branch on
 * where the entry is found, which cannot be predicted: entry i keeps its place if the one looked for came before it,
 * else it takes the place of i - 1.
 */
export function touch(set: usize, ways: u32, tag: u64, context: u64): bool {
  const key = i64x2.replace_lane(i64x2.splat(tag), 1, context);
  const end = set + ways * ENTRY_BYTES;
  let found = i64x2.splat(0);
  let above = key;
  for (let entry = set; entry < end; entry += ENTRY_BYTES) {
    const here = v128.load(entry);
    v128.store(entry, v128.bitselect(here, above, found));
    // All ones when both halves are equal.
    const half = i64x2.eq(here, key);
    found = v128.or(
      found,
      v128.and(half, i8x16.shuffle(half, half, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)),
    );
    above = here;
  }
  return v128.any_true(found);
}

/** Enters (tag, context) as the most recent entry; the least recent is lost. The entry must not be there yet. */
export function insert(set: usize, ways: u32, tag: u64, context: u64): void {
  moveDown(set, set + (ways - 1) * ENTRY_BYTES);
  store<u64>(set, tag);
  store<u64>(set, context, 8);
}

/** Removes (tag, context) if it is there; the entries behind it keep their order. */
export function remove(set: usize, ways: u32, tag: u64, context: u64): void {
  const last = set + (ways - 1) * ENTRY_BYTES;
  for (let entry = set; entry <= last; entry += ENTRY_BYTES) {
    if (load<u64>(entry) != tag || load<u64>(entry, 8) != context) continue;
    for (; entry < last; entry += ENTRY_BYTES) v128.store(entry, v128.load(entry, ENTRY_BYTES));
    clear(last, 1);
    return;
  }
}

/** Moves the entries from `set` up to, but not including, `entry` one place down, over `entry`. */
// @ts-ignore: decorator
@inline
function moveDown(set: usize, entry: usize): void {
  for (; entry > set; entry -= ENTRY_BYTES) v128.store(entry, v128.load(entry - ENTRY_BYTES));
}
