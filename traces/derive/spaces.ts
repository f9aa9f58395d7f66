// The user halves of the address spaces of a capture, as its page-table stores leave them: which top-level tables there
// are, what each store changes, and which address spaces explain that a virtual address was found at a physical one.
//
// A page becomes a table when an entry points to it, and is taken as zero then: its clearing may have been invisible
// (dc zva). A new top-level table shows itself, as nothing points to one: on x86 by the copy of the kernel's last entry, on
// Arm by the first entry with PXNTable in a page that is no table. An address space ends with its last user entry: exit
// clears them all, a living one always has a stack.

import {
  addressOf,
  entryBytes,
  isArmUserTable,
  isLeaf,
  isTable,
  KERNEL_SLOT,
  protectionOf,
  type Geometry,
} from './geometry.js';
import { type Snapshot } from './snapshot.js';

/** An address space. */
export interface Mm {
  /** Physical address of its top-level table; used again by later address spaces. */
  pa: number;
  /** Its number in order of appearance, from 1. */
  asid: number;
}

/** What a store did to an address space. Addresses are numbers: they are multiples of a page. */
export type Change =
  | { what: 'mm_create' | 'mm_destroy'; mm: Mm }
  | { what: 'user_pud_alloc' | 'user_pud_free'; mm: Mm; va: number }
  | { what: 'user_map'; mm: Mm; va: number; pages: number; pa: number }
  | { what: 'user_unmap'; mm: Mm; va: number; pages: number }
  | { what: 'user_prot'; mm: Mm; va: number; pages: number; prot: number };

/** A table page of a user half. */
interface Table {
  words: Uint32Array;
  mm: Mm;
  /** Levels above the last one. */
  height: number;
  /** First address that it covers. */
  va: number;
}

/** A live address space with its top-level table. */
interface Live {
  mm: Mm;
  top: Table;
  /** User entries of the top-level table that are not zero. */
  entries: number;
}

/** Who explains an access: nobody, one, or several. */
export type Explained = Mm | 'several' | null;

const LOOKUPS = 1024;

export class AddressSpaces {
  /** Changes with every change of a table: what was looked up before is void. */
  private version = 0;
  private asids = 0;
  private live = new Map<number, Live>();
  private tables = new Map<number, Table>();
  /** Table pages of the kernel's half and of other regimes: never top-level tables of new address spaces. */
  private others = new Set<number>();
  private kernelEntry: readonly [low: number, high: number] = [0, 0];
  private readonly tableBytes: number;
  private readonly looked = {
    version: new Int32Array(LOOKUPS).fill(-1),
    va: new Float64Array(LOOKUPS),
    pa: new Float64Array(LOOKUPS),
    answer: new Array<Explained>(LOOKUPS),
  };

  constructor(private readonly geometry: Geometry) {
    this.tableBytes = 2 ** geometry.pageShift;
  }

  /** Starts from a snapshot. Address spaces whose root it has stay the same; returns which are new or gone. */
  reset(snapshot: Snapshot): Change[] {
    const before = this.live;
    const { arch, levels } = this.geometry;
    this.live = new Map();
    this.tables = new Map();
    this.version++;
    const pages = new Map(snapshot.pages.map(({ pa, data }) => [Number(pa), data]));
    const changes: Change[] = [];
    for (const { pa } of snapshot.userRoots) {
      const root = Number(pa);
      const known = before.get(root)?.mm;
      const mm = known ?? { pa: root, asid: ++this.asids };
      if (!known) changes.push({ what: 'mm_create', mm });
      const top = this.load(mm, root, levels - 1, 0, pages);
      this.live.set(root, { mm, top, entries: this.countEntries(top) });
      if (arch === 'x86-64') this.kernelEntry = [top.words[2 * KERNEL_SLOT], top.words[2 * KERNEL_SLOT + 1]];
    }
    for (const { mm } of before.values()) if (!this.live.has(mm.pa)) changes.push({ what: 'mm_destroy', mm });
    this.others = new Set([...pages.keys()].filter((pa) => !this.tables.has(pa)));
    return changes;
  }

  /** Applies a store; returns what it did, in order. */
  store(pa: number, low: number, high: number): Change[] {
    const page = pa - (pa % this.tableBytes);
    const index = (pa - page) / 8;
    const table = this.tables.get(page);
    if (table) return this.write(table, index, low, high);
    if (this.others.has(page) || !this.startsTopLevel(index, low, high)) return [];
    const mm: Mm = { pa: page, asid: ++this.asids };
    const top = this.add(mm, page, this.geometry.levels - 1, 0);
    this.live.set(page, { mm, top, entries: 0 });
    return [{ what: 'mm_create', mm }, ...this.write(top, index, low, high)];
  }

  /** Which live address spaces have `va` at `pa`; both are pages. */
  explain(va: number, pa: number): Explained {
    const { looked, version } = this;
    const slot = (va / this.tableBytes) % LOOKUPS;
    if (looked.version[slot] === version && looked.va[slot] === va && looked.pa[slot] === pa)
      return looked.answer[slot];
    let answer: Explained = null;
    for (const { mm, top } of this.live.values()) {
      if (this.walk(top, va) === pa) answer = answer === null ? mm : 'several';
    }
    looked.version[slot] = version;
    looked.va[slot] = va;
    looked.pa[slot] = pa;
    looked.answer[slot] = answer;
    return answer;
  }

