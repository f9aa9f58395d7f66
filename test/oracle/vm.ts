// The memory of one VM: stage-1 tables and pages at intermediate addresses, and the stage-2 tree that maps those. Tables lie
// from address 0 upwards and are backed when they are made; pages lie in the upper half and are backed when a walk asks.
import { ipaBitsOf, type Format, type Leaf } from './format.js';
import { type Frames, nodeOf } from './placement.js';
import { Tables, type Step } from './tables.js';
import { type Stage2Paging } from './types.js';

/** Intermediate addresses are handed out below 2^48, so that every format can hold them. */
const MOST_IPA_BITS = 48;

/** One VM: what its number tags. */
export class Vm {
  private readonly stage2: Tables;
  private readonly stage2Page: Leaf;
  private tablePages = 0n;
  private nextPageIpa: bigint;

  /** `onMap` hears of every stage-2 mapping. */
  constructor(
    readonly id: number,
    readonly stage1: Tables,
    format: Format,
    paging: Stage2Paging,
    private readonly frames: Frames,
    private readonly onMap: (cpuId: number) => void,
  ) {
    this.stage2 = new Tables(format, true);
    this.stage2Page = format.leaves[0];
    this.nextPageIpa = 1n << BigInt(Math.min(ipaBitsOf(paging), MOST_IPA_BITS) - 1);
  }

  /** The next stage-1 tables, backed at once. */
  newTable(cpu: { id: number; node: number }, tables: number): bigint {
    const bytes = this.stage1.format.tableBytes * BigInt(tables);
    const ipa = this.tablePages * this.stage1.format.tableBytes;
    this.tablePages += BigInt(tables);
    for (let part = ipa; part < ipa + bytes; part += 1n << this.stage2Page.shift) this.back(cpu, part, 'tables');
    this.frames.countTable(nodeOf(this.physical(ipa)!), bytes);
    return ipa;
  }

  /** The address of the next page of 2^shift bytes. */
  newPage(shift: bigint): bigint {
    const bytes = 1n << shift;
    const ipa = ((this.nextPageIpa + bytes - 1n) / bytes) * bytes;
    this.nextPageIpa = ipa + bytes;
    return ipa;
  }

  /** Maps an intermediate address that stage 2 does not map yet, and returns its descriptors. */
  back(cpu: { id: number; node: number }, ipa: bigint, holds: 'data' | 'tables'): Step[] {
    if (this.probe(ipa) === null) {
      this.stage2.map(
        '',
        ipa,
        this.stage2Page,
        (tables) => this.frames.newTable(cpu.node, this.stage2.format.tableBytes, tables),
        () => this.frames.newFrame(holds, cpu.node, ipa, this.stage2Page.shift),
      );
      this.onMap(cpu.id);
    }
    return this.probe(ipa)!;
  }

  /** The stage-2 descriptors of an intermediate address, or null when it is not mapped. */
  probe(ipa: bigint): Step[] | null {
    return this.stage2.probe('', ipa);
  }

  /** Where stage 2 puts an intermediate address; null when it is not mapped. */
  physical(ipa: bigint): bigint | null {
    const path = this.probe(ipa);
    return path && this.stage2.target(path, ipa);
  }

  /** Number of the stage-2 page that holds an intermediate address. */
  pageNumber(ipa: bigint): bigint {
    return ipa >> this.stage2Page.shift;
  }
}
