// Arithmetic of one stage of translation: which bits of an address index the table of which height.

import { Format, Stage } from '../layout';
import { allocate } from '../memory/arena';

/** A stage of `depth` levels whose root has `rootBits` index bits. */
export function newStage(
  format: Format,
  pageShift: u32,
  depth: u32,
  rootBits: u32,
  outputBits: u32,
  controls: u32,
): Stage {
  const stage = changetype<Stage>(allocate(offsetof<Stage>()));
  stage.format = format;
  stage.pageShift = pageShift;
  stage.indexBits = pageShift - 3;
  stage.depth = depth;
  stage.rootBits = rootBits;
  stage.outputBits = outputBits;
  stage.controls = controls;
  return stage;
}

/** log2 of the bytes that an entry of the given height covers. */
// @ts-ignore: decorator
@inline
export function SHIFT_AT(stage: Stage, height: u32): u32 {
  return stage.pageShift + height * stage.indexBits;
}

/** The address of the entry for `address` in the table of the given height at `table`. */
// @ts-ignore: decorator
@inline
export function ENTRY_AT(stage: Stage, table: u64, address: u64, height: u32): u64 {
  const bits = height == stage.depth - 1 ? stage.rootBits : stage.indexBits;
  return table + (((address >> SHIFT_AT(stage, height)) & (((<u64>1) << bits) - 1)) << 3);
}

/** The architecture's number of the level at `height`: x86 and EPT 1 at the last level, Arm 3. */
// @ts-ignore: decorator
@inline
export function LEVEL_AT(stage: Stage, height: u32): i32 {
  return stage.format <= Format.Ept ? <i32>height + 1 : 3 - <i32>height;
}
