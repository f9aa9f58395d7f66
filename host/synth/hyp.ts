// What the scenarios of HYP start-up share: where the hypervisor's pages are, the events that start it, and rows at EL2. Addresses are those of the
// kernel's linear map; kern_hyp_va of a row at EL2 is the replay's matter, because it depends on the scheme.

import { z } from 'zod';
import { FETCH, LOAD, MODE_HYPERVISOR } from '../../traces/batch.js';
import { key } from '../config/key.js';
import { type Emitter, type Row } from './emitter.js';
import { LINE, PAGE } from './kernels.js';
import { count } from './scenario.js';

/** Parameters of a machine that starts HYP mode. */
export const HYP = {
  arch: key(z.enum(['arm64']).default('arm64'), 'architecture of the kernel; for 32-bit Arm see hypArch'),
  hypArch: key(
    z.enum(['arm64', 'arm32-lpae']).default('arm64'),
    'whose kernel addresses the events have: arm64 (48 bits; their lower bits also suit 39), or 32 bits with 3 GiB for users',
  ),
  textPages: key(count(12, 1, 256), 'pages of text of the world switch, the first with the vectors'),
  calls: key(count(4), 'times that each CPU enters HYP when it is up'),
};

export interface HypParameters {
  hypArch: 'arm64' | 'arm32-lpae';
  cpus: number;
  textPages: number;
  calls: number;
}

const PAGE_OFFSET = { arm64: 0xffff_0000_0000_0000n, 'arm32-lpae': 0xc000_0000n };
/** Where memory begins. */
const MEMORY = 0x8000_0000n;
/** Offsets into memory: init page, text, a stack page for each CPU, structures that come and go. */
const INIT = 0x8000n;
const TEXT = 0x10_0000n;
const STACKS = 0x20_0000n;
const STRUCTURES = 0x40_0000n;
const FETCH_INSNS = 16;

const at = (offset: bigint, page: number) => offset + BigInt(page * PAGE);

/** The hypervisor of a scenario. */
export class HypPages {
  constructor(
    private readonly parameters: HypParameters,
    private readonly emit: Emitter,
  ) {}

  /** The kernel's address of a byte of memory. */
  va(offset: bigint): bigint {
    return PAGE_OFFSET[this.parameters.hypArch] + offset;
  }

  /** The HYP address of a CPU's stack, where kern_hyp_va keeps the lower bits. */
  stackHypVa(cpu: number): bigint {
    return this.va(at(STACKS, cpu)) & 0xffff_ffff_ffffn;
  }

  /** The physical address of the init page where nothing else says so. */
  get initPa(): bigint {
    return MEMORY + INIT;
  }

  /** The tables for an init page, the mappings, and the CPUs that are up already, one after the other. */
  *start(cpus: readonly number[], initPa = this.initPa, initPage = 0): Generator<Row> {
    const { emit } = this;
    const { textPages } = this.parameters;
    const init = [this.va(at(INIT, initPage)), initPa] as const;
    yield* emit.event('hyp_init', 0, ...init);
    yield* emit.event('hyp_map', 0, this.va(TEXT), MEMORY + TEXT, textPages);
    yield* emit.event('hyp_map', 0, this.va(STACKS), MEMORY + STACKS, this.parameters.cpus);
    for (const cpu of cpus) yield* emit.event('hyp_init', cpu, ...init);
  }

  /** A CPU enters HYP: vectors, the world switch, its stack. */
  *run(cpu: number): Generator<Row> {
    const { calls, textPages } = this.parameters;
    for (let call = 0; call < calls; call++) {
      for (let page = 0; page < textPages; page++) yield this.row(FETCH, cpu, at(TEXT, page));
      yield this.row(LOAD, cpu, at(STACKS, cpu));
    }
  }

  /** Structures of a guest are mapped, used by every CPU and unmapped. */
  *structures(pages: number, cpus: readonly number[], cpu: number): Generator<Row> {
    yield* this.emit.event('hyp_map', cpu, this.va(STRUCTURES), MEMORY + STRUCTURES, pages);
    for (const user of cpus) for (let page = 0; page < pages; page++) yield this.row(LOAD, user, at(STRUCTURES, page));
    yield* this.emit.event('hyp_unmap', cpu, this.va(STRUCTURES), MEMORY + STRUCTURES, pages);
  }

  private row(kind: number, cpu: number, offset: bigint): Row {
    const fetch = kind === FETCH;
    return {
      ...{ cpu, kind, va: this.va(offset), mode: MODE_HYPERVISOR },
      ...{ size: fetch ? LINE : 8, insns: fetch ? FETCH_INSNS : 0 },
    };
  }
}
