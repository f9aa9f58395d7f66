// The page tables that a replay walks (`replay.tables: DIR`): those of a capture, with the stores that its kernel did to
// them, or a plain table image, which does not change. A capture is a folder with registers.json, snap1/ (and the
// snapshots after it) and, where the stores are known, table_stores.bin; the larger files may be packed.
//
// Records are counted as rows of kinds 0 to 18 of the converted trace (accesses, phases, markers). That is the number of the
// record in the capture, unless rows were dropped from it (convert --drop-mmio, cut).

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readSnapshots } from '../../traces/derive/snapshot.js';
import { readTableStores, TableStores } from '../../traces/derive/stores.js';
import { InputError } from '../../traces/errors.js';
import { loadPages, openImage, type TableImage } from './image.js';
import { type Regime } from './regimes.js';
import { readRegisters } from './registers.js';
import { rootsOf, type Roots } from './roots.js';

/** A table page with its contents. */
export interface CapturedPage {
  pa: bigint;
  /** The granule. */
  bytes: number;
  data: Uint8Array<ArrayBuffer>;
}

/** The tables from one record on. */
export interface TableSegment {
  /** All pages; what was known before it is void. */
  pages: readonly CapturedPage[];
  fromRecord: number;
  /** The table of the upper half. On x86 a user root, whose upper half every address space has. */
  kernelRoot: bigint;
  /** The address spaces that are known from the start, by whose they are. Others appear as events of the trace. */
  userRoots: readonly { name: string; pa: bigint }[];
}

/** Tables for a replay. */
export interface CapturedTables {
  arch: 'x86-64' | 'arm64';
  pageBytes: number;
  /** How addresses of the upper and of the lower half are walked, stage 2 included; roots are those of the first segment. */
  kernel: Regime;
  user: Regime;
  /** EL2 without VHE (pKVM, nVHE). */
  hypervisor: Regime | null;
  /** The roots of every CPU by name (docs/tables.md), as registers.json has them: of a capture, those at its end. */
  cpuRoots: Roots;
  segments: readonly TableSegment[];
  /** Stores to table pages, in trace order. */
  stores: TableStores;
}

/** Reads the tables of a capture or a table image. Throws InputError for what is missing or damaged. */
export async function openCapturedTables(folder: string): Promise<CapturedTables> {
  if (existsSync(join(folder, 'snap1'))) return openCapture(folder);
  if (existsSync(join(folder, 'tablepages.csv'))) return openPlain(folder);
  throw new InputError({
    source: folder,
    expected:
      'a capture (registers.json and snap1/) or a table image (registers.json, tablepages.csv and tablepages.bin)',
    found: existsSync(folder) ? 'a folder without snap1/ and tablepages.csv' : 'no such folder',
    advice: 'name the folder that the trace was converted from, or the tables beside a sample',
  });
}

async function openCapture(folder: string): Promise<CapturedTables> {
  const registers = readRegisters(join(folder, 'registers.json'));
  const snapshots = await readSnapshots(folder);
  const segments = snapshots.map(({ folder: source, pages, fromRecord, kernelRoot, userRoots }): TableSegment => {
    const root = kernelRoot ?? userRoots[0]?.pa;
    if (root === undefined) {
      const expected = 'the root of an address space (init_cr3_root) or of the kernel (swapper_ttbr1_root)';
      throw new InputError({ source: join(source, 'registers.json'), expected, found: 'none' });
    }
    return { pages, fromRecord, kernelRoot: root, userRoots };
  });
  const stores = (await readTableStores(folder)) ?? new TableStores();
  return assemble({ folder, registers, pages: snapshots[0].pages }, segments, stores);
}

async function openPlain(folder: string): Promise<CapturedTables> {
  const image = await openImage(folder);
  const pages: CapturedPage[] = [];
  loadPages(image, ({ pa, bytes }) => {
    const data = new Uint8Array(bytes);
    pages.push({ pa, bytes, data });
    return data;
  });
  const roots = rootsOf(image);
  const userRoots = [...roots]
    .filter(([name]) => /^(cr3|ttbr0)_/.test(name))
    .map(([name, regime]) => ({ name, pa: rootOf(regime()) }));
  const upper = firstRegime(roots, image, ['ttbr1', 'cr3']);
  return assemble(image, [{ pages, fromRecord: 0, kernelRoot: rootOf(upper), userRoots }], new TableStores());
}

function assemble(image: TableImage, segments: readonly TableSegment[], stores: TableStores): CapturedTables {
  const cpuRoots = rootsOf(image);
  const [{ kernelRoot, userRoots, pages }] = segments;
  const user = firstRegime(cpuRoots, image, ['ttbr0', 'cr3']);
  if (user.ept) {
    const [source, found] = [join(image.folder, 'registers.json'), 'EPTP: a guest on x86-64'];
    const advice = 'replay the tables of the guest alone; translate and explain walk both stages';
    throw new InputError({ source, expected: 'tables without EPT for a replay', found, advice });
  }
  return {
    arch: image.registers.arch,
    pageBytes: pages[0]?.bytes ?? 4096,
    kernel: withRoot(firstRegime(cpuRoots, image, ['ttbr1', 'cr3']), kernelRoot),
    user: userRoots.length > 0 ? withRoot(user, userRoots[0].pa) : user,
    hypervisor: cpuRoots.get('el2')?.() ?? null,
    ...{ cpuRoots, segments, stores },
  };
}

/** The regime of the first CPU that has a root of one of these kinds. */
function firstRegime(roots: Roots, { folder }: TableImage, kinds: readonly string[]): Regime {
  for (const [name, regime] of roots) if (kinds.some((kind) => name.startsWith(`${kind}_cpu`))) return regime();
  throw new InputError({
    source: join(folder, 'registers.json'),
    expected: `a CPU with a root ${kinds.join(' or ')} (docs/tables.md)`,
    found: [...roots.keys()].join(', ') || 'no CPU that translates addresses',
  });
}

/** The same regime on another top-level table, which is how one address space differs from another. */
export function withRoot({ x86, stage1, stage2 }: Regime, root: bigint): Regime {
  return { x86: x86 && { ...x86, root }, stage1: stage1 && { ...stage1, root }, stage2 };
}

function rootOf({ x86, stage1 }: Regime): bigint {
  return (x86 ?? stage1)!.root;
}
