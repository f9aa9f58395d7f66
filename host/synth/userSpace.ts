// User address spaces as a kernel fills and clears them: an upper table (a PUD page, 512 GiB of addresses) for each part that is
// in use, then pages.

import { type z } from 'zod';
import { key } from '../config/key.js';
import { type Emitter, type Row } from './emitter.js';
import { PAGE, ROOT_SLOT } from './kernels.js';
import { count } from './scenario.js';

/** What an address space has. */
export const USER_SPACE = {
  puds: key(count(3, 1, 256), 'entries of the root table that an address space uses, one PUD page each'),
  pages: key(count(48, 0, 2 ** 24), 'pages of an address space, divided among these', 'pages'),
};

export type UserSpace = z.output<z.ZodObject<typeof USER_SPACE>>;

const UNKNOWN = 2n ** 64n - 1n;
/** Part k begins here in the k-th entry of the root table, clear of a process's text. */
const FIRST = 2 ** 30;

/** The parts of an address space that have pages. */
export function areasOf({ puds, pages }: UserSpace): { va: bigint; pages: number }[] {
  return Array.from({ length: puds }, (_, i) => ({
    va: BigInt(i) * BigInt(ROOT_SLOT) + BigInt(FIRST),
    pages: Math.floor(pages / puds) + (i < pages % puds ? 1 : 0),
  }));
}

/** Fills an address space. */
export function* populate(emit: Emitter, cpu: number, mm: number, space: UserSpace): Generator<Row> {
  for (const { va, pages } of areasOf(space)) {
    yield* emit.event('user_pud_alloc', cpu, va, mm);
    if (pages > 0) yield* emit.event('user_map', cpu, va, pages, mm, UNKNOWN);
  }
}

/** Clears it again: first all pages, then the tables, as exit does. */
export function* clear(emit: Emitter, cpu: number, mm: number, space: UserSpace): Generator<Row> {
  const areas = areasOf(space);
  for (const { va, pages } of areas) if (pages > 0) yield* emit.event('user_unmap', cpu, va, pages, mm);
  for (const { va } of areas) yield* emit.event('user_pud_free', cpu, va, mm);
}

/** A store to every page. */
export function* touch(emit: Emitter, cpu: number, space: UserSpace): Generator<Row> {
  for (const { va, pages } of areasOf(space))
    for (let i = 0; i < pages; i++) yield emit.userStore(cpu, va + BigInt(i * PAGE));
}
