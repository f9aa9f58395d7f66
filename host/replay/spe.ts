// Describes a lane with system.name spe to the core, and fetches the streams that its guests have read.

import { type Config } from '../config/schema.js';
import { type Core, type Pointer } from '../core/instance.js';
import { UsageError } from '../../traces/errors.js';
import { type Topology } from './topology.js';

/** Whether a configuration profiles. */
export const isProfiled = ({ system }: Config): boolean => system.name === 'spe';

/** Bytes of the buffers that the system programs itself: they are real in the emulator. */
export function bufferBytes({ system }: Config, { cpuNode }: Topology): number {
  if (system.name !== 'spe' || system.speEnable !== 'always') return 0;
  const { speBufferBytes, speKernelBytes, speStrategy } = system;
  const kernel = speStrategy.startsWith('copy') ? Math.min(speKernelBytes, speBufferBytes) : 0;
  return cpuNode.length * (speBufferBytes + kernel);
}

/** The most that they may have. */
const MOST_BUFFER_BYTES = 2 ** 31;

const FILTERS = { user: 1, kernel: 2, both: 3 };
const SHARE = 2 ** 16;

/** Gives a lane its parameters; before the first row. */
export function setSpe(core: Core, lane: Pointer, config: Config, topology: Topology): void {
  const { system, machine } = config;
  const { nodes, cpuNode } = topology;
  const buffers = bufferBytes(config, topology);
  if (buffers > MOST_BUFFER_BYTES)
    throw new UsageError(
      `system.speBufferBytes: the buffers of ${cpuNode.length} CPUs, KVM's included, have ${buffers / 2 ** 20} MiB, and may have ${MOST_BUFFER_BYTES / 2 ** 20}; use smaller ones, or speEnable: trace where the trace programs them`,
    );
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
