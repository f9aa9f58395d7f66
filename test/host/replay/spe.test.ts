// Profiling in KVM guests from a trace to results: lanes do not matter to each other, strategies under the same events, the streams on disk, and what is refused.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { register } from '../../../host/commands/replay.js';
import { resolveConfig } from '../../../host/config/load.js';
import { packageRoot } from '../../../host/paths.js';
import { replayTrace } from '../../../host/replay/replay.js';
import { type Summary } from '../../../host/results/summary.js';
import { inspect } from '../../../traces/info.js';
import { perfData } from '../../../traces/formats/perfData.js';
import { metadataWith } from '../../../traces/metadata.js';
import { writeTrace } from '../../../traces/writer.js';
import { readAs } from '../../traces/perf.js';
import { batchOf, eachOf } from '../../traces/support.js';
import { caughtOutput } from '../output.js';
import { eventNames, stepsOf, traceOf } from '../synth/support.js';

const KERNEL = join(packageRoot(), 'traces/samples/arm64-kernel.arrow');
const STRATEGIES = ['pin-vm', 'pin-buffer', 'copy', 'copy-on-read'];
const SMALL = { cpus: 2, slices: 6, slice: 500, buffer: '8K' };

const folder = mkdtempSync(join(tmpdir(), 'nodewalk-spe-'));
afterAll(() => rmSync(folder, { recursive: true }));
const output = caughtOutput();

const config = (system: object = {}, more: object = {}) =>
  resolveConfig(
    {
      paging: { format: 'arm64' },
      system: { name: 'spe', spePeriod: 256, speGuestBytes: '16M', ...system },
      replay: { checks: true },
      ...more,
    },
    'test',
  );

const speOf = ({ totals }: Summary) => totals.spe as Record<string, number>;

const broken = ({ checks }: Summary) =>
  Object.entries(checks as Record<string, { violations: number }>)
    .filter(([, { violations }]) => violations > 0)
    .map(([name]) => name);

describe('a trace without spe events', () => {
  const systems = STRATEGIES.flatMap((speStrategy) =>
    [256, 1000].map((spePeriod) => config({ speStrategy, spePeriod, speBufferBytes: '16K', speJitter: 9 })),
  );

  it('gives every configuration what it gives it alone, and keeps the invariants', async () => {
    const together = await replayTrace(KERNEL, systems);
    for (const i of [0, 3, 5]) {
      const [alone] = await replayTrace(KERNEL, [systems[i]]);
      expect(alone.totals).toEqual(together[i].totals);
      expect(alone.cpus).toEqual(together[i].cpus);
    }
    for (const summary of together) expect(broken(summary)).toEqual([]);
  });

  it('keeps the streams of each configuration apart', async () => {
    const kept = [{ speStrategy: 'pin-vm' }, { speKeep: false }, { speStrategy: 'copy', speJitter: 9, spePeriod: 999 }];
    const configs = kept.map((system) => config({ speKeep: true, speBufferBytes: '16K', ...system }));
    const streams = async (some: typeof configs) => {
      const read = new Map<string, Buffer>();
      await replayTrace(KERNEL, some, {
        onSpeBytes: (i, cpu, bytes) => {
          const key = `${i} ${cpu}`;
          read.set(key, Buffer.concat([read.get(key) ?? Buffer.alloc(0), bytes]));
        },
      });
      return read;
    };
    const together = await streams(configs);
    expect([...together.keys()].sort()).toEqual(['0 0', '0 1', '0 2', '0 3', '2 0', '2 1', '2 2', '2 3']);
    for (const i of [0, 2]) {
      for (const [key, bytes] of await streams([configs[i]])) {
        expect(bytes.equals(together.get(key.replace('0', String(i)))!)).toBe(true);
      }
    }
  });

  it('takes a sample for every period of operations', async () => {
    const [summary] = await replayTrace(KERNEL, [config({ speStrategy: 'pin-vm', speBufferBytes: '8M' })]);
    const { samples, collisions, bytes, lost } = speOf(summary);
    // An operation is an instruction of a fetch row, a load or a store. Nothing fills, so what is missing is the rest of each of four CPUs, and samples
    // that are due while a walk of the one before takes longer than the period.
    const { insns, load, store } = summary.totals.access;
    const due = summary.cpus.reduce((sum, cpu) => {
      const { access } = cpu as unknown as Summary['totals'];
      return sum + Math.floor((access.insns + access.load + access.store) / 256);
    }, 0);
    expect(due).toBeGreaterThan((insns + load + store) / 256 - 4);
    expect({ due: samples + collisions, bytes, lost }).toEqual({ due, bytes: samples * 64, lost: 0 });
    expect(collisions).toBeLessThan(due / 100);
  });

  it('has no counters of profiling where nothing profiles', async () => {
    const [summary] = await replayTrace(KERNEL, [resolveConfig({ paging: { format: 'arm64' } }, 'test')]);
    expect(summary.totals.spe).toBeUndefined();
  });
});

