// The gain of every phase in every cell as a heat map: phases down, cells across from the slowest to the fastest, blue
// where the phase became faster, orange where it became slower, the per cent written in.

import { type Markup } from './html.js';
import { cellLabel } from './keys.js';
import { figure } from './plot.js';
import { phaseSpeedup, type TraceData } from './sweepData.js';

/** Bounds between the nine colours, as T_old/T_new - 1; the middle colour is "no change". */
const BOUNDS = [-0.3, -0.1, -0.03, -0.005, 0.005, 0.03, 0.1, 0.3];

export async function phaseMap({ title, cells, baseline }: TraceData, keys: string[]): Promise<Markup | null> {
  if (!baseline || baseline.phases.length === 0 || cells.length < 2) return null;
  const label = (cell: (typeof cells)[number]) => `#${cell.cell} ${cellLabel(cell.varied, keys)}`;
  const phases = baseline.phases.map(({ phase, name }) => ({ phase, label: `${name} (${phase})` }));
  const values = cells.flatMap((cell) =>
    phases.flatMap(({ phase, label: row }) => {
      const gain = phaseSpeedup(cell, baseline, phase);
      return gain === null ? [] : [{ row, column: label(cell), gain, text: whole(gain) }];
    }),
  );
  const scale = (prefix: string) => ({
    type: 'threshold' as const,
    domain: BOUNDS,
    range: BOUNDS.concat(1).map((_, i) => `var(--${prefix}${i})`),
  });
  return figure(`Gain per phase over the baseline in per cent (T_old/T_new - 1), ${title}`, {
    data: { values },
    width: { step: cells.length > 24 ? 24 : 38 },
    height: { step: 22 },
    encoding: {
      x: {
        field: 'column',
        type: 'nominal',
        sort: cells.map(label),
        title: null,
        axis: { orient: 'top', labelAngle: -40, domain: false, ticks: false },
      },
      y: {
        field: 'row',
        type: 'nominal',
        sort: phases.map((phase) => phase.label),
        title: null,
        axis: { domain: false, ticks: false },
      },
    },
    layer: [
      {
        mark: { type: 'rect', stroke: 'var(--paper)' },
        encoding: { color: { field: 'gain', type: 'quantitative', scale: scale('d'), legend: null } },
      },
      {
        mark: { type: 'text', fontSize: 10, aria: false },
        encoding: {
          text: { field: 'text', type: 'nominal' },
          color: { field: 'gain', type: 'quantitative', scale: scale('t'), legend: null },
        },
      },
    ],
    resolve: { scale: { color: 'independent' } },
  });
}

/** 0.1234 -> "12"; below ten per cent one decimal. */
function whole(gain: number): string {
  const value = gain * 100;
  const text = value.toFixed(Math.abs(value) < 9.95 ? 1 : 0);
  return Number(text) === 0 ? '0' : text;
}
