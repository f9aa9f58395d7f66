// The scenarios of guests' stage-2 faults: guests whose vCPUs, one to a CPU, fault at once. Rows between two borders of phases are concurrent, so each thing that
// all vCPUs do is a phase.

import { z } from 'zod';
import { key } from '../../config/key.js';
import { type Row } from '../emitter.js';
import { bytes, count, parameters, type Run, scenario, unless } from '../scenario.js';

const IPA_BITS = 40;
const PAGE = 4096;
const TRANSLATION = 0;
const PERMISSION = 1;
const ACCESS_FLAG = 2;

/** Half of the addresses that the guest has, so that no address is outside. */
const MOST_BYTES = 2 ** (IPA_BITS - 1);

const GUEST = {
  arch: key(z.enum(['arm64']).default('arm64'), 'architecture: these are of arm64'),
  vcpus: key(z.int().min(1).nullable().default(null), 'vCPUs, one to a CPU; null: as many as CPUs'),
  vms: key(count(1), 'guests, numbered from 1; the vCPUs are divided among them in blocks'),
  memory: key(bytes(PAGE).prefault('16M'), 'memory of each vCPU', 'bytes'),
  block: key(bytes(PAGE).prefault('2M'), 'bytes that one fault maps before the dirty log or in the end', 'bytes'),
};

/** What is wrong with the parameters of any of these scenarios. */
function guestProblems({ vcpus, cpus, vms, memory, block }: Guest) {
  const all = vcpus ?? cpus;
  return [
    ...unless(all <= cpus, 'vcpus', `expected no more than the ${cpus} CPUs`),
    ...unless(all % vms === 0, 'vms', `expected a divisor of the ${all} vCPUs`),
    ...unless(memory % block === 0, 'memory', `expected a multiple of block, ${block} bytes`),
    ...unless(memory * cpus <= MOST_BYTES, 'memory', `expected at most ${MOST_BYTES} bytes for all vCPUs`),
  ];
}

/** The schema of these scenarios and what they have of their own. */
const guestParameters = <Shape extends z.ZodRawShape>(shape: Shape) =>
  parameters({ ...GUEST, ...shape }, (values) => guestProblems(values as unknown as Guest));

interface Guest {
  cpus: number;
  vcpus: number | null;
  vms: number;
  memory: number;
  block: number;
}

type Rows = Generator<Row>;
type AnyRun = Pick<Run<Guest>, 'emit'> & { parameters: Guest };

const vcpusOf = ({ vcpus, cpus }: Guest) => Array.from({ length: vcpus ?? cpus }, (_, cpu) => cpu);
const perGuest = (guest: Guest) => vcpusOf(guest).length / guest.vms;
/** The guest of a vCPU. */
const vmOf = (guest: Guest, cpu: number) => 1 + Math.floor(cpu / perGuest(guest));
/** The first vCPU of every guest. */
const firstVcpus = (guest: Guest) => vcpusOf(guest).filter((cpu) => cpu % perGuest(guest) === 0);

/** The guests are made and destroyed around `rows`. */
function* inGuest({ emit, parameters }: AnyRun, rows: Iterable<Row>): Rows {
  const guests = firstVcpus(parameters).map((cpu) => vmOf(parameters, cpu));
  for (const vm of guests) yield* emit.event('vm_create', 0, vm, IPA_BITS);
  for (const cpu of vcpusOf(parameters)) yield* emit.event('vcpu_load', cpu, cpu, vmOf(parameters, cpu));
  yield* rows;
  for (const vm of guests) yield* emit.event('vm_destroy', 0, vm);
}

/** Every vCPU accesses all of its memory. */
function* faults({ emit, parameters }: AnyRun, faultClass: number, page: number): Rows {
  const { memory } = parameters;
  for (const cpu of vcpusOf(parameters)) {
    yield* emit.event('s2_fault', cpu, cpu * memory, memory, vmOf(parameters, cpu), faultClass, page);
  }
}

/** The first CPU of each guest does something to all of the guest's memory. */
function* whole({ emit, parameters }: AnyRun, name: string): Rows {
  const bytes = perGuest(parameters) * parameters.memory;
  for (const cpu of firstVcpus(parameters)) {
    yield* emit.event(name, cpu, cpu * parameters.memory, bytes, vmOf(parameters, cpu));
  }
}

