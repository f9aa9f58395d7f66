// spe-run: vCPUs of a guest are profiled by their kernel: buffers are programmed and enabled, tasks work and are switched, pointers are read, buffers
// remapped; the host starts a dirty log and reclaims memory.

import { z } from 'zod';
import { key } from '../../config/key.js';
import { type Row } from '../emitter.js';
import { LINE, PAGE, USER_TEXT } from '../kernels.js';
import { bytes, count, parameters, type Run, scenario, unless } from '../scenario.js';

const VM = 1;
const IPA_BITS = 40;
/** Where the model has the pages of buffers, in the order in which they are programmed. */
const BUFFER_IPA = 0x8000_0000;
/** Buffers in the guest kernel's addresses, apart from each other. */
const BUFFER_VA = 0xffff_8000_4000_0000n;
const BUFFER_STRIDE = 2 ** 26;
const HEAP = 0x1000_0000n;
const VMALLOC = 2;
const FETCH_INSNS = 16;
const FILTERS = { configured: 0, user: 1, kernel: 2, both: 3 };

const schema = parameters(
  {
    arch: key(z.enum(['arm64']).default('arm64'), 'architecture: this is of arm64'),
    slices: key(count(32), 'slices of work of each vCPU'),
    slice: key(count(2000), 'blocks of 16 instructions, each with a load or a store, in a slice'),
    workingSet: key(bytes(PAGE).prefault('1M'), 'data that the tasks of a vCPU use', 'bytes'),
    buffer: key(bytes(PAGE).prefault('64K'), "buffer of each vCPU's profiler, at most 64M", 'bytes'),
    filter: key(
      z.enum(['configured', 'user', 'kernel', 'both']).default('configured'),
      'exception levels that the guest samples; configured: as system.speFilter says',
    ),
    switchEvery: key(count(1, 0), 'slices from one context switch to the next; 0: none'),
    readEvery: key(count(4, 0), 'slices from one read of the pointer to the next; 0: none'),
    remapEvery: key(count(0, 0), 'slices from one remap of the buffer to the next; 0: none'),
    remapEnabled: key(
      z.boolean().default(false),
      'the guest remaps a buffer that is enabled, which V2 must not see; else it stops profiling and starts it again',
    ),
    dirtyLog: key(count(0, 0), 'the slice before which the host write-protects all buffers; 0: none'),
    reclaimEvery: key(count(0, 0), 'slices from one attempt of the host to reclaim all buffers to the next; 0: none'),
  },
  ({ buffer }) => unless(buffer <= BUFFER_STRIDE, 'buffer', `expected at most ${BUFFER_STRIDE} bytes`),
);

type Rows = Generator<Row>;

/** The events and rows of one machine. */
class Profiled {
  readonly cpus: number[];
  private readonly tasks: number[][] = [];
  /** Bytes of memory that buffers have taken so far. */
  private taken = 0;

  constructor(private readonly run: Run<z.output<typeof schema>>) {
    this.cpus = Array.from({ length: run.parameters.cpus }, (_, cpu) => cpu);
  }

  private va = (cpu: number) => BUFFER_VA + BigInt(cpu * BUFFER_STRIDE);

  /** The machine, two tasks for each vCPU, and profiling of all vCPUs. */
  *begin(): Rows {
    const { emit, parameters } = this.run;
    yield* emit.event('vm_create', 0, VM, IPA_BITS);
    for (const cpu of this.cpus) {
      yield* emit.event('vcpu_load', cpu, cpu, VM);
      this.tasks.push([yield* emit.create(cpu), yield* emit.create(cpu)]);
      yield* emit.switchTo(cpu, this.tasks[cpu][0]);
      const from = this.va(cpu);
      const limit = from + BigInt(parameters.buffer);
      this.taken += parameters.buffer;
      yield* emit.event('spe_program', cpu, from, limit, cpu, FILTERS[parameters.filter]);
      yield* emit.event('spe_enable', cpu, cpu, VM);
    }
  }

  /** What comes before slice `n`. */
  *before(n: number): Rows {
    const { emit, parameters } = this.run;
    const { buffer, switchEvery, readEvery, remapEvery, remapEnabled, dirtyLog, reclaimEvery } = parameters;
    const due = (every: number) => every > 0 && n % every === 0;
    if (n === dirtyLog) yield* emit.event('s2_wp', 0, BUFFER_IPA, this.taken, VM);
    if (due(reclaimEvery)) yield* emit.event('s2_unmap', 0, BUFFER_IPA, this.taken, VM);
    for (const cpu of this.cpus) {
      if (due(switchEvery)) yield* emit.switchTo(cpu, this.tasks[cpu][(n / switchEvery) % 2]);
      if (due(readEvery)) yield* emit.event('spe_read_ptr', cpu, cpu, VM);
      if (!due(remapEvery)) continue;
      if (!remapEnabled) yield* emit.event('spe_disable', cpu, cpu, VM);
      yield* emit.event('kmap', cpu, this.va(cpu), buffer / PAGE, PAGE, VMALLOC);
      this.taken += buffer;
      if (!remapEnabled) yield* emit.event('spe_enable', cpu, cpu, VM);
    }
  }

  /** The vCPUs' work in turn. */
  *slice(): Rows {
    const { emit, parameters, random } = this.run;
    const lines = parameters.workingSet / LINE;
    for (const cpu of this.cpus) {
      for (let block = 0; block < parameters.slice; block++) {
        yield emit.userFetch(cpu, USER_TEXT.va + BigInt((block % 512) * LINE), FETCH_INSNS);
        const va = HEAP + BigInt(random.below(lines) * LINE);
        yield block % 3 === 2 ? emit.userStore(cpu, va) : emit.userLoad(cpu, va);
      }
    }
  }

  *end(): Rows {
    const { emit } = this.run;
    for (const cpu of this.cpus) yield* emit.event('spe_disable', cpu, cpu, VM);
    yield* emit.event('vm_destroy', 0, VM);
  }
}

export const speRun = scenario({
  name: 'spe-run',
  summary: "a guest's kernel profiles its vCPUs",
  notes:
    '`vm_create`; per vCPU `vcpu_load`, two tasks, `spe_program`, `spe_enable`. Phase 1: `slices` times every vCPU in turn a fetch of 16 instructions and a load (every third time a store) at a random line of its working set, `slice` times; between slices context switches, `spe_read_ptr`, `kmap` of other pages for the buffer, and of the host `s2_wp` and `s2_unmap` of all buffers, as parameters say. Then `spe_disable` of every vCPU and `vm_destroy`.',
  schema,
  examples: ['nodewalk synth spe-run -o spe.arrow --set cpus=2 --set switchEvery=4 --set reclaimEvery=8'],
  *rows(run) {
    const machine = new Profiled(run);
    function* work(): Rows {
      for (let n = 0; n < run.parameters.slices; n++) {
        if (n > 0) yield* machine.before(n);
        yield* machine.slice();
      }
    }
    yield* machine.begin();
    yield* run.emit.phase(1, 'profiled', 0, work());
    yield* machine.end();
  },
});
