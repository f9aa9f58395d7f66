// The table that a sweep prints: one row per finished cell, gains against the baseline of the same trace.

import { number, percent } from '../format.js';
import { cellLabel, shortKey } from '../report/keys.js';
import { CYCLES, type Metric, REFS_PER_WALK, REMOTE_SHARE, TLB_MISSES, WALKS, write } from '../report/metrics.js';
import { type CellData, cellGain, type SweepData } from '../report/sweepData.js';
import { type Header, table } from '../table.js';

/** Short headers: the report spells them out. */
const METRICS: [header: string, metric: Metric][] = [
  ['misses/1000', TLB_MISSES],
  ['walks/1000', WALKS],
  ['refs/walk', REFS_PER_WALK],
  ['remote', REMOTE_SHARE],
  ['cycles', CYCLES],
];

export function sweepTable({ manifest, traces }: SweepData): string {
  const keys = manifest.vary;
  const gains = traces.some(({ baseline }) => baseline);
  const right = (name: string): Header => ({ name, align: 'right' });
  const headers: Header[] = [
    right('cell'),
    { name: 'trace' },
    ...keys.map((key) => ({ name: shortKey(key, keys) })),
    right('records'),
    ...METRICS.map(([name]) => right(name)),
    ...(gains ? [right('T_old/T_new-1'), right('1-T_new/T_old')] : []),
  ];
  const rows = traces.flatMap(({ title, trace, cells, baseline }) =>
    cells.map((cell) => [
      ...[number(cell.cell), title],
      ...keys.map((key) => cellLabel(cell.varied, [key])),
      number(trace.records),
      ...METRICS.map(([, metric]) => write(metric, cell.flat)),
      ...(gains ? gainColumns(cell, baseline) : []),
    ]),
  );
  return table(headers, rows);
}

function gainColumns(cell: CellData, baseline: CellData | null): string[] {
  if (cell === baseline) return ['baseline', ''];
  const gain = cellGain(cell, baseline);
  return [gain?.speedup, gain?.saved].map((share) =>
    share === null || share === undefined ? '-' : percent(share, true),
  );
}
