// The first of two passes over a capture: replays the page-table stores beside the records, and notes which rows get
// which events before them, and which address space every CPU shows to run by what its accesses to user addresses find.

import { FETCH, MODE_HYPERVISOR, MODE_USER, STORE } from '../batch.js';
import { recordBlocks } from '../blocks.js';
import { openInput } from '../input.js';
import { type Geometry } from './geometry.js';
import { Hypervisor, type HypervisorCounts, type HypervisorEvent } from './hypervisor.js';
import { type Snapshot } from './snapshot.js';
import { AddressSpaces, type Change, type Mm } from './spaces.js';
import { type TableStores } from './stores.js';
import { StoreValues } from './storevals.js';
import { SwitchPoint } from './switchpoint.js';

/** Something that happens before a row: what a store does, or `runs`: the row shows that its CPU runs `mm`. */
export type Due = ({ row: number } & (Change | { what: 'runs'; cpu: number; mm: Mm })) | HypervisorEvent;

/** Accesses of one CPU that only one address space explains, one after the other with no other between them. */
export interface Run {
  mm: Mm;
  first: number;
  last: number;
}

/** What the first pass found. Rows are those of the trace without derived ones. */
export interface Plan {
  due: readonly Due[];
  /** By CPU. */
  runs: readonly (readonly Run[] | undefined)[];
  /** Address of the kernel's code that switches, where it was found. */
  switchVa: bigint | null;
  /** Rows in user mode at user addresses, and how many of them the tables explain. */
  userRows: number;
  explained: number;
  /** Of a host under a hypervisor whose stores are known. */
  hypervisor: HypervisorCounts | null;
}

/** A capture as the first pass reads it. */
export interface Source {
  path: string;
  geometry: Geometry;
  snapshots: readonly Snapshot[];
  stores: TableStores;
  /** The kernel's text, where it is known. */
  text: { from: bigint; to: bigint } | null;
  dropMmio: boolean;
  /** The folder with the values of all stores, where a hypervisor's are looked for. */
  storeValues: string | null;
}

const RECORD_BYTES = 24;
const WORDS = RECORD_BYTES / 4;
const BLOCK_RECORDS = 1 << 16;
const MMIO = 1 << 18;
const NO_PA = 1 << 19;
const KIND_MARKER = 3;
/** Kind and log2(size) of a store of an entry. */
const STORE_MASK = 0xff00;
const STORE_OF_8 = (3 << 12) | (STORE << 8);
/** Adjacent changes of one kind become one event while their stores are at most this many records apart. */
const NEIGHBOURHOOD = 4096;

/** Reads the whole capture once. */
export async function planEvents(source: Source): Promise<Plan> {
  const input = await openInput(source.path);
  const values = source.storeValues === null ? null : await StoreValues.open(source.storeValues);
  const planner = new Planner(source);
  try {
    for await (const block of recordBlocks(input.chunks, RECORD_BYTES, BLOCK_RECORDS, source.path)) {
      const words = new Uint32Array(block.buffer as ArrayBuffer, block.byteOffset, block.length / 4);
      planner.read(words, values && (await values.take(storesIn(words))));
    }
    await values?.end();
  } finally {
    await input.close();
    await values?.close();
  }
  return planner.plan();
}

function storesIn(words: Uint32Array): number {
  let count = 0;
  for (let at = 4; at < words.length; at += WORDS) if (((words[at] >>> 8) & 15) === STORE) count++;
  return count;
}

class Planner {
  private readonly spaces: AddressSpaces;
  private readonly switches = new SwitchPoint();
  private readonly due: Due[] = [];
  private readonly runs: Run[][] = [];
  /** By asid: the event of an address space to which the next change may be added, and the row of its last store. */
  private readonly open = new Map<number, { event: Due; row: number }>();
  private readonly hypervisor: Hypervisor | null;
  private readonly text: { high: number; from: number; to: number } | null;
  /** The row after the last marker: between markers nothing is missing. */
  private recordedFrom = 0;
  /** The row at which an address space is first known. */
  private readonly created = new Map<Mm, number>();
  private record = 0;
  private row = 0;
  private nextStore = 0;
  private nextSnapshot = 0;
  /** The next record at which tables change. */
  private nextChange = 0;
  private userRows = 0;
  private explained = 0;

  constructor(private readonly source: Source) {
    this.spaces = new AddressSpaces(source.geometry);
    this.hypervisor = source.storeValues === null ? null : new Hypervisor((event) => this.due.push(event));
    const { text } = source;
    const low = (va: bigint) => Number(va & 0xffff_ffffn);
    this.text = text && {
      high: Number(text.from >> 32n),
      from: low(text.from),
      to: low(text.from) + Number(text.to - text.from),
    };
  }

