// What the events of a scenario cost under each system: counters of one event, tables and copies, and how many events a second
// cost what a case gains. A row per event and system.

import { number } from '../format.js';
import { type Flat } from '../results/summary.js';
import { type Markup } from './html.js';
import { groupBy, valueLabel } from './keys.js';
import { type EventCost, type Measured, phaseOf } from './published.js';
import { type Column, resultTable } from './resultTable.js';
import { type CellData } from './sweepData.js';

type Placed = Measured & { at: NonNullable<Measured['at']> };

interface Row {
  line: string;
  cell: CellData;
  cost: EventCost;
  /** Counters of the phase. */
  phase: Flat;
  /** The events per second that are about this row's system. */
  cases: Placed[];
}

/** The cases of one table, all of them events per second; null where none of their cells is there. */
export function costTable(cases: Placed[]): Markup | null {
  const rows = groupBy(cases, ({ at }) => at.line).flatMap(rowsOf);
  if (rows.length === 0) return null;
  const names = [...new Set(cases.map(({ at }) => at.column))];
  return resultTable<Row>(
    [
      { title: 'Event', wraps: true, text: ({ line }) => line },
      { title: 'System', text: ({ cell }) => valueLabel(cell.varied['system.name']) },
      ...EVENT.map(([title, of]) => perEvent(title, of)),
      {
        ...{ title: 'more', group: PER_EVENT, unit: 'cycles', meaning: 'Cycles of maintenance above those of none' },
        cell: ({ cell, cost }) => shown(cell === cost.over ? null : cost.extraCycles),
      },
      whole('tables', 'table.bytes'),
      whole('of these replicas', 'table.purpose.replicaTables'),
      whole('copies of text', 'table.replicaBytes'),
      ...names.map((name): Column<Row> => ({
        ...{ title: name, group: 'Events per second that eat the gain of' },
        cell: (row) => shown(row.cases.find(({ at }) => at.column === name)?.measured ?? null),
      })),
    ],
    rows,
    ({ cell, cost }) => cell === cost.over,
  );
}

const PER_EVENT = 'One event';

/** What an event takes, summed over the counters whose names begin so. */
const EVENT: [title: string, prefix: string][] = [
  ['cycles', 'cycles.maintenance'],
  ['table stores', 'maintenance.tableStore'],
  ['sync stores', 'maintenance.syncStore'],
  ['root writes', 'maintenance.rootWrite'],
  ['IPIs', 'maintenance.ipi.'],
  ['TLBIs', 'maintenance.tlbi.'],
  ['traps', 'maintenance.trap'],
  ['bytes copied', 'maintenance.bytesCopied'],
];

/** The old cell, then every new one. */
function rowsOf(cases: Placed[]): Row[] {
  const known = cases.flatMap((entry) => (entry.cost ? [{ entry, cost: entry.cost }] : []));
  const cells = [...new Set(known.flatMap(({ cost }) => [cost.over, cost.of]))];
  return cells.map((cell) => {
    const { entry, cost } = known.find(({ cost: { of, over } }) => of === cell || over === cell)!;
    const own = known.filter(({ cost: { of } }) => of === cell);
    return {
      ...{ line: entry.at.line, cell, cost: own.at(0)?.cost ?? cost, phase: phaseOf(cell, cost.phase)! },
      cases: own.map((one) => one.entry),
    };
  });
}

function perEvent(title: string, prefix: string): Column<Row> {
  return {
    ...{ title, group: PER_EVENT },
    cell: ({ phase, cost }) => {
      const counted = Object.keys(phase).filter(
        (key) => key === prefix || (prefix.endsWith('.') && key.startsWith(prefix)),
      );
      return shown(counted.reduce((sum, key) => sum + phase[key], 0) / cost.events);
    },
  };
}

/** Bytes at the end of the trace. */
function whole(title: string, counter: string): Column<Row> {
  return { title, group: 'Memory, bytes', cell: ({ cell: { flat } }) => shown(flat[counter] ?? 0) };
}

const shown = (value: number | null) => ({ written: value === null ? '-' : number(value), value });
