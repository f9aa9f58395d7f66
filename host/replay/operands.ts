// Which operands of events a machine can take: the core trusts them. CPUs that the machine has, guests that the column `vm` can name, ranges that end
// within 64 bits and are not empty. Events of the kinds that are not here take any operand.

import { EVENTS } from '../../traces/events.js';
import { InputError } from '../../traces/errors.js';

/** An operand by its place, and which values of it are taken. */
interface Limit {
  operand: number;
  expected: string;
  takes: (value: bigint, operands: readonly bigint[]) => boolean;
}

const MOST_VMS = 1n << 16n;
const ADDRESS_END = 1n << 64n;
/** KVM_CAP_ARM_VM_IPA_SIZE: 32 to as many as a descriptor can hold; 0: the default. */
const [LEAST_IPA_BITS, MOST_IPA_BITS] = [32n, 52n];
/** Pages of one mapping of HYP: 64 GiB, whose tables are 128 MiB. */
const MOST_HYP_PAGES = 1n << 24n;

const vm = (operand: number): Limit => ({
  operand,
  expected: `the number of a virtual machine, 0 to ${MOST_VMS - 1n}`,
  takes: (value) => value < MOST_VMS,
});
const vcpu: Limit = {
  operand: 0,
  expected: 'the number of a virtual CPU, below 2^32',
  takes: (value) => value < 1n << 32n,
};
const bytes: Limit = {
  operand: 1,
  expected: 'at least one byte, and no more than up to the end of 64 bits',
  takes: (value, [from]) => value > 0n && from + value <= ADDRESS_END,
};
const hypPages: Limit = {
  operand: 2,
  expected: `at most ${MOST_HYP_PAGES} pages`,
  takes: (value) => value <= MOST_HYP_PAGES,
};
const initPa: Limit = {
  operand: 1,
  expected: 'a physical address below 2^48',
  takes: (value) => value < 1n << 48n,
};
const ipaBits: Limit = {
  operand: 1,
  expected: `${LEAST_IPA_BITS} to ${MOST_IPA_BITS} address bits, or 0 for the default`,
  takes: (value) => value === 0n || (value >= LEAST_IPA_BITS && value <= MOST_IPA_BITS),
};
const faultClass: Limit = {
  operand: 3,
  expected: 'a class of faults, 0 to 2',
  takes: (value) => value <= 2n,
};

const BY_NAME: Record<string, readonly Limit[]> = {
  vm_create: [vm(0), ipaBits],
  vm_destroy: [vm(0)],
  vcpu_load: [vcpu, vm(1)],
  s2_fault: [bytes, vm(2), faultClass],
  s2_unmap: [bytes, vm(2)],
  s2_wp: [bytes, vm(2)],
  s2_age: [bytes, vm(2)],
  s2_split: [bytes, vm(2)],
  hyp_init: [initPa],
  hyp_map: [hypPages],
  hyp_unmap: [hypPages],
};

/** Says what is wrong with the operands of an event of a machine with so many CPUs. */
export class OperandLimits {
  private readonly byKind = new Map<number, { name: string; limits: readonly Limit[] }>();

  constructor(
    private readonly source: string,
    cpus: number,
  ) {
    const cpu: Limit = {
      operand: 0,
      expected: `a CPU that the machine has (0 to ${cpus - 1})`,
      takes: (value) => value < BigInt(cpus),
    };
    const limits = { ...BY_NAME, cpu_up: [cpu], cpu_down: [cpu], cpu_suspend: [cpu], cpu_resume: [cpu] };
    for (const { kind, name } of EVENTS) {
      if (name in limits) this.byKind.set(kind, { name, limits: limits[name as keyof typeof limits] });
    }
  }

  /** Throws InputError for an operand that no machine can take. */
  check(record: number, kind: number, operands: readonly bigint[]): void {
    const event = this.byKind.get(kind);
    for (const { operand, expected, takes } of event?.limits ?? []) {
      if (takes(operands[operand], operands)) continue;
      throw new InputError({
        source: this.source,
        at: `record ${record}`,
        expected: `${event!.name} with ${expected}`,
        found: String(operands[operand]),
      });
    }
  }
}
