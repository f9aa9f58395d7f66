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
  setFormat(lane: Pointer, arch: number, pageShift: number, depth: number, rootBits: number, sizes: number): void;
  setCpuNode(lane: Pointer, cpu: number, node: number): void;
  setLatency(lane: Pointer, from: number, to: number, cycles: number): void;
  addTlbArray(lane: Pointer, level: number, sets: number, ways: number, sizes: number): void;
  setWalkCache(lane: Pointer, height: number, entries: number): void;
  setPageSizes(lane: Pointer, defaultSize: number, usedSizes: number): void;
  addPageRule(lane: Pointer, from: bigint, last: bigint, size: number): void;
  setPlacement(lane: Pointer, data: number, dataNode: number, tables: number, tableNode: number): void;
  setReplay(lane: Pointer, mapping: number, trackDirty: boolean, splitPages: boolean): void;
  startLane(lane: Pointer): void;
  replayRows(from: number, to: number): number;
  replayStatus(): number;
  collectCounters(lane: number, cpu: number, out: Pointer): void;
  tableBytesOf(lane: Pointer, node: number): bigint;
  probe(lane: Pointer, va: bigint, mode: number, asid: number, vm: number, out: Pointer): number;
}

const ENUMS = ['Arch', 'Column', 'Level', 'Mapping', 'Policy', 'Stat', 'Status'] as const;

/** An instance: the functions, and the enums as plain numbers. */
export type Core = CoreFunctions & Readonly<Record<(typeof ENUMS)[number], CoreEnum>>;

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
