// A scenario's trace as its events: name, CPU, and the operands in the order of traces/events.ts.

import { kindName, OPERANDS } from '../../../traces/events.js';
import { writeScenario } from '../../../host/synth/index.js';
import { rowsOf, scratch } from '../../traces/support.js';

const path = scratch();
let traces = 0;

/** Writes the trace of a scenario; its path. */
export async function traceOf(name: string, params: Record<string, unknown> = {}): Promise<string> {
  const trace = path(`${name}-${traces++}.arrow`);
  await writeScenario(name, params, trace);
  return trace;
}

export interface Step {
  name: string;
  cpu: number;
  operands: bigint[];
}

/** All rows, those of further operands joined to their event. */
export async function stepsOf(name: string, params: Record<string, unknown> = {}): Promise<Step[]> {
  const steps: Step[] = [];
  for (const { cpu, kind, va, arg } of await rowsOf(await traceOf(name, params))) {
    const operands = [va as bigint, arg as bigint];
    if (Number(kind) === OPERANDS) steps.at(-1)!.operands.push(...operands);
    else steps.push({ name: kindName(Number(kind)), cpu: Number(cpu), operands });
  }
  return steps;
}

/** The names of the steps that are no accesses. */
export function eventNames(steps: readonly Step[]): string[] {
  return steps.map((step) => step.name).filter((name) => !['fetch', 'load', 'store'].includes(name));
}
