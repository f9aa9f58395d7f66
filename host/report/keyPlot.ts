// One metric of one trace against the varied keys that matter to it. One key: bars, or a line when the key has four or
// more numbers. Two keys: the second is the colour; a heat map when both have many values. More keys: small multiples.

import { number, percent } from '../format.js';
import { markup, type Markup } from './html.js';
import { groupBy, relevantKeys, shortKey, valueLabel, values, variesAlone } from './keys.js';
import { write, type Metric } from './metrics.js';
import { figure, type Spec } from './plot.js';
import { type CellData, signature, type TraceData } from './sweepData.js';

const PLOT_WIDTH = 400;
const MANY = 8;
const BAR_WIDTH = 56;
/** A metric that differs by less than this share is called the same in all cells. */
const CONSTANT = 0.005;
/** Differences below this share of the plot's range cannot be seen in it. */
const INVISIBLE = 0.01;

/** The plot, or a sentence when the metric is the same in every cell; null where it is not defined. */
export async function keyPlot(metric: Metric, data: TraceData, keys: string[]): Promise<Markup | null> {
  const cells = data.cells.filter(({ flat }) => metric.value(flat) !== null);
  if (cells.length === 0) return null;
  const value = ({ flat }: CellData) => metric.value(flat)!;
  const sorted = [...cells].sort((a, b) => value(a) - value(b));
  const [least, most] = [sorted[0], sorted[sorted.length - 1]];
  const name = `${metric.title} (${metric.unit}), ${data.title}`;
  const range = value(most) - value(least);
  if (range <= value(most) * CONSTANT) {
    const [from, to] = [least, most].map(({ flat }) => write(metric, flat));
    return markup`<p>${name}: <b>${from === to ? from : `${from} to ${to}`}</b> in every cell.</p>`;
  }
  const matter = relevantKeys(cells, keys, value, range * INVISIBLE);
  const exact = relevantKeys(cells, keys, value, 0);
  const left = keys.filter((key) => !matter.includes(key));
  const note = (says: string, holds: (key: string) => boolean) => {
    const named = left.filter(holds).map((key) => shortKey(key, keys));
    return named.length > 0 ? `; ${says} ${named.join(', ')}` : '';
  };
  const alone = (key: string) => variesAlone(cells, keys, key);
  const notes = [
    note('does not depend on', (key) => alone(key) && !exact.includes(key)),
    note('hardly depends on', (key) => alone(key) && exact.includes(key)),
    note('varied together with', (key) => !alone(key)),
  ];
  return figure([name, ...notes].join(''), spec(metric, cells, data.baseline, matter, keys));
}

function spec(metric: Metric, cells: CellData[], baseline: CellData | null, matter: string[], keys: string[]): Spec {
  const size = (key: string) => values(cells, key).length;
  const numeric = (key: string) => values(cells, key).every((value) => typeof value === 'number');
  // The key with the most values is the axis, numbers first; then the colour; whatever is left makes the columns.
  const [x, color, ...rest] = [...matter].sort((a, b) => size(b) - size(a) || Number(numeric(b)) - Number(numeric(a)));
  const groups = groupBy(cells, ({ varied }) => signature(varied, matter)).map(([first]) => first);
  const rows = groups.map(({ varied, flat }) => ({
    x: valueLabel(varied[x]),
    color: color === undefined ? '' : valueLabel(varied[color]),
    column: rest.map((key) => `${shortKey(key, keys)} ${valueLabel(varied[key])}`).join(' · '),
    value: metric.value(flat),
    text: metric.share ? percent(metric.value(flat)!) : number(metric.value(flat)!),
  }));
  const labels = (key: string) => values(cells, key).map(valueLabel);
  const columns = [...new Set(rows.map(({ column }) => column))];
  const width = Math.max(90, Math.floor(PLOT_WIDTH / columns.length) - (columns.length > 1 ? 16 : 0));
  const shape = { x, color, width, title: (key: string) => shortKey(key, keys), labels };
  const many = color !== undefined && size(x) >= MANY && size(color) >= MANY;
  const line = numeric(x) && size(x) >= 4;
  const unit = many ? heatMap(shape) : marks(metric, shape, line, baseline, color !== undefined && numeric(color));
  if (rest.length === 0) return { data: { values: rows }, ...unit } as Spec;
  const facet = { field: 'column', type: 'nominal', sort: columns, title: null };
  return { data: { values: rows }, spacing: 16, facet: { column: facet }, spec: unit } as Spec;
}

