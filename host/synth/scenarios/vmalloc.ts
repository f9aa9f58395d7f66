// vmalloc: kernel mappings fill entries of the root table that were empty; every CPU then reads a byte of each mapping.

import { z } from 'zod';
import { key } from '../../config/key.js';
import { type Row } from '../emitter.js';
import { aligned, type Kernel, PAGE, ROOT_SLOT } from '../kernels.js';
import { count, kernelFor, parameters, type Run, scenario, unless } from '../scenario.js';

const VMALLOC_AREA = 2;

const schema = parameters(
  {
    slots: key(count(4), 'entries of the root table to fill, 512 GiB each, the CPUs in turn'),
    pages: key(count(8, 1, 2 ** 27), 'pages that are mapped in each', 'pages'),
    unmap: key(z.boolean().default(true), 'unmap them again'),
  },
  (values) => {
    const room = roomIn(kernelFor(values));
    return unless(values.slots <= room, 'slots', `expected at most ${room}, what vmalloc has`);
  },
);

type Mappings = Run<z.output<typeof schema>>;

export const vmalloc = scenario({
  name: 'vmalloc',
  summary: 'kernel mappings fill new entries of the root table',
  notes:
    'Phase 1: `kmap` in area vmalloc at the start of every entry of the root table that is filled, slot k by CPU k modulo the CPUs; then each CPU reads the first byte of each mapping. Phase 2: `kunmap`. The first entry is the second one that vmalloc covers.',
  schema,
  examples: ['nodewalk synth vmalloc -o vmalloc.arrow --set arch=arm64 --set slots=16'],
  *rows(run) {
    const { parameters, emit } = run;
    yield* emit.phase(1, 'map', 0, fill(run));
    if (parameters.unmap) yield* emit.phase(2, 'unmap', 0, change('kunmap', run));
  },
});

/** Slot 0 is the first that begins inside the range and is not its first: that one a kernel uses from boot on. */
function slotVa({ vmalloc }: Kernel, slot: number): bigint {
  return aligned(vmalloc.va + 1n, ROOT_SLOT) + BigInt(slot) * BigInt(ROOT_SLOT);
}

function roomIn(kernel: Kernel): number {
  return Number((kernel.vmalloc.va + BigInt(kernel.vmalloc.bytes) - slotVa(kernel, 0)) / BigInt(ROOT_SLOT));
}

function* fill(run: Mappings): Generator<Row> {
  const { parameters, kernel, emit } = run;
  yield* change('kmap', run);
  for (let slot = 0; slot < parameters.slots; slot++)
    for (let cpu = 0; cpu < parameters.cpus; cpu++) yield emit.kernelLoad(cpu, slotVa(kernel, slot));
}

function* change(event: 'kmap' | 'kunmap', { parameters, kernel, emit }: Mappings): Generator<Row> {
  const { slots, pages, cpus } = parameters;
  for (let slot = 0; slot < slots; slot++)
    yield* emit.event(event, slot % cpus, slotVa(kernel, slot), pages, PAGE, VMALLOC_AREA);
}
