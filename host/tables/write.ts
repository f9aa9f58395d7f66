// Writes page tables that a dump tells by frame numbers as a table image (docs/tables.md), so that they can be asked,
// explained and replayed like those of a captured machine. Every root is that of a CPU of its own.

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { UsageError } from '../../traces/errors.js';
import { writeFault } from '../../traces/files.js';
import {
  type DumpedTable,
  ENTRIES,
  FRAME_HIGH,
  hostFrame,
  isLeaf,
  isPresent,
  isTable,
  LARGE,
  type TableDump,
} from '../../traces/map/dump.js';

export interface WrittenImage {
  /** Table pages. */
  pages: number;
  roots: string[];
  /** Tables of a guest that its host does not map, and that are left out. */
  unbacked: number;
}

const PAGE_BYTES = 4096;
const LEVELS = 4;
/** Write-back tables, 4 levels. */
const EPTP_CONTROLS = 0x1e;
const EPT_RIGHTS = 7;
/** Memory type write-back, A, D. */
const EPT_LEAF = 0x330;
/** PG, WP, PE; PAE; LMA, LME, NXE: 64-bit paging with 4 levels and execute-disable. */
const CONTROLS = { CR0: '0x80010001', CR4: '0x20', EFER: '0xd00' };

/** Writes the image to a folder that does not exist or is empty; it appears whole or not at all. */
export async function writeImage([guest, host, ...rest]: readonly TableDump[], folder: string): Promise<WrittenImage> {
  if (rest.length > 0)
    throw new UsageError(
      `${folder}: expected a dump, or that of a guest and that of its host, found ${rest.length + 2}`,
    );
  const place = resolve(folder);
  if (existsSync(place) && (await readdir(place).catch(() => ['a file'])).length > 0)
    throw new UsageError(`${folder}: expected a new or empty folder for the table image; name another with -o`);
  const below = host ? { EPTP: hex(host.roots[0], EPTP_CONTROLS) } : {};
  const cpus = guest.roots.map((pfn) => ({ ...CONTROLS, CR3: hex(pfn), ...below }));
  const roots = cpus.map((_, cpu) => `cr3_cpu${cpu}`);
  const own = sorted(guest);
  // The tables of a guest lie where its host put them.
  const placed = host ? own.map((t) => ({ ...t, pfn: hostFrame(host, t.pfn) })).filter(({ pfn }) => pfn >= 0) : own;
  const tables = [...placed, ...(host ? sorted(host).map(eptTable) : [])];
  // In a dump of one root every table is that root's; whose they are in others the walk tells.
  const names = (i: number) => (i >= placed.length ? ['s2_guest_cpu0'] : roots.length === 1 ? roots : []);
  const list = tables
    .map(
      ({ pfn, level }, i) =>
        `${i},${hex(pfn)},${PAGE_BYTES},${names(i)
          .map((name) => `${name}:L${level}+0x0/${PAGE_BYTES}`)
          .join(' ')}\n`,
    )
    .join('');
  let temporary: string | undefined;
  try {
    await mkdir(dirname(place), { recursive: true });
    temporary = await mkdtemp(`${place}.tmp-`);
    const registers = {
      ...{
        arch: 'x86-64',
        levels: LEVELS,
        source: [guest.source, ...(host ? [host.source] : [])].join(' over '),
        synthesised: true,
      },
      cpus: Object.fromEntries(cpus.map((registers, cpu) => [cpu, registers])),
    };
    await writeFile(join(temporary, 'registers.json'), `${JSON.stringify(registers, null, 2)}\n`);
    await writeFile(join(temporary, 'tablepages.csv'), `index,pa,bytes,roles\n${list}`);
    await writeFile(join(temporary, 'tablepages.bin'), pagesOf(tables));
    if (existsSync(place)) await rm(place, { recursive: true });
    await rename(temporary, place);
  } catch (error) {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
    throw writeFault(error, folder);
  }
  return {
    pages: tables.length,
    roots: host ? [...roots, ...cpus.map((_, cpu) => `s2_guest_cpu${cpu}`)] : roots,
    unbacked: own.length - placed.length,
  };
}

function* pagesOf(tables: readonly { words: Uint32Array }[]): Generator<Uint8Array> {
  for (const { words } of tables) yield new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function sorted({ tables }: TableDump): DumpedTable[] {
  return [...tables.values()].sort((a, b) => b.level - a.level || a.pfn - b.pfn);
}

/** A table of the host as one of EPT (Intel SDM vol. 3, 29.3.2): all rights, write-back, accessed and dirty. */
function eptTable(table: DumpedTable): DumpedTable {
  const words = table.words.slice();
  for (let i = 0; i < ENTRIES; i++) {
    const leaf = isLeaf(table, i);
    const present = isTable(table, i) || (leaf && isPresent(table, i));
    const frame = words[2 * i] & ~(PAGE_BYTES - 1);
    words[2 * i] =
      (frame | (present ? EPT_RIGHTS : 0) | (leaf ? EPT_LEAF : 0) | (leaf && table.level > 1 ? LARGE : 0)) >>> 0;
    words[2 * i + 1] &= FRAME_HIGH;
  }
  return { ...table, words };
}

/** The address of a frame, and bits below it. */
function hex(pfn: number, bits = 0): string {
  return `0x${((BigInt(pfn) << 12n) | BigInt(bits)).toString(16)}`;
}
