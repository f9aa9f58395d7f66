// Merging traces: their order, columns that only one has, what their metadata say together, and what is kept apart.

import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type ColumnName } from '../../traces/batch.js';
import { checkTrace } from '../../traces/check/check.js';
import { cutTrace } from '../../traces/cut/cut.js';
import { mergeTraces, type MergeOptions } from '../../traces/join/join.js';
import { metadataWith, type TraceMetadata } from '../../traces/metadata.js';
import { writeTrace } from '../../traces/writer.js';
import { batchOf, eachOf, rowsOf, scratch, type Row } from './support.js';

const path = scratch();
const SAMPLE = fileURLToPath(new URL('../../traces/samples/kernel-text/x86-64.arrow', import.meta.url));
const COLUMNS: ColumnName[] = ['cpu', 'kind', 'va', 'time'];
const [FETCH, LOAD, BEGIN, OPERANDS, CPU_UP, SWITCH, CREATE, VM_CREATE] = [0, 1, 16, 19, 33, 37, 47, 54];

interface Given {
  rows: Row[];
  columns?: ColumnName[];
  metadata?: Partial<TraceMetadata>;
}
const row = (va: number, time: number, cpu = 0): Row => ({ cpu, kind: LOAD, va: BigInt(va), time: BigInt(time) });

async function merged(given: Given[], options: MergeOptions = {}) {
  const paths = given.map((_, i) => path(`${i}.arrow`));
  for (const [i, { rows, columns = COLUMNS, metadata }] of given.entries()) {
    await writeTrace(paths[i], columns, eachOf([batchOf(columns, rows)]), () =>
      metadataWith({ clock: 'ns', ...metadata }),
    );
  }
  const { metadata } = await mergeTraces(paths, path('m.arrow'), options);
  return { metadata, rows: await rowsOf(path('m.arrow')) };
}
const vas = (rows: Row[]) => rows.map(({ va }) => Number(va));

describe('merge', () => {
  it('orders rows by time, those of the trace named first before others of the same time', async () => {
    const { rows, metadata } = await merged([
      { rows: [row(1, 10), row(2, 20), row(3, 30)] },
      { rows: [row(4, 5), row(5, 20), row(6, 20), row(7, 40)] },
    ]);
    expect(vas(rows)).toEqual([4, 1, 2, 5, 6, 3, 7]);
    expect(metadata.counts).toEqual({ fetch: 0, load: 7, store: 0, event: 0, insns: 0 });
    expect(metadata.history).toMatchObject([{ step: 'merge', input: [{ name: '0.arrow' }, { name: '1.arrow' }] }]);
  });

  it('says what to do about traces without a time, or with another clock', async () => {
    const timeless: ColumnName[] = ['cpu', 'kind', 'va'];
    await expect(merged([{ rows: [row(1, 1)] }, { rows: [row(1, 1)], columns: timeless }])).rejects.toThrow(
      /1.arrow: expected a column "time" to merge by, found cpu, kind, va; --concatenate/,
    );
    await expect(merged([{ rows: [row(1, 1)] }, { rows: [row(1, 1)], metadata: { clock: 'cycles' } }])).rejects.toThrow(
      /time in the unit "ns", as .*0.arrow, found the unit "cycles"/,
    );
  });

  it('fills columns that a trace has not with what they stand for', async () => {
    const more: ColumnName[] = ['cpu', 'kind', 'va', 'pa', 'insns', 'mode', 'asid', 'time'];
    const { rows } = await merged([
      { rows: [{ ...row(1, 1), kind: FETCH }, row(2, 2)], metadata: { constants: { mode: 1 } } },
      { rows: [{ ...row(3, 3), pa: 7n, insns: 4, mode: 2, asid: 9 }], columns: more },
    ]);
    const unknown = { pa: 0xffff_ffff_ffff_ffffn, mode: 1, asid: 0 };
    expect(rows).toEqual([
      { ...row(1, 1), kind: FETCH, ...unknown, insns: 1 },
      { ...row(2, 2), ...unknown, insns: 0 },
      { ...row(3, 3), pa: 7n, insns: 4, mode: 2, asid: 9 },
    ]);
  });

  it('makes a column of constants that differ, and keeps those that do not', async () => {
    const { rows, metadata } = await merged([
      { rows: [row(1, 1)], metadata: { constants: { asid: 1, mode: 1 } } },
      { rows: [row(2, 2)], metadata: { constants: { asid: 2, mode: 1 } } },
    ]);
    expect(rows.map(({ asid }) => asid)).toEqual([1, 2]);
    expect(metadata.constants).toEqual({ mode: 1 });
  });

  it('refuses traces of different machines, and takes what only one knows', async () => {
    const x86: Partial<TraceMetadata> = { arch: 'x86-64', cpuNode: [0, 1] };
    const { metadata } = await merged([{ rows: [] }, { rows: [], metadata: x86 }]);
    expect(metadata).toMatchObject({ arch: 'x86-64', cpuNode: [0, 1], cpus: 2 });
    await expect(
      merged([
        { rows: [], metadata: x86 },
        { rows: [], metadata: { arch: 'arm64' } },
      ]),
    ).rejects.toThrow(/metadata key "arch": expected "x86-64", as .*0.arrow, found "arm64"/);
    await expect(
      merged([
        { rows: [], metadata: x86 },
        { rows: [], metadata: { cpuNode: [0, 0] } },
      ]),
    ).rejects.toThrow(/--separate cpus/);
    const phase = (name: string) => ({ rows: [], metadata: { phases: [{ number: 7, name }] } });
    await expect(merged([phase('fork'), phase('exec')])).rejects.toThrow(
      /phase 0x7: expected the name "fork".*found "exec"/,
    );
  });

  it('does not write over one of the traces', async () => {
    await merged([{ rows: [row(1, 1)] }]);
    await expect(mergeTraces([path('0.arrow')], path('0.arrow'))).rejects.toThrow(/not one of the traces/);
  });
});

