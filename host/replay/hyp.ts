// Describes the EL2 side of a lane with system.name hyp-init to the core.

import { type Config } from '../config/schema.js';
import { type Core, type Pointer } from '../core/instance.js';
import { hypLayout, hypRange, linearMap, trampolineVa } from '../model/idmap.js';

/** Where the trace says where the init page is. */
const AS_TRACED = (1n << 64n) - 1n;
const ARM32_BITS = 32;

/** Gives a lane its EL2 side; before it is started. */
export function setHyp(core: Core, lane: Pointer, { system, paging }: Config): void {
  const { Legacy, Trampoline, Merged, PkvmSwitch } = core.HypScheme;
  const scheme = { legacy: Legacy, trampoline: Trampoline, merged: Merged, 'pkvm-switch': PkvmSwitch }[
    system.hypScheme
  ];
  const arm32 = system.hypArch === 'arm32-lpae';
  const vaBits = arm32 || paging.format !== 'arm64' ? ARM32_BITS : paging.vaBits;
  const kernel = { arch: system.hypArch, vaBits, oneTable: scheme === Merged || scheme === PkvmSwitch };
  const random = system.hypIdmap === 'random';
  const stated = random || system.hypIdmap === null ? AS_TRACED : BigInt(system.hypIdmap!);
  const { hypSeed, specWalks } = system;
  core.setHyp(lane, scheme, vaBits, arm32, trampolineVa(kernel), stated, random, hypSeed, specWalks);
  const linear = linearMap(kernel, system.hypMemoryBytes);
  for (const half of [0, 1]) {
    const layout = hypLayout(kernel, BigInt(half) << BigInt(vaBits - 1));
    const { from, end } = hypRange(layout, linear);
    core.setHypLayout(lane, half, layout.mask, layout.tag, from, end);
  }
}
