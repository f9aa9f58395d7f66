// Events whose operands no machine can take: each is named with its record, before anything is made of it.

import { expect, it } from 'vitest';
import { OperandLimits } from '../../../host/replay/operands.js';
import { InputError } from '../../../traces/errors.js';
import { EVENTS } from '../../../traces/events.js';

const limits = new OperandLimits('trace.arrow', 4);

function check(name: string, ...operands: bigint[]): void {
  const { kind } = EVENTS.find((event) => event.name === name)!;
  limits.check(7, kind, [...operands, 0n, 0n, 0n, 0n, 0n].slice(0, 5));
}

it.each<[string, bigint[], string]>([
  ['cpu_up', [4n], 'cpu_up with a CPU that the machine has (0 to 3), found 4'],
  ['cpu_suspend', [1n << 32n], 'cpu_suspend with a CPU that the machine has (0 to 3), found 4294967296'],
  ['vm_create', [65536n, 40n], 'vm_create with the number of a virtual machine, 0 to 65535, found 65536'],
  ['vm_create', [1n, 31n], 'vm_create with 32 to 52 address bits, or 0 for the default, found 31'],
  ['vm_create', [1n, 53n], 'vm_create with 32 to 52 address bits, or 0 for the default, found 53'],
  ['vcpu_load', [1n << 32n, 1n], 'vcpu_load with the number of a virtual CPU, below 2^32, found 4294967296'],
  ['s2_fault', [0n, 4096n, 1n, 3n, 0n], 's2_fault with a class of faults, 0 to 2, found 3'],
  [
    's2_fault',
    [0n, 0n, 1n, 0n, 0n],
    's2_fault with at least one byte, and no more than up to the end of 64 bits, found 0',
  ],
  ['s2_unmap', [(1n << 64n) - 4096n, 4097n, 1n], 's2_unmap with at least one byte, and no more than up to the end'],
  ['hyp_init', [0n, 1n << 48n], 'hyp_init with a physical address below 2^48, found 281474976710656'],
  ['hyp_map', [0n, 0n, (1n << 24n) + 1n], 'hyp_map with at most 16777216 pages, found 16777217'],
])('%s %s', (name, operands, message) => {
  expect(() => check(name, ...operands)).toThrow(InputError);
  expect(() => check(name, ...operands)).toThrow(`trace.arrow: record 7: expected ${message}`);
});

it.each<[string, bigint[]]>([
  ['cpu_down', [3n]],
  ['vm_create', [0xffffn, 0n]],
  ['vm_create', [1n, 52n]],
  ['s2_unmap', [(1n << 64n) - 4096n, 4096n, 1n]],
  ['kmap', [1n << 63n, 1n << 63n, 1n << 63n, 9n]],
])('%s %s is taken', (name, operands) => {
  expect(() => check(name, ...operands)).not.toThrow();
});
