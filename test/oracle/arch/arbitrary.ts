// Random page tables for fast-check: few pages that share tables, in every format and pair of formats, with any permissions
// and control bits; and the same with descriptors overwritten by what no system would install.
import fc from 'fast-check';
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
import { isWide } from './encode.js';
import { granuleShift, kvmStart } from './geometry.js';
import { type Access, type ArmStage1, type ArmStage2, type Ept, type Regime, type X86 } from './types.js';

/** Tables and what to ask of them: every access of every address. */
export interface Case {
  /** 4 KiB each, by physical address. */
  pages: Pages;
  regime: Regime;
  addresses: bigint[];
  accesses: (Access | null)[];
}

/** Every kind of access in every mode, and the probe. */
export const ACCESSES: (Access | null)[] = [
  null,
  ...[false, true].flatMap((user) => (['read', 'write', 'fetch'] as const).map((kind) => ({ kind, user }))),
];

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
const mostly = <T>(usual: T, other: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: other });
const word = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

// ---- Regimes; roots are filled in when the tables are built ----

const maxPhysBits = mostly(52, oneOf(36, 40, 46, 48));

const x86: fc.Arbitrary<X86> = fc.record({
  root: fc.constant(0n),
  levels: oneOf<4 | 5>(4, 5),
  maxPhysBits,
  wp: fc.boolean(),
  smep: fc.boolean(),
  smap: fc.boolean(),
  nxe: mostly(true, fc.boolean()),
});

const ept: fc.Arbitrary<Ept> = fc.record({
  kind: fc.constant('ept'),
  root: fc.constant(0n),
  levels: oneOf<4 | 5>(4, 5),
  maxPhysBits,
});

/** Granule, descriptor format and address bits, which depend on each other. */
const armGeometry = (minBits: number) =>
  fc.tuple(oneOf<4 | 16 | 64>(4, 16, 64), fc.boolean()).chain(([granule, wide]) =>
    fc.record({
      root: fc.constant(0n),
      granule: fc.constant(granule),
      ds: fc.constant(granule !== 64 && wide),
      lpa: fc.constant(granule === 64 && wide),
      bits: fc.oneof(
        oneOf(...[36, 39, 40, 42, 44, 47, 48, ...(wide ? [52] : [])].filter((bits) => bits >= minBits)),
        fc.integer({ min: minBits, max: wide ? 52 : 48 }),
      ),
      outputBits: mostly(wide ? 52 : 48, oneOf(32, 36, 40, 42, 44, 48, 52)),
      ha: fc.boolean(),
      hd: fc.boolean(),
    }),
  );

const armStage1 = (single: boolean): fc.Arbitrary<ArmStage1> =>
  fc
    .tuple(
      armGeometry(25),
      fc.record({ wxn: fc.boolean(), hpd: fc.boolean(), tbi: fc.boolean(), epd: mostly(false, fc.boolean()) }),
    )
    .map(([geometry, controls]) => ({ ...geometry, ...controls, single }));

/** KVM's first level, or one above or below it that the root can still be cut for. */
const armStage2: fc.Arbitrary<ArmStage2> = fc
  .tuple(armGeometry(32), fc.boolean(), oneOf(0, 0, -1, 1))
  .map(([geometry, xnx, other]) => {
    const { granule, bits, ds } = geometry;
    const start = kvmStart(granule, bits);
    const tableBits = Number(granuleShift(granule)) - 3;
    const lowest = { 4: ds ? -1 : 0, 16: ds ? 0 : 1, 64: 1 }[granule];
    const fits = (level: number) => {
      const rootBits = bits - (3 + tableBits * (4 - level)); // those that the levels below leave
      return level >= lowest && level <= 3 && rootBits > 0 && rootBits <= tableBits + 4;
    };
    return { ...geometry, kind: 'arm', xnx, startLevel: fits(start + other) ? start + other : start };
  });

const stage1: fc.Arbitrary<Regime['stage1']> = fc.oneof(
  x86.map((x86) => ({ x86 })),
  fc.tuple(armStage1(false), armStage1(false)).map(([low, high]) => ({ low, high })),
  armStage1(false).map((low) => ({ low, high: null })),
  fc.boolean().chain((single) => armStage1(single).map((low) => ({ low }))),
);

const stage2: fc.Arbitrary<Regime['stage2']> = fc.oneof(armStage2, ept);

const regimes: fc.Arbitrary<Regime> = fc.oneof(
  { weight: 2, arbitrary: stage1.map((stage1) => ({ stage1, stage2: null })) },
  { weight: 1, arbitrary: stage2.map((stage2) => ({ stage1: null, stage2 })) },
  { weight: 3, arbitrary: fc.record({ stage1, stage2 }) },
);

// ---- Pages ----

/** Flags of a descriptor: as open as can be, or any. */
const flags = fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 2, arbitrary: word });

