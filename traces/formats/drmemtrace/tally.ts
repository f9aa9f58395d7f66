// What is counted of a drmemtrace besides its rows, under the names of DynamoRIO's own basic_counts tool.

import { MARKER } from './records.js';

/** Markers are counted by number up to this; those above are the users' own. */
const MARKERS = 256;

/** Markers that DynamoRIO's reader keeps to itself, and the second one of a pair. */
const UNSEEN: readonly number[] = [
  MARKER.RECORD_ORDINAL,
  MARKER.BRANCH_TARGET,
  MARKER.SPLIT_VALUE,
  MARKER.VIRTUAL_ADDRESS,
];

const NAMED: Readonly<Record<string, readonly number[]>> = {
  timestampsAndCpuIds: [MARKER.TIMESTAMP, MARKER.CPU_ID],
  idleMarkers: [MARKER.CORE_IDLE],
  waitMarkers: [MARKER.CORE_WAIT],
  kernelTransfers: [MARKER.KERNEL_EVENT, MARKER.KERNEL_XFER],
  hardwareTransfers: [MARKER.HARDWARE_EVENT, MARKER.HARDWARE_CONTEXT_RETURN],
  functionIds: [MARKER.FUNC_ID],
  functionReturnAddresses: [MARKER.FUNC_RETADDR],
  functionArguments: [MARKER.FUNC_ARG],
  functionReturnValues: [MARKER.FUNC_RETVAL],
  physicalPairs: [MARKER.PHYSICAL_ADDRESS],
  physicalUnavailable: [MARKER.PHYSICAL_ADDRESS_NOT_AVAILABLE],
  systemCalls: [MARKER.SYSCALL],
  blockingSystemCalls: [MARKER.MAYBE_BLOCKING_SYSCALL],
  skippedMemrefs: [MARKER.SKIPPED_MEMREF],
};

export class Tally {
  noFetch = 0;
  prefetches = 0;
  instructionFlushes = 0;
  dataFlushes = 0;
  encodings = 0;
  unknownPa = 0;
  private readonly markers = new Float64Array(MARKERS);

  marker(number: number): void {
    this.markers[Math.min(number, MARKERS - 1)]++;
  }

  /** All that were met. */
  counts(): Record<string, number> {
    const { noFetch, prefetches, instructionFlushes, dataFlushes, encodings, unknownPa } = this;
    const counts: Record<string, number> = {
      noFetch,
      prefetches,
      instructionFlushes,
      dataFlushes,
      encodings,
      unknownPa,
    };
    const named = new Set(UNSEEN);
    for (const [name, numbers] of Object.entries(NAMED)) {
      counts[name] = numbers.reduce((sum, number) => sum + this.markers[number], 0);
      for (const number of numbers) named.add(number);
    }
    counts.otherMarkers = this.markers.reduce((sum, count, number) => (named.has(number) ? sum : sum + count), 0);
    return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  }
}
