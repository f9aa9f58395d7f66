// ChampSim traces, records of 64 bytes, and the CloudSuite ones, of 96; little-endian, no header. Layout as in
// ChampSim's inc/trace_instruction.h:
//   ChampSim     0 ip | 8 is branch, taken | 10 2 output registers | 12 4 input registers | 16 2 stores | 32 4 loads
//   CloudSuite   0 ip | 8 is branch, taken | 10 4 output registers | 14 4 input registers | 24 4 stores | 56 4 loads | 88 2 address-space bytes
//     70ab010400000000 0000000000000000 0000000000000000 0000000000000000 ...    an instruction at 0x401ab70
// A store or load is an address; 0 is an unused slot. Virtual addresses of one program, without sizes, threads and time:
// a load or store has 8 bytes, fewer where a line of 64 bytes ends before; a fetch has those up to the next instruction
// where that follows, else 1.

import { BATCH_ROWS, FETCH, LOAD, STORE, type Batch, type ColumnName } from '../batch.js';
import { recordBlocks } from '../blocks.js';
import { InputError, UsageError } from '../errors.js';
import { type TraceFormat } from '../format.js';
import { type Input } from '../input.js';
import { Rows } from '../rows.js';

interface Layout {
  name: string;
  bytes: number;
  /** 32-bit words where the slots are, each of two words. */
  stores: number;
  loads: number;
  loadsEnd: number;
  /** Word with the address space, -1 without. */
  asid: number;
}

const CHAMPSIM: Layout = { name: 'champsim', bytes: 64, stores: 4, loads: 8, loadsEnd: 16, asid: -1 };
const CLOUDSUITE: Layout = { name: 'cloudsuite', bytes: 96, stores: 6, loads: 14, loadsEnd: 22, asid: 22 };
const LAYOUTS = [CHAMPSIM, CLOUDSUITE];

const ACCESS_BYTES = 8;
const LINE_BYTES = 64;
const BLOCK_RECORDS = 16_384;

/** Whether bits 56 to 63 are all equal: what the widest page tables can translate. */
function isCanonical(high: number): boolean {
  return (high + 0x0100_0000) >>> 0 < 0x0200_0000;
}

/** Whether the start of a file can be records of this layout. */
function fits(head: Uint8Array, { bytes, stores, loadsEnd }: Layout): boolean {
  const records = Math.floor(head.length / bytes);
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  for (let record = 0; record < records; record++) {
    const at = record * bytes;
    if (head[at + 8] > 1 || head[at + 9] > 1) return false;
    const ipHigh = view.getUint32(at + 4, true);
    if (!isCanonical(ipHigh) || (ipHigh === 0 && view.getUint32(at, true) === 0)) return false;
    for (let word = stores; word < loadsEnd; word += 2) {
      if (!isCanonical(view.getUint32(at + 4 * word + 4, true))) return false;
    }
  }
  return records > 0;
}

/** The layout of an input: by content, then by its length where both fit. */
function layoutOf({ head, size, path }: Input, wanted: string | undefined): Layout {
  if (wanted !== undefined) {
    const layout = LAYOUTS.find(({ name }) => name === wanted);
    if (layout) return layout;
    throw new UsageError(`--set layout=${wanted}: expected ${LAYOUTS.map(({ name }) => name).join(' or ')}`);
  }
  const fitting = LAYOUTS.filter((layout) => fits(head, layout));
  const exact = fitting.length > 1 ? fitting.filter(({ bytes }) => size !== null && size % bytes === 0) : [];
  const layout = exact[0] ?? fitting[0];
  if (layout) return layout;
  throw new InputError({
    source: path,
    at: 'record 0',
    expected: 'records of 64 bytes (ChampSim) or 96 (CloudSuite) that begin with a canonical address',
    found: head.length < CHAMPSIM.bytes ? `${head.length} bytes` : 'something else',
    advice: '--set layout=champsim or --set layout=cloudsuite reads it all the same',
  });
}

/** Rows that one record makes at most. */
const RECORD_ROWS = 9;
/** Longest instruction: x86's. */
const MAX_INSTRUCTION = 15;
/** Flags of a taken branch in the word behind ip. */
const TAKEN = 0x0101;

