// The scenarios, and writing a trace of one: parameters are checked first, then rows stream to the file.

import { metadataWith, type TraceMetadata } from '../../traces/metadata.js';
import { countRows, noRows, type RowCounts } from '../../traces/counts.js';
import { type Batch, type ColumnName } from '../../traces/batch.js';
import { UsageError } from '../../traces/errors.js';
import { writeTrace, type WriteOptions, type Written } from '../../traces/writer.js';
import { problemsOf } from '../config/issues.js';
import { documentSchema, type SchemaNode } from '../config/keys.js';
import { suggest } from '../config/nearest.js';
import { batchesOf, Emitter, type Row } from './emitter.js';
import { regionsOf } from './kernels.js';
import { Random } from './random.js';
import { type CommonParameters, kernelFor, nodesOf, type Scenario } from './scenario.js';
import { boot } from './scenarios/boot.js';
import { dbText } from './scenarios/dbText.js';
import { fork } from './scenarios/fork.js';
import { hypBoot } from './scenarios/hypBoot.js';
import { hypHotplug } from './scenarios/hypHotplug.js';
import { hypRandomIdmap } from './scenarios/hypRandomIdmap.js';
import { migration } from './scenarios/migration.js';
import { module } from './scenarios/module.js';
import { patch } from './scenarios/patch.js';
import { s2Collapse, s2DirtyLog, s2MkOld, s2Populate, s2SamePage, s2Unmap } from './scenarios/stage2.js';
import { speRun } from './scenarios/speRun.js';
import { vmalloc } from './scenarios/vmalloc.js';

export { type Scenario } from './scenario.js';

export const SCENARIOS: readonly Scenario[] = [
  boot,
  fork,
  module,
  patch,
  migration,
  dbText,
  vmalloc,
  hypBoot,
  hypHotplug,
  hypRandomIdmap,
  s2Populate,
  s2DirtyLog,
  s2SamePage,
  s2Collapse,
  s2MkOld,
  s2Unmap,
  speRun,
];

/** The scenario of that name. Throws UsageError with the nearest name. */
export function scenarioNamed(name: string): Scenario {
  const found = SCENARIOS.find((scenario) => scenario.name === name);
  if (found) return found;
  const names = SCENARIOS.map((scenario) => scenario.name);
  throw new UsageError(`synth: unknown scenario "${name}"${suggest(name, names)} (known: ${names.join(', ')})`);
}

/** The parameters of a scenario, each with its type, default and meaning. */
export function parametersOf({ schema }: Scenario): [name: string, node: SchemaNode][] {
  return Object.entries(documentSchema(schema).properties!);
}

/** Writes the trace of a scenario with these parameters, defaults for the rest; the same ones give the same bytes. */
export async function writeScenario(
  name: string,
  params: Record<string, unknown>,
  path: string,
  options: WriteOptions = {},
): Promise<Written> {
  const scenario = scenarioNamed(name);
  const parameters = checked(scenario, params);
  const { homeNode = 0, ...image } = scenario.image(parameters);
  const kernel = kernelFor(parameters, image);
  const nodes = nodesOf(parameters);
  const emit = new Emitter();
  const rows = scenario.rows({ parameters, kernel, nodes, random: new Random(parameters.seed), emit });
  const counts = noRows();
  const { arch, paging } = kernel;
  const metadata = (): TraceMetadata =>
    metadataWith({
      ...{ arch, paging, cpus: parameters.cpus, counts: { ...counts } },
      source: {
        ...{ tool: 'nodewalk synth', command: commandOf(name, params), input: [] },
        ...{ scenario: name, parameters },
      },
      cpuNode: nodes.flatMap((cpus, node) => cpus.map(() => node)),
      nodes: nodes.map((_, node) => ({ node, ranges: [] })),
      regions: regionsOf(kernel, homeNode),
      phases: [...emit.phases].map(([number, phase]) => ({ number, name: phase })),
    });
  return writeTrace(path, scenario.columns, counted(rows, scenario.columns, counts), metadata, options);
}

/** The parameters with defaults filled in. Throws UsageError that names what is wrong. */
function checked(
  { name, schema }: Scenario,
  params: Record<string, unknown>,
): Record<string, unknown> & CommonParameters {
  const known = Object.keys(schema.shape);
  const unknown = Object.keys(params).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw new UsageError(
      `synth ${name}: unknown parameter "${unknown}"${suggest(unknown, known)} (nodewalk synth ${name} --help lists them)`,
    );
  }
  const parsed = schema.safeParse(params);
  if (parsed.success) return parsed.data as Record<string, unknown> & CommonParameters;
  const problems = problemsOf(parsed.error, params).map(
    ({ path, message }) => `synth ${name}: ${path.join('.')}: ${message}`,
  );
  throw new UsageError([...new Set(problems)].join('\n'));
}

function commandOf(name: string, params: Record<string, unknown>): string {
  const sets = Object.entries(params).map(([key, value]) => {
    const set = `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`;
    return ` --set ${/^[\w.=-]+$/.test(set) ? set : `'${set}'`}`;
  });
  return `nodewalk synth ${name}${sets.join('')}`;
}

async function* counted(rows: Iterable<Row>, columns: readonly ColumnName[], counts: RowCounts): AsyncGenerator<Batch> {
  for await (const batch of batchesOf(rows, columns)) {
    countRows(batch, counts);
    yield batch;
  }
}
