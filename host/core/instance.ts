// The Wasm core: loading the built module, and the functions it exports. Values of its enums are read from the module
// itself, so the host keeps no copy of a layout or a list of counters.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { instantiateSync } from '@assemblyscript/loader';
import { NodewalkError } from '../../traces/errors.js';
import { packageRoot } from '../paths.js';

/** An address in the core's memory. */
export type Pointer = number;

/** An enum of the core: member name to value. */
export type CoreEnum = Readonly<Record<string, number>>;

/** The functions of assembly/index.ts. */
interface CoreFunctions {
  memory: WebAssembly.Memory;
  allocate(bytes: number, alignment: number): Pointer;
  attachColumn(column: number, bytes: number): Pointer;
  createLane(cpus: number, nodes: number): Pointer;
  setStage1(
    lane: Pointer,
    format: number,
    pageShift: number,
    depth: number,
    rootBits: number,
    outputBits: number,
    controls: number,
  ): void;
  setStage2(
    lane: Pointer,
    format: number,
    pageShift: number,
    depth: number,
    rootBits: number,
    outputBits: number,
    controls: number,
    leafHeight: number,
  ): void;
  addPageSize(lane: Pointer, shift: number, height: number, runBits: number): void;
  setCpuNode(lane: Pointer, cpu: number, node: number): void;
  setLatency(lane: Pointer, from: number, to: number, cycles: number): void;
  addTlbArray(lane: Pointer, level: number, sets: number, ways: number, sizes: number): void;
  setWalkCache(lane: Pointer, number: number, entries: number): void;
  setPageSizes(lane: Pointer, defaultSize: number, usedSizes: number): void;
  addPageRule(lane: Pointer, from: bigint, last: bigint, size: number): void;
  setPlacement(lane: Pointer, data: number, dataNode: number, tables: number, tableNode: number): void;
  setReplay(lane: Pointer, mapping: number, trackDirty: boolean, splitPages: boolean, globalKernel: boolean): void;
  /** The kernel of a lane and what it does at events (assembly/event.ts); before anything is mapped. */
  setSystem(lane: Pointer, system: number, replicate: boolean, options: number, faults: number, checks: boolean): void;
  setCost(lane: Pointer, cost: number, cycles: number): void;
  setImage(lane: Pointer, home: number, copyShift: number, subtreeNode: number): void;
  /** Pages for the tables of a host's stage 2, 0: as many as it takes; before startLane. */
  setStage2Pool(lane: Pointer, pages: number): void;
  addImagePart(lane: Pointer, kind: number, va: bigint, bytes: bigint, pa: bigint): void;
  bootKernel(lane: Pointer, mapped: boolean, later: boolean): void;
  importKernelRoot(lane: Pointer, pa: bigint, va: bigint): void;
  violationCount(lane: Pointer, check: number): bigint;
  violationRecord(lane: Pointer, check: number): bigint;
  violationVa(lane: Pointer, check: number): bigint;
  violationCpu(lane: Pointer, check: number): number;
  replicaBytesOf(lane: Pointer, node: number): bigint;
  replicaTableBytesOf(lane: Pointer, node: number): bigint;
  /** What runs at EL2 (assembly/hyp/machine.ts), before startLane; and reading it. */
  setHyp(
    lane: Pointer,
    scheme: number,
    vaBits: number,
    arm32: boolean,
    trampolineVa: bigint,
    statedPa: bigint,
    random: boolean,
    seed: number,
    speculates: boolean,
  ): void;
  setHypLayout(lane: Pointer, half: number, mask: bigint, tag: bigint, from: bigint, end: bigint): void;
  hypStateOf(lane: Pointer, cpu: number): number;
  hypInitPa(lane: Pointer): bigint;
  hypAddress(lane: Pointer, boot: boolean, va: bigint): bigint;
  hypDescriptor(lane: Pointer, boot: boolean, va: bigint, step: number): bigint;
  /** Profiling in KVM guests (assembly/spe): parameters, the end of the trace, and the streams of a CPU: what its unit wrote or what the guest read. */
  setSpe(lane: Pointer, parameter: number, value: bigint): void;
  finishSpe(lane: Pointer): void;
  speStream(lane: Pointer, cpu: number, read: boolean): Pointer;
  speStreamBytes(lane: Pointer, cpu: number, read: boolean): number;
  clearSpeStream(lane: Pointer, cpu: number): void;
  /** Line caches: geometry of one of Cache, and how they work together (docs/caches.md). */
  setCache(lane: Pointer, cache: number, sets: number, ways: number): void;
  setCaches(
    lane: Pointer,
    l2Cycles: number,
    llcCycles: number,
    walksAtL1d: boolean,
    prefetchLines: number,
    inclusive: boolean,
    remoteCacheable: boolean,
  ): void;
  /** The LLC that a CPU uses: clusters are numbered through all nodes, those of node 0 first. */
  setCluster(lane: Pointer, cpu: number, cluster: number): void;
  /** Home of the captured physical addresses [from, last]; the range added first decides. */
  addMemoryRange(lane: Pointer, from: bigint, last: bigint, policy: number, node: number): void;
  /** Placement of the frames of text, and the virtual addresses [from, last] that are text. */
  setTextPlacement(lane: Pointer, policy: number, node: number): void;
  addTextRange(lane: Pointer, from: bigint, last: bigint): void;
  startLane(lane: Pointer): void;
  /** Invalidates what is in the Scope, on all CPUs; lets a CPU read `bytes` of its own through its caches. By number of the lane. */
  cool(lane: number, scope: number): void;
  pollute(lane: number, cpu: number, bytes: bigint): void;
  replayRows(from: number, to: number): number;
  replayStatus(): number;
  /** Events and captured table stores between rows, for all lanes (assembly/replay/replay.ts). */
  stopAtEvents(): void;
  runEvent(record: bigint, cpu: number, kind: number, va: bigint, arg: bigint, a: bigint, b: bigint, c: bigint): void;
  /** Runs the events that were taken up to run concurrently: at the borders of phases and at the end. */
  runTakenEvents(): void;
  /** Likewise at the end of the trace. */
  endTakenEvents(): void;
  /** stage2-faults: a random scheduler; a timeline with points so many cycles apart; the points (u64[Point.Count] each) and the clock. */
  setStage2Seed(lane: Pointer, seed: number): void;
  setStage2Timeline(lane: Pointer, spacing: number): void;
  stage2PointCount(lane: Pointer): number;
  stage2Points(lane: Pointer): Pointer;
  stage2Clock(lane: Pointer): bigint;
  /** Searches interleavings of stage-2 faults from a seed on: how many it took to the first violation, 0: none in all. */
  runInterleavings(lane: Pointer, from: number, seeds: number): number;
  runTableStore(cpu: number, pa: bigint, value: bigint): void;
  loadFromImage(pa: bigint): bigint;
  invalidate(
    lane: number,
    cpu: number,
    instruction: number,
    mode: number,
    asid: number,
    vm: number,
    from: bigint,
    last: bigint,
  ): void;
  unmap(lane: number, mode: number, asid: number, vm: number, va: bigint): number;
  protect(
    lane: number,
    mode: number,
    asid: number,
    vm: number,
    va: bigint,
    writable: boolean,
    executable: boolean,
  ): number;
  collectCounters(lane: number, cpu: number, out: Pointer): void;
  tableBytesOf(lane: Pointer, node: number): bigint;
  /** What a CPU finds behind an address, both stages of a host included; all ones where nothing is mapped. */
  physicalAddress(lane: Pointer, cpu: number, va: bigint, mode: number, asid: number): bigint;
  /** `view`: which of the replicated tables; 0 where not given. */
  probe(lane: Pointer, va: bigint, mode: number, asid: number, vm: number, out: Pointer, view?: number): number;

