// Raw memory for everything that lives as long as the instance: lane state, filters, columns, table pages.
//
// It is a bump allocator over memory.grow, because AssemblyScript's own allocator stops at 1 GiB per block and nothing
// here is ever freed: an instance is dropped as a whole. Memory fresh from the engine is zero, and so is every block.

const WASM_PAGE: usize = 65536;
/** Growing in steps of 1 MiB keeps the number of memory.grow calls small and wastes little. */
const GROW_PAGES: usize = 16;

let top: usize = __heap_base;

/** A zeroed block of `bytes`, aligned to `alignment` (a power of two). Traps when the 4 GiB of a Wasm memory are used up. */
export function allocate(bytes: usize, alignment: usize = 64): usize {
  const block = (top + alignment - 1) & ~(alignment - 1);
  const end = block + bytes;
  if (end < block) unreachable();
  const have = <usize>memory.size() * WASM_PAGE;
  // A memory of the full 4 GiB has a size that wraps to 0 in 32 bits; the last page is never handed out, so it cannot.
  if (end > have) {
    const need = (end - have + WASM_PAGE - 1) / WASM_PAGE;
    if (memory.grow(<i32>max(need, GROW_PAGES)) < 0 && memory.grow(<i32>need) < 0) unreachable();
  }
  top = end;
  return block;
}

/** Items that a list has room for at first. */
const FIRST_ITEMS: u32 = 8;

/**
 * A list of `count` items with room for one more: the same one, or where it is full (which its count tells: 8, 16, 32, ...) a copy of twice the
 * room. Lists begin as 0.
 */
export function withRoom(list: usize, count: u32, itemBytes: usize): usize {
  if (count ? count < FIRST_ITEMS || (count & (count - 1)) != 0 : list != 0) return list;
  const wider = allocate(max(count * 2, FIRST_ITEMS) * itemBytes);
  memory.copy(wider, list, count * itemBytes);
  return wider;
}
