// How far a broadcast TLBI of a guest goes: to all CPUs, or, where the domain is limited, to those that have run the guest. Two that have a CPU in common
// are in each other's way there.

import { Lane, Option } from '../layout';
import { allocate } from '../memory/arena';
import { HAS_OPTION, KERNEL } from '../systems/kernel';
import { Guest, Sim } from './records';

/** Bytes of a set of CPUs: a bit for each, in u64 words. */
function setBytes(lane: Lane): u32 {
  return ((lane.cpus + 63) / 64) * 8;
}

function isLimited(sim: Sim): bool {
  return HAS_OPTION(KERNEL(sim.lane), Option.TlbiOfVm);
}

/** An empty set of CPUs. */
export function newDomain(lane: Lane): usize {
  return allocate(setBytes(lane));
}

export function clearDomain(sim: Sim, guest: Guest): void {
  memory.fill(guest.ran, 0, setBytes(sim.lane));
}

/** A CPU runs the guest. */
export function ranOn(guest: Guest, cpu: u32): void {
  const word = guest.ran + (cpu / 64) * 8;
  store<u64>(word, load<u64>(word) | ((<u64>1) << (cpu % 64)));
}

/** Whether a TLBI for the guest goes to a CPU. */
export function isInDomain(sim: Sim, guest: Guest, cpu: u32): bool {
  if (!isLimited(sim)) return true;
  return ((load<u64>(guest.ran + (cpu / 64) * 8) >> (cpu % 64)) & 1) != 0;
}

/** Whether TLBIs for two guests go to some CPU both. */
export function domainsMeet(sim: Sim, a: Guest, b: Guest): bool {
  if (!isLimited(sim) || a == b) return true;
  for (let i: u32 = 0; i < setBytes(sim.lane); i += 8) if (load<u64>(a.ran + i) & load<u64>(b.ran + i)) return true;
  return false;
}
