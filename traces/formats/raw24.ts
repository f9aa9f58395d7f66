// raw24, whole-machine captures of a QEMU plugin: records of 24 bytes, little-endian, no header.
//   offset  0  u64  va; of a marker its number
//   offset  8  u64  pa, all ones when unknown; of a marker its record number
//   offset 16  u32  | 31..21 zero | 20 pa filled in later | 19 no pa | 18 MMIO | 17..16 privilege | 15..12 log2(size) | 11..8 kind | 7..0 vCPU |
//   offset 20  u32  marker or phase number; of a fetch | 31..24 code bytes | 23..16 instructions | 15..0 phase |
//     0100000000000000 0000000000000000 01030000 01000000      marker 1 on vCPU 1
//     08a0400000000000 0810fb5f00000000 01600000 10010208      fetch of 2 instructions at 0x40a008 on vCPU 1, user
// kind: 0 fetch (of a 64-byte line), 1 load, 2 store, 3 marker, 4 control. privilege: 0 user, 1 kernel, 2 EL2.
// Markers 0x100 to 0x7ff begin the phase of that number, 0x800 to 0xeff end the phase 0x700 below; others stay markers.
// A first record that is marker 0x10000 | 1 announces records of kind 4, 0x10000 | 2 that they tell the address spaces:
//   offset  0  u64  what the instruction operates on, all ones when unknown; of a root the table's physical address
//   offset  8  u64  va of the instruction; all ones: the root that the vCPU has when recording begins
//   offset 20  u32  | 31..16 code: 1 root written (CR3, TTBR0_EL1), others of tools/capture/qemu/control.h | 15..0 phase |
// What the machine was stands in files beside the capture (capture.ts).

import { BATCH_ROWS, FETCH, MODE_KERNEL, PA_UNKNOWN, type Batch, type ColumnName } from '../batch.js';
import { recordBlocks } from '../blocks.js';
import { Derivation } from '../derive/derive.js';
import { InputError } from '../errors.js';
import { CTX_SWITCH, MARKER, OPERANDS, PHASE_BEGIN, PHASE_END } from '../events.js';
import { type ParseOptions, type Parsed, type TraceFormat } from '../format.js';
import { type Input } from '../input.js';
import { type TraceMetadata } from '../metadata.js';
import { Rows } from '../rows.js';
import { readCapture, type Capture } from './capture.js';

const RECORD_BYTES = 24;
const WORDS = RECORD_BYTES / 4;
const KIND_MARKER = 3;
const KIND_CONTROL = 4;
const CONTROL_ROOT = 1;
/** Number of the marker that announces what old captures do not have; its low bits say what. */
const FEATURES = 0x10000;
const FEATURE_CONTROLS = 1;
const FEATURE_ROOTS = 2;
/** Number of the marker that a control record becomes, plus its code. */
const CONTROL_MARKER = 0x20000;
const MAX_PRIVILEGE = 2;
const MMIO = 1 << 18;
const NO_PA = 1 << 19;
const RESERVED = 0xffe0_0000;
const PHASE_FIRST = 0x100;
const END_FIRST = 0x800;
const END_LIMIT = 0xf00;
const END_MINUS_BEGIN = END_FIRST - PHASE_FIRST;

/** What the phases of the captures do, by number >> 4; the low four bits are the node that they run on. */
const PHASE_NAMES: Readonly<Record<number, string>> = {
  0x11: 'fork/1',
  0x12: 'fork/N',
  0x13: 'mmap+munmap, untouched',
  0x14: 'mmap+munmap, touched',
  0x15: 'mmap locked+munmap',
  0x16: 'open+close',
  0x17: 'mount procfs',
  0x18: 'signal',
  0x19: 'first touch',
  0x1a: 'create VM',
};

/** What is counted while records are parsed. */
interface Tally {
  records: number;
  mmio: number;
  unknownPa: number;
  phases: number[];
  capture: Capture;
  /** What the first record announces. */
  features: number;
  spaces: AddressSpaces;
}

/** Which address space each vCPU is in; a space is the physical address of its root, and numbered as it appears. */
class AddressSpaces {
  private readonly numbers = new Map<bigint, number>();
  private readonly roots: bigint[] = [];
  /** The number of each vCPU's space, 0 before it is known. */
  readonly asids = new Uint32Array(256);

  /** Enters a space; returns the root that the vCPU had, 0 when that is unknown. */
  enter(cpu: number, root: bigint): bigint {
    const left = this.roots[cpu] ?? 0n;
    if (!this.numbers.has(root)) this.numbers.set(root, this.numbers.size + 1);
    this.asids[cpu] = this.numbers.get(root)!;
    this.roots[cpu] = root;
    return left;
  }
}

