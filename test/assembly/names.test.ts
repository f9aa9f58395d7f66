// Numbers that the core and the traces both have, because the core cannot read the other's files: they must be the same.

import { expect, test } from 'vitest';
import { instantiateCore } from '../../host/core/instance.js';
import { EVENTS, FIRST_SYSTEM_EVENT } from '../../traces/events.js';

const core = instantiateCore('debug');

/** Names that traces abbreviate. */
const SHORT: Record<string, string> = { Stage2WriteProtect: 's2_wp' };

const traceName = (member: string) =>
  SHORT[member] ??
  member
    .replace('Stage2', 'S2')
    .replace(/(?<!^)([A-Z])/g, '_$1')
    .toLowerCase();

test('events have the numbers that traces give them', () => {
  const known = new Map(EVENTS.map(({ kind, name }) => [name, kind]));
  const own = Object.entries(core.Event).map(([member, kind]) => [traceName(member), kind]);
  expect(own.length).toBeGreaterThan(30);
  expect(own).toEqual(own.map(([name]) => [name, known.get(name as string)]));
});

test('every event of the core is one that stops a replay', () => {
  expect(Math.min(...Object.values(core.Event))).toBe(FIRST_SYSTEM_EVENT);
});

test('methods of a patch and areas of a mapping are numbered as the operands say', () => {
  const operands = (name: string) => EVENTS.find((event) => event.name === name)!.more!.join(' ');
  // "method: 0 no synchronisation, 1 stop_machine, 2 breakpoint batch, 3 alternatives, 4 early"
  const methods = { NoSync: 'no synchronisation', StopMachine: 'stop_machine', BreakpointBatch: 'breakpoint batch' };
  for (const [member, text] of Object.entries({ ...methods, Alternatives: 'alternatives', Early: 'early' }))
    expect(operands('text_patch')).toContain(`${core.Method[member]} ${text}`);
  for (const [member, text] of Object.entries({
    Image: 'image',
    Module: 'module',
    Vmalloc: 'vmalloc',
    Linear: 'linear',
  }))
    expect(operands('kmap')).toContain(`${core.Area[member]} ${text}`);
});
