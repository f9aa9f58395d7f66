// What `nodewalk cut` keeps, as the user states it, and whether an access passes: every filter that is given has to let it
// through.

import { type Batch, type ColumnName, FETCH, LOAD, MODE_GUEST, STORE } from '../batch.js';
import { UsageError } from '../errors.js';
import { EVENTS, FIRST_EVENT, FIRST_SYSTEM_EVENT, MARKER, OPERANDS } from '../events.js';
import { metadataWith, type TraceMetadata } from '../metadata.js';

/** Addresses or times [from, to). */
export interface Interval {
  from: bigint;
  to: bigint;
}

/** What to keep; a filter that is absent lets everything pass. */
export interface Filters {
  cpus?: readonly number[];
  /** `user`, `kernel`, `hypervisor`, alone or after `guest-`; `guest`; or numbers. */
  modes?: readonly string[];
  /** Numbers, or names as in the metadata. */
  phases?: readonly string[];
  /** Ranges of `va`, or names of regions. */
  ranges?: readonly (Interval | string)[];
  paRanges?: readonly Interval[];
  /** Names of kinds, `data` for loads and stores. */
  kinds?: readonly string[];
  asids?: readonly number[];
  tids?: readonly number[];
  time?: Interval;
  /** false: no markers and no events of the system. */
  events?: boolean;
}

const PRIVILEGES = ['user', 'kernel', 'hypervisor'];
const ALL_ADDRESSES = 1n << 64n;

/** The filters of one trace, ready to be asked about its rows. */
export class Filter {
  private readonly cpus: Uint8Array | null;
  private readonly modes: Uint8Array | null;
  private readonly asids: ReadonlySet<number> | null;
  private readonly tids: ReadonlySet<number> | null;
  /** Kinds to keep, accesses and events. */
  readonly kinds: Uint8Array;
  private readonly va: Ranges | null;
  private readonly pa: Ranges | null;
  private readonly time: Ranges | null;
  private readonly lastTime: bigint | null;
  private readonly constants: Readonly<Record<string, number>>;
  /** Numbers of the phases to keep; null: all rows, in a phase or not. */
  readonly phases: ReadonlySet<number> | null;

  /** Throws UsageError for what the trace has not. */
  constructor(
    private readonly filters: Filters,
    path: string,
    columns: readonly ColumnName[],
    metadata: TraceMetadata | null,
  ) {
    const known = metadata ?? metadataWith();
    const need = (name: ColumnName, option: string) => {
      if (!columns.includes(name) && known.constants[name] === undefined)
        throw new UsageError(`${option}: ${path} has no column ${name}; it has ${columns.join(', ')}`);
    };
    this.cpus = filters.cpus ? flags(filters.cpus, 1 << 16) : null;
    this.modes = filters.modes ? flags(filters.modes.flatMap(modesNamed), 1 << 8) : null;
    this.asids = filters.asids ? new Set(filters.asids) : null;
    this.tids = filters.tids ? new Set(filters.tids) : null;
    this.kinds = kindsOf(filters);
    const { ranges, paRanges, time } = filters;
    this.va = ranges?.length ? new Ranges(ranges.map((range) => intervalOf(range, known, path))) : null;
    this.pa = paRanges?.length ? new Ranges(paRanges) : null;
    this.time = time ? new Ranges([time]) : null;
    this.lastTime = time ? time.to - 1n : null;
    this.phases = filters.phases ? new Set(filters.phases.flatMap((phase) => phasesOf(phase, known, path))) : null;
    this.constants = known.constants;
    if (filters.modes) need('mode', '--mode');
    if (filters.asids) need('asid', '--asid');
    if (filters.tids) need('tid', '--tid');
    if (filters.paRanges?.length) need('pa', '--pa-range');
    if (filters.time) need('time', '--time');
  }

  /** Marks the accesses of a batch that pass; phases are for the caller to know. */
  accesses(batch: Batch, passing: Uint8Array): void {
    const { rows, kind } = batch;
    const { kinds } = this;
    for (let i = 0; i < rows; i++) passing[i] = kind[i] <= STORE ? kinds[kind[i]] : 0;
    if (this.cpus) this.only(batch, 'cpu', passing, (cpu) => this.cpus![cpu] !== 0);
    if (this.modes) this.only(batch, 'mode', passing, (mode) => this.modes![mode] !== 0);
    if (this.asids) this.only(batch, 'asid', passing, (asid) => this.asids!.has(asid));
    if (this.tids) this.only(batch, 'tid', passing, (tid) => this.tids!.has(tid));
    this.va?.only(batch.va, passing);
    if (this.pa && batch.pa) this.pa.only(batch.pa, passing);
    if (this.time && batch.time) this.time.only(batch.time, passing);
  }

  /** The columns that decide, of those that the trace has. */
  get columns(): ColumnName[] {
    const { modes, asids, tids, paRanges, time } = this.filters;
    const names: ColumnName[] = ['cpu', 'kind', 'va'];
    if (paRanges) names.push('pa');
    if (modes) names.push('mode');
    if (asids) names.push('asid');
    if (tids) names.push('tid');
    if (time) names.push('time');
    return names;
  }

