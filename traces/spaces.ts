// The address spaces of a trace's rows as small numbers. A translation belongs to the regime (guest or host, hypervisor or
// not), the virtual machine and the ASID; a column that the trace does not have counts as its constant (docs/models.md).

import { type Batch, MODE_GUEST, MODE_HYPERVISOR } from './batch.js';

const REGIME_BITS = MODE_GUEST | MODE_HYPERVISOR;
const ASIDS = 2 ** 32;
const VMS = 2 ** 16;

/** Numbers address spaces as they appear, from 0. */
export class Spaces {
  private readonly numbers = new Map<number, number>();
  private lastKey = -1;
  private lastNumber = 0;

  /** The address space of a row. */
  of({ asid, vm, mode }: Batch, row: number): number {
    const regime = mode === undefined ? 0 : mode[row] & REGIME_BITS;
    const machine = vm === undefined ? 0 : vm[row];
    return this.numberOf(asid === undefined ? 0 : asid[row], machine, regime);
  }

  private numberOf(asid: number, vm: number, regime: number): number {
    // 32 + 16 bits and a regime below 32 fit into the 53 bits of a number.
    const key = (regime * VMS + vm) * ASIDS + asid;
    if (key === this.lastKey) return this.lastNumber;
    let number = this.numbers.get(key);
    if (number === undefined) this.numbers.set(key, (number = this.numbers.size));
    this.lastKey = key;
    this.lastNumber = number;
    return number;
  }

  /** Address spaces seen. */
  get count(): number {
    return this.numbers.size;
  }
}
