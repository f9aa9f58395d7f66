// The architectural translation of one address through the tables of an image (docs/paging.md): every check, the fault with the
// architecture's own code, and the log of descriptors read. Nothing is cached and nothing is written.

import { Format, MAX_DEPTH, Stage } from '../layout';
import { allocate } from '../memory/arena';
import { imageAt } from '../memory/image';
import {
  addressOf,
  Control,
  hasReserved,
  isLeaf,
  isPresent,
  isTooLarge,
  lacksAccessFlag,
  limitsWith,
  noLimits,
  Permission,
  permissionsOf,
} from './descriptor';
import { ENTRY_AT, LEVEL_AT, newStage, SHIFT_AT } from './stage';

/** Kinds of access; a probe asks for presence only. */
export enum Access {
  Probe,
  Read,
  Write,
  Fetch,
}

export enum Outcome {
  Ok,
  Fault,
  NonCanonical,
  S2Fault,
  S2FaultOnS1Walk,
  Reserved,
  AddressSize,
  AccessFlag,
  Permission,
  /** A table lies outside the image. */
  NoMemory,
}

/** One tree of tables. */
@unmanaged
class Tree {
  stage: Stage;
  root: u64;
}

/** What the registers of one CPU say about translation. */
@unmanaged
class Regime {
  /** The only stage-1 tree, or the one for low addresses. */
  low: Tree | null;
  /** The tree for high addresses (Arm TTBR1). */
  high: Tree | null;
  stage2: Tree | null;
}

/** Descriptors of the longest nested walk: (5 + 1) * (5 + 1) - 1. */
const MAX_STEPS: u32 = (MAX_DEPTH + 1) * (MAX_DEPTH + 1);

/** A descriptor that was read. */
@unmanaged
class Step {
  stage: u32;
  level: i32;
  tablePa: u64;
  entryPa: u64;
  entry: u64;
}

/** How one stage ended. */
@unmanaged
class Result {
  outcome: Outcome;
  level: i32;
  pageShift: u32;
  entry: u64;
  address: u64;
  permissions: u32;
}

/** The last translation. */
@unmanaged
class Last {
  stage1: Result;
  stage2: Result;
  /** The stage that decided the outcome. */
  stage: u32;
  outcome: Outcome;
  pa: u64;
  /** The IPA of the last stage-2 translation. */
  ipa: u64;
  code: u32;
  permissions: u32;
  steps: usize;
  stepCount: u32;
}

const NO_LEVEL: i32 = -128;

const last = changetype<Last>(allocate(offsetof<Last>()));
last.stage1 = changetype<Result>(allocate(offsetof<Result>()));
last.stage2 = changetype<Result>(allocate(offsetof<Result>()));
last.steps = allocate(MAX_STEPS * offsetof<Step>());

export function createRegime(): Regime {
  return changetype<Regime>(allocate(offsetof<Regime>()));
}

function newTree(stage: Stage, root: u64): Tree {
  const tree = changetype<Tree>(allocate(offsetof<Tree>()));
  tree.stage = stage;
  tree.root = root;
  return tree;
}

/** Stage 1 of x86-64: the root in CR3 bits 51:12, 4 or 5 levels, MAXPHYADDR, x86 bits of Control. */
export function setX86(regime: Regime, root: u64, levels: u32, maxPhysBits: u32, controls: u32): void {
  regime.low = newTree(newStage(Format.X86, 12, levels, 9, maxPhysBits, controls), root);
}

/** Arm stage 1, the TTBR1 tree when `high`: `bits` is 64 - TnSZ, `outputBits` the output size, Arm bits of Control. */
export function setArmStage1(
  regime: Regime,
  high: bool,
  root: u64,
  pageShift: u32,
  bits: u32,
  outputBits: u32,
  controls: u32,
): void {
  const indexBits = pageShift - 3;
  const depth = max((bits - pageShift + indexBits - 1) / indexBits, 1);
  const rootBits = bits - pageShift - (depth - 1) * indexBits;
  const tree = newTree(newStage(Format.ArmStage1, pageShift, depth, rootBits, outputBits, controls), root);
  if (high) regime.high = tree;
  else regime.low = tree;
}

