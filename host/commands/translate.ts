// nodewalk translate: many addresses through a table image, as CSV or JSON.

import { once } from 'node:events';
import { type Command, Option } from 'commander';
import { InputError, UsageError } from '../../traces/errors.js';
import { progress } from '../progress.js';
import { type CsvRow, readCsvBatches } from '../tables/csv.js';
import { answerDocument, csvHeader, csvRow, parseAddress } from '../tables/text.js';
import { Translator } from '../tables/translate.js';
import { addresses, type CheckOptions, checksOf, withChecks } from './checks.js';

const EXAMPLES = `
TABLES is a folder with registers.json, tablepages.bin and tablepages.csv (docs/tables.md). An input file names addresses in
its column va and roots in its column context; other columns are ignored. Without --access and --mode only presence counts.

Examples:
  nodewalk translate tables/x86 --root cr3_cpu1 --va 0x401000 0x7ffdf7a42fff
  nodewalk translate tables/arm64 --input truth.csv --long > answers.csv
  nodewalk translate tables/arm64 --root ttbr1_cpu0 --va 0xffff800008000000 --access w --mode kernel
`;

interface Options extends CheckOptions {
  root?: string;
  va?: bigint[];
  input?: string;
  long?: boolean;
  json?: boolean;
}

/** An address to translate. */
interface Question {
  root: string;
  va: bigint;
}

export function register(program: Command): void {
  const command = program
    .command('translate')
    .description('translate addresses through the page tables of a captured machine')
    .argument('<tables>', 'a table image (folder)')
    .option('--root <name>', 'the root that addresses without a context are looked up in')
    .option('--va <address...>', 'addresses, hexadecimal with 0x or decimal', addresses)
    .addOption(new Option('--input <csv>', 'a file of addresses, "-" for standard input').conflicts('va'));
  withChecks(command)
    .option('--long', 'also permissions, the leaf of stage 2 and the descriptor')
    .addOption(new Option('--json', 'a JSON array with everything, steps included').conflicts('long'))
    .addHelpText('after', EXAMPLES)
    .action(run);
}

async function run(tables: string, options: Options): Promise<void> {
  const { input, va, long = false, json = false } = options;
  if (!input && !va) throw new UsageError('translate: name addresses with --va, or a file of them with --input');
  const checks = checksOf(options);
  const translator = await Translator.open(tables, { maxPhysBits: options.maxphyaddr });
  const questions = input ? fromFile(input, translator, options.root) : fromList(va!, translator, options.root);
  // Kept until all is answered, as bytes outside the heap: an address whose tables are missing leaves no half answer behind.
  const pieces: Buffer[] = [];
  let text = json ? '[' : csvHeader(long);
  let rows = 0;
  const bar = progress('translating', null);
  try {
    for await (const batch of questions) {
      for (const { root, va } of batch) {
        const answer = { context: root, va, outcome: translator.translate(root, va, checks) };
        if (json) text += `${rows > 0 ? ',' : ''}\n${JSON.stringify(answerDocument(answer, translator.steps()))}`;
        else text += csvRow(answer, long);
        rows++;
        if (text.length < PIECE_LENGTH) continue;
        pieces.push(Buffer.from(text));
        text = '';
      }
      bar.update(rows);
    }
  } finally {
    bar.stop();
  }
  pieces.push(Buffer.from(json ? `${text}\n]\n` : text));
  for (const piece of pieces) if (!process.stdout.write(piece)) await once(process.stdout, 'drain');
}

/** Characters written at once. */
const PIECE_LENGTH = 1 << 20;

function* fromList(list: bigint[], translator: Translator, named?: string): Generator<Question[]> {
  const root = translator.rootFor(named);
  yield list.map((va) => ({ root, va }));
}

/** The rows of a file; a row without a context, or a file without that column, is looked up in the root that is named. */
async function* fromFile(path: string, translator: Translator, named?: string): AsyncGenerator<Question[]> {
  if (named !== undefined) translator.rootFor(named);
  const question = ({ line, fields: [text, context] }: CsvRow): Question => {
    const fault = (expected: string, found: string) =>
      new InputError({ source: path, at: `line ${line}`, expected, found: `"${found}"` });
    const va = parseAddress(text!);
    if (va === null) throw fault('an address: hexadecimal with 0x, or decimal', text!);
    if (context && !translator.has(context)) {
      throw fault(`a root of the image: ${translator.rootNames.join(', ')}`, context);
    }
    return { root: context || translator.rootFor(named), va };
  };
  for await (const batch of readCsvBatches(path, { required: ['va'], optional: ['context'] }))
    yield batch.map(question);
}
