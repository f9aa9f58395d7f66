// The machines that ship with the package.
import { describe, expect, test } from 'vitest';
import { Command } from 'commander';
import { parse } from 'yaml';
import { register } from '../../../host/commands/presets.js';
import { loadConfig, resolveConfig } from '../../../host/config/load.js';
import { presetNames } from '../../../host/config/presets.js';

const entries = (arrays: { sets: number; ways: number }[] | null) => arrays?.map(({ sets, ways }) => sets * ways);

test.each(presetNames())('%s resolves, takes the topology of the trace and resolves to itself', (name) => {
  const { config } = loadConfig({ source: name });
  expect(config.machine.topology).toBe('trace');
  expect(resolveConfig(config, name)).toEqual(config);
});

test('geometries have the entries that the manuals name', () => {
  const tlb = (source: string) => {
    const { l1i, l1d, l2 } = loadConfig({ source }).config.machine.tlb;
    return { l1i: entries(l1i), l1d: entries(l1d), l2: entries(l2) };
  };
  expect(tlb('generic')).toEqual({ l1i: [128], l1d: [64], l2: [1536] });
  expect(tlb('haswell-ep')).toEqual({ l1i: [128, 8], l1d: [64, 32, 4], l2: [1024] });
  expect(tlb('mitosis-4s')).toEqual(tlb('haswell-ep'));
  expect(tlb('broadwell-ep')).toEqual({ l1i: [128, 8], l1d: [64, 32, 4], l2: [1536, 16] });
  expect(tlb('spr-8480')).toEqual({ l1i: [256, 32], l1d: [96, 32, 8], l2: [2048, 1024] });
  expect(tlb('neoverse-n1')).toEqual({ l1i: [48], l1d: [48], l2: [1280] });
  expect(tlb('neoverse-v1')).toEqual({ l1i: [48], l1d: [44], l2: [2048] });
  expect(tlb('epyc-7713')).toEqual({ l1i: [64], l1d: [64], l2: [2048] });
});

test('line caches have the sizes that the manuals name', () => {
  const K = 1024;
  const M = 1024 * K;
  const bytes = (source: string) => {
    const { caches } = loadConfig({ source }).config.machine;
    return caches && [caches.l1i, caches.l1d, caches.l2!, caches.llc!].map(({ sets, ways }) => sets * ways * 64);
  };
  expect(bytes('generic')).toBeNull();
  expect(bytes('haswell-ep')).toEqual([32 * K, 32 * K, 256 * K, 30 * M]);
  expect(bytes('broadwell-ep')).toEqual([32 * K, 32 * K, 256 * K, 14 * 2.5 * M]);
  expect(bytes('mitosis-4s')).toEqual([32 * K, 32 * K, 256 * K, 14 * 2.5 * M]);
  expect(bytes('spr-8480')).toEqual([32 * K, 48 * K, 2 * M, 56 * 1.875 * M]);
  expect(bytes('neoverse-n1')).toEqual([64 * K, 64 * K, M, 32 * M]);
  expect(bytes('neoverse-v1')).toEqual([64 * K, 64 * K, M, 32 * M]);
  expect(bytes('epyc-7713')).toEqual([32 * K, 32 * K, 512 * K, 32 * M]);
});

test('Intel holds lines of both sockets, inclusively up to Broadwell, EPYC by eight cores, Altra only its own memory', () => {
  const rules = (source: string) => {
    const { llc, walks } = loadConfig({ source }).config.machine.caches!;
    return [llc!.inclusive, llc!.remoteCacheable, llc!.cpus, walks];
  };
  expect(rules('haswell-ep')).toEqual([true, true, null, 'l1d']);
  expect(rules('broadwell-ep')).toEqual([true, true, null, 'l1d']);
  expect(rules('mitosis-4s')).toEqual([true, true, null, 'l1d']);
  expect(rules('spr-8480')).toEqual([false, true, null, 'l1d']);
  expect(rules('epyc-7713')).toEqual([false, true, 8, 'l1d']);
  expect(rules('neoverse-n1')).toEqual([false, false, null, 'l2']);
  expect(rules('neoverse-v1')).toEqual([false, false, null, 'l2']);
});

test('the latencies of mitosis-4s are 280 and 580 cycles', () => {
  const { clockGHz, latency } = loadConfig({ source: 'mitosis-4s' }).config.machine;
  expect([latency.localNs, latency.remoteNs].map((ns) => Math.round(ns * clockGHz))).toEqual([280, 580]);
});

describe('nodewalk presets', () => {
  const run = (...args: string[]) => {
    const program = new Command().exitOverride();
    register(program);
    const written: string[] = [];
    const write = process.stdout.write;
    process.stdout.write = (text: string | Uint8Array) => written.push(String(text)) > 0;
    try {
      program.parse(['presets', ...args], { from: 'user' });
    } finally {
      process.stdout.write = write;
    }
    return written.join('');
  };

  test('lists every preset with its machine', () => {
    for (const name of presetNames()) expect(run()).toMatch(new RegExp(`^${name} +\\S`, 'm'));
    const list = JSON.parse(run('--json')) as { name: string; summary: string }[];
    expect(list.map(({ name }) => name)).toEqual(presetNames());
    expect(list.every(({ summary }) => summary.length > 10)).toBe(true);
  });

  test('prints one as YAML or JSON that resolves to the same machine', () => {
    const { config } = loadConfig({ source: 'epyc-7713' });
    expect(parse(run('epyc-7713'))).toEqual(config);
    expect(JSON.parse(run('epyc-7713', '--json'))).toEqual(config);
  });

  test('names the nearest preset', () => {
    expect(() => run('neoverse-n2')).toThrow(/unknown preset neoverse-n2; did you mean neoverse-[nv]1\?/);
  });
});
