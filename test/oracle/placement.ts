// Physical memory and who gets it. Node k owns [k << 40, (k + 1) << 40): table pages in the lower half, data frames from
// the middle upwards. Table page number i of the machine, over all nodes, has offset i * tableBytes in its node.
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

/** Hands out table pages and data frames; nothing is ever given back. */
export class Frames {
  private tablePages = 0n;
  private readonly tableBytesOfNode: number[];
  private readonly nextDataPa: bigint[];

  constructor(
    private readonly placement: { data: Placement; tables: Placement },
    private readonly nodes: number,
    private readonly tableBytes: bigint,
  ) {
    this.tableBytesOfNode = Array.from({ length: nodes }, () => 0);
    this.nextDataPa = Array.from({ length: nodes }, (_, node) => (BigInt(node) << NODE_SHIFT) + DATA_OFFSET);
  }

  /** The next table page; interleaving takes the nodes in turn. */
  newTable(cpuNode: number): bigint {
    const node = homeNode(this.placement.tables, cpuNode, this.tablePages, this.nodes);
    this.tableBytesOfNode[node] += Number(this.tableBytes);
    return (BigInt(node) << NODE_SHIFT) + this.tablePages++ * this.tableBytes;
  }

  /** A frame for the page of 2^shift bytes that holds the VA; interleaving goes by the page's number. */
  newData(cpuNode: number, va: bigint, shift: bigint): bigint {
    const node = homeNode(this.placement.data, cpuNode, va >> shift, this.nodes);
    const bytes = 1n << shift;
    const pa = ((this.nextDataPa[node] + bytes - 1n) / bytes) * bytes;
    this.nextDataPa[node] = pa + bytes;
    return pa;
  }

  /** Bytes of table pages per node. */
  tableBytesPerNode(): number[] {
    return [...this.tableBytesOfNode];
  }
}