/** Arm stage 2: `bits` is 64 - VTCR.T0SZ, the walk starts at `startLevel`. */
export function setArmStage2(
  regime: Regime,
  root: u64,
  pageShift: u32,
  bits: u32,
  startLevel: i32,
  outputBits: u32,
  controls: u32,
): void {
  const depth = <u32>(4 - startLevel);
  const rootBits = bits - pageShift - (depth - 1) * (pageShift - 3);
  regime.stage2 = newTree(newStage(Format.ArmStage2, pageShift, depth, rootBits, outputBits, controls), root);
}

/** EPT with 4 or 5 levels. */
export function setEpt(regime: Regime, root: u64, levels: u32, maxPhysBits: u32): void {
  regime.stage2 = newTree(newStage(Format.Ept, 12, levels, 9, maxPhysBits, 0), root);
}

/** Translates `address` (an IPA when the regime has stage 2 only); the outcome... functions tell the rest. */
export function translate(regime: Regime, address: u64, access: Access, user: bool): Outcome {
  last.stepCount = 0;
  last.pa = 0;
  last.ipa = 0;
  last.code = 0;
  last.permissions = Permission.All;
  clearResult(last.stage1);
  clearResult(last.stage2);
  last.outcome =
    regime.low || regime.high ? twoStages(regime, address, access, user) : onlyStage2(regime, address, access, user);
  return last.outcome;
}

function clearResult(result: Result): void {
  result.outcome = Outcome.Ok;
  result.level = NO_LEVEL;
  result.pageShift = 0;
  result.entry = 0;
}

function onlyStage2(regime: Regime, ipa: u64, access: Access, user: bool): Outcome {
  last.stage = 2;
  const outcome = stage2(regime, ipa, access, user);
  if (outcome == Outcome.Ok) last.pa = last.stage2.address;
  return outcome;
}

/** Stage 1, each of its table references and its result through stage 2 where there is one. */
function twoStages(regime: Regime, va: u64, access: Access, user: bool): Outcome {
  last.stage = 1;
  const result = last.stage1;
  const tree = treeFor(regime, va);
  const format = regime.low ? regime.low!.stage.format : Format.ArmStage1;
  if (!tree) {
    result.level = 0;
    if (format == Format.X86) return Outcome.NonCanonical;
    last.code = armCode(Outcome.Fault, 0);
    return (result.outcome = Outcome.Fault);
  }
  const stage = tree.stage;
  let table = tree.root;
  let limits = noLimits(stage);
  for (let height = <i32>stage.depth - 1; height >= 0; height--) {
    result.level = LEVEL_AT(stage, height);
    const entryAt = ENTRY_AT(stage, table, va, height);
    let entryPa = entryAt;
    if (regime.stage2) {
      const outcome = stage2(regime, entryAt, access == Access.Probe ? Access.Probe : Access.Read, user);
      if (outcome != Outcome.Ok) {
        last.stage = 2;
        return outcome == Outcome.Fault ? Outcome.S2FaultOnS1Walk : outcome;
      }
      entryPa = last.stage2.address;
    }
    const at = imageAt(entryPa);
    if (!at) return (result.outcome = Outcome.NoMemory);
    const entry = load<u64>(at);
    note(1, result.level, entryPa - (entryAt - table), entryPa, entry);
    result.entry = entry;
    const outcome = check(stage, entry, height, access, user, limits, result);
    if (outcome != Outcome.Ok) {
      last.code = stage.format == Format.X86 ? x86Code(stage, outcome, access, user) : armCode(outcome, result.level);
      return (result.outcome = outcome);
    }
    if (isLeaf(stage, entry, height)) {
      const inside = ((<u64>1) << result.pageShift) - 1;
      result.address = addressOf(stage, entry, height) | (va & inside);
      return finalStage(regime, access, user);
    }
    limits = limitsWith(stage, limits, entry);
    table = addressOf(stage, entry, height);
  }
  // A leaf ends every walk: height 0 has nothing else.
  return unreachable();
}

