// Page-table dumps of Mitosis and vMitosis (/proc/ptdump, ptdump/dodump.c of the artifacts of ASPLOS 2020 and 2021):
//   <numamap>                                  one line per range of a node: node, first byte, end, decimal; "#" comments
//   0 0 137438953472
//   </numamap>
//   <ptdump process="4711" count="2">          a snapshot; a file holds many, of several processes
//   <numamigrations>0</numamigrations>
//   <level4 b="1a2b3c">1a2b3d 0 0 ...</level4> a table: its frame and 512 entries, hexadecimal, "0" for an empty one
//   </ptdump>
// Entries of levels 4 and 3 are frames of tables. Level 2: "p" frame of a table, else a page of 2 MiB by its number, "x" one
// that is executable. Level 1: frame, "x" an executable one. "n" before it: no access (PROT_NONE, NUMA hint).
// The dumps hold four levels; what they print of a fifth has no entries.

import { InputError, UsageError } from '../errors.js';
import { type TraceMetadata } from '../metadata.js';
import { badLine, type DumpedTable, ENTRIES, parseFrame, setLeaf, setTable, TableDump } from './dump.js';
import { headText, textLines } from './lines.js';
import { type MappingFormat, type MappingOptions } from './mapping.js';

const PTDUMP = /^<ptdump process="(\d+)" (?:count="(\d+)">|error="(-?\d+)"><\/ptdump>)$/;
const LEVEL = /^<level([1-5]) b="([0-9a-f]+)">(.*)<\/level\1>$/;
const NUMA_LINE = /^(\d+)\s+(\d+)\s+(\d+)$/;
const LARGE_FRAMES = 512;
const SOURCE = 'Mitosis ptdump';

/** Whether a file starts like such a dump. */
export function isPtdump(head: Uint8Array): boolean {
  const lines = headText(head).split('\n').slice(0, -1);
  return lines.some((line) => PTDUMP.test(line) || /^<numa\w*>$/.test(line));
}

/** Reads one snapshot of a dump: `snapshot`, from 1, of `process`. Throws InputError. */
export async function readPtdump(path: string, { set, warn }: MappingOptions): Promise<TableDump> {
  const process = set.process;
  const wanted = numberOption('snapshot', set.snapshot) ?? 1;
  const processes = new Map<string, number>();
  let nodes: TraceMetadata['nodes'] = [];
  let numa: Map<number, { from: string; to: string }[]> | null = null;
  let dump: TableDump | null = null;
  /** Whether the tables of the snapshot that is being read are wanted. */
  let inside: 'wanted' | 'other' | null = null;
  for await (const { line, text: raw } of textLines(path)) {
    const text = raw.trim();
    if (numa) {
      if (/^<\/numa\w*>$/.test(text)) {
        nodes = [...numa].map(([node, ranges]) => ({ node, ranges }));
        numa = null;
      } else if (text !== '' && !text.startsWith('#')) {
        const [, node, from, to] = NUMA_LINE.exec(text) ?? [];
        if (node === undefined) throw badLine(path, line, 'node, first byte and end of its memory', text);
        const range = { from: `0x${BigInt(from).toString(16)}`, to: `0x${BigInt(to).toString(16)}` };
        numa.set(Number(node), [...(numa.get(Number(node)) ?? []), range]);
      }
      continue;
    }
    if (inside !== null) {
      if (text === '</ptdump>') inside = null;
      else if (inside === 'wanted') readTable(dump!, path, line, text);
      continue;
    }
    if (/^<numa\w*>$/.test(text)) numa = new Map();
    const begun = PTDUMP.exec(text);
    if (!begun) continue;
    const [, owner, , error] = begun;
    // The dumper could not read the process.
    if (error !== undefined) continue;
    const number = (processes.get(owner) ?? 0) + 1;
    processes.set(owner, number);
    const chosen = dump === null && number === wanted && owner === (process ?? [...processes.keys()][0]);
    inside = chosen ? 'wanted' : 'other';
    if (chosen) dump = new TableDump(path, `${SOURCE}, process ${owner}, snapshot ${number}`);
  }
  if (inside !== null || numa !== null)
    throw new InputError({
      source: path,
      expected: 'a complete dump',
      found: 'its end inside a snapshot',
      advice: 'the file is truncated',
    });
  const held = [...processes].map(([owner, snapshots]) => `process ${owner} with ${snapshots}`).join(', ') || 'none';
  if (!dump) {
    const expected = `snapshot ${wanted}${process === undefined ? '' : ` of process ${process}`}`;
    throw new InputError({
      source: path,
      expected,
      found: `snapshots: ${held}`,
      advice: 'choose with --set process=P and --set snapshot=N',
    });
  }
  if (dump.roots.length === 0)
    throw new InputError({ source: path, expected: 'a table of level 4', found: `none in ${dump.source}` });
  if (process === undefined && processes.size > 1)
    warn(`${path}: took ${dump.source} of ${held}; --set process=P takes another`);
  if (set.snapshot === undefined && Math.max(...processes.values()) > 1)
    warn(`${path}: took ${dump.source} of ${held}; --set snapshot=N takes another`);
  if (dump.missing > 0) warn(`${path}: ${dump.missing} entries point to tables that the dump does not hold`);
  dump.requireOneLevel();
  dump.nodes = nodes;
  return dump;
}

