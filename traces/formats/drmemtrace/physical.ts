// Which physical page each virtual page of one address space is at, as pairs of markers tell it: asked for every access,
// so addresses stay pairs of 32-bit words and a small direct-mapped table answers before the map does.

const SLOTS = 1 << 12;
const WORD = 2 ** 32;

export class PhysicalPages {
  private readonly frames = new Map<number, number>();
  /** Page numbers plus one (0: free) and their frames, by their low bits; -1: no frame is known. */
  private readonly recentPage = new Float64Array(SLOTS);
  private readonly recentFrame = new Float64Array(SLOTS);

  /** `shift`: log2 of the page size, 12 to 31. */
  constructor(readonly shift: number) {}

  /** The number of the page that an address is in. */
  pageOf(low: number, high: number): number {
    return high * 2 ** (32 - this.shift) + (low >>> this.shift);
  }

  /** The frame of the page at a virtual address: -1 when it is reported to have none, undefined when nothing is. */
  reported(low: number, high: number): number | undefined {
    return this.frames.get(this.pageOf(low, high));
  }

  /** Reports the frame of the page at a virtual address; -1: it has none. */
  report(low: number, high: number, frame: number): void {
    const page = this.pageOf(low, high);
    this.frames.set(page, frame);
    const slot = this.slotOf(low, high);
    this.recentPage[slot] = page + 1;
    this.recentFrame[slot] = frame;
  }

  /** Writes the physical address of a virtual one into words `at` and `at + 1`; false (and all ones) if it is unknown. */
  translate(low: number, high: number, words: Uint32Array, at: number): boolean {
    const page = this.pageOf(low, high);
    const slot = this.slotOf(low, high);
    if (this.recentPage[slot] !== page + 1) {
      this.recentPage[slot] = page + 1;
      this.recentFrame[slot] = this.frames.get(page) ?? -1;
    }
    const frame = this.recentFrame[slot];
    if (frame < 0) {
      words[at] = words[at + 1] = 0xffff_ffff;
      return false;
    }
    const start = frame * 2 ** this.shift;
    words[at] = (start % WORD) + (low & (2 ** this.shift - 1));
    words[at + 1] = Math.floor(start / WORD);
    return true;
  }

  private slotOf(low: number, high: number): number {
    return ((low >>> this.shift) ^ high) & (SLOTS - 1);
  }
}
