// patch: text is patched while all CPUs run it: after every so many fetches one patch, after which every CPU fetches the lines
// that were patched. One phase per method.

import { z } from 'zod';
import { key } from '../../config/key.js';
import { checkCode, codeParameters, kernelCode, WALK } from '../code.js';
import { type Row } from '../emitter.js';
import { LINE } from '../kernels.js';
import { count, parameters, type Run, scenario, unless } from '../scenario.js';

/** The methods by their number in the event. */
const METHODS = ['nosync', 'stop_machine', 'bp_batch', 'alternative', 'early'] as const;
type Method = (typeof METHODS)[number];

const OF_ARCH: Record<'x86-64' | 'arm64', readonly Method[]> = {
  'x86-64': ['bp_batch', 'alternative', 'early'],
  arm64: ['nosync', 'stop_machine', 'alternative'],
};

const schema = parameters(
  {
    methods: key(
      z.array(z.enum(METHODS)).min(1).nullable().default(null),
      'methods, a phase each; null: those of the architecture (x86-64: bp_batch, alternative, early; arm64: nosync, stop_machine, alternative)',
    ),
    patches: key(count(64), 'patches by each method'),
    sites: key(count(256, 1, 4096), 'places that are patched in turn, spread evenly over the text'),
    batch: key(count(16, 1, 256), 'sites of one patch by bp_batch; other methods patch one'),
    every: key(count(256, 0), 'fetches between two patches, the CPUs in turn'),
    cpu: key(z.union([z.int().min(0), z.literal('rotate')]).default(0), 'CPU that patches; rotate: each in turn'),
    ...codeParameters('256K'),
    ...WALK,
  },
  (values) => {
    const { batch, sites, cpu, cpus } = values;
    return [
      ...checkCode(values),
      ...unless(batch <= sites, 'batch', `expected at most ${sites}, the number of sites`),
      ...unless(cpu === 'rotate' || cpu < cpus, 'cpu', `expected a CPU below ${cpus}`),
    ];
  },
);

type Patches = Run<z.output<typeof schema>>;

export const patch = scenario({
  name: 'patch',
  summary: 'kernel text is patched while all CPUs run it',
  notes:
    'A phase per method, numbered by the method (0 nosync is phase 1, ... 4 early is phase 5): `every` fetches, CPU 0 first, the CPUs in turn; one `text_patch` (4 bytes on arm64, 5 on x86-64); then every CPU fetches the first line of every site of that patch. `bp_batch` patches `batch` sites that follow one another, the other methods one.',
  schema,
  examples: ['nodewalk synth patch -o patch.arrow --set methods=[bp_batch] --set batch=256 --set cpu=rotate'],
  *rows(run) {
    const { parameters, emit } = run;
    const { arch, cpus, cpu } = parameters;
    const code = kernelCode(run);
    const walks = Array.from({ length: cpus }, () => code.walk());
    for (const method of parameters.methods ?? OF_ARCH[arch]) {
      const owner = cpu === 'rotate' ? 0 : cpu;
      yield* emit.phase(METHODS.indexOf(method) + 1, method, owner, storm(run, method, walks));
    }
  },
});

function* storm(run: Patches, method: Method, walks: Iterator<bigint, never>[]): Generator<Row> {
  const { parameters, kernel, emit } = run;
  const { cpus, cpu, patches, sites, every, insnsPerLine } = parameters;
  const size = method === 'bp_batch' ? parameters.batch : 1;
  const groups = Math.floor(sites / size);
  const stride = Math.floor(kernel.image.textBytes / sites / LINE) * LINE;
  for (let i = 0; i < patches; i++) {
    for (let k = 0; k < every; k++) yield emit.kernelFetch(k % cpus, walks[k % cpus].next().value, insnsPerLine);
    const va = kernel.image.va + BigInt((i % groups) * size * stride);
    const patcher = cpu === 'rotate' ? i % cpus : cpu;
    yield* emit.event('text_patch', patcher, va, kernel.patchBytes, METHODS.indexOf(method), size, stride);
    for (let c = 0; c < cpus; c++)
      for (let site = 0; site < size; site++) yield emit.kernelFetch(c, va + BigInt(site * stride), insnsPerLine);
  }
}
