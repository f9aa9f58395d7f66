// hyp-random-idmap: HYP mode is started anew for one position of the init page after the other; at some of them the page has the number of an
// address that HYP uses.

import { key } from '../../config/key.js';
import { HYP, HypPages } from '../hyp.js';
import { PAGE } from '../kernels.js';
import { count, parameters, scenario, unless } from '../scenario.js';

const schema = parameters(
  {
    ...HYP,
    positions: key(count(16), 'positions of the init page'),
    colliding: key(count(4, 0), 'how many of them, the last ones, are the HYP address of a stack, of the CPUs in turn'),
  },
  ({ positions, colliding }) => unless(colliding <= positions, 'colliding', 'expected at most positions'),
);

/** Random positions end here: below the trampoline of both architectures. */
const MOST_PAGES = 0xffff_0000 / PAGE;

export const hypRandomIdmap = scenario({
  name: 'hyp-random-idmap',
  summary: 'HYP mode is started with the init page anywhere, also where HYP has something else',
  notes:
    'Per position a phase: HYP mode starts on every CPU as in hyp-boot, with the init page at a random page of the first 4 GiB, or at the address that kern_hyp_va gives to a stack, lower bits kept; then every CPU enters HYP. Phase k is position k - 1.',
  schema,
  examples: ['nodewalk synth hyp-random-idmap -o idmap.arrow --set positions=32 --set hypArch=arm32-lpae'],
  *rows({ parameters, random, emit }) {
    const { cpus, positions, colliding } = parameters;
    const all = Array.from({ length: cpus }, (_, cpu) => cpu);
    const pages = new HypPages(parameters, emit);
    for (let i = 0; i < positions; i++) {
      const collision = i - (positions - colliding);
      const pa = collision < 0 ? BigInt(random.below(MOST_PAGES) * PAGE) : pages.stackHypVa(collision % cpus);
      // The kernel's own address of the page alternates, so that the same position twice is a new start too.
      const rows = [...pages.start(all, pa, i % 2), ...all.flatMap((cpu) => [...pages.run(cpu)])];
      yield* emit.phase(i + 1, collision < 0 ? 'random position' : 'colliding position', 0, rows);
    }
  },
});
