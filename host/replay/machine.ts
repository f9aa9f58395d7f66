// Describes one configuration's machine to the core: a lane.

import { UsageError } from '../../traces/errors.js';
import { STAGE2_CACHES, stage2CachesOf, type WalkCache, walkCachesOf } from '../config/machine.js';
import {
  baseSize,
  type LeafSize,
  leafSizes,
  PAGE_SHIFTS,
  type PageRule,
  type PageSize,
  pageSizes,
  stage2Base,
  stage2Levels,
  stage2Sizes,
  tableLevels,
} from '../config/paging.js';
import { type Config } from '../config/schema.js';
import { type Core, type Pointer } from '../core/instance.js';
import { type CapturedTables } from '../tables/captured.js';
import { clusterCount, setHomes, setLineCaches } from './caches.js';
import { isEventful, setKernel, startKernel } from './kernel.js';
import { namedRegions, policy, type TraceMemory } from './placement.js';
import { type Topology } from './topology.js';

const LAST_ADDRESS = (1n << 64n) - 1n;

/** Adds a lane for `config` to the core. The trace's regions give page rules and text their addresses. */
export function addLane(
  core: Core,
  config: Config,
  topology: Topology,
  trace: TraceMemory,
  capturedTables: CapturedTables | null = null,
): Pointer {
  const { cpuNode, nodes, latencyCycles } = topology;
  checkSize(config, topology);
  const lane = core.createLane(cpuNode.length, nodes);
  const number = setFormat(core, lane, config);
  cpuNode.forEach((node, cpu) => core.setCpuNode(lane, cpu, node));
  latencyCycles.forEach((row, from) => row.forEach((cycles, to) => core.setLatency(lane, from, to, cycles)));
  setTlbs(core, lane, config, number);
  setWalkCaches(core, lane, config);
  setPages(core, lane, config, number, trace);
  setKernel(core, lane, config, topology);
  const [data, dataNode] = policy(core, config.memory.data);
  const [tables, tableNode] = policy(core, config.memory.tables);
  core.setPlacement(lane, data, dataNode, tables, tableNode);
  const { mapping, dirty, splitPages } = config.replay;
  const mapped = { demand: core.Mapping.Demand, captured: core.Mapping.Captured, tables: core.Mapping.Tables }[mapping];
  core.setReplay(lane, mapped, dirty === 'tracked', splitPages, config.paging.global === 'kernel');
  if (config.machine.caches) setLineCaches(core, lane, config, config.machine.caches, topology);
  setHomes(core, lane, config, topology, trace);
  core.startLane(lane);
  startKernel(core, lane, config, topology, trace, capturedTables);
  return lane;
}

/** Bytes that the TLBs and caches of one machine may take in the core, whose memory ends at 4 GiB. */
const MOST_BYTES = 2 ** 28;

/** Bytes that a machine's TLBs, walk caches and line caches take in the core. */
export function machineBytes({ machine }: Config, topology: Topology): { tlbs: number; caches: number } {
  const cpus = topology.cpuNode.length;
  const { l1i, l1d, l2 } = machine.tlb;
  const entries = [...l1i, ...l1d, ...(l2 ?? [])].reduce((sum, { sets, ways }) => sum + sets * ways, 0);
  const cached = Object.values(machine.walkCaches).reduce((sum, n) => sum + n, 0);
  const { caches } = machine;
  const lines = (cache: { sets: number; ways: number } | null) =>
    cache ? cache.sets * (cache.ways + (cache.ways & 1)) : 0;
  const own = caches ? lines(caches.l1i) + lines(caches.l1d) + lines(caches.l2) : 0;
  const shared = caches?.llc ? lines(caches.llc) * clusterCount(caches, topology) : 0;
  // 16 bytes an entry, 32 in a walk cache (assembly/tlb), 8 a line in an even number of places (assembly/cache), and the counters.
  return { tlbs: (entries * 16 + cached * 32 + 1024) * cpus, caches: (own * cpus + shared) * 8 };
}

/** Throws when the TLBs or caches of a machine are too large to be held. */
function checkSize(config: Config, topology: Topology): void {
  const { tlbs, caches } = machineBytes(config, topology);
  const check = (bytes: number, key: string, what: string) => {
    if (bytes > MOST_BYTES)
      throw new UsageError(
        `${key}: the ${what} of ${topology.cpuNode.length} CPUs need ${Math.ceil(bytes / 2 ** 20)} MiB, and a machine may have ${MOST_BYTES / 2 ** 20}; use fewer sets, ways or CPUs`,
      );
  };
  check(tlbs, 'machine.tlb', 'TLBs and walk caches');
  check(caches, 'machine.caches', 'line caches');
}

/** log2 of the largest page that captured tables and images are looked for with. */
const LARGEST_IMAGE_PAGE = 30;

/** The stage-2 caches that walks of this configuration ask; a host under its own stage 2 has them for all levels. */
export function secondStageCaches({ paging, system }: Config): readonly WalkCache[] {
  return system.name === 'host-stage2' ? STAGE2_CACHES : stage2CachesOf(paging);
}

/** A page size's number in the core: its place among the sizes of the stage-1 format. */
type SizeNumbers = (size: PageSize) => number;

const mask = (numbers: Iterable<number>) => [...numbers].reduce((bits, number) => bits | (1 << number), 0);

