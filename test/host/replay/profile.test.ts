// A profile on its whole way: the core's SPE bytes of a replayed capture, decoded and encoded again, and the perf.data made of them,
// read back by convert: every field of every record, and every row.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { register } from '../../../host/commands/replay.js';
import { packageRoot } from '../../../host/paths.js';
import { convert } from '../../../traces/convert.js';
import { noDamage, SpeDecoder, SpeRecords } from '../../../traces/spe/decode.js';
import { encodeRecord, RECORD_BYTES } from '../../../traces/spe/encode.js';
import { recordAt } from '../../traces/spe/records.js';
import { rowsOf } from '../../traces/support.js';

const KERNEL = join(packageRoot(), 'traces/samples/arm64-kernel.arrow');
const folder = mkdtempSync(join(tmpdir(), 'nodewalk-profile-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Cpu {
  cpu: number;
  spe: { samples: number };
}
let cpus: Cpu[];

const SETS = [
  'paging={ format: arm64 }',
  'replay.mapping=captured',
  'system={ name: spe, spePeriod: 256, speJitter: 7, speBufferBytes: 16K, speGuestBytes: 16M, speKeep: true }',
  // Caches give the records sources, latencies and more events.
  'machine.caches={ l1i: { sets: 64, ways: 4 }, l1d: { sets: 64, ways: 4 }, l2: { sets: 1024, ways: 8 }, llc: { sets: 2048, ways: 16 } }',
];

beforeAll(async () => {
  const program = new Command('nodewalk').exitOverride();
  register(program);
  const sets = SETS.flatMap((set) => ['--set', set]);
  const silent = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, 'write').mockReturnValue(true));
  await program.parseAsync(['replay', KERNEL, ...sets, '-o', folder], { from: 'user' });
  for (const spy of silent) spy.mockRestore();
  cpus = (JSON.parse(readFileSync(join(folder, 'summary.json'), 'utf8')) as { cpus: Cpu[] }).cpus.filter(
    ({ spe }) => spe.samples > 0,
  );
});

const streamOf = (cpu: number) => readFileSync(join(folder, 'spe', `cpu${cpu}.bin`));

it('decodes what the core wrote, and encodes it to the same bytes', () => {
  expect(cpus.length).toBeGreaterThan(0);
  for (const { cpu, spe } of cpus) {
    const stream = streamOf(cpu);
    expect(stream.length).toBe(spe.samples * RECORD_BYTES);
    const again = new DataView(new ArrayBuffer(stream.length));
    const damage = noDamage();
    let count = 0;
    for (const records of new SpeDecoder(new SpeRecords(), damage).decode(stream)) {
      for (let i = 0; i < records.count; i++) encodeRecord(again, RECORD_BYTES * count++, recordAt(records, i));
    }
    expect(damage.faults).toBe(0);
    expect(count).toBe(spe.samples);
    expect(Buffer.from(again.buffer).equals(stream)).toBe(true);
  }
});

it('gives the same rows by the perf.data as by the bytes alone', async () => {
  const direct = join(folder, 'direct.arrow');
  const through = join(folder, 'through.arrow');
  const bins = cpus.map(({ cpu }) => join(folder, 'spe', `cpu${cpu}.bin`));
  await convert(bins, direct, { set: { fetch: 'true' } });
  const { format } = await convert([join(folder, 'spe', 'perf.data')], through, { set: { fetch: 'true' } });
  expect(format).toBe('perf-data');
  const columns = ['cpu', 'kind', 'va', 'pa', 'mode', 'time'] as const;
  const byCpu = async (path: string) => {
    const rows = await rowsOf(path);
    const own = (cpu: number) => rows.filter((row) => row.cpu === cpu);
    return cpus.map(({ cpu }) => own(cpu).map((row) => columns.map((name) => row[name])));
  };
  const rows = await byCpu(through);
  expect(rows).toEqual(await byCpu(direct));
  // A row for every sampled fetch, two for a load or store with its PC.
  expect(rows.flat().length).toBeGreaterThan(cpus.reduce((sum, { spe }) => sum + spe.samples, 0));
});
