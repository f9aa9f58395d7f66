// nodewalk synth: writes the event trace of a scenario.

import { type Command } from 'commander';
import { UsageError } from '../../traces/errors.js';
import { shown, parseYaml } from '../config/documents.js';
import { documentSchema } from '../config/keys.js';
import { bytes, number } from '../format.js';
import { parametersOf, type Scenario, scenarioNamed, SCENARIOS, writeScenario } from '../synth/index.js';
import { table } from '../table.js';

const SCENARIO_WIDTH = Math.max(...SCENARIOS.map(({ name }) => name.length));

const SCENARIO_LIST = `
Scenarios:
${SCENARIOS.map(({ name, summary }) => `  ${name.padEnd(SCENARIO_WIDTH)}  ${summary}`).join('\n')}

nodewalk synth SCENARIO --help shows its parameters; docs/synth.md has all of them.

Examples:
  nodewalk synth --list
${SCENARIOS.map(({ examples }) => `  ${examples[0]}`).join('\n')}
`;

interface Options {
  output?: string;
  set: string[];
  list?: boolean;
  json?: boolean;
  compress?: string;
}

export function register(program: Command): void {
  program
    .command('synth')
    .description('write an event trace for a scenario')
    .argument('[scenario]', 'what happens: one of the scenarios below')
    .option('-o, --output <file>', 'the trace to write')
    .option('-s, --set <parameter=value>', 'set a parameter of the scenario (repeatable)', collect, [])
    .option('--compress <method>', 'pack the record batches: lz4 (smaller, slower to read)')
    .option('--list', 'list the scenarios')
    .option('--json', 'with --list: print JSON, parameters included')
    .addHelpText('after', ({ command }) => {
      const named = SCENARIOS.find(({ name }) => command.args.includes(name));
      return named ? help(named) : SCENARIO_LIST;
    })
    .action(run);
}

async function run(name: string | undefined, { output, set, list, json, compress }: Options): Promise<void> {
  if (list) {
    process.stdout.write(json ? listJson() : listTable());
    return;
  }
  if (name === undefined) throw new UsageError('synth: expected a scenario; nodewalk synth --list shows them');
  const scenario = scenarioNamed(name);
  if (output === undefined) throw new UsageError(`synth ${name}: expected the trace to write: -o ${name}.arrow`);
  if (compress !== undefined && compress !== 'lz4')
    throw new UsageError(`--compress: unknown method "${compress}"; known is lz4`);
  const params = Object.fromEntries(set.map(parameterOf));
  const written = await writeScenario(scenario.name, params, output, { compress });
  process.stderr.write(`nodewalk synth: ${output}: ${number(written.rows)} rows, ${bytes(written.bytes)}\n`);
}

function parameterOf(set: string): [string, unknown] {
  const [, name, text] = /^\s*([^=\s]+)\s*=(.*)$/s.exec(set) ?? [];
  if (name === undefined) throw new UsageError(`--set ${set}: expected PARAMETER=VALUE, as in cpus=8`);
  return [name, parseYaml(text, `--set ${set}`)];
}

function listTable(): string {
  return table(
    [{ name: 'scenario' }, { name: 'what happens' }],
    SCENARIOS.map(({ name, summary }) => [name, summary]),
  );
}

function listJson(): string {
  const scenarios = SCENARIOS.map(({ name, summary, schema }) => ({
    name,
    summary,
    parameters: documentSchema(schema),
  }));
  return `${JSON.stringify(scenarios, null, 2)}\n`;
}

/** The parameters of one scenario. */
function help(scenario: Scenario): string {
  const rows = parametersOf(scenario).map(([name, node]) => [
    name,
    typeof node.default === 'string' ? node.default : shown(node.default),
    node.description + (node.unit ? ` (${node.unit})` : ''),
  ]);
  const parameters = table([{ name: 'parameter' }, { name: 'default', align: 'right' }, { name: 'meaning' }], rows);
  return `\n${scenario.name}: ${scenario.summary}\n\n${parameters}\nExamples:\n${scenario.examples.map((line) => `  ${line}`).join('\n')}\n`;
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}
