// What a sweep's report is drawn from: the manifest and every finished cell's summary, counters flat, each cell with
// its baseline.

import { InputError } from '../../traces/errors.js';
import {
  type Manifest,
  MANIFEST_FILE,
  type ManifestCell,
  type ManifestTrace,
  readCell,
  readManifest,
} from '../results/manifest.js';
import {
  type Flat,
  flatten,
  type Gain,
  gain,
  phaseGain,
  type Summary,
  type TimelinePoint,
} from '../results/summary.js';
import { join } from 'node:path';

export interface PhaseData {
  phase: number;
  name: string;
  cpu: number | null;
  flat: Flat;
}

export interface CellData {
  cell: number;
  /** The name of its trace. */
  name: string;
  varied: Record<string, unknown>;
  config: Record<string, unknown>;
  flat: Flat;
  phases: PhaseData[];
  timeline?: TimelinePoint[];
  /** Counters of each CPU that the trace has. */
  cpus: { cpu: number; flat: Flat }[];
}

/** The cells of one trace, in one part of the experiment. */
export interface TraceData {
  /** The trace's name; with a number where several parts of the experiment have the trace. */
  title: string;
  trace: ManifestTrace;
  part: number;
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
  const parts = [...new Set(done.map(({ part }) => part))];
  const traces = parts.flatMap((part) =>
    manifest.traces.map((trace) => {
      const isOwn = (cell: ManifestCell) => cell.part === part && traceOf(cell.trace) === trace;
      const cells = done.flatMap((cell, i) => (isOwn(cell) ? [cellData(cell, trace, summaries[i])] : []));
      const base = done.find(isOwn)?.baseline;
      return { trace, part, cells, baseline: cells.find(({ cell }) => cell === base) ?? null };
    }),
  );
  return {
    manifest,
    traces: traces.filter(({ cells }) => cells.length > 0).map(withTitle),
    missing: manifest.cells.filter((cell) => !cell.done).map(({ cell }) => cell),
    versions: [...new Set(summaries.flatMap(({ run }) => run?.version ?? []))],
  };
}

function cellData({ cell, varied }: ManifestCell, { name }: ManifestTrace, summary: Summary): CellData {
  const phases = summary.phases.map((phase) => ({
    phase: phase.phase,
    name: phase.name,
    cpu: phase.cpu,
    flat: flatten(phase),
  }));
  const { timeline } = summary;
  const cpus = summary.cpus.map((cpu) => ({ cpu: cpu.cpu, flat: flatten(cpu) }));
  return { cell, name, varied, config: summary.config, flat: flatten(summary.totals), phases, cpus, timeline };
}

function withTitle(data: Omit<TraceData, 'title'>, _index: number, all: Omit<TraceData, 'title'>[]): TraceData {
  const same = all.filter(({ trace }) => trace === data.trace);
  const title = same.length > 1 ? `${data.trace.name} (${same.indexOf(data) + 1} of ${same.length})` : data.trace.name;
  return { ...data, title };
}

/** The name of what a trace has in common with others of its part: a scenario whose parameters are the same but for CPUs and vCPUs; else only itself. */
export function familyOf({ trace, part }: TraceData): string {
  const { scenario, parameters, name } = trace;
  if (!scenario) return JSON.stringify([part, name]);
  const { cpus: _cpus, vcpus: _vcpus, ...others } = parameters ?? {};
  return JSON.stringify([part, scenario, others]);
}

/** Of the varied keys those that the cells' part of the experiment varies. */
export function ownKeys({ cells }: Pick<TraceData, 'cells'>, keys: string[]): string[] {
  return keys.filter((key) => cells.some(({ varied }) => Object.hasOwn(varied, key)));
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
