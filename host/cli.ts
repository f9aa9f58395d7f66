#!/usr/bin/env node
// The `nodewalk` command: one sub-command per file in commands/. stdout is data, stderr is talk; exit codes: 0 done, 1 the work
// failed, 2 the command line or a configuration is wrong, 130 interrupted.

import { Command, CommanderError } from 'commander';
import { NodewalkError } from '../traces/errors.js';
import * as check from './commands/check.js';
import * as compare from './commands/compare.js';
import * as convert from './commands/convert.js';
import * as cut from './commands/cut.js';
import * as explain from './commands/explain.js';
import * as info from './commands/info.js';
import * as merge from './commands/merge.js';
import * as presets from './commands/presets.js';
import * as replay from './commands/replay.js';
import * as report from './commands/report.js';
import * as sweep from './commands/sweep.js';
import * as synth from './commands/synth.js';
import * as translate from './commands/translate.js';
import { packageVersion } from './paths.js';

const EXAMPLES = `
Examples:
  valgrind --tool=lackey --trace-mem=yes --log-fd=9 ls 9>&1 >/dev/null | nodewalk convert - -o ls.arrow
  nodewalk replay ls.arrow --config haswell-ep --set machine.tlb.l2.ways=16
  nodewalk sweep demo -o out/demo

Exit codes: 0 done, 1 the work failed (bad input, full disk), 2 the command line or a configuration is wrong.
`;

function program(): Command {
  const root = new Command('nodewalk')
    .description('Replays captured memory-access traces through a model of address translation on NUMA machines.')
    .version(packageVersion())
    .showHelpAfterError('(nodewalk COMMAND --help shows examples)')
    .showSuggestionAfterError()
    .addHelpText('after', EXAMPLES);
  const commands = [
    ...[convert, synth, info, check, cut, merge],
    ...[replay, sweep, report, compare, translate, explain, presets],
  ];
  for (const command of commands) command.register(root);
  for (const command of [root, ...root.commands]) command.exitOverride();
  return root;
}

// A reader that has seen enough (head, less) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await program().parseAsync();
} catch (error) {
  process.exitCode = failed(error);
}

/** Says what went wrong; the exit code. */
function failed(error: unknown): number {
  // commander has printed its own message already; help and version end here too, with code 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof NodewalkError) {
    process.stderr.write(`nodewalk: ${error.message}\n`);
    return error.exitCode;
  }
  process.stderr.write(
    `nodewalk: internal error, please report it:\n${error instanceof Error ? error.stack : String(error)}\n`,
  );
  return 1;
}
