// Builds table images for tests: memory in 4 KiB pages, trees of tables in every format, and stage-1 trees whose tables lie
// at intermediate addresses that a stage-2 tree maps. The tree keeps its own record of what it mapped; the walker under test
// sees only descriptors.
import {
  ARM,
  armLeaf,
  armTable,
  EPT,
  eptLeaf,
  isWide,
  kvmAttributes,
  X86 as BITS,
  x86Leaf,
  x86Table,
} from './encode.js';
import { armBlockLevels, armLevels, granuleShift, indexOf, stage1Start, x86Levels, type Level } from './geometry.js';
import { type ArmTables, type Memory, type Stage2 } from './types.js';

const PAGE_BYTES = 4096n;

/** Memory pages by physical address, 4 KiB each whatever the granule. */
export type Pages = Map<bigint, BigUint64Array>;

/** The memory that consists of these pages. */
export function memoryOf(pages: Pages): Memory {
  return (pa) => pages.get(pa - (pa % PAGE_BYTES))?.[Number((pa % PAGE_BYTES) / 8n)] ?? null;
}

/** Physical memory that grows as tables are placed. */
export class Image {
  readonly pages: Pages = new Map();
  /** Where descriptors were written. */
  readonly written: bigint[] = [];
  private next = 0x10_0000n;

  /** An unused physical range, aligned to its power-of-two size. It has no memory until `back`. */
  allocate(bytes: bigint): bigint {
    const pa = ((this.next + bytes - 1n) / bytes) * bytes;
    this.next = pa + bytes;
    return pa;
  }

  /** Puts zeroed memory behind a range. */
  back(pa: bigint, bytes: bigint): void {
    for (let page = pa - (pa % PAGE_BYTES); page < pa + bytes; page += PAGE_BYTES) {
      if (!this.pages.has(page)) this.pages.set(page, new BigUint64Array(512));
    }
  }

  write(pa: bigint, value: bigint): void {
    this.pages.get(pa - (pa % PAGE_BYTES))![Number((pa % PAGE_BYTES) / 8n)] = value;
    this.written.push(pa);
  }
}

/** A format as a builder needs it. */
export interface Shape {
  /** Root first. */
  levels: Level[];
  leafLevels: number[];
  tableBytes: bigint;
  table(target: bigint, flags: bigint): bigint;
  leaf(level: number, target: bigint, flags: bigint): bigint;
  /** Flags that allow everything, and the bits that may be anything in a well-formed descriptor. */
  openTable: bigint;
  openLeaf: bigint;
  anyTable: bigint;
  anyLeaf: bigint;
}

const x86Shape = (levels: 4 | 5): Shape => ({
  levels: x86Levels(levels),
  leafLevels: [3, 2, 1],
  tableBytes: PAGE_BYTES,
  table: (target, flags) => x86Table(target, flags | BITS.P),
  leaf: (level, target, flags) => x86Leaf(level, target, flags | BITS.P),
  openTable: BITS.RW | BITS.US | BITS.A,
  openLeaf: BITS.RW | BITS.US | BITS.A | BITS.D,
  anyTable: BITS.RW | BITS.US | BITS.A | BITS.D | BITS.NX | (7n << 9n) | (0x7ffn << 52n),
  anyLeaf: BITS.RW | BITS.US | BITS.A | BITS.D | BITS.G | BITS.NX | (7n << 9n) | (0x7ffn << 52n),
});

const eptShape = (levels: 4 | 5): Shape => ({
  levels: x86Levels(levels),
  leafLevels: [3, 2, 1],
  tableBytes: PAGE_BYTES,
  table: x86Table,
  leaf: eptLeaf,
  openTable: EPT.R | EPT.W | EPT.X,
  openLeaf: EPT.R | EPT.W | EPT.X,
  anyTable: EPT.R | EPT.W | EPT.X | (15n << 8n) | (0xfffn << 52n),
  anyLeaf: EPT.R | EPT.W | EPT.X | (1n << 6n) | (15n << 8n) | (0xfffn << 52n),
});

function armShape(regime: ArmTables, start: number, stage: 1 | 2): Shape {
  const wide = isWide(regime);
  const shareable = wide && regime.granule !== 64 ? 0n : ARM.SH_INNER;
  const software = 15n << 55n;
  const common = ARM.AF | ARM.DBM | ARM.CONTIGUOUS | ARM.PXN | ARM.UXN | shareable | software | (15n << 2n);
  return {
    levels: armLevels(regime.granule, regime.bits, start),
    leafLevels: [...armBlockLevels(regime.granule, wide), 3],
    tableBytes: 1n << granuleShift(regime.granule),
    table: (target, flags) => armTable(regime, target, flags),
    leaf: (level, target, flags) => armLeaf(regime, level, target, flags),
    openTable: 0n,
    openLeaf: stage === 1 ? ARM.AF | shareable | ARM.AP_EL0 | ARM.NG : kvmAttributes(regime),
    anyTable: (0x1fn << 59n) | software,
    anyLeaf: common | ARM.AP_EL0 | ARM.AP_RO | ARM.NG,
  };
}

