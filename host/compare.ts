// Two results side by side. A is the baseline: differences are B - A, ratios B / A, and cycles give both definitions of
// a gain. A side is written as a summary.json, a directory that `replay -o` wrote, or DIR#CELL for a cell of a sweep.

import { closest } from 'fastest-levenshtein';
import { existsSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { UsageError } from '../traces/errors.js';
import { MANIFEST_FILE, readCell, readManifest } from './results/manifest.js';
import {
  flatten,
  type Gain,
  gain,
  leaves,
  phaseCyclesKey,
  phaseGain,
  readSummary,
  type Summary,
} from './results/summary.js';
import { unitOf } from './results/units.js';

/** One value on both sides; null where a side does not have it. `gain` only for cycles that both sides have. */
export interface Row {
  metric: string;
  unit: string;
  a: number | null;
  b: number | null;
  difference: number | null;
  ratio: number | null;
  gain: Gain | null;
}

/** A metric in one phase. */
export interface PhaseRow extends Row {
  phase: number;
  name: string;
  cpu: number | null;
}

/** Reads one side of a comparison. */
export function readSide(notation: string): Summary {
  const hash = notation.lastIndexOf('#');
  if (hash < 0 || existsSync(notation)) {
    if (existsSync(`${notation}/${MANIFEST_FILE}`)) {
      throw new UsageError(`${notation} is a sweep: name one of its cells, for example ${notation}#0`);
    }
    return readSummary(notation);
  }
  const [dir, wanted] = [notation.slice(0, hash), notation.slice(hash + 1)];
  const { cells } = readManifest(dir);
  const cell = cells.find((candidate) => String(candidate.cell) === wanted);
  if (!cell) {
    const range = cells.length > 0 ? `its cells are ${cells[0].cell} to ${cells.at(-1)?.cell}` : 'it has no cells';
    throw new UsageError(`${dir} has no cell "${wanted}": ${range}`);
  }
  if (!cell.done) throw new UsageError(`cell ${wanted} of ${dir} has not been run: run the sweep again to complete it`);
  return readCell(dir, cell);
}

/** Every counter of the totals, or only `metric`. */
export function compareTotals(a: Summary, b: Summary, metric?: string): Row[] {
  const [flatA, flatB] = [flatten(a.totals), flatten(b.totals)];
  const known = [...new Set([...Object.keys(flatA), ...Object.keys(flatB)])];
  if (metric !== undefined && !known.includes(metric)) {
    throw new UsageError(`unknown metric "${metric}": did you mean "${closest(metric, known)}"?`);
  }
  return known.filter((key) => metric === undefined || key === metric).map((key) => row(key, flatA[key], flatB[key]));
}

/** What the gains next to `cycles.total` of phases are computed from. */
export function phaseGainOf(a: Summary, b: Summary): string {
  return phaseCyclesKey([...a.phases, ...b.phases].map((phase) => flatten(phase)));
}

/** One counter in every phase that either side has, by phase number; cycles.total with the gain that phases use. */
export function comparePhases(a: Summary, b: Summary, metric: string): PhaseRow[] {
  const numbers = [...new Set([...a.phases, ...b.phases].map(({ phase }) => phase))].sort((x, y) => x - y);
  return numbers.map((number) => {
    const [inA, inB] = [a, b].map(({ phases }) => phases.find(({ phase }) => phase === number));
    const { name, cpu } = (inA ?? inB)!;
    const [flatA, flatB] = [inA, inB].map((phase) => (phase ? flatten(phase) : undefined));
    const values = row(metric, flatA?.[metric], flatB?.[metric]);
    if (metric === 'cycles.total' && flatA && flatB) values.gain = phaseGain(flatA, flatB);
    return { phase: number, name, cpu, ...values };
  });
}

function row(metric: string, a: number | null = null, b: number | null = null): Row {
  const both = a !== null && b !== null;
  return {
    metric,
    unit: unitOf(metric),
    a,
    b,
    difference: both ? b - a : null,
    ratio: both && a !== 0 ? b / a : null,
    gain: both && metric.startsWith('cycles.') ? gain(a, b) : null,
  };
}

/** What makes the two results hard to compare, and which configuration keys differ: one sentence each. */
export function differences(a: Summary, b: Summary): string[] {
  const sentences: string[] = [];
  if (a.trace.sha256 && b.trace.sha256 && a.trace.sha256 !== b.trace.sha256) {
    sentences.push(
      `the traces differ: SHA-256 ${a.trace.sha256} (${a.trace.path}) and ${b.trace.sha256} (${b.trace.path})`,
    );
  } else if (a.trace.records !== b.trace.records) {
    const [inA, inB] = [a, b].map(({ trace }) => `${trace.records} records (${trace.path})`);
    sentences.push(`the traces differ: ${inA} and ${inB}`);
  }
  const keys = differingKeys(a.config, b.config);
  if (keys.length > 0) sentences.push(`the configurations differ in ${keys.join(', ')}`);
  return sentences;
}

function differingKeys(a: object, b: object): string[] {
  const [inA, inB] = [leaves(a), leaves(b)];
  return [...new Set([...inA.keys(), ...inB.keys()])].filter((key) => !isDeepStrictEqual(inA.get(key), inB.get(key)));
}
