// A map from pages of address spaces to values: as large as the footprint, never as the trace. Open addressing over
// typed arrays, doubled when half full (Knuth, The Art of Computer Programming 3, 6.4, linear probing). Numbers of 64 bits
// are pairs of words, high before low in parameters.

const INITIAL_SLOTS = 1 << 12;
/** Words of a value: a number of 64 bits and one of 32. */
export const VALUE_WORDS = 3;
/** Multiplicative hashing: 2^32 / golden ratio. */
const GOLDEN = 0x9e37_79b1;

/** Page numbers have up to 52 bits; `space` tells equal page numbers of different address spaces apart. */
export class PageMap {
  /** Low word, high word plus one (0: free) and space of every slot's page. */
  private keys = new Uint32Array(3 * INITIAL_SLOTS);
  /** VALUE_WORDS words of every slot, for the caller to use: 0 in a new slot. */
  values = new Uint32Array(VALUE_WORDS * INITIAL_SLOTS);
  size = 0;
  /** Whether the last `slotOf` made the slot. */
  fresh = false;

  /** The slot of a page, made where there is none. Slots are valid until the next call. */
  slotOf(high: number, low: number, space: number): number {
    if (2 * this.size >= this.slots) this.grow();
    const slot = this.probe(high, low, space);
    this.fresh = this.keys[3 * slot + 1] === 0;
    if (this.fresh) {
      this.keys[3 * slot] = low;
      this.keys[3 * slot + 1] = high + 1;
      this.keys[3 * slot + 2] = space;
      this.size++;
    }
    return slot;
  }

  /** The slot of a page; -1 where there is none. */
  find(high: number, low: number, space: number): number {
    const slot = this.probe(high, low, space);
    return this.keys[3 * slot + 1] === 0 ? -1 : slot;
  }

  private get slots(): number {
    return this.values.length / VALUE_WORDS;
  }

  /** Where a page is, or would be. */
  private probe(high: number, low: number, space: number): number {
    const { keys } = this;
    const mask = this.slots - 1;
    const hash = Math.imul(low ^ Math.imul(high + 1, GOLDEN) ^ Math.imul(space, 0x85eb_ca6b), GOLDEN);
    let slot = (hash ^ (hash >>> 15)) & mask;
    while (keys[3 * slot + 1] !== 0) {
      if (keys[3 * slot] === low && keys[3 * slot + 1] === high + 1 && keys[3 * slot + 2] === space) return slot;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  private grow(): void {
    const { keys, values } = this;
    this.keys = new Uint32Array(2 * keys.length);
    this.values = new Uint32Array(2 * values.length);
    for (let old = 0; VALUE_WORDS * old < values.length; old++) {
      if (keys[3 * old + 1] === 0) continue;
      const slot = this.probe(keys[3 * old + 1] - 1, keys[3 * old], keys[3 * old + 2]);
      this.keys.set(keys.subarray(3 * old, 3 * old + 3), 3 * slot);
      this.values.set(values.subarray(VALUE_WORDS * old, VALUE_WORDS * (old + 1)), VALUE_WORDS * slot);
    }
  }
}
