// An experiment: traces x configurations. Its file names a base configuration and the keys that vary, as a product
// (`vary`) or in step (`zip`), or several such parts; it expands to cells, each one trace under one resolved configuration.
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { UsageError } from '../../traces/errors.js';
import { packageRoot } from '../paths.js';
import { type Doc, documentOf, readDocument, shown } from './documents.js';
import { type Problem, problemsOf, unknownKeys } from './issues.js';
import { key } from './key.js';
import { documentSchema } from './keys.js';
import { asLayer, type Layer, layersOfSets, loadDocument, resolveLayers } from './load.js';
import { suggest } from './nearest.js';
import { presetNames } from './presets.js';
import { checkPublished, type Published, publishedSchema } from './published.js';
import { type Config } from './schema.js';

const lists = z.record(z.string().min(1), z.array(z.unknown()).min(1)).default({});
const configuration = z.union([z.string(), z.record(z.string(), z.unknown())]);
const scenario = z.strictObject({
  synth: key(z.string().min(1), 'scenario of `nodewalk synth`; the trace is made in the directory of the sweep'),
  set: key(z.record(z.string(), z.unknown()).default({}), 'parameters of the scenario'),
  name: key(z.string().min(1).optional(), 'name of the trace; that of the scenario when not given'),
});

const partSchema = z.strictObject({
  traces: key(
    z.array(z.union([z.string().min(1), scenario])).min(1),
    'trace files, relative to this file; samples/NAME is a trace that ships with the package; { synth: SCENARIO, set: {...} } is made',
  ),
  config: key(
    configuration.default('generic'),
    'base configuration: a preset, a file relative to this one, or the document itself',
  ),
  baseline: key(
    z.record(z.string(), z.unknown()).nullable().default({}),
    'values of varied keys: the cell that the others of the same trace are compared with; the first value of each key not named here; null: no baseline',
  ),
  vary: key(
    lists,
    'lists of values by dotted key; every combination is a cell. The key config takes base configurations',
  ),
  zip: key(lists, 'lists of equal length by dotted key, walked together; with vary, every combination for each step'),
});

export const experimentSchema = z.strictObject({
  title: key(z.string().optional(), 'heading of the report'),
  description: key(z.string().optional(), 'what is asked, for the report'),
  ...partSchema.shape,
  traces: partSchema.shape.traces.optional(),
  parts: key(
    z.array(partSchema.partial()).min(1).optional(),
    'several experiments in one directory: each states any of traces, config, baseline, vary and zip, and takes the others from this document',
  ),
  published: key(
    z.array(publishedSchema).default([]),
    'published numbers, with bands and how each is measured (docs/experiments.md)',
  ),
});

export const experimentJsonSchema = documentSchema(experimentSchema);

/** A trace of an experiment. */
export interface TraceSource {
  /** Unlike those of the experiment's other traces; it stays when another file is taken. */
  name: string;
  /** As the experiment has it. */
  given: string;
  /** Absolute; of a scenario once it is made. */
  path: string;
  /** What makes it, where it is no file. */
  scenario: { synth: string; set: Record<string, unknown> } | null;
}

/** Traces under a base configuration and the keys that vary over it. */
interface Part extends Omit<z.output<typeof partSchema>, 'traces'> {
  /** Names of traces. */
  traces: string[];
  /** What errors call the part: "parts.1." where there are several. */
  at: string;
}

/** An experiment as its file has it; `file` is where it was read from. */
export interface Experiment {
  file: string;
  title?: string;
  description?: string;
  traces: TraceSource[];
  parts: Part[];
  published: Published[];
  /** Laid over every base configuration; the keys that vary lie over it. */
  sets: Layer[];
}

/** One trace under one configuration. */
export interface Cell {
  index: number;
  /** The name of its trace. */
  name: string;
  /** Absolute path. */
  trace: string;
  /** Index of the part of the experiment. */
  part: number;
  /** The values of the keys that its part varies, by dotted key. */
  varied: Record<string, unknown>;
  config: Config;
  /** Index of the cell that this one is compared with (its own for that cell itself). */
  baseline: number | null;
}

const folder = join(packageRoot(), 'host/experiments');

/** The names of the experiments that ship with the package. */
export function experimentNames(): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => basename(file, '.yaml'))
    .sort();
}

/** Reads an experiment file, or one that ships with the package by its name. */
export function loadExperiment(pathOrName: string): Experiment {
  const names = experimentNames();
  const shipped = names.includes(pathOrName);
  if (!shipped && !existsSync(pathOrName)) {
    const expected = 'an experiment file or the name of one that ships with nodewalk';
    throw new UsageError(
      `expected ${expected}, found ${shown(pathOrName)}, which is neither${suggest(pathOrName, names)}`,
    );
  }
  const file = shipped ? join(folder, `${pathOrName}.yaml`) : resolve(pathOrName);
  return parseExperiment(readDocument(file), file);
}

