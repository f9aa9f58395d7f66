// Random replays for fast-check: a resolved configuration, the facts of a trace, and its rows, made so that things collide.
// Few pages that share tables, tiny TLBs, runs of equal pages as real traces have them, and every option that decides a
// count. Left out is what the definition leaves open: addresses outside a region's pages, non-canonical addresses in captured
// mapping, VMs that run out of intermediate addresses, nodes that run out of memory.
import fc from 'fast-check';
import { formatOf, ipaBitsOf, pageSizesOf, bytesOf, stage2FormatOf, type Format } from './format.js';
import {
  type OracleConfig,
  type PageSize,
  type Paging,
  type Placement,
  type Row,
  type Stage2Paging,
  type TlbArrayConfig,
  type TraceContext,
} from './types.js';

/** Everything that a resolved configuration holds. */
export interface ScenarioConfig extends OracleConfig {
  extends: null;
  machine: OracleConfig['machine'] & {
    cpuNode: number[];
    nodes: number;
    cpus: number;
    topology: 'blocks';
    cpi: number;
    costs: { demandFault: number };
  };
  system: { name: 'none' };
}

/** One random replay. */
export interface Scenario {
  config: ScenarioConfig;
  context: TraceContext;
  rows: Row[];
}

const PAGE_SIZES: PageSize[] = ['4K', '16K', '64K', '2M', '32M', '512M', '1G', '16G', '64G', '512G', '4T'];
const UNKNOWN_PA = (1n << 64n) - 1n;
const MAX_ROWS = 3000;

const int = (min: number, max: number) => fc.integer({ min, max });
const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
const list = <T>(item: fc.Arbitrary<T>, minLength: number, maxLength: number) =>
  fc.array(item, { minLength, maxLength, size: 'max' });

type Geometry =
  { format: 'x86-64'; levels: 4 | 5 } | { format: 'arm64'; granule: '4K' | '16K' | '64K'; vaBits: number };

const arm = (granule: '4K' | '16K' | '64K', vaBits: fc.Arbitrary<number>): fc.Arbitrary<Geometry> =>
  vaBits.map((bits) => ({ format: 'arm64', granule, vaBits: bits }));

const geometry: fc.Arbitrary<Geometry> = fc.oneof(
  oneOf<Geometry>({ format: 'x86-64', levels: 4 }, { format: 'x86-64', levels: 5 }),
  arm('4K', fc.oneof(oneOf(39, 42, 48, 52), int(25, 48))),
  arm('16K', fc.oneof(oneOf(36, 47, 48, 52), int(25, 48))),
  arm('64K', fc.oneof(oneOf(42, 48, 52), int(25, 48))),
);

/** Sizes of which a node of 1T has room for few: one VM and nothing else may have them in stage 2. */
const HUGE: PageSize[] = ['64G'];

/** A stage 2 with one of its page sizes; a node has no room for two of 512G, nor for one of 4T. */
const stage2: fc.Arbitrary<Stage2Paging> = fc
  .oneof(
    oneOf<4 | 5>(4, 5).map((levels) => ({ format: 'ept' as const, levels })),
    fc.record({
      format: fc.constant('arm64' as const),
      granule: oneOf<'4K' | '16K' | '64K'>('4K', '16K', '64K'),
      ipaBits: fc.oneof(oneOf(32, 40, 44, 48, 52), int(32, 48)),
    }),
  )
  .chain((shape) => {
    const has = (pageSize: PageSize) => stage2FormatOf({ ...shape, pageSize }).leaves.length > 0;
    const sizes = PAGE_SIZES.filter((size) => size !== '4T' && size !== '512G' && has(size));
    return oneOf(...sizes).map((pageSize) => ({ ...shape, pageSize }));
  });

/**
 * Whether a VM has room for pages of this size: at most 24 pages, each with the one after it, in 4 spaces, each taking its
 * size twice because of alignment. Stage-1 descriptors without 52-bit addresses end at 2^48.
 */