describe('spe-run', () => {
  it('has the rows that its parameters say', async () => {
    const parameters = { ...SMALL, switchEvery: 2, readEvery: 3, remapEvery: 4, dirtyLog: 1, reclaimEvery: 5 };
    const { kinds } = await inspect(await traceOf('spe-run', parameters));
    // Slices 2 and 4 begin with a switch, 3 with a read, 4 with a remap between a stop and a start; both vCPUs.
    expect(kinds).toMatchObject({
      vm_create: 1,
      vm_destroy: 1,
      vcpu_load: 2,
      spe_program: 2,
      spe_enable: 2 + 2,
      spe_disable: 2 + 2,
      spe_read_ptr: 2,
      kmap: 2,
      ctx_switch: 2 + 4,
      mm_create: 4,
      s2_wp: 1,
      s2_unmap: 1,
      fetch: 2 * 6 * 500,
      load: 2 * 6 * (500 - 166),
      store: 2 * 6 * 166,
    });
    const names = eventNames(await stepsOf('spe-run', parameters));
    expect(names.indexOf('spe_program')).toBeLessThan(names.indexOf('spe_enable'));
  });

  it('is profiled by every strategy without a broken invariant', async () => {
    const events = { remapEvery: 2, dirtyLog: 1, reclaimEvery: 3 };
    const trace = await traceOf('spe-run', { ...SMALL, ...events });
    const summaries = await replayTrace(
      trace,
      STRATEGIES.map((speStrategy) => config({ speStrategy })),
    );
    for (const summary of summaries) expect(broken(summary)).toEqual([]);
    // 17 operations in a block, 500 blocks in a slice, 33 samples in a slice: pages of the 8K are used again and again.
    for (const summary of summaries) expect(speOf(summary).samples).toBeGreaterThan(300);
    expect(summaries.map((summary) => speOf(summary).refused > 0)).toEqual([true, true, false, false]);
  });

  it('breaks V2 where the guest remaps a buffer that is enabled (N-15), and only V2', async () => {
    const trace = await traceOf('spe-run', { ...SMALL, switchEvery: 0, remapEvery: 2, remapEnabled: true });
    const summaries = await replayTrace(
      trace,
      STRATEGIES.map((speStrategy) => config({ speStrategy })),
    );
    expect(summaries.map(broken)).toEqual([[], ['speStage2'], [], []]);
  });
});

describe('two stages', () => {
  it('profiles a machine whose own walks have two stages', async () => {
    const paging = { format: 'arm64', stage2: { granule: '4K', ipaBits: 40 } };
    const trace = await traceOf('spe-run', SMALL);
    const [one, two] = await replayTrace(trace, [config({}), config({}, { paging })]);
    expect(speOf(two).samples).toBe(speOf(one).samples);
    expect(two.totals.walk.refs).toBeGreaterThan(one.totals.walk.refs);
    expect(broken(two)).toEqual([]);
  });
});