const COLUMNS_UNUSED = ['size', 'insns'] as const;

export const s2Populate = scenario({
  name: 's2-populate',
  summary: 'vCPUs of a guest touch their own memory for the first time',
  notes: '`vm_create`, `vcpu_load` of every vCPU. Phase 1: each vCPU one `s2_fault` row for its memory. `vm_destroy`.',
  schema: guestParameters({}),
  examples: ['nodewalk synth s2-populate -o populate.arrow --set cpus=48 --set memory=64M'],
  without: COLUMNS_UNUSED,
  *rows(run) {
    yield* inGuest(run, run.emit.phase(1, 'populate', 0, faults(run, TRANSLATION, run.parameters.block)));
  },
});

export const s2DirtyLog = scenario({
  name: 's2-dirty-log',
  summary: 'a dirty log: memory is write-protected, every page is written',
  notes:
    'As s2-populate; then `iterations` times phase 2: `s2_wp` of all memory by the first CPU of each guest, and phase 3: each vCPU writes every page of 4K of its memory (`s2_fault`, class 1).',
  schema: guestParameters({ iterations: key(count(1), 'rounds of write-protection and writes') }),
  examples: ['nodewalk synth s2-dirty-log -o dirty.arrow --set cpus=48 --set nodes=1'],
  without: COLUMNS_UNUSED,
  *rows(run) {
    const { emit, parameters } = run;
    function* rounds(): Rows {
      yield* emit.phase(1, 'populate', 0, faults(run, TRANSLATION, parameters.block));
      for (let i = 0; i < parameters.iterations; i++) {
        yield* emit.phase(2, 'protect', 0, whole(run, 's2_wp'));
        yield* emit.phase(3, 'dirty', 0, faults(run, PERMISSION, PAGE));
      }
    }
    yield* inGuest(run, rounds());
  },
});

export const s2SamePage = scenario({
  name: 's2-same-page',
  summary: 'all vCPUs touch the same memory at once',
  notes:
    'As s2-populate, but every vCPU touches the memory of the first one of its guest, in the same order. Then `iterations` times phase 2: `s2_wp` of that memory by the first CPU, and phase 3: each vCPU writes all of it (`s2_fault`, class 1), those of even number by pages of 4K, the others by blocks, so that some split what others put together: something for a search of interleavings.',
  schema: guestParameters({ iterations: key(count(0, 0), 'rounds of write-protection and writes') }),
  examples: [
    'nodewalk synth s2-same-page -o same.arrow --set cpus=48 --set block=4K',
    'nodewalk synth s2-same-page -o race.arrow --set cpus=3 --set nodes=1 --set memory=2M --set iterations=2',
  ],
  without: COLUMNS_UNUSED,
  *rows(run) {
    const { emit, parameters } = run;
    const { memory, block, iterations } = parameters;
    const first = (cpu: number) => cpu - (cpu % perGuest(parameters));
    function* same(faultClass: number, pageOf: (cpu: number) => number): Rows {
      for (const cpu of vcpusOf(parameters)) {
        const vm = vmOf(parameters, cpu);
        yield* emit.event('s2_fault', cpu, first(cpu) * memory, memory, vm, faultClass, pageOf(cpu));
      }
    }
    function* rounds(): Rows {
      yield* emit.phase(
        1,
        'populate',
        0,
        same(TRANSLATION, () => block),
      );
      for (let i = 0; i < iterations; i++) {
        yield* emit.phase(2, 'protect', 0, whole(run, 's2_wp'));
        yield* emit.phase(
          3,
          'race',
          0,
          same(PERMISSION, (cpu) => (cpu % 2 === 0 ? PAGE : block)),
        );
      }
    }
    yield* inGuest(run, rounds());
  },
});

