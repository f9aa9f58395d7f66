// Numbers over a number: a line for each series of measured points and, where there are some, published ones as diamonds of the same colour.

import { type Markup } from './html.js';
import { figure } from './plot.js';

export interface SeriesPoint {
  series: string;
  x: number;
  y: number;
  kind: 'measured' | 'published';
}

export interface Axes {
  x: string | null;
  y: string | null;
}

/** Values that span more than this factor get a logarithmic axis. */
const WIDE = 12;
const WIDTH = 400;
const KINDS = ['measured', 'published'] as const;

export async function seriesPlot(
  caption: string,
  { x, y }: Axes,
  points: SeriesPoint[],
  wide = false,
): Promise<Markup> {
  const names = [...new Set(points.map(({ series }) => series))];
  const places = [...new Set(points.map((point) => point.x))].sort((a, b) => a - b);
  const published = points.some(({ kind }) => kind === 'published');
  const range = names.map((_, i) => `var(--c${(i % 8) + 1})`);
  const encoding = {
    x: {
      field: 'x',
      type: 'quantitative' as const,
      title: x,
      scale: scaleOf(places, 2),
      axis: { values: places, format: '~s', grid: false, labelOverlap: true },
    },
    y: {
      field: 'y',
      type: 'quantitative' as const,
      title: y,
      scale: scaleOf(
        points.map((point) => point.y),
        10,
      ),
      axis: { tickCount: 5, format: '~g' },
    },
    color: { field: 'series', type: 'nominal' as const, title: null, scale: { domain: names, range } },
  };
  return figure(published ? `${caption}; diamonds are published` : caption, {
    data: { values: points },
    width: wide ? 640 : WIDTH,
    height: wide ? 300 : 220,
    layer: [
      {
        transform: [{ filter: { field: 'kind', equal: 'measured' } }],
        mark: { type: 'line', strokeWidth: 2, aria: false },
        encoding,
      },
      {
        mark: { type: 'point', filled: true, size: 70, opacity: 1 },
        encoding: {
          ...encoding,
          shape: {
            field: 'kind',
            type: 'nominal',
            legend: published ? { symbolFillColor: 'var(--muted)' } : null,
            title: null,
            scale: { domain: [...KINDS], range: ['circle', 'diamond'] },
          },
        },
      },
    ],
  });
}

function scaleOf(values: number[], base: number) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least > 0 && most > WIDE * least ? { type: 'log' as const, base, nice: false } : { zero: true };
}