  // Table images: assembly/paging/translate.ts
  addTablePage(pa: bigint, bytes: number): Pointer;
  createRegime(): Pointer;
  setX86(regime: Pointer, root: bigint, levels: number, maxPhysBits: number, controls: number): void;
  setArmStage1(
    regime: Pointer,
    high: boolean,
    root: bigint,
    pageShift: number,
    bits: number,
    outputBits: number,
    controls: number,
  ): void;
  setArmStage2(
    regime: Pointer,
    root: bigint,
    pageShift: number,
    bits: number,
    startLevel: number,
    outputBits: number,
    controls: number,
  ): void;
  setEpt(regime: Pointer, root: bigint, levels: number, maxPhysBits: number): void;
  translate(regime: Pointer, address: bigint, access: number, user: boolean): number;
  outcomePa(): bigint;
  outcomeLevel(): number;
  outcomePageShift(): number;
  outcomeS2Level(): number;
  outcomeS2PageShift(): number;
  outcomeEntry(): bigint;
  outcomeCode(): number;
  outcomeStage(): number;
  outcomeIpa(): bigint;
  outcomePermissions(): number;
  stepCount(): number;
  stepStage(step: number): number;
  stepLevel(step: number): number;
  stepTablePa(step: number): bigint;
  stepEntryPa(step: number): bigint;
  stepEntry(step: number): bigint;
}

