// Measures what an experiment is compared with: the value of each published case over the cells of a sweep, and whether it
// lies in its band.

import { choose, type GainMeasure, type Published, type ValueMeasure } from '../config/published.js';
import { hostStage2Pages } from '../model/pool.js';
import { type Gain, gain, phaseCyclesKey } from '../results/summary.js';
import { type CellData, type SweepData } from './sweepData.js';

/** A published case with what was measured. */
export interface Measured extends Published {
  /** In the unit of the case; null where it cannot be measured. */
  measured: number | null;
  /** Null where the case has no band: there is nothing to be in or out of. */
  inBand: boolean | null;
  /** For a gain: both definitions of it, and the cell that it is over. */
  gain: Gain | null;
  over: CellData | null;
}

/** All published cases of a sweep, in their order. */
export function measurePublished({ manifest, traces }: SweepData): Measured[] {
  const cells = traces.flatMap((trace) => trace.cells);
  const before = new Map<string, number | null>();
  return manifest.published.map((entry) => {
    const { measure, low, high } = entry;
    const found = 'gain' in measure ? gainOf(measure, cells) : null;
    const measured =
      'value' in measure
        ? counterOf(measure, cells)
        : found && 'gain' in measure
          ? percentOf(found.gain[measure.gain])
          : valueOf(entry, before);
    before.set(entry.case, measured);
    const banded = low !== null || high !== null;
    const inside = measured !== null && measured >= (low ?? -Infinity) && measured <= (high ?? Infinity);
    return {
      ...{ ...entry, measured, inBand: banded ? inside : null },
      ...{ gain: found?.gain ?? null, over: found?.over ?? null },
    };
  });
}

/** What numbers of a case count: "%", "pages", or nothing. */
export function unitOf({ measure }: Published): string {
  if ('gain' in measure || 'cut' in measure || 'median' in measure) return '%';
  return 'pool' in measure ? 'pages' : '';
}

const percentOf = (share: number | null) => share && share * 100;

function gainOf(measure: GainMeasure, cells: CellData[]): { gain: Gain; over: CellData } | null {
  const side = (chosen: object) => choose(cells, measure.trace, { ...measure.where, ...chosen }).at(0);
  const [after, over] = [side(measure.of), side(measure.over)];
  const [newCycles, oldCycles] = [after, over].map((cell) => cell && cyclesOf(cell, measure));
  if (!over || oldCycles === undefined || newCycles === undefined) return null;
  return { gain: gain(oldCycles, newCycles), over };
}

/** A counter of one cell, scaled. */
function counterOf({ value, trace, phase, of, scale }: ValueMeasure, cells: CellData[]): number | null {
  const cell = choose(cells, trace, of).at(0);
  const flat = phase === undefined ? cell?.flat : cell?.phases.find((candidate) => candidate.phase === phase)?.flat;
  const found = flat?.[value];
  return found === undefined ? null : found * scale;
}

/** Undefined where the cell's trace does not have one of the phases, or not the CPU. */
function cyclesOf({ flat, phases, cpus }: CellData, { phase, cpu }: GainMeasure): number | undefined {
  if (cpu !== undefined) return cpus.find((candidate) => candidate.cpu === cpu)?.flat['cycles.total'];
  if (phase === undefined) return flat['cycles.total'];
  return [phase].flat().reduce<number | undefined>((sum, number) => {
    const own = phases.find((candidate) => candidate.phase === number)?.flat;
    return own && sum !== undefined ? sum + own[phaseCyclesKey([own])] : undefined;
  }, 0);
}

/** The value of a case that depends on no cell, or on the cases before it. */
function valueOf({ measure }: Published, before: Map<string, number | null>): number | null {
  if ('pool' in measure) return hostStage2Pages(measure.pool);
  const of = (names: readonly string[]) => names.map((name) => before.get(name) ?? null);
  const numbers = 'order' in measure ? of(measure.order) : 'median' in measure ? of(measure.median) : [];
  const [a, b] = 'ratio' in measure ? of(measure.ratio) : 'cut' in measure ? of(measure.cut) : [null, null];
  if (numbers.length > 0 && numbers.every((value) => value !== null)) {
    return 'median' in measure
      ? median(numbers)
      : Number(numbers.every((value, i) => i === 0 || numbers[i - 1] > value));
  }
  if (a === null || b === null) return null;
  if ('ratio' in measure) return b === 0 ? null : a / b;
  // Nothing can be cut from a gain that is none.
  return a > 0 ? 100 * (1 - b / a) : null;
}

function median(numbers: number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}