describe('--concatenate', () => {
  it('keeps the order given, and time only where it goes on', async () => {
    const after = await merged([{ rows: [row(1, 1), row(2, 9)] }, { rows: [row(3, 9), row(4, 12)] }], {
      concatenate: true,
    });
    expect(after.rows).toEqual([row(1, 1), row(2, 9), row(3, 9), row(4, 12)]);
    const before = await merged([{ rows: [row(1, 1), row(2, 9)] }, { rows: [row(3, 8)] }], { concatenate: true });
    expect(before.rows.map((r) => Object.keys(r))).toEqual(Array(3).fill(['cpu', 'kind', 'va']));
    expect(before.metadata).toMatchObject({ clock: null, notes: [expect.stringMatching(/time is left out/)] });
  });

  it('of two halves is the whole', async () => {
    const whole = await rowsOf(SAMPLE, { to: 40_000 });
    await cutTrace(SAMPLE, path('a.arrow'), { description: 'a', first: 20_000 });
    const { rows: first } = await cutTrace(SAMPLE, path('b.arrow'), { description: 'b', first: 39_000 });
    const { rows } = await mergeTraces([path('a.arrow'), path('b.arrow')], path('ab.arrow'), { concatenate: true });
    expect(rows).toBe(first + (await rowsOf(path('a.arrow'))).length);
    expect((await rowsOf(path('ab.arrow'))).slice(0, 20_000)).toEqual(whole.slice(0, 20_000));
    expect((await checkTrace(path('ab.arrow'))).ok).toBe(true);
  });
});

describe('--separate', () => {
  const columns: ColumnName[] = ['cpu', 'kind', 'va', 'asid', 'vm', 'time', 'arg'];
  const full = (changes: Row): Row => ({ ...row(0, 0), asid: 0, vm: 0, arg: 0n, ...changes });

  it('gives CPUs, address spaces and machines numbers after those of the trace before', async () => {
    const rows = [
      full({ kind: CPU_UP, cpu: 1, va: 2n }),
      full({ kind: CREATE, va: 0x5000n, arg: 6n }),
      full({ kind: SWITCH, va: 0x5000n, arg: 6n }),
      full({ kind: OPERANDS, va: 0n }),
      full({ kind: VM_CREATE, va: 3n, arg: 40n }),
      full({ va: 0x5000n, asid: 4, vm: 3 }),
      full({ va: 0x5000n, asid: 4, vm: 0 }),
    ];
    const given = { rows, columns, metadata: { cpuNode: [0, 0, 1] } };
    const result = await merged([given, given], { concatenate: true, separate: ['cpus', 'asids', 'vms'] });
    // 3 CPUs; ASIDs up to 6, so 7 of them; virtual machines up to 3, the host's number 0 being that of all.
    const mm = 0x5000n + (1n << 56n);
    expect(result.rows.slice(7)).toEqual([
      full({ kind: CPU_UP, cpu: 4, va: 5n, asid: 7 }),
      full({ kind: CREATE, cpu: 3, va: mm, arg: 13n, asid: 7 }),
      full({ kind: SWITCH, cpu: 3, va: mm, arg: 13n, asid: 7 }),
      full({ kind: OPERANDS, cpu: 3, va: 0n, asid: 7 }),
      full({ kind: VM_CREATE, cpu: 3, va: 6n, arg: 40n, asid: 7 }),
      full({ cpu: 3, va: 0x5000n, asid: 11, vm: 6 }),
      full({ cpu: 3, va: 0x5000n, asid: 11, vm: 0 }),
    ]);
    expect(result.rows.slice(0, 7)).toEqual(rows);
    expect(result.metadata).toMatchObject({ cpus: 6, cpuNode: [0, 0, 1, 0, 0, 1] });
  });

  it('counts the CPUs of a trace that does not say how many it has', async () => {
    const { rows, metadata } = await merged([{ rows: [row(1, 1, 5)] }, { rows: [row(2, 2, 5)] }], {
      separate: ['cpus'],
    });
    expect(rows.map(({ cpu }) => cpu)).toEqual([5, 11]);
    expect(metadata.cpus).toBe(null);
  });

  it('leaves phases alone', async () => {
    const { rows } = await merged([{ rows: [] }, { rows: [{ ...row(7, 1), kind: BEGIN }] }], { separate: ['cpus'] });
    expect(rows).toMatchObject([{ kind: BEGIN, va: 7n }]);
  });
});
