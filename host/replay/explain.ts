// One translation through the tables that a replay has built: a trace is replayed up to a record, then the descriptors that a
// walk of stage 1 would read are taken from the lane, as each node's CPUs see them. Nothing is counted or changed by looking.

import { UsageError } from '../../traces/errors.js';
import { TraceReader } from '../../traces/reader.js';
import { baseSize, PAGE_SHIFTS, tableLevels } from '../config/paging.js';
import { type Config } from '../config/schema.js';
import { openCapturedTables } from '../tables/captured.js';
import { describe, type Descriptor } from '../tables/fields.js';
import { type Regime } from '../tables/regimes.js';
import { replicatesTables } from './kernel.js';
import { Replayer, replayedColumns } from './replayer.js';
import { topologyOf } from './topology.js';

/** Which translation. */
export interface Question {
  address: bigint;
  /** As in the column; a CPU in kernel mode unless given. */
  mode: number;
  asid: number;
  vm: number;
  /** Rows to replay first; all unless given. */
  rows?: number;
}

/** A descriptor that a walk reads. */
export interface ReplayedStep {
  level: number;
  entryPa: bigint;
  /** The node that the table lies on. */
  node: number;
  entry: bigint;
  descriptor: Descriptor;
}

/** What the CPUs of some nodes see. */
export interface ReplayedWalk {
  nodes: number[];
  /** Empty where there is no table at all. */
  steps: ReplayedStep[];
  /** Null where the last descriptor maps nothing. */
  pa: bigint | null;
}

/** Memory of node k begins at k << 40 in a replay (assembly/memory/tables.ts). */
const NODE_SHIFT = 40n;
const MOST_STEPS = 8;
const STEP_BYTES = 16;

/** Replays a trace and looks an address up; nodes that see the same tables are together. */
export async function explainReplay(path: string, config: Config, question: Question): Promise<ReplayedWalk[]> {
  const reader = await TraceReader.open(path);
  try {
    const { metadata, rows } = reader;
    const { replay, paging } = config;
    if (question.rows !== undefined && question.rows > rows)
      throw new UsageError(`--row ${question.rows}: ${path} has ${rows} rows`);
    const cpus = metadata?.cpus ?? metadata?.cpuNode?.length;
    if (cpus === undefined) throw new UsageError(`${path} does not say how many CPUs it has; convert --meta tells it`);
    const topology = topologyOf(config, { cpuNode: metadata?.cpuNode ?? null, cpus });
    const columns = replayedColumns(reader.columns, [config]);
    const tables = replay.mapping === 'tables' ? await openCapturedTables(replay.tables!) : null;
    const source = { path, columns, regions: metadata?.regions ?? [], nodes: metadata?.nodes, tables };
    const replayer = new Replayer(source, [config], [topology]);
    for await (const batch of reader.batches({ to: question.rows ?? rows, columns })) replayer.feed(batch);

    const { core, lanes } = replayer;
    const out = core.allocate(MOST_STEPS * STEP_BYTES, 8);
    const depth = tableLevels(paging);
    const shift = PAGE_SHIFTS[baseSize(paging)];
    const regime = regimeOf(config, shift);
    // Arm's table of the lower half is one for all nodes (assembly/paging/views.ts).
    const upper = (question.address >> (paging.format === 'arm64' ? 55n : 63n)) & 1n;
    const perNode = replicatesTables(config, topology) && (paging.format !== 'arm64' || upper === 1n);
    const walks = new Map<string, ReplayedWalk>();
    const nodes = [...new Set(topology.cpuNode)].sort((a, b) => a - b);
    for (const node of nodes) {
      const { address, mode, asid, vm } = question;
      const found = core.probe(lanes[0], address, mode, asid, vm, out, perNode ? node : 0);
      const words = new BigUint64Array(core.memory.buffer, out, 2 * Math.abs(found));
      const key = words.join();
      const known = walks.get(key);
      if (known) {
        known.nodes.push(node);
        continue;
      }
      const steps = Array.from({ length: Math.abs(found) }, (_, i): ReplayedStep => {
        const [entryPa, entry] = words.subarray(2 * i);
        const level = paging.format === 'arm64' ? 4 - depth + i : depth - i;
        return {
          level,
          entryPa,
          node: Number(entryPa >> NODE_SHIFT),
          entry,
          descriptor: describe(regime, 1, level, entry),
        };
      });
      const leafShift = BigInt(shift + (depth - steps.length) * (shift - 3));
      const frame = steps.at(-1)?.descriptor.address ?? 0n;
      walks.set(key, {
        nodes: [node],
        steps,
        pa: found > 0 ? frame | BigInt.asUintN(Number(leafShift), address) : null,
      });
    }
    return [...walks.values()];
  } finally {
    await reader.close();
  }
}

/** The format of the replay's own descriptors, to take them apart. */
function regimeOf({ paging }: Config, pageShift: number): Regime {
  if (paging.format !== 'arm64') {
    return {
      x86: {
        root: 0n,
        levels: tableLevels(paging) as 4 | 5,
        writeProtect: true,
        smep: false,
        smap: false,
        noExecute: true,
      },
    };
  }
  return {
    stage1: {
      ...{
        root: 0n,
        pageShift,
        bits: paging.vaBits,
        outputBits: 48,
        ds: false,
        lpa: false,
        high: false,
        single: false,
      },
      ...{ hardwareAccess: true, hardwareDirty: true, writeExecuteNever: false, noHierarchy: false },
      ...{ topByteIgnore: true, notWalked: false, mair: 0xffn },
    },
  };
}