describe('streams on disk', () => {
  const run = async (...args: string[]) => {
    const program = new Command('nodewalk').exitOverride();
    register(program);
    for (const command of program.commands) command.exitOverride();
    await program.parseAsync(['replay', ...args, '--json'], { from: 'user' });
  };
  const options = ['system.name=spe', 'system.spePeriod=256', 'system.speKeep=true'].flatMap((set) => ['--set', set]);

  it('writes what the guest has read on each CPU: records of 64 bytes', async () => {
    const trace = await traceOf('spe-run', { ...SMALL, slices: 40 });
    const directory = join(folder, 'kept');
    await run(trace, '--set', 'paging={ format: arm64 }', ...options, '-o', directory);
    const { cpus } = JSON.parse(output.stdout) as { cpus: { cpu: number; spe: Record<string, number> }[] };
    expect(readdirSync(join(directory, 'spe')).sort()).toEqual(['cpu0.bin', 'cpu1.bin', 'perf.data']);
    for (const { cpu, spe } of cpus) {
      const stream = readFileSync(join(directory, 'spe', `cpu${cpu}.bin`));
      expect(stream.length).toBe(spe.bytes);
      expect(stream.length).toBe(spe.samples * 64);
      // Every record begins with the address of an instruction and ends in padding behind a timestamp.
      for (let at = 0; at < stream.length; at += 64) expect(stream[at]).toBe(0xb0);
    }
  });

  it('says in the perf.data of which core the data sources are, so that readers know what served a load', async () => {
    const trace = await traceOf('spe-run', { ...SMALL, slices: 10, workingSet: '64K' });
    const directory = join(folder, 'served');
    const caches =
      'machine={ caches: { l1i: { sets: 64, ways: 8 }, l1d: { sets: 64, ways: 8 }, l2: { sets: 512, ways: 8 }, llc: null } }';
    await run(trace, '--set', 'paging={ format: arm64 }', '--set', caches, ...options, '-o', directory);
    const { metadata } = await readAs(perfData, readFileSync(join(directory, 'spe', 'perf.data')));
    // 64K of data in an L2 of 256K, behind an L1D of 32K: all three serve some.
    const served = metadata.notes!.find((note) => note.includes('served by'));
    for (const source of ['l1', 'l2', 'dram']) expect(served).toMatch(new RegExp(`\\b${source} [\\d.]+ %`));
    expect(served).not.toContain('unknown');
  });

  it('needs a directory', async () => {
    const trace = await traceOf('spe-run', SMALL);
    await expect(run(trace, '--set', 'paging={ format: arm64 }', ...options)).rejects.toThrow(/system.speKeep.*-o/);
  });

  it('leaves nothing behind when a replay fails', async () => {
    const trace = await traceOf('spe-run', { ...SMALL, cpus: 4 });
    const directory = join(folder, 'failed');
    const few = ['--set', 'machine.cpuNode=[0]'];
    await expect(run(trace, '--set', 'paging={ format: arm64 }', ...few, ...options, '-o', directory)).rejects.toThrow(
      /CPU/,
    );
    expect(existsSync(join(directory, 'spe')) ? readdirSync(join(directory, 'spe')) : []).toEqual([]);
  });
});

describe('configurations that are refused', () => {
  it.each([
    [{ speStrategy: 'copy', speVhe: false }, /speVhe.*unsupported.*contiguous mapping at EL2/],
    [{ speStrategy: 'copy-on-read', speVhe: false }, /unsupported/],
    [{ spePeriod: 100 }, /spePeriod.*speMinPeriod, 256/],
    [{ speBufferBytes: 5000 }, /speBufferBytes.*4096/],
    [{ speBufferBytes: '32M' }, /does not fit.*speGuestBytes/],
    [{ inject: ['skip-reload'] }, /skip-reload is a fault of stage2-faults/],
  ])('%j', (system, message) => {
    expect(() => config(system)).toThrow(message);
  });

  it('V1 and V2 do without VHE, at its costs', () => {
    for (const speStrategy of ['pin-vm', 'pin-buffer'])
      expect(config({ speStrategy, speVhe: false }).system.speVhe).toBe(false);
  });

  it("a node of KVM's buffer that the machine does not have", async () => {
    await expect(replayTrace(KERNEL, [config({ speKernelNode: 5 })])).rejects.toThrow(/speKernelNode: node 5/);
  });

  it("buffers that do not fit in the emulator's memory", async () => {
    // 4 CPUs: V1's 4 x 512M are 2 GiB, which is the most; with V3 KVM's buffers come on top.
    const large = { speBufferBytes: '512M', speGuestBytes: '1G' };
    const v3 = config({ ...large, speStrategy: 'copy' });
    await expect(replayTrace(KERNEL, [v3])).rejects.toThrow(/speBufferBytes: the buffers of 4 CPUs.*2052 MiB/);
    const traced = config({ ...large, speBufferBytes: '1G', speEnable: 'trace' });
    const [{ totals }] = await replayTrace(KERNEL, [traced]);
    expect(totals.spe).toMatchObject({ samples: 0 });
  });

  it('an event of a CPU that the machine does not have', async () => {
    const trace = join(folder, 'down.arrow');
    const columns = ['cpu', 'kind', 'va', 'arg'] as const;
    const down = { cpu: 0, kind: 34, va: 2n, arg: 0n };
    await writeTrace(trace, columns, eachOf([batchOf(columns, [down, { ...down, kind: 1 }])]), () => metadataWith());
    const machine = { cpuNode: [0, 0] };
    await expect(replayTrace(trace, [config({}, { machine })])).rejects.toThrow(
      /down.arrow: record 0: expected cpu_down with a CPU that the machine has \(0 to 1\), found 2/,
    );
  });

  it('x86-64 has no SPE', () => {
    expect(() => config({}, { paging: { format: 'x86-64' } })).toThrow(/spe needs paging.format arm64/);
  });
});