interface Shape {
  x: string;
  color: string | undefined;
  width: number;
  title: (key: string) => string;
  labels: (key: string) => string[];
}

function marks(metric: Metric, shape: Shape, line: boolean, baseline: CellData | null, sequential: boolean): object {
  const { x, color, width, title, labels } = shape;
  const axisX = { field: 'x', type: 'ordinal', sort: labels(x), title: title(x), axis: { labelAngle: angle(shape) } };
  const axisY = {
    field: 'value',
    type: 'quantitative',
    title: `${metric.title}, ${metric.unit}`,
    axis: { format: metric.share ? '~%' : '~s', tickCount: 5 },
    scale: { zero: true },
  };
  const description = { field: 'text', type: 'nominal' };
  const domain = color === undefined ? [] : labels(color);
  const colors = color !== undefined && {
    color: {
      field: 'color',
      type: 'nominal',
      sort: domain,
      title: title(color),
      scale: { domain, range: palette(domain.length, sequential) },
    },
    ...(line ? {} : { xOffset: { field: 'color', type: 'nominal', sort: domain } }),
  };
  const mark = line
    ? {
        type: 'line',
        point: { size: 45, filled: true },
        strokeWidth: 2,
        ...(color === undefined && { color: 'var(--c1)', point: { color: 'var(--c1)', size: 45 } }),
      }
    : { type: 'bar', ...(color === undefined && { color: 'var(--c1)' }) };
  const reference = baseline && metric.value(baseline.flat);
  return {
    width: line ? width : Math.min(width, BAR_WIDTH * labels(x).length * Math.max(1, domain.length)),
    height: 190,
    layer: [
      { mark, encoding: { x: axisX, y: axisY, description, ...colors } },
      ...(reference === null
        ? []
        : [
            {
              mark: { type: 'rule', strokeDash: [4, 3], color: 'var(--ink)', aria: false },
              encoding: { y: { datum: reference } },
            },
          ]),
    ],
  };
}

/** Shades of one colour in eight steps of the value, darker is more. */
function heatMap(shape: Shape): object {
  const { x, color, width, title, labels } = shape;
  const range = [1, 2, 3, 4, 5, 6].map((i) => `var(--s${i})`);
  return {
    width,
    height: { step: 20 },
    mark: { type: 'rect', stroke: 'var(--paper)' },
    encoding: {
      x: { field: 'x', type: 'ordinal', sort: labels(x), title: title(x), axis: { labelAngle: angle(shape) } },
      y: { field: 'color', type: 'ordinal', sort: labels(color!), title: title(color!) },
      color: { field: 'value', type: 'quantitative', scale: { type: 'quantize', range }, title: null },
      description: { field: 'text', type: 'nominal' },
    },
  };
}

/** Labels are turned when they would not fit side by side; 6.5 px is the width of a character. */
function angle({ x, width, labels }: Shape): number {
  const all = labels(x);
  return Math.max(...all.map((label) => label.length)) * 6.5 > width / all.length ? -40 : 0;
}

/** Numbers get shades of one colour, names get colours of their own. */
function palette(count: number, sequential: boolean): string[] {
  if (!sequential) return Array.from({ length: count }, (_, i) => `var(--c${(i % 8) + 1})`);
  return Array.from({ length: count }, (_, i) => `var(--s${count === 1 ? 5 : 1 + Math.round((i * 5) / (count - 1))})`);
}
