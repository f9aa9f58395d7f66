// memtrace, text of a changed Valgrind (callgrind) with one access a line:
//   line  = ("readi" | "readd" | "write") " 0x" ADDR " " SIZE [" " TIME]      ADDR hexadecimal, SIZE decimal
//   other = "==PID==..." and "--PID--..." (Valgrind's own messages): skipped
//     readi 0x04935caf 6
//     write 0x0000001ffefffe48 8 1648526782.529086545
// Virtual user addresses. TIME, seconds of the day it was recorded, says nothing about the program: passed over.

import { FETCH, LOAD, STORE, type ColumnName } from '../batch.js';
import { type TraceFormat } from '../format.js';
import { Rows } from '../rows.js';
import { looksLike, parseText, type Scanner } from '../scan.js';

const COLUMNS: readonly ColumnName[] = ['cpu', 'kind', 'va', 'size'];
const LINE = /^(readi|readd|write) 0x[0-9a-f]+ \d+(\s|$)/i;
const MESSAGE = /^(==|--)\d+(==|--)/;
const DASH = 45;
const EQUALS = 61;

function parseLine(scan: Scanner, rows: Rows): boolean {
  if (scan.peek === DASH || scan.peek === EQUALS) return MESSAGE.test(scan.lineText()) && scan.skipLine();
  const kind = scan.word('readi') ? FETCH : scan.word('readd') ? LOAD : scan.word('write') ? STORE : -1;
  if (kind < 0 || !scan.blanks() || !scan.hex0x()) return false;
  const row = rows.add(kind, scan.low, scan.high);
  if (!scan.blanks() || !scan.decimal() || scan.within(1, 0xffff) < 0) return false;
  rows.size[row] = scan.low;
  return scan.blanks() ? scan.skipLine() : scan.end();
}

export const memtrace: TraceFormat = {
  name: 'memtrace',
  description: 'memtrace, text of readi, readd and write',
  addresses: 'virtual, user only',
  detect: (head) => looksLike(head, LINE, MESSAGE),
  async parse(input) {
    return {
      columns: COLUMNS,
      batches: parseText(input.chunks, new Rows(COLUMNS), {
        source: input.path,
        expected: 'a line of memtrace such as "readd 0x04c0ea48 4"',
        parse: parseLine,
      }),
      metadata: () => ({ source: { tool: 'memtrace', command: null, input: [] }, cpus: 1 }),
    };
  },
};