/** Checks an experiment document; `file` is where it stands, which relative paths start from. */
export function parseExperiment(doc: unknown, file: string): Experiment {
  const parsed = experimentSchema.safeParse(doc);
  const problems = [...unknownKeys(doc, experimentJsonSchema)];
  if (!parsed.success && problems.length === 0) problems.push(...problemsOf(parsed.error, doc));
  const fail = (at: string, { path, message }: Problem) => `${file}: ${at}${path.join('.') || 'document'}: ${message}`;
  if (problems.length > 0) throw new UsageError(problems.map((problem) => fail('', problem)).join('\n'));
  const { title, description, published } = parsed.data!;
  const sources: TraceSource[] = [];
  const parts = partsOf(doc as Doc).map(({ at, doc: part }) => {
    const { data, error } = partSchema.safeParse(part);
    if (error)
      throw new UsageError(
        problemsOf(error, part)
          .map((problem) => fail(at, problem))
          .join('\n'),
      );
    const own = data.traces.map((entry) => sourceOf(entry, file));
    own.forEach((source, i) => {
      if (own.findIndex((other) => isSame(other, source)) < i)
        throw new UsageError(`${file}: ${at}traces: one of them is listed twice`);
      if (!sources.some((other) => isSame(other, source))) sources.push(source);
    });
    checkVaried(data, file);
    return { ...data, at, own };
  });
  const names = sources.map(({ name }) => name);
  const clashes = (name: string) => names.indexOf(name) !== names.lastIndexOf(name);
  const traces = sources.map((source) => ({ ...source, name: clashes(source.name) ? source.given : source.name }));
  const twin = traces.find(({ name }, i) => traces.findIndex((other) => other.name === name) < i);
  if (twin) throw new UsageError(`${file}: traces: two are called ${shown(twin.name)}; give each a name`);
  const nameOf = (source: TraceSource) => traces[sources.findIndex((other) => isSame(other, source))].name;
  return {
    ...{ file, title, description, traces, published, sets: [] },
    parts: parts.map(({ own, ...part }) => ({ ...part, traces: own.map(nameOf) })),
  };
}

/** The documents of the parts, each with what it takes from the experiment's own. */
function partsOf(doc: Doc): { at: string; doc: Doc }[] {
  const { title: _title, description: _description, published: _published, parts, ...shared } = doc;
  if (parts === undefined) return [{ at: '', doc: shared }];
  return (parts as Doc[]).map((part, i) => ({ at: `parts.${i}.`, doc: { ...shared, ...part } }));
}

function sourceOf(entry: string | z.output<typeof scenario>, file: string): TraceSource {
  if (typeof entry === 'string') {
    const path = tracePath(entry, file);
    return { name: basename(path, '.arrow'), given: entry, path, scenario: null };
  }
  const { synth, set, name = synth } = entry;
  return { name, given: `synth:${name}`, path: '', scenario: { synth, set } };
}

const isSame = (a: TraceSource, b: TraceSource) =>
  a.path === b.path && a.name === b.name && isDeepStrictEqual(a.scenario, b.scenario);

/** The experiment with other files for its traces, in their order; the traces keep their names. */
export function withTraces(experiment: Experiment, files: readonly string[]): Experiment {
  const replaced = experiment.traces.filter(({ scenario }) => scenario === null);
  if (files.length > replaced.length) {
    const names = replaced.map(({ name }) => name).join(', ');
    throw new UsageError(
      `--traces: expected at most ${replaced.length}, for ${names || 'none'}, found ${files.length} files`,
    );
  }
  const traces = experiment.traces.map((trace) => {
    const given = files[replaced.indexOf(trace)];
    return given === undefined ? trace : { ...trace, given, path: resolve(given) };
  });
  return { ...experiment, traces };
}

/** The experiment with `--set key=value` overrides of its base configurations. */
export function withSets(experiment: Experiment, sets: readonly string[]): Experiment {
  return { ...experiment, sets: layersOfSets(sets) };
}

/** All cells: parts outermost, then traces, then the keys of `vary` in their order, then the steps of `zip`; every one is resolved. */
export function expand(experiment: Experiment): Cell[] {
  const { file, traces, parts, published, sets } = experiment;
  const cells: Cell[] = [];
  parts.forEach((part, p) => {
    const rows = combinations(part);
    const chosen = baselineRow(part, rows, file);
    for (const name of part.traces) {
      const baseline = chosen === null ? null : cells.length + chosen;
      const { path: trace } = traces.find((source) => source.name === name)!;
      const configOf = (index: number, varied: Record<string, unknown>) =>
        withTables(cellConfig(part, sets, { file, index, varied }), trace, file);
      for (const varied of rows) {
        const index = cells.length;
        cells.push({ index, name, trace, part: p, varied, config: configOf(index, varied), baseline });
      }
    }
  });
  checkPublished(published, cells, file);
  return cells;
}

