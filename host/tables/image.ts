// A table image: a folder with the table pages of one machine and the registers that point to them (docs/tables.md).
// registers.json and tablepages.csv are read as a whole; the pages of tablepages.bin go one by one to where the caller
// wants them, so that an image may be larger than the host's heap.

import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../../traces/errors.js';
import { readFault } from '../../traces/files.js';
import { readCsv } from './csv.js';
import { type MachineRegisters, readRegisters } from './registers.js';

/** A table page of the image. */
export interface TablePage {
  pa: bigint;
  /** The granule. */
  bytes: number;
  /** What the capture says it is: `root:Llevel+offset/size`, several when roots share it. */
  roles: readonly string[];
}

/** An opened image. */
export interface TableImage {
  folder: string;
  registers: MachineRegisters;
  pages: readonly TablePage[];
}

const PAGES_LIST = 'tablepages.csv';
const PAGES = 'tablepages.bin';
const GRANULES = [4096, 16384, 65536];
const ROLE = /^\w+:L-?[0-5]\+0x[0-9a-f]+\/\d+$/;

/** Reads an image but for the contents of its pages. Throws InputError for what is missing or damaged. */
export async function openImage(folder: string): Promise<TableImage> {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new InputError({
      source: folder,
      expected: `a table image: a folder with registers.json, ${PAGES_LIST} and ${PAGES}`,
      found: statSync(folder, { throwIfNoEntry: false }) ? 'a file' : 'no such folder',
    });
  }
  const registers = readRegisters(join(folder, 'registers.json'));
  const pages = await readPageList(join(folder, PAGES_LIST));
  const path = join(folder, PAGES);
  const expected = pages.reduce((sum, { bytes }) => sum + bytes, 0);
  const { size: found } = reading(path, () => statSync(path));
  if (found !== expected) {
    throw new InputError({
      ...{ source: path, expected: `${expected} bytes, the ${pages.length} pages of ${PAGES_LIST}`, found: `${found}` },
      advice: 'the image is incomplete or its files belong to different captures',
    });
  }
  return { folder, registers, pages };
}

/** Copies every page of the image to the place that `placeOf` names for it; a place is filled before the next is asked for. */
export function loadPages({ folder, pages }: TableImage, placeOf: (page: TablePage) => Uint8Array): void {
  const path = join(folder, PAGES);
  const file = reading(path, () => openSync(path, 'r'));
  try {
    let from = 0;
    for (const page of pages) {
      const place = placeOf(page);
      let filled = 0;
      while (filled < page.bytes) {
        const count = reading(path, () => readSync(file, place, filled, page.bytes - filled, from + filled));
        if (count === 0)
          throw new InputError({ source: path, expected: `${page.bytes} bytes at ${from}`, found: 'the end' });
        filled += count;
      }
      from += page.bytes;
    }
  } finally {
    closeSync(file);
  }
}

/** The roots in whose tables the page at `pa` lies, by its roles. */
export function rootsAt({ pages }: TableImage, pa: bigint): Set<string> {
  const page = pages.find((candidate) => candidate.pa === pa);
  return new Set(page?.roles.map((role) => role.split(':')[0]));
}

async function readPageList(path: string): Promise<TablePage[]> {
  const pages: TablePage[] = [];
  const seen = new Set<string>();
  for await (const { line, fields } of readCsv(path, { required: ['index', 'pa', 'bytes', 'roles'] })) {
    const [index, pa, bytes, roles] = fields as string[];
    const check = (good: boolean, expected: string, found: string) => {
      if (!good) throw new InputError({ source: path, at: `line ${line}`, expected, found: `"${found}"` });
    };
    check(index === String(pages.length), `index ${pages.length}, pages in the order of ${PAGES}`, index);
    check(GRANULES.includes(Number(bytes)), `a page of ${GRANULES.join(', ')} bytes`, bytes);
    check(/^0x[0-9a-f]{1,13}$/i.test(pa), 'a hexadecimal physical address of at most 52 bits', pa);
    check(BigInt(pa) % BigInt(bytes) === 0n, `an address that is a multiple of ${bytes}`, pa);
    check(!seen.has(pa), 'every page once', pa);
    seen.add(pa);
    const list = roles.split(' ').filter((role) => role !== '');
    for (const role of list) check(ROLE.test(role), 'roles such as cr3_cpu0:L4+0x0/4096', role);
    pages.push({ pa: BigInt(pa), bytes: Number(bytes), roles: list });
  }
  return pages;
}

function reading<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw readFault(error, path, 'a file of a table image');
  }
}
