import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Table, tableFromIPC } from 'apache-arrow';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadExperiment } from '../../../host/config/experiment.js';
import { coreHash } from '../../../host/core/instance.js';
import { readCell } from '../../../host/results/manifest.js';
import { runSweep, type SweepOutcome } from '../../../host/sweep/sweep.js';
import { makeExperiment, makeTrace, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const dir = join(folder, 'out');
let table: Table;
let outcome: SweepOutcome;

// Two traces, one with one phase, and two machines, one without a second-level TLB: rows are (whole, phase) of cells 0
// and 1 on the trace `phased`, then the whole trace of cells 2 and 3 on `plain`.
beforeAll(async () => {
  await makeTrace(join(folder, 'phased.arrow'), { phases: true });
  await makeTrace(join(folder, 'plain.arrow'));
  const experiment = makeExperiment(folder, {
    title: 'Columns',
    traces: ['phased.arrow', 'plain.arrow'],
    zip: { 'machine.tlb.l2': [null, { sets: 4, ways: 2 }], 'replay.warmup': [0, 10] },
  });
  outcome = await runSweep(loadExperiment(experiment), dir, { jobs: 2, quiet: true });
  table = tableFromIPC(readFileSync(join(dir, 'results.arrow')));
});

const column = (name: string) => [...table.getChild(name)!];
const field = (name: string) => table.schema.fields.find((candidate) => candidate.name === name)!;

describe('results.arrow', () => {
  it('has a row for each cell and one for each of its phases', () => {
    expect(column('cell')).toEqual([0, 0, 1, 1, 2, 3]);
    expect(column('trace')).toEqual(['phased', 'phased', 'phased', 'phased', 'plain', 'plain']);
    expect(column('phase')).toEqual([null, 5, null, 5, null, null]);
    expect(column('phaseName')).toEqual([null, 'first half', null, 'first half', null, null]);
    expect(column('phaseCpu')).toEqual([null, 0, null, 0, null, null]);
  });

  it('has the varied keys, numbers as numbers and all else as text', () => {
    const array = '{"sets":4,"ways":2}';
    expect(column('machine.tlb.l2')).toEqual(['null', 'null', array, array, 'null', array]);
    expect(column('replay.warmup')).toEqual([0, 0, 10, 10, 0, 10]);
    expect(String(field('replay.warmup').type)).toBe('Float64');
  });

  it('has the counters of the summaries, null where a machine does not have them', () => {
    // 2,000 rows, two of them phase rows; 10 rows of warm-up, the first of them a phase row.
    const loads = column('access.load');
    expect([loads[0], loads[2], loads[4], loads[5]]).toEqual([1998, 1989, 2000, 1990]);
    const miss = column('tlb.l2.miss');
    expect(miss.map((value) => value === null)).toEqual([true, true, false, false, true, false]);
    const { totals, phases } = readCell(dir, outcome.manifest!.cells[1]);
    expect(miss.slice(2, 4)).toEqual([totals.tlb.l2.miss, phases[0].tlb.l2.miss]);
    expect(column('cycles.own')[0]).toBeNull();
    expect(column('cycles.own')[3]).toBe(phases[0].cycles.own);
  });

  it('keeps the counters of a group together', () => {
    const groups = table.schema.fields
      .filter(({ metadata }) => metadata.has('unit'))
      .map(({ name }) => name.split('.')[0]);
    const changes = groups.filter((group, i) => group !== groups[i - 1]);
    expect(new Set(changes).size).toBe(changes.length);
  });

  it('has the unit of every counter', () => {
    expect(field('walk.refs').metadata.get('unit')).toBe('descriptors');
    expect(field('cycles.total').metadata.get('unit')).toBe('cycles');
    expect(field('access.insns').metadata.get('unit')).toBe('instructions');
    expect(field('cell').metadata.has('unit')).toBe(false);
  });

  it('says what it is, and nothing of the run', () => {
    const document: unknown = JSON.parse(table.schema.metadata.get('nodewalk')!);
    expect(document).toEqual({ schema: 'nodewalk.results/1', core: coreHash(), title: 'Columns' });
    expect(table.schema.fields.filter(({ name }) => name.startsWith('run'))).toEqual([]);
  });
});
