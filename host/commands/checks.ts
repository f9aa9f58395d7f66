// The options that translate and explain share: which checks are on, and the addresses themselves.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseAddress } from '../tables/text.js';
import { type Checks } from '../tables/translate.js';

/** As commander hands them over. */
export interface CheckOptions {
  access?: 'r' | 'w' | 'x';
  mode?: 'user' | 'kernel';
  maxphyaddr?: number;
}

const KINDS = { r: 'read', w: 'write', x: 'fetch' } as const;
const MAXPHYADDR = { min: 32, max: 52 };

/** Adds --access, --mode and --maxphyaddr. */
export function withChecks(command: Command): Command {
  return command
    .addOption(
      new Option('--access <kind>', 'check permissions, access flag and reserved bits for r, w or x').choices([
        'r',
        'w',
        'x',
      ]),
    )
    .addOption(
      new Option('--mode <mode>', 'check for this mode (unless given: by the half of the address)').choices([
        'user',
        'kernel',
      ]),
    )
    .option('--maxphyaddr <bits>', 'physical address bits of an x86 CPU, 52 unless given', physicalBits);
}

/** The checks to make; null without --access and --mode. --mode alone reads. */
export function checksOf({ access, mode }: CheckOptions): Checks | null {
  return access || mode ? { kind: KINDS[access ?? 'r'], mode } : null;
}

/** Gathers the values of --va. */
export function addresses(text: string, before: bigint[] | undefined): bigint[] {
  const address = parseAddress(text);
  if (address === null) throw new InvalidArgumentError('Expected hexadecimal with 0x, or decimal.');
  return [...(before ?? []), address];
}

function physicalBits(text: string): number {
  const bits = Number(text);
  if (/^\d+$/.test(text) && bits >= MAXPHYADDR.min && bits <= MAXPHYADDR.max) return bits;
  throw new InvalidArgumentError(`Expected a number from ${MAXPHYADDR.min} to ${MAXPHYADDR.max}.`);
}
