// A trace against the tables that belong to it: walks every access in the tables as the stores before it left them, with a
// walker of its own (4K granule, four levels, both halves), and compares with the captured physical address.

import { type CapturedTables } from '../../../host/tables/captured.js';
import { MODE_HYPERVISOR, MODE_USER, PA_UNKNOWN, STORE } from '../../../traces/batch.js';
import { kindName, OPERANDS } from '../../../traces/events.js';
import { TraceReader } from '../../../traces/reader.js';

/** What came of it. */
export interface Agreement {
  /** Accesses to upper addresses, to lower ones where the address space is known, and how many agree. */
  kernel: { rows: number; agree: number };
  user: { rows: number; agree: number };
  /** User-mode rows, which the statistics of a capture count. */
  userMode: { rows: number; agree: number };
  /** Stores of the list whose row is a store to that entry. */
  storesAtTheirRow: number;
  events: Record<string, number>;
  phases: Record<string, Record<string, number>>;
}

const UPPER = 1n << 63n;
const OFFSET = 0xfffn;

export async function replayTables(trace: string, { arch, segments, stores }: CapturedTables): Promise<Agreement> {
  const memory = new Map<bigint, BigUint64Array>();
  const load = (page: bigint) => memory.get(page) ?? memory.set(page, new BigUint64Array(512)).get(page)!;
  const addressMask = arch === 'arm64' ? 0xffff_ffff_f000n : 0xf_ffff_ffff_f000n;
  const walk = (root: bigint, va: bigint): bigint | null => {
    let table = root;
    for (const shift of [39n, 30n, 21n, 12n]) {
      const entry = memory.get(table)?.[Number((va >> shift) & 511n)] ?? 0n;
      if ((entry & 1n) === 0n) return null;
      const block = arch === 'arm64' ? (entry & 2n) === 0n : (entry & 0x80n) !== 0n;
      if (shift === 12n || (block && shift < 39n)) {
        const inside = (1n << shift) - 1n;
        return ((entry & addressMask & ~inside) | (va & inside)) & ~OFFSET;
      }
      table = entry & addressMask;
    }
    return null;
  };
  const result: Agreement = {
    ...{ kernel: { rows: 0, agree: 0 }, user: { rows: 0, agree: 0 }, userMode: { rows: 0, agree: 0 } },
    ...{ storesAtTheirRow: 0, events: {}, phases: {} },
  };
  const running = new Map<number, bigint>();
  /** Walks since the tables changed. */
  const walked = new Map<string, bigint | null>();
  let record = 0;
  let nextStore = 0;
  let nextSegment = 0;
  let kernelRoot = 0n;
  let phase: Record<string, number> | null = null;
  const reader = await TraceReader.open(trace);
  try {
    for await (const { rows, cpu, kind, va, pa, mode } of reader.batches()) {
      for (let i = 0; i < rows; i++) {
        if (kind[i] >= OPERANDS) {
          const name = kindName(kind[i]);
          result.events[name] = (result.events[name] ?? 0) + 1;
          if (phase) phase[name] = (phase[name] ?? 0) + 1;
          if (name === 'ctx_switch') running.set(cpu[i], va[i]);
          continue;
        }
        if (kindName(kind[i]) === 'phase_begin') phase = result.phases[`0x${va[i].toString(16)}`] = {};
        if (kindName(kind[i]) === 'phase_end') phase = null;
        if (segments[nextSegment]?.fromRecord === record) {
          memory.clear();
          walked.clear();
          kernelRoot = segments[nextSegment].kernelRoot;
          for (const page of segments[nextSegment++].pages) {
            memory.set(page.pa, new BigUint64Array(page.data.slice().buffer));
          }
        }
        for (; nextStore < stores.count && stores.record(nextStore) === record; nextStore++) {
          const entry = BigInt(stores.pa(nextStore));
          load(entry & ~OFFSET)[Number(entry & OFFSET) / 8] = stores.value(nextStore);
          walked.clear();
          if (kind[i] === STORE && (pa![i] & ~7n) === entry) result.storesAtTheirRow++;
        }
        record++;
        const root = va[i] >= UPPER ? kernelRoot : running.get(cpu[i]);
        if (kind[i] > STORE || mode![i] === MODE_HYPERVISOR || pa![i] === PA_UNKNOWN || root === undefined) continue;
        const key = `${root} ${va[i] >> 12n}`;
        if (!walked.has(key)) walked.set(key, walk(root, va[i]));
        const agree = walked.get(key) === (pa![i] & ~OFFSET) ? 1 : 0;
        const counts = va[i] >= UPPER ? result.kernel : result.user;
        counts.rows++;
        counts.agree += agree;
        if (mode![i] !== MODE_USER) continue;
        result.userMode.rows++;
        result.userMode.agree += agree;
      }
    }
  } finally {
    await reader.close();
  }
  return result;
}
