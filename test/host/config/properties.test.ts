// Properties of resolving, on random documents that are valid by construction.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { documentOf, isDoc } from '../../../host/config/documents.js';
import { resolveConfig, resolveLayers } from '../../../host/config/load.js';
import { presetNames } from '../../../host/config/presets.js';
import { type Config } from '../../../host/config/schema.js';

const some = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

/** Without the keys that are undefined: a document has none of those. */
const dense = (value: unknown): unknown =>
  isDoc(value)
    ? Object.fromEntries(
        Object.entries(value).flatMap(([name, child]) => (child === undefined ? [] : [[name, dense(child)]])),
      )
    : value;

const level = fc.oneof(
  fc.constant(null),
  fc.record({ sets: fc.integer({ min: 1, max: 2048 }), ways: fc.integer({ min: 1, max: 64 }) }),
  fc.constant([{ sets: 1, ways: 3, pages: ['4K'] }]),
  fc.constant([
    { sets: 4, ways: 3, pages: ['4K'] },
    { sets: 1, ways: 2, pages: ['2M', '1G'] },
  ]),
);
const placement = fc.oneof(fc.constantFrom('first-touch', 'local', 'interleave'), fc.constant({ node: 0 }));
const topology = fc.oneof(
  fc.record({ cpuNode: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 8 }) }),
  fc.record({ nodes: some(fc.integer({ min: 1, max: 8 })), cpus: some(fc.integer({ min: 1, max: 64 })) }),
  fc.record({ nodes: fc.constant(2), topology: fc.constantFrom('blocks', 'trace') }),
);

const stage2 = fc.oneof(
  fc.record({ pageSize: some(fc.constant('4K')) }),
  fc.record({
    format: fc.constant('arm64'),
    granule: some(fc.constantFrom('4K', '16K', '64K')),
    ipaBits: some(fc.integer({ min: 32, max: 52 })),
  }),
  fc.record({
    format: fc.constant('ept'),
    levels: some(fc.constantFrom(4, 5)),
    pageSize: some(fc.constantFrom('4K', '2M', '1G')),
  }),
);

/** A 4K granule has the page sizes of x86, so that any TLB goes with any of these. */
const paging = fc.oneof(
  fc.record({
    levels: some(fc.constantFrom(4, 5)),
    pageSize: some(fc.constantFrom('4K', '2M')),
    stage2: some(fc.oneof(fc.constant(null), stage2)),
    format: fc.constant('x86-64'),
  }),
  fc.record({
    stage2: some(fc.oneof(fc.constant(null), stage2)),
    format: fc.constant('arm64'),
    vaBits: some(fc.integer({ min: 31, max: 52 })),
    pageSize: some(fc.constant({ default: '1G' })),
  }),
);
const document = fc
  .record({
    extends: some(fc.constantFrom(...presetNames())),
    machine: fc
      .tuple(
        topology,
        fc.record({ cpi: some(fc.integer({ min: 0, max: 4 })), tlb: fc.record({ l1d: some(level), l2: some(level) }) }),
      )
      .map(([first, second]) => ({ ...first, ...second })),
    paging: some(paging),
    memory: some(fc.record({ data: some(placement), tables: some(placement) })),
    replay: some(
      fc.record({
        warmup: some(fc.nat()),
        dirty: some(fc.constantFrom('set', 'tracked')),
        splitPages: some(fc.boolean()),
        intervals: some(fc.integer({ min: 1 })),
      }),
    ),
  })
  .map((doc) => dense(doc) as Record<string, unknown>);

test('a resolved configuration resolves to itself, also by way of YAML and JSON', () => {
  fc.assert(
    fc.property(document, (doc) => {
      const config = resolveConfig(doc, 'document');
      expect(resolveConfig(config, 'again')).toEqual(config);
      expect(resolveConfig(parse(stringify(config)), 'YAML')).toEqual(config);
      expect(resolveConfig(JSON.parse(JSON.stringify(config)), 'JSON')).toEqual(config);
    }),
  );
});

test('laying a document over itself changes nothing', () => {
  fc.assert(
    fc.property(document, (doc) => {
      const layer = { doc, origin: 'document' };
      expect(resolveLayers([layer, layer])).toEqual(resolveLayers([layer]));
    }),
  );
});

test('what the last document states is what comes out', () => {
  const scalars = fc.constantFrom<[string, unknown, (config: Config) => unknown]>(
    ['machine.cpi', 7, ({ machine }) => machine.cpi],
    ['machine.latency.remoteNs', 777, ({ machine }) => machine.latency.remoteNs],
    ['memory.tables', { node: 0 }, ({ memory }) => memory.tables],
    ['replay.phases', [1, 5], ({ replay }) => replay.phases],
    ['machine.tlb.l2', null, ({ machine }) => machine.tlb.l2],
    ['machine.caches', null, ({ machine }) => machine.caches],
    ['machine.mlp.data', 2, ({ machine }) => machine.mlp.data],
    ['memory.textRegions', ['kernel'], ({ memory }) => memory.textRegions],
    ['replay.checks', true, ({ replay }) => replay.checks],
  );
  fc.assert(
    fc.property(document, scalars, (doc, [key, value, read]) => {
      const before = resolveConfig(doc, 'document');
      const after = resolveLayers([
        { doc, origin: 'document' },
        { doc: documentOf({ [key]: value }), origin: 'last' },
      ]);
      expect(read(after)).toEqual(value);
      // Stating the old value again on top restores everything else.
      const back = resolveLayers([
        { doc: { ...after }, origin: 'after' },
        { doc: documentOf({ [key]: read(before) }), origin: 'restored' },
      ]);
      expect(back).toEqual(before);
    }),
  );
});
