// Curves of a report that are drawn by what the data are: published numbers over a number, time over CPUs, memory that waits to be freed.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../host/config/load.js';
import { packageRoot } from '../../../host/paths.js';
import { replayTrace } from '../../../host/replay/replay.js';
import { reportPage } from '../../../host/report/report.js';
import { saveText } from '../../../host/results/save.js';
import { SUMMARY_FILE } from '../../../host/results/summary.js';
import { writeScenario } from '../../../host/synth/index.js';
import { makeExperiment, temporaryFolder } from '../sweep/support.js';

const folder = temporaryFolder();
const CPUS = [1, 2, 4];
const PUBLISHED = [3, null, 5];
const config = { paging: { format: 'arm64' }, system: { name: 'stage2-faults' } };

/** The page of a sweep over traces of one scenario that differ in CPUs, with published numbers for some. */
function sweepReport(published: object[]): string {
  const traces = CPUS.map((cpus) => ({
    ...{ synth: 's2-collapse', name: `cpus-${cpus}` },
    set: { nodes: 1, cpus, memory: '4M', iterations: 4 },
  }));
  const vary = { 'system.rcuGraceUs': [1000, 20000] };
  const file = makeExperiment(folder, { traces, config, vary, published }, 'curves');
  const out = join(folder, 'curves-out');
  const cli = join(packageRoot(), 'dist/host/cli.js');
  const { status, stderr } = spawnSync(process.execPath, [cli, 'sweep', file, '-o', out], { encoding: 'utf8' });
  expect([status, stderr.match(/error/i)]).toEqual([0, null]);
  return readFileSync(join(out, 'report.html'), 'utf8');
}

/** What marks of a figure say, by its caption. */
function labels(page: string, caption: string): string[] {
  const figures = page.split('<figure>').filter((part) => part.startsWith(`<figcaption>${caption}`));
  expect(figures).toHaveLength(1);
  return [...figures[0].matchAll(/aria-label="([^"]*kind: [^"]*)"/g)].map(([, label]) => label);
}

describe('a sweep', () => {
  let page: string;
  beforeAll(() => {
    page = sweepReport(
      CPUS.map((cpus, i) => ({
        ...{ row: 'X', published: PUBLISHED[i] },
        at: { table: 'a table (cycles)', line: String(cpus), column: 'one', axis: 'vCPUs' },
        measure: { value: 'cycles.critical', trace: `cpus-${cpus}`, of: { 'system.rcuGraceUs': 1000 } },
      })),
    );
  });

  it('draws published numbers whose lines are numbers beside the measured ones', () => {
    const found = labels(page, 'Measured, a table (cycles)');
    const of = (kind: string) => found.filter((label) => label.includes(`kind: ${kind}`));
    expect(of('measured').map((label) => /vCPUs: ([0-9]+)/.exec(label)?.[1])).toEqual(['1', '2', '4']);
    expect(of('published')).toHaveLength(2);
    expect(page).toContain('<th scope="col">vCPUs</th>');
  });

  it('draws the time of traces that differ in CPUs, a line for each cell', () => {
    const found = labels(page, 's2-collapse: whole trace');
    expect(found.filter((label) => label.includes('rcuGraceUs 20000'))).toHaveLength(CPUS.length);
    expect(found).toHaveLength(2 * CPUS.length);
    for (const phase of ['populate (1)', 'protect (2)', 'collapse (3)', 'dirty (4)'])
      expect(labels(page, `s2-collapse: ${phase}`)).toHaveLength(2 * CPUS.length);
  });

  it('draws memory that waits to be freed', () => {
    expect(page).toContain('<h2>Memory that waits to be freed</h2>');
    expect(page).toContain('simulated time, ms');
    expect(page).toContain('cpus-4 · rcuGraceUs 20000');
  });
});

describe('a replay', () => {
  const replayPage = async (scenario: string, sets: string[]) => {
    const path = join(folder, `${scenario}.arrow`);
    await writeScenario(scenario, { cpus: 2, nodes: 1, arch: 'arm64' }, path);
    const [summary] = await replayTrace(path, [loadConfig({ sets: ['paging.format=arm64', ...sets] }).config]);
    const out = join(folder, scenario);
    mkdirSync(out);
    saveText(join(out, SUMMARY_FILE), JSON.stringify(summary));
    return reportPage(out);
  };

  it('shows its timeline', async () => {
    const page = await replayPage('s2-dirty-log', ['system.name=stage2-faults']);
    for (const caption of ['All tables of stage 2', 'CPUs at mmu_lock', 'Faults taken'])
      expect(page).toContain(`<figcaption>${caption}`);
    // Nothing was detached.
    expect(page).not.toContain('<figcaption>Detached tables');
  });

  it('has none where there is no timeline', async () => {
    expect(await replayPage('fork', [])).not.toContain('<h2>Over time</h2>');
  });
});
