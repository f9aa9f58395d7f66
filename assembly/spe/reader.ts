// What the guest sees of its buffer, and the invariants that hold whenever it looks (docs/spe.md): at stops, reads of the pointer, and interrupts.

import { Check, Fault, Lane } from '../layout';
import { HAS_FAULT, KERNEL, violated } from '../systems/kernel';
import { HOST_DATA, readFault } from './copy';
import { pageAtVa } from './guest';
import { INSIDE, PAGE_BYTES } from './pages';
import { copies, Page, PARAMETER, SPE, SPE_CPU, SpeParameter, Vcpu } from './records';
import { COLLISION, DATA_LOSS, SERVICE } from './registers';
import { append, shadowClear, shadowSkip, shadowTake } from './stream';

/** Where the guest finds the byte at `inside` of a page when it looks. */
function shown(page: Page, inside: u32): usize {
  const isKept = page.kept != null && inside >= page.keptFrom && inside < page.keptTo;
  return (isKept ? page.kept!.bytes : page.bytes) + inside;
}

/** The guest looks at its pointer and its buffer: all that was emitted is there, in order, or reported as lost. */
export function showBuffer(lane: Lane, v: Vcpu): void {
  // F-I2
  if (v.pointer < v.lastPointer || v.pointer > v.limit) violated(lane, Check.SpePointer, v.pointer, v.cpu);
  v.lastPointer = v.pointer;
  // F-I1
  const step = PAGE_BYTES(lane);
  let same: bool = true;
  while (v.checked < v.pointer) {
    const n = min(v.pointer - v.checked, step - INSIDE(lane, v.checked));
    const page = pageAtVa(lane, v.guest, v.checked);
    if (page) same = compare(v, page, <u32>INSIDE(lane, v.checked), <u32>n) && same;
    else shadowSkip(v, <u32>n);
    v.checked += n;
  }
  const isReported = (v.status & (DATA_LOSS | COLLISION | SERVICE)) != 0;
  if (shadowClear(v) || !same || (v.unreported && !isReported)) violated(lane, Check.SpeStream, v.pointer, v.cpu);
  if (lane.checks && copies(SPE(lane))) checkHostData(lane, v);
}

function compare(v: Vcpu, page: Page, inside: u32, n: u32): bool {
  let same: bool = true;
  // Kept bytes lie in one piece, so there are at most three.
  for (let done: u32 = 0; done < n;) {
    const at = inside + done;
    let piece = n - done;
    if (page.kept) {
      if (at < page.keptFrom) piece = min(piece, page.keptFrom - at);
      else if (at < page.keptTo) piece = min(piece, page.keptTo - at);
    }
    same = shadowTake(v, shown(page, at), piece) && same;
    done += piece;
  }
  return same;
}

/** F-I6: behind its pointer the guest finds nothing of the host's. */
function checkHostData(lane: Lane, v: Vcpu): void {
  const step = PAGE_BYTES(lane);
  for (let va = v.pointer; va < v.limit; va += 8) {
    const page = pageAtVa(lane, v.guest, va);
    if (!page) {
      va = (va | (step - 1)) - 7;
      continue;
    }
    if (load<u64>(shown(page, <u32>INSIDE(lane, va))) != HOST_DATA) continue;
    violated(lane, Check.SpeHostData, va, v.cpu);
    return;
  }
}

/** The guest reads what was recorded since it last did, page by page, of which it wants a share. */
export function readBuffer(lane: Lane, v: Vcpu, cpu: u32): void {
  const spe = SPE(lane);
  const step = PAGE_BYTES(lane);
  while (v.read < v.pointer) {
    const n = min(v.pointer - v.read, step - INSIDE(lane, v.read));
    const page = pageAtVa(lane, v.guest, v.read);
    v.shareLeft += <u32>PARAMETER(spe, SpeParameter.ShareRead);
    const wants = v.shareLeft >= 0x1_0000;
    if (wants) v.shareLeft -= 0x1_0000;
    if (page && wants) {
      if (page.kept) readFault(lane, v, page, cpu);
      if (PARAMETER(spe, SpeParameter.Keep)) {
        append(SPE_CPU(spe, cpu).read, page.bytes + <usize>INSIDE(lane, v.read), <u32>n);
      }
    }
    v.read += n;
  }
}

/** Whether the guest finds PMBIDR.P set: programming is not allowed, because the buffer is another's. F-I8. */
export function seesOwner(lane: Lane, v: Vcpu): bool {
  const spe = SPE(lane);
  const isOwned = copies(spe) && v.enabled;
  const hides = PARAMETER(spe, SpeParameter.FineTraps) && !HAS_FAULT(KERNEL(lane), Fault.SpeShowOwner);
  const sees = isOwned && !hides;
  if (sees && PARAMETER(spe, SpeParameter.FineTraps)) violated(lane, Check.SpeOwner, v.base, v.cpu);
  return sees;
}
