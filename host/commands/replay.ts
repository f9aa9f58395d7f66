// nodewalk replay: one trace under one configuration.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Command } from 'commander';
import { UsageError } from '../../traces/errors.js';
import { describeConfig } from '../config/describe.js';
import { loadConfig } from '../config/load.js';
import { type Config } from '../config/schema.js';
import { progress } from '../progress.js';
import { hashTrace, replayTrace } from '../replay/replay.js';
import { saveText } from '../results/save.js';
import { saveProfile } from '../results/profile.js';
import { CpuStreams } from '../results/streams.js';
import { SUMMARY_FILE } from '../results/summary.js';
import { brokenInvariants, summaryText } from '../results/text.js';

interface Options {
  config?: string;
  set: string[];
  json?: boolean;
  output?: string;
  hash?: boolean;
}

const EXAMPLES = `
Without --config the preset "generic" applies. docs/configuration.md explains every key.

With replay.checks: true invariants are checked after every event; one that was broken is named and the exit code is 1.

Examples:
  nodewalk replay traces/samples/sqlite.arrow
  nodewalk replay trace.arrow --config haswell-ep --set memory.tables=interleave
  nodewalk replay trace.arrow --config my-machine.yaml --json > summary.json
  nodewalk replay kernel.arrow --config haswell-ep --set system.name=text-replication --set replay.mapping=captured
  nodewalk replay trace.arrow --set paging.pageSize=2M -o out/huge && nodewalk report out/huge
`;

export function register(program: Command): void {
  program
    .command('replay')
    .description('replay a trace under one configuration')
    .argument('<trace>', 'a trace (Arrow file)')
    .option('-c, --config <file or preset>', 'the configuration: YAML, JSON or the name of a preset')
    .option('-s, --set <key=value>', 'change a key, such as machine.tlb.l2.ways=16 (repeatable)', collect, [])
    .option('--json', 'print the summary document and nothing else')
    .option('-o, --output <dir>', 'write summary.json to this directory as well')
    .option('--hash', 'put the SHA-256 of the trace into the summary')
    .addHelpText('after', () => `\nKeys of a configuration:\n${describeConfig()}\n${EXAMPLES}`)
    .action(async (trace: string, options: Options) => {
      const { config } = loadConfig({ source: options.config, sets: options.set });
      if (options.output !== undefined) makeDirectory(options.output);
      const sha256 = options.hash ? await hashTrace(trace) : null;
      let bar: ReturnType<typeof progress> | undefined;
      const onProgress = (done: number, rows: number, repeated: number) =>
        (bar ??= progress('replaying', rows)).update(done + repeated, rows + repeated);
      const streams = streamsOf(config, options.output);
      const onSpeBytes = (_: number, cpu: number, bytes: Uint8Array) => streams?.append(cpu, bytes);
      const [summary] = await replayTrace(trace, [config], { sha256, onProgress, onSpeBytes })
        .catch((error: unknown) => {
          streams?.discard();
          throw error;
        })
        .finally(() => bar?.stop());
      const files = streams?.complete() ?? [];
      if (files.length > 0) {
        await saveProfile(join(options.output!, 'spe', 'perf.data'), files, config, summary.cpus.length);
      }
      const document = `${JSON.stringify(summary, null, 2)}\n`;
      if (options.output !== undefined) {
        saveText(join(options.output, SUMMARY_FILE), document);
      }
      process.stdout.write(options.json ? document : summaryText(summary));
      if (options.output !== undefined) process.stderr.write(`wrote ${join(options.output, SUMMARY_FILE)}\n`);
      const broken = brokenInvariants(summary);
      process.stderr.write(broken.map((line) => `nodewalk replay: ${line}\n`).join(''));
      if (broken.length > 0) process.exitCode = 1;
    });
}

/** Where the streams of profiling go; null where none are kept. */
function streamsOf({ system }: Config, output: string | undefined): CpuStreams | null {
  if (!system.speKeep) return null;
  if (output === undefined)
    throw new UsageError('system.speKeep: true writes streams beside the summary; name a directory with -o');
  return new CpuStreams(join(output, 'spe'));
}

/** Makes the directory of the results before the work starts. */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new UsageError(
      `${path}: expected a directory for the results, or a place for one (${(error as NodeJS.ErrnoException).code}); name another with -o`,
      { cause: error },
    );
  }
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}
