// Set-up of lanes: the host describes a machine step by step, then starts it. Nothing here runs during a replay.
//
// Order: createLane, setFormat; then in any order the setters; startLane last. Every argument was validated by the host's
// configuration schema.

import { Arch, Lane, Level, Mapping, MAX_DEPTH, PageRule, Policy } from './layout';
import { allocate } from './memory/arena';
import { initFrames } from './memory/frames';
import { initTables } from './memory/tables';
import { initSpaces } from './paging/space';
import { addLane } from './replay/replay';
import { Stat } from './stats';
import { addArray, clearLevel, initLevels, LEVEL, planLevel } from './tlb/hierarchy';
import { clearWalkCaches, initWalkCaches, planWalkCaches } from './tlb/walkcache';

const MAX_RULES: u32 = 4096;

/** A new machine of `cpus` CPUs, all on node 0, and `nodes` nodes, all at latency 0. */
export function createLane(cpus: u32, nodes: u32): Lane {
  const lane = changetype<Lane>(allocate(offsetof<Lane>()));
  lane.cpus = cpus;
  lane.nodes = nodes;
  lane.cpuNode = allocate(cpus * 4);
  lane.latency = allocate(nodes * nodes * 4);
  initTables(lane);
  initFrames(lane);
  initSpaces(lane);
  initLevels(lane);
  initWalkCaches(lane);
  return lane;
}

/** The format: base pages of 2^pageShift, walks of `depth` levels, `rootBits` index bits in the root, leaves of the given sizes. */
export function setFormat(lane: Lane, arch: Arch, pageShift: u32, depth: u32, rootBits: u32, sizes: u32): void {
  assert(depth <= MAX_DEPTH);
  lane.arch = arch;
  lane.pageShift = pageShift;
  lane.indexBits = pageShift - 3;
  lane.depth = depth;
  lane.rootBits = rootBits;
  lane.sizes = sizes;
  lane.usedSizes = 1;
}

export function setCpuNode(lane: Lane, cpu: u32, node: u32): void {
  store<u32>(lane.cpuNode + cpu * 4, node);
}

/** Cycles of a memory reference from a CPU of node `from` to memory of node `to`. */
export function setLatency(lane: Lane, from: u32, to: u32, cycles: u32): void {
  store<u32>(lane.latency + (from * lane.nodes + to) * 4, cycles);
}

/** Adds an array to a TLB level; bit s of `sizes`: it takes pages of size number s. */
export function addTlbArray(lane: Lane, level: Level, sets: u32, ways: u32, sizes: u32): void {
  addArray(lane, level, sets, ways, sizes);
}

/** The number of walk-cache entries for table descriptors of the given height (1 is the one closest to the leaf). */
export function setWalkCache(lane: Lane, height: u32, entries: u32): void {
  store<u32>(lane.walkCacheEntries + height * 4, entries);
}

/** The page size where no rule applies, as a size number, and all sizes that the policy can produce. */
export function setPageSizes(lane: Lane, defaultSize: u32, usedSizes: u32): void {
  lane.defaultSize = defaultSize;
  lane.usedSizes = usedSizes;
}

/** Pages of the given size number in [from, last]; rules are asked in the order in which they were added. */
export function addPageRule(lane: Lane, from: u64, last: u64, size: u32): void {
  if (!lane.rules) lane.rules = allocate(MAX_RULES * offsetof<PageRule>());
  assert(lane.ruleCount < MAX_RULES);
  const rule = changetype<PageRule>(lane.rules + lane.ruleCount++ * offsetof<PageRule>());
  rule.from = from;
  rule.last = last;
  rule.size = size;
}

/** The homes of data pages and of table pages; the nodes are used by Policy.Node only. */
export function setPlacement(lane: Lane, data: Policy, dataNode: u32, tables: Policy, tableNode: u32): void {
  lane.dataPolicy = data;
  lane.dataNode = dataNode;
  lane.tablePolicy = tables;
  lane.tableNode = tableNode;
}

export function setReplay(lane: Lane, mapping: Mapping, trackDirty: bool, splitPages: bool): void {
  lane.mapping = mapping;
  lane.trackDirty = trackDirty;
  lane.splitPages = splitPages;
}

/** Lays out the CPUs' state, empties it, and adds the lane to the replay. */
export function startLane(lane: Lane): void {
  let bytes: u32 = Stat.Count * 8;
  for (let i = 0; i < Level.Count; i++) bytes = planLevel(lane, LEVEL(lane, i), bytes);
  bytes = planWalkCaches(lane, bytes);
  lane.cpuBlockBytes = (bytes + 63) & ~63;
  lane.cpuBlocks = allocate(<usize>lane.cpuBlockBytes * lane.cpus);
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    const block = lane.cpuBlocks + <usize>cpu * lane.cpuBlockBytes;
    for (let i = 0; i < Level.Count; i++) clearLevel(LEVEL(lane, i), block);
    clearWalkCaches(lane, block);
  }
  addLane(lane);
}
