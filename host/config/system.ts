// The `system` section: what the kernel or hypervisor does, one name with options of its own. The options stand side by
// side, so that a sweep can vary the name; one that the named system does not have must keep its default.
import { z } from 'zod';
import { bytes } from './bytes.js';
import { key } from './key.js';

const TEXT = 'text-replication';
const HOST_STAGE2 = 'host-stage2';
const HYP_INIT = 'hyp-init';
const STAGE2_FAULTS = 'stage2-faults';
const SPE = 'spe';
const flag = (fallback: boolean, sentence: string) => key(z.boolean().default(fallback), sentence);

const ofText = {
  replicaAlign: key(
    z.enum(['4K', '64K', '2M']).nullable().default(null),
    'text-replication: alignment of the copies in physical memory, which decides the page sizes that map them; null: as the patches do, the base page on arm64, 2M on x86-64',
  ),
  kpti: flag(
    false,
    'text-replication: the kernel hides itself from user space (KPTI, PTI), with a second root per space',
  ),
  kaslr: flag(
    false,
    'text-replication: the image is moved at boot; on x86-64 it stays in its window, on arm64 the patches do not replicate then',
  ),
};

const ofArmText = {
  subtreeNode: key(
    z.enum(['local', 'node0', 'last']).default('local'),
    "text-replication, arm64: node of the tables below a replica's root: its own, node 0, or the last one",
  ),
  splitLevel: key(
    z.int().min(-1).max(2).nullable().default(null),
    'text-replication, arm64: table level at which replicas part; null: the first at which the image has an entry to itself',
  ),
  roProtect: flag(
    false,
    'text-replication, arm64: copies of read-only data are mapped read-only, which the patches do not do',
  ),
  syncImageUnmap: flag(
    false,
    'text-replication, arm64: what is unmapped or protected in the image is so on every node, which the patches do not do',
  ),
};

const ofArm = {
  cnp: flag(false, 'text-replication and host-stage2, arm64: roots are marked as common to all CPUs of a domain (CnP)'),
  cnpDomain: key(
    z.enum(['cpu', 'node', 'all']).default('cpu'),
    'text-replication and host-stage2, arm64: CPUs that share TLB entries where cnp says so',
  ),
};

const ofX86Text = {
  rodata: flag(true, 'text-replication, x86-64: read-only data is replicated too'),
  modules: flag(true, 'text-replication, x86-64: modules are replicated too'),
};

const ofHostStage2 = {
  s2Mode: key(
    z.enum(['shared', 'full']).default('shared'),
    'host-stage2: tables per node down to where the text is alone and shared below, or complete tables per node',
  ),
  textS2Leaf: key(
    z.enum(['block', 'page']).default('block'),
    'host-stage2: largest stage-2 leaf that maps the text; pKVM uses pages for any protection that is not its default',
  ),
  fill: key(
    z.enum(['eager', 'lazy']).default('eager'),
    'host-stage2: a stage-2 fault fills the tables of all nodes, or of the node that took it',
  ),
  s2PoolNode: key(
    z.enum(['local', 'node0']).default('local'),
    "host-stage2: node of the tables: the replica's own, or node 0 as pKVM's one pool",
  ),
  patch: key(
    z.enum(['trap', 'hvc']).default('trap'),
    'host-stage2: stores to the text trap and are emulated, or the kernel asks with an HVC',
  ),
  poolLevels: key(
    z.int().min(4).max(5).default(5),
    'host-stage2: table levels that the pool is sized for: 5 in Linux 6.12, 4 in 6.1 (unverified)',
  ),
  memoryBytes: key(
    bytes.nullable().prefault(null),
    'host-stage2: memory of the machine, which the pool is sized for, such as 1T; null: not known',
    'bytes',
  ),
  vhe: flag(false, 'host-stage2: the kernel runs at EL2 (VHE), for comparison: exits cost exitVhe'),
};