function vmHasRoom(stage2: Stage2Paging, shape: Geometry, bytes: bigint): boolean {
  const outputBits = shape.format === 'x86-64' || shape.vaBits > 48 ? 52 : 48;
  const bits = ipaBitsOf(stage2);
  const room = (1n << BigInt(Math.min(bits, outputBits))) - (1n << BigInt(Math.min(bits, 48) - 1));
  return bytes * 24n * 2n * 4n * 2n <= room;
}

// ---- Addresses ----

/** Pages in a few areas, each area one choice of the upper table indices, so that pages share some tables and not others. */
function pagesOf(format: Format, canonical: boolean, isArm: boolean): fc.Arbitrary<bigint[]> {
  const { levels, baseShift } = format;
  const vaBits = levels[0].shift + levels[0].indexBits;
  const index = (bits: bigint) =>
    fc
      .oneof({ weight: 4, arbitrary: int(0, 2) }, { weight: 1, arbitrary: oneOf(-1, -2) })
      .map((i) => BigInt.asUintN(Number(bits), BigInt(i)));
  const upper = levels.filter(({ shift }) => shift >= 30n);
  const lower = levels.filter(({ shift }) => shift < 30n);
  const at = (part: typeof levels) =>
    fc
      .tuple(...part.map(({ shift, indexBits }) => index(indexBits).map((i) => i << shift)))
      .map((bits) => bits.reduce((a, b) => a | b, 0n));
  const extend = (va: bigint, high: boolean) => {
    if (isArm && high) return va | ((((1n << 64n) - 1n) >> vaBits) << vaBits);
    // An access that is split at the end of the low half would go on beyond the tables, where captured pages have no meaning.
    const last = ((1n << vaBits) - 1n) >> baseShift;
    if (isArm) return canonical && va >> baseShift === last ? va - (1n << baseShift) : va;
    return BigInt.asUintN(64, BigInt.asIntN(Number(vaBits), va));
  };
  const tag = canonical
    ? fc.constant(0n)
    : fc.oneof({ weight: 5, arbitrary: fc.constant(0n) }, oneOf(1n << 57n, 3n << 60n));
  const area = fc.tuple(at(upper), fc.boolean(), tag);
  return list(area, 1, 6)
    .chain((areas) => list(fc.tuple(oneOf(...areas), at(lower), int(0, 24)), 2, 24))
    .map((pages) =>
      pages.map(([[high, half, bits], low, near]) => {
        const va = BigInt.asUintN(Number(vaBits), high + low + (BigInt(near) << baseShift));
        return extend(va, half) ^ bits;
      }),
    );
}

/** A named region or rule bounds: whole base pages around one of the pages, short of the end of the space. */
function boundsAt(pages: bigint[], baseShift: bigint) {
  return fc
    .record({ page: oneOf(...pages), before: int(0, 700), pages: fc.oneof(int(1, 40), int(400, 600_000)) })
    .map(({ page, before, pages }) => {
      const ahead = BigInt(before) << baseShift;
      const va = page > ahead ? page - ahead : 0n;
      const room = (1n << 64n) - (1n << baseShift) - va;
      const bytes = BigInt(pages) << baseShift;
      return { va, bytes: bytes < room ? bytes : room };
    })
    .filter(({ bytes }) => bytes > 0n);
}

// ---- Configuration ----

function arrayOf(pages: fc.Arbitrary<PageSize[] | null>): fc.Arbitrary<TlbArrayConfig> {
  return fc.record({ sets: fc.oneof({ weight: 3, arbitrary: int(1, 7) }, oneOf(16, 32, 48)), ways: int(1, 5), pages });
}

