// hyp-hotplug: CPUs on which HYP mode runs go down and come up again.

import { key } from '../../config/key.js';
import { HYP, HypPages } from '../hyp.js';
import { count, parameters, scenario } from '../scenario.js';

const schema = parameters({
  ...HYP,
  cycles: key(count(100), 'times that every CPU but CPU 0 goes down and up, one after the other'),
});

export const hypHotplug = scenario({
  name: 'hyp-hotplug',
  summary: 'CPUs on which HYP mode runs go down and up',
  notes:
    'Phase 1: HYP mode starts on every CPU as in hyp-boot, and every CPU enters it. Phase 2 (`cycles` times): each CPU but CPU 0 in turn: `cpu_down`, `cpu_up`, and it enters HYP.',
  schema,
  examples: ['nodewalk synth hyp-hotplug -o hyp-hotplug.arrow --set cycles=10'],
  *rows({ parameters, emit }) {
    const { cpus, cycles } = parameters;
    const all = Array.from({ length: cpus }, (_, cpu) => cpu);
    const pages = new HypPages(parameters, emit);
    yield* emit.phase(1, 'hyp start', 0, [...pages.start(all), ...all.flatMap((cpu) => [...pages.run(cpu)])]);
    for (let i = 0; i < cycles; i++) {
      const cycle = all
        .slice(1)
        .flatMap((cpu) => [...emit.event('cpu_down', 0, cpu), ...emit.event('cpu_up', 0, cpu), ...pages.run(cpu)]);
      yield* emit.phase(2, 'hotplug', 0, cycle);
    }
  },
});
