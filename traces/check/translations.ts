// The invariant that a page of an address space keeps its physical address until an event maps it again. What is known is
// one entry per page; events move on a clock of their own, and a change is allowed when one of them touched the page since.

import { type Batch } from '../batch.js';
import { EVENTS } from '../events.js';
import { type TraceMetadata } from '../metadata.js';
import { PageMap, VALUE_WORDS } from '../pageMap.js';
import { Spaces } from '../spaces.js';
import { type Findings } from './findings.js';

/** Pages of a single event that are remembered one by one; an event of more may have mapped anything. */
const MOST_PAGES = 1 << 16;
/** Pages seen lately, by their low bits: most rows confirm one of them. */
const RECENT = 1 << 10;
const RECENT_WORDS = 6;
const BASE_PAGE_SHIFT = 12;

/** Events that map or unmap `arg` pages from `va` on. */
const RANGES = kindsOf('user_map', 'user_unmap');
/** Events that may change any user address. */
const USER = kindsOf('mm_create', 'mm_destroy', 'user_pud_free');
/** Events that may change any address. */
const ALL = kindsOf(
  ...['boot', 'kmap', 'kunmap', 'set_memory', 'module_load', 'module_unload', 'bpf_load', 'hyp_init', 'hyp_map'],
  ...['hyp_unmap', 'vm_create', 'vm_destroy', 's2_fault', 's2_unmap', 's2_wp', 's2_split'],
);

function kindsOf(...names: string[]): ReadonlySet<number> {
  return new Set(names.map((name) => EVENTS.find((event) => event.name === name)!.kind));
}

/** Follows the physical address of every page. */
export class TranslationChecks {
  /** Page of an address space: low and high word of its physical page, and the clock when it was seen last. */
  private readonly known = new PageMap();
  /** Page: the clock after the last event that mapped or unmapped it. */
  private readonly touched = new PageMap();
  private readonly spaces = new Spaces();
  private readonly recent = new Uint32Array(RECENT_WORDS * RECENT);
  private clock = 1;
  private userClock = 0;
  private allClock = 0;
  private readonly granulePages: number;

  constructor(
    private readonly findings: Findings,
    metadata: TraceMetadata | null,
  ) {
    const granule = /^(\d+)K$/.exec(metadata?.paging?.granule ?? '');
    this.granulePages = granule ? Number(granule[1]) / 4 : 1;
  }

  /** An access with a physical address; addresses as pairs of words. */
  access(batch: Batch, i: number, row: number, vaHigh: number, vaLow: number, paHigh: number, paLow: number): void {
    const { recent } = this;
    const low = ((vaHigh << 20) | (vaLow >>> BASE_PAGE_SHIFT)) >>> 0;
    const high = vaHigh >>> BASE_PAGE_SHIFT;
    const paPageLow = ((paHigh << 20) | (paLow >>> BASE_PAGE_SHIFT)) >>> 0;
    const paPageHigh = paHigh >>> BASE_PAGE_SHIFT;
    const space = this.spaces.of(batch, i);
    const at = RECENT_WORDS * (low & (RECENT - 1));
    if (
      recent[at] === low &&
      recent[at + 1] === high &&
      recent[at + 2] === space &&
      recent[at + 3] === paPageLow &&
      recent[at + 4] === paPageHigh &&
      recent[at + 5] === this.clock
    ) {
      return;
    }
    recent[at] = low;
    recent[at + 1] = high;
    recent[at + 2] = space;
    recent[at + 3] = paPageLow;
    recent[at + 4] = paPageHigh;
    recent[at + 5] = this.clock;

    const slot = VALUE_WORDS * this.known.slotOf(high, low, space);
    const { values } = this.known;
    const same = values[slot] === paPageLow && values[slot + 1] === paPageHigh;
    if (!same && !this.known.fresh && !this.allowed(high, low, values[slot + 2])) {
      const before = page(values[slot + 1], values[slot]);
      this.findings.add('one-pa', row, batch.cpu[i], () => {
        const who = batch.asid ? ` of asid ${batch.asid[i]}` : '';
        return `page ${page(high, low)}${who} at ${page(paPageHigh, paPageLow)}, at ${before} so far`;
      });
    }
    values[slot] = paPageLow;
    values[slot + 1] = paPageHigh;
    values[slot + 2] = this.clock;
  }

  /** The row of an event. */
  event(kind: number, va: bigint, arg: bigint): void {
    if (RANGES.has(kind)) {
      this.clock++;
      const pages = Number(arg) * this.granulePages;
      if (pages > MOST_PAGES) this.allClock = this.clock;
      else this.touch(va, pages);
    } else if (USER.has(kind)) this.userClock = ++this.clock;
    else if (ALL.has(kind)) this.allClock = ++this.clock;
  }

  private touch(va: bigint, pages: number): void {
    const first = va >> BigInt(BASE_PAGE_SHIFT);
    for (let i = 0; i < pages; i++) {
      const number = first + BigInt(i);
      const slot = this.touched.slotOf(Number((number >> 32n) & 0xf_ffffn), Number(number & 0xffff_ffffn), 0);
      this.touched.values[VALUE_WORDS * slot] = this.clock;
    }
  }

  /** Whether an event since `clock` may have changed the page. */
  private allowed(high: number, low: number, clock: number): boolean {
    const slot = this.touched.find(high, low, 0);
    const touched = slot < 0 ? 0 : this.touched.values[VALUE_WORDS * slot];
    // The upper half of the addresses is the kernel's: the top bit of the 52 of a page number.
    const user = high < 1 << 19;
    return Math.max(this.allClock, user ? this.userClock : 0, touched) > clock;
  }
}

/** The first address of a page. */
function page(high: number, low: number): string {
  return `0x${((BigInt(high) << 44n) | (BigInt(low) << 12n)).toString(16)}`;
}
