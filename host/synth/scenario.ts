// What a scenario is: a name, a schema of parameters from which defaults, --help, docs and errors derive, and a generator of rows.
// The parameters that all of them have are here.

import { z } from 'zod';
import { type ColumnName } from '../../traces/batch.js';
import { key } from '../config/key.js';
import { type Emitter, type Row } from './emitter.js';
import { kernelOf, type Image, type Kernel } from './kernels.js';
import { type Random } from './random.js';

/** A number of bytes: a multiple of `step`, also as in 120K or 4M. */
export const bytes = (step: number, min = step) =>
  z
    .union([
      z.int().min(min),
      z.string().regex(/^\d+[KMG]$/, { message: 'expected bytes, as in 4096, 120K or 4M', abort: true }),
    ])
    .transform((value) => (typeof value === 'number' ? value : Number.parseInt(value) * UNITS[value.at(-1)!]))
    .pipe(z.int().min(min).multipleOf(step, `expected a multiple of ${step} bytes`));

const UNITS: Record<string, number> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** A count of at least `min` with a default. */
export const count = (value: number, min = 1, max = Number.MAX_SAFE_INTEGER) =>
  z.int().min(min).max(max).default(value);

/** The parameters of every scenario. */
export const COMMON = {
  arch: key(
    z.enum(['x86-64', 'arm64']).default('x86-64'),
    'architecture of the kernel (4 KiB pages, 48-bit addresses)',
  ),
  layout: key(
    z.enum(['debian', 'replication']).default('debian'),
    'arm64: where the kernel lies: as Debian has it, or with a root entry of its own, as text replication asks for',
  ),
  nodes: key(count(2, 1, 64), 'nodes; the CPUs are divided among them in blocks'),
  cpus: key(count(4, 1, 1024), 'CPUs, at least one for each node'),
  seed: key(z.int().min(0).default(1), 'seed of everything random'),
};

export type CommonParameters = z.output<z.ZodObject<typeof COMMON>>;

/** What a scenario's rows are made with. */
export interface Run<P> {
  parameters: P;
  kernel: Kernel;
  /** The CPUs of each node. */
  nodes: number[][];
  random: Random;
  emit: Emitter;
}

/** A scenario as the registry sees it. */
export interface Scenario {
  name: string;
  summary: string;
  /** What its rows are, for the documentation. */
  notes: string;
  schema: z.ZodObject;
  examples: readonly string[];
  columns: readonly ColumnName[];
  /** What the boot event says where it is not the kernel's own: parts of the image, and its home. */
  image(parameters: Record<string, unknown>): Partial<Image> & { homeNode?: number };
  rows(run: Run<Record<string, unknown>>): Iterable<Row>;
}

interface Definition<P extends CommonParameters, Shape extends z.ZodRawShape> {
  name: string;
  summary: string;
  /** What its rows are, for the documentation. */
  notes: string;
  schema: z.ZodType<P> & z.ZodObject<Shape>;
  examples: readonly string[];
  /** Optional columns that its rows never fill. */
  without?: readonly ColumnName[];
  image?(parameters: P): Partial<Image> & { homeNode?: number };
  rows(run: Run<P>): Iterable<Row>;
}

const COLUMNS: readonly ColumnName[] = ['cpu', 'kind', 'va', 'size', 'insns', 'mode', 'asid', 'arg'];

/** Makes a scenario of its definition. The registry parses parameters with the schema before it calls `rows`. */
export function scenario<P extends CommonParameters, Shape extends z.ZodRawShape>(
  definition: Definition<P, Shape>,
): Scenario {
  const { name, summary, notes, schema, examples, without = [], image, rows } = definition;
  return {
    ...{ name, summary, notes, examples },
    schema: schema as unknown as z.ZodObject,
    columns: COLUMNS.filter((column) => !without.includes(column)),
    image: (parameters) => image?.(parameters as P) ?? {},
    rows: (run) => rows(run as unknown as Run<P>),
  };
}

/** The schema of a scenario: the common parameters and its own; `check` names what contradicts what. */
export function parameters<Shape extends z.ZodRawShape>(
  shape: Shape,
  check?: (values: z.output<z.ZodObject<typeof COMMON & Shape>>) => Contradiction[],
) {
  return z.strictObject({ ...COMMON, ...shape }).superRefine((values, context) => {
    const { nodes, cpus } = values as CommonParameters;
    const found: Contradiction[] = cpus < nodes ? [['cpus', `expected at least one for each of ${nodes} nodes`]] : [];
    found.push(...(check?.(values as z.output<z.ZodObject<typeof COMMON & Shape>>) ?? []));
    for (const [path, message] of found) context.addIssue({ code: 'custom', path: [path], message });
  });
}

/** A parameter and what was expected of it. */
export type Contradiction = readonly [parameter: string, message: string];

/** The contradictions among those that apply. */
export function unless(holds: boolean, parameter: string, message: string): Contradiction[] {
  return holds ? [] : [[parameter, message]];
}

/** The kernel of a scenario's parameters. */
export function kernelFor(
  { arch, layout }: Pick<CommonParameters, 'arch' | 'layout'>,
  image: Partial<Image> = {},
): Kernel {
  const kernel = kernelOf(arch, layout);
  return { ...kernel, image: { ...kernel.image, ...image } };
}

/** The CPUs of each node, in blocks. */
export function nodesOf({ nodes, cpus }: Pick<CommonParameters, 'nodes' | 'cpus'>): number[][] {
  const list: number[][] = Array.from({ length: nodes }, () => []);
  for (let cpu = 0; cpu < cpus; cpu++) list[Math.floor((cpu * nodes) / cpus)].push(cpu);
  return list;
}
