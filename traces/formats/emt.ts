// Records of EMT's QEMU with the walk of every access, 64 bytes, little-endian, no header; layout as in xlab-uiuc's
// dynamorio, clients/drcachesim/reader/qemu_file_reader.h (struct radix_trans_info):
//   0 'M' data, 'F' fetch | 1 1 load, 0 store | 2 u16 CPU | 4 u32 size | 8 va | 16 pa | 24 leaf entry | 32 4 addresses of table entries
//   0 'I' fetch of the first tracers | 1 u8 CPU | 2 u16 size | 4 opcode | 8 as above
//     46010000 04000000 d04100000000ffff d041b10000000000 ...    a fetch of 4 bytes on CPU 0
// Virtual and physical addresses of a whole machine. The walk is counted and not kept: it is what a replay finds out.
// The ECPT build's records of 120 bytes have hashed tables instead of a walk: refused.

import { BATCH_ROWS, FETCH, LOAD, MODE_KERNEL, MODE_USER, STORE, type Batch, type ColumnName } from '../batch.js';
import { recordBlocks } from '../blocks.js';
import { InputError } from '../errors.js';
import { type TraceFormat } from '../format.js';
import { Rows } from '../rows.js';

const RECORD_BYTES = 64;
const ECPT_BYTES = 120;
const WORDS = RECORD_BYTES / 4;
const LEAVES = 8;
const COLUMNS: readonly ColumnName[] = ['cpu', 'kind', 'va', 'pa', 'size', 'mode'];
const LETTER = { M: 77, F: 70, I: 73 };
const MAX_SIZE = 0xffff;

interface Tally {
  records: number;
  cpus: number;
  /** Addresses of table entries, and accesses that have any. */
  walkEntries: number;
  walks: number;
  /** Whether the code that each CPU runs is the kernel's. */
  kernel: Uint8Array;
}

/** Whether the start of a file can be records of so many bytes. */
function fits(head: Uint8Array, bytes: number): boolean {
  const records = Math.floor(head.length / bytes);
  for (let at = 0; at < records * bytes; at += bytes) {
    const letter = head[at];
    const isInstruction = letter === LETTER.I;
    if (letter !== LETTER.M && letter !== LETTER.F && !isInstruction) return false;
    // Sizes are small, loads are 0 or 1.
    if (!isInstruction && (head[at + 1] > 1 || head[at + 5] > 0x10 || head[at + 6] !== 0 || head[at + 7] !== 0))
      return false;
  }
  return records > 0;
}

function parseRecords(words: Uint32Array, from: number, rows: Rows, tally: Tally, source: string): number {
  const { cpu, kind, vaWords, paWords, size, mode } = rows;
  let n = rows.count;
  let at = from;
  for (; at < words.length && n < BATCH_ROWS; at += WORDS) {
    const first = words[at];
    const letter = first & 0xff;
    let bytes = words[at + 1];
    let number = first >>> 16;
    if (letter === LETTER.I) {
      bytes = number;
      number = (first >>> 8) & 0xff;
    } else if (letter !== LETTER.M && letter !== LETTER.F) throw malformed(letter, tally.records + at / WORDS, source);
    if (bytes > MAX_SIZE) throw malformed(letter, tally.records + at / WORDS, source, `a size of ${bytes}`);
    const high = words[at + 3];
    const isFetch = letter !== LETTER.M;
    if (isFetch) tally.kernel[number] = high >>> 31;
    kind[n] = isFetch ? FETCH : ((first >>> 8) & 0xff) !== 0 ? LOAD : STORE;
    cpu[n] = number;
    vaWords[2 * n] = words[at + 2];
    vaWords[2 * n + 1] = high;
    paWords[2 * n] = words[at + 4];
    paWords[2 * n + 1] = words[at + 5];
    size[n] = bytes;
    mode[n] = tally.kernel[number] ? MODE_KERNEL : MODE_USER;
    n++;
    if (number >= tally.cpus) tally.cpus = number + 1;
    let entries = 0;
    while (entries < 4 && (words[at + LEAVES + 2 * entries] | words[at + LEAVES + 2 * entries + 1]) !== 0) entries++;
    tally.walkEntries += entries;
    if (entries > 0) tally.walks++;
  }
  rows.count = n;
  return at;
}

function malformed(letter: number, record: number, source: string, found?: string): InputError {
  return new InputError({
    source,
    at: `record ${record}`,
    expected: 'a first byte M, F or I and a size below 64 KiB',
    found: found ?? `0x${letter.toString(16).padStart(2, '0')}`,
    advice: 'the file is damaged or not in the format emt',
  });
}

async function* parse(chunks: AsyncIterable<Uint8Array>, tally: Tally, source: string): AsyncGenerator<Batch> {
  const rows = new Rows(COLUMNS);
  for await (const block of recordBlocks(chunks, RECORD_BYTES, BATCH_ROWS, source)) {
    const words = new Uint32Array(block.buffer as ArrayBuffer, block.byteOffset, block.length / 4);
    for (let at = 0; at < words.length;) {
      at = parseRecords(words, at, rows, tally, source);
      if (rows.full) yield* rows.take();
    }
    tally.records += words.length / WORDS;
  }
  if (rows.count > 0) yield* rows.take();
}

export const emt: TraceFormat = {
  name: 'emt',
  description: "EMT's QEMU, records of 64 bytes with the walk of every access",
  addresses: 'virtual and physical, kernel and user',
  detect: (head) => fits(head, RECORD_BYTES) || (head.length >= ECPT_BYTES && fits(head, ECPT_BYTES)),
  async parse(input) {
    if (!fits(input.head, RECORD_BYTES) && input.head.length >= ECPT_BYTES && fits(input.head, ECPT_BYTES)) {
      throw new InputError({
        source: input.path,
        expected: 'records of 64 bytes, of radix tables',
        found: 'records of 120 bytes, of the ECPT build with hashed tables',
        advice: 'record the program with the radix build',
      });
    }
    const tally: Tally = { records: 0, cpus: 0, walkEntries: 0, walks: 0, kernel: new Uint8Array(0x1_0000) };
    return {
      columns: COLUMNS,
      batches: parse(input.chunks, tally, input.path),
      metadata: () => ({
        arch: 'x86-64',
        source: { tool: 'EMT QEMU', command: null, input: [] },
        cpus: tally.cpus,
        counts: { walks: tally.walks, walkEntries: tally.walkEntries },
        notes: ['mode is that of the code that the CPU fetched last: kernel where its address has the top bit set'],
      }),
    };
  },
};
