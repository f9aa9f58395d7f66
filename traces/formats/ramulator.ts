// Memory traces of Ramulator, text; its README and, for version 2, src/frontend/impl/memory_trace/*.cpp:
//   DRAM trace (1)       "0x" ADDR " " ("R" | "W")                  0x4cbd56c0 W        physical
//   CPU trace (1)        BUBBLES " " READ [" " WRITEBACK]           3 20734016          virtual, decimal or 0x
//   LoadStoreTrace (2)   ("LD" | "ST") " " ADDR                     LD 0x12345680       physical, decimal or 0x
// BUBBLES, instructions between two requests, are counted: they have no addresses. WRITEBACK is a store after the read.
// ReadWriteTrace (2), "R 0,0,1,2,3", has DRAM coordinates instead of addresses and is refused.
// Requests as they leave the caches: no fetches, no sizes, no threads, no time.

import { LOAD, STORE, type ColumnName } from '../batch.js';
import { InputError } from '../errors.js';
import { type TraceFormat } from '../format.js';
import { type TraceMetadata } from '../metadata.js';
import { Rows } from '../rows.js';
import { headLines, looksLike, parseText, type Scanner } from '../scan.js';
import { shorten } from '../sniff.js';

interface Dialect {
  name: string;
  line: RegExp;
  example: string;
  /** Physical addresses are in `pa` as well as in `va`. */
  physical: boolean;
  parse(scan: Scanner, rows: Rows, tally: Tally): boolean;
}

interface Tally {
  bubbles: number;
}

/** Begins a row of a physical address. */
function addPhysical(rows: Rows, kind: number, low: number, high: number): void {
  const row = rows.add(kind, low, high);
  rows.paWords[2 * row] = low;
  rows.paWords[2 * row + 1] = high;
}

const DIALECTS: readonly Dialect[] = [
  {
    name: 'DRAM trace',
    line: /^0x[0-9a-f]+ [RW]\s*$/i,
    example: '0x4cbd56c0 W',
    physical: true,
    parse(scan, rows) {
      if (!scan.hex0x() || !scan.blanks()) return false;
      const { low, high } = scan;
      const kind = scan.word('R') || scan.word('r') ? LOAD : scan.word('W') || scan.word('w') ? STORE : -1;
      if (kind < 0) return false;
      addPhysical(rows, kind, low, high);
      return scan.end();
    },
  },
  {
    name: 'LoadStoreTrace',
    line: /^(LD|ST) (0x[0-9a-f]+|\d+)\s*$/i,
    example: 'LD 0x12345680',
    physical: true,
    parse(scan, rows) {
      const kind = scan.word('LD') ? LOAD : scan.word('ST') ? STORE : -1;
      if (kind < 0 || !scan.blanks() || !scan.number()) return false;
      addPhysical(rows, kind, scan.low, scan.high);
      return scan.end();
    },
  },
  {
    name: 'CPU trace',
    line: /^\d+ (0x[0-9a-f]+|\d+)( (0x[0-9a-f]+|\d+))?\s*$/i,
    example: '3 20734016',
    physical: false,
    parse(scan, rows, tally) {
      if (!scan.decimal() || scan.high !== 0) return false;
      tally.bubbles += scan.low;
      if (!scan.blanks() || !scan.number()) return false;
      rows.add(LOAD, scan.low, scan.high);
      if (scan.end()) return true;
      if (!scan.number()) return false;
      rows.add(STORE, scan.low, scan.high);
      return scan.end();
    },
  },
];

const COORDINATES = /^[RW] \d+(,\d+)+\s*$/;

export const ramulator: TraceFormat = {
  name: 'ramulator',
  description: 'Ramulator 1 (DRAM and CPU traces) and 2 (LoadStoreTrace), text',
  addresses: 'physical, of CPU traces virtual',
  detect: (head) => [...DIALECTS.map(({ line }) => line), COORDINATES].some((line) => looksLike(head, line)),
  async parse(input) {
    const first = headLines(input.head)[0] ?? '';
    const dialect = DIALECTS.find(({ line }) => line.test(first));
    if (!dialect) {
      const coordinates = COORDINATES.test(first);
      throw new InputError({
        source: input.path,
        at: 'line 1',
        expected: `a line of Ramulator such as ${DIALECTS.map(({ example }) => `"${example}"`).join(', ')}`,
        found: JSON.stringify(shorten(first)),
        advice: coordinates
          ? 'a ReadWriteTrace has DRAM coordinates, which are no addresses: trace addresses'
          : undefined,
      });
    }
    const columns: ColumnName[] = ['cpu', 'kind', 'va', ...(dialect.physical ? (['pa'] as const) : [])];
    const tally: Tally = { bubbles: 0 };
    return {
      columns,
      batches: parseText(input.chunks, new Rows(columns), {
        source: input.path,
        expected: `a line of a ${dialect.name} such as "${dialect.example}"`,
        parse: (scan, rows) => dialect.parse(scan, rows, tally),
      }),
      metadata: (): Partial<TraceMetadata> => ({
        source: { tool: `Ramulator ${dialect.name}`, command: null, input: [] },
        cpus: 1,
        counts: dialect.physical ? {} : { bubbles: tally.bubbles },
        notes: dialect.physical
          ? ['physical addresses: va repeats pa', 'memory requests: no fetches']
          : ['memory requests: no fetches'],
      }),
    };
  },
};
