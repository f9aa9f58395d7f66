// Gives the accesses of a trace the physical addresses of a mapping. Every page of an address space is looked up once.

import { BATCH_ROWS, type Batch, type ColumnName, PA_UNKNOWN, STORE } from '../batch.js';
import { PageMap, VALUE_WORDS } from '../pageMap.js';
import { inOrder } from '../schema.js';
import { type PageMapping } from './mapping.js';

/** What came of it, in accesses. */
export interface Mapped {
  /** With the address of the mapping. */
  mapped: number;
  /** That had an address already, and kept it. */
  kept: number;
  /** That the mapping does not have. */
  unmapped: number;
}

export function noneMapped(): Mapped {
  return { mapped: 0, kept: 0, unmapped: 0 };
}

/** The columns of a trace with physical addresses. */
export function mappedColumns(columns: readonly ColumnName[]): ColumnName[] {
  return inOrder([...new Set<ColumnName>([...columns, 'pa'])]);
}

const KNOWN = 1;
const UNKNOWN_WORD = 0xffff_ffff;

/**
 * The rows with their physical addresses; events get none. Known ones stay, unless `overwrite`. `asid`: the address space of
 * traces without that column. A batch is valid until the next one is asked for.
 */
export async function* withMapping(
  batches: AsyncIterable<Batch>,
  mapping: PageMapping,
  { overwrite, asid: constant }: { overwrite: boolean; asid: number },
  counts: Mapped,
): AsyncGenerator<Batch> {
  const pages = new PageMap();
  let pa = new BigUint64Array(BATCH_ROWS);
  for await (const batch of batches) {
    const { rows, kind, va, asid } = batch;
    if (pa.length < rows) pa = new BigUint64Array(rows);
    if (batch.pa) pa.set(batch.pa);
    else pa.fill(PA_UNKNOWN, 0, rows);
    const vaWords = new Uint32Array(va.buffer, va.byteOffset, 2 * rows);
    const paWords = new Uint32Array(pa.buffer, 0, 2 * rows);
    for (let i = 0; i < rows; i++) {
      if (kind[i] > STORE) continue;
      const known = paWords[2 * i] !== UNKNOWN_WORD || paWords[2 * i + 1] !== UNKNOWN_WORD;
      if (known && !overwrite) {
        counts.kept++;
        continue;
      }
      const low = vaWords[2 * i];
      const high = vaWords[2 * i + 1];
      const space = asid ? asid[i] : constant;
      const slot = VALUE_WORDS * pages.slotOf(high >>> 12, ((high << 20) | (low >>> 12)) >>> 0, space);
      const { values } = pages;
      if (pages.fresh) {
        const found = mapping.translate(va[i] & ~0xfffn, space);
        if (found >= 0n) {
          values[slot] = Number(found & 0xffff_ffffn);
          values[slot + 1] = Number(found >> 32n);
          values[slot + 2] = KNOWN;
        }
      }
      if (values[slot + 2] === KNOWN) {
        paWords[2 * i] = values[slot] | (low & 0xfff);
        paWords[2 * i + 1] = values[slot + 1];
        counts.mapped++;
      } else {
        paWords[2 * i] = paWords[2 * i + 1] = UNKNOWN_WORD;
        counts.unmapped++;
      }
    }
    yield { ...batch, pa: pa.subarray(0, rows) };
  }
}
