// What a sweep's report is drawn from: the manifest and every finished cell's summary, counters flat, each cell with
// its baseline (the cell of the same trace that has the baseline's varied values).

import { InputError } from '../../traces/errors.js';
import { type Manifest, MANIFEST_FILE, type ManifestTrace, readCell, readManifest } from '../results/manifest.js';
import { type Flat, flatten, type Gain, gain, phaseGain, type Summary } from '../results/summary.js';
import { join } from 'node:path';

export interface PhaseData {
  phase: number;
  name: string;
  cpu: number | null;
  flat: Flat;
}

export interface CellData {
  cell: number;
  varied: Record<string, unknown>;
  config: Record<string, unknown>;
  flat: Flat;
  phases: PhaseData[];
}

export interface TraceData {
  trace: ManifestTrace;
  cells: CellData[];
  baseline: CellData | null;
}

export interface SweepData {
  manifest: Manifest;
  traces: TraceData[];
  /** Cells that have not been run. */
  missing: number[];
  versions: string[];
}

export function readSweep(dir: string): SweepData {
  const manifest = readManifest(dir);
  const done = manifest.cells.filter((cell) => cell.done);
  const base = manifest.cells.find(({ cell }) => cell === manifest.baseline);
  const traceOf = (reference: string) =>
    manifest.traces.find(({ name, path }) => reference === name || reference === path);
  const stray = manifest.cells.find(({ trace }) => !traceOf(trace));
  if (stray) {
    throw new InputError({
      source: join(dir, MANIFEST_FILE),
      at: `cell ${stray.cell}`,
      expected: 'the name or path of one of the traces',
      found: JSON.stringify(stray.trace),
    });
  }
  const summaries = done.map((cell) => readCell(dir, cell));
  const traces = manifest.traces.map((trace) => {
    const own = done.flatMap((cell, i) => (traceOf(cell.trace) === trace ? [{ cell, summary: summaries[i] }] : []));
    const isBaseline = (varied: object) =>
      base !== undefined && signature(varied, manifest.vary) === signature(base.varied, manifest.vary);
    const cells = own.map(({ cell, summary }) => cellData(cell.cell, cell.varied, summary));
    return { trace, cells, baseline: cells.find(({ varied }) => isBaseline(varied)) ?? null };
  });
  return {
    manifest,
    traces: traces.filter(({ cells }) => cells.length > 0),
    missing: manifest.cells.filter((cell) => !cell.done).map(({ cell }) => cell),
    versions: [...new Set(summaries.flatMap(({ run }) => run?.version ?? []))],
  };
}

function cellData(cell: number, varied: Record<string, unknown>, summary: Summary): CellData {
  const phases = summary.phases.map((phase) => ({
    phase: phase.phase,
    name: phase.name,
    cpu: phase.cpu,
    flat: flatten(phase),
  }));
  return { cell, varied, config: summary.config, flat: flatten(summary.totals), phases };
}

/** The values of some varied keys as one comparable string. */
export function signature(varied: object, keys: string[]): string {
  return JSON.stringify(keys.map((key) => (varied as Record<string, unknown>)[key]));
}

/** A cell's gain over its trace's baseline; null without one. */
export function cellGain(cell: CellData, baseline: CellData | null): Gain | null {
  return baseline && gain(baseline.flat['cycles.total'], cell.flat['cycles.total']);
}

/** The speed-up of one phase over the same phase of the baseline. */
export function phaseSpeedup(cell: CellData, baseline: CellData, phase: number): number | null {
  const [now, before] = [cell, baseline].map(({ phases }) => phases.find((candidate) => candidate.phase === phase));
  return now && before ? phaseGain(before.flat, now.flat).speedup : null;
}
