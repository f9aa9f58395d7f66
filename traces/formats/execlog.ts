// QEMU's plugin execlog, as contrib/plugins/execlog.c prints it, one instruction a line:
//   line   = CPU ", 0x" PC ", 0x" OPCODE ', "' DISASSEMBLY '"' { ", " (access | change) }
//   access = ("load" | "store") ", 0x" ADDR [", " DEVICE]        change = REGISTER " -> 0x" VALUE
//     0, 0x4014f5, 0xf2df1c5e, "popq %rsi", load, 0x4000800860
//     0, 0xffff800010a3c0d4, 0xb9400261, "ldr w1, [x19]", load, 0x40b1c0d4, RAM
// PC is virtual. ADDR is virtual in user mode; a whole machine's is physical, and then the DEVICE follows. Neither
// instructions nor accesses have a size. In user mode a CPU is a thread.

import { FETCH, LOAD, PA_UNKNOWN, STORE, type ColumnName } from '../batch.js';
import { UsageError } from '../errors.js';
import { type TraceFormat } from '../format.js';
import { type TraceMetadata } from '../metadata.js';
import { RECORD_ROWS, Rows } from '../rows.js';
import { looksLike, parseText, type Scanner } from '../scan.js';

const LINE = /^\d+, 0x[0-9a-f]+, 0x[0-9a-f]+, ".*"(, .*)?$/;
const QUOTE = 34;
const COMMA = 44;
const NEWLINE = 10;
const RETURN = 13;
const MAX_CPU = 0xffff;

interface Tally {
  cpus: number;
  /** Accesses whose address is physical. */
  physical: number;
  keep: boolean;
}

function parseLine(scan: Scanner, rows: Rows, tally: Tally): boolean {
  const first = rows.count;
  if (!scan.decimal()) return false;
  const cpu = scan.within(0, MAX_CPU);
  if (cpu < 0 || !scan.word(', ') || !scan.hex0x()) return false;
  rows.add(FETCH, scan.low, scan.high);
  rows.pa[first] = PA_UNKNOWN;
  if (!scan.word(', ') || !scan.hex0x() || !scan.word(', "') || !skipDisassembly(scan)) return false;
  while (scan.word(', ')) {
    const kind = scan.word('load, ') ? LOAD : scan.word('store, ') ? STORE : -1;
    if (kind < 0) {
      if (!skipChange(scan)) return false;
      continue;
    }
    if (!scan.hex0x() || rows.count - first === RECORD_ROWS) return false;
    const row = rows.add(kind, scan.low, scan.high);
    if (!skipDevice(scan)) continue;
    tally.physical++;
    rows.pa[row] = rows.va[row];
    if (!tally.keep) rows.count--;
  }
  rows.cpu.fill(cpu, first, rows.count);
  if (cpu >= tally.cpus) tally.cpus = cpu + 1;
  return scan.end();
}

/** Takes the rest of the disassembly and the quote that ends it: another may stand inside, but not before a comma. */
function skipDisassembly(scan: Scanner): boolean {
  const { text } = scan;
  for (let at = text.indexOf(QUOTE, scan.at); at >= 0; at = text.indexOf(QUOTE, at + 1)) {
    const after = text[at + 1];
    if (after !== COMMA && after !== NEWLINE && after !== RETURN) continue;
    const inLine = text.indexOf(NEWLINE, scan.at) > at;
    scan.at = at + 1;
    return inLine;
  }
  return false;
}

/** Takes a register and its new value, of any length. */
function skipChange(scan: Scanner): boolean {
  const { text } = scan;
  const start = scan.at;
  while (text[scan.at] > 32 && text[scan.at] !== COMMA) scan.at++;
  if (scan.at === start || !scan.word(' -> 0x')) return false;
  const digits = scan.at;
  while (isHexDigit(text[scan.at])) scan.at++;
  return scan.at > digits;
}

/** Takes the device after an address, if there is one: anything but an access, a change or the end. */
function skipDevice(scan: Scanner): boolean {
  const { text, at } = scan;
  if (!scan.word(', ')) return false;
  if (scan.word('load, 0x') || scan.word('store, 0x') || skipChange(scan)) {
    scan.at = at;
    return false;
  }
  scan.at = at + 2;
  while (text[scan.at] !== COMMA && text[scan.at] !== NEWLINE && text[scan.at] !== RETURN) scan.at++;
  return true;
}

function isHexDigit(code: number): boolean {
  return (code >= 48 && code <= 57) || (code >= 97 && code <= 102) || (code >= 65 && code <= 70);
}

export const execlog: TraceFormat = {
  name: 'execlog',
  description: "QEMU's plugin execlog, text",
  addresses: 'virtual; data of a whole machine physical',
  options: { physical: 'keep: rows of accesses with physical addresses too, va repeating pa (default: drop them)' },
  detect: (head) => looksLike(head, LINE),
  async parse(input, { set, warn }) {
    if (set.physical !== undefined && set.physical !== 'keep' && set.physical !== 'drop')
      throw new UsageError(`--set physical=${set.physical}: expected keep or drop`);
    const tally: Tally = { cpus: 0, physical: 0, keep: set.physical === 'keep' };
    const columns: ColumnName[] = ['cpu', 'kind', 'va', ...(tally.keep ? (['pa'] as const) : [])];
    return {
      columns,
      batches: parseText(input.chunks, new Rows(columns), {
        source: input.path,
        expected: 'a line of execlog such as "0, 0x4014f5, 0xf2df1c5e, "popq %rsi", load, 0x4000800860"',
        advice: 'nothing else may be logged into the same file',
        parse: (scan, rows) => parseLine(scan, rows, tally),
      }),
      metadata(): Partial<TraceMetadata> {
        const machine = tally.physical > 0;
        const dropped = machine && !tally.keep;
        if (dropped)
          warn(`${input.path}: dropped ${tally.physical} accesses that have only a physical address (docs/formats.md)`);
        return {
          source: { tool: `QEMU execlog, ${machine ? 'whole machine' : 'user mode'}`, command: null, input: [] },
          cpus: tally.cpus,
          counts: machine ? { physicalData: tally.physical } : {},
          filters: dropped ? [`dropped ${tally.physical} accesses with a physical address only`] : [],
          notes: machine && tally.keep ? ['data addresses are physical: their va repeats pa'] : [],
        };
      },
    };
  },
};
