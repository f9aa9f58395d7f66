// Modules that are loaded: their pages on one node, mapped in the tables of every view, and the copies of their text and read-only data.

import { Lane, PA_UNKNOWN } from '../layout';
import { allocate } from '../memory/arena';
import { withAddress } from '../paging/descriptor';
import { findPage } from '../paging/map';
import { Copy, frameIn } from '../paging/copies';
import { mapKernel, unmapKernel } from './common';
import { copyPart, takeMemory } from './image';
import { KERNEL } from './kernel';
import { allocatedPages, copied, kernelContext, tableStores } from './operations';


@unmanaged
export class Module {
  next: Module | null;
  va: u64;
  pages: u64;
  text: Copy | null;
  rodata: Copy | null;
  live: bool;
}

/** The node that has the pages of modules. */
const MODULE_NODE: u32 = 0;

export function pagesOf(lane: Lane, bytes: u64): u64 {
  return (bytes + ((<u64>1) << lane.stage1.pageShift) - 1) >> lane.stage1.pageShift;
}

/** Maps a module; with `replicate` every other view gets its own text and read-only data. */
export function addModule(lane: Lane, cpu: u32, va: u64, text: u64, rodata: u64, data: u64, replicate: bool): void {
  const shift = lane.stage1.pageShift;
  const textPages = pagesOf(lane, text);
  const rodataPages = pagesOf(lane, rodata);
  const pages = textPages + rodataPages + pagesOf(lane, data);
  const known = findPage(lane, kernelContext(lane), va, 0);
  const pa = known ? PA_UNKNOWN : takeMemory(lane, MODULE_NODE, va, pages << shift, 0);
  mapKernel(lane, cpu, va, pages << shift, 0, pa);
  const module = newModule(lane);
  module.va = va;
  module.pages = pages;
  module.text = null;
  module.rodata = null;
  if (!replicate || known) return;
  if (textPages) module.text = replicatePart(lane, cpu, va, textPages, pa);
  const after = va + (textPages << shift);
  if (rodataPages) module.rodata = replicatePart(lane, cpu, after, rodataPages, pa + (after - va));
}

/** Gives every other view its own pages of a stretch: entries cleared, set again, bytes copied. */
function replicatePart(lane: Lane, cpu: u32, va: u64, pages: u64, pa: u64): Copy {
  const shift = lane.stage1.pageShift;
  const copy = copyPart(lane, va, pages << shift, pa, MODULE_NODE);
  for (let view: u32 = 0; view < lane.views; view++) {
    if (view == MODULE_NODE) continue;
    for (let i: u64 = 0; i < pages; i++) {
      const page = findPage(lane, kernelContext(lane), va + (i << shift), view);
      if (!page) continue;
      const entry = load<u64>(page.leaf);
      store<u64>(page.leaf, withAddress(lane.stage1, entry, frameIn(copy, view, va + (i << shift)), 0));
    }
    allocatedPages(lane, cpu, view, pages);
    tableStores(lane, cpu, view, 2 * pages);
    copied(lane, cpu, MODULE_NODE, view, pages << shift);
  }
  return copy;
}

/** Unmaps a module from every view and frees its copies; returns its pages, 0 when there is no such module. */
export function removeModule(lane: Lane, cpu: u32, va: u64): u64 {
  let module = KERNEL(lane).modules;
  while (module && !(module.live && module.va == va)) module = module.next;
  if (!module) return 0;
  module.live = false;
  if (module.text) module.text!.live = false;
  if (module.rodata) module.rodata!.live = false;
  unmapKernel(lane, cpu, va, module.pages, lane.views);
  return module.pages;
}

function newModule(lane: Lane): Module {
  const kernel = KERNEL(lane);
  let module = kernel.modules;
  while (module && module.live) module = module.next;
  if (!module) {
    module = changetype<Module>(allocate(offsetof<Module>()));
    module.next = kernel.modules;
    kernel.modules = module;
  }
  module.live = true;
  return module;
}
