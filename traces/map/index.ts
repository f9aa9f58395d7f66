// The mappings that `convert --map` reads, found by content.

import { InputError } from '../errors.js';
import { openInput } from '../input.js';
import { describe } from '../sniff.js';
import { debugfs } from './debugfs.js';
import { dmt, isDmt, readDmt } from './dmt.js';
import { type TableDump } from './dump.js';
import { type MappingFormat, type MappingOptions, type PageMapping } from './mapping.js';
import { pagemap } from './pagemap.js';
import { isPtdump, ptdump, readPtdump } from './ptdump.js';
import { v2p } from './v2p.js';

/** In the order in which they are tried: text before binary pairs, which look least like anything. */
export const MAPPINGS: readonly MappingFormat[] = [ptdump, dmt, v2p, debugfs, pagemap];

/** The options of mappings, `--set name=value`: what each one does. */
export const MAP_OPTIONS: Readonly<Record<string, string>> = {
  process: 'ptdump: the process whose tables are taken (default: the first)',
  snapshot: 'ptdump: which of its snapshots, from 1 (default: 1)',
  unit: 'dmt: what the columns hold, pfn or pa (default: pfn)',
  granule: 'debugfs: 4K, 16K or 64K (default: 4K)',
  root: 'table image: the root that addresses are looked up in, where it has several',
  overwrite: 'yes: give every access the address of the mapping (default: only those without)',
};

/** Reads a mapping of any kind. Throws InputError when it is none. */
export async function readMapping(path: string, options: MappingOptions): Promise<PageMapping> {
  const input = await openInput(path, 'a mapping');
  let format: MappingFormat | undefined;
  try {
    format = MAPPINGS.find((f) => f.detect(input.head));
    if (!format) {
      const expected = `a mapping: ${MAPPINGS.map((f) => f.description).join(', ')}, or the folder of a table image`;
      throw new InputError({ source: path, expected, found: describe(input.head) });
    }
    const mapping = await format.read(path, options);
    return { ...mapping, input: [await input.digest()] };
  } finally {
    await input.close();
  }
}

/** Reads a page-table dump whose tables can become an image; null where the file is none. Throws InputError. */
export async function readDump(path: string, options: MappingOptions): Promise<TableDump | null> {
  const input = await openInput(path);
  const { head } = input;
  await input.close();
  if (isPtdump(head)) return readPtdump(path, options);
  return isDmt(head) ? readDmt(path, options) : null;
}