const ofHypInit = {
  hypScheme: key(
    z.enum(['legacy', 'trampoline', 'merged', 'pkvm-switch']).default('trampoline'),
    'hyp-init: how HYP mode is started: an identity mapping that is removed again, two tables and a trampoline (2013), one table (since 4.8), or one that pKVM replaces by its own',
  ),
  hypArch: key(
    z.enum(['arm32-lpae', 'arm64']).default('arm64'),
    'hyp-init: tables of HYP: LPAE for 32 bits, or 4K pages and paging.vaBits',
  ),
  hypIdmap: key(
    z
      .union([
        z.int().min(0),
        z.string().regex(/^(random|0x[0-9a-f]+)$/, { error: 'expected random or an address such as 0x80000000' }),
      ])
      .nullable()
      .default(null),
    'hyp-init: physical address of the init page, as text such as 0x80000000; random: anywhere; null: as the trace says',
  ),
  hypSeed: key(z.int().min(0).max(0xffff_ffff).default(1), 'hyp-init: seed of random init pages'),
  hypMemoryBytes: key(
    bytes.nullable().prefault(null),
    "hyp-init, one table: memory in the kernel's linear map, which the init page must not meet; null: as much as it has room for (760M for 32 bits)",
    'bytes',
  ),
  specWalks: flag(
    false,
    "hyp-init: an adversary's walker: at every step the TLB takes whatever the table in force maps, and keeps it when the CPU goes down",
  ),
};

const us = (value: number, sentence: string) =>
  key(z.number().min(0).max(1e9).default(value), `stage2-faults: ${sentence}`, 'us');
const FIT = 'fitted to the published times of dirty_log_perf_test (Upton, v5)';

const ofStage2Faults = {
  s2Lock: key(
    z.enum(['exclusive', 'shared', 'fast', 'hyp-ipi']).default('shared'),
    'stage2-faults: faults take mmu_lock as writers (Linux 6.1), as readers with RCU (6.2 and later), likewise but permission and access-flag faults none, or as readers with interrupts off, and tables are freed when all CPUs have answered an interrupt',
  ),
  s2Split: key(
    z.enum(['lazy', 'eager']).default('lazy'),
    'stage2-faults: blocks that are write-protected are split by the faults on them, or at once',
  ),
  s2TlbiDomain: key(
    z.enum(['all', 'vm']).default('all'),
    "stage2-faults: broadcast TLBI go to all CPUs, or to those that have run the guest, where hardware can be told so; TLBI that go to different CPUs are not in each other's way",
  ),
  s2HardwareAf: flag(
    true,
    'stage2-faults: hardware sets the access flag (VTCR_EL2.HA), so there are no access-flag faults',
  ),
  s2TlbRange: flag(
    true,
    'stage2-faults: TLBI by range (FEAT_TLBIRANGE) for tables, for what a notifier unmaps and what a dirty log protects',
  ),
  rcuGraceUs: us(20_000, 'the least time from unlinking a table to freeing it; 10 to 30 ms'),
  s2ExclusiveFaultUs: us(0.78, `a fault with s2Lock exclusive; ${FIT}`),
  s2ExclusiveLockUs: us(0.56, `the part of it under the lock; ${FIT}`),
  s2SharedFaultUs: us(0.98, `a fault in the other modes while other CPUs fault; ${FIT}`),
  s2SharedSerialUs: us(
    0.13,
    `the part of it that no two CPUs do at once: the line of the lock moves to the CPU that takes it and to the one that leaves it, half of this each, unless it is there; ${FIT}`,
  ),
  s2FaultSpread: key(
    z.number().min(0).max(1).default(1),
    'stage2-faults: how much of the rest of a fault is exponentially distributed, the other part being constant; no source gives it',
  ),
};

/** Seeds of the random scheduler are below this. */
export const SEEDS = 2 ** 32;
const ofStage2Search = {
  s2SampleUs: us(
    1,
    'time between two points of the timeline in the summary; it doubles whenever there are 512 points; 0: no timeline',
  ),
  s2Seed: key(
    z
      .int()
      .min(0)
      .max(SEEDS - 1)
      .nullable()
      .default(null),
    'stage2-faults: any CPU that can may make the next step, as a generator with this seed chooses, and grace periods end at any time: an interleaving to be checked, whose times mean nothing; null: the CPU with the lowest clock',
  ),
  s2Seeds: key(
    z.int().min(1).max(1e6).default(1),
    'stage2-faults: seeds from s2Seed on with which the trace is replayed, up to the first that breaks an invariant',
  ),
};

