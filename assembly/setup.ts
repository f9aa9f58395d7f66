// Set-up of lanes: the host describes a machine step by step, then starts it. Nothing here runs during a replay.
//
// Order: createLane, setStage1, setStage2 where there are two, addPageSize from the smallest up; then in any order the
// other setters; startLane last. The host has checked the arguments.

import { LINE_CACHE } from './cache/hierarchy';
import { addRange } from './memory/home';
import { cachesOf, planCaches } from './cache/plan';
import { Cache, Format, HostTree, Lane, Level, Mapping, MAX_SIZES, PageRule, PageSize, Policy } from './layout';
import { allocate, withRoom } from './memory/arena';
import { initFrames } from './memory/frames';
import { newTablePool } from './memory/tables';
import { armHasBlocks } from './paging/descriptor';
import { initFrameMemory } from './paging/frame';
import { SIZE } from './paging/map';
import { initSpaces } from './paging/space';
import { newStage, SHIFT_AT } from './paging/stage';
import { addText } from './paging/text';
import { addLane } from './replay/replay';
import { Stat } from './stats';
import { addArray, clearLevel, initLevels, LEVEL, planLevel } from './tlb/hierarchy';
import {
  CACHE,
  clearWalkCaches,
  initWalkCaches,
  IPA_CACHE,
  planWalkCaches,
  STAGE1_CACHES,
  STAGE2_CACHES,
} from './tlb/walkcache';

/** A new machine of `cpus` CPUs, all on node 0, and `nodes` nodes, all at latency 0. */
export function createLane(cpus: u32, nodes: u32): Lane {
  const lane = changetype<Lane>(allocate(offsetof<Lane>()));
  lane.cpus = cpus;
  lane.nodes = nodes;
  lane.cpuNode = allocate(cpus * 4);
  lane.latency = allocate(nodes * nodes * 4);
  lane.tableBytes = allocate(nodes * 8);
  lane.sizes = allocate(MAX_SIZES * offsetof<PageSize>());
  initFrames(lane);
  lane.views = 1;
  lane.replicaTableBytes = allocate(nodes * 8);
  initSpaces(lane);
  initLevels(lane);
  initWalkCaches(lane);
  return lane;
}

/** Chunks of a table directory that can fill all of a Wasm memory. */
const ALL_CHUNKS: u32 = 1 << 16;

/** Stage 1: granule of 2^pageShift, walks of `depth` levels, `rootBits` index bits in the root; bits of Control. */
export function setStage1(
  lane: Lane,
  format: Format,
  pageShift: u32,
  depth: u32,
  rootBits: u32,
  outputBits: u32,
  controls: u32,
): void {
  lane.stage1 = newStage(format, pageShift, depth, rootBits, outputBits, controls);
  lane.tables = newTablePool(pageShift, ALL_CHUNKS);
  for (let height: u32 = 1; height < depth; height++) {
    CACHE(lane, STAGE1_CACHES + height - 1).shift = SHIFT_AT(lane.stage1, height);
  }
}

/** Stage 2 likewise, with leaves of height `leafHeight`; the pool's pages are as large as the larger granule. */
export function setStage2(
  lane: Lane,
  format: Format,
  pageShift: u32,
  depth: u32,
  rootBits: u32,
  outputBits: u32,
  controls: u32,
  leafHeight: u32,
): void {
  const stage = newStage(format, pageShift, depth, rootBits, outputBits, controls);
  lane.stage2 = stage;
  lane.stage2Height = leafHeight;
  lane.stage2Shift = SHIFT_AT(stage, leafHeight);
  lane.tables.pageShift = max(pageShift, lane.stage1.pageShift);
  CACHE(lane, IPA_CACHE).shift = lane.stage2Shift;
  for (let height: u32 = 1; height < depth; height++) {
    CACHE(lane, STAGE2_CACHES + height - 1).shift = SHIFT_AT(stage, height);
  }
}

/**
 * The next larger page size of stage 1: 2^shift bytes, leaves at `height`, 2^runBits contiguous entries. Last, where stage-2 pages are
 * smaller than the base page, the piece of it that an entry holds.
 */
