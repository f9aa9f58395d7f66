// Makes the traces of an experiment that are scenarios, in the directory of the sweep. A file's name has the hash of what
// it was made from, so that one that is there is the right one.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { NodewalkError } from '../../traces/errors.js';
import { type Experiment, type TraceSource } from '../config/experiment.js';
import { packageVersion } from '../paths.js';
import { SCENARIOS } from './directory.js';
import { canonicalJson } from './hash.js';

/** The experiment with every scenario written as a trace; `say` is told of each. */
export async function makeScenarios(
  experiment: Experiment,
  dir: string,
  say: (message: string) => void,
): Promise<Experiment> {
  const traces: TraceSource[] = [];
  for (const trace of experiment.traces) traces.push(await made(trace, join(dir, SCENARIOS), say));
  return { ...experiment, traces };
}

async function made(trace: TraceSource, folder: string, say: (message: string) => void): Promise<TraceSource> {
  const { name, scenario } = trace;
  if (scenario === null) return trace;
  const inputs = canonicalJson({ ...scenario, version: packageVersion() });
  const path = join(folder, `${name}-${createHash('sha256').update(inputs).digest('hex').slice(0, 12)}.arrow`);
  if (!existsSync(path)) {
    say(`making the trace ${name}`);
    makeFolder(folder);
    // Scenarios load only where an experiment has some.
    const { writeScenario } = await import('../synth/index.js');
    await writeScenario(scenario.synth, scenario.set, path);
  }
  return { ...trace, path };
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new NodewalkError(`${folder}: cannot be made: ${(error as Error).message}`, 1, { cause: error });
  }
}