const ofSpe = {
  speStrategy: key(
    z.enum(['pin-vm', 'pin-buffer', 'copy', 'copy-on-read']).default('copy'),
    "spe: the unit writes to the guest's buffer with all of the machine's memory pinned (V1), or with the buffer and the tables that map it pinned while it is enabled (V2); or to a buffer of KVM's own, from which it is copied (V3), or copied when the guest reads it (V3L)",
  ),
  speEnable: key(
    z.enum(['always', 'trace']).default('always'),
    'spe: what is profiled in a trace without spe_* events: everything, each vCPU on the CPU of its number, or nothing. A trace that has them is obeyed',
  ),
  spePeriod: key(
    z.int().min(1).max(0xff_ffff).default(1024),
    'spe: operations from one sample to the next',
    'operations',
  ),
  speMinPeriod: key(
    z.union([256, 512, 768, 1024, 1536, 2048, 3072, 4096].map((n) => z.literal(n))).default(256),
    'spe: the shortest period that the CPU has (PMSIDR.Interval)',
    'operations',
  ),
  speJitter: key(
    z.int().min(0).max(0xffff).default(0),
    'spe: the most by which an interval is longer or shorter than the period, by chance',
    'operations',
  ),
  speSeed: key(z.int().min(0).max(0xffff_ffff).default(1), 'spe: seed of that chance'),
  speFilter: key(
    z.enum(['user', 'kernel', 'both']).default('both'),
    'spe: exception levels that are sampled where the trace does not say: EL0, EL1 or both',
  ),
  speBufferBytes: key(bytes.prefault('1M'), 'spe: buffer of each vCPU, where the trace programs none', 'bytes'),
  speKernelBytes: key(bytes.prefault('1M'), "spe, V3 and V3L: the most that a buffer of KVM's own may have", 'bytes'),
  speKernelNode: key(
    z.int().min(0).max(63).nullable().default(null),
    "spe, V3 and V3L: node of KVM's own buffers; null: that of the CPU",
  ),
  speGuestBytes: key(bytes.prefault('1G'), 'spe: memory of the machine, all of which V1 pins', 'bytes'),
  speShareRead: key(z.number().min(0).max(1).default(1), 'spe: share of the recorded pages that the guest reads'),
  speSwitchOps: key(
    z.int().min(0).max(1e12).default(0),
    'spe: operations between context switches of each vCPU, besides those of the trace; 0: none',
    'operations',
  ),
  speToggle: flag(
    true,
    'spe: profiling follows a task, so a context switch stops the buffer and starts it again; else it follows a CPU',
  ),
  speErratum: flag(
    false,
    'spe: Neoverse N1 erratum 1978083: a bad pointer may stop the CPU, so V1 too traps the registers and looks at them (condition unverified)',
  ),
  speFgt: flag(
    false,
    'spe, V3 and V3L: reads of PMBIDR can be trapped (FEAT_FGT), so that the guest does not see PMBIDR.P',
  ),
  speHardwareAf: flag(false, 'spe: the unit sets access flags itself (PMBIDR.F)'),
  speVhe: flag(
    true,
    'spe: the host runs at EL2; without, exits cost exitNvhe, and V3 is not supported: its buffer would need a contiguous mapping at EL2, which no code makes',
  ),
  speKeep: flag(
    false,
    'spe: replay -o DIR writes what guests have read as DIR/spe/cpuN.bin, bytes of SPE, and as DIR/spe/perf.data',
  ),
};

const ANY_TEXT = [`${TEXT} x86-64`, `${TEXT} arm64`];
const HOST = `${HOST_STAGE2} arm64`;
const HYP = `${HYP_INIT} arm64`;
const GUESTS = `${STAGE2_FAULTS} arm64`;
const PROFILED = `${SPE} arm64`;

