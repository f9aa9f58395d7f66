// nodewalk cut: filters, slices and samples a trace.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { cutTrace, type CutOptions } from '../../traces/cut/cut.js';
import { type Interval } from '../../traces/cut/filters.js';
import { UsageError } from '../../traces/errors.js';
import { bytes, number, percent } from '../format.js';
import { progress, type Progress } from '../progress.js';
import { parseAddress } from '../tables/text.js';

const EXAMPLES = `
Filters combine: an access stays when every one of them lets it pass. Of those that pass, --skip leaves out the first, --every or
--window and --period take a sample, --first ends the cut. Markers and events of the system stay wherever they are, as later
rows depend on them (--no-events leaves them out, --kind with names of events keeps only those); a phase stays when
something in it does. Lists have commas, LIST of CPUs also ranges: 0,4-7. Sizes and addresses may end in k, m or g.

Examples:
  nodewalk cut trace.arrow -o fork.arrow --phase "fork/1, node 0"
  nodewalk cut trace.arrow -o text.arrow --range text --mode kernel --kind fetch
  nodewalk cut trace.arrow -o sample.arrow --window 100000 --period 10000000
  nodewalk cut trace.arrow -o head.arrow --first 1m --cpu 0-3
  nodewalk cut trace.arrow -o low.arrow --range 0..0x800000000000 --no-events
`;

interface Options {
  output: string;
  cpu?: number[];
  mode?: string[];
  phase?: string[];
  range?: (Interval | string)[];
  paRange?: Interval[];
  kind?: string[];
  asid?: number[];
  tid?: number[];
  time?: Interval;
  skip?: number;
  every?: number;
  window?: number;
  period?: number;
  first?: number;
  events: boolean;
  compress?: string;
}

export function register(program: Command): void {
  program
    .command('cut')
    .description('filter, slice and sample a trace')
    .argument('<trace>', 'an Arrow trace')
    .requiredOption('-o, --output <file>', 'the trace to write')
    .option('--cpu <list>', 'accesses of these CPUs', numbers)
    .option('--mode <list>', 'of these modes: user, kernel, hypervisor, guest-user ..., guest', list)
    .option('--phase <phase...>', 'in these phases: numbers, or a name as info shows it')
    .option('--range <from..to>', 'with a va in this range or named region (repeatable)', ranges)
    .option('--pa-range <from..to>', 'with a pa in this range (repeatable)', paRanges)
    .option('--kind <list>', 'of these kinds: fetch, load, store, data, names of events', list)
    .option('--asid <list>', 'of these address spaces', numbers)
    .option('--tid <list>', 'of these threads', numbers)
    .option('--time <from..to>', 'in this time, in the unit of the trace', interval)
    .option('--skip <n>', 'leave out the first n of them', count)
    .option('--every <n>', 'take one in n', positive)
    .option('--window <n>', 'with --period: take the first n ...', positive)
    .option('--period <m>', '... of every m', positive)
    .option('--first <n>', 'stop after n', positive)
    .option('--no-events', 'leave out markers and events of the system')
    .addOption(new Option('--compress <method>', 'pack the record batches (smaller, slower to read)').choices(['lz4']))
    .addHelpText('after', EXAMPLES)
    .action(run);
}

async function run(trace: string, options: Options, command: Command): Promise<void> {
  const { window, period, every } = options;
  if ((window === undefined) !== (period === undefined)) throw new UsageError('cut: --window and --period go together');
  if (window !== undefined && every !== undefined) throw new UsageError('cut: --every, or --window with --period');
  if (window !== undefined && window > period!)
    throw new UsageError(`cut: --window ${window} is larger than --period ${period}`);
  let bar: Progress | undefined;
  const cut: CutOptions = {
    ...{ cpus: options.cpu, modes: options.mode, phases: options.phase, ranges: options.range },
    ...{ paRanges: options.paRange, kinds: options.kind, asids: options.asid, tids: options.tid },
    ...{ time: options.time, skip: options.skip, every, window, period, first: options.first, events: options.events },
    compress: options.compress as 'lz4' | undefined,
    description: described(command),
    onProgress: (done, total) => (bar ??= progress('cutting', total)).update(done),
  };
  const written = await cutTrace(trace, options.output, cut).finally(() => bar?.stop());
  const share = written.from === 0 ? '' : ` (${percent(written.rows / written.from)})`;
  process.stderr.write(
    `nodewalk cut: ${options.output}: ${number(written.rows)} of ${number(written.from)} rows${share}, ${bytes(written.bytes)}\n`,
  );
}

