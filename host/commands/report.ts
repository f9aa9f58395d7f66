// nodewalk report: writes the page that host/report makes of a directory of results.

import { type Command } from 'commander';
import { join } from 'node:path';
import { saveText } from '../results/save.js';

const EXAMPLES = `
The page needs nothing else: no network, no script, no other file. It follows the reader's light or dark mode and prints.

Examples:
  nodewalk report out/demo                     writes out/demo/report.html
  nodewalk report out/run -o run.html
  nodewalk report out/demo -o - > report.html
`;

export function register(program: Command): void {
  program
    .command('report')
    .description('one self-contained HTML page with plots and tables')
    .argument('<dir>', 'what "sweep -o" or "replay -o" wrote')
    .option('-o, --output <file>', 'the page to write, - for stdout (default: report.html in the directory)')
    .addHelpText('after', EXAMPLES)
    .action(async (dir: string, options: { output?: string }) => {
      // Vega takes a third of a second to load: only this command pays.
      const { reportPage } = await import('../report/report.js');
      const page = await reportPage(dir);
      const output = options.output ?? join(dir, 'report.html');
      if (output === '-') {
        process.stdout.write(page);
        return;
      }
      saveText(output, page);
      process.stderr.write(`wrote ${output}\n`);
    });
}