async function* parse(input: Input, rows: Rows, tally: Tally, dropMmio: boolean): AsyncGenerator<Batch> {
  for await (const block of recordBlocks(input.chunks, RECORD_BYTES, BATCH_ROWS, input.path)) {
    const words = new Uint32Array(block.buffer as ArrayBuffer, block.byteOffset, block.length / 4);
    for (let at = 0; at < words.length;) {
      at = parseRecords(words, at, rows, tally, dropMmio, input.path);
      if (rows.full) yield* rows.take();
    }
    tally.records += words.length / WORDS;
  }
  if (rows.count > 0) yield* rows.take();
}

/** Turns whole records into rows, from word `from` on until they end or a batch is full; returns where it stopped. */
function parseRecords(
  words: Uint32Array,
  from: number,
  rows: Rows,
  tally: Tally,
  dropMmio: boolean,
  source: string,
): number {
  const { cpu, kind, vaWords, pa, paWords, size, insns, mode, asid, arg } = rows;
  const { nodeCounts, image, linear } = tally.capture;
  const lastKind = lastKindOf(tally.features);
  const withSpaces = (tally.features & FEATURE_ROOTS) !== 0;
  let n = rows.count;
  let at = from;
  for (; at < words.length && n < BATCH_ROWS; at += WORDS) {
    const flags = words[at + 4];
    const recordKind = (flags >>> 8) & 15;
    const privilege = (flags >>> 16) & 3;
    if ((flags & RESERVED) !== 0 || recordKind > lastKind || privilege > MAX_PRIVILEGE) {
      throw malformed(flags, lastKind, tally.records + at / WORDS, source);
    }
    if (recordKind === KIND_CONTROL) {
      n += controlRows(words.subarray(at, at + WORDS), rows, n, tally.spaces);
      continue;
    }
    cpu[n] = flags & 0xff;
    if (withSpaces) asid[n] = tally.spaces.asids[flags & 0xff];
    if (lastKind === KIND_CONTROL) arg[n] = 0n;
    vaWords[2 * n] = words[at];
    vaWords[2 * n + 1] = words[at + 1];
    if (recordKind === KIND_MARKER) {
      if (words[at + 1] !== 0) throw malformed(flags, lastKind, tally.records + at / WORDS, source);
      pa[n] = PA_UNKNOWN;
      size[n] = 0;
      insns[n] = 0;
      mode[n] = MODE_KERNEL;
      kind[n] = markRow(words[at], n++, vaWords, tally);
      continue;
    }
    if ((flags & MMIO) !== 0) {
      tally.mmio++;
      if (dropMmio) continue;
    }
    kind[n] = recordKind;
    size[n] = 1 << ((flags >>> 12) & 15);
    mode[n] = privilege;
    insns[n] = recordKind === FETCH ? (words[at + 5] >>> 16) & 0xff : 0;
    if ((flags & NO_PA) !== 0) {
      pa[n] = PA_UNKNOWN;
      tally.unknownPa++;
    } else {
      const low = (paWords[2 * n] = words[at + 2]);
      const high = (paWords[2 * n + 1] = words[at + 3]);
      if (high === 0xffff_ffff && low === 0xffff_ffff) tally.unknownPa++;
      nodeCounts?.add(cpu[n], high * 2 ** 32 + low);
      (recordKind === FETCH ? image : linear)?.add(words[at + 1], words[at], high, low);
    }
    n++;
  }
  rows.count = n;
  return at;
}

/** The kind of a marker's row; the end of a phase gets the number of the phase. */
function markRow(number: number, row: number, vaWords: Uint32Array, tally: Tally): number {
  if (number >= PHASE_FIRST && number < END_FIRST) {
    if (!tally.phases.includes(number)) tally.phases.push(number);
    return PHASE_BEGIN;
  }
  if (number < END_FIRST || number >= END_LIMIT) return MARKER;
  vaWords[2 * row] = number - END_MINUS_BEGIN;
  return PHASE_END;
}

/**
 * The rows of a control record, from row `n` on; returns their number. A root that is not the one the vCPU has already is
 * a switch of address spaces, with the one left in a second row; everything else is a marker.
 */
