// Records beside the rows of the trace they were sampled from: each is of the row in which its operation lies, with that row's instruction, address and page.

import { join } from 'node:path';
import { expect, it } from 'vitest';
import { resolveConfig } from '../../../host/config/load.js';
import { packageRoot } from '../../../host/paths.js';
import { replayTrace } from '../../../host/replay/replay.js';
import { FETCH, LOAD, STORE } from '../../../traces/batch.js';
import { TraceReader } from '../../../traces/reader.js';
import { HAS_PA, HAS_VA, noDamage, SpeDecoder, SpeRecords } from '../../../traces/spe/decode.js';
import { CLASS_LOAD_STORE } from '../../../traces/spe/packets.js';

const TRACE = join(packageRoot(), 'traces/samples/arm64-kernel.arrow');
const PERIOD = 300;

interface Sampled {
  pc: bigint | undefined;
  kind: number;
  va?: bigint;
  pa?: bigint;
  el: number;
  timestamp: bigint;
}

/** By CPU the rows in which operations PERIOD, 2 PERIOD, ... lie. */
async function dueRows(): Promise<Map<number, Omit<Sampled, 'timestamp'>[]>> {
  const due = new Map<number, Omit<Sampled, 'timestamp'>[]>();
  const operations = new Map<number, number>();
  const fetched = new Map<number, bigint>();
  const reader = await TraceReader.open(TRACE);
  for await (const { rows, cpu, kind, va, pa, insns, mode } of reader.batches()) {
    for (let row = 0; row < rows; row++) {
      if (kind[row] > STORE) continue;
      const at = cpu[row];
      const before = operations.get(at) ?? 0;
      const now = before + (kind[row] === FETCH ? insns![row] : 1);
      operations.set(at, now);
      if (kind[row] === FETCH) fetched.set(at, va[row]);
      if (Math.floor(now / PERIOD) === Math.floor(before / PERIOD)) continue;
      const access = kind[row] === FETCH ? {} : { va: va[row], pa: pa![row] };
      if (!due.has(at)) due.set(at, []);
      due.get(at)!.push({ pc: fetched.get(at), kind: kind[row], el: mode![row] & 15, ...access });
    }
  }
  await reader.close();
  return due;
}

function sampledOf(bytes: Uint8Array): Sampled[] {
  const sampled: Sampled[] = [];
  const damage = noDamage();
  for (const records of new SpeDecoder(new SpeRecords(), damage).decode(bytes)) {
    for (let i = 0; i < records.count; i++) {
      const isAccess = records.operationClass[i] === CLASS_LOAD_STORE;
      sampled.push({
        pc: records.pc[i],
        kind: isAccess ? (records.operation[i] === 1 ? STORE : LOAD) : FETCH,
        el: records.el[i],
        ...(records.fields[i] & HAS_VA ? { va: records.va[i] } : {}),
        ...(records.fields[i] & HAS_PA ? { pa: records.pa[i] } : {}),
        timestamp: records.timestamp[i],
      });
    }
  }
  expect(damage.faults).toBe(0);
  return sampled;
}

it.each(['pin-vm', 'pin-buffer', 'copy', 'copy-on-read'])(
  'with %s every record is of a row that was due',
  async (speStrategy) => {
    const due = await dueRows();
    const config = resolveConfig(
      {
        paging: { format: 'arm64' },
        system: { name: 'spe', speStrategy, spePeriod: PERIOD, speBufferBytes: '4K', speKeep: true },
        replay: { mapping: 'captured', checks: true },
      },
      'test',
    );
    const streams = new Map<number, Uint8Array[]>();
    const [summary] = await replayTrace(TRACE, [config], {
      onSpeBytes: (_, cpu, bytes) => streams.set(cpu, [...(streams.get(cpu) ?? []), bytes]),
    });
    let records = 0;
    for (const [cpu, rows] of due) {
      const sampled = sampledOf(Buffer.concat(streams.get(cpu) ?? []));
      records += sampled.length;
      let next = 0;
      let last = 0n;
      for (const { timestamp, ...record } of sampled) {
        // In order; those between were lost or collided.
        while (next < rows.length && !same(rows[next], record)) next++;
        expect(next, `a row of CPU ${cpu} for ${JSON.stringify(record, text)}`).toBeLessThan(rows.length);
        next++;
        expect(timestamp).toBeGreaterThanOrEqual(last);
        last = timestamp;
      }
    }
    const { samples, lost = 0, collisions = 0, filtered = 0 } = summary.totals.spe as Record<string, number>;
    const all = [...due.values()].reduce((sum, rows) => sum + rows.length, 0);
    expect(records).toBe(samples);
    expect(samples + lost + collisions + filtered).toBe(all);
    expect(lost).toBeGreaterThan(0);
  },
);

const same = (a: object, b: object) => JSON.stringify(a, text) === JSON.stringify(b, text);
const text = (_: string, value: unknown) => (typeof value === 'bigint' ? value.toString(16) : value);
