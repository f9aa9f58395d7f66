// npm run bench: the replay loop against a bare scan of the same columns and against native C programs of the same model, without
// and with line caches. All contenders take turns in one run, the best of the rounds counts, and the ratios are what is worth keeping: absolute
// times change with the machine and with what else it does.
//
//   npm run bench -- [TRACE...] [--rows N] [--rounds N] [-o FILE.json]      default: the bundled samples

import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Command } from 'commander';
import { type Batch } from '../../traces/batch.js';
import { metadataWith } from '../../traces/metadata.js';
import { resolveConfig } from '../../host/config/load.js';
import { type Config } from '../../host/config/schema.js';
import { packageRoot, packageVersion } from '../../host/paths.js';
import { topologyOf } from '../../host/replay/topology.js';
import { table } from '../../host/table.js';
import { NativeCaches } from './caches.js';
import { loadColumns, TLB_COLUMNS } from './columns.js';
import { best, type Pass, replayOnce } from './lane.js';
import { Native, type NativeResult } from './native.js';
import { benchCaches } from './withCaches.js';

const SAMPLES = ['x86-64-kernel', 'arm64-kernel', 'sqlite'].map((name) =>
  join(packageRoot(), 'traces/samples', `${name}.arrow`),
);

/** What native.c models. */
const machine = (paging: string) => ({
  paging: { format: paging },
  machine: { cpuNode: Array.from({ length: 256 }, () => 0) },
});

/** Sixteen machines that differ in what people sweep: TLB ways, second-level sets, walk caches. */
const variants = Array.from({ length: 16 }, (_, i) => ({
  l1d: { sets: 16 << (i & 1), ways: 4 },
  l2: { sets: 64 << (i & 3), ways: 8 + 4 * ((i >> 2) & 1) },
  pde: 8 << (i >> 3),
}));

const one = [resolveConfig(machine('x86-64'), 'bench')];
const sixteen = variants.map(({ l1d, l2, pde }) => {
  const { paging, machine: shape } = machine('x86-64');
  return resolveConfig({ paging, machine: { ...shape, tlb: { l1d, l2 }, walkCaches: { pde } } }, 'bench');
});

/** One pass on machines of one node that have the trace's CPUs. */
function passOf(columns: Batch, configs: readonly Config[]): Pass {
  const cpusSeen = columns.cpu.reduce((highest, cpu) => Math.max(highest, cpu), 0) + 1;
  const small = configs.map((config) => ({
    ...config,
    machine: { ...config.machine, cpuNode: Array.from({ length: cpusSeen }, () => 0) },
  }));
  const topologies = small.map((config) => topologyOf(config, { cpuNode: null, cpus: cpusSeen }));
  return replayOnce(columns, { ...metadataWith(), path: 'columns', columns: TLB_COLUMNS }, small, topologies);
}

async function benchTrace(path: string, limit: number, rounds: number, native: Native | null) {
  const { columns } = await loadColumns(path, limit, TLB_COLUMNS);
  await native?.load(columns);
  let c: NativeResult | null = null;
  let lane: Pass | null = null;
  let lanes: Pass | null = null;
  for (let round = 0; round < rounds; round++) {
    const now = await native?.measure(columns.rows);
    if (now) {
      const least = (key: 'scanNs' | 'everyNs' | 'changedNs') => Math.min(now[key], c?.[key] ?? Infinity);
      c = { ...now, scanNs: least('scanNs'), everyNs: least('everyNs'), changedNs: least('changedNs') };
    }
    lane = best(lane, passOf(columns, one));
    lanes = best(lanes, passOf(columns, sixteen));
    process.stderr.write(`${basename(path)}: round ${round + 1} of ${rounds}\n`);
  }
  const { counts, loopNs, feedNs } = lane!;
  if (c) {
    const mine = {
      l1iMiss: counts['tlb.l1i.miss'],
      l1dMiss: counts['tlb.l1d.miss'],
      walks: counts['walk.count'],
      refs: counts['walk.refs'],
    };
    for (const [key, n] of Object.entries(mine)) {
      if (n !== c[key as keyof NativeResult])
        throw new Error(`${path}: ${key} is ${n}, in C ${c[key as keyof NativeResult]}`);
    }
  }
  const nativeNs = c ? Math.min(c.everyNs, c.changedNs) : null;
  return {
    trace: basename(path),
    rows: columns.rows,
    loopNs,
    feedNs,
    sixteenLanesNs: lanes!.loopNs,
    scanNs: c?.scanNs ?? null,
    nativeNs,
    ratios: {
      /** Speed relative to the native program: 1 is as fast. */
      speedOfNative: nativeNs && nativeNs / loopNs,
      timesScan: c && loopNs / c.scanNs,
      sixteenLanesTimesOne: lanes!.loopNs / loopNs,
    },
  };
}

/** Writes a table whose first column is a name. */
function print(head: string[], rows: Parameters<typeof table>[1]): void {
  process.stdout.write(
    table(
      head.map((name, i) => ({ name, align: i ? 'right' : 'left' })),
      rows,
    ),
  );
}

async function main(traces: string[], options: { rows: string; rounds: string; output: string }): Promise<void> {
  const paths = traces.length ? traces : SAMPLES;
  const [rows, rounds] = [Number(options.rows), Number(options.rounds)];
  const native = await Native.build();
  if (!native) process.stderr.write('no C compiler found: the native programs are left out\n');
  const results = [];
  for (const path of paths) results.push(await benchTrace(path, rows, rounds, native));
  await native?.remove();
  print(
    [
      'trace',
      'rows',
      'scan ns',
      'native C ns',
      'one lane ns',
      'with copy ns',
      '16 lanes ns',
      'speed of C',
      '16 lanes / 1',
    ],
    results.map((r) => [
      r.trace,
      r.rows,
      r.scanNs,
      r.nativeNs,
      r.loopNs,
      r.feedNs,
      r.sixteenLanesNs,
      r.ratios.speedOfNative,
      r.ratios.sixteenLanesTimesOne,
    ]),
  );
  const nativeCaches = await NativeCaches.build();
  const withCaches = [];
  for (const path of paths) withCaches.push(...(await benchCaches(path, rows, rounds, nativeCaches)));
  await nativeCaches?.remove();
  process.stdout.write('\nwith line caches\n');
  print(
    ['trace', 'mapping', 'rows', 'native C ns', 'one lane ns', 'speed of C', 'equal counters'],
    withCaches.map((r) => [r.trace, r.mapping, r.rows, r.nativeNs, r.loopNs, r.speedOfNative, r.equalCounters]),
  );
  mkdirSync(dirname(options.output), { recursive: true });
  const document = {
    version: packageVersion(),
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
    results,
    withCaches,
  };
  writeFileSync(options.output, `${JSON.stringify(document, null, 2)}\n`);
  process.stderr.write(`wrote ${options.output}\n`);
}

await new Command('bench')
  .argument('[traces...]', 'traces to replay (default: the bundled samples)')
  .option('--rows <n>', 'rows of each trace', '20000000')
  .option('--rounds <n>', 'rounds; the best one counts', '5')
  .option('-o, --output <file>', 'where the figures are kept', 'bench-results/bench.json')
  .action(main)
  .parseAsync();
