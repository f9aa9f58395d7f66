// Physical memory and who gets it. Node k owns [k << 40, (k + 1) << 40): table pages in the lower half, data frames from
// the middle upwards. Table page number i of the machine, over all nodes, has offset i * unit in its node, the unit being
// the larger of the table sizes of both stages. What backs a VM's memory, its tables too, comes from the frames.
import { type Placement } from './types.js';

const NODE_SHIFT = 40n;
const DATA_OFFSET = 1n << 39n;

/** The node that owns a physical address. */
export function nodeOf(pa: bigint): number {
  return Number(pa >> NODE_SHIFT);
}

function homeNode(placement: Placement, cpuNode: number, turn: bigint, nodes: number): number {
  if (typeof placement === 'object') return placement.node;
  if (placement === 'interleave') return Number(turn % BigInt(nodes));
  return cpuNode; // first-touch and local
}

/** Hands out table pages and frames; nothing is ever given back. */
export class Frames {
  private tablePages = 0n;
  private readonly tableBytesOfNode: number[];
  private readonly nextFramePa: bigint[];
  private readonly localFrames: { from: bigint; to: bigint }[] = [];

  constructor(
    private readonly placement: { data: Placement; tables: Placement; text?: Placement | null },
    private readonly nodes: number,
    private readonly tableUnit: bigint,
  ) {
    this.tableBytesOfNode = Array.from({ length: nodes }, () => 0);
    this.nextFramePa = Array.from({ length: nodes }, (_, node) => (BigInt(node) << NODE_SHIFT) + DATA_OFFSET);
  }

  /** The next table page, or several in a row from a multiple of their number; interleaving takes the nodes in turn. */
  newTable(cpuNode: number, tableBytes: bigint, tables: number): bigint {
    const count = BigInt(tables);
    const first = ((this.tablePages + count - 1n) / count) * count;
    this.tablePages = first + count;
    const node = homeNode(this.placement.tables, cpuNode, first, this.nodes);
    this.countTable(node, tableBytes * count);
    return (BigInt(node) << NODE_SHIFT) + first * this.tableUnit;
  }

  /** A frame of 2^shift bytes for what lies at an address; interleaving goes by the number of the page there. */
  newFrame(holds: 'data' | 'tables' | 'text', cpuNode: number, address: bigint, shift: bigint): bigint {
    const placement = this.placement[holds] ?? this.placement.data;
    const node = homeNode(placement, cpuNode, address >> shift, this.nodes);
    const bytes = 1n << shift;
    const pa = ((this.nextFramePa[node] + bytes - 1n) / bytes) * bytes;
    this.nextFramePa[node] = pa + bytes;
    if (placement === 'local') this.localFrames.push({ from: pa, to: pa + bytes });
    return pa;
  }

  /** Whether an address is in a frame that is as if every node had its own. */
  isLocal(pa: bigint): boolean {
    return this.localFrames.some(({ from, to }) => from <= pa && pa < to);
  }

  /** Counts table bytes on a node: of the machine, or of a VM in frames there. */
  countTable(node: number, bytes: bigint): void {
    this.tableBytesOfNode[node] += Number(bytes);
  }

  /** Bytes of table pages per node. */
  tableBytesPerNode(): number[] {
    return [...this.tableBytesOfNode];
  }
}
