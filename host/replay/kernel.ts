// Describes a lane's kernel to the core: which system it is, its options and costs, its image, and captured page tables.

import { UsageError } from '../../traces/errors.js';
import { baseSize, PAGE_SHIFTS } from '../config/paging.js';
import { type Config } from '../config/schema.js';
import { type Core, type Pointer } from '../core/instance.js';
import { hostStage2Pages } from '../model/pool.js';
import { type CapturedTables } from '../tables/captured.js';
import { setHyp } from './hyp.js';
import { setSpe } from './spe.js';
import { type TraceMemory } from './placement.js';
import { hasTimeline } from './timeline.js';
import { type Topology } from './topology.js';

/** Whether the events of a trace are expanded in this configuration. */
export function isEventful({ system, replay }: Config): boolean {
  return replay.events ?? (system.name !== 'none' || replay.mapping === 'tables');
}

/** Parts of the image by the names of a trace's regions, in the order of their addresses in Linux; each kind of the core's Part. */
const PARTS: Readonly<Record<string, string>> = {
  text: 'Text',
  rodata: 'Rodata',
  'ro-after-init': 'RoAfterInit',
  init: 'Init',
  data: 'Data',
  bss: 'Data',
};

const UNKNOWN_ADDRESS = (1n << 64n) - 1n;

/** Gives a lane its kernel; before anything is mapped. The rest of the lane is set, but not started. */
export function setKernel(core: Core, lane: Pointer, config: Config, topology: Topology): void {
  if (!isEventful(config)) return;
  const { system, machine, replay } = config;
  const arm = config.paging.format === 'arm64';
  const { TextX86, TextArm, HostStage2, HypInit, Stage2Faults, Spe } = core.System;
  const own: Partial<Record<typeof system.name, number>> = {
    'host-stage2': HostStage2,
    'hyp-init': HypInit,
    'stage2-faults': Stage2Faults,
    spe: Spe,
  };
  const kind = own[system.name] ?? (arm ? TextArm : TextX86);
  core.setSystem(
    lane,
    kind,
    replicatesTables(config, topology),
    options(core, config),
    faults(core, config),
    replay.checks,
  );
  if (kind === HypInit) setHyp(core, lane, config);
  if (kind === Stage2Faults) {
    if (system.s2Seed !== null) core.setStage2Seed(lane, system.s2Seed);
    if (hasTimeline(config)) core.setStage2Timeline(lane, spacing(config));
  }
  if (kind === Spe) setSpe(core, lane, config, topology);
  if (kind === HostStage2) core.setStage2Pool(lane, poolPages(config, topology));
  const { costs, mlp } = machine;
  const atEl2 = kind === Spe ? system.speVhe : system.vhe;
  const exit = atEl2 ? costs.exitVhe : costs.exitNvhe;
  const stated = { ...costs, exit, overlap: mlp.data * 256, ...stage2FaultCosts(config) } as Record<string, number>;
  for (const [name, cost] of Object.entries(core.Cost)) {
    if (name !== 'Count') core.setCost(lane, cost, Math.round(stated[name[0].toLowerCase() + name.slice(1)]));
  }
}

/** Cycles between two points of a timeline. */
function spacing({ system, machine }: Config): number {
  return Math.max(1, Math.min(Math.round(system.s2SampleUs * 1000 * machine.clockGHz), 2 ** 32 - 1));
}

/** Whether every node has tables of the kernel of its own. On arm64 the series do not replicate a kernel that moved its image. */
export function replicatesTables(config: Config, topology: Topology): boolean {
  const { system, paging } = config;
  return (
    isEventful(config) &&
    system.name === 'text-replication' &&
    !(paging.format === 'arm64' && system.kaslr) &&
    topology.nodes > 1
  );
}

/** The times of stage2-faults in cycles. What is under the shared lock is as long as under the exclusive one. */
function stage2FaultCosts({ system, machine }: Config): Record<string, number> {
  const cycles = (us: number) => us * 1000 * machine.clockGHz;
  const exclusive = system.s2Lock === 'exclusive';
  const { s2ExclusiveFaultUs, s2ExclusiveLockUs, s2SharedFaultUs, s2SharedSerialUs } = system;
  const fault = exclusive ? s2ExclusiveFaultUs : Math.max(0, s2SharedFaultUs - s2SharedSerialUs);
  const inside = Math.min(s2ExclusiveLockUs, fault);
  return {
    faultInside: cycles(inside),
    faultOutside: cycles(fault - inside),
    lineTransfer: exclusive ? 0 : cycles(s2SharedSerialUs / 2),
    gracePeriod: Math.min(cycles(system.rcuGraceUs), 2 ** 32 - 1),
    faultSpread: system.s2FaultSpread * 256,
  };
}

