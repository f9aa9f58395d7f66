// The traces of a merge, each with all columns of the whole and with its numbers moved out of the way of the others.

import { basename } from 'node:path';
import { BATCH_ROWS, type Batch, type ColumnName, FETCH, STORE } from '../batch.js';
import { UsageError } from '../errors.js';
import { metadataWith, type TraceMetadata } from '../metadata.js';
import { OperandReader } from '../operands.js';
import { type TraceReader } from '../reader.js';
import { columnOf } from '../schema.js';

/** What can be kept apart. */
export type Separate = 'cpus' | 'asids' | 'vms';

/** One of the traces, and what is added to its numbers. */
export interface Part {
  reader: TraceReader;
  metadata: TraceMetadata;
  cpuOffset: number;
  asidOffset: number;
  vmOffset: number;
  /** Added above the bits of the names of address spaces (mm), which are physical addresses. */
  mmOffset: bigint;
}

const MM_SHIFT = 56n;
/** Traces whose mm can be told apart. */
export const MOST_PARTS = 256;
const LIMITS = { cpu: 2 ** 16, asid: 2 ** 32, vm: 2 ** 16 } as const;

/** The traces with what is added to their numbers: as much as those before them use. */
export async function partsOf(readers: readonly TraceReader[], separate: readonly Separate[]): Promise<Part[]> {
  const parts: Part[] = [];
  const used = { cpu: 0, asid: 0, vm: 0 };
  for (const [i, reader] of readers.entries()) {
    const metadata =
      reader.metadata ?? metadataWith({ source: { tool: basename(reader.path), command: null, input: [] } });
    parts.push({
      ...{ reader, metadata, cpuOffset: used.cpu, asidOffset: used.asid, vmOffset: used.vm },
      mmOffset: separate.includes('asids') ? BigInt(i) << MM_SHIFT : 0n,
    });
    if (separate.includes('cpus'))
      used.cpu += metadata.cpus ?? metadata.cpuNode?.length ?? (await above(reader, 'cpu', 'CPU'));
    if (separate.includes('asids'))
      used.asid += Math.max(await above(reader, 'asid', 'its ASID'), (metadata.constants.asid ?? 0) + 1);
    // Virtual machine 0 is the host, of which there is one for all: 1 of the next trace follows the last of this one.
    if (separate.includes('vms'))
      used.vm += Math.max((await above(reader, 'vm', 'virtual machine')) - 1, metadata.constants.vm ?? 0);
    for (const name of ['cpu', 'asid', 'vm'] as const) {
      if (used[name] > LIMITS[name])
        throw new UsageError(
          `merge: --separate: the traces up to ${reader.path} have more than ${LIMITS[name]} numbers for the column ${name}`,
        );
    }
  }
  return parts;
}

/** One more than the largest number in a column, or in the operands of that meaning. */
async function above(reader: TraceReader, name: 'cpu' | 'asid' | 'vm', meaning: string): Promise<number> {
  let largest = 0;
  const operands = new OperandReader();
  for await (const { rows, kind, va, arg, [name]: values } of reader.batches({
    columns: ['cpu', 'kind', 'va', 'arg', name],
  })) {
    if (values) for (let i = 0; i < rows; i++) if (values[i] > largest) largest = values[i];
    for (let i = 0; i < rows; i++) {
      if (kind[i] <= STORE) continue;
      const held = operands.read(kind[i]);
      if (held.va === meaning) largest = Math.max(largest, Number(va[i]));
      if (held.arg === meaning && arg) largest = Math.max(largest, Number(arg[i]));
    }
  }
  return largest + 1;
}

/** The rows of one trace with all columns, its numbers moved. */
export async function* filledRows(part: Part, columns: readonly ColumnName[]): AsyncGenerator<Batch> {
  const { reader, metadata } = part;
  const absent = columns.filter((name) => !reader.columns.includes(name));
  const filled = new Map(absent.map((name) => [name, constantColumn(name, metadata)]));
  const operands = new OperandReader();
  for await (const batch of reader.batches({ columns: reader.columns.filter((name) => columns.includes(name)) })) {
    const whole = { ...batch };
    for (const [name, values] of filled) {
      // Batches of other tools may be larger than ours.
      if (values.length < batch.rows) filled.set(name, constantColumn(name, metadata, batch.rows));
      Object.assign(whole, { [name]: filled.get(name)!.slice(0, batch.rows) });
    }
    move(whole, part, operands);
    yield whole;
  }
}

/** The value that an absent column stands for, in every row. Instructions are those of fetches. */
function constantColumn(name: ColumnName, { constants }: TraceMetadata, rows = BATCH_ROWS) {
  const values = new (columnOf(name).array)(rows);
  const value = constants[name] ?? { insns: 1, pa: -1 }[name as string] ?? 0;
  if (values instanceof BigUint64Array) values.fill(BigInt.asUintN(64, BigInt(value)));
  else values.fill(value);
  return values;
}

/** Adds the offsets to the columns and to the operands of events, in place. */
function move(batch: Batch, part: Part, operands: OperandReader): void {
  const { cpuOffset, asidOffset, vmOffset, mmOffset } = part;
  const { rows, kind, cpu, asid, vm, va, arg, insns } = batch;
  if (insns && !part.reader.columns.includes('insns'))
    for (let i = 0; i < rows; i++) if (kind[i] !== FETCH) insns[i] = 0;
  if (cpuOffset > 0) for (let i = 0; i < rows; i++) cpu[i] += cpuOffset;
  if (asidOffset > 0 && asid) for (let i = 0; i < rows; i++) asid[i] += asidOffset;
  if (vmOffset > 0 && vm) for (let i = 0; i < rows; i++) if (vm[i] !== 0) vm[i] += vmOffset;
  if (cpuOffset === 0 && asidOffset === 0 && vmOffset === 0 && mmOffset === 0n) return;
  const moved = (meaning: string | undefined, value: bigint): bigint => {
    if (meaning === undefined) return value;
    if (/^CPU(;|$)/.test(meaning)) return value + BigInt(cpuOffset);
    if (meaning === 'its ASID') return value + BigInt(asidOffset);
    if (meaning === 'virtual machine') return value === 0n ? value : value + BigInt(vmOffset);
    // 0 is the kernel's own.
    if (meaning.startsWith('address space (mm)')) return value === 0n ? value : value + mmOffset;
    return value;
  };
  for (let i = 0; i < rows; i++) {
    if (kind[i] <= STORE) continue;
    const held = operands.read(kind[i]);
    va[i] = moved(held.va, va[i]);
    if (arg) arg[i] = moved(held.arg, arg[i]);
  }
}