  /** Takes records, with the values of their stores where a hypervisor's are looked for. */
  read(words: Uint32Array, values: Uint32Array | null): void {
    const { text, switches } = this;
    let stores = 0;
    const userHigh = 2 ** Math.max(this.source.geometry.userBits - 32, 0);
    for (let at = 0; at < words.length; at += WORDS, this.record++) {
      if (this.record >= this.nextChange) this.changeTables();
      const flags = words[at + 4];
      const kind = (flags >>> 8) & 15;
      const value = kind === STORE ? 2 * stores++ : -1;
      if (kind === KIND_MARKER) {
        switches.gap();
        this.hypervisor?.gap();
        this.recordedFrom = this.row + 1;
      } else if ((flags & MMIO) !== 0 && this.source.dropMmio) continue;
      else {
        const [low, high] = [words[at], words[at + 1]];
        const mode = (flags >>> 16) & 3;
        if (values && this.nextSnapshot > 0) this.follow(words, at, mode, values, value);
        if (text && kind === FETCH && high === text.high && low >= text.from && low < text.to) {
          switches.fetch(flags & 0xff, low, this.row);
        } else if (high < userHigh && mode !== MODE_HYPERVISOR) {
          const known = (flags & NO_PA) === 0;
          this.userAccess(
            flags & 0xff,
            mode,
            high * 2 ** 32 + low,
            known ? words[at + 3] * 2 ** 32 + words[at + 2] : -1,
          );
        }
      }
      this.row++;
    }
  }

  /** Shows a record to the hypervisor's part; a store's value is at `value`. */
  private follow(words: Uint32Array, at: number, mode: number, values: Uint32Array, value: number): void {
    const hypervisor = this.hypervisor!;
    const flags = words[at + 4];
    const cpu = flags & 0xff;
    const pa = (flags & NO_PA) === 0 ? words[at + 3] * 2 ** 32 + words[at + 2] : -1;
    if (mode !== MODE_HYPERVISOR) {
      if (hypervisor.has(cpu)) hypervisor.leave(cpu);
      if (pa >= 0) hypervisor.hostAccess(pa);
      return;
    }
    hypervisor.row(cpu, (flags >>> 8) & 15, words[at + 1] * 2 ** 32 + words[at], this.row);
    if (pa >= 0 && (flags & STORE_MASK) === STORE_OF_8) hypervisor.store(cpu, pa, values[value], values[value + 1]);
  }

  plan(): Plan {
    this.hypervisor?.gap();
    const found = this.switches.find();
    return {
      // Sorting is stable: what happened at one row stays in order, and tables change before the row is seen to run.
      due: this.due.sort((a, b) => a.row - b.row),
      runs: this.runs,
      switchVa: found === null ? null : (BigInt(this.text!.high) << 32n) | BigInt(found),
      userRows: this.userRows,
      explained: this.explained,
      hypervisor: this.hypervisor?.counts ?? null,
    };
  }

  /** Takes over the snapshot and applies the stores that belong to this record. */
  private changeTables(): void {
    const { snapshots, stores } = this.source;
    if (this.record >= (snapshots[this.nextSnapshot]?.fromRecord ?? Infinity)) {
      this.nextStore = Math.max(this.nextStore, stores.firstAt(snapshots[this.nextSnapshot].fromRecord));
      this.hypervisor?.reset(snapshots[this.nextSnapshot]);
      this.note(this.spaces.reset(snapshots[this.nextSnapshot++]));
    }
    while (this.nextStore < stores.count && stores.record(this.nextStore) <= this.record) {
      const i = this.nextStore++;
      this.note(this.spaces.store(stores.pa(i), stores.valueLow(i), stores.valueHigh(i)));
    }
    const store = this.nextStore < stores.count ? stores.record(this.nextStore) : Infinity;
    this.nextChange = Math.min(store, snapshots[this.nextSnapshot]?.fromRecord ?? Infinity);
  }

  private note(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.what === 'mm_create') this.created.set(change.mm, this.row);
      const open = this.open.get(change.mm.asid);
      if (open && this.row - open.row <= NEIGHBOURHOOD && append(open.event, change, this.source.geometry)) {
        open.row = this.row;
        continue;
      }
      const event: Due = { ...change, row: this.row };
      this.open.set(change.mm.asid, { event, row: this.row });
      this.due.push(event);
    }
  }

  private userAccess(cpu: number, mode: number, va: number, pa: number): void {
    const pageBytes = 2 ** this.source.geometry.pageShift;
    const found = pa < 0 ? null : this.spaces.explain(va - (va % pageBytes), pa - (pa % pageBytes));
    if (mode === MODE_USER) {
      this.userRows++;
      if (found) this.explained++;
    }
    if (found === null || found === 'several') return;
    const runs = (this.runs[cpu] ??= []);
    const run = runs.at(-1);
    if (run?.mm === found) run.last = this.row;
    else {
      runs.push({ mm: found, first: this.row, last: this.row });
      // What was not recorded may hide the switch: then the CPU is taken to have run it since recording went on.
      const hidden = (run?.last ?? -1) < this.recordedFrom;
      const row = hidden ? Math.max(this.recordedFrom, this.created.get(found)!) : this.row;
      this.due.push({ what: 'runs', cpu, mm: found, row });
    }
    this.switches.userAccess(cpu, run?.mm !== found);
  }
}

/** Adds a change to the event before it when it goes on where that ends. */
function append(event: Due, change: Change, { pageShift }: Geometry): boolean {
  if (!('pages' in event && 'pages' in change) || event.what !== change.what) return false;
  const bytes = event.pages * 2 ** pageShift;
  if (change.va !== event.va + bytes) return false;
  if (event.what === 'user_map' && change.what === 'user_map' && change.pa !== event.pa + bytes) return false;
  if (event.what === 'user_prot' && change.what === 'user_prot' && change.prot !== event.prot) return false;
  event.pages += change.pages;
  return true;
}
