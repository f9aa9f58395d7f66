// Dinero's "din" text, as Dinero IV's documentation has it:
//   line = LABEL ADDR [anything]      LABEL 0 read, 1 write, 2 fetch, 3 escape, 4 cache flush; ADDR hexadecimal
//     2 408ed4
//     0 7fffcca8 8
// What follows the address is a comment. Escapes and flushes are no accesses: they are counted and passed over.
// Whatever the tracer called an address; no sizes, no threads, no time.

import { FETCH, LOAD, STORE, type ColumnName } from '../batch.js';
import { type TraceFormat } from '../format.js';
import { Rows } from '../rows.js';
import { headLines, looksLike, parseText, type Scanner } from '../scan.js';

const KINDS = [LOAD, STORE, FETCH];
const COLUMNS: readonly ColumnName[] = ['cpu', 'kind', 'va'];
const LINE = /^\s*[0-4]\s+(0x)?[0-9a-f]{1,16}(\s|$)/i;

interface Tally {
  other: number;
}

function parseLine(scan: Scanner, rows: Rows, tally: Tally): boolean {
  if (!scan.decimal()) return false;
  const label = scan.within(0, 4);
  if (label < 0 || !scan.blanks() || !(scan.hex0x() || scan.hex())) return false;
  if (label < KINDS.length) rows.add(KINDS[label], scan.low, scan.high);
  else tally.other++;
  return scan.blanks() ? scan.skipLine() : scan.end();
}

/** Whether a text of this form can be nothing else: Ramulator's CPU traces have decimal addresses after any number. */
function isDin(head: Uint8Array): boolean {
  if (!looksLike(head, LINE)) return false;
  const lines = headLines(head);
  return (
    lines.some((line) => /^\s*[0-4]\s+(0x)?\d*[a-f]/i.test(line)) || lines.every((line) => /^\s*[0-2]\s/.test(line))
  );
}

export const din: TraceFormat = {
  name: 'din',
  description: 'Dinero, text',
  addresses: 'as the tracer had them, most often virtual',
  detect: isDin,
  async parse(input) {
    const tally: Tally = { other: 0 };
    return {
      columns: COLUMNS,
      batches: parseText(input.chunks, new Rows(COLUMNS), {
        source: input.path,
        expected: 'a label from 0 to 4 and a hexadecimal address such as "2 408ed4"',
        parse: (scan, rows) => parseLine(scan, rows, tally),
      }),
      metadata: () => ({
        source: { tool: 'Dinero din', command: null, input: [] },
        cpus: 1,
        filters: tally.other > 0 ? [`passed over ${tally.other} escape and flush records`] : [],
      }),
    };
  },
};