/** Whether the system of a configuration copies the kernel's text. */
function copiesText({ system: { name } }: Config): boolean {
  return name !== 'none' && name !== 'hyp-init' && name !== 'stage2-faults' && name !== 'spe';
}

/** Table pages for the host's stage 2; 0, as many as it takes, where the memory is not known. One set of tables, and what the further nodes add. */
function poolPages({ system, paging }: Config, { nodes }: Topology): number {
  const { memoryBytes, poolLevels, s2Mode } = system;
  if (memoryBytes === null) return 0;
  const pages = hostStage2Pages({ memoryBytes, pageBytes: 2 ** PAGE_SHIFTS[baseSize(paging)], levels: poolLevels });
  return s2Mode === 'full' ? pages * nodes : pages + (nodes - 1) * PATH_PAGES;
}

/** Room for the root and the path of tables down to the text, and for those of an image of 64 MiB in pages. */
const PATH_PAGES = 16 + 4 + 32;

function options(core: Core, { system }: Config): number {
  const stated: Record<string, boolean> = {
    Kpti: system.kpti,
    Cnp: system.cnp,
    Rodata: system.rodata,
    Modules: system.modules,
    RoProtect: system.roProtect,
    SyncImageUnmap: system.syncImageUnmap,
    PatchHvc: system.patch === 'hvc',
    LazyFill: system.fill === 'lazy',
    FullTables: system.s2Mode === 'full',
    TextPages: system.textS2Leaf === 'page',
    Vhe: system.vhe,
    PoolNode0: system.s2PoolNode === 'node0',
    ExclusiveLock: system.s2Lock === 'exclusive',
    FastFaults: system.s2Lock === 'fast',
    HypIpi: system.s2Lock === 'hyp-ipi',
    EagerSplit: system.s2Split === 'eager',
    HardwareAf: system.s2HardwareAf,
    TlbRange: system.s2TlbRange,
    TlbiOfVm: system.s2TlbiDomain === 'vm',
  };
  return Object.entries(stated).reduce((bits, [name, on]) => bits | (on ? core.Option[name] : 0), 0);
}

function faults(core: Core, { system }: Config): number {
  const named = system.inject.map((name) => core.Fault[pascalCase(name)]);
  // Roots that differ, marked as common to CPUs that share TLB entries over nodes.
  if (system.cnp && system.cnpDomain === 'all') named.push(core.Fault.CnpAcrossNodes);
  return named.reduce((bits, bit) => bits | bit, 0);
}

const pascalCase = (name: string) => name.replace(/(^|-)([a-z])/g, (_, _dash, letter: string) => letter.toUpperCase());

/** Where the image, its copies and the tables come from; once the lane is started and before the first row. */
export function startKernel(
  core: Core,
  lane: Pointer,
  config: Config,
  topology: Topology,
  trace: TraceMemory,
  tables: CapturedTables | null,
): void {
  if (!isEventful(config)) return;
  const { system, memory, replay } = config;
  const regions = trace.regions
    .filter(({ name, bytes }) => name in PARTS && bytes > 0)
    .sort((a, b) => (BigInt(a.va) < BigInt(b.va) ? -1 : 1));
  const text = regions.find(({ name }) => name === 'text');
  if (copiesText(config) && !text)
    throw new UsageError(
      `system.name: ${trace.path} does not say where the kernel's text is (region "text"), which ${system.name} copies; convert the capture with --meta that names it`,
    );
  const placed = typeof memory.text === 'object' && memory.text !== null ? memory.text.node : null;
  const home = placed ?? text?.node ?? 0;
  if (home >= topology.nodes)
    throw new UsageError(
      `machine.nodes: the kernel of ${trace.path} is on node ${home}, and the machine has the nodes 0 to ${topology.nodes - 1}; use more nodes or memory.text: { node: 0 }`,
    );
  const arm = config.paging.format === 'arm64';
  const align = { '4K': 12, '64K': 16, '2M': 21 }[system.replicaAlign ?? (arm ? '4K' : '2M')];
  const subtree = { local: -1, node0: 0, last: topology.nodes - 1 }[system.subtreeNode];
  core.setImage(lane, home, align, subtree);
  const known = replay.mapping !== 'demand';
  for (const { name, va, pa, bytes } of regions) {
    const frame = known && pa !== null ? BigInt(pa) : UNKNOWN_ADDRESS;
    core.addImagePart(lane, core.Part[PARTS[name]], BigInt(va), BigInt(bytes), frame);
  }
  if (replay.mapping === 'tables' && tables) {
    core.importKernelRoot(lane, tables.segments[0].kernelRoot, BigInt(text?.va ?? UNKNOWN_ADDRESS));
  }
  // A trace that boots replicates when its boot event says so.
  core.bootKernel(lane, replay.mapping === 'tables', trace.boots === true);
}
