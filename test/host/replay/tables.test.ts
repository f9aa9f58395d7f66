// Captured tables under a replay: at rows all over the bundled captures of kernels, the tables of the lane (moved from the snapshots, and
// following the kernel's own stores) must give the physical address that the capture recorded.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { resolveConfig } from '../../../host/config/load.js';
import { packageRoot } from '../../../host/paths.js';
import { Replayer, replayedColumns } from '../../../host/replay/replayer.js';
import { topologyOf } from '../../../host/replay/topology.js';
import { openCapturedTables } from '../../../host/tables/captured.js';
import { PA_UNKNOWN } from '../../../traces/batch.js';
import { TraceReader } from '../../../traces/reader.js';
import { sliceBatch } from '../../../traces/writer.js';

const samples = join(packageRoot(), 'traces/samples/kernel-text');
const CTX_SWITCH = 37;
/** Rows between two that are looked at: a prime, so that loops of the kernel do not fall in step with it. */
const STRIDE = 211;

interface Agreement {
  rows: number;
  user: number;
  agree: number;
  userAgree: number;
}

async function agreement(trace: string, tables: string, system: string): Promise<Agreement> {
  const reader = await TraceReader.open(trace);
  try {
    const arm = reader.metadata!.arch === 'arm64';
    const config = resolveConfig(
      {
        extends: arm ? 'neoverse-n1' : 'haswell-ep',
        system: { name: system },
        replay: { mapping: 'tables', tables },
      },
      'test',
    );
    const columns = replayedColumns(reader.columns, [config]);
    const source = {
      ...{ path: trace, columns, regions: reader.metadata!.regions, nodes: reader.metadata!.nodes },
      tables: await openCapturedTables(tables),
    };
    const topology = topologyOf(config, { cpuNode: reader.metadata!.cpuNode, cpus: 4 });
    const replayer = new Replayer(source, [config], [topology]);
    const { core, lanes } = replayer;
    const asids = new Map<number, number>();
    /** From the original to the copy: one for text, one for read-only data. */
    const distances = new Set<bigint>();
    const found = { rows: 0, user: 0, agree: 0, userAgree: 0 };
    const text = reader.metadata!.regions.filter(({ name }) => name === 'text' || name === 'rodata');
    const copied = (va: bigint) =>
      text.some((region) => va >= BigInt(region.va) && va < BigInt(region.va) + BigInt(region.bytes));
    for await (const batch of reader.batches({ columns })) {
      for (let from = 0, to = 0; from < batch.rows; from = to) {
        // Every row of user mode is looked at, there being few.
        while (to < batch.rows && to - from < STRIDE && batch.mode![to] !== 0) to++;
        to = Math.min(to + 1, batch.rows);
        const part = sliceBatch(batch, columns, from, to);
        replayer.feed(part);
        for (let row = 0; row < part.rows; row++)
          if (part.kind[row] === CTX_SWITCH) asids.set(part.cpu[row], Number(part.arg![row]));
        const last = part.rows - 1;
        const [va, pa] = [part.va[last], part.pa![last]];
        if (part.kind[last] > 2 || pa === PA_UNKNOWN) continue;
        const here = core.physicalAddress(
          lanes[0],
          part.cpu[last],
          va,
          part.mode![last],
          asids.get(part.cpu[last]) ?? 0,
        );
        if (system !== 'none' && copied(va) && topology.cpuNode[part.cpu[last]] === 1) {
          // The same byte of the copy, which is node 1's: nodes begin at multiples of 1 TiB.
          expect(here >> 40n).toBe(1n);
          distances.add(pa - here);
          continue;
        }
        const user = va >> 63n === 0n;
        found.rows++;
        found.agree += Number(here === pa);
        if (!user) continue;
        found.user++;
        found.userAgree += Number(here === pa);
      }
    }
    expect(distances.size).toBeLessThanOrEqual(system === 'none' ? 0 : text.length);
    return found;
  } finally {
    await reader.close();
  }
}

// All kernel rows agree. Of the user rows those of the child that gets a signal do not: it was forked while nothing was recorded.
const check = ({ rows, agree, user, userAgree }: Agreement) => {
  expect(rows).toBeGreaterThan(1000);
  expect(rows - user - (agree - userAgree)).toBe(0);
  expect(userAgree / user).toBeGreaterThanOrEqual(0.99);
};

test.each(['x86-64', 'arm64', 'redis'])(
  'the tables of %s give the captured addresses',
  { timeout: 120_000 },
  async (name) => {
    for (const system of ['none', 'text-replication']) {
      check(await agreement(join(samples, `${name}.arrow`), join(samples, name), system));
    }
  },
);