export function addPageSize(lane: Lane, shift: u32, height: u32, runBits: u32): void {
  assert(lane.sizeCount < MAX_SIZES);
  const size = SIZE(lane, lane.sizeCount);
  size.shift = shift;
  size.height = height;
  size.runBits = runBits;
  if (lane.stage2 && shift <= lane.stage2Shift) lane.stage2Cap = lane.sizeCount;
  lane.sizeCount++;
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

/** The number of entries of a walk cache, by its number (tlb/walkcache.ts: STAGE1_CACHES, IPA_CACHE, STAGE2_CACHES). */
export function setWalkCache(lane: Lane, number: u32, entries: u32): void {
  CACHE(lane, number).entries = entries;
}

/** The page size where no rule applies, as a size number, and all sizes that TLB entries can have. */
export function setPageSizes(lane: Lane, defaultSize: u32, usedSizes: u32): void {
  lane.defaultSize = defaultSize;
  lane.usedSizes = usedSizes;
}

/** Pages of the given size number in [from, last]; rules are asked in the order in which they were added. */
export function addPageRule(lane: Lane, from: u64, last: u64, size: u32): void {
  lane.rules = withRoom(lane.rules, lane.ruleCount, offsetof<PageRule>());
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

export function setReplay(lane: Lane, mapping: Mapping, trackDirty: bool, splitPages: bool, globalKernel: bool): void {
  lane.globalKernel = globalKernel;
  if (globalKernel) lane.sharedKernel = true;
  lane.mapping = mapping;
  lane.trackDirty = trackDirty;
  lane.splitPages = splitPages;
}

/** The geometry of one line cache. A lane has line caches when it has an L1i and an L1d; L2 and LLC may be left out. */
export function setCache(lane: Lane, cache: Cache, sets: u32, ways: u32): void {
  const line = LINE_CACHE(cachesOf(lane), cache);
  line.sets = sets;
  line.ways = ways;
}

/** How the line caches work together: latencies of hits in cycles, and the options of docs/caches.md. */
export function setCaches(
  lane: Lane,
  l2Cycles: u32,
  llcCycles: u32,
  walksAtL1d: bool,
  prefetchLines: u32,
  inclusive: bool,
  remoteCacheable: bool,
): void {
  const caches = cachesOf(lane);
  caches.l2Cycles = l2Cycles;
  caches.llcCycles = llcCycles;
  caches.walksAtL1d = walksAtL1d;
  caches.prefetchLines = prefetchLines;
  caches.inclusive = inclusive;
  caches.remoteCacheable = remoteCacheable;
}

/** The LLC that a CPU uses where remote lines are cacheable: clusters are numbered through all nodes, those of node 0 first. */
export function setCluster(lane: Lane, cpu: u32, cluster: u32): void {
  store<u32>(cachesOf(lane).clusterOf + cpu * 4, cluster);
}

/** The home of the captured physical addresses [from, last]: the range added first decides, node 0 outside all. */
export function addMemoryRange(lane: Lane, from: u64, last: u64, policy: Policy, node: u32): void {
  addRange(lane, from, last, policy, node);
}

/** The home of the frames that the lane allocates for text; the node is used by Policy.Node only. */
export function setTextPlacement(lane: Lane, policy: Policy, node: u32): void {
  lane.textPlaced = true;
  lane.textPolicy = policy;
  lane.textNode = node;
}

/** The virtual addresses [from, last] are text. */
export function addTextRange(lane: Lane, from: u64, last: u64): void {
  addText(lane, from, last);
}

/** The sizes of TLB entries where the host's stage 2 may have smaller leaves than stage 1: those of its leaves too. */
function combinedSizes(lane: Lane, tree: HostTree): u32 {
  let sizes = lane.usedSizes;
  for (let size: u32 = 0; size < lane.sizeCount; size++) {
    if (!((lane.usedSizes >> size) & 1)) continue;
    for (let smaller: u32 = 0; smaller < size; smaller++) {
      const leaf = SIZE(lane, smaller);
      if (!leaf.runBits && armHasBlocks(tree.stage, leaf.height)) sizes |= 1 << smaller;
    }
  }
  return sizes;
}

/** Lays out the CPUs' state, empties it, and adds the lane to the replay. */
export function startLane(lane: Lane): void {
  if (lane.hostTree) lane.usedSizes = combinedSizes(lane, lane.hostTree!);
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
  const caches = lane.caches;
  if (caches) planCaches(lane, caches);
  if (caches || lane.hostTree) initFrameMemory(lane);
  addLane(lane);
}
