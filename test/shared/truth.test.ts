// What real machines translated, when the captured table images are there: every row of every truth.csv, and every leaf of
// the stage-2 and EL2 lists, whose non-zero entries that are not valid must fault.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readCsv } from '../../host/tables/csv.js';
import { Translator } from '../../host/tables/translate.js';
import { disagreements } from '../host/tables/truth.js';

const tables = new URL('../../../shared/data/tables/', import.meta.url).pathname;
const present = existsSync(tables);
const images = present ? readdirSync(tables) : [];
const having = (file: string) => images.filter((image) => existsSync(join(tables, image, file)));

/** Leaf lists, and which root they list. */
const LISTS = [
  ['stage2_leafs.csv', 's2_host', 'ipa', 'pa_or_invalid'],
  ['el2_leafs.csv', 'el2', 'va', 'pa'],
  ['guest_stage2_leafs.csv', 's2_guest_cpu2', 'ipa', 'pa_or_invalid'],
] as const;

describe.skipIf(!present)('translations agree with the captured machines', () => {
  it.each(having('truth.csv'))('%s: every row of truth.csv', async (image) => {
    const translator = await Translator.open(join(tables, image));
    const { rows, wrong } = await disagreements(translator, join(tables, image, 'truth.csv'));
    expect(wrong).toEqual([]);
    // No captured list is shorter.
    expect(rows).toBeGreaterThan(2000);
  });

  for (const [list, root, from, to] of LISTS) {
    it.each(having(list))(`%s: first and last byte of every entry of ${list}`, async (image) => {
      const translator = await Translator.open(join(tables, image));
      const wrong: unknown[] = [];
      let leaves = 0;
      for await (const { fields } of readCsv(join(tables, image, list), {
        required: [from, to, 'size', 'level', 'desc'],
      })) {
        const [address, pa, size, level, entry] = fields as string[];
        const valid = pa !== 'invalid';
        for (const offset of [0n, BigInt(size) - 1n]) {
          const { status, ...got } = translator.translate(root, BigInt(address) + offset, null);
          const expected = {
            pa: valid ? BigInt(pa) + offset : null,
            level: Number(level),
            pageBytes: valid ? BigInt(size) : 0n,
            entry: BigInt(entry),
          };
          const same = Object.entries(expected).every(([key, value]) => got[key as keyof typeof got] === value);
          if (status !== (valid ? 'ok' : 'fault') || !same) wrong.push({ address, offset, status, got, expected });
        }
        leaves++;
      }
      expect(wrong).toEqual([]);
      expect(leaves).toBeGreaterThan(50);
    });
  }
});