/** The filters as they were asked for, in the order of the help. */
function described(command: Command): string {
  const asked = command.options.filter(
    ({ long }) => long !== '--output' && long !== '--compress' && command.getOptionValueSource(nameOf(long!)) === 'cli',
  );
  const texts = asked.map(
    ({ long }) => `${long!}${valueText(command.getOptionValue(nameOf(long!)), long === '--time')}`,
  );
  return ['cut', ...texts].join(' ');
}

function nameOf(long: string): string {
  return long.replace(/^--(no-)?/, '').replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** An option's value; times are decimal, addresses are not. */
function valueText(value: unknown, decimal: boolean): string {
  if (typeof value === 'boolean') return '';
  const bound = (of: bigint) => (decimal ? `${of}` : `0x${of.toString(16)}`);
  const one = (part: unknown) => {
    if (typeof part !== 'object' || part === null) return String(part);
    const { from, to } = part as Interval;
    return `${bound(from)}..${bound(to)}`;
  };
  return ` ${Array.isArray(value) ? value.map(one).join(',') : one(value)}`;
}

function list(text: string): string[] {
  return text.split(',').filter((part) => part !== '');
}

/** Numbers and ranges of numbers: 0,4-7. */
function numbers(text: string): number[] {
  return list(text).flatMap((part) => {
    const [, first, last = first] = /^(\d{1,10})(?:-(\d{1,10}))?$/.exec(part) ?? [];
    if (first === undefined || Number(last) < Number(first) || Number(last) - Number(first) > 0xffff)
      throw new InvalidArgumentError('Expected numbers with commas, or ranges such as 4-7.');
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => Number(first) + i);
  });
}

const UNITS: Readonly<Record<string, bigint>> = { k: 10n, m: 20n, g: 30n };

/** An address or a size: decimal or hexadecimal, k, m and g times 1024. */
function amount(text: string): bigint {
  const unit = UNITS[text.at(-1)?.toLowerCase() ?? ''];
  const value = parseAddress(unit === undefined ? text : text.slice(0, -1));
  if (value === null)
    throw new InvalidArgumentError('Expected a number, hexadecimal with 0x, that may end in k, m or g.');
  return unit === undefined ? value : value << unit;
}

function interval(text: string): Interval {
  const [from, to, ...rest] = text.split('..');
  if (to === undefined || rest.length > 0) throw new InvalidArgumentError('Expected FROM..TO.');
  const range = { from: amount(from), to: amount(to) };
  if (range.from >= range.to) throw new InvalidArgumentError('Expected FROM below TO, which is exclusive.');
  return range;
}

function ranges(text: string, before: (Interval | string)[] = []): (Interval | string)[] {
  return [...before, text.includes('..') ? interval(text) : text];
}

function paRanges(text: string, before: Interval[] = []): Interval[] {
  return [...before, interval(text)];
}

/** A number of accesses: k, m and g times 1000, as rows are no bytes. */
function count(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,12})([kmg]?)$/i.exec(text) ?? [];
  if (digits === undefined) throw new InvalidArgumentError('Expected a number of accesses.');
  return Number(digits) * 1000 ** ['', 'k', 'm', 'g'].indexOf(unit.toLowerCase());
}

function positive(text: string): number {
  const value = count(text);
  if (value === 0) throw new InvalidArgumentError('Expected at least 1.');
  return value;
}
