// Time of a walker, and mmu_lock: a rwlock that serves its queue first come first served. Who takes or leaves it writes its line, which another CPU
// has if that wrote it last: one transfer at a time.

import { Cost } from '../layout';
import { ADD, Stat } from '../stats';
import { BLOCK, COST } from '../tlb/maintenance';
import { Guest, Hold, Sim, Walker } from './records';

/** The walker's time passes, on the account of a counter of cycles. */
export function pass(sim: Sim, w: Walker, cycles: u64, stat: Stat): void {
  w.clock += cycles;
  ADD(BLOCK(sim.lane, w.cpu), stat, cycles);
}

function waitUntil(sim: Sim, w: Walker, clock: u64): void {
  if (clock > w.clock) pass(sim, w, clock - w.clock, Stat.CyclesLock);
}

/** Writes the lock's line. */
function touchLine(sim: Sim, w: Walker): void {
  const guest = w.guest;
  const owner = w.cpu + 1;
  if (guest.lineOwner && guest.lineOwner != owner) {
    waitUntil(sim, w, guest.lineFree);
    pass(sim, w, COST(sim.lane, Cost.LineTransfer), Stat.CyclesLock);
    guest.lineFree = w.clock;
  }
  guest.lineOwner = owner;
}

/** Asks for the lock; a walker that does not get it is blocked until it does. */
export function acquire(sim: Sim, w: Walker, wanted: Hold): void {
  const guest = w.guest;
  touchLine(sim, w);
  w.wanted = wanted;
  if (!guest.firstWaiting && isFree(guest, wanted)) {
    take(guest, w);
    return;
  }
  w.blocked = true;
  w.requestedAt = w.clock;
  w.nextWaiting = null;
  if (guest.lastWaiting) guest.lastWaiting!.nextWaiting = w;
  else guest.firstWaiting = w;
  guest.lastWaiting = w;
}

function isFree(guest: Guest, wanted: Hold): bool {
  return !guest.writing && (wanted == Hold.Read || !guest.readers);
}

function take(guest: Guest, w: Walker): void {
  if (w.wanted == Hold.Write) guest.writing = true;
  else guest.readers++;
  w.hold = w.wanted;
}

/** Leaves the lock, and gives it to those who are first in the queue. */
export function release(sim: Sim, w: Walker): void {
  const guest = w.guest;
  if (w.hold == Hold.None) return;
  touchLine(sim, w);
  if (w.hold == Hold.Write) guest.writing = false;
  else guest.readers--;
  w.hold = Hold.None;
  for (let first = guest.firstWaiting; first && isFree(guest, first.wanted); first = guest.firstWaiting) {
    guest.firstWaiting = first.nextWaiting;
    if (!guest.firstWaiting) guest.lastWaiting = null;
    take(guest, first);
    first.blocked = false;
    waitUntil(sim, first, w.clock);
  }
}
