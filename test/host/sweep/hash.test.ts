import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { resolveConfig } from '../../../host/config/load.js';
import { canonicalJson, cellHash, hashFolder } from '../../../host/sweep/hash.js';
import { temporaryFolder } from './support.js';

describe('canonical JSON', () => {
  it('sorts keys at every depth and keeps the order of lists', () => {
    expect(canonicalJson({ b: [2, { d: null, c: 'x' }], a: 1 })).toBe('{"a":1,"b":[2,{"c":"x","d":null}]}');
  });

  it('leaves out what JSON has no value for', () => {
    expect(canonicalJson({ a: undefined, b: 1 })).toBe('{"b":1}');
  });
});

describe('the hash of a cell', () => {
  const config = resolveConfig({}, 'test');

  it('does not depend on the order of keys', () => {
    const backwards = Object.fromEntries(Object.entries(config).reverse());
    expect(cellHash('00', backwards)).toBe(cellHash('00', config));
  });

  it('survives a round trip through a summary file', () => {
    expect(cellHash('00', JSON.parse(JSON.stringify(config)))).toBe(cellHash('00', config));
  });

  it('changes with the trace and with any key of the configuration', () => {
    const hashes = [
      cellHash('00', config),
      cellHash('01', config),
      cellHash('00', resolveConfig({ machine: { tlb: { l2: { ways: 13 } } } }, 'test')),
      cellHash('00', resolveConfig({ replay: { warmup: 1 } }, 'test')),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});

describe('the hash of a folder of tables', () => {
  it('changes with contents and with names, at any depth', () => {
    const folder = join(temporaryFolder(), 'tables');
    mkdirSync(join(folder, 'snap1'), { recursive: true });
    writeFileSync(join(folder, 'registers.json'), '{}');
    writeFileSync(join(folder, 'snap1/pages'), 'a');
    const hashes = [hashFolder(folder)];
    writeFileSync(join(folder, 'snap1/pages'), 'b');
    hashes.push(hashFolder(folder));
    renameSync(join(folder, 'snap1/pages'), join(folder, 'snap1/tables'));
    hashes.push(hashFolder(folder));
    expect(new Set(hashes).size).toBe(3);
    expect(hashFolder(folder)).toBe(hashes[2]);
    expect(() => hashFolder(join(folder, 'none'))).toThrow(
      /none: expected a folder with page tables, found no such file/,
    );
  });

  it('is part of the hash of a cell that walks them', () => {
    expect(new Set([cellHash('00', {}), cellHash('00', {}, 'a'), cellHash('00', {}, 'b')]).size).toBe(3);
  });
});