const ENUMS = [
  'Access',
  'Area',
  'Check',
  'Cache',
  'Column',
  'Control',
  'Cost',
  'Event',
  'Fault',
  'Format',
  'HypScheme',
  'HypState',
  'Invalidation',
  'Level',
  'Mapping',
  'Method',
  'Option',
  'Outcome',
  'Part',
  'Permission',
  'Point',
  'Policy',
  'Scope',
  'SpeParameter',
  'SpeStrategy',
  'Stat',
  'Status',
  'System',
] as const;

/** Functions that return a u64: the engine hands it over as a signed BigInt. */
const UNSIGNED = [
  'tableBytesOf',
  'replicaBytesOf',
  'replicaTableBytesOf',
  'violationCount',
  'violationRecord',
  'violationVa',
  'loadFromImage',
  'stage2Clock',
  'outcomePa',
  'outcomeEntry',
  'outcomeIpa',
  'physicalAddress',
  'hypInitPa',
  'hypAddress',
  'hypDescriptor',
  'stepTablePa',
  'stepEntryPa',
  'stepEntry',
] as const;

/** Numbers that the core exports. */
const CONSTANTS = ['IPA_CACHE', 'STAGE1_CACHES', 'STAGE2_CACHES'] as const;

/** An instance: the functions, and the enums and constants as plain numbers. */
export type Core = CoreFunctions &
  Readonly<Record<(typeof ENUMS)[number], CoreEnum> & Record<(typeof CONSTANTS)[number], number>>;

/** The release build is for use, the debug build (all checks on) for tests. */
export type Build = 'release' | 'debug';

const modules = new Map<Build, { module: WebAssembly.Module; sha256: string }>();

function load(build: Build): { module: WebAssembly.Module; sha256: string } {
  let loaded = modules.get(build);
  if (!loaded) {
    const path = join(packageRoot(), 'build', build === 'debug' ? 'nodewalk.debug.wasm' : 'nodewalk.wasm');
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch (cause) {
      throw new NodewalkError(`${path}: expected the built core, found none; run: npm run build`, 1, { cause });
    }
    loaded = {
      module: new WebAssembly.Module(new Uint8Array(bytes)),
      sha256: createHash('sha256').update(bytes).digest('hex'),
    };
    modules.set(build, loaded);
  }
  return loaded;
}

/** SHA-256 of the core module: results are kept under it, so that an upgrade replays again. */
export function coreHash(): string {
  return load('release').sha256;
}

/** A fresh instance with its own memory and no lanes. */
export function instantiateCore(build: Build = 'release'): Core {
  const abort = (_message: number, _file: number, line: number, column: number) => {
    throw new Error(`the core failed a check at line ${line}, column ${column}`);
  };
  const { exports } = instantiateSync<Record<string, unknown>>(load(build).module, { env: { abort } });
  const core: Record<string, unknown> = { ...exports };
  for (const name of ENUMS) core[name] = enumOf(exports[name]);
  for (const name of UNSIGNED) {
    const signed = exports[name] as (...args: number[]) => bigint;
    core[name] = (...args: number[]) => BigInt.asUintN(64, signed(...args));
  }
  for (const name of CONSTANTS) core[name] = Number((exports[name] as WebAssembly.Global).value);
  return core as unknown as Core;
}

/** An exported enum arrives as globals under its members' names, beside the reverse names under its values. */
function enumOf(exported: unknown): CoreEnum {
  const members = Object.entries(exported as Record<string, unknown>);
  const globals = members.filter(
    (member): member is [string, WebAssembly.Global] => member[1] instanceof WebAssembly.Global,
  );
  return Object.fromEntries(globals.map(([name, global]) => [name, Number(global.value)]));
}
