// `nodewalk presets [NAME]`: the machines that ship with the package, or one of them as a complete document.
import { type Command } from 'commander';
import { stringify } from 'yaml';
import { resolveConfig } from '../config/load.js';
import { presetNames, readPreset } from '../config/presets.js';
import { table } from '../table.js';

export function register(program: Command): void {
  program
    .command('presets')
    .description('list the machines that ship with nodewalk, or print one')
    .argument('[name]', 'print this preset with every key')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  nodewalk presets
  nodewalk presets haswell-ep > my-machine.yaml   # a document to edit and give to replay --config`,
    )
    .action((name: string | undefined, { json }: { json?: boolean }) => {
      process.stdout.write(name === undefined ? list(json) : print(name, json));
    });
}

function list(json = false): string {
  const presets = presetNames().map((name) => readPreset(name, 'presets'));
  if (json)
    return `${JSON.stringify(
      presets.map(({ name, summary }) => ({ name, summary })),
      null,
      2,
    )}\n`;
  return table(
    [{ name: 'preset' }, { name: 'machine' }],
    presets.map(({ name, summary }) => [name, summary]),
  );
}

function print(name: string, json = false): string {
  const config = resolveConfig({ extends: name }, 'presets');
  return json
    ? `${JSON.stringify(config, null, 2)}\n`
    : stringify(config, { flowCollectionPadding: true, lineWidth: 110 });
}
