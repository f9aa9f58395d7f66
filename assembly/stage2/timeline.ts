// What a run looks like over its simulated time: a point for every multiple of a spacing that the lowest clock passes, in a buffer of fixed
// size. When that is full every second point goes and the spacing doubles.

import { Lane } from '../layout';
import { allocate } from '../memory/arena';
import { Stat } from '../stats';
import { BLOCK } from '../tlb/maintenance';
import { Hold, SIM, Sim, WALKER } from './records';

/** What a point has, as u64 each. */
export enum Point {
  Clock,
  /** Bytes of detached tables that are not yet free, and of all tables. */
  DeferredBytes,
  TableBytes,
  /** Walkers that have mmu_lock, and that wait for it. */
  Holding,
  Waiting,
  /** Faults that were taken. */
  Faults,
  Count,
}

const POINT_BYTES: u32 = Point.Count * 8;
const MOST_POINTS: u32 = 512;

/** Gives a lane's simulation a timeline; `spacing` is in cycles. */
export function setStage2Timeline(lane: Lane, spacing: u32): void {
  const sim = SIM(lane);
  sim.spacing = spacing;
  // One more for the end.
  sim.points = allocate((MOST_POINTS + 1) * POINT_BYTES);
}

/** The points so far: their number, and where they are. */
export function stage2PointCount(lane: Lane): u32 {
  return lane.stage2Sim ? SIM(lane).pointCount : 0;
}

export function stage2Points(lane: Lane): usize {
  return SIM(lane).points;
}

/** The lowest clock is `clock` now; with a random scheduler clocks mean nothing. */
export function reach(sim: Sim, clock: u64): void {
  if (!sim.spacing || sim.random) return;
  while (sim.nextPoint <= clock) {
    if (sim.pointCount == MOST_POINTS) thin(sim);
    write(sim, sim.nextPoint);
    sim.nextPoint += sim.spacing;
  }
}

/** The end of the trace. */
export function reachEnd(sim: Sim, clock: u64): void {
  reach(sim, clock);
  if (sim.spacing && !sim.random) write(sim, clock);
}

/** Point i becomes point 2i: the multiples of the doubled spacing. */
function thin(sim: Sim): void {
  for (let i: u32 = 1; i < MOST_POINTS / 2; i++) {
    memory.copy(sim.points + i * POINT_BYTES, sim.points + 2 * i * POINT_BYTES, POINT_BYTES);
  }
  sim.pointCount = MOST_POINTS / 2;
  sim.spacing *= 2;
}

function write(sim: Sim, clock: u64): void {
  const lane = sim.lane;
  let holding: u64 = 0;
  let waiting: u64 = 0;
  let faults: u64 = 0;
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    const w = WALKER(sim, cpu);
    if (w.hold != Hold.None) holding++;
    if (w.blocked && !w.waitsForAnswers) waiting++;
    for (let stat: u32 = Stat.FaultTranslation; stat <= <u32>Stat.FaultAccess_Flag; stat++) {
      faults += load<u64>(BLOCK(lane, cpu) + stat * 8);
    }
  }
  const at = sim.points + sim.pointCount++ * POINT_BYTES;
  store<u64>(at + Point.Clock * 8, clock);
  store<u64>(at + Point.DeferredBytes * 8, sim.deferredBytes);
  store<u64>(at + Point.TableBytes * 8, sim.tables << lane.tables.pageShift);
  store<u64>(at + Point.Holding * 8, holding);
  store<u64>(at + Point.Waiting * 8, waiting);
  store<u64>(at + Point.Faults * 8, faults);
}