function tlbOf(sizes: PageSize[]): fc.Arbitrary<TlbArrayConfig[]> {
  const some = fc.subarray(sizes, { minLength: 1 });
  const perSize = fc.tuple(...sizes.map((size) => arrayOf(fc.constant([size]))));
  return fc.oneof(
    { weight: 4, arbitrary: arrayOf(fc.constant(null)).map((array) => [array]) },
    { weight: 3, arbitrary: perSize as fc.Arbitrary<TlbArrayConfig[]> },
    { weight: 3, arbitrary: list(arrayOf(some), 1, 3) },
    { weight: 1, arbitrary: oneOf([{ sets: 0, ways: 0, pages: null }]) },
  );
}

const placementOf = (nodes: number): fc.Arbitrary<Placement> =>
  fc.oneof(
    oneOf<Placement>('first-touch', 'local', 'interleave'),
    int(0, nodes - 1).map((node) => ({ node })),
  );

/** Latencies at which no rounding is a tie: 10 to 60 above the diagonal divides 100 ns evenly. */
function latenciesOf(nodes: number) {
  const far = oneOf(10, 11, 12, 15, 20, 30, 60);
  const matrix = fc
    .tuple(...Array.from({ length: nodes * nodes }, () => far))
    .map((flat) =>
      Array.from({ length: nodes }, (_, i) =>
        Array.from({ length: nodes }, (_, j) => (i === j ? 10 : flat[i * nodes + j])),
      ),
    );
  return fc.record({
    distances: fc.oneof(fc.constant(null), matrix),
    clockGHz: oneOf(1, 2, 2.6, 3),
    latency: fc
      .record({ localNs: int(50, 120), more: oneOf(0, 100, 200), l2TlbCycles: int(0, 12) })
      .map(({ localNs, more, l2TlbCycles }) => ({ localNs, remoteNs: localNs + more, l2TlbCycles })),
  });
}

const walkCaches = fc.record({
  pde: int(0, 4),
  pdpte: int(0, 4),
  pml4e: int(0, 4),
  pml5e: int(0, 4),
  l2: int(0, 4),
  l1: int(0, 4),
  l0: int(0, 4),
  lm1: int(0, 4),
  ipa: int(0, 6),
  s2l2: int(0, 4),
  s2l1: int(0, 4),
  s2l0: int(0, 4),
  s2lm1: int(0, 4),
});

/** Each machine has its highest-numbered node in use, so that the CPU map alone tells the number of nodes. */
const cpuNodes = list(int(0, 3), 1, 6);

// ---- Rows ----

/** Some rows of one CPU and context: a few pages in turn, each in a run, again and again. */
interface Burst {
  cpu: number;
  space: { mode: number; asid: number; vm: number };
  kernel: boolean;
  kinds: number[];
  pages: number[];
  run: number;
  rounds: number;
  offset: number;
  stride: number;
  size: number;
  insns: number;
  frame: 'own' | 'unknown' | number;
}

/** An event between bursts. */
interface Event {
  cpu: number;
  kind: number;
  number: number;
}

function burstOf(cpus: number, pages: number, spaces: Burst['space'][]): fc.Arbitrary<Burst> {
  return fc.record({
    cpu: int(0, cpus - 1),
    space: oneOf(...spaces),
    kernel: fc.boolean(),
    kinds: list(int(0, 2), 1, 3),
    pages: list(int(0, pages - 1), 1, 6),
    run: fc.oneof({ weight: 3, arbitrary: int(1, 3) }, int(4, 20)),
    rounds: fc.oneof({ weight: 3, arbitrary: int(1, 3) }, int(4, 8)),
    offset: fc.oneof(int(0, 0xffff), oneOf(0xffff, 0xfffe, 0xfff8, 0)),
    stride: oneOf(0, 0, 4, 64),
    size: oneOf(0, 1, 2, 4, 8, 16, 64, 5000),
    insns: int(0, 255),
    frame: fc.oneof(
      { weight: 8, arbitrary: oneOf<'own' | 'unknown'>('own', 'own', 'own', 'unknown') },
      { weight: 2, arbitrary: int(0, 7) },
    ),
  });
}

