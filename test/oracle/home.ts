// The home node of physical memory, as the line caches ask for it: allocated memory lives where it was placed, captured
// memory where the trace's physical ranges say, captured text and read-only data where `memory.text` says.
import { MEMORY_SHIFT } from './linecache.js';
import { type Frames, nodeOf } from './placement.js';
import { type Placement, type TraceContext } from './types.js';

/** In the address of a byte: it is in the captured machine's memory. */
const CAPTURED = 1n << (MEMORY_SHIFT + 8n);

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
  /** Pages whose frames are captured, and the nodes that first asked for frames of captured text. */
  private readonly captured = new Set<string>();
  private readonly askedFirst = new Map<bigint, number>();

  constructor(
    private readonly frames: Frames,
    private readonly context: TraceContext,
    private readonly text: Placement | null,
    private readonly pageShift: bigint,
  ) {}

  /** The page at this address has a frame of the captured machine from now on. */
  capture(context: string, va: bigint): void {
    this.captured.add(this.page(context, va));
  }

  isCaptured(context: string, va: bigint): boolean {
    return this.captured.has(this.page(context, va));
  }

  /** The address `pa` of what a page has at `va`, told apart from equal numbers in the other memory. */
  addressOf(context: string, va: bigint, pa: bigint): bigint {
    return this.isCaptured(context, va) ? pa | CAPTURED : pa;
  }

  /** The home of an address for a CPU on `node`. */
  of(address: bigint, node: number): number {
    if ((address & CAPTURED) === 0n) return this.frames.isLocal(address) ? node : nodeOf(address);
    const pa = address ^ CAPTURED;
    if (this.text !== null && this.isCapturedText(pa)) return this.homeOfText(this.text, pa >> this.pageShift, node);
    return this.context.ranges.find(({ from, to }) => from <= pa && pa < to)?.node ?? 0;
  }

  private homeOfText(placement: Placement, frame: bigint, node: number): number {
    if (typeof placement === 'object') return placement.node;
    if (placement === 'local') return node;
    if (placement === 'interleave') return Number(frame % BigInt(this.context.nodes));
    if (!this.askedFirst.has(frame)) this.askedFirst.set(frame, node);
    return this.askedFirst.get(frame)!;
  }

  private page(context: string, va: bigint): string {
    return `${context} ${va >> this.pageShift}`;
  }

  private isCapturedText(pa: bigint): boolean {
    return this.context.regions.some(({ name, pa: from, bytes }) => {
      return TEXT_REGIONS.includes(name) && from !== null && from !== undefined && from <= pa && pa < from + bytes;
    });
  }
}
