// Page-table dumps of DMT (/proc/page_tables of its kernel module, eval/dump_pagetables/dump_pagetables.c):
//              1234                              a number of 16 characters: the process, or the rows
//   00007f0012345000,1a2b,1a2c,1a2d,1a2e,5f321   va, then the frames of the four tables and of the page, hexadecimal
// One row for each page of 4 KiB that is mapped: a page of 2 MiB is 512 rows whose last table "is" the page itself, one of
// 1 GiB 262,144 whose last two are. They are put together again where all rows are there. Of the dump of a virtual machine
// (EPT) the addresses are the guest's physical ones. Permissions stand in no dump: everything is executable.
// The dumper prints frame numbers; files that hold addresses are read with `--set unit=pa`.

import { InputError, UsageError } from '../errors.js';
import {
  badLine,
  type DumpedTable,
  ENTRIES,
  frameOf,
  isLeaf,
  isTable,
  parseFrame,
  setLeaf,
  setTable,
  TableDump,
} from './dump.js';
import { headText, textLines } from './lines.js';
import { type MappingFormat, type MappingOptions } from './mapping.js';

const FIRST_LINE = /^[ \d]{15}\d$/;
const ROW = /^([0-9a-f]{16})((?:,[0-9a-f]{1,16}){5})$/;
const INDEX_SHIFTS = [39n, 30n, 21n, 12n];

/** Whether a file starts like such a dump. */
export function isDmt(head: Uint8Array): boolean {
  const [first, second] = headText(head).split(/\r?\n/);
  return FIRST_LINE.test(first) && second !== undefined && ROW.test(second);
}

/** Reads a dump; the option `unit` says what its columns hold. Throws InputError. */
export async function readDmt(path: string, { set, warn }: MappingOptions): Promise<TableDump> {
  const unit = set.unit ?? 'pfn';
  if (unit !== 'pfn' && unit !== 'pa') throw new UsageError(`--set unit=${unit}: expected pfn or pa`);
  const dump = new TableDump(path, 'DMT page-table dump');
  let rows = 0;
  let aligned = 0;
  for await (const { line, text } of textLines(path)) {
    if (line === 1 && FIRST_LINE.test(text)) continue;
    if (text === '') continue;
    const [, va, columns] = ROW.exec(text) ?? [];
    if (va === undefined) throw badLine(path, line, 'va,cr3,e1,e2,e3,leaf in hexadecimal', text);
    const frames = columns
      .slice(1)
      .split(',')
      .map((column) => frameIn(column, unit));
    if (frames.some(Number.isNaN))
      throw badLine(path, line, `columns of unit ${unit}`, text, 'or read it with the other --set unit=pfn|pa');
    rows++;
    // Frames of pages are seldom multiples of 4096, addresses always.
    if (unit === 'pfn' && frames.every((frame) => frame % 4096 === 0)) aligned++;
    enter(dump, BigInt(`0x${va}`), frames, (expected) => badLine(path, line, expected, text));
  }
  if (rows === 0) throw new InputError({ source: path, expected: 'rows of a page-table dump', found: 'none' });
  if (aligned === rows) warn(`${path}: all columns are multiples of 4096: addresses? --set unit=pa reads them as such`);
  restoreLarge(dump);
  dump.requireOneLevel();
  return dump;
}

function frameIn(column: string, unit: 'pfn' | 'pa'): number {
  if (unit === 'pfn') return parseFrame(column);
  const pa = BigInt(`0x${column}`);
  return (pa & 0xfffn) === 0n ? parseFrame((pa >> 12n).toString(16)) : Number.NaN;
}

/** Enters the path of one row. */
function enter(dump: TableDump, va: bigint, frames: readonly number[], fault: (expected: string) => InputError): void {
  for (let depth = 0; depth < 4; depth++) {
    const table = dump.table(frames[depth], 4 - depth);
    const index = Number((va >> INDEX_SHIFTS[depth]) & 0x1ffn);
    const next = frames[depth + 1];
    const known = isTable(table, index) || isLeaf(table, index);
    if (known && frameOf(table, index) !== next) {
      throw fault(
        `the frame ${frameOf(table, index).toString(16)} of the rows before in the table of level ${4 - depth}`,
      );
    }
    if (depth < 3) setTable(table, index, next);
    else setLeaf(table, index, { pfn: next, execute: true, present: true });
  }
}

/** Puts the rows of large pages together: tables whose entries are the pages that follow the table's own frame. */
function restoreLarge(dump: TableDump): void {
  for (const [level, frames] of [[1, 1] as const, [2, ENTRIES] as const]) {
    const whole = new Set([...dump.tables.values()].filter((table) => table.level === level && isPage(table, frames)));
    for (const table of dump.tables.values()) {
      if (table.level !== level + 1) continue;
      for (let i = 0; i < ENTRIES; i++) {
        const below = isTable(table, i) ? dump.find(frameOf(table, i), level) : undefined;
        if (below && whole.has(below)) setLeaf(table, i, { pfn: below.pfn, execute: true, present: true });
      }
    }
    for (const table of whole) dump.drop(table);
  }
}

/** Whether a table is a page that was taken for one: its entries are leaves `frames` apart from its own frame on. */
function isPage(table: DumpedTable, frames: number): boolean {
  if (table.pfn % (ENTRIES * frames) !== 0) return false;
  for (let i = 0; i < ENTRIES; i++) {
    if (!isLeaf(table, i) || frameOf(table, i) !== table.pfn + i * frames) return false;
  }
  return true;
}

export const dmt: MappingFormat = {
  name: 'dmt',
  description: 'page-table dump of DMT',
  detect: isDmt,
  read: async (path, options) => (await readDmt(path, options)).mapping(),
};
