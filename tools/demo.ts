// What `npm run demo` runs: the experiment `demo` on the bundled traces through the command line, as a user would, and a
// copy of its report where it is found at once.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../host/paths.js';
import { saveText } from '../host/results/save.js';

const OUTPUT = 'out/demo';
const REPORT = 'report.html';

const root = packageRoot();
const cli = join(root, 'dist/host/cli.js');
const { status } = spawnSync(process.execPath, [cli, 'sweep', 'demo', '-o', OUTPUT], { cwd: root, stdio: 'inherit' });
if (status === 0) {
  saveText(join(root, REPORT), readFileSync(join(root, OUTPUT, REPORT), 'utf8'));
  process.stderr.write(`
Open ${REPORT} in a browser: it explains every number of the table above and shows what each setting does.
Next:
  host/experiments/demo.yaml                       the experiment: change a value and sweep again
  npx nodewalk compare ${OUTPUT}#0 ${OUTPUT}#1     two of its cells, counter by counter
  npx nodewalk sweep demo-arm64                    the same question on an Arm machine
  npx nodewalk convert --help                      make a trace of your own program
`);
}
process.exitCode = status ?? 1;