/** The fetch row that is waiting for the next instruction, which tells its length. */
interface Pending {
  row: number;
  low: number;
  taken: boolean;
}

/**
 * Turns whole records into rows, from word `from` of the block until it ends or the rows of a batch are there and the
 * pending one lies behind them; returns where it stopped.
 */
function parseRecords(words: Uint32Array, from: number, layout: Layout, rows: Rows, pending: Pending): number {
  const { kind, vaWords, size, asid } = rows;
  const { stores, loads, loadsEnd } = layout;
  const step = layout.bytes / 4;
  let { row: last, low: lastLow, taken } = pending;
  let n = rows.count;
  let at = from;
  for (; at < words.length && n < BATCH_ROWS + RECORD_ROWS; at += step) {
    const ip = words[at];
    const bytes = (ip - lastLow) >>> 0;
    if (!taken && last >= 0 && bytes > 0 && bytes <= MAX_INSTRUCTION) size[last] = bytes;
    last = n;
    lastLow = ip;
    taken = (words[at + 2] & 0xffff) === TAKEN;
    kind[n] = FETCH;
    vaWords[2 * n] = ip;
    vaWords[2 * n + 1] = words[at + 1];
    size[n++] = 1;
    for (let slot = at + loads; slot < at + loadsEnd; slot += 2) {
      const low = words[slot];
      const high = words[slot + 1];
      if ((low | high) === 0) continue;
      kind[n] = LOAD;
      vaWords[2 * n] = low;
      vaWords[2 * n + 1] = high;
      size[n++] = bytesAt(low);
    }
    for (let slot = at + stores; slot < at + loads; slot += 2) {
      const low = words[slot];
      const high = words[slot + 1];
      if ((low | high) === 0) continue;
      kind[n] = STORE;
      vaWords[2 * n] = low;
      vaWords[2 * n + 1] = high;
      size[n++] = bytesAt(low);
    }
    if (layout.asid >= 0) asid.fill(words[at + layout.asid] & 0xffff, last, n);
  }
  rows.count = n;
  Object.assign(pending, { row: last, low: lastLow, taken });
  return at;
}

/** The bytes of an access that ends with its line. */
function bytesAt(low: number): number {
  return Math.min(ACCESS_BYTES, LINE_BYTES - (low & (LINE_BYTES - 1)));
}

async function* parse(input: Input, layout: Layout, columns: readonly ColumnName[]): AsyncGenerator<Batch> {
  const rows = new Rows(columns);
  const pending: Pending = { row: -1, low: 0, taken: false };
  for await (const block of recordBlocks(input.chunks, layout.bytes, BLOCK_RECORDS, input.path)) {
    const words = new Uint32Array(block.buffer as ArrayBuffer, block.byteOffset, block.length / 4);
    for (let at = 0; at < words.length;) {
      at = parseRecords(words, at, layout, rows, pending);
      if (rows.count < BATCH_ROWS + RECORD_ROWS) continue;
      yield rows.batch();
      rows.next();
      pending.row -= BATCH_ROWS;
    }
  }
  for (; rows.count > 0; rows.next()) yield rows.batch();
}

export const champsim: TraceFormat = {
  name: 'champsim',
  description: 'ChampSim and CloudSuite instruction traces, records of 64 or 96 bytes',
  addresses: 'virtual',
  options: { layout: 'champsim (64 bytes) or cloudsuite (96 bytes), where the content does not tell' },
  detect: (head) => LAYOUTS.some((layout) => fits(head, layout)),
  async parse(input, { set }) {
    const layout = layoutOf(input, set.layout);
    const columns: ColumnName[] = ['cpu', 'kind', 'va', 'size', ...(layout.asid >= 0 ? (['asid'] as const) : [])];
    return {
      columns,
      batches: parse(input, layout, columns),
      metadata: () => ({
        source: { tool: layout === CLOUDSUITE ? 'ChampSim (CloudSuite)' : 'ChampSim', command: null, input: [] },
        cpus: 1,
        notes: [
          'without sizes: loads and stores have 8 bytes, cut at the line of 64, fetches those to the next instruction or 1',
        ],
      }),
    };
  },
};
