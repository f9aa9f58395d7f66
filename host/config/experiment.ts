// An experiment: traces x configurations. Its file names a base configuration and the keys that vary, as a product
// (`vary`) or in step (`zip`); it expands to cells, each one trace under one resolved configuration.
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { UsageError } from '../../traces/errors.js';
import { packageRoot } from '../paths.js';
import { documentOf, readDocument, shown } from './documents.js';
import { problemsOf, unknownKeys } from './issues.js';
import { key } from './key.js';
import { documentSchema } from './keys.js';
import { asLayer, type Layer, loadDocument, resolveLayers } from './load.js';
import { suggest } from './nearest.js';
import { presetNames } from './presets.js';
import { type Config } from './schema.js';

const lists = z.record(z.string().min(1), z.array(z.unknown()).min(1)).default({});
const configuration = z.union([z.string(), z.record(z.string(), z.unknown())]);

export const experimentSchema = z.strictObject({
  title: key(z.string().optional(), 'heading of the report'),
  description: key(z.string().optional(), 'what is asked, for the report'),
  traces: key(
    z.array(z.string().min(1)).min(1),
    'trace files, relative to this file; samples/NAME is a trace that ships with the package',
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

export const experimentJsonSchema = documentSchema(experimentSchema);

/** An experiment as its file has it; `file` is where it was read from. */
export type Experiment = z.output<typeof experimentSchema> & { file: string };

/** One trace under one configuration. */
export interface Cell {
  index: number;
  /** Absolute path. */
  trace: string;
  /** The values of the varied keys, by dotted key. */
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
  if (problems.length > 0) {
    throw new UsageError(
      problems.map(({ path, message }) => `${file}: ${path.join('.') || 'document'}: ${message}`).join('\n'),
    );
  }
  const experiment = { ...parsed.data!, file };
  checkVaried(experiment);
  return experiment;
}

/** All cells, traces outermost, then the keys of `vary` in their order, then the steps of `zip`; every one is resolved. */
export function expand(experiment: Experiment): Cell[] {
  const rows = combinations(experiment);
  const chosen = baselineRow(experiment, rows);
  return experiment.traces.flatMap((trace, t) => {
    const first = t * rows.length;
    return rows.map((varied, r) => {
      const index = first + r;
      const baseline = chosen === null ? null : first + chosen;
      return {
        index,
        trace: tracePath(trace, experiment),
        varied,
        config: cellConfig(experiment, index, varied),
        baseline,
      };
    });
  });
}

/** The combinations of values of the varied keys. */
function combinations({ vary, zip }: Experiment): Record<string, unknown>[] {
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
function baselineRow({ baseline, vary, zip, file }: Experiment, rows: Record<string, unknown>[]): number | null {
  if (baseline === null) return null;
  const varied = { ...vary, ...zip };
  for (const [name, value] of Object.entries(baseline)) {
    if (!Object.hasOwn(varied, name)) {
      throw new UsageError(`${file}: baseline.${name}: expected a varied key${suggest(name, Object.keys(varied))}`);
    }
    if (!varied[name].some((listed) => isDeepStrictEqual(listed, value))) {
      throw new UsageError(`${file}: baseline.${name}: expected one of ${shown(varied[name])}, found ${shown(value)}`);
    }
  }
  const row = rows.findIndex((row) =>
    Object.entries(baseline).every(([name, value]) => isDeepStrictEqual(row[name], value)),
  );
  if (row < 0) throw new UsageError(`${file}: baseline: expected values of one step of zip, found ${shown(baseline)}`);
  return row;
}

/** The varied values of a cell are one document, so that their order does not matter. */
function cellConfig(experiment: Experiment, index: number, varied: Record<string, unknown>): Config {
  const { config: other, ...keys } = varied;
  const label = Object.entries(varied).map(([name, value]) => `${name} = ${shown(value)}`);
  const origin = [`${experiment.file}: cell ${index}`, ...label].join(', ');
  try {
    return resolveLayers([
      baseLayer(experiment, other ?? experiment.config),
      { doc: documentOf(keys), origin: 'varied keys' },
    ]);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${origin}: ${error.message}`, { cause: error });
  }
}

function baseLayer({ file }: Experiment, config: unknown): Layer {
  if (typeof config !== 'string') return asLayer(config, 'config');
  const beside = resolve(dirname(file), config);
  return loadDocument(!presetNames().includes(config) && existsSync(beside) ? beside : config);
}

function tracePath(trace: string, { file }: Experiment): string {
  const beside = resolve(dirname(file), trace);
  const sample = trace.startsWith('samples/') && !isAbsolute(trace) && !existsSync(beside);
  return sample ? join(packageRoot(), 'traces', trace) : beside;
}

function checkVaried({ vary, zip, file }: Experiment): void {
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
