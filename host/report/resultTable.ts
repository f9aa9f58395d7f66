// Tables of results: one row per cell, phase, CPU or node, numbers with their unit in the header, the raw value beside
// the written one so that the page's script sorts by it.

import { percent } from '../format.js';
import { type Flat, type Gain } from '../results/summary.js';
import { markup, type Markup } from './html.js';
import { type Metric, write } from './metrics.js';

/** One column: header, unit, and how a row is written and sorted. */
export interface Column<Row> {
  title: string;
  /** What neighbouring columns with the same group have in common: it stands above them. */
  group?: string;
  unit?: string;
  /** Long text, on several lines where there is no room. */
  wraps?: boolean;
  meaning?: string;
  /** Text columns go to the left and sort as text; a missing number sorts last. */
  text?: (row: Row) => string;
  cell?: (row: Row) => { written: string; value: number | null };
}

export function resultTable<Row>(
  columns: Column<Row>[],
  rows: Row[],
  isBaseline: (row: Row) => boolean = () => false,
): Markup {
  const head = columns.map(({ title, unit, meaning, cell }) => {
    const kind = cell && markup` class="n"`;
    const hint = meaning && markup` title="${meaning}"`;
    return markup`<th scope="col"${kind}${hint}>${title}${unit && markup`<span class="unit">${unit}</span>`}</th>`;
  });
  const body = rows.map((row) => {
    const cells = columns.map(({ text, cell, wraps }) => {
      if (!cell) return markup`<td${wraps && markup` class="wraps"`}>${text?.(row)}</td>`;
      const { written, value } = cell(row);
      return markup`<td class="n" data-v="${value}">${written}</td>`;
    });
    return markup`<tr${isBaseline(row) && markup` class="baseline"`}>${cells}</tr>\n`;
  });
  const groups = groupRow(columns);
  return markup`<div class="scroll"><table class="sortable${groups && ' grouped'}">
<thead>${groups}<tr>${head}</tr></thead>
<tbody>
${body}</tbody>
</table></div>`;
}

/** The row above the headers, where columns have groups. */
function groupRow<Row>(columns: Column<Row>[]): Markup | null {
  if (columns.every(({ group }) => group === undefined)) return null;
  const runs: { group?: string; width: number }[] = [];
  for (const { group } of columns) {
    const last = runs.at(-1);
    if (last && last.group === group) last.width++;
    else runs.push({ group, width: 1 });
  }
  const cells = runs.map(({ group, width }) =>
    group === undefined
      ? markup`<td colspan="${width}"></td>`
      : markup`<th scope="colgroup" class="group" colspan="${width}">${group}</th>`,
  );
  return markup`<tr>${cells}</tr>`;
}

/** A metric as a column. */
export function metricColumn<Row>(metric: Metric, flat: (row: Row) => Flat): Column<Row> {
  return {
    title: metric.title,
    unit: metric.unit,
    meaning: metric.meaning,
    cell: (row) => ({ written: write(metric, flat(row)), value: metric.value(flat(row)) }),
  };
}

/** Both definitions of a gain as columns. */
export function gainColumns<Row>(gain: (row: Row) => Gain | null): Column<Row>[] {
  const column = (key: keyof Gain, title: string, unit: string): Column<Row> => ({
    title,
    unit,
    meaning: `${title}: ${unit}, T being the cycles`,
    cell: (row) => {
      const value = gain(row)?.[key] ?? null;
      return { written: value === null ? '-' : percent(value, true), value };
    },
  });
  return [column('speedup', 'Speed-up', 'T_old/T_new - 1'), column('saved', 'Saved', '1 - T_new/T_old')];
}
