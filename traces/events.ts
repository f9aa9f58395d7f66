// The event vocabulary of a trace: every kind of row at 16 and above, with its number, its name and the meaning of its
// operands, defined once. An event's first operand is in `va`, its second in `arg`; further operands follow in rows of
// kind 19 (`operands`), two per row in the same order. The row's `cpu` is the CPU on which the event happens.

/** One kind of event. An operand that is not named is 0. */
export interface EventKind {
  kind: number;
  name: string;
  /** The first operand. */
  va?: string;
  /** The second operand. */
  arg?: string;
  /** Operands 3, 4, ... in the rows of kind 19 that follow. */
  more?: readonly string[];
}

export const PHASE_BEGIN = 16;
export const PHASE_END = 17;
export const MARKER = 18;
export const OPERANDS = 19;
export const CTX_SWITCH = 37;

/** First kind number of what a kernel or hypervisor does. */
export const FIRST_SYSTEM_EVENT = 32;

/** First kind number of an event; below it are fetch, load and store. */
export const FIRST_EVENT = 16;

const AREA = 'area: 0 image, 1 module, 2 vmalloc, 3 linear map, 4 fixmap';
const PROT = 'protection: bit 0 read, bit 1 write, bit 2 execute';
const MM = 'address space (mm)';
const VM = 'virtual machine';
const VCPU = 'virtual CPU';

export const EVENTS: readonly EventKind[] = [
  { kind: PHASE_BEGIN, name: 'phase_begin', va: 'phase number' },
  { kind: PHASE_END, name: 'phase_end', va: 'phase number' },
  {
    kind: MARKER,
    name: 'marker',
    va: 'marker number',
    arg: 'operand, if it has one',
  },
  { kind: OPERANDS, name: 'operands', va: 'a further operand of the event before', arg: 'the operand after it' },
  {
    kind: 32,
    name: 'boot',
    va: 'VA of the text; the other parts follow in this order, all but the third at a multiple of the alignment',
    arg: 'home node of the image',
    more: [
      'bytes of text',
      'bytes of rodata',
      'bytes of read-only-after-init data',
      'bytes of init',
      'bytes of data',
      'nodes',
      'CPUs',
      'alignment of the parts',
    ],
  },
  { kind: 33, name: 'cpu_up', va: 'CPU; the row has the one that asks' },
  { kind: 34, name: 'cpu_down', va: 'CPU; the row has the one that asks' },
  { kind: 35, name: 'cpu_suspend', va: 'CPU' },
  { kind: 36, name: 'cpu_resume', va: 'CPU' },
  {
    kind: CTX_SWITCH,
    name: 'ctx_switch',
    va: `${MM} switched to, 0: the kernel's own`,
    arg: 'its ASID',
    more: [`${MM} left`],
  },
  { kind: 38, name: 'kernel_enter' },
  { kind: 39, name: 'kernel_exit' },
  { kind: 40, name: 'kmap', va: 'first VA', arg: 'pages', more: ['bytes of a page', AREA] },
  { kind: 41, name: 'kunmap', va: 'first VA', arg: 'pages', more: ['bytes of a page', AREA] },
  { kind: 42, name: 'set_memory', va: 'first VA', arg: 'pages', more: [PROT] },
  {
    kind: 43,
    name: 'text_patch',
    va: 'VA of the first site',
    arg: 'bytes of a site',
    more: [
      'method: 0 no synchronisation, 1 stop_machine, 2 breakpoint batch, 3 alternatives, 4 early',
      'sites',
      'bytes from one site to the next',
    ],
  },
  {
    kind: 44,
    name: 'module_load',
    va: 'VA; the parts follow one another, each at a page',
    arg: 'bytes of text',
    more: ['bytes of rodata', 'bytes of data'],
  },
  { kind: 45, name: 'module_unload', va: 'VA' },
  { kind: 46, name: 'bpf_load', va: 'VA', arg: 'bytes' },
  { kind: 47, name: 'mm_create', va: MM, arg: 'its ASID' },
  { kind: 48, name: 'mm_destroy', va: MM },
  { kind: 49, name: 'user_pud_alloc', va: 'VA', arg: MM },
  { kind: 50, name: 'user_pud_free', va: 'VA', arg: MM },
  { kind: 51, name: 'user_map', va: 'first VA', arg: 'pages', more: [MM, 'PA of the first page, all ones if unknown'] },
  { kind: 52, name: 'user_unmap', va: 'first VA', arg: 'pages', more: [MM] },
  { kind: 53, name: 'user_prot', va: 'first VA', arg: 'pages', more: [MM, PROT] },
  { kind: 54, name: 'vm_create', va: VM, arg: 'IPA bits' },
  { kind: 55, name: 'vm_destroy', va: VM },
  { kind: 56, name: 'vcpu_load', va: VCPU, arg: VM },
  { kind: 57, name: 'vcpu_put', va: VCPU, arg: VM },
  { kind: 58, name: 'vm_entry', va: VCPU, arg: VM },
  { kind: 59, name: 'vm_exit', va: VCPU, arg: VM, more: ['reason'] },
  {
    kind: 60,
    name: 's2_fault',
    va: 'IPA',
    arg: 'bytes to map',
    more: [
      VM,
      'class: 0 translation, 1 permission, 2 access flag',
      'bytes of each mapping; 0: one fault maps them all',
    ],
  },
  { kind: 61, name: 's2_unmap', va: 'first IPA', arg: 'bytes', more: [VM] },
  { kind: 62, name: 's2_wp', va: 'first IPA', arg: 'bytes', more: [VM] },
  { kind: 63, name: 's2_age', va: 'first IPA', arg: 'bytes', more: [VM] },
  { kind: 64, name: 's2_split', va: 'first IPA', arg: 'bytes', more: [VM] },
  { kind: 65, name: 'hyp_init', va: 'VA of the init page', arg: 'its PA' },
  { kind: 66, name: 'hyp_map', va: 'first VA', arg: 'first PA', more: ['pages'] },
  { kind: 67, name: 'hyp_unmap', va: 'first VA', arg: 'first PA', more: ['pages'] },
  {
    kind: 68,
    name: 'spe_program',
    va: 'VA of the buffer',
    arg: 'limit VA',
    more: [VCPU, 'filter: bit 0 user, bit 1 kernel; 0: as configured'],
  },
  { kind: 69, name: 'spe_enable', va: VCPU, arg: VM },
  { kind: 70, name: 'spe_disable', va: VCPU, arg: VM },
  { kind: 71, name: 'spe_read_ptr', va: VCPU, arg: VM },
  { kind: 72, name: 'spe_drain', va: VCPU, arg: VM },
  { kind: 73, name: 'spe_irq', va: VCPU, arg: VM },
  { kind: 74, name: 'cache_cold', va: 'scope: 0 the line caches of this CPU, 1 of its node, 2 of all nodes' },
];

const NAMES: readonly (string | undefined)[] = (() => {
  const names: (string | undefined)[] = ['fetch', 'load', 'store'];
  for (const { kind, name } of EVENTS) names[kind] = name;
  return names;
})();

/** Whether rows of this kind may occur in a trace. */
export function isKnownKind(kind: number): boolean {
  return NAMES[kind] !== undefined;
}

/** "fetch", "phase_begin", ...; "kind N" for a number that has no meaning. */
export function kindName(kind: number): string {
  return NAMES[kind] ?? `kind ${kind}`;
}