function controlRows(words: Uint32Array, rows: Rows, n: number, spaces: AddressSpaces): number {
  const { cpu, kind, va, pa, size, insns, mode, asid, arg } = rows;
  const [low, high, atLow, atHigh, flags, last] = words;
  const vcpu = flags & 0xff;
  const code = last >>> 16;
  const operand = (BigInt(high) << 32n) | BigInt(low);
  const isRoot = code === CONTROL_ROOT && operand !== PA_UNKNOWN;
  const left = isRoot ? spaces.enter(vcpu, operand) : operand;
  const isTold = (atLow & atHigh) >>> 0 === 0xffff_ffff;
  const count = left !== operand ? 2 : isTold ? 0 : 1;
  for (let i = n; i < n + count; i++) {
    cpu[i] = vcpu;
    pa[i] = PA_UNKNOWN;
    size[i] = insns[i] = 0;
    mode[i] = MODE_KERNEL;
    asid[i] = spaces.asids[vcpu];
  }
  if (count === 2) {
    [kind[n], va[n], arg[n]] = [CTX_SWITCH, operand, BigInt(spaces.asids[vcpu])];
    [kind[n + 1], va[n + 1], arg[n + 1]] = [OPERANDS, left, 0n];
  } else if (count === 1) {
    [kind[n], va[n], arg[n]] = [MARKER, BigInt(CONTROL_MARKER + code), operand];
  }
  return count;
}

/** What a capture announces in its first record; 0 for old ones. */
function featuresOf(head: Uint8Array): number {
  if (head.length < RECORD_BYTES || (head[17] & 15) !== KIND_MARKER) return 0;
  const number = new DataView(head.buffer, head.byteOffset).getUint32(0, true);
  return number > FEATURES && number <= FEATURES + FEATURE_CONTROLS + FEATURE_ROOTS ? number - FEATURES : 0;
}

function lastKindOf(features: number): number {
  return features & FEATURE_CONTROLS ? KIND_CONTROL : KIND_MARKER;
}

function malformed(flags: number, lastKind: number, record: number, source: string): InputError {
  return new InputError({
    source,
    at: `record ${record}`,
    expected: `a kind from 0 to ${lastKind}, a privilege from 0 to ${MAX_PRIVILEGE} and bits 21 to 31 zero in the word at offset 16`,
    found: `0x${flags.toString(16).padStart(8, '0')}`,
    advice: 'the file is damaged or not in the format raw24',
  });
}

function phaseName(number: number, { capture, features }: Tally): string {
  const fallback = capture.phases[number] ?? capture.phaseName ?? `phase 0x${number.toString(16)}`;
  // The table is that of captures without features.
  const name = features === 0 && PHASE_NAMES[number >> 4];
  return name ? `${name}, node ${number & 15}` : fallback;
}

export const raw24: TraceFormat = {
  name: 'raw24',
  description: 'whole-machine capture of a QEMU plugin, records of 24 bytes',
  addresses: 'virtual and physical, kernel and user',
  detect(head) {
    const records = Math.floor(head.length / RECORD_BYTES);
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    const flags = (record: number) => view.getUint32(record * RECORD_BYTES + 16, true);
    if (records === 0 || ((flags(0) >>> 8) & 15) !== KIND_MARKER) return false;
    const lastKind = lastKindOf(featuresOf(head));
    for (let record = 0; record < records; record++) {
      if ((flags(record) & RESERVED) !== 0 || ((flags(record) >>> 8) & 15) > lastKind) return false;
    }
    return true;
  },
  async parse(input: Input, options: ParseOptions): Promise<Parsed> {
    const capture = await readCapture(input.path, options);
    const features = featuresOf(input.head);
    const spaces = new AddressSpaces();
    const tally: Tally = { records: 0, mmio: 0, unknownPa: 0, phases: [], capture, features, spaces };
    const derives = options.derive && features === 0;
    const derivation = derives && capture.machine ? await Derivation.of(input.path, capture.machine) : null;
    const dropMmio = options.dropMmio ?? false;
    const columns: readonly ColumnName[] = [
      ...(['cpu', 'kind', 'va', 'pa', 'size', 'insns', 'mode'] as const),
      ...(features & FEATURE_ROOTS ? (['asid'] as const) : []),
      ...(features ? (['arg'] as const) : []),
    ];
    const batches = parse(input, new Rows(columns), tally, dropMmio);
    return {
      columns: derivation ? [...columns, 'arg'] : columns,
      batches: derivation ? derivation.rows(batches, dropMmio) : batches,
      metadata(): Partial<TraceMetadata> {
        const known = capture.metadata();
        return {
          ...known,
          source: { tool: 'QEMU TCG plugin (raw24)', command: null, input: [] },
          phases: tally.phases.map((number) => ({ number, name: phaseName(number, tally) })),
          derived: derivation?.metadata() ?? null,
          notes: [...(known.notes ?? []), ...(derivation?.notes() ?? [])],
          filters: options.dropMmio ? [`dropped ${tally.mmio} MMIO records`] : [],
          counts: { mmio: tally.mmio, unknownPa: tally.unknownPa },
        };
      },
    };
  },
};