/** The keys that some part varies. */
export function variedKeys({ parts }: Experiment): string[] {
  return [...new Set(parts.flatMap(({ vary, zip }) => [...Object.keys(vary), ...Object.keys(zip)]))];
}

/** The combinations of values of the varied keys. */
function combinations({ vary, zip }: Part): Record<string, unknown>[] {
  const product = Object.entries(vary).reduce<Record<string, unknown>[]>(
    (rows, [name, values]) => rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value }))),
    [{}],
  );
  const zipped = Object.entries(zip);
  const steps = zipped.length > 0 ? zipped[0][1].length : 1;
  return product.flatMap((row) =>
    Array.from({ length: steps }, (_, step) => ({
      ...row,
      ...Object.fromEntries(zipped.map(([name, values]) => [name, values[step]])),
    })),
  );
}

/** Values that come first in their lists come first among the combinations, so the first that agrees is the baseline. */
function baselineRow(part: Part, rows: Record<string, unknown>[], file: string): number | null {
  const { baseline, vary, zip } = part;
  if (baseline === null) return null;
  const at = `${file}: ${part.at}baseline`;
  const varied = { ...vary, ...zip };
  for (const [name, value] of Object.entries(baseline)) {
    if (!Object.hasOwn(varied, name)) {
      throw new UsageError(`${at}.${name}: expected a varied key${suggest(name, Object.keys(varied))}`);
    }
    if (!varied[name].some((listed) => isDeepStrictEqual(listed, value))) {
      throw new UsageError(`${at}.${name}: expected one of ${shown(varied[name])}, found ${shown(value)}`);
    }
  }
  const row = rows.findIndex((row) =>
    Object.entries(baseline).every(([name, value]) => isDeepStrictEqual(row[name], value)),
  );
  if (row < 0) throw new UsageError(`${at}: expected values of one step of zip, found ${shown(baseline)}`);
  return row;
}

/** The varied values of a cell are one document, so that their order does not matter. */
function cellConfig(
  part: Part,
  sets: readonly Layer[],
  { file, index, varied }: { file: string; index: number; varied: Record<string, unknown> },
): Config {
  const { config: other, ...keys } = varied;
  const label = Object.entries(varied).map(([name, value]) => `${name} = ${shown(value)}`);
  const origin = [`${file}: cell ${index}`, ...label].join(', ');
  try {
    return resolveLayers([
      baseLayer(other ?? part.config, file),
      ...sets,
      { doc: documentOf(keys), origin: 'varied keys' },
    ]);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${origin}: ${error.message}`, { cause: error });
  }
}

/** The folder of a table image is found as a trace is; {trace} in its name is the trace's own without .arrow. */
function withTables(config: Config, trace: string, file: string): Config {
  if (config.replay.tables === null) return config;
  const tables = tracePath(config.replay.tables.replace('{trace}', trace.replace(/\.arrow$/, '')), file);
  return { ...config, replay: { ...config.replay, tables } };
}

function baseLayer(config: unknown, file: string): Layer {
  if (typeof config !== 'string') return asLayer(config, 'config');
  const beside = resolve(dirname(file), config);
  return loadDocument(!presetNames().includes(config) && existsSync(beside) ? beside : config);
}

function tracePath(trace: string, file: string): string {
  const beside = resolve(dirname(file), trace);
  const sample = trace.startsWith('samples/') && !isAbsolute(trace) && !existsSync(beside);
  return sample ? join(packageRoot(), 'traces', trace) : beside;
}

function checkVaried({ vary, zip }: Pick<Part, 'vary' | 'zip'>, file: string): void {
  const names = [...Object.keys(vary), ...Object.keys(zip)];
  names.forEach((name, i) => {
    if (name.split('.').includes('')) throw new UsageError(`${file}: ${shown(name)} is not a dotted key`);
    if (names.indexOf(name) < i) throw new UsageError(`${file}: ${name} is in both vary and zip`);
    const part = names.find((other) => other.startsWith(`${name}.`));
    if (part) throw new UsageError(`${file}: the varied key ${name} contains ${part}; vary one of them`);
  });
  const lengths = Object.entries(zip).map(([name, values]) => `${name} has ${values.length}`);
  if (new Set(Object.values(zip).map((values) => values.length)).size > 1) {
    throw new UsageError(`${file}: zip: expected lists of equal length, found ${lengths.join(', ')}`);
  }
}
