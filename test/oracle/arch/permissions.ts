// The exhaustive permission matrix: for each format one address behind one table and one leaf, with every combination of the
// flags that decide permissions in both, every kind of access, mode and control bit.
import { ACCESSES } from './arbitrary.js';
import {
  Image,
  intermediately,
  type Pages,
  physically,
  type Shape,
  shapeOfArm,
  shapeOfStage2,
  shapeOfX86,
  Tree,
} from './build.js';
import { ARM, EPT, X86 } from './encode.js';
import { type Access, type ArmStage1, type ArmStage2, type Ept, type Regime } from './types.js';

/** One question. Cases with the same descriptors follow each other and share `pages`. */
export interface PermissionCase {
  pages: Pages;
  regime: Regime;
  address: bigint;
  access: Access;
}

const ADDRESS = 0x40_3123n;
const FRAME = 0x1234_5000n;
const accesses = ACCESSES.filter((access) => access !== null);

/** Every subset of some bits, ORed. */
function subsets(bits: bigint[]): bigint[] {
  return bits.reduce((sums, bit) => [...sums, ...sums.map((sum) => sum | bit)], [0n]);
}

/** Every setting of some switches. */
function switches<K extends string>(...names: K[]): Record<K, boolean>[] {
  return names.reduce<Record<string, boolean>[]>(
    (all, name) => all.flatMap((one) => [false, true].map((on) => ({ ...one, [name]: on }))),
    [{}],
  ) as Record<K, boolean>[];
}

/** One page with the given flags in its leaf and in every table above it. */
function onePage(shape: Shape, tableFlags: bigint, leafFlags: bigint): { pages: Pages; root: bigint } {
  const image = new Image();
  const tree = new Tree(image, shape, physically(image));
  const level = shape.levels[shape.levels.length - 1].level;
  tree.map(ADDRESS, { level, tableFlags, leafFlags, target: () => FRAME });
  return { pages: image.pages, root: tree.root };
}

function* ask(pages: Pages, regimes: Iterable<Regime>): Generator<PermissionCase> {
  for (const regime of regimes) for (const access of accesses) yield { pages, regime, address: ADDRESS, access };
}

function* x86(): Generator<PermissionCase> {
  const bits = [X86.RW, X86.US, X86.NX];
  const controls = switches('wp', 'smep', 'smap', 'nxe');
  for (const tableFlags of subsets(bits)) {
    for (const leafFlags of subsets(bits)) {
      const { pages, root } = onePage(shapeOfX86(4), tableFlags, leafFlags);
      const regimes = controls.map((on) => ({ x86: { root, levels: 4 as const, maxPhysBits: 52, ...on } }));
      yield* ask(
        pages,
        regimes.map((stage1) => ({ stage1, stage2: null })),
      );
    }
  }
}

const geometry = { root: 0n, granule: 4 as const, bits: 39, outputBits: 48, ds: false, lpa: false };
const noControls = { ha: false, hd: false, wxn: false, hpd: false, tbi: false, epd: false };

/** Access flag clear: without limits by tables. Access flag set: with all of them. */
function* armStage1(single: boolean): Generator<PermissionCase> {
  const leafBits = [ARM.AP_EL0, ARM.AP_RO, ARM.DBM, ARM.PXN, ARM.UXN];
  const tableBits = [ARM.APTABLE_NO_EL0, ARM.APTABLE_RO, ARM.UXN_TABLE, ARM.PXN_TABLE];
  const flags = subsets(leafBits).flatMap((leaf) => [
    { leaf, table: 0n },
    ...subsets(tableBits).map((table) => ({ leaf: leaf | ARM.AF, table })),
  ]);
  const controls = switches('ha', 'hd', 'wxn', 'hpd');
  for (const { leaf, table } of flags) {
    const plain: ArmStage1 = { ...geometry, ...noControls, single };
    const { pages, root } = onePage(shapeOfArm(plain), table, leaf);
    const halves = single ? {} : { high: null };
    const regimes = controls.map((on) => ({ stage1: { low: { ...plain, ...on, root }, ...halves }, stage2: null }));
    yield* ask(pages, regimes);
  }
}

const plainStage2: ArmStage2 = { ...geometry, ha: false, hd: false, kind: 'arm', startLevel: 1, xnx: false };
const stage2LeafBits = [ARM.S2_R, ARM.S2_W, ARM.AF, ARM.DBM, 1n << 53n, 1n << 54n];
const stage2Regimes = (root: bigint) => switches('ha', 'hd', 'xnx').map((on) => ({ ...plainStage2, ...on, root }));

function* armStage2(): Generator<PermissionCase> {
  for (const leafFlags of subsets(stage2LeafBits)) {
    const { pages, root } = onePage(shapeOfStage2(plainStage2), 0n, leafFlags);
    yield* ask(
      pages,
      stage2Regimes(root).map((stage2) => ({ stage1: null, stage2 })),
    );
  }
}

const plainEpt: Ept = { kind: 'ept', root: 0n, levels: 4, maxPhysBits: 52 };
const eptBits = [EPT.R, EPT.W, EPT.X];

function* ept(): Generator<PermissionCase> {
  for (const tableFlags of subsets(eptBits)) {
    for (const leafFlags of subsets(eptBits)) {
      const { pages, root } = onePage(shapeOfStage2(plainEpt), tableFlags, leafFlags);
      yield* ask(pages, [{ stage1: null, stage2: { ...plainEpt, root } }]);
    }
  }
}

/** Stage-1 tables and the final page behind stage-2 leaves of their own; stage 1 allows everything or is read-only. */
function* bothStages(shape2: Shape, leafBits: bigint[], regimesOf: (root: bigint) => Regime['stage2'][]) {
  const stage1: ArmStage1 = { ...geometry, ...noControls, single: false };
  const level = shape2.levels[shape2.levels.length - 1].level;
  for (const flags of subsets(leafBits)) {
    for (const of of ['tables', 'page', 'both'] as const) {
      for (const leaf of [ARM.AF | ARM.AP_EL0, ARM.AF | ARM.AP_EL0 | ARM.AP_RO, ARM.AF | ARM.UXN | ARM.PXN]) {
        const image = new Image();
        const second = new Tree(image, shape2, physically(image));
        const leafFlags = (which: 'tables' | 'page') => (of === which || of === 'both' ? flags : shape2.openLeaf);
        const place = intermediately(second, 0n, () => ({
          level,
          leafFlags: leafFlags('tables'),
          target: (bytes) => image.allocate(bytes),
        }));
        const first = new Tree(image, shapeOfArm(stage1), place);
        first.map(ADDRESS, { level: 3, leafFlags: leaf, target: () => FRAME });
        second.map(FRAME, { level, leafFlags: leafFlags('page'), target: (bytes) => image.allocate(bytes) });
        const low = { ...stage1, root: first.root };
        yield* ask(
          image.pages,
          regimesOf(second.root).map((stage2) => ({ stage1: { low, high: null }, stage2 })),
        );
      }
    }
  }
}

/** All cases: about 142,000. */
export function* permissionCases(): Generator<PermissionCase> {
  yield* x86();
  yield* armStage1(false);
  yield* armStage1(true);
  yield* armStage2();
  yield* ept();
  yield* bothStages(shapeOfStage2(plainStage2), stage2LeafBits, stage2Regimes);
  yield* bothStages(shapeOfStage2(plainEpt), eptBits, (root) => [{ ...plainEpt, root }]);
}
