// Writing a scenario: metadata, determinism, what is refused, and that a failed write leaves nothing.

import { existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { SCENARIOS, writeScenario } from '../../../host/synth/index.js';
import { inspect } from '../../../traces/info.js';
import { rowsOf, scratch } from '../../traces/support.js';
import { traceOf } from './support.js';

const path = scratch();
/** Enough for more than one record batch. */
const SMALL = { operations: 40, kernelFetches: 500 };

describe('writeScenario', () => {
  it.each(SCENARIOS.map(({ name }) => name))('%s: says in the metadata what the trace is', async (name) => {
    const few: Record<string, object> = { fork: { processes: 1 }, 'db-text': { operations: 1 } };
    const { metadata, phases } = await inspect(await traceOf(name, { nodes: 3, cpus: 5, ...few[name] }));
    // HYP mode and the stage 2 of KVM are Arm's.
    const machine = /^(hyp|s2|spe)-/.test(name)
      ? { arch: 'arm64', paging: { granule: '4K', vaBits: 48 } }
      : { arch: 'x86-64', paging: { levels: 4 } };
    expect(metadata).toMatchObject({
      ...machine,
      source: {
        tool: 'nodewalk synth',
        command: expect.stringContaining(`nodewalk synth ${name} --set nodes=3 --set cpus=5`),
        scenario: name,
        parameters: { nodes: 3, cpus: 5, seed: 1 },
      },
      cpus: 5,
      cpuNode: [0, 0, 1, 1, 2], // CPU c is on node floor(3c / 5)
    });
    expect(metadata!.nodes.map(({ node }) => node)).toEqual([0, 1, 2]);
    expect(metadata!.regions.map((region) => region.name)).toEqual([
      'text',
      'rodata',
      'init',
      'data',
      'modules',
      'vmalloc',
      'linear-map',
      'user-text',
      'user',
    ]);
    expect(phases.length).toBeGreaterThan(0);
    for (const phase of phases) {
      expect(phase.open).toBe(false);
      expect(phase.name).not.toBeNull();
    }
  });

  it('writes the same bytes for the same seed and other rows for another', async () => {
    const [a, b, c] = await Promise.all(
      [SMALL, SMALL, { ...SMALL, seed: 2 }].map((params) => traceOf('db-text', params)),
    );
    expect(readFileSync(a).equals(readFileSync(b))).toBe(true);
    expect(await rowsOf(a, { from: 0, to: 1000 })).not.toEqual(await rowsOf(c, { from: 0, to: 1000 }));
  });

  it('leaves out the columns that it never fills', async () => {
    expect((await inspect(await traceOf('db-text', { operations: 1 }))).columns).not.toContain('asid');
    expect((await inspect(await traceOf('fork', { processes: 1 }))).columns).toContain('asid');
  });

  it.each([
    ['db_text', {}, /unknown scenario "db_text"; did you mean db-text\?/],
    ['fork', { proceses: 3 }, /synth fork: unknown parameter "proceses"; did you mean processes\?/],
    ['fork', { puds: 'x' }, /synth fork: puds: expected a number, found "x"/],
    ['fork', { puds: 0 }, /synth fork: puds: expected at least 1, found 0/],
    ['fork', { forkers: [4] }, /synth fork: forkers: expected CPUs below 4, found \[4\]/],
    ['fork', { textBytes: '1X' }, /^synth fork: textBytes: expected bytes, as in 4096, 120K or 4M, found "1X"$/],
    ['fork', { textBytes: 65 }, /synth fork: textBytes: expected a multiple of 64 bytes, found 65/],
    ['fork', { textBytes: '20M' }, /synth fork: textBytes: expected functions that fit the kernel's text/],
    ['boot', { nodes: 3, cpus: 2 }, /synth boot: cpus: expected at least one for each of 3 nodes, found 2/],
    ['boot', { homeNode: 2 }, /synth boot: homeNode: expected a node below 2, found 2/],
    ['patch', { methods: ['nosnc'] }, /expected nosync or .* found "nosnc"; did you mean nosync\?/],
    ['patch', { batch: 3, sites: 2 }, /synth patch: batch: expected at most 2/],
    // vmalloc of x86-64 has 32 TiB, 64 root entries; the first one is in use.
    ['vmalloc', { slots: 64 }, /synth vmalloc: slots: expected at most 63/],
    ['module', { modules: 1e6 }, /synth module: modules: expected what fits/],
    ['db-text', { node: 2 }, /synth db-text: node: expected a node below 2, found 2/],
    ['db-text', { heapBytes: `${2 ** 16}G` }, /synth db-text: heapBytes: expected 4 heaps that fit/],
  ])('refuses %s with %o as wrong use', async (name, params, message) => {
    const error = await writeScenario(name, params, path('refused.arrow')).catch((e: unknown) => e);
    expect(error).toMatchObject({ exitCode: 2, message: expect.stringMatching(message) });
    expect(existsSync(path('refused.arrow'))).toBe(false);
  });

  it.skipIf(!existsSync('/dev/full'))('leaves nothing when the disk is full', async () => {
    // The temporary file's name is known, so it can be made to lead to a device that is always full.
    symlinkSync('/dev/full', `${path('full.arrow')}.tmp-${process.pid}`);
    await expect(writeScenario('db-text', SMALL, path('full.arrow'))).rejects.toThrow(
      /full.arrow: cannot write: no space/,
    );
    expect(readdirSync(path('.'))).toEqual([]);
  });
});