/** A line of a snapshot. */
function readTable(dump: TableDump, path: string, line: number, text: string): void {
  if (text === '' || text.startsWith('<numamigrations>')) return;
  const [, digit, base, list] = LEVEL.exec(text) ?? [];
  const pfn = base === undefined ? Number.NaN : parseFrame(base);
  if (Number.isNaN(pfn)) throw badLine(path, line, 'a table such as <level4 b="1a2b3c">...</level4>', text);
  const level = Number(digit);
  if (level === 5) return;
  const entries = list.trim().split(/ +/);
  if (entries.length !== ENTRIES) {
    throw new InputError({
      ...{ source: path, at: `line ${line}`, expected: `${ENTRIES} entries`, found: `${entries.length}` },
      advice: 'the dumper leaves entries of level 4 out when a dump has more than 256 tables before it',
    });
  }
  const table = dump.table(pfn, level);
  entries.forEach((entry, index) => {
    if (entry !== '0' && !readEntry(table, index, entry))
      throw badLine(path, line, `an entry of level ${level} at index ${index}`, entry);
  });
}

const LOW_LEVEL_ENTRY = /^(n?)([px]?)([0-9a-f]+)$/;

/** Enters one entry; false when it is none. */
function readEntry(table: DumpedTable, index: number, entry: string): boolean {
  const { level } = table;
  if (level > 2) {
    const pfn = parseFrame(entry);
    if (Number.isNaN(pfn)) return false;
    setTable(table, index, pfn);
    return true;
  }
  const [, hint, kind, digits] = LOW_LEVEL_ENTRY.exec(entry) ?? [];
  const large = level === 2 && kind !== 'p';
  const pfn = digits === undefined ? Number.NaN : parseFrame(digits) * (large ? LARGE_FRAMES : 1);
  if (Number.isNaN(pfn) || (kind === 'p' && level === 1)) return false;
  if (kind === 'p') {
    // A table without access is no table to the hardware.
    if (hint === '') setTable(table, index, pfn);
  } else setLeaf(table, index, { pfn, execute: kind === 'x', present: hint === '' });
  return true;
}

/** The value of an option that is a number from 1. */
function numberOption(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new UsageError(`--set ${name}=${text}: expected a number from 1`);
}

export const ptdump: MappingFormat = {
  name: 'ptdump',
  description: 'page-table dump of Mitosis or vMitosis',
  detect: isPtdump,
  read: async (path, options) => (await readPtdump(path, options)).mapping(),
};
