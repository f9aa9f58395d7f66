// snap1/, snap2/ ... of a capture: the page tables at the start of each gapless run of it. registers.json has the number
// of the record at which each was taken and the roots (keys that end in _root); tablepages.csv and tablepages.bin are as in
// a table image (docs/tables.md).

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../errors.js';
import { readFault } from '../files.js';
import { packedFile, readUnpacked } from './stores.js';

/** A table page with its contents. */
export interface SnapshotPage {
  pa: bigint;
  bytes: number;
  /** `root:Llevel+offset/size`, several when roots share the page. */
  roles: readonly string[];
  data: Uint8Array<ArrayBuffer>;
}

/** The page tables of a capture at one record. */
export interface Snapshot {
  folder: string;
  /** The first record that ran on these tables. */
  fromRecord: number;
  pages: readonly SnapshotPage[];
  /** The top-level tables of address spaces that are known here, by whose they are ("init"), in the file's order. */
  userRoots: readonly { name: string; pa: bigint }[];
  /** Arm: the table of the upper half. x86 has it in every user root. */
  kernelRoot: bigint | null;
  /** The registers that were noted, by name. */
  registers: ReadonlyMap<string, bigint>;
}

const hex = z.string().regex(/^0x[0-9a-f]{1,16}$/i);
const registersFile = z.looseObject({ marker_record_index: z.int().nonnegative() });
const PAGE_LINE = /^(\d+),(0x[0-9a-f]{1,13}),(\d+),(.*)$/i;
const LIST_HEAD = 'index,pa,bytes,roles';
/** The root of the kernel's half, which is no address space of its own. */
const KERNEL_ROOT = 'swapper_ttbr1_root';
const USER_ROOT = /^(.+)_(cr3|ttbr0)_root$/;

/** Reads snap1, snap2, ... of a capture's folder, as many as there are. Throws InputError when one is damaged. */
export async function readSnapshots(folder: string): Promise<Snapshot[]> {
  const snapshots: Snapshot[] = [];
  for (let n = 1; existsSync(join(folder, `snap${n}`)); n++) {
    const snapshot = await readSnapshot(join(folder, `snap${n}`));
    const last = snapshots.at(-1);
    if (last && snapshot.fromRecord <= last.fromRecord) {
      throw new InputError({
        source: join(snapshot.folder, 'registers.json'),
        ...{
          expected: `marker_record_index above ${last.fromRecord}, that of snap${n - 1}`,
          found: `${snapshot.fromRecord}`,
        },
      });
    }
    snapshots.push(snapshot);
  }
  return snapshots;
}

async function readSnapshot(folder: string): Promise<Snapshot> {
  const registers = readSnapshotRegisters(join(folder, 'registers.json'));
  const named = Object.entries(registers).flatMap(([name, value]): [string, bigint][] =>
    hex.safeParse(value).success ? [[name, BigInt(value as string)]] : [],
  );
  const userRoots = named.flatMap(([name, pa]) => {
    const owner = USER_ROOT.exec(name)?.[1];
    return owner === undefined ? [] : [{ name: owner, pa }];
  });
  return {
    ...{ folder, fromRecord: registers.marker_record_index, userRoots },
    pages: await readPages(folder),
    kernelRoot: named.find(([name]) => name === KERNEL_ROOT)?.[1] ?? null,
    registers: new Map(named),
  };
}

function readSnapshotRegisters(path: string): z.infer<typeof registersFile> {
  try {
    return registersFile.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    const fault = readFault(error, path, 'the registers of a snapshot of page tables');
    if (fault instanceof InputError) throw fault;
    const found = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw new InputError({ source: path, expected: 'JSON with marker_record_index and the roots', found });
  }
}

async function readPages(folder: string): Promise<SnapshotPage[]> {
  const list = join(folder, 'tablepages.csv');
  let text: string;
  try {
    text = readFileSync(list, 'utf8');
  } catch (error) {
    throw readFault(error, list, 'the list of table pages of a snapshot');
  }
  const [head, ...lines] = text.trimEnd().split(/\r?\n/);
  if (head !== LIST_HEAD) throw new InputError({ source: list, at: 'line 1', expected: LIST_HEAD, found: `"${head}"` });
  const packed = packedFile(folder, 'tablepages.bin');
  if (packed === null)
    throw readFault({ code: 'ENOENT' }, join(folder, 'tablepages.bin'), 'the table pages of a snapshot');
  const contents = await readUnpacked(packed);
  let at = 0;
  const pages = lines.map((line, i): SnapshotPage => {
    const [, index, pa, bytes, roles] = PAGE_LINE.exec(line) ?? [];
    if (index !== String(i) || ![4096, 16384, 65536].includes(Number(bytes)) || BigInt(pa) % BigInt(bytes) !== 0n) {
      const expected = `index ${i}, an aligned hexadecimal address, bytes and roles`;
      throw new InputError({ source: list, at: `line ${i + 2}`, expected, found: `"${line}"` });
    }
    const data = contents.subarray(at, (at += Number(bytes)));
    return { pa: BigInt(pa), bytes: Number(bytes), roles: roles.split(' ').filter((role) => role !== ''), data };
  });
  if (at !== contents.length) {
    throw new InputError({
      ...{
        source: packed,
        expected: `${at} bytes, the ${pages.length} pages of tablepages.csv`,
        found: `${contents.length}`,
      },
      advice: 'the files belong to different captures, or one is truncated',
    });
  }
  return pages;
}
