// Captures of DynamoRIO against that tool's own counts, when they are there: what basic_counts counts, and what its TLB
// simulator makes of it, as a user would convert and replay them.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { resolveConfig } from '../../host/config/load.js';
import { replayTrace } from '../../host/replay/replay.js';
import { FETCH, type Batch } from '../../traces/batch.js';
import { checkTrace } from '../../traces/check/check.js';
import { convert, type Converted } from '../../traces/convert.js';
import { metadataWith } from '../../traces/metadata.js';
import { TraceReader } from '../../traces/reader.js';
import { unzip } from '../../traces/unpack/zip.js';
import { writeTrace } from '../../traces/writer.js';

const data = new URL('../../../shared/data/formats/', import.meta.url).pathname;
const SETS = ['drmemtrace-ls', 'drmemtrace-true-physical', 'drmemtrace-xz-threads'];
const present = existsSync(join(data, SETS[0]));
const directory = mkdtempSync(join(tmpdir(), 'nodewalk-drmemtrace-'));
afterAll(() => rmSync(directory, { recursive: true }));
const trace = join(directory, 'trace.arrow');

/** What basic_counts calls the counts of convert. */
const NAMES: Readonly<Record<string, string>> = {
  fetch: '(fetched) instructions',
  noFetch: 'non-fetched instructions',
  prefetches: 'prefetches',
  load: 'data loads',
  store: 'data stores',
  instructionFlushes: 'icache flushes',
  dataFlushes: 'dcache flushes',
  timestampsAndCpuIds: 'timestamp + cpuid markers',
  idleMarkers: 'idle markers',
  waitMarkers: 'wait markers',
  kernelTransfers: 'kernel transfer markers',
  functionIds: 'function id markers',
  functionReturnAddresses: 'function return address markers',
  functionArguments: 'function argument markers',
  functionReturnValues: 'function return value markers',
  physicalPairs: 'physical address + virtual address marker pairs',
  physicalUnavailable: 'physical address unavailable markers',
  systemCalls: 'system call number markers',
  blockingSystemCalls: 'blocking system call markers',
  skippedMemrefs: 'skipped memref markers',
  otherMarkers: 'other markers',
  encodings: 'encodings',
};

/** The counts of basic_counts by what they are called, "total" or of a thread. */
function basicCounts(set: string): Map<string, Record<string, number>> {
  const sections = new Map<string, Record<string, number>>();
  let section: Record<string, number> = {};
  for (const line of readFileSync(join(data, set, 'basic_counts.txt'), 'utf8').split('\n')) {
    const title = /^(?:Thread (\d+)|(Total)) counts:/.exec(line);
    if (title) sections.set(title[1] ?? 'total', (section = {}));
    const count = /^ +(\d+) (?:total )?(?:(unique) )?(.*)$/.exec(line);
    if (count) section[count[2] ? 'unique' : count[3]] = Number(count[1]);
  }
  return sections;
}

/** Hits and misses of its simulator, in the order in which it prints them. */
function tlbCounts(set: string): number[][] {
  const text = readFileSync(join(data, set, 'tlb.txt'), 'utf8');
  const all = (what: string) => [...text.matchAll(new RegExp(`^ +${what}: +(\\d+)$`, 'gm'))].map((m) => Number(m[1]));
  return all('Hits').map((hits, i) => [hits, all('Misses')[i]]);
}

/** Distinct addresses of fetches, of all threads and of each. */
async function uniqueFetches(): Promise<Map<string, number>> {
  const seen = new Map<string, Set<number>>([['total', new Set()]]);
  const reader = await TraceReader.open(trace);
  for await (const { rows, kind, va, tid } of reader.batches()) {
    const words = new Uint32Array(va.buffer, va.byteOffset, 2 * rows);
    for (let row = 0; row < rows; row++) {
      if (kind[row] !== FETCH) continue;
      const thread = String(tid![row]);
      if (!seen.has(thread)) seen.set(thread, new Set());
      const address = words[2 * row + 1] * 2 ** 32 + words[2 * row];
      seen.get('total')!.add(address);
      seen.get(thread)!.add(address);
    }
  }
  await reader.close();
  return new Map([...seen].map(([thread, addresses]) => [thread, addresses.size]));
}

/** Its simulator's TLBs: 128 entries in 8 ways, 64 in 4, 1536 in 12; one core. */
async function replayed(): Promise<number[][]> {
  const config = {
    machine: {
      cpuNode: [0],
      tlb: { l1i: { sets: 16, ways: 8 }, l1d: { sets: 16, ways: 4 }, l2: { sets: 128, ways: 12 } },
    },
    replay: { splitPages: true },
  };
  const [summary] = await replayTrace(trace, [resolveConfig(config, 'dynamorio')]);
  const { l1i, l1d, l2 } = summary.totals.tlb;
  return [l1i, l1d, l2].map((level) => [level!.hit, level!.miss]);
}