/** The shape of x86 stage-1 tables. */
export const shapeOfX86 = x86Shape;

/** The shape of Arm stage-1 tables. */
export function shapeOfArm(regime: ArmTables): Shape {
  return armShape(regime, stage1Start(regime.granule, regime.bits), 1);
}

/** The shape of stage-2 tables. */
export function shapeOfStage2(stage2: Stage2): Shape {
  return stage2.kind === 'ept' ? eptShape(stage2.levels) : armShape(stage2, stage2.startLevel, 2);
}

/** Where a tree's tables lie. */
export interface Place {
  /** An unused address for a table, aligned to its size. */
  allocate(bytes: bigint): bigint;
  /** The physical address of one of a table's bytes. */
  locate(address: bigint): bigint;
}

/** How to map one address. */
export interface Mapping {
  /** Largest leaf level wished for; the next smaller page is used where tables are in the way. */
  level: number;
  tableFlags?: bigint;
  leafFlags?: bigint;
  /** The page's address; the tree asks with its size. */
  target(bytes: bigint): bigint;
}

type Node = { kind: 'table' | 'leaf'; address: bigint };

/** One tree of tables in an image. */
export class Tree {
  readonly root: bigint;
  private readonly nodes = new Map<string, Node>();

  constructor(
    private readonly image: Image,
    readonly shape: Shape,
    private readonly place: Place,
  ) {
    const entryBytes = 8n << shape.levels[0].indexBits;
    this.root = this.newTable(entryBytes > shape.tableBytes ? entryBytes : shape.tableBytes);
  }

  /** Where the tree translates an address to; null where nothing is mapped. */
  resolve(address: bigint): bigint | null {
    for (const level of this.shape.levels) {
      const node = this.nodes.get(keyOf(level, address));
      if (!node) return null;
      if (node.kind === 'leaf') return node.address + (address & ((1n << level.shift) - 1n));
    }
    return null;
  }

  /** Maps the page that holds an address, unless it is mapped already. */
  map(address: bigint, mapping: Mapping): void {
    const { shape } = this;
    const order = (level: number) => shape.levels.findIndex((known) => known.level === level);
    let table = this.root;
    for (const level of shape.levels) {
      const key = keyOf(level, address);
      const known = this.nodes.get(key);
      if (known?.kind === 'leaf') return;
      const entryPa = this.place.locate(table + 8n * indexOf(level, address));
      if (!known && shape.leafLevels.includes(level.level) && order(level.level) >= order(mapping.level)) {
        const target = mapping.target(1n << level.shift);
        this.nodes.set(key, { kind: 'leaf', address: target });
        this.image.write(entryPa, shape.leaf(level.level, target, mapping.leafFlags ?? shape.openLeaf));
        return;
      }
      const next = known?.address ?? this.newTable(shape.tableBytes);
      if (!known) {
        this.nodes.set(key, { kind: 'table', address: next });
        this.image.write(entryPa, shape.table(next, mapping.tableFlags ?? shape.openTable));
      }
      table = next;
    }
  }

  private newTable(bytes: bigint): bigint {
    const address = this.place.allocate(bytes);
    for (let at = 0n; at < bytes; at += PAGE_BYTES) this.image.back(this.place.locate(address + at), PAGE_BYTES);
    return address;
  }
}

/** Only the bits that index the tables name an entry. */
function keyOf(level: Level, address: bigint): string {
  return `${level.level} ${address >> level.shift}`;
}

/** A place at physical addresses. */
export function physically(image: Image): Place {
  return { allocate: (bytes) => image.allocate(bytes), locate: (address) => address };
}

/** A place at intermediate addresses from `from` upwards, which a stage-2 tree maps when they are needed. */
export function intermediately(stage2: Tree, from: bigint, mapping: () => Mapping): Place {
  let next = from;
  return {
    allocate: (bytes) => {
      const ipa = ((next + bytes - 1n) / bytes) * bytes;
      next = ipa + bytes;
      return ipa;
    },
    locate: (ipa) => {
      if (stage2.resolve(ipa) === null) stage2.map(ipa, mapping());
      return stage2.resolve(ipa)!;
    },
  };
}
