// The trace invariants: every one of them fires on a trace that breaks it and on nothing else there, and captured and made
// traces break none.

import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { SCENARIOS, writeScenario } from '../../host/synth/index.js';
import { type ColumnName } from '../../traces/batch.js';
import { checkTrace, type CheckReport } from '../../traces/check/check.js';
import { type Finding, INVARIANTS, type InvariantName } from '../../traces/check/findings.js';
import { EVENTS } from '../../traces/events.js';
import { metadataWith, type TraceMetadata } from '../../traces/metadata.js';
import { largestValue } from '../../traces/operands.js';
import { writeTrace } from '../../traces/writer.js';
import { batchOf, eachOf, scratch, type Row } from './support.js';

const path = scratch();
const SAMPLES = fileURLToPath(new URL('../../traces/samples/', import.meta.url));

const [FETCH, LOAD, BEGIN, END, OPERANDS] = [0, 1, 16, 17, 19];
const kind = (name: string) => EVENTS.find((event) => event.name === name)!.kind;
const COLUMNS: ColumnName[] = ['cpu', 'kind', 'va', 'pa', 'size', 'insns', 'mode', 'asid', 'time', 'arg'];
const UNKNOWN = 0xffff_ffff_ffff_ffffn;

const METADATA: Partial<TraceMetadata> = {
  arch: 'x86-64',
  paging: { levels: 4 },
  cpus: 2,
  cpuNode: [0, 1],
  nodes: [
    { node: 0, ranges: [{ from: '0x0', to: '0x100000' }] },
    { node: 1, ranges: [{ from: '0x100000', to: '0x200000' }] },
  ],
  phases: [{ number: 7, name: 'seven' }],
  counts: { mmio: 0 },
};

/** A load of 8 bytes at 0x1010, which is at 0x5010 of node 0, but for `changes`. */
const row = (changes: Row = {}): Row => ({
  ...{ cpu: 0, kind: LOAD, va: 0x1010n, pa: 0x5010n, size: 8, insns: 0, mode: 0, asid: 1, time: 0n, arg: 0n },
  ...changes,
});
const event = (name: string, va: bigint, arg = 0n, changes: Row = {}): Row =>
  row({ kind: kind(name), va, arg, pa: UNKNOWN, size: 0, ...changes });
const more = (va: bigint, arg = 0n): Row => row({ kind: OPERANDS, va, arg, pa: UNKNOWN, size: 0 });

async function check(
  rows: Row[],
  metadata: Partial<TraceMetadata> | null = METADATA,
  columns = COLUMNS,
): Promise<CheckReport> {
  await writeTrace(path('t.arrow'), columns, eachOf([batchOf(columns, rows)]), () => metadataWith(metadata ?? {}));
  return checkTrace(path('t.arrow'));
}

/** What was found, by name. */
function broken({ invariants }: CheckReport): Record<string, Finding> {
  return Object.fromEntries(invariants.filter(({ violations }) => violations > 0).map((f) => [f.name, f]));
}

const BREAKS: [InvariantName, string, Row[], Partial<TraceMetadata>?, number?][] = [
  ['kinds', 'a number between', [row(), row({ kind: 15 })]],
  ['kinds', 'a number above', [row(), row({ kind: 75 })]],
  ['operands', 'rows that are missing', [row(), event('user_map', 0n, 1n), row()]],
  ['operands', 'rows that are missing at the end', [row(), event('user_unmap', 0n, 1n)]],
  ['operands', 'rows after an access', [row(), more(0n)]],
  ['operands', 'rows too many', [event('user_unmap', 0n, 1n), more(0n), more(0n)], {}, 2],
  ['operands', 'a value without a meaning', [row(), event('mm_destroy', 1n, 5n)]],
  ['operand-range', 'a value beyond its list', [row(), event('cache_cold', 3n)]],
  ['operand-range', 'a bit without a meaning', [event('set_memory', 0n, 1n), more(8n)], {}, 1],
  ['operand-range', 'a CPU that is not there', [row(), event('cpu_up', 2n)]],
  ['operand-range', 'no pages', [row(), event('user_unmap', 0n, 0n), more(1n)]],
  ['modes', 'a privilege', [row(), row({ mode: 3 })]],
  ['modes', 'a bit', [row(), row({ mode: 33 })]],
  ['no-size', 'no bytes', [row(), row({ size: 0 })]],
  ['sizes', 'a wide fetch', [row(), row({ kind: FETCH, size: 65, insns: 1 })]],
  ['sizes', 'a line with fewer bytes', [row(), row({ kind: FETCH, size: 4, insns: 2 })]],
  ['wide-data', 'a wide load', [row(), row({ size: 512 })]],
  ['canonical', 'a gap', [row(), row({ va: 0x8000_0000_0010n })]],
  ['cpus', 'one CPU too many', [row(), row({ cpu: 2 })]],
  ['time', 'backwards', [row({ time: 5n }), row({ time: 4n, cpu: 0 })]],
  ['time', 'backwards beyond a word', [row({ time: 1n << 32n }), row({ time: 7n })]],
  ['page-offset', 'offsets', [row(), row({ va: 0x2010n, pa: 0x6011n })]],
  ['one-pa', 'without an event', [row(), row({ pa: 0x6010n })]],
  [
    'one-pa',
    'after an event elsewhere',
    [row(), event('user_unmap', 0x2000n, 1n), more(1n), row({ pa: 0x6010n })],
    {},
    3,
  ],
  ['pa-node', 'memory that no node has', [row(), row({ va: 0x2010n, pa: 0x20_0010n })]],
  ['phases', 'no end', [row(), event('phase_begin', 7n)]],
  ['phases', 'no begin', [row(), event('phase_end', 7n)]],
  ['phases', 'the end on another CPU', [event('phase_begin', 7n), event('phase_end', 7n, 0n, { cpu: 1 })]],
  ['phase-names', 'no name', [row(), event('phase_begin', 8n), event('phase_end', 8n)]],
];