/** All threads on one CPU, as the simulator has them. */
const onOneCpu = (path: string, output: string): Promise<Converted> =>
  convert([path], output, { set: { cpu: 'thread' }, meta: { cpus: 1 } });

describe.skipIf(!present)("DynamoRIO's own counts", () => {
  it.each(SETS)('are those of %s', async (set) => {
    const { metadata } = await convert([join(data, set)], trace);
    const expected = basicCounts(set);
    const unique = await uniqueFetches();
    for (const [name, its] of Object.entries(NAMES)) {
      // A line that an older basic_counts does not print counts nothing.
      expect(metadata.counts[name] ?? 0, name).toBe(expected.get('total')![its] ?? 0);
    }
    expect(unique).toEqual(new Map([...expected].map(([section, counts]) => [section, counts.unique])));
    expect(unique.size - 1).toBe(expected.get('total')!['threads']);
    expect(await checkTrace(trace)).toMatchObject({ ok: true });
  });

  it.each(SETS.slice(0, 2))('of TLBs are those of %s', async (set) => {
    await onOneCpu(join(data, set), trace);
    expect(await replayed()).toEqual(tlbCounts(set));
  });

  it('of TLBs are those of threads that take turns as its scheduler lets them', async () => {
    const set = SETS[2];
    const folder = join(data, set, 'trace');
    const files = readdirSync(folder).filter((name) => name.endsWith('.trace.zip'));
    const threads: Thread[] = [];
    for (const name of files) {
      const output = join(directory, `${name}.arrow`);
      await onOneCpu(join(folder, name), output);
      threads.push({ output, ...(await turnsOf(join(folder, name))) });
    }
    const reader = await TraceReader.open(threads[0].output);
    await writeTrace(trace, reader.columns, scheduled(threads), async () => metadataWith());
    await reader.close();
    expect(await replayed()).toEqual(tlbCounts(set));
  });
});

/** A converted thread: the rows at which it gives up the core, and the times from which it runs. */
interface Thread {
  output: string;
  ends: number[];
  starts: number[];
}

/** Microseconds of a blocking system call for which DynamoRIO's scheduler gives the core away (sched_blocking_switch_us). */
const SWITCH_US = 500;

/** Where a thread waits long in a system call that may block, found in its records. */
async function turnsOf(file: string): Promise<{ ends: number[]; starts: number[] }> {
  const [ends, starts]: number[][] = [[], []];
  let [rows, time, blocks] = [0, 0, false];
  const bytes: Uint8Array[] = [];
  for await (const piece of unzip(
    file,
    () => {},
    () => {},
  )) {
    bytes.push(piece);
  }
  const records = Buffer.concat(bytes);
  for (let at = 0; at < records.length; at += 12) {
    const type = records.readUInt16LE(at);
    const marker = type === 28 ? records.readUInt16LE(at + 2) : -1;
    if (type <= 1 || (type >= 10 && type <= 16) || type === 31 || type === 48 || type === 49) rows++;
    if (marker === 26) blocks = true;
    if (marker !== 2) continue;
    const now = Number(records.readBigUInt64LE(at + 4));
    if (starts.length === 0) starts.push(now);
    else if (blocks && now - time >= SWITCH_US) {
      ends.push(rows);
      starts.push(now);
    }
    [time, blocks] = [now, false];
  }
  ends.push(rows);
  return { ends, starts };
}

/** The threads' rows: the thread that could run earliest runs until it waits, and another one after it. */
async function* scheduled(threads: readonly Thread[]): AsyncGenerator<Batch> {
  const turns = threads.map(() => 0);
  const runnable = (thread: number) => turns[thread] < threads[thread].ends.length;
  for (let last = -1; ;) {
    const ready = threads.map((_, i) => i).filter(runnable);
    if (ready.length === 0) return;
    const others = ready.filter((i) => i !== last);
    const start = (i: number) => threads[i].starts[turns[i]];
    last = (others.length ? others : ready).reduce((a, b) => (start(b) < start(a) ? b : a));
    const { output, ends } = threads[last];
    const turn = turns[last]++;
    const reader = await TraceReader.open(output);
    yield* reader.batches({ from: turn === 0 ? 0 : ends[turn - 1], to: ends[turn] });
    await reader.close();
  }
}
