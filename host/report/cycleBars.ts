// Where the cycles go: one horizontal bar per result, split into the parts of `cycles.total`. Used for the cells of a
// sweep (in per cent of the baseline), for the phases and the CPUs of a replay (in cycles).

import { percent } from '../format.js';
import { type Flat } from '../results/summary.js';
import { type Markup } from './html.js';
import { cycleParts } from './metrics.js';
import { figure } from './plot.js';

export interface Bar {
  label: string;
  flat: Flat;
  /** T_old/T_new - 1, written at the bar's end. */
  speedup?: number | null;
}

/** `scale` is what 100 % stands for, with a line drawn there; without it the axis counts cycles. */
export async function cycleBars(caption: string, axis: string, bars: Bar[], scale?: number): Promise<Markup> {
  const parts = cycleParts(bars.map(({ flat }) => flat));
  const names = parts.map((part) => part.replace('cycles.', ''));
  const unit = (cycles: number) => (scale ? cycles / scale : cycles);
  const values = bars.flatMap(({ label, flat }) =>
    parts.map((part, order) => ({ label, order, part: names[order], cycles: unit(flat[part] ?? 0) })),
  );
  const ends = bars.map(({ label, flat, speedup }) => ({
    label,
    end: unit(flat['cycles.total']),
    text: typeof speedup === 'number' ? percent(speedup, true) : '',
  }));
  const y = { field: 'label', type: 'nominal' as const, sort: bars.map(({ label }) => label), title: null };
  // `base` is the work itself and stays in the background; the rest is what translation costs.
  const range = names.map((name, i) => (name === 'base' ? 'var(--base)' : `var(--c${(i % 8) + 1})`));
  return figure(axis ? `${caption} (${axis})` : caption, {
    width: 760,
    height: { step: 21 },
    layer: [
      {
        data: { values },
        mark: 'bar',
        encoding: {
          y,
          x: {
            field: 'cycles',
            type: 'quantitative',
            title: scale ? "cycles, share of the baseline's" : 'cycles',
            scale: { domainMax: 1.08 * Math.max(...ends.map(({ end }) => end)), nice: false },
            axis: { format: scale ? '.0%' : '~s', tickCount: 6 },
          },
          color: { field: 'part', type: 'nominal', scale: { domain: names, range }, title: null },
          order: { field: 'order', type: 'quantitative' },
        },
      },
      ...(scale
        ? [
            {
              data: { values: [{}] },
              mark: { type: 'rule' as const, strokeDash: [4, 3], color: 'var(--ink)' },
              encoding: { x: { datum: 1 } },
            },
          ]
        : []),
      {
        data: { values: ends },
        mark: { type: 'text', align: 'left', dx: 5, aria: false },
        encoding: { y, x: { field: 'end', type: 'quantitative' }, text: { field: 'text', type: 'nominal' } },
      },
    ],
  });
}
