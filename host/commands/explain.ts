// nodewalk explain: translations step by step, as text or JSON.

import { type Command } from 'commander';
import { explain, explainAll } from '../tables/explain.js';
import { explanationDocument, explanationText } from '../tables/text.js';
import { Translator } from '../tables/translate.js';
import { addresses, type CheckOptions, checksOf, withChecks } from './checks.js';

const EXAMPLES = `
Without --root: every root whose tables cover the address, those that do the same together, but for the s2_ roots: they
take intermediate physical addresses.

Examples:
  nodewalk explain tables/x86 --va 0x401000 --root cr3_cpu1
  nodewalk explain tables/pkvm --va 0xffff800008000000 --access w
`;

interface Options extends CheckOptions {
  root?: string;
  va: bigint[];
  json?: boolean;
}

export function register(program: Command): void {
  const command = program
    .command('explain')
    .description('one translation step by step: every descriptor read, its fields, and the fault')
    .argument('<tables>', 'a table image (folder)')
    .requiredOption('--va <address...>', 'the address, hexadecimal with 0x or decimal', addresses)
    .option('--root <name>', 'the root to look it up in');
  withChecks(command).option('--json', 'a JSON array instead of text').addHelpText('after', EXAMPLES).action(run);
}

async function run(tables: string, options: Options): Promise<void> {
  const { root, va, json } = options;
  const checks = checksOf(options);
  const translator = await Translator.open(tables, { maxPhysBits: options.maxphyaddr });
  const leaveOut = (reason: Error) => process.stderr.write(`nodewalk explain: left out: ${reason.message}\n`);
  const explanations = va.flatMap((address) =>
    root === undefined
      ? explainAll(translator, address, checks, leaveOut)
      : [explain(translator, root, address, checks)],
  );
  process.stdout.write(
    json
      ? `${JSON.stringify(explanations.map(explanationDocument), null, 2)}\n`
      : explanations.map(explanationText).join('\n'),
  );
}