describe('an invariant', () => {
  it.each(BREAKS)('%s is broken by %s', async (name, _, rows, metadata = {}, at = 1) => {
    const report = await check(rows, { ...METADATA, ...metadata });
    const found = broken(report);
    expect(Object.keys(found)).toEqual([name]);
    expect(report.ok).toBe(['no-size', 'wide-data', 'phase-names'].includes(name));
    expect(found[name].violations).toBe(1);
    expect(found[name].first[0].row).toBe(at === 1 && rows.length === 1 ? 0 : at);
  });

  it('of phases wants them to nest on a CPU, and CPUs do not mind each other', async () => {
    const phases = [7, 8].map((number) => ({ number, name: `${number}` }));
    const rows = (order: [number, bigint, number][]) =>
      order.map(([k, va, cpu]) => row({ kind: k, va, cpu, pa: UNKNOWN, size: 0 }));
    const crossed = await check(rows([[BEGIN, 7n, 0], [BEGIN, 8n, 0], [END, 7n, 0], [END, 8n, 0]]), { ...METADATA, phases }); // prettier-ignore
    expect(broken(crossed).phases).toMatchObject({ violations: 1, first: [{ row: 2, cpu: 0 }] });
    const apart = await check(rows([[BEGIN, 7n, 0], [BEGIN, 8n, 1], [END, 7n, 0], [END, 8n, 1]]), { ...METADATA, phases }); // prettier-ignore
    expect(broken(apart)).toEqual({});
  });

  it('of counts compares the metadata with the rows', async () => {
    const counts = { fetch: 0, load: 2, store: 0, event: 0, insns: 0, unknownPa: 1, mmio: 0 };
    const found = broken(await check([row(), row({ pa: UNKNOWN })], { ...METADATA, counts }));
    expect(found).toEqual({});
    const wrong = broken(await check([row(), row()], { ...METADATA, counts: { ...counts, load: 3 } }));
    expect(wrong.counts.first.map((f) => f.found)).toEqual(['load is 2, the metadata says 3', 'unknownPa is 0, the metadata says 1']); // prettier-ignore
  });

  it.each<[string, Partial<TraceMetadata>]>([
    ['CPUs', { cpus: 3 }],
    ['nodes', { cpuNode: [0, 2] }],
    ['ranges', { nodes: [METADATA.nodes![0], { node: 1, ranges: [{ from: '0xff000', to: '0x200000' }] }] }],
    ['an empty range', { nodes: [METADATA.nodes![0], { node: 1, ranges: [{ from: '0x200000', to: '0x200000' }] }] }],
  ])('of the machine is broken by %s', async (_, metadata) => {
    const found = broken(await check([row()], { ...METADATA, ...metadata }));
    expect(Object.keys(found)).toEqual(['machine']);
  });

  it('of regions lets one lie inside another, not across its border', async () => {
    const region = (name: string, va: string, bytes: number) => ({
      name,
      va,
      bytes,
      pa: null,
      pageSize: null,
      node: null,
    });
    const text = region('text', '0x1000', 0x2000);
    const inner = await check([row()], { ...METADATA, regions: [text, region('init', '0x2000', 0x1000)] });
    expect(broken(inner)).toEqual({});
    const across = await check([row()], { ...METADATA, regions: [text, region('data', '0x2000', 0x2000)] });
    expect(broken(across).regions.violations).toBe(1);
  });
});

