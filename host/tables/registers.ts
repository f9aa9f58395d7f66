// registers.json: the control registers of every CPU of a table image, by name. Names are not told apart by case, and
// "SCTLR" is SCTLR_EL1, as QEMU's debugger calls it. Values are hexadecimal text or numbers; a register that is missing
// is an error only when it is needed.

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { InputError } from '../../traces/errors.js';
import { readFault } from '../../traces/files.js';

/** Bits high:low of a register or descriptor. */
export function field(value: bigint, high: number, low: number): number {
  return Number((value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
}

/** One bit of a register or descriptor. */
export function bit(value: bigint, number: number): boolean {
  return ((value >> BigInt(number)) & 1n) === 1n;
}

/** The registers of one CPU. */
export class CpuRegisters {
  constructor(
    readonly cpu: number,
    private readonly values: ReadonlyMap<string, bigint>,
    private readonly source: string,
  ) {}

  has(name: string): boolean {
    return this.values.has(name);
  }

  /** The register's value, or `missing` where the capture does not have it. */
  get(name: string, missing = 0n): bigint {
    return this.values.get(name) ?? missing;
  }

  /** The register's value; InputError where the capture does not have it. */
  need(name: string): bigint {
    const value = this.values.get(name);
    return value ?? this.refuse(`the register ${name}`, 'none');
  }

  /** Throws InputError about this CPU. */
  refuse(expected: string, found: string): never {
    throw new InputError({ source: this.source, at: `cpu ${this.cpu}`, expected, found });
  }
}

/** The registers of a machine, CPUs by number. */
export interface MachineRegisters {
  arch: 'x86-64' | 'arm64';
  cpus: readonly CpuRegisters[];
}

const number = z.union([z.int().nonnegative(), z.string().regex(/^0x[0-9a-f]{1,16}$/i)]);
const document = z.object({
  arch: z.enum(['x86-64', 'arm64']),
  cpus: z.record(z.string().regex(/^\d+$/), z.record(z.string(), z.unknown())),
});

/** Reads registers.json. Throws InputError. */
export function readRegisters(path: string): MachineRegisters {
  const { arch, cpus } = parse(path);
  return {
    arch,
    cpus: Object.entries(cpus)
      .map(([cpu, registers]) => {
        const values = Object.entries(registers).flatMap(([name, value]): [string, bigint][] => {
          const parsed = number.safeParse(value);
          // Captures may note other things about a CPU; only a register that is needed must be readable.
          return parsed.success ? [[nameOf(name), BigInt(parsed.data)]] : [];
        });
        return new CpuRegisters(Number(cpu), new Map(values), path);
      })
      .sort((a, b) => a.cpu - b.cpu),
  };
}

function nameOf(name: string): string {
  const upper = name.toUpperCase();
  return upper === 'SCTLR' ? 'SCTLR_EL1' : upper;
}

function parse(path: string): z.infer<typeof document> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw readFault(error, path, 'the registers of a table image');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InputError({ source: path, expected: 'JSON', found: (error as Error).message });
  }
  const parsed = document.safeParse(value);
  if (parsed.success) return parsed.data;
  const [{ path: at, message }] = parsed.error.issues;
  throw new InputError({
    ...{ source: path, at: at.join('.') || undefined, expected: '"arch" (x86-64 or arm64) and "cpus"' },
    found: message,
  });
}
