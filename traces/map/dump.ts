// Page tables that a dump tells by frame numbers, as x86-64 entries: what the hardware would have read, as far as the dump
// says (Intel SDM vol. 3, 4.5).
//   | 63 XD | 51..12 frame | 8 PROT_NONE when not present | 7 PS, a large page | 6 D | 5 A | 2 U/S | 1 R/W | 0 P |
// Tables and leaves are present, writable, for the user, accessed and dirty; a dump does not say otherwise. A leaf without
// access (PROT_NONE, NUMA hint) is not present and keeps its frame, with bit 8, as Linux writes it.

import { InputError } from '../errors.js';
import { type TraceMetadata } from '../metadata.js';
import { type PageMapping } from './mapping.js';

const PRESENT = 1;
const TABLE_FLAGS = 0x27;
const LEAF_FLAGS = 0x67;
export const LARGE = 1 << 7;
const PROT_NONE = 1 << 8;
const NO_EXECUTE = 0x8000_0000;
export const FRAME_HIGH = 0x000f_ffff;
const INDEX_BITS = 9;
const PAGE_SHIFT = 12;
export const ENTRIES = 512;
/** Frame numbers of physical addresses up to 52 bits. */
const MOST_FRAMES = 2 ** 40;
/** More than there are levels. */
const LEVELS = 8;

/** A page of entries. */
export interface DumpedTable {
  pfn: number;
  /** 4 (the root) to 1. */
  level: number;
  /** Low and high word of every entry. */
  words: Uint32Array<ArrayBuffer>;
}

/** A leaf as a dump states it; its frame number is that of the first page of 4 KiB. */
export interface DumpedLeaf {
  pfn: number;
  execute: boolean;
  /** false: without access. */
  present: boolean;
}

/** The tables of one process, or of one virtual machine's memory. */
export class TableDump {
  /** By frame and level. */
  readonly tables = new Map<number, DumpedTable>();
  /** The tables of level 4, in the dump's order. */
  readonly roots: number[] = [];
  nodes: TraceMetadata['nodes'] = [];

  constructor(
    readonly path: string,
    /** What made it. */
    readonly source: string,
  ) {}

  /** The table of a level at a frame, made where it is new. */
  table(pfn: number, level: number): DumpedTable {
    let table = this.find(pfn, level);
    if (!table) {
      table = { pfn, level, words: new Uint32Array(2 * ENTRIES) };
      this.tables.set(LEVELS * pfn + level, table);
      if (level === 4) this.roots.push(pfn);
    }
    return table;
  }

  /** The table of a level at a frame, where the dump has it. */
  find(pfn: number, level: number): DumpedTable | undefined {
    return this.tables.get(LEVELS * pfn + level);
  }

  /** Takes a table out. */
  drop({ pfn, level }: DumpedTable): void {
    this.tables.delete(LEVELS * pfn + level);
  }

  /** Throws InputError when a frame holds tables of two levels: then it is not known what was read. */
  requireOneLevel(): void {
    const levels = new Map<number, number>();
    for (const { pfn, level } of this.tables.values()) {
      const other = levels.get(pfn);
      levels.set(pfn, level);
      if (other === undefined) continue;
      const found = `tables of levels ${other} and ${level} in frame 0x${pfn.toString(16)}`;
      throw new InputError({ source: this.path, expected: 'every frame as a table of one level', found });
    }
  }

  /** Tables that entries point to and the dump does not hold. */
  get missing(): number {
    let missing = 0;
    for (const table of this.tables.values()) {
      for (let i = 0; i < ENTRIES; i++) {
        if (isTable(table, i) && !this.find(frameOf(table, i), table.level - 1)) missing++;
      }
    }
    return missing;
  }

