// Describes a lane with system.name spe to the core, and fetches the streams that its guests have read.

import { type Config } from '../config/schema.js';
import { type Core, type Pointer } from '../core/instance.js';
import { UsageError } from '../../traces/errors.js';
import { type Topology } from './topology.js';

/** Whether a configuration profiles. */
export const isProfiled = ({ system }: Config): boolean => system.name === 'spe';

const FILTERS = { user: 1, kernel: 2, both: 3 };
const SHARE = 2 ** 16;

/** Gives a lane its parameters; before the first row. */
export function setSpe(core: Core, lane: Pointer, { system, machine }: Config, { nodes }: Topology): void {
  if (system.speKernelNode !== null && system.speKernelNode >= nodes)
    throw new UsageError(
      `system.speKernelNode: node ${system.speKernelNode} is outside the machine's nodes 0 to ${nodes - 1}`,
    );
  const { PinVm, PinBuffer, Copy, CopyOnRead } = core.SpeStrategy;
  const stated: Record<string, number> = {
    Strategy: { 'pin-vm': PinVm, 'pin-buffer': PinBuffer, copy: Copy, 'copy-on-read': CopyOnRead }[system.speStrategy],
    Period: system.spePeriod,
    Jitter: system.speJitter,
    Seed: system.speSeed,
    BufferBytes: system.speBufferBytes,
    KernelBytes: system.speKernelBytes,
    GuestBytes: system.speGuestBytes,
    KernelNode: system.speKernelNode === null ? 0 : system.speKernelNode + 1,
    ShareRead: Math.round(system.speShareRead * SHARE),
    SwitchOps: system.speSwitchOps,
    CyclesPerOp: Math.max(1, Math.round(machine.cpi * 256)),
    TlbCycles: Math.round(machine.latency.l2TlbCycles),
    Filter: FILTERS[system.speFilter],
    Erratum: Number(system.speErratum),
    FineTraps: Number(system.speFgt),
    HardwareAf: Number(system.speHardwareAf),
    Toggles: Number(system.speToggle),
    Always: Number(system.speEnable === 'always'),
    Keep: Number(system.speKeep),
  };
  for (const [name, parameter] of Object.entries(core.SpeParameter)) {
    if (name !== 'Count') core.setSpe(lane, parameter, BigInt(stated[name]));
  }
}

/** Bytes that a guest has read on a CPU. */
export interface SpeBytes {
  lane: number;
  cpu: number;
  bytes: Uint8Array;
}

/** What the guests of a lane have read since the last call. */
export function takeStreams(core: Core, lane: Pointer, number: number, cpus: number): SpeBytes[] {
  const taken: SpeBytes[] = [];
  for (let cpu = 0; cpu < cpus; cpu++) {
    const count = core.speStreamBytes(lane, cpu, true);
    const at = core.speStream(lane, cpu, true);
    if (count > 0) taken.push({ lane: number, cpu, bytes: new Uint8Array(core.memory.buffer, at, count).slice() });
    core.clearSpeStream(lane, cpu);
  }
  return taken;
}
