// Published numbers that an experiment carries: where each was published, the band that a measurement of it should fall
// into, and how it is measured, as one declarative expression over the cells of the sweep (docs/experiments.md).

import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { UsageError } from '../../traces/errors.js';
import { bytes } from './bytes.js';
import { shown } from './documents.js';
import { key } from './key.js';
import { suggest } from './nearest.js';

const text = z.string().regex(/^[^\r\n]+$/, 'expected one line of text');
const values = z.record(z.string().min(1), z.unknown());
const cases = z.array(text);
const pair = z.tuple([text, text]);

/** The two cells of a trace that are compared. */
const pairOfCells = {
  trace: key(text, 'name of a trace of the experiment'),
  where: key(values.default({}), 'values of varied keys that both cells have'),
  of: key(values.default({}), 'values of varied keys that choose the new cell'),
  over: key(values.default({}), 'values of varied keys that choose the old cell'),
};

const gain = z.strictObject({
  gain: key(z.enum(['speedup', 'saved']), 'T_old/T_new - 1 or 1 - T_new/T_old, in percent'),
  phase: key(
    z.union([z.int().min(0), z.array(z.int().min(0)).min(1)]).optional(),
    'T is the cycles of the CPU that owns the phase; of several phases their sum',
  ),
  cpu: key(
    z.int().min(0).optional(),
    'T is the cycles of this CPU in the whole trace; without phase and cpu, those of all CPUs',
  ),
  ...pairOfCells,
});
const perSecond = z.strictObject({
  perSecond: key(text, 'the gain that so many events a second eat'),
  phase: key(z.int().min(0), 'phase of the trace that has the events'),
  events: key(z.int().min(1), 'events in the phase'),
  ...pairOfCells,
});
const value = z.strictObject({
  value: key(text, 'dotted key of a counter, such as cycles.critical'),
  trace: key(text, 'name of a trace of the experiment'),
  phase: key(z.int().min(0).optional(), 'of this phase; without it of the whole trace'),
  of: key(values.default({}), 'values of varied keys that choose the cell'),
  scale: key(z.number().default(1), 'factor'),
});
const order = z.strictObject({ order: key(cases.min(2), '1 when these cases strictly descend, else 0') });
const median = z.strictObject({ median: key(cases.min(1), 'the median of these cases') });
const ratio = z.strictObject({ ratio: key(pair, 'the first case divided by the second') });
const cut = z.strictObject({ cut: key(pair, 'by how many percent the second case is below the first') });
const pool = z.strictObject({
  pool: key(
    z.strictObject({ memoryBytes: bytes, pageBytes: bytes, levels: z.int().min(1).max(5) }),
    'pages that pKVM reserves for the host stage 2',
  ),
});

export const publishedSchema = z
  .strictObject({
    row: key(text, 'the row of numbers that it belongs to, such as T1'),
    case: key(text.optional(), 'what is measured; "line column, table" of `at` when not given'),
    at: key(
      z.strictObject({ table: text, line: text, column: text, axis: text.optional() }).optional(),
      'its place in a table of the report; lines that are numbers become a plot, whose axis has the name `axis`',
    ),
    source: key(text.optional(), 'where it was published'),
    published: key(z.number().nullable().default(null), 'the number as stated there; gains in percent'),
    low: key(z.number().nullable().default(null), 'lower end of the band; null: none'),
    high: key(z.number().nullable().default(null), 'upper end of the band; null: none'),
    measure: key(z.union([gain, perSecond, value, order, median, ratio, cut, pool]), 'how it is measured'),
  })
  .transform(({ case: name, ...rest }) => {
    const place = rest.at ? `${rest.at.line} ${rest.at.column}, ${rest.at.table}` : rest.row;
    return { ...rest, case: name ?? place };
  });

/** A published number and how it is measured. */
export type Published = z.output<typeof publishedSchema>;
export type GainMeasure = z.output<typeof gain>;
export type PerSecondMeasure = z.output<typeof perSecond>;
type PairOfCells = Pick<GainMeasure, 'trace' | 'where' | 'of' | 'over'>;
export type ValueMeasure = z.output<typeof value>;

/** What of a cell decides whether a measure means it. */
interface Candidate {
  /** The name of its trace. */
  name: string;
  varied: Record<string, unknown>;
}

/** The cells of a trace that have these values of varied keys. */
export function choose<T extends Candidate>(cells: readonly T[], trace: string, chosen: object): T[] {
  return cells.filter(
    ({ name, varied }) =>
      name === trace && Object.entries(chosen).every(([path, value]) => isDeepStrictEqual(varied[path], value)),
  );
}

/** Throws UsageError unless every case has its own name, refers to cases before it, and chooses single cells. */
export function checkPublished(published: readonly Published[], cells: readonly Candidate[], file: string): void {
  const before: string[] = [];
  const gains: string[] = [];
  for (const { row, case: name, measure } of published) {
    const fail = (message: string): never => {
      throw new UsageError(`${file}: published: ${row} ${shown(name)}: ${message}`);
    };
    if (before.includes(name)) fail('expected a case of its own, found the name of an earlier one');
    for (const other of operands(measure))
      if (!before.includes(other))
        fail(`expected a case that stands before it, found ${shown(other)}${suggest(other, before)}`);
    if ('gain' in measure) {
      if (measure.phase !== undefined && measure.cpu !== undefined) fail('expected phase or cpu, found both');
      gains.push(name);
    }
    if ('perSecond' in measure && !gains.includes(measure.perSecond))
      fail(`perSecond: expected a case that is a gain, found ${shown(measure.perSecond)}`);
    if ('value' in measure) checkCells({ ...measure, where: {}, over: measure.of }, cells, fail);
    else if ('trace' in measure) checkCells(measure, cells, fail);
    before.push(name);
  }
}

/** The cases that a measure refers to. */
export function operands(measure: Published['measure']): string[] {
  if ('order' in measure) return measure.order;
  if ('median' in measure) return measure.median;
  if ('ratio' in measure) return measure.ratio;
  if ('perSecond' in measure) return [measure.perSecond];
  return 'cut' in measure ? measure.cut : [];
}

function checkCells(measure: PairOfCells, cells: readonly Candidate[], fail: (message: string) => never): void {
  const { trace, where } = measure;
  const traces = [...new Set(cells.map(({ name }) => name))];
  if (!traces.includes(trace)) fail(`trace: expected ${traces.join(' or ')}, found ${shown(trace)}`);
  const keys = [...new Set(cells.flatMap(({ varied }) => Object.keys(varied)))];
  for (const side of ['of', 'over'] as const) {
    const chosen = { ...where, ...measure[side] };
    for (const path of Object.keys(chosen))
      if (!keys.includes(path)) fail(`${side}: ${path}: expected a varied key${suggest(path, keys)}`);
    const found = choose(cells, trace, chosen).length;
    if (found !== 1) fail(`${side}: expected values that one cell of ${trace} has, found ${found} cells`);
  }
}
