// hyp-boot: a kernel boots, KVM starts HYP mode on every CPU, and guests' structures are mapped and unmapped.

import { key } from '../../config/key.js';
import { HYP, HypPages } from '../hyp.js';
import { count, parameters, scenario } from '../scenario.js';

const schema = parameters({
  ...HYP,
  guests: key(count(4, 0), 'times that structures of a guest are mapped, used and unmapped, the CPUs in turn'),
  guestPages: key(count(3, 1, 512), 'pages of these structures'),
});

export const hypBoot = scenario({
  name: 'hyp-boot',
  summary: 'KVM/ARM starts HYP mode on every CPU',
  notes:
    'Phase 1: the boot event, `cpu_up` of all CPUs. Phase 2: `hyp_init` for the tables, `hyp_map` of text and stacks, `hyp_init` of every CPU. Phase 3: every CPU enters HYP: a fetch from each page of text and a load from its stack. Phase 4: per guest `hyp_map`, a load from every page by every CPU, `hyp_unmap`.',
  schema,
  examples: ['nodewalk synth hyp-boot -o hyp-boot.arrow --set cpus=8'],
  *rows({ parameters, nodes, kernel: { image }, emit }) {
    const { cpus, guests, guestPages } = parameters;
    const all = Array.from({ length: cpus }, (_, cpu) => cpu);
    const pages = new HypPages(parameters, emit);
    yield* emit.phase(1, 'boot', 0, [
      ...emit.event(
        'boot',
        0,
        ...[image.va, 0, image.textBytes, image.rodataBytes, image.roaiBytes, image.initBytes, image.dataBytes],
        ...[nodes.length, cpus, image.align],
      ),
      ...all.slice(1).flatMap((cpu) => [...emit.event('cpu_up', 0, cpu)]),
    ]);
    yield* emit.phase(2, 'hyp start', 0, pages.start(all));
    for (const cpu of all) yield* emit.phase(3, 'hyp', cpu, pages.run(cpu));
    for (let guest = 0; guest < guests; guest++) {
      const cpu = guest % cpus;
      yield* emit.phase(4, 'guests', cpu, pages.structures(guestPages, all, cpu));
    }
  },
});
