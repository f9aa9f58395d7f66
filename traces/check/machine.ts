// The invariants of the metadata alone: that CPUs, nodes and their physical ranges fit together, and that every region can
// be told from the others. And the ranges of the nodes, to ask about addresses.

import { type TraceMetadata } from '../metadata.js';
import { type Findings } from './findings.js';

interface Range {
  from: bigint;
  to: bigint;
  name: string;
}

/** Checks what the metadata says of the machine and its regions. */
export function checkMachine({ cpus, cpuNode, nodes, regions }: TraceMetadata, findings: Findings): void {
  const wrong = (name: 'machine' | 'regions', found: string) => findings.add(name, null, null, () => found);
  if (cpus !== null && cpuNode !== null && cpus !== cpuNode.length)
    wrong('machine', `cpus is ${cpus}, cpuNode has ${cpuNode.length}`);
  const numbers = nodes.map(({ node }) => node);
  numbers.forEach((node, i) => {
    if (numbers.indexOf(node) !== i) wrong('machine', `node ${node} stands twice in nodes`);
  });
  if (nodes.length > 0) {
    (cpuNode ?? []).forEach((node, cpu) => {
      if (!numbers.includes(node)) wrong('machine', `CPU ${cpu} is of node ${node}, which has no entry in nodes`);
    });
  }
  const ranges = nodeRanges(nodes);
  for (const { from, to, name } of ranges) {
    if (from >= to) wrong('machine', `${name} has the empty range ${hex(from)} to ${hex(to)}`);
  }
  for (const [a, b] of pairs(ranges)) {
    if (overlap(a, b)) wrong('machine', `${a.name} and ${b.name} share ${hex(a.from > b.from ? a.from : b.from)}`);
  }
  const areas = regions.map(({ name, va, bytes }) => ({ name, from: BigInt(va), to: BigInt(va) + BigInt(bytes) }));
  for (const [a, b] of pairs(areas)) {
    // A part of a region, as the EL2 text of an arm64 kernel in its text, is no fault.
    if (overlap(a, b) && !inside(a, b) && !inside(b, a))
      wrong(
        'regions',
        `${a.name} (${hex(a.from)} to ${hex(a.to)}) overlaps ${b.name} (${hex(b.from)} to ${hex(b.to)})`,
      );
  }
}

/** Whether physical addresses belong to a node. */
export class NodeRanges {
  /** Pairs of first and last 4 KiB page of the ranges. */
  private readonly pages: Float64Array;
  private last = 0;

  constructor(nodes: TraceMetadata['nodes']) {
    this.pages = Float64Array.from(
      nodeRanges(nodes).flatMap(({ from, to }) => [Number(from >> 12n), Number((to - 1n) >> 12n)]),
    );
  }

  get empty(): boolean {
    return this.pages.length === 0;
  }

  /** An address as its high and low word. */
  has(high: number, low: number): boolean {
    const { pages } = this;
    const page = high * 2 ** 20 + (low >>> 12);
    if (page >= pages[this.last] && page <= pages[this.last + 1]) return true;
    for (let at = 0; at < pages.length; at += 2) {
      if (page < pages[at] || page > pages[at + 1]) continue;
      this.last = at;
      return true;
    }
    return false;
  }
}

function nodeRanges(nodes: TraceMetadata['nodes']): Range[] {
  return nodes.flatMap(({ node, ranges }) =>
    ranges.map(({ from, to }) => ({ from: BigInt(from), to: BigInt(to), name: `node ${node}` })),
  );
}

function overlap(a: Range, b: Range): boolean {
  return a.from < b.to && b.from < a.to;
}

function inside(a: Range, b: Range): boolean {
  return b.from <= a.from && a.to <= b.to;
}

function* pairs(ranges: readonly Range[]): Generator<[Range, Range]> {
  for (let i = 0; i < ranges.length; i++) for (let j = i + 1; j < ranges.length; j++) yield [ranges[i], ranges[j]];
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
