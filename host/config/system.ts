// The `system` section: what the kernel or hypervisor does, one name with options of its own. The options stand side by
// side, so that a sweep can vary the name; one that the named system does not have must keep its default.
import { z } from 'zod';
import { bytes } from './bytes.js';
import { key } from './key.js';

const TEXT = 'text-replication';
const HOST_STAGE2 = 'host-stage2';
const STAGE2_FAULTS = 'stage2-faults';
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
  cnp: flag(false, 'text-replication, arm64: roots are marked as common to all CPUs of a domain (CnP)'),
  cnpDomain: key(
    z.enum(['cpu', 'node', 'all']).default('cpu'),
    'text-replication, arm64: CPUs that share TLB entries where cnp says so',
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
  s2HardwareAf: flag(
    true,
    'stage2-faults: hardware sets the access flag (VTCR_EL2.HA), so there are no access-flag faults',
  ),
  s2TlbRange: flag(true, 'stage2-faults: TLBI by range (FEAT_TLBIRANGE) for tables and for what a notifier unmaps'),
  rcuGraceUs: us(20_000, 'the least time from unlinking a table to freeing it; 10 to 30 ms'),
  s2ExclusiveFaultUs: us(0.74, `a fault with s2Lock exclusive; ${FIT}`),
  s2ExclusiveLockUs: us(0.5775, `the part of it under the lock; ${FIT}`),
  s2SharedFaultUs: us(0.92, `a fault in the other modes while other CPUs fault; ${FIT}`),
  s2SharedSerialUs: us(
    0.11,
    `the part of it that no two CPUs do at once: the line of the lock moves to the CPU that takes it and to the one that leaves it, half of this each, unless it is there; ${FIT}`,
  ),
  s2FaultSpread: key(
    z.number().min(0).max(1).default(1),
    'stage2-faults: how much of the rest of a fault is exponentially distributed, the other part being constant; no source gives it',
  ),
};

const inject = key(
  z
    .array(
      z.enum([
        'skip-replica-patch',
        'skip-set-memory-tlbi',
        'vmid-per-node',
        'cnp-across-nodes',
        'skip-pud-sync',
        'skip-pud-clear',
        'skip-global-flush',
        'free-init-master-only',
        'skip-block-break',
        'free-without-grace',
        'skip-reload',
        'flush-stage2-only',
        'flush-reversed',
        'skip-relax-tlbi',
      ]),
    )
    .default([]),
  'faults that the system is given, to test that the checkers see them',
);

export const system = key(
  z
    .strictObject({
      name: key(
        z.enum(['none', TEXT, HOST_STAGE2, STAGE2_FAULTS]).default('none'),
        'none: page tables are only filled on demand; text-replication: kernel text per node (x86-64, arm64); host-stage2: kernel text per node by the stage 2 of a pKVM host (arm64); stage2-faults: stage-2 faults of KVM guests on many CPUs at once (arm64)',
      ),
      ...ofText,
      ...ofArmText,
      ...ofX86Text,
      ...ofHostStage2,
      ...ofStage2Faults,
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
  { options: keysOf(ofX86Text), systems: [TEXT], format: 'x86-64' },
  { options: keysOf(ofHostStage2), systems: [HOST_STAGE2], format: 'arm64' },
  { options: ['inject'], systems: [TEXT, HOST_STAGE2, STAGE2_FAULTS], format: null },
  { options: keysOf(ofStage2Faults), systems: [STAGE2_FAULTS], format: 'arm64' },
];

/** The section with every option at its default. */
export const SYSTEM_DEFAULTS: System = system.parse({});

function keysOf<T extends object>(shape: T): (keyof T)[] {
  return Object.keys(shape) as (keyof T)[];
}
