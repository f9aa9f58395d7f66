// Describes one configuration's machine to the core: a lane.

import { type TraceMetadata } from '../../traces/metadata.js';
import { UsageError } from '../../traces/errors.js';
import { walkCachesOf } from '../config/machine.js';
import { baseSize, PAGE_SHIFTS, type PageRule, type PageSize, pageSizes, tableLevels } from '../config/paging.js';
import { type Config, type Placement } from '../config/schema.js';
import { type Core, type Pointer } from '../core/instance.js';
import { type Topology } from './topology.js';

const LAST_ADDRESS = (1n << 64n) - 1n;

/** Adds a lane for `config` to the core. The trace's regions give page rules their addresses. */
export function addLane(core: Core, config: Config, topology: Topology, regions: TraceMetadata['regions']): Pointer {
  const { cpuNode, nodes, latencyCycles } = topology;
  const lane = core.createLane(cpuNode.length, nodes);
  const sizes = setFormat(core, lane, config);
  cpuNode.forEach((node, cpu) => core.setCpuNode(lane, cpu, node));
  latencyCycles.forEach((row, from) => row.forEach((cycles, to) => core.setLatency(lane, from, to, cycles)));
  setTlbs(core, lane, config, sizes);
  walkCachesOf(config.paging).forEach((name, i) => core.setWalkCache(lane, i + 1, config.machine.walkCaches[name]));
  setPages(core, lane, config, sizes, regions);
  const [data, dataNode] = policy(core, config.memory.data);
  const [tables, tableNode] = policy(core, config.memory.tables);
  core.setPlacement(lane, data, dataNode, tables, tableNode);
  const { mapping, dirty, splitPages } = config.replay;
  core.setReplay(
    lane,
    mapping === 'captured' ? core.Mapping.Captured : core.Mapping.Demand,
    dirty === 'tracked',
    splitPages,
  );
  core.startLane(lane);
  return lane;
}

/** A page size's number in the core: how many levels above the last one its leaves are. */
type SizeNumbers = (size: PageSize) => number;

const mask = (numbers: number[]) => numbers.reduce((bits, number) => bits | (1 << number), 0);

function setFormat(core: Core, lane: Pointer, { paging }: Config): SizeNumbers {
  const pageShift = PAGE_SHIFTS[baseSize(paging)];
  const indexBits = pageShift - 3;
  const number = (size: PageSize) => (PAGE_SHIFTS[size] - pageShift) / indexBits;
  const depth = tableLevels(paging);
  const vaBits = paging.format === 'arm64' ? paging.vaBits : pageShift + depth * indexBits;
  const rootBits = vaBits - pageShift - (depth - 1) * indexBits;
  const arch = paging.format === 'arm64' ? core.Arch.Arm64 : core.Arch.X86;
  core.setFormat(lane, arch, pageShift, depth, rootBits, mask(pageSizes(paging).map(number)));
  return number;
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

function setPages(
  core: Core,
  lane: Pointer,
  { paging, replay }: Config,
  number: SizeNumbers,
  regions: TraceMetadata['regions'],
): void {
  // Captured frames are known page by page, so pages have the base size there.
  const captured = replay.mapping === 'captured';
  const { default: fallback, rules } = captured ? { default: baseSize(paging), rules: [] } : paging.pageSize;
  const largest = Math.max(number(fallback), ...rules.map((rule) => number(rule.size)));
  // A page may get any size below the policy's where it does not fit; without rules every page fits.
  const used =
    rules.length > 0
      ? pageSizes(paging)
          .map(number)
          .filter((size) => size <= largest)
      : [number(fallback)];
  core.setPageSizes(lane, number(fallback), mask(used));
  for (const rule of rules) {
    for (const [from, last] of stretches(rule, regions)) core.addPageRule(lane, from, last, number(rule.size));
  }
}

/** The addresses that a rule names, both ends inclusive. */
function stretches(rule: PageRule, regions: TraceMetadata['regions']): [bigint, bigint][] {
  if (rule.region === undefined)
    return [[BigInt(rule.from ?? 0), rule.to === undefined ? LAST_ADDRESS : BigInt(rule.to) - 1n]];
  const named = regions.filter((region) => region.name === rule.region && region.bytes > 0);
  if (named.length === 0) {
    const names = [...new Set(regions.map((region) => region.name))].join(', ') || 'no region at all';
    throw new UsageError(`paging.pageSize.rules: the trace has no region "${rule.region}"; it names ${names}`);
  }
  return named.map(({ va, bytes }) => [BigInt(va), BigInt(va) + BigInt(bytes) - 1n]);
}

function policy(core: Core, placement: Placement): [policy: number, node: number] {
  if (typeof placement === 'object') return [core.Policy.Node, placement.node];
  const policies = {
    'first-touch': core.Policy.FirstTouch,
    local: core.Policy.Local,
    interleave: core.Policy.Interleave,
  };
  return [policies[placement], 0];
}