/** One page to map. Numbers are cut to what the format has. */
interface Page {
  high: boolean;
  /** Index at each level, from the last level upwards. */
  index: number[];
  offset: bigint;
  leaf: number;
  tableFlags: bigint | null;
  leafFlags: bigint | null;
  frame: bigint;
  /** How stage 2 maps what this page needs. */
  second: { leaf: number; mapped: boolean; tableFlags: bigint | null; leafFlags: bigint | null };
}

const page: fc.Arbitrary<Page> = fc.record({
  high: fc.boolean(),
  index: fc.array(oneOf(0, 0, 1, 2, -1), { minLength: 5, maxLength: 5 }),
  offset: fc.bigInt({ min: 0n, max: (1n << 48n) - 1n }),
  leaf: oneOf(3, 3, 2, 1, 0),
  tableFlags: flags,
  leafFlags: flags,
  frame: fc.oneof(word, fc.bigInt({ min: 0n, max: (1n << 34n) - 1n })),
  second: fc.record({
    leaf: oneOf(3, 3, 2, 1, 0),
    mapped: mostly(true, fc.boolean()),
    tableFlags: flags,
    leafFlags: flags,
  }),
});

const bitsOf = ({ levels }: Shape) => levels[0].shift + levels[0].indexBits;

/** The address that a page's indices and offset make, without a sign. */
function addressOf({ levels }: Shape, { index, offset }: Page): bigint {
  const last = levels[levels.length - 1];
  return [...levels]
    .reverse()
    .reduce(
      (sum, { shift, indexBits }, i) => sum | (BigInt.asUintN(Number(indexBits), BigInt(index[i])) << shift),
      offset & ((1n << last.shift) - 1n),
    );
}

/** Levels count from 0 at the root; a wish below the last is the last. */
function levelOf({ levels }: Shape, fromLast: number): number {
  return levels[Math.min(levels.length - 1, Math.max(0, levels.length - 4 + fromLast))].level;
}

const masked = (value: bigint | null, any: bigint, open: bigint) => (value === null ? open : value & any);

interface Built extends Case {
  image: Image;
}

/** Builds the tables of a regime. */
function build(regime: Regime, pages: Page[], tableIpa: bigint): Built {
  const image = new Image();
  const addresses: bigint[] = [];
  const frameOf = ({ frame }: Page, bytes: bigint, width: number) => (BigInt.asUintN(width, frame) / bytes) * bytes;
  let turn = 0;
  const nextPage = () => pages[turn++ % pages.length];

  const { stage2 } = regime;
  const shape2 = stage2 && shapeOfStage2(stage2);
  const tree2 = shape2 && new Tree(image, shape2, physically(image));
  const mapping2 = (page: Page, target: (bytes: bigint) => bigint) => ({
    level: levelOf(shape2!, page.second.leaf),
    tableFlags: masked(page.second.tableFlags, shape2!.anyTable, shape2!.openTable),
    leafFlags: masked(page.second.leafFlags, shape2!.anyLeaf, shape2!.openLeaf),
    target,
  });
  const width2 = stage2 ? (stage2.kind === 'ept' ? stage2.maxPhysBits : isWide(stage2) ? stage2.outputBits : 48) : 0;
  const place = tree2
    ? intermediately(tree2, tableIpa, () => mapping2(nextPage(), (bytes) => image.allocate(bytes)))
    : physically(image);

  /** Maps pages in a stage-1 tree of addresses that `extend` gives their sign, to outputs of at most `width` bits. */
  const fill = (shape: Shape, own: Page[], extend: (address: bigint) => bigint, width: number): bigint => {
    const tree = new Tree(image, shape, place);
    for (const page of own) {
      const address = extend(addressOf(shape, page));
      addresses.push(address);
      // A page that stage 2 shall map has an address that stage 2 covers.
      const covered = tree2 && page.second.mapped ? Math.min(width, Number(bitsOf(tree2.shape))) : width;
      tree.map(address, {
        level: levelOf(shape, page.leaf),
        tableFlags: masked(page.tableFlags, shape.anyTable, shape.openTable),
        leafFlags: masked(page.leafFlags, shape.anyLeaf, shape.openLeaf),
        target: (bytes) => frameOf(page, bytes, covered),
      });
      const ipa = tree.resolve(address)!;
      const inside = tree2 && ipa >> bitsOf(tree2.shape) === 0n;
      if (inside && page.second.mapped && tree2.resolve(ipa) === null) {
        tree2.map(
          ipa,
          mapping2(page, (bytes) => frameOf(page, bytes, width2)),
        );
      }
    }
    return tree.root;
  };

  const arm = (regime: ArmStage1, own: Page[], high: boolean): ArmStage1 => {
    const sign = high ? ((1n << 64n) - 1n) ^ ((1n << BigInt(regime.bits)) - 1n) : 0n;
    const width = Math.min(regime.outputBits, isWide(regime) ? 52 : 48);
    return { ...regime, root: fill(shapeOfArm(regime), own, (va) => va | sign, width) };
  };

  let first = regime.stage1;
  if (first?.x86) {
    const shape = shapeOfX86(first.x86.levels);
    const extend = (va: bigint) => BigInt.asUintN(64, BigInt.asIntN(Number(bitsOf(shape)), va));
    first = { x86: { ...first.x86, root: fill(shape, pages, extend, first.x86.maxPhysBits) } };
  } else if (first?.low) {
    const { low, high } = first;
    const lower = high ? pages.filter((page) => !page.high) : pages;
    const upper = high ? pages.filter((page) => page.high) : [];
    first = { low: arm(low, lower, false), ...(high !== undefined && { high: high && arm(high, upper, true) }) };
  } else if (tree2) {
    for (const page of pages) {
      const address = addressOf(tree2.shape, page);
      addresses.push(address);
      tree2.map(
        address,
        mapping2(page, (bytes) => frameOf(page, bytes, width2)),
      );
    }
  }
  const second = stage2 && { ...stage2, root: tree2!.root };
  return { pages: image.pages, regime: { stage1: first, stage2: second }, addresses, accesses: ACCESSES, image };
}