  /** The leaf that maps an address, where there is one; `level` 3 to 1. */
  leafOf(va: bigint, root = this.roots[0]): { table: DumpedTable; index: number } | null {
    // Bits 63 to 47 are equal in a canonical address of 48 bits.
    const sign = va >> 47n;
    if (sign !== 0n && sign !== 0x1_ffffn) return null;
    let table = this.find(root, 4);
    while (table) {
      const index = Number((va >> BigInt(PAGE_SHIFT + INDEX_BITS * (table.level - 1))) & 0x1ffn);
      if (!isTable(table, index)) return isLeaf(table, index) ? { table, index } : null;
      table = this.find(frameOf(table, index), table.level - 1);
    }
    return null;
  }

  /** The dump as a mapping. */
  mapping(): PageMapping {
    let size = 0;
    for (const table of this.tables.values()) for (let i = 0; i < ENTRIES; i++) if (isLeaf(table, i)) size++;
    return {
      pageBytes: 1 << PAGE_SHIFT,
      source: this.source,
      size,
      nodes: this.nodes,
      translate: (va) => {
        const leaf = this.leafOf(va);
        if (!leaf || !isPresent(leaf.table, leaf.index)) return -1n;
        const offsetBits = BigInt(PAGE_SHIFT + INDEX_BITS * (leaf.table.level - 1));
        return (BigInt(frameOf(leaf.table, leaf.index)) << 12n) | BigInt.asUintN(Number(offsetBits), va);
      },
    };
  }
}

/** Writes an entry that points to a table. */
export function setTable(table: DumpedTable, index: number, pfn: number): void {
  set(table, index, pfn, TABLE_FLAGS, 0);
}

/** Writes an entry that maps memory. */
export function setLeaf(table: DumpedTable, index: number, { pfn, execute, present }: DumpedLeaf): void {
  const flags = present ? LEAF_FLAGS : (LEAF_FLAGS & ~PRESENT) | PROT_NONE;
  set(table, index, pfn, flags | (table.level > 1 ? LARGE : 0), execute ? 0 : NO_EXECUTE);
}

function set({ words }: DumpedTable, index: number, pfn: number, low: number, high: number): void {
  words[2 * index] = ((pfn << PAGE_SHIFT) | low) >>> 0;
  words[2 * index + 1] = (Math.floor(pfn / 2 ** 20) | high) >>> 0;
}

/** Whether an entry points to a table. */
export function isTable({ level, words }: DumpedTable, index: number): boolean {
  return level > 1 && (words[2 * index] & (PRESENT | LARGE)) === PRESENT;
}

/** Whether an entry maps memory, with access or without. */
export function isLeaf({ level, words }: DumpedTable, index: number): boolean {
  const low = words[2 * index];
  return (low & (PRESENT | PROT_NONE)) !== 0 && (level === 1 || (low & LARGE) !== 0);
}

/** Whether an entry that maps memory gives access to it. */
export function isPresent({ words }: DumpedTable, index: number): boolean {
  return (words[2 * index] & PRESENT) !== 0;
}

/** The frame of the host behind a frame of its guest; -1 where there is none. */
export function hostFrame(host: TableDump, pfn: number): number {
  const leaf = host.leafOf(BigInt(pfn) << BigInt(PAGE_SHIFT));
  if (!leaf) return -1;
  return frameOf(leaf.table, leaf.index) + (pfn % ENTRIES ** (leaf.table.level - 1));
}

/** The frame number in an entry. */
export function frameOf({ words }: DumpedTable, index: number): number {
  return (words[2 * index + 1] & FRAME_HIGH) * 2 ** 20 + (words[2 * index] >>> PAGE_SHIFT);
}

/** A hexadecimal frame number without 0x; NaN where it is none. */
export function parseFrame(text: string): number {
  if (!/^[0-9a-f]{1,11}$/i.test(text)) return Number.NaN;
  const pfn = Number.parseInt(text, 16);
  return pfn < MOST_FRAMES ? pfn : Number.NaN;
}

/** An error about a line of a dump. */
export function badLine(path: string, line: number, expected: string, text: string, advice?: string): InputError {
  const found = JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text);
  return new InputError({ source: path, at: `line ${line}`, expected, found, advice });
}
