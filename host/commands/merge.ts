// nodewalk merge: several traces as one, by time or one after the other.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { mergeTraces } from '../../traces/join/join.js';
import { type Separate } from '../../traces/join/parts.js';
import { bytes, number } from '../format.js';
import { progress, type Progress } from '../progress.js';

const APART: readonly Separate[] = ['cpus', 'asids', 'vms'];

const EXAMPLES = `
Rows go by the column time, which all traces have in the same unit; where times are equal, the trace named first comes first. Without
times, --concatenate puts the traces one after the other. What the traces say of the machine has to agree.

--separate keeps things of the traces apart that have the same numbers but are others: the CPUs of the second trace follow those of the
first, and so do address spaces (the mm of their events too) and virtual machines.

Examples:
  nodewalk merge thread1.arrow thread2.arrow -o both.arrow
  nodewalk merge server.arrow client.arrow -o both.arrow --separate cpus,asids
  nodewalk merge warmup.arrow run.arrow -o whole.arrow --concatenate
`;

interface Options {
  output: string;
  concatenate?: boolean;
  separate?: Separate[];
  compress?: 'lz4';
}

export function register(program: Command): void {
  program
    .command('merge')
    .description('make one trace of several, by time')
    .argument('<traces...>', 'Arrow traces')
    .requiredOption('-o, --output <file>', 'the trace to write')
    .option('--concatenate', 'one after the other, in the order given')
    .option('--separate <list>', `numbers of their own for each trace: ${APART.join(', ')}`, apart)
    .addOption(new Option('--compress <method>', 'pack the record batches (smaller, slower to read)').choices(['lz4']))
    .addHelpText('after', EXAMPLES)
    .action(run);
}

async function run(traces: string[], { output, concatenate, separate, compress }: Options): Promise<void> {
  let bar: Progress | undefined;
  const onProgress = (done: number, total: number) => (bar ??= progress('merging', total)).update(done);
  const options = { concatenate, separate, compress, onProgress };
  const written = await mergeTraces(traces, output, options).finally(() => bar?.stop());
  process.stderr.write(
    `nodewalk merge: ${output}: ${number(written.rows)} rows of ${traces.length} traces, ${bytes(written.bytes)}\n`,
  );
}

function apart(text: string): Separate[] {
  const names = text.split(',');
  const unknown = names.find((name) => !(APART as readonly string[]).includes(name));
  if (unknown === undefined) return names as Separate[];
  throw new InvalidArgumentError(`Expected ${APART.join(', ')}, with commas.`);
}