/** Faults, with the systems and formats that can have them. */
export const FAULTS = {
  'skip-replica-patch': [...ANY_TEXT, HOST],
  'skip-set-memory-tlbi': [...ANY_TEXT, HOST],
  'vmid-per-node': [HOST],
  'cnp-across-nodes': [`${TEXT} arm64`, HOST],
  'skip-pud-sync': ANY_TEXT,
  'skip-pud-clear': [`${TEXT} x86-64`],
  'skip-global-flush': [`${TEXT} x86-64`],
  'free-init-master-only': ANY_TEXT,
  'skip-break': [HOST],
  'skip-donate': [HOST],
  'skip-hyp-tlbi': [HYP],
  'free-boot-table': [HYP],
  'skip-table-switch': [HYP],
  'skip-block-break': [GUESTS],
  'free-without-grace': [GUESTS],
  'skip-reload': [GUESTS],
  'flush-stage2-only': [GUESTS],
  'flush-reversed': [GUESTS],
  'skip-relax-tlbi': [GUESTS],
  'spe-skip-drain': [PROFILED],
  'spe-hide-loss': [PROFILED],
  'spe-reset-pointer': [PROFILED],
  'spe-leak-pointer': [PROFILED],
  'spe-skip-table-pin': [PROFILED],
  'spe-leak-pins': [PROFILED],
  'spe-copy-whole': [PROFILED],
  'spe-forward-fault': [PROFILED],
  'spe-show-owner': [PROFILED],
  'spe-skip-tlbi': [PROFILED],
  'spe-protect-pinned': [PROFILED],
} as const satisfies Record<string, string[]>;

const inject = key(
  z.array(z.enum(Object.keys(FAULTS) as (keyof typeof FAULTS)[])).default([]),
  'faults that the system is given, to test that the checkers see them',
);

export const system = key(
  z
    .strictObject({
      name: key(
        z.enum(['none', TEXT, HOST_STAGE2, HYP_INIT, STAGE2_FAULTS, SPE]).default('none'),
        'none: page tables are only filled on demand; text-replication: kernel text per node (x86-64, arm64); host-stage2: kernel text per node by the stage 2 of a pKVM host (arm64); hyp-init: KVM/ARM starts HYP mode on every CPU (arm64); stage2-faults: stage-2 faults of KVM guests on many CPUs at once (arm64); spe: statistical profiling in KVM guests (arm64)',
      ),
      ...ofText,
      ...ofArmText,
      ...ofArm,
      ...ofX86Text,
      ...ofHostStage2,
      ...ofHypInit,
      ...ofStage2Faults,
      ...ofStage2Search,
      ...ofSpe,
      inject,
    })
    .prefault({}),
  'what the kernel or hypervisor does',
);

/** The resolved section. */
export type System = z.output<typeof system>;

export type SystemOption = Exclude<keyof System, 'name'>;

/** Options with the systems and the table format that have them; null: any format. */
export const SYSTEM_OPTIONS: {
  options: SystemOption[];
  systems: System['name'][];
  format: 'x86-64' | 'arm64' | null;
}[] = [
  { options: keysOf(ofText), systems: [TEXT], format: null },
  { options: keysOf(ofArmText), systems: [TEXT], format: 'arm64' },
  { options: keysOf(ofArm), systems: [TEXT, HOST_STAGE2], format: 'arm64' },
  { options: keysOf(ofX86Text), systems: [TEXT], format: 'x86-64' },
  { options: keysOf(ofHostStage2), systems: [HOST_STAGE2], format: 'arm64' },
  { options: keysOf(ofHypInit), systems: [HYP_INIT], format: 'arm64' },
  { options: ['inject'], systems: [TEXT, HOST_STAGE2, HYP_INIT, STAGE2_FAULTS, SPE], format: null },
  { options: [...keysOf(ofStage2Faults), ...keysOf(ofStage2Search)], systems: [STAGE2_FAULTS], format: 'arm64' },
  { options: keysOf(ofSpe), systems: [SPE], format: 'arm64' },
];

/** The section with every option at its default. */
export const SYSTEM_DEFAULTS: System = system.parse({});

function keysOf<T extends object>(shape: T): (keyof T)[] {
  return Object.keys(shape) as (keyof T)[];
}
