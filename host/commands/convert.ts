// nodewalk convert: makes a trace of captures in another format.

import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type Command } from 'commander';
import { convert } from '../../traces/convert.js';
import { FORMATS } from '../../traces/detect.js';
import { InputError, UsageError } from '../../traces/errors.js';
import { EXPORTERS } from '../../traces/export/index.js';
import { MAP_OPTIONS, MAPPINGS, readDump, readMapping } from '../../traces/map/index.js';
import { type TableDump } from '../../traces/map/dump.js';
import { type PageMapping } from '../../traces/map/mapping.js';
import { MACHINES } from '../../traces/machines.js';
import { parseOverrides, type TraceMetadata } from '../../traces/metadata.js';
import { bytes, number } from '../format.js';
import { progress, type Progress } from '../progress.js';
import { parseSet } from './sets.js';
import { imageMapping } from '../tables/mapping.js';
import { writeImage } from '../tables/write.js';

const FORMAT_WIDTH = Math.max(...FORMATS.map((f) => f.name.length));
const MACHINE_NAMES = Object.keys(MACHINES).join(', ');

/** The options of formats, for --set; those that several formats have stand once. */
function optionLines(formats: readonly { name: string; options?: Readonly<Record<string, string>> }[]): string {
  const owners = new Map<string, string[]>();
  for (const { name, options = {} } of formats) {
    for (const [key, text] of Object.entries(options)) {
      const line = `--set ${key}: ${text}`;
      owners.set(line, [...(owners.get(line) ?? []), name]);
    }
  }
  return [...owners].map(([line, names]) => `  ${names.join(', ')} ${line}\n`).join('');
}

const EXAMPLES = `
Formats:
${FORMATS.map((f) => `  ${f.name.padEnd(FORMAT_WIDTH)}  ${f.description}; addresses: ${f.addresses}`).join('\n')}
${optionLines(FORMATS)}${
  EXPORTERS.length
    ? `
Formats that --to writes:
${EXPORTERS.map((e) => `  ${e.name.padEnd(FORMAT_WIDTH)}  ${e.description}${e.loses && `; without ${e.loses}`}`).join('\n')}
${optionLines(EXPORTERS)}`
    : ''
}
Mappings that --map takes physical addresses from, a file, found by its content, or the folder of a table image:
${MAPPINGS.map((m) => `  ${m.name.padEnd(FORMAT_WIDTH)}  ${m.description}`).join('\n')}
${Object.entries(MAP_OPTIONS)
  .map(([key, text]) => `  --set ${key}: ${text}\n`)
  .join('')}
A page-table dump (ptdump, dmt) becomes a table image when the output ends in "/" (docs/tables.md); the dump of a virtual
machine's host may follow that of its guest.

Inputs may be packed with gzip, zstd, xz, bzip2, LZ4 or snappy; "-" is standard input. Several inputs of one format become one trace.
Intel PT records no addresses of data: it is not read.

--meta names a JSON or YAML file with keys of the trace's metadata (docs/formats.md), or a known machine:
  ${MACHINE_NAMES}

Examples:
  nodewalk convert lackey.txt.zst -o program.arrow
  nodewalk convert capture/trace.bin.xz -o kernel.arrow --compress lz4
  nodewalk convert drmemtrace.app.1234.5678.dir -o app.arrow
  nodewalk convert program.txt -o program.arrow --map pagemap.bin
  nodewalk convert ptdump.txt -o tables/ --set snapshot=3
  nodewalk convert trace.bin -o kernel.arrow --from raw24 --meta qemu-x86-2node
  valgrind --tool=lackey --trace-mem=yes --log-fd=9 ls 9>&1 >/dev/null | nodewalk convert - -o ls.arrow
`;

interface Options {
  output: string;
  from?: string;
  to?: string;
  set: Record<string, string>;
  map?: string;
  meta?: string;
  compress?: string;
  dropMmio?: boolean;
  derive: boolean;
}