/** The result of stage 1 through stage 2. */
function finalStage(regime: Regime, access: Access, user: bool): Outcome {
  last.permissions = last.stage1.permissions;
  if (!regime.stage2) {
    last.pa = last.stage1.address;
    return Outcome.Ok;
  }
  const outcome = stage2(regime, last.stage1.address, access, user);
  if (outcome != Outcome.Ok) {
    last.stage = 2;
    return outcome == Outcome.Fault ? Outcome.S2Fault : outcome;
  }
  last.permissions = last.stage1.permissions & last.stage2.permissions;
  last.pa = last.stage2.address;
  return Outcome.Ok;
}

/** One stage-2 translation; last.stage2 has its result. */
function stage2(regime: Regime, ipa: u64, access: Access, user: bool): Outcome {
  const tree = regime.stage2!;
  const stage = tree.stage;
  const result = last.stage2;
  clearResult(result);
  last.ipa = ipa;
  const inputBits = SHIFT_AT(stage, stage.depth - 1) + stage.rootBits;
  if (inputBits < 64 && ipa >> inputBits != 0) {
    result.level = LEVEL_AT(stage, stage.depth - 1);
    return stage2Fault(stage, Outcome.Fault, result);
  }
  let tablePa = tree.root;
  let limits = noLimits(stage);
  for (let height = <i32>stage.depth - 1; height >= 0; height--) {
    result.level = LEVEL_AT(stage, height);
    const entryPa = ENTRY_AT(stage, tablePa, ipa, height);
    const at = imageAt(entryPa);
    if (!at) return (result.outcome = Outcome.NoMemory);
    const entry = load<u64>(at);
    note(2, result.level, tablePa, entryPa, entry);
    result.entry = entry;
    const outcome = check(stage, entry, height, access, user, limits, result);
    if (outcome != Outcome.Ok) return stage2Fault(stage, outcome, result);
    if (isLeaf(stage, entry, height)) {
      result.address = addressOf(stage, entry, height) | (ipa & (((<u64>1) << result.pageShift) - 1));
      return Outcome.Ok;
    }
    limits = limitsWith(stage, limits, entry);
    tablePa = addressOf(stage, entry, height);
  }
  return unreachable();
}

function stage2Fault(stage: Stage, outcome: Outcome, result: Result): Outcome {
  // EPT violations and misconfigurations have no fault status code.
  last.code = stage.format == Format.Ept ? 0 : armCode(outcome, result.level);
  return (result.outcome = outcome);
}

/** The checks at one descriptor, in the order of the architecture. */
function check(
  stage: Stage,
  entry: u64,
  height: u32,
  access: Access,
  user: bool,
  limits: u64,
  result: Result,
): Outcome {
  if (!isPresent(stage, entry, height)) return Outcome.Fault;
  if (access != Access.Probe) {
    if (hasReserved(stage, entry, height)) return Outcome.Reserved;
    if (isTooLarge(stage, addressOf(stage, entry, height))) return Outcome.AddressSize;
  }
  if (!isLeaf(stage, entry, height)) return Outcome.Ok;
  result.permissions = permissionsOf(stage, entry, limits);
  result.pageShift = SHIFT_AT(stage, height);
  if (access == Access.Probe) return Outcome.Ok;
  if (lacksAccessFlag(stage, entry)) return Outcome.AccessFlag;
  return result.permissions & permissionFor(access, user) ? Outcome.Ok : Outcome.Permission;
}

function permissionFor(access: Access, user: bool): u32 {
  const ofUser: u32 =
    access == Access.Read ? Permission.UserRead : access == Access.Write ? Permission.UserWrite : Permission.UserFetch;
  // The kernel's bits stand three above the user's.
  return user ? ofUser : ofUser << 3;
}