  private startsTopLevel(index: number, low: number, high: number): boolean {
    if (this.geometry.arch === 'arm64') return isArmUserTable(low, high);
    return index === KERNEL_SLOT && low === this.kernelEntry[0] && high === this.kernelEntry[1];
  }

  /** Takes a table and those below it from a snapshot; a page that is not there counts as zero. */
  private load(mm: Mm, pa: number, height: number, va: number, pages: Map<number, Uint8Array<ArrayBuffer>>): Table {
    const table = this.add(mm, pa, height, va);
    const data = pages.get(pa);
    if (!data) return table;
    // A copy: the snapshot's own bytes stay as they were captured.
    table.words.set(new Uint32Array(data.buffer, data.byteOffset, data.length / 4));
    for (let i = 0; i < this.userEntries(height); i++) {
      const [low, high] = [table.words[2 * i], table.words[2 * i + 1]];
      if (!isTable(this.geometry, height, low)) continue;
      const below = addressOf(this.geometry, low, high);
      this.load(mm, below, height - 1, va + i * entryBytes(this.geometry, height), pages);
    }
    return table;
  }

  private add(mm: Mm, pa: number, height: number, va: number): Table {
    const table = { words: new Uint32Array(this.tableBytes / 4), mm, height, va };
    this.tables.set(pa, table);
    return table;
  }

  /** Entries of a table that belong to the user half. */
  private userEntries(height: number): number {
    const { userBits, levels } = this.geometry;
    return height < levels - 1 ? this.tableBytes / 8 : 2 ** userBits / entryBytes(this.geometry, height);
  }

  private countEntries({ words, height }: Table): number {
    let count = 0;
    for (let i = 0; i < this.userEntries(height); i++) if (words[2 * i] !== 0 || words[2 * i + 1] !== 0) count++;
    return count;
  }

  private write(table: Table, index: number, low: number, high: number): Change[] {
    const { geometry } = this;
    const { words, mm, height } = table;
    const [oldLow, oldHigh] = [words[2 * index], words[2 * index + 1]];
    words[2 * index] = low;
    words[2 * index + 1] = high;
    if (index >= this.userEntries(height) || (low === oldLow && high === oldHigh)) return [];
    this.version++;
    const bytes = entryBytes(geometry, height);
    const va = table.va + index * bytes;
    const changes: Change[] = [];
    const live = height === geometry.levels - 1 ? this.live.get(mm.pa) : undefined;
    const set = low !== 0 || high !== 0;
    const wasSet = oldLow !== 0 || oldHigh !== 0;
    if (live && set && !wasSet) {
      live.entries++;
      changes.push({ what: 'user_pud_alloc', mm, va });
    }
    const [was, is] = [isTable(geometry, height, oldLow), isTable(geometry, height, low)];
    const below = is ? addressOf(geometry, low, high) : -1;
    if (was && addressOf(geometry, oldLow, oldHigh) !== below) this.drop(addressOf(geometry, oldLow, oldHigh), mm);
    if (is) {
      const known = this.tables.get(below);
      if (known?.mm !== mm || known.va !== va) this.add(mm, below, height - 1, va);
    }
    const pages = bytes / this.tableBytes;
    const wasMapped = isLeaf(geometry, height, oldLow);
    const mapped = isLeaf(geometry, height, low);
    const pa = mapped ? addressOf(geometry, low, high) : -1;
    const samePa = wasMapped && addressOf(geometry, oldLow, oldHigh) === pa;
    if (wasMapped && !samePa) changes.push({ what: 'user_unmap', mm, va, pages });
    if (mapped && !samePa) changes.push({ what: 'user_map', mm, va, pages, pa });
    if (samePa) {
      // Accessed and dirty bits alone are no change of what is allowed.
      const prot = protectionOf(geometry, low, high);
      if (prot !== protectionOf(geometry, oldLow, oldHigh)) changes.push({ what: 'user_prot', mm, va, pages, prot });
    }
    if (live && !set && wasSet) {
      changes.push({ what: 'user_pud_free', mm, va });
      if (--live.entries === 0) {
        this.drop(mm.pa, mm);
        this.live.delete(mm.pa);
        changes.push({ what: 'mm_destroy', mm });
      }
    }
    return changes;
  }

  /** Forgets a table and those below it, as far as they belong to `mm`. */
  private drop(pa: number, mm: Mm): void {
    const table = this.tables.get(pa);
    if (table?.mm !== mm) return;
    this.tables.delete(pa);
    for (let i = 0; i < this.userEntries(table.height); i++) {
      const low = table.words[2 * i];
      if (isTable(this.geometry, table.height, low)) {
        this.drop(addressOf(this.geometry, low, table.words[2 * i + 1]), mm);
      }
    }
  }

  /** The page at which an address space has `va`; -1 where it has none. */
  private walk(top: Table, va: number): number {
    const { geometry } = this;
    let table: Table | undefined = top;
    while (table) {
      const { words, height } = table;
      const bytes = entryBytes(geometry, height);
      const index = Math.floor((va - table.va) / bytes);
      const [low, high] = [words[2 * index], words[2 * index + 1]];
      if (isLeaf(geometry, height, low)) {
        const pa = addressOf(geometry, low, high);
        return pa - (pa % bytes) + (va % bytes);
      }
      if (!isTable(geometry, height, low)) return -1;
      table = this.tables.get(addressOf(geometry, low, high));
    }
    return -1;
  }
}
