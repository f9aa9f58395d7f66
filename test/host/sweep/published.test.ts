// Sweeps of several parts and of experiments that carry published numbers: published.csv beside the results.

import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadExperiment, withTraces } from '../../../host/config/experiment.js';
import { reportPage } from '../../../host/report/report.js';
import { readSweep } from '../../../host/report/sweepData.js';
import { runSweep } from '../../../host/sweep/sweep.js';
import { fixtureWorker, makeExperiment, makeTrace, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const TABLES = 'memory.tables';
const gain = {
  ...{ gain: 'speedup', trace: 'phased', phase: 5 },
  ...{ of: { [TABLES]: 'local' }, over: { [TABLES]: { node: 1 } } },
};
const document = {
  title: 'Parts',
  parts: [
    { traces: ['phased.arrow'], vary: { [TABLES]: [{ node: 1 }, 'local'] } },
    { traces: ['phased.arrow', 'plain.arrow'], vary: { 'machine.cpi': [1, 2] } },
  ],
  published: [{ row: 'T1', case: 'local tables', published: 3, low: 0, high: 1000, measure: gain }],
};
let file: string;

beforeAll(async () => {
  await makeTrace(join(folder, 'phased.arrow'), { phases: true });
  await makeTrace(join(folder, 'plain.arrow'));
  await makeTrace(join(folder, 'other.arrow'), { rows: 1000, phases: true });
  file = makeExperiment(folder, document);
});

const sweep = (name: string, source = file, options = {}) =>
  runSweep(loadExperiment(source), join(folder, name), { jobs: 2, quiet: true, ...options });
const csv = (name: string) => join(folder, name, 'published.csv');

describe('a sweep of several parts', () => {
  it('has a column for every key that some part varies, null where a part does not', async () => {
    await sweep('parts');
    const table = tableFromIPC(readFileSync(join(folder, 'parts/results.arrow')));
    // Cells 0 to 3 are of the trace with a phase and have two rows each, 4 and 5 one.
    const column = (name: string) => [...table.getChild(name)!] as unknown[];
    const node = '{"node":1}';
    expect(column('cell')).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4, 5]);
    expect(column(TABLES)).toEqual([node, node, 'local', 'local', null, null, null, null, null, null]);
    expect(column('machine.cpi')).toEqual([null, null, null, null, 1, 1, 2, 2, 1, 2]);
  });

  it('keeps the parts apart in the report, each with its baseline', async () => {
    await sweep('apart');
    const { traces } = readSweep(join(folder, 'apart'));
    expect(traces.map(({ title, baseline }) => [title, baseline?.cell])).toEqual([
      ['phased (1 of 2)', 0],
      ['phased (2 of 2)', 2],
      ['plain', 4],
    ]);
    const page = await reportPage(join(folder, 'apart'));
    expect(page).toContain('<h2>phased (2 of 2)</h2>');
    expect(page).toMatch(/<td class="wraps">local tables<\/td>.*<td>inside<\/td>/s);
  });
});

describe('published.csv', () => {
  it('has what was measured, from the cycles of the CPU that owns the phase', async () => {
    await sweep('measured');
    const [remote, local] = readSweep(join(folder, 'measured')).traces[0].cells.map(
      ({ phases }) => phases[0].flat['cycles.own'],
    );
    // CPU 0 owns the phase and has its tables on node 1.
    expect(remote).toBeGreaterThan(local);
    const measured = 100 * (remote / local - 1);
    expect(readFileSync(csv('measured'), 'utf8')).toBe(
      `row,case,measured,published,low,high,inBand\nT1,local tables,${measured},3,0,1000,true\n`,
    );
  });

  it('is written by a sweep that replays nothing, and goes with what was published', async () => {
    await sweep('resumed');
    const before = readFileSync(csv('resumed'), 'utf8');
    rmSync(csv('resumed'));
    // A worker that cannot start would fail every cell that is replayed.
    const again = await sweep('resumed', file, { workerFile: fixtureWorker('brokenWorker') });
    expect(again.failures).toEqual([]);
    expect(readFileSync(csv('resumed'), 'utf8')).toBe(before);
    await sweep('resumed', makeExperiment(folder, { ...document, published: [] }, 'without'));
    expect(existsSync(csv('resumed'))).toBe(false);
  });
});

it('other files for the traces are replayed under the names of the experiment', async () => {
  const experiment = withTraces(loadExperiment(file), [join(folder, 'other.arrow')]);
  const { manifest } = await runSweep(experiment, join(folder, 'full'), { jobs: 2, quiet: true });
  expect(manifest!.traces.map(({ name, path, records }) => [name, path, records])).toEqual([
    ['phased', join(folder, 'other.arrow'), 1000],
    ['plain', 'plain.arrow', 2000],
  ]);
  expect(existsSync(csv('full'))).toBe(true);
});

it('a scenario is made once, in the directory, and replayed under its name', async () => {
  const made = { synth: 'db-text', set: { arch: 'arm64', operations: 2 } };
  const source = makeExperiment(folder, { traces: ['plain.arrow', made], config: 'neoverse-n1' }, 'made');
  const said: string[] = [];
  const say = (message: string) => said.push(message);
  const { manifest } = await sweep('made', source, { say });
  const [file, ...others] = readdirSync(join(folder, 'made/scenarios'));
  expect(others).toEqual([]);
  expect(manifest!.traces.map(({ name, path }) => [name, path])).toEqual([
    ['plain', 'plain.arrow'],
    ['db-text', 'synth:db-text'],
  ]);
  expect(said).toEqual(['making the trace db-text']);
  said.length = 0;
  // A trace is there before the manifest is: a directory in which nothing else was done yet is no foreign one.
  rmSync(join(folder, 'made/manifest.json'));
  rmSync(join(folder, 'made/cells'), { recursive: true });
  rmSync(join(folder, 'made/results.arrow'));
  await sweep('made', source, { say });
  expect(said).toEqual([]);
  // Other parameters are another trace.
  makeExperiment(folder, { traces: [{ ...made, set: { ...made.set, operations: 3 } }], config: 'neoverse-n1' }, 'made');
  await sweep('made', source, { say });
  expect(readdirSync(join(folder, 'made/scenarios'))).toHaveLength(2);
  expect(readdirSync(join(folder, 'made/scenarios'))).toContain(file);
});