/** Addresses near the mapped ones, in the other half, with a tag, and anywhere. */
const others = fc.array(
  fc.oneof(
    fc.tuple(fc.nat(), oneOf(0x1000n, 0x4000n, 1n << 16n, 1n << 21n, 1n << 39n)),
    fc.tuple(fc.nat(), oneOf(1n << 63n, 1n << 60n, 1n << 55n, 3n << 47n, ((1n << 17n) - 1n) << 47n)),
    word,
  ),
  { maxLength: 6 },
);

const built: fc.Arbitrary<Built> = fc
  .tuple(regimes, fc.array(page, { minLength: 1, maxLength: 6 }), others, oneOf(0n, 1n << 20n, 3n << 26n))
  .map(([regime, pages, others, tableIpa]) => {
    const made = build(regime, pages, tableIpa);
    const more = others.map((other) =>
      typeof other === 'bigint' ? other : made.addresses[other[0] % made.addresses.length] ^ other[1],
    );
    return { ...made, addresses: [...made.addresses, ...more] };
  });

const caseOf = ({ pages, regime, addresses, accesses }: Built): Case => ({ pages, regime, addresses, accesses });

/** Well-formed tables with any permissions. */
export const wellFormed: fc.Arbitrary<Case> = built.map(caseOf);

/** What to write over a descriptor. */
type Damage =
  | { kind: 'word'; value: bigint }
  | { kind: 'flip'; bits: number[] }
  | { kind: 'pointer'; to: number; offset: bigint; flags: bigint }
  | { kind: 'copy'; from: number };

const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), bits: fc.array(fc.nat(63), { minLength: 1, maxLength: 3 }) }),
  fc.record({
    kind: fc.constant('pointer' as const),
    to: fc.nat(),
    offset: oneOf(0n, 0n, 0x1000n, 0x2000n, 0x8000n, 1n << 21n),
    flags: fc.tuple(word, oneOf(1n, 3n, 7n, 0x67n, 0x403n, 0x7ffn)).map(([any, low]) => (any & (0xfffn << 52n)) | low),
  }),
  fc.record({ kind: fc.constant('copy' as const), from: fc.nat() }),
  fc.record({
    kind: fc.constant('word' as const),
    value: fc.tuple(word, word, oneOf(0n, 1n, 2n, 3n, 7n, 0x81n, 0x87n)).map(([a, b, low]) => (a & b & ~0xffn) | low),
  }),
);

/** Tables with damaged descriptors: some point to themselves, to unaligned places, or to where there is no memory. */
export const malformed: fc.Arbitrary<Case> = fc
  .tuple(built, fc.array(fc.tuple(fc.nat(), damage), { minLength: 1, maxLength: 8 }))
  .map(([made, damages]) => {
    const { pages, image } = made;
    const places = [...new Set(image.written)];
    const memory = (pa: bigint) => pages.get(pa - (pa % 4096n))![Number((pa % 4096n) / 8n)];
    const tables = [...pages.keys()];
    if (places.length === 0) return caseOf(made);
    for (const [at, what] of damages) {
      const place = places[at % places.length];
      let value: bigint;
      if (what.kind === 'word') value = what.value;
      else if (what.kind === 'copy') value = memory(places[what.from % places.length]);
      else if (what.kind === 'flip') value = what.bits.reduce((v, bit) => v ^ (1n << BigInt(bit)), memory(place));
      else value = (tables[what.to % tables.length] + what.offset) | what.flags;
      image.write(place, value);
    }
    return caseOf(made);
  });