function setFormat(core: Core, lane: Pointer, { paging }: Config): SizeNumbers {
  const pageShift = PAGE_SHIFTS[baseSize(paging)];
  const depth = tableLevels(paging);
  const { stage2 } = paging;
  if (paging.format === 'arm64') {
    const { ArmStage1 } = core.Format;
    core.setStage1(lane, ArmStage1, pageShift, depth, ...armGeometry(core, pageShift, depth, paging.vaBits));
  } else core.setStage1(lane, core.Format.X86, pageShift, depth, 9, 52, core.Control.NoExecute);
  if (stage2) {
    const shift = PAGE_SHIFTS[stage2Base(stage2)];
    const levels = stage2Levels(stage2);
    const leafHeight = stage2Sizes(stage2).find(({ size }) => size === stage2.pageSize)!.height;
    if (stage2.format === 'ept') core.setStage2(lane, core.Format.Ept, shift, levels, 9, 52, 0, leafHeight);
    else {
      const { ArmStage2 } = core.Format;
      core.setStage2(lane, ArmStage2, shift, levels, ...armGeometry(core, shift, levels, stage2.ipaBits), leafHeight);
    }
  }
  const sizes = leafSizes(paging);
  for (const { shift, height, run } of sizes) core.addPageSize(lane, shift, height, Math.log2(run));
  if (isCut(paging)) core.addPageSize(lane, PAGE_SHIFTS[stage2!.pageSize], 0, 0);
  return (wanted) => sizes.findIndex(({ size }) => size === wanted);
}

/** Index bits of the root, output bits and controls; more than 48 address bits need the format of FEAT_LPA2 or FEAT_LPA. */
function armGeometry(core: Core, pageShift: number, levels: number, bits: number): [number, number, number] {
  const rootBits = bits - pageShift - (levels - 1) * (pageShift - 3);
  const { HardwareAccess, HardwareDirty, Ds, Lpa } = core.Control;
  const wide = bits > 48 ? (pageShift === 16 ? Lpa : Ds) : 0;
  return [rootBits, wide ? 52 : 48, wide | HardwareAccess | HardwareDirty];
}

function setTlbs(core: Core, lane: Pointer, config: Config, number: SizeNumbers): void {
  const { l1i, l1d, l2 } = config.machine.tlb;
  const levels = [
    [core.Level.L1i, l1i],
    [core.Level.L1d, l1d],
    [core.Level.L2, l2 ?? []],
  ] as const;
  for (const [level, arrays] of levels) {
    for (const { sets, ways, pages } of arrays) {
      core.addTlbArray(lane, level, sets, ways, mask((pages ?? pageSizes(config.paging)).map(number)));
    }
  }
}

function setWalkCaches(core: Core, lane: Pointer, config: Config): void {
  const { machine, paging } = config;
  const set = (names: WalkCache[], first: number) =>
    names.forEach((name, i) => core.setWalkCache(lane, first + i, machine.walkCaches[name]));
  set(walkCachesOf(paging), core.STAGE1_CACHES);
  const [ipa, ...stage2] = secondStageCaches(config);
  if (ipa) set([ipa], core.IPA_CACHE);
  set(stage2, core.STAGE2_CACHES);
}

function setPages(core: Core, lane: Pointer, config: Config, number: SizeNumbers, trace: TraceMemory): void {
  const { paging, replay } = config;
  // Captured frames are known page by page, so pages have the base size there.
  const captured = replay.mapping !== 'demand';
  const { default: fallback, rules } = captured ? { default: baseSize(paging), rules: [] } : paging.pageSize;
  const named = new Set([fallback, ...rules.map((rule) => rule.size)]);
  const largest = Math.max(...[...named].map(number));
  // A page may get any plain size below the policy's where it does not fit; without rules every page fits.
  const mapped = leafSizes(paging).filter(
    ({ size, run }, i) => named.has(size) || (rules.length > 0 && run === 1 && i <= largest),
  );
  // A kernel maps its image, and a captured one everything, with whatever sizes there are; 1G and larger runs hold no image.
  const every = leafSizes(paging).filter(({ shift }) => isEventful(config) && shift <= LARGEST_IMAGE_PAGE);
  core.setPageSizes(lane, number(fallback), mask(entrySizes(paging, [...new Set([...mapped, ...every])])));
  for (const rule of rules) {
    for (const [from, last] of stretches(rule, trace)) core.addPageRule(lane, from, last, number(rule.size));
  }
}

/** Whether stage-2 pages are smaller than the base page, so that TLB entries hold pieces of it. */
function isCut(paging: Config['paging']): boolean {
  return paging.stage2 !== null && PAGE_SHIFTS[paging.stage2.pageSize] < PAGE_SHIFTS[baseSize(paging)];
}

/**
 * The size numbers that TLB entries for the mapped pages can have: under stage 2 the largest that is not above its page. The
 * hypervisor's own pages are under no stage 2.
 */
function entrySizes(paging: Config['paging'], mapped: LeafSize[]): Set<number> {
  const sizes = leafSizes(paging);
  const plain = mapped.map(({ size }) => sizes.findIndex((leaf) => leaf.size === size));
  const { stage2 } = paging;
  if (!stage2) return new Set(plain);
  // The piece of a base page has the number after the last size.
  if (isCut(paging)) return new Set([...plain, sizes.length]);
  const cap = sizes.findLastIndex(({ shift }) => shift <= PAGE_SHIFTS[stage2.pageSize]);
  return new Set([...plain, ...plain.map((size) => Math.min(size, cap))]);
}

/** The addresses that a rule names, both ends inclusive. */
function stretches(rule: PageRule, trace: TraceMemory): [bigint, bigint][] {
  if (rule.region === undefined)
    return [[BigInt(rule.from ?? 0), rule.to === undefined ? LAST_ADDRESS : BigInt(rule.to) - 1n]];
  return namedRegions(trace, [rule.region], 'paging.pageSize.rules').map(({ va, bytes }) => [
    BigInt(va),
    BigInt(va) + BigInt(bytes) - 1n,
  ]);
}