export const s2Collapse = scenario({
  name: 's2-collapse',
  summary: 'pages become blocks again, and their tables go',
  notes:
    'As s2-populate with pages of 4K. Phase 2: `s2_wp` of all memory by the first CPU of each guest. Phase 3: each vCPU writes to every block of its memory, which is then mapped by blocks (`s2_fault`, class 1). In further `iterations` a phase 2 and phase 4 come before these: each vCPU writes every page of 4K, as in a dirty log.',
  schema: guestParameters({ iterations: key(count(1), 'times that blocks come back') }),
  examples: [
    'nodewalk synth s2-collapse -o collapse.arrow --set cpus=8',
    'nodewalk synth s2-collapse -o rounds.arrow --set cpus=8 --set iterations=8',
  ],
  without: COLUMNS_UNUSED,
  *rows(run) {
    const { emit, parameters } = run;
    function* phases(): Rows {
      yield* emit.phase(1, 'populate', 0, faults(run, TRANSLATION, PAGE));
      for (let i = 0; i < parameters.iterations; i++) {
        if (i > 0) {
          yield* emit.phase(2, 'protect', 0, whole(run, 's2_wp'));
          yield* emit.phase(4, 'dirty', 0, faults(run, PERMISSION, PAGE));
        }
        yield* emit.phase(2, 'protect', 0, whole(run, 's2_wp'));
        yield* emit.phase(3, 'collapse', 0, faults(run, PERMISSION, parameters.block));
      }
    }
    yield* inGuest(run, phases());
  },
});

export const s2MkOld = scenario({
  name: 's2-mkold',
  summary: 'the kernel looks for old pages, the guest reads them again',
  notes:
    'As s2-populate; then `iterations` times phase 2: `s2_age` of all memory by the first CPU of each guest, and phase 3: each vCPU reads its memory (`s2_fault`, class 2, in steps of `block`).',
  schema: guestParameters({ iterations: key(count(1), 'rounds of aging and reading') }),
  examples: ['nodewalk synth s2-mkold -o mkold.arrow --set cpus=8 --set block=4K'],
  without: COLUMNS_UNUSED,
  *rows(run) {
    const { emit, parameters } = run;
    function* rounds(): Rows {
      yield* emit.phase(1, 'populate', 0, faults(run, TRANSLATION, parameters.block));
      for (let i = 0; i < parameters.iterations; i++) {
        yield* emit.phase(2, 'age', 0, whole(run, 's2_age'));
        yield* emit.phase(3, 'read', 0, faults(run, ACCESS_FLAG, parameters.block));
      }
    }
    yield* inGuest(run, rounds());
  },
});

export const s2Unmap = scenario({
  name: 's2-unmap',
  summary: 'the kernel takes memory away, the guest touches it again',
  notes:
    'As s2-populate with pages of 4K. Phase 2, `iterations` times over its memory, all vCPUs at once: for every `unmap` bytes the CPU of each vCPU takes them away (`s2_unmap`, as a notifier does) and the vCPU touches them again (`s2_fault`, class 0).',
  schema: parameters(
    {
      ...GUEST,
      unmap: key(bytes(PAGE).prefault('2M'), 'bytes that are taken away at once', 'bytes'),
      iterations: key(count(1), 'rounds over the memory'),
    },
    (values) => [
      ...guestProblems(values as unknown as Guest),
      ...unless(values.memory % values.unmap === 0, 'unmap', 'expected a divisor of memory'),
    ],
  ),
  examples: ['nodewalk synth s2-unmap -o unmap.arrow --set cpus=96 --set vms=12 --set memory=2M --set unmap=64K'],
  without: COLUMNS_UNUSED,
  *rows(run) {
    const { emit, parameters } = run;
    const { memory, unmap, iterations } = parameters;
    function* chunks(cpu: number): Rows {
      const vm = vmOf(parameters, cpu);
      for (let offset = 0; offset < memory * iterations; offset += unmap) {
        const ipa = cpu * memory + (offset % memory);
        yield* emit.event('s2_unmap', cpu, ipa, unmap, vm);
        yield* emit.event('s2_fault', cpu, ipa, unmap, vm, TRANSLATION, PAGE);
      }
    }
    function* all(): Rows {
      for (const cpu of vcpusOf(parameters)) yield* chunks(cpu);
    }
    function* phases(): Rows {
      yield* emit.phase(1, 'populate', 0, faults(run, TRANSLATION, PAGE));
      yield* emit.phase(2, 'unmap', 0, all());
    }
    yield* inGuest(run, phases());
  },
});