describe('a page with another physical address', () => {
  const moved = row({ pa: 0x6010n });

  it.each([
    ['user_map', [event('user_map', 0x1000n, 1n), more(1n, 0x6000n)]],
    ['user_unmap', [event('user_unmap', 0x0n, 2n), more(1n)]],
    ['kmap', [event('kmap', 0x1000n, 1n), more(4096n, 1n)]],
    ['mm_create', [event('mm_create', 1n, 1n)]],
  ])('is allowed after %s', async (_, events) => {
    expect(broken(await check([row(), ...events, moved]))).toEqual({});
  });

  it('is allowed once for each event', async () => {
    const unmap = [event('user_unmap', 0x1000n, 1n), more(1n)];
    const found = broken(await check([row(), ...unmap, moved, row()]));
    expect(found['one-pa']).toMatchObject({ severity: 'error', violations: 1, first: [{ row: 4 }] });
  });

  it('is another page in another address space, machine or regime', async () => {
    expect(broken(await check([row(), { ...moved, asid: 2 }, row()]))).toEqual({});
    expect(broken(await check([row(), { ...moved, mode: 17 }, row()]))).toEqual({});
  });

  it('is a note in a trace without address spaces, unless it says that there is one', async () => {
    const columns = COLUMNS.filter((name) => name !== 'asid');
    const report = await check([row(), moved], METADATA, columns);
    expect(report.ok).toBe(true);
    expect(broken(report)['one-pa']).toMatchObject({ severity: 'note', violations: 1 });
    const single = await check([row(), moved], { ...METADATA, constants: { asid: 0 } }, columns);
    expect(single.ok).toBe(false);
  });

  it('is found in every one of many pages', async () => {
    const columns: ColumnName[] = ['cpu', 'kind', 'va', 'pa', 'asid'];
    const pages = Array.from({ length: 20_000 }, (_, i) => BigInt(i) << 12n);
    const rows = [1n, 2n].flatMap((round) =>
      pages.map((va) => ({ cpu: 0, kind: LOAD, va, pa: va + (round << 40n), asid: 3 })),
    );
    const found = broken(await check(rows, {}, columns));
    // Every page moves once, from round 1 to round 2.
    expect(found['one-pa'].violations).toBe(20_000);
    expect(found['one-pa'].first).toHaveLength(5);
  });
});

describe('accesses outside of all nodes', () => {
  const device = row({ va: 0x2010n, pa: 0xfee0_0010n });

  it('are notes where the metadata does not know of devices, and allowed as often as it does', async () => {
    const report = await check([row(), device], { ...METADATA, counts: {} });
    expect(report.ok).toBe(true);
    expect(broken(report)['pa-node']).toMatchObject({ severity: 'note' });
    expect(broken(await check([device], { ...METADATA, counts: { mmio: 1 } }))).toEqual({});
    expect((await check([device, device], { ...METADATA, counts: { mmio: 1 } })).ok).toBe(false);
  });
});

describe('check', () => {
  it('says what it could not check, and why', async () => {
    const report = await check([{ cpu: 9, kind: LOAD, va: 1n << 60n }], {}, ['cpu', 'kind', 'va']);
    const skipped = report.invariants.filter((finding) => finding.skipped !== null).map(({ name }) => name);
    expect(skipped).toEqual([
      'modes',
      'sizes',
      'no-size',
      'wide-data',
      'canonical',
      'cpus',
      'time',
      'page-offset',
      'one-pa',
      'pa-node',
    ]);
    expect(report.ok).toBe(true);
  });

  it('accepts tags in the top byte of Arm addresses', async () => {
    const arm: Partial<TraceMetadata> = { ...METADATA, arch: 'arm64', paging: { granule: '4K', vaBits: 48 } };
    expect(broken(await check([row({ va: 0xab00_0000_0000_1010n })], arm))).toEqual({});
    expect(Object.keys(broken(await check([row({ va: 0x0001_0000_0000_1010n })], arm)))).toEqual(['canonical']);
  });

  it('has a test for each invariant', () => {
    const tested = new Set([...BREAKS.map(([name]) => name), 'counts', 'machine', 'regions']);
    expect([...tested].sort()).toEqual(Object.keys(INVARIANTS).sort());
  });

  it.each([...traces(SAMPLES), ...traces(`${SAMPLES}kernel-text/`)])('finds nothing broken in %s', async (file) => {
    const report = await checkTrace(file);
    expect(report.invariants.filter((f) => f.severity === 'error' && f.violations > 0)).toEqual([]);
  });

  it.each(SCENARIOS.map(({ name }) => name).filter((name) => name !== 'db-text'))(
    'finds nothing broken in the scenario %s',
    async (name) => {
      await writeScenario(name, {}, path('synth.arrow'));
      const report = await checkTrace(path('synth.arrow'));
      expect(report.invariants.filter((f) => f.severity === 'error' && f.violations > 0)).toEqual([]);
    },
  );
});

describe('the values of an operand', () => {
  it('are read off its description', () => {
    // "area: 0 image, 1 module, 2 vmalloc, 3 linear map, 4 fixmap"; bits 0 to 2 are at most 7.
    const event = (name: string) => EVENTS.find((e) => e.name === name)!;
    expect(largestValue(event('kmap').more![1])).toBe(4);
    expect(largestValue(event('user_prot').more![1])).toBe(7);
    expect(largestValue(event('text_patch').more![0])).toBe(4);
    expect(largestValue(event('s2_fault').more![1])).toBe(2);
    expect(largestValue(event('s2_fault').more![2])).toBe(null);
    expect(largestValue(event('ctx_switch').va!)).toBe(null);
  });
});

function traces(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.arrow'))
    .map((name) => `${folder}${name}`);
}
