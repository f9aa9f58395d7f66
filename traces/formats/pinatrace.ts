// Pin's pinatrace tool, as ManualExamples/pinatrace.cpp and SimpleExamples/pinatrace.cpp print it:
//   line  = "0x" IP ": " ("R" | "W") " 0x" ADDR [SIZE [VALUE]]      IP and ADDR hexadecimal, SIZE decimal
//   other = "#" ..., the last line "#eof"
//     0x7f5c3a0d4103: W 0x7ffd5b6f8e48
//     0x7f5c3a0d4df1: R     0x7f5c3a2fb0c8  8          0x2d54
// Data accesses only: an instruction without one has no line, so IP makes no row. Virtual addresses, no threads, no time.

import { LOAD, STORE, type ColumnName } from '../batch.js';
import { type TraceFormat } from '../format.js';
import { Rows } from '../rows.js';
import { headLines, looksLike, parseText, type Scanner } from '../scan.js';

const HASH = 35;
const COLON = 58;
const LETTER_R = 82;
const LETTER_W = 87;
const LINE = /^0x[0-9a-f]+: [RW]\s+0x[0-9a-f]+(\s|$)/i;
const COMMENT = /^#/;

function parseLine(scan: Scanner, rows: Rows, sized: boolean): boolean {
  if (scan.peek === HASH) return scan.skipLine();
  if (!scan.hex0x() || !scan.take(COLON) || !scan.blanks()) return false;
  const kind = scan.take(LETTER_R) ? LOAD : scan.take(LETTER_W) ? STORE : -1;
  if (kind < 0 || !scan.blanks() || !scan.hex0x()) return false;
  const row = rows.add(kind, scan.low, scan.high);
  if (!sized) return scan.end();
  if (!scan.blanks() || !scan.decimal() || scan.within(1, 0xffff) < 0) return false;
  rows.size[row] = scan.low;
  return scan.blanks() ? scan.skipLine() : scan.end();
}

export const pinatrace: TraceFormat = {
  name: 'pinatrace',
  description: "Pin's pinatrace, text",
  addresses: 'virtual, user only',
  detect: (head) => looksLike(head, LINE, COMMENT),
  async parse(input) {
    const first = headLines(input.head).find((line) => !COMMENT.test(line)) ?? '';
    const sized = /^\S+ [RW]\s+0x[0-9a-f]+\s+\d/i.test(first);
    const columns: ColumnName[] = ['cpu', 'kind', 'va', ...(sized ? (['size'] as const) : [])];
    return {
      columns,
      batches: parseText(input.chunks, new Rows(columns), {
        source: input.path,
        expected: `a line of pinatrace such as "0x401130: R 0x7ffd5b6f8e48${sized ? ' 8' : ''}"`,
        parse: (scan, rows) => parseLine(scan, rows, sized),
      }),
      metadata: () => ({
        source: { tool: 'pinatrace', command: null, input: [] },
        cpus: 1,
        notes: ['data accesses only: no fetches'],
      }),
    };
  },
};
