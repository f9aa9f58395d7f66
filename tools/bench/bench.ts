// npm run bench: the replay loop against a bare scan of the same columns and against a native C program of the same model. All
// contenders take turns in one run, the best of the rounds counts, and the ratios are what is worth keeping: absolute
// times change with the machine and with what else it does.
//
//   npm run bench -- [TRACE...] [--rows N] [--rounds N] [-o FILE.json]      default: the bundled samples

import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Command } from 'commander';
import { type Batch } from '../../traces/batch.js';
import { resolveConfig } from '../../host/config/load.js';
import { type Config } from '../../host/config/schema.js';
import { counterKeys } from '../../host/core/counters.js';
import { packageRoot, packageVersion } from '../../host/paths.js';
import { Replayer } from '../../host/replay/replayer.js';
import { topologyOf } from '../../host/replay/topology.js';
import { table } from '../../host/table.js';
import { loadColumns } from './columns.js';
import { Native, type NativeResult } from './native.js';

/** Best times in nanoseconds per access. */
interface Times {
  /** The replay loop over columns that are in the core's memory. */
  loopNs: number;
  /** The same with copying the columns there. */
  feedNs: number;
}

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

/** One pass; also the counts of the first lane. */
function replayOnce(columns: Batch, configs: readonly Config[]): Times & { counts: Record<string, number> } {
  const cpusSeen = columns.cpu.reduce((highest, cpu) => Math.max(highest, cpu), 0) + 1;
  const trace = { cpuNode: null, cpus: cpusSeen };
  const source = { path: 'columns', columns: ['cpu', 'kind', 'va'] as const, regions: [] };
  const small = configs.map((config) => ({
    ...config,
    machine: { ...config.machine, cpuNode: Array.from({ length: cpusSeen }, () => 0) },
  }));
  const replayer = new Replayer(
    source,
    small,
    small.map((config) => topologyOf(config, trace)),
  );
  const { core } = replayer;
  const replayRows = core.replayRows;
  let loop = 0;
  core.replayRows = (from, to) => {
    const start = performance.now();
    const stop = replayRows(from, to);
    loop += performance.now() - start;
    return stop;
  };
  const start = performance.now();
  replayer.feed(columns);
  const feed = performance.now() - start;
  const [{ counters }] = replayer.finish();
  const keys = counterKeys(core.Stat);
  const counts: Record<string, number> = {};
  counters.forEach(
    (n, i) => (counts[keys[i % keys.length].key] = (counts[keys[i % keys.length].key] ?? 0) + Number(n)),
  );
  return { loopNs: (loop * 1e6) / columns.rows, feedNs: (feed * 1e6) / columns.rows, counts };
}

const best = <T extends Times>(a: T | null, b: T): T =>
  a ? { ...b, loopNs: Math.min(a.loopNs, b.loopNs), feedNs: Math.min(a.feedNs, b.feedNs) } : b;

async function benchTrace(path: string, limit: number, rounds: number, native: Native | null) {
  const columns = await loadColumns(path, limit);
  await native?.load(columns);
  let c: NativeResult | null = null;
  let lane: ReturnType<typeof replayOnce> | null = null;
  let lanes: ReturnType<typeof replayOnce> | null = null;
  for (let round = 0; round < rounds; round++) {
    const now = await native?.measure(columns.rows);
    if (now) {
      const least = (key: 'scanNs' | 'everyNs' | 'changedNs') => Math.min(now[key], c?.[key] ?? Infinity);
      c = { ...now, scanNs: least('scanNs'), everyNs: least('everyNs'), changedNs: least('changedNs') };
    }
    lane = best(lane, replayOnce(columns, one));
    lanes = best(lanes, replayOnce(columns, sixteen));
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

async function main(traces: string[], options: { rows: string; rounds: string; output: string }): Promise<void> {
  const native = await Native.build();
  if (!native) process.stderr.write('no C compiler found: the native program is left out\n');
  const results = [];
  for (const trace of traces.length ? traces : SAMPLES)
    results.push(await benchTrace(trace, Number(options.rows), Number(options.rounds), native));
  await native?.remove();
  const head = [
    'trace',
    'rows',
    'scan ns',
    'native C ns',
    'one lane ns',
    'with copy ns',
    '16 lanes ns',
    'speed of C',
    '16 lanes / 1',
  ];
  process.stdout.write(
    table(
      head.map((name, i) => ({ name, align: i ? 'right' : 'left' })),
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
    ),
  );
  mkdirSync(dirname(options.output), { recursive: true });
  const document = { version: packageVersion(), node: process.version, cpu: cpus()[0]?.model ?? 'unknown', results };
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
