// Replays one trace for any number of configurations in one pass.

import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { type ColumnName } from '../../traces/batch.js';
import { InputError, NodewalkError, UsageError } from '../../traces/errors.js';
import { TraceReader } from '../../traces/reader.js';
import { type Core } from '../core/instance.js';
import { passKey } from '../config/replaying.js';
import { formatName } from '../config/contradictions.js';
import { PAGE_SHIFTS } from '../config/paging.js';
import { type Config } from '../config/schema.js';
import { type CapturedTables, openCapturedTables } from '../tables/captured.js';
import { type Summary, SUMMARY_SCHEMA } from '../results/summary.js';
import { packageVersion } from '../paths.js';
import { isEventful } from './kernel.js';
import { machineBytes } from './machine.js';
import { isSearch, searchSeeds } from './search.js';
import { type LaneResult, MOST_KEPT_BYTES, replayedColumns, Replayer } from './replayer.js';
import { bufferBytes } from './spe.js';
import { summarizeLane } from './summarize.js';
import { type Topology, topologyOf } from './topology.js';

export interface ReplayOptions {
  /** SHA-256 of the trace where it is known. */
  sha256?: string | null;
  /** Called with the rows of the trace replayed so far, all its rows, and rows replayed again besides. */
  onProgress?: (done: number, rows: number, repeated: number) => void;
  signal?: AbortSignal;
  /** Bytes of a phase's rows that are kept to replay them again; longer phases are read again. */
  keptBytes?: number;
  /** Takes what the guests of a configuration (by number) with system.speKeep have read, CPU by CPU, in order. */
  onSpeBytes?: (config: number, cpu: number, bytes: Uint8Array) => void;
}

/** What is known of a trace before its rows are read. */
export type TraceFacts = Readonly<Pick<TraceReader, 'path' | 'metadata'>> & { readonly columns: readonly ColumnName[] };

/** A configuration with its machine, and where its results go. */
interface Cell {
  config: Config;
  topology: Topology;
  index: number;
}

/** One summary per configuration, in their order; `run.workers` is 1. */
export async function replayTrace(
  path: string,
  configs: readonly Config[],
  options: ReplayOptions = {},
): Promise<Summary[]> {
  let passed = 0;
  const replay = async (some: readonly Config[]): Promise<Summary[]> => {
    const before = passed;
    const onProgress: ReplayOptions['onProgress'] = (done, rows, repeated) => {
      passed = before + rows;
      options.onProgress?.(done, rows, before + repeated);
    };
    return some.length === 0 ? [] : replayPass(path, some, { ...options, onProgress });
  };
  const plain = (await replay(configs.filter((config) => !isSearch(config)))).values();
  const summaries: Summary[] = [];
  for (const config of configs) {
    summaries.push(isSearch(config) ? await searchSeeds(config, replay) : plain.next().value!);
  }
  return summaries;
}

