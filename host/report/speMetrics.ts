// What a report shows of profiling in KVM guests, where a result has it (docs/spe.md).

import { type Flat } from '../results/summary.js';
import { type Metric } from './metrics.js';

const ratio = (part: number | undefined, whole: number | undefined): number | null =>
  part === undefined || !whole ? null : part / whole;

/** Samples that were due and not taken; undefined where nothing was profiled. */
const gone = (flat: Flat): number | undefined =>
  'spe.lost' in flat ? flat['spe.lost'] + flat['spe.missed'] : undefined;

const BLACKOUT: Metric = {
  title: 'Blackout',
  unit: 'of all cycles',
  meaning: 'Time from an event of the profiling unit until it samples again.',
  value: (flat) => ratio(flat['spe.blackout'], flat['cycles.total']),
  share: true,
};

const GONE: Metric = {
  title: 'Samples gone',
  unit: 'of those that were due',
  meaning: 'Samples lost while the unit was stopped, and those that the time of software would have held.',
  value: (flat) => ratio(gone(flat), (gone(flat) ?? 0) + (flat['spe.samples'] ?? 0)),
  share: true,
};

const PINNED: Metric = {
  title: 'Pinned',
  unit: 'bytes',
  meaning: 'The most memory of guests that the host had to leave in place at a time.',
  value: (flat) => flat['spe.pinnedMax'] ?? null,
};

const KERNEL: Metric = {
  title: "KVM's buffers",
  unit: 'bytes',
  meaning: 'The most memory that KVM had for buffers of its own and for what guests had not read.',
  value: (flat) => flat['spe.kernelMax'] ?? null,
};

const COST: Metric = {
  title: 'Maintenance',
  unit: 'cycles per sample',
  meaning: 'What software spent, the start included, divided by the records that were taken.',
  value: (flat) => ratio(flat['cycles.maintenance'], flat['spe.samples']),
};

/** In the order of the report. */
export const SPE_METRICS: readonly Metric[] = [BLACKOUT, GONE, PINNED, KERNEL, COST];