/** The stage-1 tree that covers `va`; null when none does. */
function treeFor(regime: Regime, va: u64): Tree | null {
  const low = regime.low;
  const high = regime.high;
  if (low != null && low.stage.format == Format.X86) {
    const unused = 64 - (SHIFT_AT(low.stage, low.stage.depth - 1) + 9);
    return <u64>((<i64>(va << unused)) >> unused) == va ? low : null;
  }
  const upper = (va & ((<u64>1) << 55)) != 0;
  const single = low != null && (low.stage.controls & Control.SinglePrivilege) != 0;
  const tree = upper && !single ? high : low;
  if (tree == null) return null;
  const stage = tree.stage;
  if (stage.controls & Control.Disabled) return null;
  const bits = SHIFT_AT(stage, stage.depth - 1) + stage.rootBits;
  // Top byte ignored: bits 63:56 are as bit 55.
  const seen = stage.controls & Control.TopByteIgnore ? <u64>((<i64>(va << 8)) >> 8) : va;
  const above = bits < 64 ? seen >> bits : 0;
  const wanted: u64 = upper && !single && bits < 64 ? u64.MAX_VALUE >> bits : 0;
  return above == wanted ? tree : null;
}

/** The page-fault error code (SDM vol. 3, 4.7). */
function x86Code(stage: Stage, outcome: Outcome, access: Access, user: bool): u32 {
  let code: u32 = outcome == Outcome.Fault ? 0 : 1;
  if (access == Access.Write) code |= 2;
  if (user) code |= 4;
  if (outcome == Outcome.Reserved) code |= 8;
  if (access == Access.Fetch && (stage.controls & (Control.NoExecute | Control.Smep)) != 0) code |= 16;
  return code;
}

/** The fault status code, ESR_ELx.FSC (Arm ARM D17.2.37, ISS encoding for an abort). */
function armCode(outcome: Outcome, level: i32): u32 {
  if (level < 0) return outcome == Outcome.AddressSize ? 0b101001 : 0b101011;
  const kind: u32 =
    outcome == Outcome.AddressSize ? 0 : outcome == Outcome.Fault ? 1 : outcome == Outcome.AccessFlag ? 2 : 3;
  return (kind << 2) | (<u32>level);
}

function note(stage: u32, level: i32, tablePa: u64, entryPa: u64, entry: u64): void {
  const step = stepAt(last.stepCount++);
  step.stage = stage;
  step.level = level;
  step.tablePa = tablePa;
  step.entryPa = entryPa;
  step.entry = entry;
}

function stepAt(i: u32): Step {
  return changetype<Step>(last.steps + i * offsetof<Step>());
}

// The last translation. Level, page size and entry are those of stage 1, or of stage 2 where the regime has nothing else.

function deciding(): Result {
  return last.stage1.level == NO_LEVEL ? last.stage2 : last.stage1;
}

export function outcomePa(): u64 {
  return last.pa;
}

export function outcomeLevel(): i32 {
  return deciding().level;
}

/** log2 of the leaf's bytes; 0 when none was reached. */
export function outcomePageShift(): u32 {
  return deciding().pageShift;
}

/** The level of the last stage-2 translation; -128 when there was none. */
export function outcomeS2Level(): i32 {
  return last.stage2.level;
}

export function outcomeS2PageShift(): u32 {
  return last.stage2.pageShift;
}

/** The descriptor read last in the stage that decided. */
export function outcomeEntry(): u64 {
  return last.outcome != Outcome.Ok && last.stage == 2 ? last.stage2.entry : deciding().entry;
}

/** The page-fault error code, or the fault status code; 0 when translated. */
export function outcomeCode(): u32 {
  return last.code;
}

/** The stage that decided: 1 or 2. */
export function outcomeStage(): u32 {
  return last.stage;
}

/** The IPA of the last stage-2 translation. */
export function outcomeIpa(): u64 {
  return last.ipa;
}

/** Bits of Permission that both stages leave. */
export function outcomePermissions(): u32 {
  return last.stage1.level == NO_LEVEL ? last.stage2.permissions : last.permissions;
}

export function stepCount(): u32 {
  return last.stepCount;
}

export function stepStage(i: u32): u32 {
  return stepAt(i).stage;
}

export function stepLevel(i: u32): i32 {
  return stepAt(i).level;
}

export function stepTablePa(i: u32): u64 {
  return stepAt(i).tablePa;
}

export function stepEntryPa(i: u32): u64 {
  return stepAt(i).entryPa;
}

export function stepEntry(i: u32): u64 {
  return stepAt(i).entry;
}
