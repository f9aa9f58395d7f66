// The feature sections at the end of a perf.data, or the FEATURE records of a piped one (tools/perf/util/header.c): what
// was known of the machine and of the recording. A section that is damaged tells nothing.

import { type TraceMetadata } from '../../metadata.js';

const VERSION = 5;
const ARCH = 6;
const CPU_COUNT = 7;
const CPU_ID = 9;
const COMMAND_LINE = 11;
const NUMA_TOPOLOGY = 14;
const MEMORY_TOPOLOGY = 22;
/** More nodes or CPUs than any machine has are damage. */
const MAX_COUNT = 1 << 16;

/** What the features of a file say. */
export interface Features {
  version?: string;
  arch?: TraceMetadata['arch'];
  cpus?: number;
  /** The core: on Arm its MIDR_EL1. */
  midr?: number;
  command?: string;
  cpuNode?: number[];
  nodes?: TraceMetadata['nodes'];
}

/** Reads strings and numbers of a section one after the other. Throws RangeError behind its end. */
class Section {
  private at = 0;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  u32(): number {
    return this.view.getUint32((this.at += 4) - 4, true);
  }

  word(): bigint {
    return this.view.getBigUint64((this.at += 8) - 8, true);
  }

  u64(): number {
    return Number(this.word());
  }

  count(value: number): number {
    if (value > MAX_COUNT) throw new RangeError(`${value} things`);
    return value;
  }

  string(): string {
    const length = this.u32();
    if (this.at + length > this.bytes.length) throw new RangeError('a string behind the end');
    const text = Buffer.from(this.bytes.subarray(this.at, this.at + length)).toString('utf8');
    this.at += length;
    return text.replace(/\0.*$/s, '');
  }
}

const ARCHITECTURES: Readonly<Record<string, TraceMetadata['arch']>> = { x86_64: 'x86-64', aarch64: 'arm64' };

/** Adds what the feature `id` says. */
export function readFeature(id: number, bytes: Uint8Array, features: Features): void {
  const section = new Section(bytes);
  try {
    if (id === VERSION) features.version = section.string();
    else if (id === ARCH) features.arch = ARCHITECTURES[section.string()] ?? null;
    else if (id === CPU_COUNT) features.cpus = section.count(section.u32());
    else if (id === CPU_ID) {
      const text = section.string();
      if (/^0x[0-9a-f]{1,16}$/i.test(text)) features.midr = Number(BigInt(text) & 0xffff_ffffn);
    } else if (id === COMMAND_LINE) {
      const words = Array.from({ length: section.count(section.u32()) }, () => section.string());
      features.command = words.join(' ');
    } else if (id === NUMA_TOPOLOGY) features.cpuNode = cpuNodes(section);
    else if (id === MEMORY_TOPOLOGY) features.nodes = memoryNodes(section);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
}

/** u32 nodes, each: u32 node, u64 total and u64 free memory, a list of CPUs such as "0-3,8". */
function cpuNodes(section: Section): number[] | undefined {
  const nodeOf: number[] = [];
  let named = 0;
  for (let nodes = section.count(section.u32()); nodes > 0; nodes--) {
    const node = section.u32();
    section.u64();
    section.u64();
    for (const range of section.string().split(',')) {
      const [first, last = first] = range.split('-').map(Number);
      if (!range || !(last < MAX_COUNT)) continue;
      // Each CPU is on one node: lists that name more than there are take for ever.
      named = section.count(named + Math.max(0, last - first + 1));
      for (let cpu = first; cpu <= last; cpu++) nodeOf[cpu] = node;
    }
  }
  // CPUs that are offline have no node: the list is of use only without gaps.
  return nodeOf.length > 0 && Array.from(nodeOf).every((node) => node !== undefined) ? nodeOf : undefined;
}

/** u64 version, bytes of a block, nodes, each: u64 node, u64 bits and as many bits in words of 64, one per block. */
function memoryNodes(section: Section): TraceMetadata['nodes'] {
  section.u64();
  const blockBytes = section.u64();
  const hex = (blocks: number) => `0x${(BigInt(blocks) * BigInt(blockBytes)).toString(16)}`;
  return Array.from({ length: section.count(section.u64()) }, () => {
    const node = section.u64();
    const size = section.u64();
    const ranges: TraceMetadata['nodes'][number]['ranges'] = [];
    let first = -1;
    let word = 0n;
    for (let block = 0; block <= size; block++) {
      if (block % 64 === 0) word = block < size ? section.word() : 0n;
      const present = block < size && ((word >> BigInt(block % 64)) & 1n) !== 0n;
      if (present && first < 0) first = block;
      if (!present && first >= 0) {
        ranges.push({ from: hex(first), to: hex(block) });
        first = -1;
      }
    }
    return { node, ranges };
  });
}
