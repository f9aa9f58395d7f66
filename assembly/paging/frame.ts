// The physical address behind an access. Lanes with line caches ask for it far more often than a walk goes through the tables, so every CPU
// has a direct-mapped memory of frames. It is no part of the machine: what it holds is what the tables say, and it is told of every change.

import { CAPTURED, Lane, LOCAL, Mapping, NODE_OF_CPU, Policy } from '../layout';
import { allocate } from '../memory/arena';
import { newPageMap } from '../memory/pagemap';
import { copyAt } from './copies';
import { VIEW_OF } from './views';
import { addressOf } from './descriptor';
import { hostAddress, hostOf, ipaOf, OWN_IPA, textAt } from './hosttree';
import { findPage, SIZE } from './map';
import { isCaptured } from './own';
import { SHIFT_AT } from './stage';
import { isTextFrame } from './text';
import { stage2Address, stage2Leaf, vmOf } from './vm';


@unmanaged
class Frame {
  /** The number of the piece of 2^FRAME_SHIFT bytes, plus one; 0: free. */
  key: u64;
  context: u64;
  /** Its physical address, with CAPTURED and LOCAL where it is. */
  frame: u64;
  unused: u64;
}

const FRAME_BYTES: u32 = <u32>offsetof<Frame>();
const FRAMES: u32 = 512;
/** The smallest page of any stage. */
const FRAME_SHIFT: u32 = 12;
/** The address bits within such a piece. */
export const FRAME_INSIDE: u64 = (1 << FRAME_SHIFT) - 1;

/** What frameOf returns for an address that is not mapped. */
export const NO_FRAME: u64 = u64.MAX_VALUE;

/** Sets up a lane whose line caches need physical addresses. */
export function initFrameMemory(lane: Lane): void {
  lane.frames = allocate(lane.cpus * 4);
  if (lane.mapping != Mapping.Demand) lane.ownPages = newPageMap();
  if (lane.textPlaced) lane.textFrames = newPageMap();
}

/** The frame of 4 KiB that `va` is in for a CPU, with CAPTURED and LOCAL where it is; NO_FRAME where nothing is mapped. */
// @ts-ignore: decorator
@inline
export function frameOf(lane: Lane, cpu: u32, va: u64, context: u64): u64 {
  const frames = <usize>load<u32>(lane.frames + cpu * 4);
  if (frames) {
    const known = FRAME(frames, va >> FRAME_SHIFT);
    if (known.key == (va >> FRAME_SHIFT) + 1 && known.context == context) return known.frame;
  }
  return newFrame(lane, cpu, va, context);
}

/** A frame that the CPU does not know yet. */
function newFrame(lane: Lane, cpu: u32, va: u64, context: u64): u64 {
  let frames = <usize>load<u32>(lane.frames + cpu * 4);
  if (!frames) {
    frames = allocate(FRAMES * FRAME_BYTES);
    store<u32>(lane.frames + cpu * 4, <u32>frames);
  }
  const number = va >> FRAME_SHIFT;
  const known = FRAME(frames, number);
  const frame = lookUpFrame(lane, cpu, va, context);
  if (~frame) {
    known.key = number + 1;
    known.context = context;
    known.frame = frame;
  }
  return frame;
}

// @ts-ignore: decorator
@inline
function FRAME(frames: usize, number: u64): Frame {
  return changetype<Frame>(frames + ((<u32>number) & (FRAMES - 1)) * FRAME_BYTES);
}

/** The same, from the tables. */
function lookUpFrame(lane: Lane, cpu: u32, va: u64, context: u64): u64 {
  const page = findPage(lane, context, va, VIEW_OF(lane, NODE_OF_CPU(lane, cpu), va));
  if (!page) return NO_FRAME;
  const height = SIZE(lane, page.size).height;
  const inside = ((<u64>1) << SHIFT_AT(lane.stage1, height)) - 1;
  const address = (addressOf(lane.stage1, load<u64>(page.leaf), height) | (va & inside)) & ~FRAME_INSIDE;
  const vm = vmOf(lane, context);
  const local = lane.dataPolicy == Policy.Local ? LOCAL : 0;
  if (vm) return stage2Leaf(lane, vm, address) ? stage2Address(lane, vm, address) | local : NO_FRAME;
  const host = hostOf(lane, context);
  if (host) {
    const ipa = ipaOf(lane, context, va, address);
    const node = NODE_OF_CPU(lane, cpu);
    const pa = hostAddress(lane, host, node, ipa);
    const copied = host.replicated && node != host.home && textAt(host, ipa) != null;
    return copied || ipa & OWN_IPA || !~pa ? pa : pa | CAPTURED;
  }
  const copy = lane.copyCount ? copyAt(lane, va) : null;
  if (copy && NODE_OF_CPU(lane, cpu) != copy.home) return address;
  if (isCaptured(lane, va, context)) return address | CAPTURED;
  const shift = SIZE(lane, page.size).shift;
  if (!isTextFrame(lane, (address >> shift) << shift)) return address | local;
  return lane.textPolicy == Policy.Local ? address | LOCAL : address;
}

/** Forgets what the CPUs know of the 2^shift bytes that hold `va`. */
export function forgetFramesAt(lane: Lane, va: u64, shift: u32): void {
  if (!lane.frames) return;
  const pieces = min<u64>((<u64>1) << (shift - FRAME_SHIFT), FRAMES);
  const first = (va >> shift) << (shift - FRAME_SHIFT);
  for (let cpu: u32 = 0; cpu < lane.cpus; cpu++) {
    const frames = <usize>load<u32>(lane.frames + cpu * 4);
    if (!frames) continue;
    for (let i: u64 = 0; i < pieces; i++) FRAME(frames, first + i).key = 0;
  }
}

/** Forgets everything that the CPUs know. */
export function forgetFrames(lane: Lane): void {
  forgetFramesAt(lane, 0, 63);
}
