// Prospero text of the Structural Simulation Toolkit, as src/sst/elements/prospero/prostextreader.cc reads it:
//   line = CYCLE " " ("R" | "W") " " ADDR " " SIZE      numbers decimal, ADDR also hexadecimal after 0x
//     1203 R 140736912035424 8
// Virtual addresses of one thread; CYCLE is the column time.

import { LOAD, STORE, type ColumnName } from '../batch.js';
import { type TraceFormat } from '../format.js';
import { Rows } from '../rows.js';
import { looksLike, parseText, type Scanner } from '../scan.js';

const COLUMNS: readonly ColumnName[] = ['cpu', 'kind', 'va', 'size', 'time'];
const LINE = /^\d+ [RW] (0x[0-9a-f]+|\d+) \d+\s*$/i;

function parseLine(scan: Scanner, rows: Rows): boolean {
  if (!scan.decimal()) return false;
  const { low, high } = scan;
  if (!scan.blanks()) return false;
  const kind = scan.word('R') || scan.word('r') ? LOAD : scan.word('W') || scan.word('w') ? STORE : -1;
  if (kind < 0 || !scan.blanks() || !scan.number()) return false;
  const row = rows.add(kind, scan.low, scan.high);
  rows.timeWords[2 * row] = low;
  rows.timeWords[2 * row + 1] = high;
  if (!scan.blanks() || !scan.decimal() || scan.within(1, 0xffff) < 0) return false;
  rows.size[row] = scan.low;
  return scan.end();
}

export const prospero: TraceFormat = {
  name: 'prospero',
  description: 'Prospero of SST, text',
  addresses: 'virtual, user only',
  detect: (head) => looksLike(head, LINE),
  async parse(input) {
    return {
      columns: COLUMNS,
      batches: parseText(input.chunks, new Rows(COLUMNS), {
        source: input.path,
        expected: 'a line of Prospero such as "1203 R 140736912035424 8"',
        parse: parseLine,
      }),
      metadata: () => ({
        source: { tool: 'SST Prospero', command: null, input: [] },
        cpus: 1,
        clock: 'cycles',
        notes: ['data accesses only: no fetches'],
      }),
    };
  },
};
