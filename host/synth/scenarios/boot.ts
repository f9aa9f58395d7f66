// boot: the kernel starts on CPU 0, the other CPUs come up; then CPUs go down and up again, and the machine is suspended. A
// suspended machine takes all CPUs but CPU 0 down first, as Linux does.

import { key } from '../../config/key.js';
import { type Emitter, type Row } from '../emitter.js';
import { PAGE } from '../kernels.js';
import { bytes, count, parameters, scenario, unless } from '../scenario.js';

const part = (description: string) =>
  key(bytes(PAGE).nullable().prefault(null), `${description}; null: as Debian's`, 'bytes');

const schema = parameters(
  {
    downs: key(count(0, 0), 'times that every CPU but CPU 0 goes down and up, one after the other'),
    suspends: key(count(0, 0), 'times that the machine is suspended and resumes'),
    homeNode: key(count(0, 0, 63), 'node that holds the image'),
    textBytes: part('text of the image'),
    rodataBytes: part('read-only data'),
    roaiBytes: part('data that is read-only after init'),
    initBytes: part('text and data of init'),
    dataBytes: part('data'),
  },
  ({ homeNode, nodes }) => unless(homeNode < nodes, 'homeNode', `expected a node below ${nodes}`),
);

export const boot = scenario({
  name: 'boot',
  summary: 'a kernel boots; CPUs come up, go down and up, suspend and resume',
  notes:
    'Phase 1: the boot event on CPU 0, then `cpu_up` of every other CPU. Phase 2 (`downs` times): `cpu_down` and `cpu_up` of each of them in turn. Phase 3 (`suspends` times): `cpu_down` of all of them, `cpu_suspend` and `cpu_resume` of CPU 0, `cpu_up` of all. CPU 0 asks for all of it; its own rows are those of these events.',
  schema,
  examples: ['nodewalk synth boot -o boot.arrow --set cpus=8 --set downs=2 --set suspends=1'],
  image({ homeNode, textBytes, rodataBytes, roaiBytes, initBytes, dataBytes }) {
    const parts = Object.entries({ textBytes, rodataBytes, roaiBytes, initBytes, dataBytes });
    return { homeNode, ...Object.fromEntries(parts.filter(([, size]) => size !== null)) };
  },
  *rows({ parameters: { cpus, nodes, downs, suspends, homeNode }, kernel: { image }, emit }) {
    const others = Array.from({ length: cpus - 1 }, (_, i) => i + 1);
    yield* emit.phase(1, 'boot', 0, [
      ...emit.event(
        'boot',
        0,
        ...[image.va, homeNode, image.textBytes, image.rodataBytes, image.roaiBytes, image.initBytes, image.dataBytes],
        ...[nodes, cpus, image.align],
      ),
      ...up(emit, others),
    ]);
    for (let i = 0; i < downs; i++) {
      const cycles = others.flatMap((cpu) => [...down(emit, [cpu]), ...up(emit, [cpu])]);
      yield* emit.phase(2, 'hotplug', 0, cycles);
    }
    for (let i = 0; i < suspends; i++) {
      const sleep = [...emit.event('cpu_suspend', 0, 0), ...emit.event('cpu_resume', 0, 0)];
      yield* emit.phase(3, 'suspend', 0, [...down(emit, others), ...sleep, ...up(emit, others)]);
    }
  },
});

const up = (emit: Emitter, cpus: number[]): Row[] => cpus.flatMap((cpu) => [...emit.event('cpu_up', 0, cpu)]);
const down = (emit: Emitter, cpus: number[]): Row[] => cpus.flatMap((cpu) => [...emit.event('cpu_down', 0, cpu)]);
