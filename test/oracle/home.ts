// The home node of physical memory, as the line caches ask for it: allocated memory lives where it was placed, captured
// memory where the trace's physical ranges say, captured text and read-only data where `memory.text` says.
import { type Frames, nodeOf } from './placement.js';
import { type Placement, type TraceContext } from './types.js';

/** The regions that are the kernel's text and read-only data. */
const TEXT_REGIONS = ['text', 'rodata'];

/** Whether a VA is text or read-only data. */
export function isText(regions: TraceContext['regions'], va: bigint): boolean {
  return regions.some(
    (region) => TEXT_REGIONS.includes(region.name) && region.va <= va && va < region.va + region.bytes,
  );
}

/** Homes of everything but table pages. */
export class Homes {
  private readonly captured = new Set<bigint>();

  constructor(
    private readonly frames: Frames,
    private readonly context: TraceContext,
    private readonly text: Placement | null,
    private readonly pageShift: bigint,
  ) {}

  /** The frame at this address is one of the captured machine. */
  capture(framePa: bigint): void {
    this.captured.add(framePa >> this.pageShift);
  }

  /** The home of an address for a CPU on `node`. */
  of(pa: bigint, node: number): number {
    if (!this.captured.has(pa >> this.pageShift)) return this.frames.isLocal(pa) ? node : nodeOf(pa);
    if (this.text !== null && this.isCapturedText(pa)) {
      if (this.text === 'local') return node;
      if (typeof this.text === 'object') return this.text.node;
      // Captured frames are allocated by nobody: first-touch and interleave have nothing to decide.
    }
    return this.context.ranges.find(({ from, to }) => from <= pa && pa < to)?.node ?? 0;
  }

  private isCapturedText(pa: bigint): boolean {
    return this.context.regions.some(({ name, pa: from, bytes }) => {
      return TEXT_REGIONS.includes(name) && from !== null && from !== undefined && from <= pa && pa < from + bytes;
    });
  }
}
