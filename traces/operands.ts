// Which operands the rows of events hold, row by row: an event's first two operands stand in its own row, further ones in
// the rows of kind 19 after it, two per row (events.ts has the list).

import { EVENTS, FIRST_EVENT, OPERANDS, type EventKind } from './events.js';

const BY_KIND: readonly (EventKind | undefined)[] = (() => {
  const list: (EventKind | undefined)[] = [];
  for (const event of EVENTS) list[event.kind] = event;
  return list;
})();

/** What one row of an event holds. An operand that has no meaning is undefined, and its value is 0. */
export interface OperandRow {
  /** The event that the row belongs to; undefined for a row of kind 19 that belongs to none. */
  event: EventKind | undefined;
  va: string | undefined;
  arg: string | undefined;
}

/** Follows the rows of events through a trace. */
export class OperandReader {
  private event: EventKind | undefined;
  /** Operands of `event` from this one on are still to come. */
  private next = 0;

  /** Rows of kind 19 that have to follow before the next other row. */
  get missing(): number {
    const operands = this.event?.more?.length ?? 0;
    return Math.max(0, Math.ceil((operands - this.next) / 2));
  }

  /** What a row of this kind, 16 or above, holds. */
  read(kind: number): OperandRow {
    if (kind !== OPERANDS) {
      this.event = BY_KIND[kind];
      this.next = 0;
      return { event: this.event, va: this.event?.va, arg: this.event?.arg };
    }
    if (this.missing === 0) return { event: undefined, va: undefined, arg: undefined };
    const { event } = this;
    const at = this.next;
    this.next += 2;
    return { event, va: event!.more![at], arg: event!.more![at + 1] };
  }

  /** An access, or the end: no operands may follow. */
  stop(): void {
    this.event = undefined;
    this.next = 0;
  }
}

/** Whether rows of this kind start an event. */
export function startsEvent(kind: number): boolean {
  return kind >= FIRST_EVENT && kind !== OPERANDS;
}

const VALUES = /: (0 [a-z].*)$/;

/**
 * The largest value of an operand whose description lists its values ("scope: 0 ..., 1 ...") or its bits ("bit 0 ...");
 * null where any value may occur.
 */
export function largestValue(description: string): number | null {
  const bits = [...description.matchAll(/bit (\d+)/g)].map(([, bit]) => Number(bit));
  if (bits.length > 0) return 2 ** (Math.max(...bits) + 1) - 1;
  const [, list] = VALUES.exec(description) ?? [];
  // "class: 0 translation, 1 permission": a list of values starts at the first colon. "0: one fault maps them all" is none.
  if (list === undefined || !/^[a-z]+: 0 /.test(description)) return null;
  return Math.max(...list.split(', ').map((value) => Number.parseInt(value, 10)));
}
