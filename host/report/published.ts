// Measures what an experiment is compared with: the value of each published case over the cells of a sweep, whether it lies in its
// band, and how many events a second cost what a case gains.

import {
  choose,
  type GainMeasure,
  type PerSecondMeasure,
  type Published,
  type ValueMeasure,
} from '../config/published.js';
import { hostStage2Pages } from '../model/pool.js';
import { type Flat, type Gain, gain, phaseCyclesKey } from '../results/summary.js';
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
  /** For events per second: what the events cost. */
  cost: EventCost | null;
}

/** What the events of a phase cost in two cells. */
export interface EventCost {
  phase: number;
  events: number;
  of: CellData;
  over: CellData;
  /** Cycles of maintenance that an event takes more in the new cell than in the old one, on all CPUs together. */
  extraCycles: number;
}

/** All published cases of a sweep, in their order. */
export function measurePublished({ manifest, traces }: SweepData): Measured[] {
  const cells = traces.flatMap((trace) => trace.cells);
  const before = new Map<string, Measured>();
  return manifest.published.map((entry) => {
    const { measure, low, high } = entry;
    const found = 'gain' in measure ? gainOf(measure, cells) : null;
    const cost = 'perSecond' in measure ? costOf(measure, cells) : null;
    const measured =
      'value' in measure
        ? counterOf(measure, cells)
        : found && 'gain' in measure
          ? percentOf(found.gain[measure.gain])
          : valueOf(entry, before, cost);
    const banded = low !== null || high !== null;
    const inside = measured !== null && measured >= (low ?? -Infinity) && measured <= (high ?? Infinity);
    const result: Measured = {
      ...{ ...entry, measured, inBand: banded ? inside : null },
      ...{ gain: found?.gain ?? null, over: found?.over ?? null, cost },
    };
    before.set(entry.case, result);
    return result;
  });
}

/** What numbers of a case count: "%", "pages", "per second", or nothing. */
export function unitOf({ measure }: Published): string {
  if ('gain' in measure || 'cut' in measure || 'median' in measure) return '%';
  if ('perSecond' in measure) return 'per second';
  return 'pool' in measure ? 'pages' : '';
}

const percentOf = (share: number | null) => share && share * 100;

function gainOf(measure: GainMeasure, cells: CellData[]): { gain: Gain; over: CellData } | null {
  const [after, over] = sidesOf(measure, cells);
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

/** The new and the old cell. */
function sidesOf({ trace, where, of, over }: GainMeasure | PerSecondMeasure, cells: CellData[]) {
  return [of, over].map((chosen) => choose(cells, trace, { ...where, ...chosen }).at(0));
}

function costOf(measure: PerSecondMeasure, cells: CellData[]): EventCost | null {
  const [of, over] = sidesOf(measure, cells);
  const { phase, events } = measure;
  const [newCycles, oldCycles] = [of, over].map((cell) => cell && phaseOf(cell, phase)?.['cycles.maintenance']);
  if (!of || !over || newCycles === undefined || oldCycles === undefined) return null;
  return { phase, events, of, over, extraCycles: (newCycles - oldCycles) / events };
}

/** Events that take as many cycles a second as the case saves; null where the case saves nothing, or the events cost no more. */
function eventsPerSecond({ gain: found, over }: Measured, { extraCycles }: EventCost): number | null {
  const saved = found?.saved ?? null;
  if (saved === null || saved <= 0 || extraCycles <= 0) return null;
  const { clockGHz } = over!.config.machine as { clockGHz: number };
  return (saved * clockGHz * 1e9) / extraCycles;
}

/** The counters of a cell's phase. */
export function phaseOf({ phases }: CellData, phase: number): Flat | undefined {
  return phases.find((candidate) => candidate.phase === phase)?.flat;
}

/** Undefined where the cell's trace does not have one of the phases, or not the CPU. */
function cyclesOf(cell: CellData, { phase, cpu }: GainMeasure): number | undefined {
  const { flat, cpus } = cell;
  if (cpu !== undefined) return cpus.find((candidate) => candidate.cpu === cpu)?.flat['cycles.total'];
  if (phase === undefined) return flat['cycles.total'];
  return [phase].flat().reduce<number | undefined>((sum, number) => {
    const own = phaseOf(cell, number);
    return own && sum !== undefined ? sum + own[phaseCyclesKey([own])] : undefined;
  }, 0);
}

/** The value of a case that depends on no cell, or on the cases before it. */
function valueOf({ measure }: Published, before: Map<string, Measured>, cost: EventCost | null): number | null {
  if ('pool' in measure) return hostStage2Pages(measure.pool);
  if ('perSecond' in measure) return cost && eventsPerSecond(before.get(measure.perSecond)!, cost);
  const of = (names: readonly string[]) => names.map((name) => before.get(name)?.measured ?? null);
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
