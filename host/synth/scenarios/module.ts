// module: modules are loaded and unloaded, BPF programs are loaded. The changes of protection are those of complete_formation(),
// do_init_module() (kernel/module, Linux 6.1: ro, nx, x, then ro once more after init) and bpf_jit_binary_lock_ro(); the part of
// a module that goes after init, and the linear map's alias, are left out.

import { key } from '../../config/key.js';
import { type Emitter, type Row } from '../emitter.js';
import { PAGE } from '../kernels.js';
import { bytes, count, kernelFor, parameters, scenario, unless } from '../scenario.js';

const READ = 1;
const READ_WRITE = 3;
const READ_EXECUTE = 5;

interface Sizes {
  textBytes: number;
  rodataBytes: number;
  dataBytes: number;
}

const schema = parameters(
  {
    cycles: key(count(4), 'times that all modules are loaded and unloaded'),
    modules: key(count(8), 'modules that are loaded at a time'),
    textBytes: key(bytes(PAGE).prefault('64K'), 'text of a module', 'bytes'),
    rodataBytes: key(bytes(PAGE, 0).prefault('16K'), 'its read-only data', 'bytes'),
    dataBytes: key(bytes(PAGE, 0).prefault('16K'), 'its data', 'bytes'),
    bpf: key(count(8, 0), 'BPF programs that are loaded, and stay'),
    bpfBytes: key(bytes(PAGE).prefault('4K'), 'size of a program', 'bytes'),
    cpu: key(count(0, 0), 'CPU that loads'),
  },
  (values) => {
    const { modules, bpf, bpfBytes, cpu, cpus } = values;
    const range = kernelFor(values).modules;
    return [
      ...unless(cpu < cpus, 'cpu', `expected a CPU below ${cpus}`),
      ...unless(
        modules * strideOf(values) + bpf * (bpfBytes + PAGE) <= range.bytes,
        'modules',
        `expected what fits the ${range.bytes} bytes of the modules' range`,
      ),
    ];
  },
);

export const module = scenario({
  name: 'module',
  summary: 'modules are loaded and unloaded, BPF programs are loaded',
  notes:
    'Phase 1: per module `module_load`, then `set_memory` as complete_formation() and do_init_module() of Linux 6.1 call it: text r, rodata r, rodata r (nx), data rw (nx), text rx, and once more text and rodata after init. Phase 2: `module_unload`. Both alternate `cycles` times. Phase 3: per BPF program `bpf_load`, then `set_memory` r and rx. Parts follow one another, each module or program is followed by a guard page; BPF programs lie above the modules on x86-64, in the vmalloc range on arm64. The part of a module that only init needs is left out.',
  schema,
  examples: ['nodewalk synth module -o module.arrow --set cycles=100 --set textBytes=256K --set cpu=2'],
  *rows({ parameters, kernel, emit }) {
    const { cycles, modules, bpf, bpfBytes, cpu } = parameters;
    const stride = strideOf(parameters);
    const places = Array.from({ length: modules }, (_, i) => kernel.modules.va + BigInt(i * stride));
    for (let cycle = 0; cycle < cycles; cycle++) {
      yield* emit.phase(
        1,
        'load',
        cpu,
        places.flatMap((va) => [...load(emit, cpu, va, parameters)]),
      );
      yield* emit.phase(
        2,
        'unload',
        cpu,
        places.flatMap((va) => [...emit.event('module_unload', cpu, va)]),
      );
    }
    // BPF programs lie above the modules where they share a range with them.
    const first = kernel.bpf.va + BigInt(kernel.bpf.va === kernel.modules.va ? modules * stride : 0);
    const programs = Array.from({ length: bpf }, (_, i) => first + BigInt(i * (bpfBytes + PAGE)));
    yield* emit.phase(
      3,
      'bpf',
      cpu,
      programs.flatMap((va) => [...loadBpf(emit, cpu, va, bpfBytes)]),
    );
  },
});

/** A module and the guard page after it. */
function strideOf({ textBytes, rodataBytes, dataBytes }: Sizes): number {
  return textBytes + rodataBytes + dataBytes + PAGE;
}

function* load(emit: Emitter, cpu: number, va: bigint, sizes: Sizes): Generator<Row> {
  const text = { va, bytes: sizes.textBytes };
  const rodata = { va: va + BigInt(text.bytes), bytes: sizes.rodataBytes };
  const data = { va: rodata.va + BigInt(rodata.bytes), bytes: sizes.dataBytes };
  yield* emit.event('module_load', cpu, va, text.bytes, rodata.bytes, data.bytes);
  const changes = [
    [text, READ],
    [rodata, READ],
    [rodata, READ],
    [data, READ_WRITE],
    [text, READ_EXECUTE],
    [text, READ_EXECUTE],
    [rodata, READ],
  ] as const;
  for (const [part, protection] of changes) yield* protect(emit, cpu, part.va, part.bytes, protection);
}

function* loadBpf(emit: Emitter, cpu: number, va: bigint, size: number): Generator<Row> {
  yield* emit.event('bpf_load', cpu, va, size);
  yield* protect(emit, cpu, va, size, READ);
  yield* protect(emit, cpu, va, size, READ_EXECUTE);
}

function* protect(emit: Emitter, cpu: number, va: bigint, size: number, protection: number): Generator<Row> {
  if (size > 0) yield* emit.event('set_memory', cpu, va, size / PAGE, protection);
}
