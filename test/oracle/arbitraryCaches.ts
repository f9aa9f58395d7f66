// Random replays with line caches for fast-check: the machines, formats and rows of arbitrary.ts on few lines per page, with
// tiny caches of every kind, and with invalidations and pollution between the rows. Pages that a node has no room for are left out.
import fc from 'fast-check';
import { type Scenario, scenario, type ScenarioConfig } from './arbitrary.js';
import { bytesOf, formatOf } from './format.js';
import { type CachesConfig, type ColdScope, type PageSize, type Paging, type Placement, type Row } from './types.js';

/** What happens before a row, given by its number. */
export type Action = { before: number } & ({ cool: ColdScope } | { cpu: number; pollute: bigint });

/** One random replay with line caches. */
export interface CachesScenario extends Scenario {
  /** In order. */
  actions: Action[];
}

const UNKNOWN_PA = (1n << 64n) - 1n;
/** Captured frames are this far above those of arbitrary.ts: where tables are, where nothing is, where allocated frames are. */
const CAPTURED_OFFSETS = [0n, 1n << 31n, 1n << 39n];

const int = (min: number, max: number) => fc.integer({ min, max });
const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);

const cache = fc.record({ sets: int(1, 6), ways: int(1, 4) });
/** A larger one leaves private caches something, if it includes them. */
const lastLevel = fc.record({ sets: fc.oneof(int(1, 6), oneOf(10, 12, 15, 20)), ways: int(1, 4) });

const sharing: fc.Arbitrary<Pick<NonNullable<CachesConfig['llc']>, 'cpus' | 'remoteCacheable' | 'inclusive'>> =
  fc.oneof(
    { weight: 1, arbitrary: fc.constant({ cpus: null, remoteCacheable: false, inclusive: false }) },
    {
      weight: 2,
      arbitrary: fc.record({
        cpus: fc.option(int(1, 3)),
        remoteCacheable: fc.constant(true),
        inclusive: fc.boolean(),
      }),
    },
  );

const caches: fc.Arbitrary<CachesConfig> = fc.record({
  l1i: cache,
  l1d: cache,
  l2: fc.option(cache, { freq: 2 }),
  llc: fc.option(
    fc.tuple(lastLevel, sharing).map(([geometry, rules]) => ({ ...geometry, ...rules })),
    { freq: 4 },
  ),
  walks: oneOf<'l1d' | 'l2'>('l1d', 'l2'),
  prefetchLines: int(0, 2),
});

function actionsOf(rows: number, cpus: number): fc.Arbitrary<Action[]> {
  const before = int(0, rows);
  const cool = fc.record({ before, cool: oneOf<ColdScope>('all', 'kernel', 'text') });
  const bytes = fc.oneof(int(1, 1000), int(1, 20_000)).map(BigInt);
  const pollute = fc.record({ before, cpu: int(0, cpus - 1), pollute: bytes });
  const actions = fc.array(fc.oneof<fc.Arbitrary<Action>[]>(cool, pollute), { maxLength: 6 });
  return actions.map((actions) => actions.sort((a, b) => a.before - b.before));
}

/** The row on one of the first 16 or the last two lines of its page, its captured frame moved up. */
function narrow(row: Row, baseShift: bigint, capturedOffset: bigint): Row {
  if (row.kind >= 16) return row;
  const pageBytes = 1n << baseShift;
  const offset = row.va & (pageBytes - 1n);
  const moved = (offset >= pageBytes - 128n ? offset : offset & 0x3ffn) - offset;
  const pa = row.pa === undefined || row.pa === UNKNOWN_PA ? row.pa : row.pa + moved + capturedOffset;
  return { ...row, va: row.va + moved, ...(pa !== undefined && { pa }) };
}

/** Base pages instead of those that could fill a node. */
function withSmallPages(paging: Paging): Paging {
  const base = paging.format === 'x86-64' ? '4K' : paging.granule;
  const small = (size: PageSize) => (bytesOf(size) <= bytesOf('1G') ? size : base);
  const { default: size, rules } = paging.pageSize;
  return {
    ...paging,
    pageSize: { default: small(size), rules: rules.map((rule) => ({ ...rule, size: small(rule.size) })) },
  };
}

/** Random replays with line caches. */
export const cachesScenario: fc.Arbitrary<CachesScenario> = scenario.chain((plain) => {
  const { config, context, rows } = plain;
  const { nodes, regions } = context;
  const text = fc.oneof(
    oneOf<Placement | null>(null, 'first-touch', 'local', 'interleave'),
    int(0, nodes - 1).map((node) => ({ node })),
  );
  return fc
    .record({
      caches,
      text,
      capturedOffset: oneOf(...CAPTURED_OFFSETS),
      // Where the captured machine had the regions: around the frames of a node.
      regionPages: fc.tuple(...regions.map(() => fc.record({ node: int(0, nodes - 1), page: int(0, 40) }))),
      l2Cycles: int(0, 20),
      llcNs: int(0, 60),
    })
    .chain(({ caches, text, capturedOffset, regionPages, l2Cycles, llcNs }) => {
      const { machine, memory } = config;
      const withCaches: ScenarioConfig = {
        ...config,
        machine: { ...machine, caches, latency: { ...machine.latency, l2Cycles, llcNs } },
        paging: withSmallPages(config.paging),
        memory: { ...memory, text },
      };
      const { baseShift } = formatOf(config.paging);
      const placed = regions.map((region, i) => {
        const { node, page } = regionPages[i];
        return { ...region, pa: (BigInt(node) << 32n) + (BigInt(page) << baseShift) + capturedOffset };
      });
      return actionsOf(rows.length, context.cpuNode.length).map((actions) => ({
        config: withCaches,
        context: { ...context, regions: placed },
        rows: rows.map((row) => narrow(row, baseShift, capturedOffset)),
        actions,
      }));
    });
});
