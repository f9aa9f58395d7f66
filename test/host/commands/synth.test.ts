// The command synth as it is called: what goes to stdout, what to stderr, what is refused; Ctrl-C leaves nothing.

import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { register } from '../../../host/commands/synth.js';
import { packageRoot } from '../../../host/paths.js';
import { parametersOf, SCENARIOS } from '../../../host/synth/index.js';
import { inspect } from '../../../traces/info.js';
import { caughtOutput } from '../output.js';

const folder = mkdtempSync(join(tmpdir(), 'nodewalk-synth-'));
afterAll(() => rmSync(folder, { recursive: true }));

const output = caughtOutput();

async function run(...args: string[]): Promise<void> {
  const program = new Command('nodewalk').exitOverride();
  register(program);
  for (const command of program.commands) command.exitOverride();
  await program.parseAsync(['synth', ...args], { from: 'user' });
}

describe('synth', () => {
  it('writes a trace with the parameters that --set states, and says so on stderr', async () => {
    const trace = join(folder, 'boot.arrow');
    await run('boot', '-o', trace, '--set', 'cpus=3', '--set', 'textBytes=16M', '--compress', 'lz4');
    // boot with its 10 operands in 5 rows, 2 cpu_up, the phase's 2 rows
    expect(output.stderr).toMatch(/^nodewalk synth: .*boot.arrow: 9 rows, .*\n$/);
    expect(output.stdout).toBe('');
    expect((await inspect(trace)).metadata!.source).toMatchObject({ parameters: { cpus: 3, textBytes: 16 * 2 ** 20 } });
  });

  it('lists the scenarios, or all their parameters as JSON', async () => {
    await run('--list');
    for (const { name, summary } of SCENARIOS) expect(output.stdout).toMatch(new RegExp(`^${name} +${summary}$`, 'm'));
    output.stdout = '';
    await run('--list', '--json');
    const list = JSON.parse(output.stdout) as { name: string; parameters: { properties: object } }[];
    expect(list.map(({ name }) => name)).toEqual(SCENARIOS.map(({ name }) => name));
    expect(list[1].parameters.properties).toHaveProperty('processes.default', 100);
  });

  it.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))(
    '%s --help shows every parameter with its meaning, and examples',
    async (name, scenario) => {
      await expect(run(name, '--help')).rejects.toMatchObject({ exitCode: 0 });
      for (const [parameter] of parametersOf(scenario))
        expect(output.stdout).toMatch(new RegExp(`^${parameter} .*\\S$`, 'm'));
      for (const example of scenario.examples) expect(output.stdout).toContain(example);
    },
  );

  it.each([
    [[], /expected a scenario; nodewalk synth --list/],
    [['frk', '-o', 'x'], /unknown scenario "frk"; did you mean fork\?/],
    [['fork'], /expected the trace to write: -o fork.arrow/],
    [['fork', '-o', 'x', '--set', 'cpus'], /--set cpus: expected PARAMETER=VALUE/],
    [['fork', '-o', 'x', '--set', 'pages=a'], /synth fork: pages: expected a number, found "a"/],
    [['fork', '-o', 'x', '--compress', 'zip'], /--compress: unknown method "zip"/],
  ])('refuses %j as wrong use', async (args, message) => {
    const error = await run(...args).catch((e: unknown) => e);
    expect(error).toMatchObject({ exitCode: 2, message: expect.stringMatching(message) });
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('leaves nothing at %s', async (signal, code) => {
    const work = mkdtempSync(join(folder, 'interrupted-'));
    // Longer than anybody waits: about 10^9 rows.
    const args = ['synth', 'db-text', '-o', join(work, 'x.arrow'), '--set', 'operations=100000'];
    const child = spawn(process.execPath, [join(packageRoot(), 'dist/host/cli.js'), ...args]);
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    while (readdirSync(work).length === 0) await wait(5);
    child.kill(signal);
    expect(await ended).toBe(code);
    expect(readdirSync(work)).toEqual([]);
  });
});
