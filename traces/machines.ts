// Capture machines whose layout no file of a capture tells: which CPUs and which physical memory belong to which node.
// `--meta NAME` takes one by name; formats/raw24.ts takes one by itself where the capture's own counts prove it.

import { type TraceMetadata } from './metadata.js';

export const MACHINES: Readonly<Record<string, Partial<TraceMetadata>>> = {
  /** QEMU pc, 1 GiB: node 0 is the first half, node 1 the second. */
  'qemu-x86-2node': {
    arch: 'x86-64',
    cpus: 4,
    cpuNode: [0, 0, 1, 1],
    nodes: [
      { node: 0, ranges: [{ from: '0x0', to: '0x20000000' }] },
      { node: 1, ranges: [{ from: '0x20000000', to: '0x40000000' }] },
    ],
  },
  /** QEMU virt, 1 GiB from 0x40000000: node 0 is the first half, node 1 the second. */
  'qemu-arm64-2node': {
    arch: 'arm64',
    cpus: 4,
    cpuNode: [0, 0, 1, 1],
    nodes: [
      { node: 0, ranges: [{ from: '0x40000000', to: '0x60000000' }] },
      { node: 1, ranges: [{ from: '0x60000000', to: '0x80000000' }] },
    ],
  },
};
