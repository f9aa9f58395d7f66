import { mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadExperiment } from '../../../host/config/experiment.js';
import { readManifest } from '../../../host/results/manifest.js';
import { type SweepOptions, runSweep } from '../../../host/sweep/sweep.js';
import { InputError, NodewalkError, UsageError } from '../../../traces/errors.js';
import { cellFiles, fixtureWorker, makeExperiment, makeTrace, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const VARY = { 'machine.tlb.l2.ways': [1, 2, 4], 'memory.tables': ['first-touch', { node: 1 }] };
let experiment: string;

beforeAll(async () => {
  await makeTrace(join(folder, 'a.arrow'), { phases: true });
  await makeTrace(join(folder, 'b.arrow'), { seed: 7, rows: 3000 });
  await makeTrace(join(folder, 'dies.arrow'));
  await makeTrace(join(folder, 'bad.arrow'), { badRow: 1234 });
  experiment = makeExperiment(folder, { title: 'Test', traces: ['a.arrow', 'b.arrow'], vary: VARY });
});

async function sweep(file: string, name: string, options: Partial<SweepOptions> = {}) {
  const dir = join(folder, name);
  const said: string[] = [];
  const say = (message: string) => said.push(message);
  const outcome = await runSweep(loadExperiment(file), dir, { jobs: 2, quiet: true, say, ...options });
  return { dir, said, ...outcome, manifest: outcome.manifest! };
}

const results = (dir: string) => readFileSync(join(dir, 'results.arrow'));

describe('a sweep', () => {
  it('gives the same results for any number of workers', async () => {
    const [one, ...others] = await Promise.all([1, 2, 3].map((jobs) => sweep(experiment, `jobs${jobs}`, { jobs })));
    expect(one.manifest.cells.every(({ done }) => done)).toBe(true);
    for (const { dir } of others) expect(results(dir).equals(results(one.dir))).toBe(true);
  });

  it('replays nothing when everything is there', async () => {
    const { dir } = await sweep(experiment, 'again');
    const before = results(dir);
    // A worker that cannot start would fail every cell that is replayed.
    const again = await sweep(experiment, 'again', { workerFile: fixtureWorker('brokenWorker') });
    expect(again.failures).toEqual([]);
    expect(again.said).toEqual(['12 of 12 cells were there already']);
    expect(results(dir).equals(before)).toBe(true);
  });

  it('replays only what is missing or damaged', async () => {
    const { dir, manifest } = await sweep(experiment, 'missing');
    const before = results(dir);
    const old = new Date(0);
    for (const { file } of manifest.cells) utimesSync(join(dir, file), old, old);
    rmSync(join(dir, manifest.cells[3].file));
    writeFileSync(join(dir, manifest.cells[5].file), readFileSync(join(dir, manifest.cells[5].file)).subarray(0, 100));
    // The summary of another cell under this one's name.
    writeFileSync(join(dir, manifest.cells[7].file), readFileSync(join(dir, manifest.cells[8].file)));
    const { said } = await sweep(experiment, 'missing');
    expect(said).toEqual(['9 of 12 cells were there already']);
    const replayed = manifest.cells.filter(({ file }) => statSync(join(dir, file)).mtimeMs !== 0);
    expect(replayed.map(({ cell }) => cell)).toEqual([3, 5, 7]);
    expect(results(dir).equals(before)).toBe(true);
  });

  it('replays what a changed configuration or trace affects', async () => {
    const trace = await makeTrace(join(folder, 'changing.arrow'));
    const vary = { 'machine.tlb.l2.ways': [1, 2] };
    const file = makeExperiment(folder, { traces: ['changing.arrow'], vary }, 'changing');
    const { dir, manifest: first } = await sweep(file, 'changing');
    makeExperiment(folder, { traces: ['changing.arrow'], vary: { 'machine.tlb.l2.ways': [2, 3] } }, 'changing');
    expect((await sweep(file, 'changing')).said).toEqual(['1 of 2 cells were there already']);

    await makeTrace(trace, { seed: 99, rows: 2001 });
    const { said, manifest } = await sweep(file, 'changing');
    expect(said).toEqual([]);
    expect(manifest.traces[0].records).toBe(2001);
    // Cells that are not in the experiment any more keep their files: 3 configurations of the first trace, 2 of the second.
    expect(cellFiles(dir)).toHaveLength(5);
    expect(manifest.cells.map(({ hash }) => hash)).not.toContain(first.cells[0].hash);
  });

  it('replays once what two cells have in common', async () => {
    // A second level given as an array and the same one given as a list resolve to the same configuration.
    const array = { sets: 128, ways: 12 };
    const vary = { 'machine.tlb.l2': [array, [array]] };
    const file = makeExperiment(folder, { traces: ['a.arrow'], vary }, 'twins');
    const { dir, manifest } = await sweep(file, 'twins');
    expect(manifest.cells.map(({ done }) => done)).toEqual([true, true]);
    expect(cellFiles(dir)).toHaveLength(1);
  });

  it('removes what a killed run left half-written', async () => {
    const dir = join(folder, 'killed');
    mkdirSync(join(dir, 'cells'), { recursive: true });
    await sweep(experiment, 'killed2');
    writeFileSync(join(dir, 'manifest.json'), readFileSync(join(folder, 'killed2/manifest.json')));
    for (const name of ['manifest.json', 'cells/00.json']) writeFileSync(join(dir, `${name}.tmp-1`), '{');
    await sweep(experiment, 'killed');
    expect([...cellFiles(dir)].filter((name) => name.includes('.tmp-'))).toEqual([]);
    expect(() => statSync(join(dir, 'manifest.json.tmp-1'))).toThrow('ENOENT');
  });

  it('keeps the other traces when one of them is bad, and reports it once', async () => {
    const file = makeExperiment(folder, { traces: ['a.arrow', 'bad.arrow', 'b.arrow'], vary: VARY }, 'bad');
    const { dir, failures, manifest } = await sweep(file, 'bad', { jobs: 6 });
    expect(failures).toHaveLength(1);
    expect(failures[0].cells).toEqual([6, 7, 8, 9, 10, 11]);
    expect(failures[0].message).toMatch(/bad\.arrow: record 1234: expected a kind of row/);
    expect(manifest.cells.filter(({ done }) => done)).toHaveLength(12);
    expect(() => results(dir)).toThrow('ENOENT');
  });

  it('keeps the other cells when a worker dies, and a rerun does only those of the dead one', async () => {
    const file = makeExperiment(folder, { traces: ['a.arrow', 'dies.arrow'], vary: VARY }, 'dead');
    const { failures, dir } = await sweep(file, 'dead', { workerFile: fixtureWorker('dyingWorker') });
    expect(failures.flatMap(({ cells }) => cells)).toEqual([6, 7, 8, 9, 10, 11]);
    expect(failures[0].message).toMatch('its worker died: worker exited with code: 7');
    expect(readManifest(dir).cells.filter(({ done }) => done)).toHaveLength(6);
    const again = await sweep(file, 'dead');
    expect(again.said).toEqual(['6 of 12 cells were there already']);
    expect(again.failures).toEqual([]);
    expect(results(dir).length).toBeGreaterThan(0);
  });

  it('names the file that cannot be written, and can be resumed', async () => {
    const { manifest } = await sweep(experiment, 'unwritable2');
    const blocked = join(folder, 'unwritable', manifest.cells[2].file);
    // A directory in the place of the file stops the rename, as a full disk would stop the write.
    await sweep(makeExperiment(folder, { traces: ['a.arrow'] }, 'small'), 'unwritable');
    mkdirSync(blocked);
    const failing = sweep(experiment, 'unwritable');
    await expect(failing).rejects.toThrow(NodewalkError);
    await expect(failing).rejects.toThrow(blocked);
    rmSync(blocked, { recursive: true });
    const { dir } = await sweep(experiment, 'unwritable');
    expect(results(dir).equals(results(join(folder, 'unwritable2')))).toBe(true);
  });

  it('drops results of other cells before it starts', async () => {
    const { dir } = await sweep(makeExperiment(folder, { traces: ['a.arrow'] }, 'first'), 'reused');
    expect(results(dir).length).toBeGreaterThan(0);
    const file = makeExperiment(folder, { traces: ['bad.arrow'] }, 'second');
    await sweep(file, 'reused');
    expect(() => results(dir)).toThrow('ENOENT');
  });
});

describe('before anything is replayed', () => {
  it('a directory of something else is refused', async () => {
    const foreign = join(folder, 'foreign');
    mkdirSync(foreign);
    writeFileSync(join(foreign, 'thesis.tex'), '');
    await expect(sweep(experiment, 'foreign')).rejects.toThrow(/found thesis\.tex and no manifest\.json/);
    writeFileSync(join(foreign, 'manifest.json'), '{"name":"web app"}');
    await expect(sweep(experiment, 'foreign')).rejects.toThrow(UsageError);
    await expect(sweep(experiment, 'a.arrow')).rejects.toThrow(/found a file/);
  });

  it('a trace that does not open is an error', async () => {
    const file = makeExperiment(folder, { traces: ['a.arrow', 'none.arrow'] }, 'none');
    await expect(sweep(file, 'none')).rejects.toThrow(InputError);
    expect(() => statSync(join(folder, 'none'))).toThrow('ENOENT');
  });

  it('a machine with fewer CPUs than the trace is an error that names the cell', async () => {
    const file = makeExperiment(folder, { traces: ['a.arrow'], vary: { 'machine.cpus': [2, 1] } }, 'cpus');
    await expect(sweep(file, 'cpus')).rejects.toThrow(
      /cell 1: expected a machine with the 2 CPUs of .*, found one with 1/,
    );
  });

  it('a trace that is listed twice is an error', async () => {
    const file = makeExperiment(folder, { traces: ['a.arrow', './a.arrow'] }, 'twice');
    await expect(sweep(file, 'twice')).rejects.toThrow(UsageError);
  });
});