function eventOf(cpus: number): fc.Arbitrary<Event> {
  return fc.record({
    cpu: int(0, cpus - 1),
    kind: fc.oneof(
      { weight: 4, arbitrary: oneOf(16, 17) },
      { weight: 1, arbitrary: fc.oneof(oneOf(18, 19), int(32, 74)) },
    ),
    number: int(1, 3),
  });
}

function* rowsOf(
  items: (Burst | Event)[],
  pages: bigint[],
  baseShift: bigint,
  has: TraceContext['has'],
): Iterable<Row> {
  const inPage = (offset: number) => BigInt(offset) & ((1n << baseShift) - 1n);
  // Frames on several nodes, and above every range: page i has frame i, unless the burst says otherwise.
  const frameBase = (frame: number) => (BigInt(frame % 5) << 32n) + (BigInt(frame) << baseShift);
  for (const item of items) {
    const { cpu } = item;
    if ('kind' in item) {
      const columns = {
        ...(has.pa && { pa: UNKNOWN_PA }),
        ...(has.size && { size: 0 }),
        ...(has.insns && { insns: 0 }),
        ...(has.mode && { mode: 1 }),
        ...(has.asid && { asid: 0 }),
        ...(has.vm && { vm: 0 }),
      };
      yield { cpu, kind: item.kind, va: BigInt(item.number), ...columns };
      continue;
    }
    const { space, kernel, kinds, size, insns, run, frame } = item;
    // User and kernel (0 and 1) are one regime; a hypervisor's mode stays as it is.
    const mode = (space.mode & 15) === 2 ? space.mode : space.mode | (kernel ? 1 : 0);
    for (let i = 0; i < item.rounds * item.pages.length * run; i++) {
      const page = item.pages[Math.floor(i / run) % item.pages.length];
      const offset = inPage(item.offset + i * item.stride);
      const pa = frame === 'unknown' ? UNKNOWN_PA : frameBase(frame === 'own' ? page + 8 : frame) + offset;
      yield {
        cpu,
        kind: kinds[i % kinds.length],
        va: pages[page] + offset,
        ...(has.pa && { pa }),
        ...(has.size && { size }),
        ...(has.insns && { insns }),
        ...(has.mode && { mode }),
        ...(has.asid && { asid: space.asid }),
        ...(has.vm && { vm: space.vm }),
      };
    }
  }
}

/** The first rows, without the ends of phases that are not open when only some phases are selected. */
function clip(rows: Iterable<Row>, selecting: boolean): Row[] {
  const open = new Set<bigint>();
  const kept: Row[] = [];
  for (const row of rows) {
    if (kept.length === MAX_ROWS) break;
    if (row.kind === 17 && selecting && !open.has(row.va)) continue;
    if (row.kind === 16) open.add(row.va);
    if (row.kind === 17) open.delete(row.va);
    kept.push(row);
  }
  return kept;
}

// ---- All together ----

const replay: fc.Arbitrary<OracleConfig['replay']> = fc.record({
  mapping: oneOf<'demand' | 'captured'>('demand', 'demand', 'captured'),
  dirty: oneOf<'set' | 'tracked'>('set', 'tracked'),
  splitPages: fc.boolean(),
  warmup: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, int(1, 600)),
  phases: fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, fc.subarray([1, 2, 3], { minLength: 1 })),
});

const columns = fc.record({
  pa: fc.boolean(),
  size: fc.boolean(),
  insns: fc.boolean(),
  mode: fc.boolean(),
  asid: fc.boolean(),
  vm: fc.boolean(),
});

const spaces = list(fc.record({ mode: oneOf(0, 0, 2, 16, 18), asid: int(0, 2), vm: int(0, 1) }), 1, 4);

