// fork: processes that each CPU forks, one after the other: the child gets its address space, runs, exits. The child leaves the
// CPU before its root table goes, as a kernel takes care of.

import { z } from 'zod';
import { key } from '../../config/key.js';
import { checkCode, codeParameters, kernelCode } from '../code.js';
import { KERNEL_MM, type Row } from '../emitter.js';
import { count, parameters, type Run, scenario, unless } from '../scenario.js';
import { clear, populate, touch, USER_SPACE } from '../userSpace.js';
import { type WorkingSet } from '../workingSet.js';

const schema = parameters(
  {
    processes: key(count(100), 'processes that each CPU forks'),
    forkers: key(
      z.array(z.int().min(0)).min(1).nullable().default(null),
      'CPUs that fork, as [0, 2]; null: all of them',
    ),
    ...USER_SPACE,
    exec: key(z.boolean().default(false), 'the child calls exec, which gives it a second address space'),
    ...codeParameters('120K'),
  },
  (values) => {
    const { forkers, cpus } = values;
    return [
      ...checkCode(values),
      ...unless(forkers?.every((cpu) => cpu < cpus) ?? true, 'forkers', `expected CPUs below ${cpus}`),
      ...unless(new Set(forkers).size === (forkers?.length ?? 0), 'forkers', 'expected every CPU once'),
    ];
  },
);

type Forks = Run<z.output<typeof schema>>;

export const fork = scenario({
  name: 'fork',
  summary: 'a storm of fork, exec and exit',
  notes:
    'Each process: `kernel_enter`, `mm_create`, per part of the address space `user_pud_alloc` and `user_map`, every line of text in use once, `ctx_switch` to the child, `kernel_exit`, a user store to every page, `kernel_enter`, `user_unmap` of all parts, `user_pud_free` of all parts, `ctx_switch` to the parent, `mm_destroy`, `kernel_exit`. The root table goes after the CPU has left it, as in a kernel. With `exec` the child gets a second address space before it stores, and the first one is cleared. The CPUs of a node take turns, a process each; their parents are set up and cleared outside the phases. A phase per node that has CPUs that fork.',
  schema,
  examples: [
    'nodewalk synth fork -o fork.arrow --set processes=1000 --set forkers=[2]',
    'nodewalk synth fork -o fork.arrow --set arch=arm64 --set textBytes=256K --set exec=true',
  ],
  *rows(run) {
    const { parameters, nodes, emit } = run;
    const code = kernelCode(run);
    for (const [node, cpus] of nodes.entries()) {
      const forkers = cpus.filter((cpu) => parameters.forkers?.includes(cpu) ?? true);
      if (forkers.length === 0) continue;
      const parents: number[] = [];
      for (const cpu of forkers) {
        const parent = (parents[cpu] = yield* emit.create(cpu));
        yield* emit.switchTo(cpu, parent);
        yield* populate(emit, cpu, parent, parameters);
      }
      yield* emit.phase(node + 1, `node ${node}`, forkers[0], storm(run, code, forkers));
      for (const cpu of forkers) {
        yield* clear(emit, cpu, parents[cpu], parameters);
        yield* emit.switchTo(cpu, KERNEL_MM);
        yield* emit.event('mm_destroy', cpu, parents[cpu]);
      }
    }
  },
});

/** The CPUs take turns, a process each. */
function* storm(run: Forks, code: WorkingSet, forkers: number[]): Generator<Row> {
  for (let i = 0; i < run.parameters.processes; i++) for (const cpu of forkers) yield* processOn(run, code, cpu);
}

function* processOn({ parameters, emit }: Forks, code: WorkingSet, cpu: number): Generator<Row> {
  yield* emit.event('kernel_enter', cpu);
  let child = yield* emit.create(cpu);
  yield* populate(emit, cpu, child, parameters);
  for (const va of code.sweep()) yield emit.kernelFetch(cpu, va, parameters.insnsPerLine);
  const parent = yield* emit.switchTo(cpu, child);
  yield* emit.event('kernel_exit', cpu);
  if (parameters.exec) {
    yield* emit.event('kernel_enter', cpu);
    const fresh = yield* emit.create(cpu);
    yield* emit.switchTo(cpu, fresh);
    yield* clear(emit, cpu, child, parameters);
    yield* emit.event('mm_destroy', cpu, child);
    yield* populate(emit, cpu, fresh, parameters);
    yield* emit.event('kernel_exit', cpu);
    child = fresh;
  }
  yield* touch(emit, cpu, parameters);
  yield* emit.event('kernel_enter', cpu);
  yield* clear(emit, cpu, child, parameters);
  yield* emit.switchTo(cpu, parent);
  yield* emit.event('mm_destroy', cpu, child);
  yield* emit.event('kernel_exit', cpu);
}
