// Files, presets, --set, and the errors that name where something is wrong.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadConfig, resolveConfig } from '../../../host/config/load.js';
import { UsageError } from '../../../traces/errors.js';

const folder = mkdtempSync(join(tmpdir(), 'nodewalk-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const file = (name: string, text: string) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const sets = (...list: string[]) => loadConfig({ sets: list }).config;

describe('sources', () => {
  test('without one it is generic', () => {
    const { config, origin } = loadConfig();
    expect(origin).toBe('generic');
    expect(config).toEqual({ ...resolveConfig({}, 'nothing'), extends: 'generic' });
  });

  test('a preset is a document that extends it', () => {
    expect(loadConfig({ source: 'spr-8480' }).config).toEqual(resolveConfig({ extends: 'spr-8480' }, 'same'));
  });

  test('YAML and JSON, also with tabs, give the same', () => {
    const yaml = file('a.yaml', 'extends: haswell-ep\nmachine: { cpi: 0.5 }\n');
    const json = file('a.json', '{\n\t"extends": "haswell-ep",\n\t"machine": {\n\t\t"cpi": 0.5\n\t}\n}');
    expect(loadConfig({ source: json }).config).toEqual(loadConfig({ source: yaml }).config);
  });

  test('an empty file changes nothing', () => {
    expect(loadConfig({ source: file('empty.yaml', '# nothing\n') }).config).toEqual(resolveConfig({}, 'nothing'));
  });

  test('addresses in a file keep all their digits', () => {
    const path = file('rule.yaml', 'paging: { pageSize: { rules: [{ from: 0xffffffff81234567, size: 2M }] } }');
    expect(loadConfig({ source: path }).config.paging.pageSize.rules[0].from).toBe('0xffffffff81234567');
  });
});

describe('--set', () => {
  test('reads its value as YAML and overrides any key', () => {
    expect(sets('machine.tlb.l2.ways=16').machine.tlb.l2).toEqual([{ sets: 128, ways: 16, pages: null }]);
    expect(sets('machine.tlb.l2=null').machine.tlb.l2).toBeNull();
    expect(sets('memory.tables={ node: 1 }').memory.tables).toEqual({ node: 1 });
    expect(sets('machine.cpuNode=[0, 1]').machine.cpuNode).toEqual([0, 1]);
    expect(sets('extends=mitosis-4s').machine.nodes).toBe(4);
  });

  test('a number in the path is an index', () => {
    const { config } = loadConfig({
      source: 'haswell-ep',
      sets: ['machine.tlb.l1d.1.ways=16', 'machine.tlb.l2.0.ways=3'],
    });
    expect(config.machine.tlb.l1d.map(({ ways }) => ways)).toEqual([4, 16, 4]);
    expect(config.machine.tlb.l2).toEqual([{ sets: 128, ways: 3, pages: ['4K', '2M'] }]);
    expect(() => sets('machine.tlb.l2.1.ways=3')).toThrow(/machine\.tlb\.l2\.1: the list .* has 1 elements/);
  });

  test('each is a layer: the later one wins', () => {
    expect(sets('machine.cpi=2', 'machine.cpi=3').machine.cpi).toBe(3);
    expect(sets('machine.cpuNode=[0, 1]', 'machine.nodes=1').machine).toMatchObject({ cpuNode: null, nodes: 1 });
  });

  test('null removes a second stage', () => {
    const source = file('nested.yaml', 'paging: { stage2: { format: ept, levels: 5 } }');
    expect(loadConfig({ source }).config.paging.stage2).toEqual({ format: 'ept', levels: 5, pageSize: '4K' });
    const { paging, machine } = loadConfig({ source, sets: ['paging.stage2=null'] }).config;
    expect([paging.stage2, machine.walkCaches.ipa]).toEqual([null, 0]);
  });

  test('the format and the topology may come in any order with the keys that depend on them', () => {
    expect(sets('paging.granule=16K', 'paging.format=arm64').paging).toMatchObject({ format: 'arm64', granule: '16K' });
    const stage2 = { format: 'arm64', granule: '4K', ipaBits: 44, pageSize: '4K' };
    expect(sets('paging.stage2.ipaBits=44', 'paging.stage2.format=arm64').paging.stage2).toEqual(stage2);
    expect(sets('paging.stage2.ipaBits=44', 'paging.format=arm64').paging.stage2).toEqual(stage2);
    expect(sets('machine.topology=trace', 'machine.nodes=2').machine).toMatchObject({ topology: 'trace', nodes: 2 });
  });

  test.each(['machine.cpi', '=3', 'machine..cpi=3', 'machine.=3'])('%s is not an override', (set) => {
    expect(() => sets(set)).toThrow(/expected KEY=VALUE/);
  });

  test('has no path into the prototypes of objects', () => {
    expect(() => sets('__proto__.cpi=3')).toThrow(/__proto__: unknown key/);
    expect(() => sets('machine.constructor.prototype.cpi=3')).toThrow(/machine\.constructor: unknown key/);
    expect(({} as Record<string, unknown>).cpi).toBeUndefined();
  });

  test('is named by its errors, as is the file', () => {
    const source = file('named.yaml', 'machine:\n  nodes: 2\n');
    expect(() => loadConfig({ source, sets: ['machine.cpi=x'] })).toThrow(/^--set machine\.cpi=x: machine\.cpi: /);
    expect(() => loadConfig({ source: file('bad.yaml', 'machine: { cpi: x }'), sets: ['machine.nodes=2'] })).toThrow(
      /bad\.yaml: machine\.cpi: expected a number/,
    );
  });
});

describe('unknown names', () => {
  test.each([
    [{ machin: {} }, /my\.yaml: machin: unknown key; did you mean machine\?/],
    [
      { machine: { tlb: { l2: { wayz: 1 } } } },
      /machine\.tlb\.l2\.wayz: unknown key; did you mean machine\.tlb\.l2\.ways\?/,
    ],
    [
      { machine: { tlb: { l2: [{ sets: 1, ways: 1, page: [] }] } } },
      /l2\.0\.page: unknown key; did you mean .*pages\?/,
    ],
    [{ tlb: {} }, /tlb: unknown key; did you mean machine\.tlb\?/],
    [{ paging: { granul: '4K' } }, /paging\.granul: unknown key; did you mean paging\.granule\?/],
    [{ memory: { tables: 'interleaved' } }, /memory\.tables: .*did you mean interleave\?/],
    [{ paging: { pageSize: '4k' } }, /paging\.pageSize: .*did you mean 4K\?/],
    [{ paging: { format: 'arm' } }, /paging\.format: expected x86-64 or arm64, found "arm"/],
    [{ extends: 'haswell' }, /unknown preset haswell; did you mean haswell-ep\?/],
    [{ extends: 3 }, /extends: expected the name of a preset, found 3/],
    [{ constructor: 1 }, /constructor: unknown key/],
  ])('%o', (doc, message) => {
    expect(() => resolveConfig(doc, 'my.yaml')).toThrow(message);
  });

  test('an unknown key counts even where a later layer replaces what holds it', () => {
    const source = file('hidden.yaml', 'machine: { tlb: { l2: { sest: 4 } } }');
    expect(() => loadConfig({ source, sets: ['machine.tlb.l2=null'] })).toThrow(/hidden\.yaml: machine\.tlb\.l2\.sest/);
  });

  test('a source that is neither preset nor file', () => {
    expect(() => loadConfig({ source: 'epyc' })).toThrow(/"epyc", which is neither; did you mean epyc-7713\?/);
  });

  test('several problems are all reported', () => {
    expect(() => resolveConfig({ a: 1, machine: { b: 2 } }, 'my.yaml')).toThrow(
      /a: unknown key.*\n.*machine\.b: unknown key/,
    );
  });
});

describe('text that is no document', () => {
  test.each([
    ['machine:\n  nodes: [1\n', /line 3, column 1: /],
    ['machine:\n  cpi: 1\n  cpi: 2\n', /line 3, column 3: Map keys must be unique/],
    ['machine: *nowhere\n', /nowhere/],
    ['- machine\n', /expected an object of configuration keys, found \["machine"\]/],
  ])('%j', (text, message) => {
    const source = file('broken.yaml', text);
    expect(() => loadConfig({ source })).toThrow(UsageError);
    expect(() => loadConfig({ source })).toThrow(message);
    expect(() => loadConfig({ source })).toThrow(/broken\.yaml/);
  });

  test('a folder', () => {
    expect(() => loadConfig({ source: folder })).toThrow(/expected a YAML or JSON file, found a folder/);
  });
});
