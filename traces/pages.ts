// A set of page numbers for footprints: exact, and as large as the footprint, never as the trace. Open addressing over
// one typed array, doubled when half full (Knuth, The Art of Computer Programming 3, 6.4, linear probing).

const INITIAL_SLOTS = 1 << 12;
/** Page numbers seen lately, by their low bits: most rows hit one and need no look-up. */
const RECENT = 1 << 10;
/** Multiplicative hashing: 2^32 / golden ratio. */
const GOLDEN = 0x9e37_79b1;

/** Distinct addresses at a page size of 4 KiB, from which larger sizes follow. Page numbers have up to 52 bits. */
export class PageSet {
  /** Low and high word of a page number plus one; both 0: free. */
  private slots = new Uint32Array(2 * INITIAL_SLOTS);
  private readonly recent = new Uint32Array(2 * RECENT);
  size = 0;

  /** Enters the page of an address given as its high and low word. */
  addAddress(high: number, low: number): void {
    const pageLow = ((high << 20) | (low >>> 12)) >>> 0;
    const pageHigh = (high >>> 12) + 1;
    const slot = 2 * (pageLow & (RECENT - 1));
    if (this.recent[slot] === pageLow && this.recent[slot + 1] === pageHigh) return;
    this.recent[slot] = pageLow;
    this.recent[slot + 1] = pageHigh;
    this.insert(pageLow, pageHigh);
  }

  /** Number of distinct pages of 4 KiB << `shift`. */
  distinct(shift: number): number {
    if (shift === 0) return this.size;
    const larger = new PageSet();
    for (let at = 0; at < this.slots.length; at += 2) {
      if (this.slots[at + 1] === 0) continue;
      const high = this.slots[at + 1] - 1;
      larger.insert(((high << (32 - shift)) | (this.slots[at] >>> shift)) >>> 0, (high >>> shift) + 1);
    }
    return larger.size;
  }

  /** `high` is never 0, so that a slot of zeros is free. */
  private insert(low: number, high: number): void {
    const mask = this.slots.length / 2 - 1;
    const hash = Math.imul(low ^ Math.imul(high, GOLDEN), GOLDEN);
    let slot = (hash ^ (hash >>> 15)) & mask;
    while (this.slots[2 * slot + 1] !== 0) {
      if (this.slots[2 * slot] === low && this.slots[2 * slot + 1] === high) return;
      slot = (slot + 1) & mask;
    }
    this.slots[2 * slot] = low;
    this.slots[2 * slot + 1] = high;
    if (2 * ++this.size > mask) this.grow();
  }

  private grow(): void {
    const old = this.slots;
    this.slots = new Uint32Array(2 * old.length);
    this.size = 0;
    for (let at = 0; at < old.length; at += 2) if (old[at + 1] !== 0) this.insert(old[at], old[at + 1]);
  }
}