/** The same for configurations that take one pass over the trace. */
async function replayPass(path: string, configs: readonly Config[], options: ReplayOptions = {}): Promise<Summary[]> {
  const reader = await TraceReader.open(path);
  const cores: Core[] = [];
  try {
    const { metadata, rows } = reader;
    const trace = { cpuNode: metadata?.cpuNode ?? null, cpus: metadata?.cpus ?? (await countCpus(reader)) };
    const cells = configs.map((config, index) => ({ config, topology: topologyOf(config, trace), index }));
    for (const { config } of cells) {
      requireOf(reader, config);
      if (rows > 0 && config.replay.warmup >= rows)
        throw new UsageError(
          `replay.warmup: ${config.replay.warmup} leaves nothing to count: ${path} has ${rows} records`,
        );
    }

    const started = performance.now();
    const columns = replayedColumns(reader.columns, configs);
    const boots = (metadata?.source as { scenario?: string } | undefined)?.scenario === 'boot';
    const source = { path, columns, regions: metadata?.regions ?? [], nodes: metadata?.nodes, boots };
    const tables = await tablesOf(configs);
    for (const { replay, paging } of configs) {
      const walked = tables.get(replay.tables ?? '');
      if (walked) requireTables(reader, replay.tables!, walked, paging);
    }
    const parts = grouped(cells);
    const keptBytes = (options.keptBytes ?? MOST_KEPT_BYTES) / parts.length;
    const groups = parts.map((group) => ({
      group,
      replayer: new Replayer(
        { ...source, tables: tables.get(group[0].config.replay.tables ?? '') ?? null },
        group.map((cell) => cell.config),
        group.map((cell) => cell.topology),
        'release',
        keptBytes,
      ),
    }));
    cores.push(...groups.map(({ replayer }) => replayer.core));
    const stats = groups[0].replayer.core.Stat;
    for (const cell of cells) checkIntervals(cell, rows, stats.Count);

    let done = 0;
    let breath = 0;
    let repeated = 0;
    const onProgress = async () => {
      options.signal?.throwIfAborted();
      repeated = Math.max(...groups.map(({ replayer }) => replayer.repeatedRows));
      options.onProgress?.(done, rows, repeated);
      if (repeated < breath) return;
      // Passes over rows that are kept would let nothing else have a turn.
      breath = repeated + BREATH_ROWS;
      await setImmediate();
    };
    const takeStreams = ({ group, replayer }: (typeof groups)[number]) => {
      for (const { lane, cpu, bytes } of replayer.takeSpeStreams()) options.onSpeBytes?.(group[lane].index, cpu, bytes);
    };
    for await (const batch of reader.batches({ columns })) {
      options.signal?.throwIfAborted();
      for (const { replayer } of groups) {
        for (const { from, to } of replayer.steps(batch)) {
          let first = from;
          if (from < to) {
            for await (const again of reader.batches({ from, to, columns })) {
              replayer.reread(again, first);
              first += again.rows;
              await onProgress();
            }
          }
          await onProgress();
        }
      }
      groups.forEach(takeStreams);
      done += batch.rows;
      await onProgress();
    }
    const results: LaneResult[] = [];
    for (const part of groups) {
      const { group, replayer } = part;
      replayer.finish().forEach((result, lane) => (results[group[lane].index] = result));
      takeStreams(part);
    }
    const seconds = (performance.now() - started) / 1000;

    const phaseNames = new Map((metadata?.phases ?? []).map(({ number, name }) => [number, name]));
    return cells.map(({ config, topology, index }) => ({
      schema: SUMMARY_SCHEMA,
      trace: { path, records: rows, sha256: options.sha256 ?? null },
      config: config as unknown as Record<string, unknown>,
      ...summarizeLane(results[index], config, topology, stats, phaseNames),
      checks: results[index].checks,
      run: {
        seconds,
        accessesPerSecond: seconds > 0 ? (rows + repeated) / seconds : 0,
        workers: 1,
        version: packageVersion(),
      },
    }));
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError) || !cores.some(isFull)) throw error;
    throw new NodewalkError(
      `${path}: the 4 GiB of memory that an emulated machine may take are used up; use smaller buffers, larger pages or a part of the trace`,
    );
  } finally {
    await reader.close();
  }
}

/** Whether a core's memory has hardly room to grow. */
const isFull = ({ memory }: Core): boolean => memory.buffer.byteLength > 2 ** 32 - 2 ** 21;

/** Rows that are replayed again before others get their turn. */
const BREATH_ROWS = 1 << 22;

/** Lanes that an instance has room for (assembly/replay), and bytes of their TLBs and caches, so that tables have room too. */
const MOST_LANES = 256;
const MOST_BYTES = 2 ** 30;

/** Cells whose lanes can share an instance: they replay the same rows equally often on the same number of CPUs. */
function grouped(cells: readonly Cell[]): Cell[][] {
  const groups: { key: string; cells: Cell[]; bytes: number }[] = [];
  for (const cell of cells) {
    const key = `${cell.topology.cpuNode.length} ${passKey(cell.config.replay)}`;
    const { tlbs, caches } = machineBytes(cell.config, cell.topology);
    const bytes = tlbs + caches + bufferBytes(cell.config, cell.topology);
    const group = groups.findLast((other) => other.key === key);
    if (group && group.cells.length < MOST_LANES && group.bytes + bytes <= MOST_BYTES) {
      group.cells.push(cell);
      group.bytes += bytes;
    } else groups.push({ key, cells: [cell], bytes });
  }
  return groups.map(({ cells }) => cells);
}

/** Bytes of the counters of all intervals of a configuration. */
const MOST_INTERVAL_BYTES = 2 ** 28;

function checkIntervals({ config, topology }: Cell, rows: number, counters: number): void {
  const { intervals } = config.replay;
  if (intervals === null) return;
  const count = Math.ceil(rows / intervals);
  const cpus = topology.cpuNode.length;
  const bytes = count * cpus * counters * 8;
  if (bytes > MOST_INTERVAL_BYTES)
    throw new UsageError(
      `replay.intervals: the counters of ${cpus} CPUs in ${count} intervals need ${Math.ceil(bytes / 2 ** 20)} MiB, and may have ${MOST_INTERVAL_BYTES / 2 ** 20}; use more than ${intervals} rows`,
    );
}

