// Invariants in a sweep, as a user runs it: a broken one is named with its cell, and the results are there all the same.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { packageRoot } from '../../../host/paths.js';
import { writeScenario } from '../../../host/synth/index.js';
import { makeExperiment, temporaryFolder } from './support.js';

const folder = temporaryFolder();

it('a cell that breaks an invariant is named, and the exit code is 1', async () => {
  await writeScenario('patch', { patches: 4 }, join(folder, 'patch.arrow'));
  const sweep = (name: string, faults: string[][]) => {
    const config = { replay: { checks: true }, system: { name: 'text-replication' } };
    const file = makeExperiment(folder, { traces: ['patch.arrow'], config, vary: { 'system.inject': faults } }, name);
    const out = join(folder, `${name}-out`);
    const args = [join(packageRoot(), 'dist/host/cli.js'), 'sweep', file, '-o', out, '--no-report'];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect(existsSync(join(out, 'results.arrow'))).toBe(true);
    return { status, stderr };
  };
  const broken = sweep('broken', [[], ['skip-replica-patch']]);
  expect(broken.status).toBe(1);
  expect(broken.stderr).toMatch(/cell 1: invariant divergence was broken [0-9]+ times; first at record/);
  expect(broken.stderr).not.toMatch(/cell 0: /);
  expect(sweep('sound', [[]]).status).toBe(0);
});