function scenarioOf(
  shape: Geometry,
  second: Stage2Paging | null,
  options: OracleConfig['replay'],
  cpuNode: number[],
  columns: TraceContext['has'],
  global: 'none' | 'kernel',
): fc.Arbitrary<Scenario> {
  const nodes = Math.max(...cpuNode) + 1;
  const cpus = cpuNode.length;
  const alone = second !== null && HUGE.includes(second.pageSize);
  const has = {
    ...columns,
    pa: columns.pa || options.mapping === 'captured',
    mode: columns.mode && !alone,
    vm: columns.vm && !alone,
  };
  const paging = { ...shape, pageSize: { default: '4K', rules: [] }, stage2: second, global } as Paging;
  const format = formatOf(paging);
  const formatSizes = pageSizesOf(format);
  const sizes = PAGE_SIZES.filter((size) => formatSizes.includes(bytesOf(size)));
  // The hypervisor outside a guest takes its pages from the frames that back VMs.
  const mapped = sizes.filter((size) => {
    return !second || (vmHasRoom(second, shape, bytesOf(size)) && (!has.mode || bytesOf(size) <= bytesOf('1G')));
  });

  return pagesOf(format, options.mapping === 'captured', shape.format === 'arm64').chain((pages) => {
    const bounds = boundsAt(pages, format.baseShift);
    const rule = fc.oneof(
      fc.record({ region: oneOf('text', 'rodata'), size: oneOf(...mapped) }),
      fc.tuple(bounds, oneOf(...mapped)).map(([{ va, bytes }, size]) => ({
        from: `0x${va.toString(16)}`,
        to: `0x${(va + bytes).toString(16)}`,
        size,
      })),
    );
    return fc
      .record({
        pageSize: fc.record({ default: oneOf(...mapped), rules: list(rule, 0, 3) }),
        regions: fc.tuple(bounds, bounds).map(([text, rodata]) => [
          { name: 'text', ...text },
          { name: 'rodata', ...rodata },
        ]),
        memory: fc.record({ data: placementOf(nodes), tables: placementOf(nodes) }),
        tlb: fc.record({
          l1i: tlbOf(sizes),
          l1d: tlbOf(sizes),
          l2: fc.oneof(fc.constant(null), tlbOf(sizes), tlbOf(sizes)),
        }),
        walkCaches,
        latencies: latenciesOf(nodes),
        items: spaces.chain((known) =>
          list(
            fc.oneof(
              { weight: 4, arbitrary: burstOf(cpus, pages.length, known) },
              { weight: 1, arbitrary: eventOf(cpus) },
            ),
            1,
            100,
          ),
        ),
      })
      .map(({ pageSize, regions, memory, tlb, walkCaches, latencies, items }): Scenario => {
        const ranges = Array.from({ length: nodes }, (_, node) => ({
          node,
          from: BigInt(node) << 32n,
          to: BigInt(node + 1) << 32n,
        }));
        return {
          config: {
            extends: null,
            machine: {
              cpuNode,
              nodes,
              cpus,
              topology: 'blocks',
              ...latencies,
              cpi: 1,
              tlb,
              walkCaches,
              costs: { demandFault: 1000 },
            },
            paging: { ...paging, pageSize },
            memory,
            system: { name: 'none' },
            replay: options,
          },
          context: { cpuNode, nodes, has, ranges, regions },
          rows: clip(rowsOf(items, pages, format.baseShift, has), options.phases !== null),
        };
      });
  });
}

/** Random replays of all kinds, about half of them in two stages; captured mapping has one. */
export const scenario: fc.Arbitrary<Scenario> = fc
  .tuple(
    geometry,
    fc.option(stage2, { freq: 3 }),
    replay,
    cpuNodes,
    columns,
    oneOf<'none' | 'kernel'>('none', 'none', 'kernel'),
  )
  .chain(([shape, second, options, cpuNode, columns, global]) => {
    const captured = options.mapping === 'captured';
    return scenarioOf(shape, captured ? null : second, options, cpuNode, columns, captured ? 'none' : global);
  });
