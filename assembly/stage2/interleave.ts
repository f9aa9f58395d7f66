// Searches interleavings: small random sets of rows on a guest of its own, run in a random order of steps, with all invariants checked.

import { Lane } from '../layout';
import { Event } from '../systems/events';
import { hasViolations } from '../systems/kernel';
import { nextRandom } from './random';
import { SIM, WALKER } from './records';
import { runRows, stage2Event } from './schedule';

/** The guest's root is one table of 4K, under it two levels. */
const IPA_BITS: u64 = 39;
const VM: u64 = 1;
const BLOCK: u64 = 1 << 21;
const PAGE: u64 = 1 << 12;

let state: u64 = 1;

function draw(n: u64): u64 {
  state = nextRandom(state);
  return ((state * 0x2545_f491_4f6c_dd1d) >> 33) % n;
}

/**
 * Runs the interleavings of `seeds` seeds from `from` on, on a lane of its own with 4K pages; returns how many it took to the first violation (D-I1 to D-I8, G1 to G6), 0: there
 * is none.
 */
export function runInterleavings(lane: Lane, from: u32, seeds: u32): u32 {
  const sim = SIM(lane);
  for (let i: u32 = 0; i < seeds; i++) {
    state = ((<u64>(from + i) + 1) * 0x9e37_79b9_7f4a_7c15) | 1;
    stage2Event(lane, i, 0, Event.VmCreate, VM, IPA_BITS, 0, 0, 0);
    for (let round = 0; round < 2; round++) {
      for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
        for (let n = draw(4); n > 0; n--) addRow(lane, i, cpu);
      }
      sim.random = draw(u32.MAX_VALUE) + 1;
      runRows(lane);
      if (hasViolations(lane)) return i + 1;
    }
    stage2Event(lane, i, 0, Event.VmDestroy, VM, 0, 0, 0, 0);
    sim.random = 0;
    if (hasViolations(lane)) return i + 1;
    for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) WALKER(sim, cpu).clock = 0;
  }
  return 0;
}

/** A row on one of two blocks: mostly faults of a page or a block, of every class. */
function addRow(lane: Lane, record: u64, cpu: u32): void {
  const ipa = draw(2) * BLOCK;
  const page = ipa + draw(3) * PAGE;
  const kind = draw(16);
  if (kind < 6) stage2Event(lane, record, cpu, Event.Stage2Fault, page, PAGE, VM, draw(3), PAGE);
  else if (kind < 9) stage2Event(lane, record, cpu, Event.Stage2Fault, ipa, BLOCK, VM, draw(3), BLOCK);
  else if (kind < 11) stage2Event(lane, record, cpu, Event.Stage2WriteProtect, ipa, BLOCK, VM, 0, 0);
  else if (kind < 12) stage2Event(lane, record, cpu, Event.Stage2Age, ipa, BLOCK, VM, 0, 0);
  else if (kind < 13) stage2Event(lane, record, cpu, Event.Stage2Split, ipa, BLOCK, VM, 0, 0);
  else if (kind < 14) stage2Event(lane, record, cpu, Event.Stage2Unmap, page, PAGE, VM, 0, 0);
  else if (kind < 15) stage2Event(lane, record, cpu, Event.Stage2Unmap, ipa, BLOCK, VM, 0, 0);
  else stage2Event(lane, record, cpu, Event.VcpuLoad, draw(2), VM, 0, 0, 0);
}
