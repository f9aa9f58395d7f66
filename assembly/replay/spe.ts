// Rows of lanes with profiling: the replay runs up to the next row at which the unit of some lane has something to do, and over that row alone. An operation is
// an instruction of a fetch row, or a load or store row.

import { BatchColumns, FETCH, Lane, STORE } from '../layout';
import { NEVER, SPE, SPE_CPU } from '../spe/records';
import { OPERATIONS, Operations } from '../spe/operations';
import { afterRow, beforeRow, nextTime, SampledRow } from '../spe/sample';
import { allocate } from '../memory/arena';
import { Filter, FILTER_CPU, GROUP } from './filter';

const sampled = changetype<SampledRow>(allocate(offsetof<SampledRow>()));

/** Operations of a row. */
// @ts-ignore: decorator
@inline
function operationsOf(columns: BatchColumns, row: u32, kind: u8): u64 {
  return kind == FETCH && columns.insns ? load<u8>(columns.insns + row) : 1;
}

/**
 * How far the rows from `row` to `end` can be replayed at a stretch: up to the next row at which a CPU stops, or, when that is the first one, over it
 * (`isStopRow`). Counts their operations. A row that is no access is a stretch of its own.
 */
export function stretchEnd(columns: BatchColumns, row: u32, end: u32, cpus: u32): u32 {
  stopRow = false;
  if (load<u8>(columns.kind + row) > STORE) return row + 1;
  const first = row;
  while (row < end) {
    row = skipGroups(columns, row, end, cpus);
    if (row == end) break;
    const kind = load<u8>(columns.kind + row);
    const number = <u32>load<u16>(columns.cpu + row * 2);
    if (kind > STORE || number >= cpus) return max(row, first + 1);
    const cpu = OPERATIONS(number);
    const now = cpu.now + operationsOf(columns, row, kind);
    if (now >= cpu.stopAt) {
      if (row > first) return row;
      stopRow = true;
      return row + 1;
    }
    cpu.now = now;
    if (kind == FETCH) cpu.pc = load<u64>(columns.va + row * 8);
    row++;
  }
  return row;
}

/** The last stretch is a single row at which its CPU stops. */
let stopRow: bool = false;

export function isStopRow(): bool {
  return stopRow;
}

/** Counts groups of access rows of one CPU that reach no stop; the row behind them. */
function skipGroups(columns: BatchColumns, row: u32, end: u32, cpus: u32): u32 {
  if (row + GROUP > end) return row;
  const number = <u32>load<u16>(columns.cpu + row * 2);
  if (number >= cpus) return row;
  const cpu = OPERATIONS(number);
  const number8 = i16x8.splat(<i16>number);
  for (; row + GROUP <= end; row += GROUP) {
    const at = columns.cpu + row * 2;
    if (v128.any_true(v128.or(v128.xor(v128.load(at), number8), v128.xor(v128.load(at, 16), number8)))) break;
    const kinds = v128.load(columns.kind + row);
    if (v128.any_true(i8x16.gt_u(kinds, i8x16.splat(STORE)))) break;
    const isFetch = i8x16.eq(kinds, i8x16.splat(FETCH));
    const fetches = <u32>i8x16.bitmask(isFetch);
    let operations: u64 = GROUP;
    if (columns.insns) {
      const counted = v128.and(v128.load(columns.insns + row), isFetch);
      const sums = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(counted));
      const pairs = i32x4.add(sums, i32x4.shuffle(sums, sums, 2, 3, 0, 1));
      operations += i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1) - popcnt(fetches);
    }
    if (cpu.now + operations >= cpu.stopAt) break;
    cpu.now += operations;
    if (fetches) cpu.pc = load<u64>(columns.va + (row + 31 - clz(fetches)) * 8);
  }
  return row;
}

/** Before the row at which its CPU stops. */
export function beforeStop(columns: BatchColumns, row: u32, lane: Lane): void {
  beforeRow(lane, <u32>load<u16>(columns.cpu + row * 2));
}

/** The operations of that row are done. */
export function passStop(columns: BatchColumns, row: u32): Operations {
  const kind = load<u8>(columns.kind + row);
  const cpu = OPERATIONS(<u32>load<u16>(columns.cpu + row * 2));
  cpu.now += operationsOf(columns, row, kind);
  if (kind == FETCH) cpu.pc = load<u64>(columns.va + row * 8);
  cpu.stopAt = NEVER;
  return cpu;
}

/** Behind that row, in a lane. */
export function afterStop(columns: BatchColumns, row: u32, lane: Lane, filter: Filter): void {
  const number = <u32>load<u16>(columns.cpu + row * 2);
  sampled.kind = load<u8>(columns.kind + row);
  sampled.mode = columns.mode ? load<u8>(columns.mode + row) : 0;
  sampled.va = load<u64>(columns.va + row * 8);
  sampled.context = FILTER_CPU(filter, number).context;
  afterRow(lane, number, sampled);
  const v = SPE_CPU(SPE(lane), number).vcpu;
  const cpu = OPERATIONS(number);
  if (v) cpu.stopAt = min(cpu.stopAt, nextTime(v));
}
