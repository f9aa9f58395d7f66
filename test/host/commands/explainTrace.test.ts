// explain on a trace: the tables that its replay has built, as the CPUs of each node see them.

import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { register } from '../../../host/commands/explain.js';
import { packageRoot } from '../../../host/paths.js';
import { caughtOutput } from '../output.js';

const SAMPLES = join(packageRoot(), 'traces/samples');
const output = caughtOutput();

async function run(...args: string[]): Promise<void> {
  const program = new Command('nodewalk').exitOverride();
  register(program);
  for (const command of program.commands) command.exitOverride();
  await program.parseAsync(['explain', ...args], { from: 'user' });
}

interface Walk {
  nodes: number[];
  pa: string | null;
  steps: { level: number; node: number; kind: string; address: string | null }[];
}

async function walksOf(...args: string[]): Promise<Walk[]> {
  await run(...args, '--json');
  return (JSON.parse(output.stdout) as { walks: Walk[] }[])[0].walks;
}

describe('explain on a trace', () => {
  const kernel = join(SAMPLES, 'kernel-text/x86-64');
  const replicated = ['--config', 'haswell-ep', '--set', 'replay.mapping=tables', '--set', `replay.tables=${kernel}`];

  it("shows each node's own walk under replication", async () => {
    const walks = await walksOf(`${kernel}.arrow`, '--va', '0xffffffff81000000', '--row', '50000', ...replicated, '--set', 'system.name=text-replication'); // prettier-ignore
    // The text starts at 0x1000000 of node 0 (the trace's region) in pages of 2 MiB; node 1 has tables and a copy of its own.
    expect(walks.map(({ nodes }) => nodes)).toEqual([[0], [1]]);
    expect(walks[0].pa).toBe('0x1000000');
    expect(BigInt(walks[1].pa!) >> 40n).toBe(1n);
    for (const { nodes, steps } of walks) {
      expect(steps.map(({ level, node, kind }) => [level, node, kind])).toEqual([
        [4, nodes[0], 'table'],
        [3, nodes[0], 'table'],
        [2, nodes[0], 'leaf'],
      ]);
    }
  });

  it('shows one walk for all nodes without replication', async () => {
    const walks = await walksOf(`${kernel}.arrow`, '--va', '0xffffffff81000123', '--row', '50000', ...replicated);
    expect(walks.map(({ nodes, pa }) => [nodes, pa])).toEqual([[[0, 1], '0x1000123']]);
  });

  it('says what is not there yet, and what is there after more rows', async () => {
    const trace = join(SAMPLES, 'sqlite.arrow');
    // The first row of the trace is a fetch at this address.
    await run(trace, '--va', '0x401ab70', '--mode', 'user', '--row', '0');
    expect(output.stdout).toBe('0x401ab70 after 0 rows\n\nCPUs of node 0:\nno tables\n');
    output.stdout = '';
    await run(trace, '--va', '0x401ab70', '--mode', 'user', '--row', '1');
    expect(output.stdout.match(/^level \d: entry at /gm)).toHaveLength(4);
    expect(output.stdout).toMatch(/^PA 0x8000000b70$/m);
    output.stdout = '';
    await run(trace, '--va', '0x9999000', '--mode', 'user', '--row', '1');
    expect(output.stdout).toMatch(/^not mapped$/m);
  });

  it('refuses what belongs to the other kind of input', async () => {
    const trace = join(SAMPLES, 'sqlite.arrow');
    await expect(run(trace, '--va', '0', '--root', 'cr3_cpu0')).rejects.toThrow(
      /--root and --access are for a table image/,
    );
    await expect(run(trace, '--va', '0', '--row', '1000001')).rejects.toThrow(/--row 1000001: .* has 1000000 rows/);
    await expect(run(SAMPLES, '--va', '0', '--row', '1')).rejects.toThrow(/--config, --set and --row are for a trace/);
  });
});