  /** Whether a row's time is beyond the last that is kept. */
  isAfter({ time }: Batch, row: number): boolean {
    return this.lastTime !== null && time !== undefined && time[row] > this.lastTime;
  }

  private only(
    batch: Batch,
    name: 'cpu' | 'mode' | 'asid' | 'tid',
    passing: Uint8Array,
    passes: (value: number) => boolean,
  ): void {
    const values = batch[name];
    if (values === undefined) {
      if (!passes(this.constants[name] ?? 0)) passing.fill(0);
      return;
    }
    for (let i = 0; i < batch.rows; i++) if (passing[i] !== 0 && !passes(values[i])) passing[i] = 0;
  }
}

/** Intervals of 64-bit numbers, asked in pairs of words. */
class Ranges {
  /** From and last of each as high and low words. */
  private readonly words: Uint32Array;

  constructor(intervals: readonly Interval[]) {
    const bounds = intervals.flatMap(({ from, to }) => [from, to - 1n]);
    this.words = Uint32Array.from(bounds.flatMap((bound) => [Number(bound >> 32n), Number(bound & 0xffff_ffffn)]));
  }

  /** Takes the mark off the rows whose value lies in no interval. */
  only(values: BigUint64Array, passing: Uint8Array): void {
    const pairs = new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
    for (let i = 0; i < values.length; i++) {
      if (passing[i] !== 0 && !this.has(pairs[2 * i + 1], pairs[2 * i])) passing[i] = 0;
    }
  }

  private has(high: number, low: number): boolean {
    const { words } = this;
    for (let at = 0; at < words.length; at += 4) {
      const after = high > words[at] || (high === words[at] && low >= words[at + 1]);
      const before = high < words[at + 2] || (high === words[at + 2] && low <= words[at + 3]);
      if (after && before) return true;
    }
    return false;
  }
}

function flags(numbers: readonly number[], size: number): Uint8Array {
  const set = new Uint8Array(size);
  for (const number of numbers) set[number] = 1;
  return set;
}

/** The modes that a name stands for. */
function modesNamed(name: string): number[] {
  if (/^\d+$/.test(name) && Number(name) < 256) return [Number(name)];
  if (name === 'guest') return PRIVILEGES.map((_, mode) => MODE_GUEST + mode);
  const guest = name.startsWith('guest-');
  const mode = PRIVILEGES.indexOf(guest ? name.slice('guest-'.length) : name);
  if (mode < 0) throw new UsageError(`--mode: expected ${PRIVILEGES.join(', ')}, guest or guest-..., found "${name}"`);
  return [guest ? MODE_GUEST + mode : mode];
}

const ACCESSES: Readonly<Record<string, readonly number[]>> = {
  fetch: [FETCH],
  load: [LOAD],
  store: [STORE],
  data: [LOAD, STORE],
};

/** The kinds to keep. Without names of events among them, markers and all events of the system stay. */
function kindsOf({ kinds, events = true }: Filters): Uint8Array {
  const kept = new Uint8Array(256);
  const others = EVENTS.filter(({ kind }) => kind === MARKER || kind >= FIRST_SYSTEM_EVENT).map(({ kind }) => kind);
  if (!kinds) {
    for (const kind of [FETCH, LOAD, STORE, ...(events ? others : [])]) kept[kind] = 1;
    return kept;
  }
  const named = kinds.flatMap((name) => ACCESSES[name] ?? [eventNamed(name)]);
  for (const kind of named) kept[kind] = 1;
  if (events && !named.some((kind) => kind >= FIRST_EVENT)) for (const kind of others) kept[kind] = 1;
  return kept;
}

function eventNamed(name: string): number {
  const event = EVENTS.find((e) => e.name === name && e.kind !== OPERANDS);
  if (event) return event.kind;
  throw new UsageError(
    `--kind: unknown kind "${name}"; known are fetch, load, store, data and the events of docs/formats.md`,
  );
}

function intervalOf(range: Interval | string, { regions }: TraceMetadata, path: string): Interval {
  if (typeof range !== 'string') return range;
  const region = regions.find(({ name }) => name === range);
  if (!region) {
    const names = regions.map(({ name }) => name).join(', ') || 'none';
    throw new UsageError(
      `--range: expected FROM..TO or a region of ${path}, found "${range}"; its regions are ${names}`,
    );
  }
  const from = BigInt(region.va);
  const to = from + BigInt(region.bytes);
  return { from, to: to < ALL_ADDRESSES ? to : ALL_ADDRESSES };
}

/** The phases that a text names: one by its name, or several by number with commas between them. */
function phasesOf(text: string, { phases }: TraceMetadata, path: string): number[] {
  const named = phases.filter(({ name }) => name === text);
  if (named.length > 0) return named.map(({ number }) => number);
  return text.split(',').map((part) => {
    if (/^(0x[0-9a-f]+|\d+)$/i.test(part)) return Number(part);
    const names = phases.map(({ name }) => `"${name}"`).join(', ') || 'none';
    throw new UsageError(
      `--phase: expected numbers or the name of a phase of ${path}, found "${text}"; it names ${names}`,
    );
  });
}
