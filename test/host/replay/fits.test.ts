// What a trace, its captured tables and a configuration must have in common: what does not fit is refused before anything is replayed.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { resolveConfig } from '../../../host/config/load.js';
import { packageRoot } from '../../../host/paths.js';
import { replayTrace } from '../../../host/replay/replay.js';
import { InputError, UsageError } from '../../../traces/errors.js';
import { metadataWith } from '../../../traces/metadata.js';
import { writeTrace } from '../../../traces/writer.js';
import { scratch } from '../../traces/support.js';

const file = scratch();
const samples = join(packageRoot(), 'traces/samples/kernel-text');
const trace = (name: string) => join(samples, `${name}.arrow`);
const walked = (tables: string, more: object = {}) => ({
  ...more,
  replay: { mapping: 'tables', tables: join(samples, tables) },
});
const refused = (path: string, doc: unknown) => expect(replayTrace(path, [resolveConfig(doc, 'my.yaml')])).rejects;

test.each<[string, string, unknown, RegExp]>([
  [
    'tables of another architecture',
    'x86-64',
    walked('arm64'),
    /granule: 4K, vaBits: 48.*x86-64 with paging\.levels 4/,
  ],
  ['tables of fewer levels', 'x86-64', walked('x86-64', { paging: { levels: 5 } }), /levels: 4 .*paging\.levels 5/],
  [
    'tables of another granule',
    'arm64',
    walked('arm64', { paging: { format: 'arm64', granule: '16K' } }),
    /granule: 4K, .*paging\.granule 16K/,
  ],
  [
    'tables of more address bits',
    'arm64',
    walked('arm64', { paging: { format: 'arm64', vaBits: 39 } }),
    /vaBits: 48 .*paging\.vaBits 39/,
  ],
  ['events of another kernel', 'arm64', { system: { name: 'text-replication' } }, /paging\.format: x86-64 .*is arm64/],
])('%s are refused', async (_, name, doc, message) => {
  await refused(trace(name), doc).toThrow(UsageError);
  await refused(trace(name), doc).toThrow(message);
});

test('a trace without the MMIO records of its capture is refused, as its tables count them', async () => {
  const path = file('dropped.arrow');
  const filters = ['dropped 12 MMIO records'];
  const rows = { rows: 1, cpu: new Uint16Array(1), kind: new Uint8Array(1), va: new BigUint64Array(1) };
  async function* batches() {
    yield rows;
  }
  const metadata = metadataWith({ filters, arch: 'x86-64', cpus: 4, nodes: [] });
  await writeTrace(path, ['cpu', 'kind', 'va'], batches(), () => metadata);
  await refused(path, walked('x86-64')).toThrow(InputError);
  await refused(path, walked('x86-64')).toThrow(/dropped 12 MMIO records; convert the capture without --drop-mmio/);
});

test(
  'no invariant is broken by a captured kernel, whose padding behind the text is writable',
  { timeout: 60_000 },
  async () => {
    const doc = (system: string) => ({
      ...walked('x86-64', { extends: 'haswell-ep', system: { name: system } }),
    });
    const configs = ['none', 'text-replication'].map((name) => {
      const base = doc(name);
      return resolveConfig({ ...base, replay: { ...base.replay, checks: true } }, 'my.yaml');
    });
    for (const summary of await replayTrace(trace('x86-64'), configs)) {
      const checks = summary.checks as Record<string, { violations: number }>;
      expect(checks).toHaveProperty('writable');
      for (const { violations } of Object.values(checks)) expect(violations).toBe(0);
    }
  },
);