/** How many CPUs the rows of a trace name, for traces whose metadata does not say. */
async function countCpus(reader: TraceReader): Promise<number> {
  let highest = 0;
  for await (const { cpu, rows } of reader.batches({ columns: ['cpu'] })) {
    for (let row = 0; row < rows; row++) if (cpu[row] > highest) highest = cpu[row];
  }
  return highest + 1;
}

/** Throws when a configuration asks for what the trace does not have. */
export function requireOf({ path, columns, metadata }: TraceFacts, config: Config): void {
  const { replay, paging } = config;
  const arch = metadata?.arch;
  if (isEventful(config) && arch && arch !== paging.format)
    throw new UsageError(
      `paging.format: ${paging.format} cannot expand the events of ${path}, whose kernel is ${arch}; extend an ${arch} machine, or use replay.mapping: demand and system.name: none`,
    );
  const missing = (column: string, key: string) =>
    new InputError({
      source: path,
      expected: `a column "${column}", which ${key} replays`,
      found: `the columns ${columns.join(', ')}`,
      advice: `leave ${key.split(':')[0]} at its default, or convert a capture that has it`,
    });
  if (replay.mapping === 'captured' && !columns.includes('pa')) throw missing('pa', 'replay.mapping: captured');
  if (replay.splitPages && !columns.includes('size')) throw missing('size', 'replay.splitPages: true');
  const known = new Set((metadata?.phases ?? []).map(({ number }) => number));
  const named = (key: string, phases: readonly number[]) => {
    const unknown = phases.find((phase) => known.size > 0 && !known.has(phase));
    if (unknown !== undefined)
      throw new UsageError(`${key}: ${path} has no phase ${unknown}; it has ${[...known].join(', ')}`);
  };
  named('replay.phases', replay.phases ?? []);
  if (typeof replay.repeat === 'object') named('replay.repeat', Object.keys(replay.repeat).map(Number));
}

/** The captured tables that configurations walk, by folder. */
async function tablesOf(configs: readonly Config[]): Promise<Map<string, CapturedTables>> {
  const folders = configs.flatMap(({ replay }) => (replay.mapping === 'tables' ? [replay.tables!] : []));
  const opened = [...new Set(folders)].map(async (folder) => [folder, await openCapturedTables(folder)] as const);
  return new Map(await Promise.all(opened));
}

/** Throws when captured tables do not have the format of a configuration, or the trace lacks records by which their stores are counted. */
function requireTables(
  { path, metadata }: TraceFacts,
  folder: string,
  { kernel: { x86, stage1 }, stores }: CapturedTables,
  paging: Config['paging'],
): void {
  const captured = x86 ? { levels: x86.levels } : { shift: stage1!.pageShift, bits: stage1!.bits };
  const asked =
    paging.format === 'x86-64'
      ? { levels: paging.levels }
      : { shift: PAGE_SHIFTS[paging.granule], bits: paging.vaBits };
  if (!isDeepStrictEqual(captured, asked)) {
    const has = x86
      ? `{ format: x86-64, levels: ${x86.levels} }`
      : `{ format: arm64, granule: ${2 ** (stage1!.pageShift - 10)}K, vaBits: ${stage1!.bits} }`;
    throw new UsageError(
      `replay.tables: the tables of ${folder} have the format ${has}, and ${formatName(paging)} is stated`,
    );
  }
  const dropped = metadata?.filters.find((filter) => /^dropped [1-9][0-9]* MMIO records/.test(filter));
  if (dropped && stores.count > 0)
    throw new InputError({
      source: path,
      at: 'metadata key "filters"',
      expected: `every record of the capture, by whose numbers ${folder} names its stores to page tables`,
      found: dropped,
      advice: 'convert the capture without --drop-mmio',
    });
}

/** Bytes that are hashed before others get their turn. */
const HASH_SLICE = 1 << 24;

/** SHA-256 of a trace file, in hexadecimal. Costs more than replaying it: plain reads take 40 % less time than a stream. */
export async function hashTrace(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(1 << 20);
  const file = openSync(path, 'r');
  try {
    let done = 0;
    for (let bytes = 0; (bytes = readSync(file, buffer, 0, buffer.length, null)) > 0;) {
      hash.update(buffer.subarray(0, bytes));
      done += bytes;
      if (done % HASH_SLICE < bytes) await setImmediate(undefined, { signal });
    }
  } finally {
    closeSync(file);
  }
  return hash.digest('hex');
}