export function register(program: Command): void {
  program
    .command('convert')
    .description('make a trace of a capture in another format, or the other way round')
    .argument('<inputs...>', 'files or a folder in one format, or - for standard input')
    .requiredOption('-o, --output <file>', 'the trace to write')
    .option('--from <format>', 'the format of the inputs: see below (default: by content)')
    .option('--to <format>', 'write another format than a trace: see below')
    .option('--set <key=value>', 'an option of the format that is read or written; repeat it for more', parseSet, {})
    .option('--map <mapping>', 'give accesses the physical addresses of a mapping: see below')
    .option('--meta <file>', 'what the inputs do not say about the machine: a file, or a known machine')
    .option('--compress <method>', 'pack the record batches: lz4 (smaller, slower to read)')
    .option('--drop-mmio', 'leave out accesses to devices, where the format marks them')
    .option('--no-derive', "add no events of a capture's own page-table stores (docs/formats.md)")
    .addHelpText('after', EXAMPLES)
    .action(run);
}

async function run(inputs: string[], options: Options): Promise<void> {
  const { output, from, to, set, dropMmio, derive, compress } = options;
  if (compress !== undefined && compress !== 'lz4') {
    throw new UsageError(`--compress: unknown method "${compress}"; known is lz4`);
  }
  const meta = options.meta === undefined ? undefined : await readMeta(options.meta);
  const warn = (message: string) => process.stderr.write(`nodewalk convert: ${message}\n`);
  if (output.endsWith('/')) return writeTables(inputs, output, set, warn);
  const map = options.map === undefined ? undefined : await openMapping(options.map, set, warn);
  let bar: Progress | undefined;
  const onProgress = (done: number, total: number | null) => {
    bar ??= progress('converting', total, { unit: 'bytes' });
    bar.update(done);
  };
  try {
    const written = await convert(inputs, output, {
      from,
      to,
      set,
      map,
      meta,
      compress,
      dropMmio,
      derive,
      onProgress,
      warn,
    });
    bar?.stop();
    process.stderr.write(
      `nodewalk convert: ${output}: ${number(written.rows)} rows, ${bytes(written.bytes)}, from ${written.format}${to ? ` to ${to}` : ''}\n`,
    );
  } finally {
    bar?.stop();
  }
}

/** The mapping of --map: a file of any kind, or the folder of a table image. */
function openMapping(path: string, set: Record<string, string>, warn: (message: string) => void): Promise<PageMapping> {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return imageMapping(path, set.root);
  return readMapping(path, { set, warn });
}

const TABLE_OPTIONS = ['process', 'snapshot', 'unit'];

/** Writes the table image of a page-table dump. */
async function writeTables(
  inputs: readonly string[],
  output: string,
  set: Record<string, string>,
  warn: (message: string) => void,
): Promise<void> {
  const unknown = Object.keys(set).find((name) => !TABLE_OPTIONS.includes(name));
  if (unknown !== undefined)
    throw new UsageError(`--set ${unknown}: unknown option; page-table dumps have ${TABLE_OPTIONS.join(', ')}`);
  const dumps = await Promise.all(inputs.map((path) => readDump(path, { set, warn })));
  const none = dumps.indexOf(null);
  if (none >= 0) {
    throw new InputError({
      ...{ source: inputs[none], expected: 'a page-table dump of Mitosis or DMT', found: 'something else' },
      advice: `${output} asks for a table image; a trace is written to a file`,
    });
  }
  const { pages, roots, unbacked } = await writeImage(dumps as TableDump[], output);
  if (unbacked > 0) warn(`${output}: left out ${number(unbacked)} tables of the guest that the host does not map`);
  warn(`${output}: ${number(pages)} table pages, ${roots.length === 1 ? 'root' : 'roots'} ${roots.join(', ')}`);
}

/** A known machine by name, else a file. */
async function readMeta(name: string): Promise<Partial<TraceMetadata>> {
  if (Object.hasOwn(MACHINES, name)) return MACHINES[name];
  const text = await readFile(name, 'utf8').catch((error: Error) => {
    throw new UsageError(`--meta ${name}: cannot be read (${error.message}), and is none of ${MACHINE_NAMES}`);
  });
  return parseOverrides(text, name);
}
