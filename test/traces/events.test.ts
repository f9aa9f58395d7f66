// The event table and the schema table.

import { describe, expect, it } from 'vitest';
import { EVENTS, isKnownKind, kindName } from '../../traces/events.js';
import { COLUMNS } from '../../traces/schema.js';

describe('the event table', () => {
  it('has every number of the trace format once: 16 to 19 and 32 to 74', () => {
    const expected = [16, 17, 18, 19, ...Array.from({ length: 74 - 32 + 1 }, (_, i) => 32 + i)];
    expect(EVENTS.map((event) => event.kind)).toEqual(expected);
    expect(new Set(EVENTS.map((event) => event.name)).size).toBe(EVENTS.length);
    const known = Array.from({ length: 256 }, (_, kind) => kind).filter(isKnownKind);
    expect(known).toEqual([0, 1, 2, ...expected]);
  });

  it('names kinds', () => {
    expect([0, 1, 2, 37, 74].map(kindName)).toEqual(['fetch', 'load', 'store', 'ctx_switch', 'cache_cold']);
    expect(kindName(99)).toBe('kind 99');
  });

  it('describes operands without a gap: a third one only after the first two', () => {
    for (const { arg, va, more } of EVENTS) {
      if (arg) expect(va).toBeDefined();
      if (more) expect(arg).toBeDefined();
    }
  });
});

it('every column holds what its Arrow type holds', () => {
  for (const { type, array } of COLUMNS) expect(type.bitWidth).toBe(8 * array.BYTES_PER_ELEMENT);
});
