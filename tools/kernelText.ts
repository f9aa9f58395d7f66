// Cuts the captures that the experiment kernel-text replays, each a trace with derived events and the page tables that
// belong to it (traces/samples/kernel-text):
//   npm run build && node dist/tools/kernelText.js CAPTURES [OUTPUT]
// CAPTURES is the folder with x86_4l_nokaslr/, arm64_4k_nozva/ and arm64_4k_redis/. Needs the program lz4, which packs a
// third better than the library. Loops are cut after a whole number of iterations, found by what user space repeats:
// the most frequent count of its fetch addresses is the number of iterations, and the first address with that count begins one.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { CompressionType, compressionRegistry } from 'apache-arrow';
import { FETCH, MODE_USER, PA_UNKNOWN, MODE_KERNEL, type Batch } from '../traces/batch.js';
import { convert } from '../traces/convert.js';
import { countRows, noRows } from '../traces/counts.js';
import { readSnapshots } from '../traces/derive/snapshot.js';
import { readTableStores, type TableStores } from '../traces/derive/stores.js';
import { EVENTS, MARKER, OPERANDS, PHASE_BEGIN, PHASE_END } from '../traces/events.js';
import { metadataWith } from '../traces/metadata.js';
import { TraceReader } from '../traces/reader.js';
import { writeTrace } from '../traces/writer.js';

/** How much of every phase stays: iterations by type of phase (number >> 4), a phase without one stays whole; or rows of it. */
interface Sample {
  name: string;
  capture: string;
  iterations: Readonly<Record<number, number>>;
  rows?: number;
}

const LOOPS = { 0x12: 4, 0x13: 8, 0x14: 8, 0x15: 8, 0x16: 8 };

const SAMPLES: readonly Sample[] = [
  { name: 'x86-64', capture: 'x86_4l_nokaslr', iterations: LOOPS },
  { name: 'arm64', capture: 'arm64_4k_nozva', iterations: LOOPS },
  { name: 'redis', capture: 'arm64_4k_redis', iterations: {}, rows: 1_000_000 },
];

/** A place in the whole trace: its row, and the number of rows of kinds 0 to 18 before it, which is the capture's record. */
interface Place {
  row: number;
  record: number;
}

/** Rows [from, to) that stay. */
interface Kept {
  from: Place;
  to: Place;
}

/** How often a phase's loop ran in the capture, and in the sample. */
interface Loop {
  captured: number;
  iterations: number;
}

interface Cut {
  kept: Kept[];
  loops: Map<number, Loop>;
  records: number;
}

compressionRegistry.set(CompressionType.LZ4_FRAME, {
  encode: (bytes) =>
    execFileSync('lz4', ['-12', '-c', '--no-frame-crc'], {
      input: bytes,
      maxBuffer: 1 << 26,
      stdio: ['pipe', 'pipe', 'ignore'],
    }),
});

/** Finds what stays. */
async function findCut(reader: TraceReader, { iterations, rows: limit }: Sample): Promise<Cut> {
  const cut: Cut = { kept: [], loops: new Map(), records: 0 };
  let from: Place = { row: 0, record: 0 };
  let phase: { number: number; cpu: number; seen: Map<bigint, Place[]>; off: Place; limit: Place | null } | null = null;
  const here: Place = { row: 0, record: 0 };
  for await (const { rows, cpu, kind, va, mode } of reader.batches()) {
    for (let i = 0; i < rows; i++, here.row++) {
      if (kind[i] === PHASE_BEGIN) {
        phase = { number: Number(va[i]), cpu: cpu[i], seen: new Map(), off: { ...here }, limit: null };
      } else if (phase && kind[i] === MARKER) phase.off = { ...here };
      else if (phase && kind[i] === PHASE_END) {
        const starts = iterations[phase.number >> 4] ? iterationStarts(phase.seen) : [];
        const count = iterations[phase.number >> 4] ?? 0;
        const cutAt = starts[count] ?? phase.limit;
        if (starts.length > 0)
          cut.loops.set(phase.number, { captured: starts.length, iterations: Math.min(count, starts.length) });
        if (cutAt) {
          cut.kept.push({ from, to: cutAt });
          from = phase.off;
        }
        phase = null;
      } else if (phase && kind[i] === FETCH && mode![i] === MODE_USER && cpu[i] === phase.cpu && !limit) {
        const places = phase.seen.get(va[i]);
        if (places) places.push({ ...here });
        else phase.seen.set(va[i], [{ ...here }]);
      }
      if (phase && here.row === limit) phase.limit = { ...here };
      if (kind[i] < OPERANDS) here.record++;
    }
  }
  cut.kept.push({ from, to: { ...here } });
  cut.records = here.record;
  return cut;
}

/** Where each iteration of a loop begins. */
function iterationStarts(seen: ReadonlyMap<bigint, Place[]>): Place[] {
  const frequency = new Map<number, number>();
  for (const { length } of seen.values()) if (length > 1) frequency.set(length, (frequency.get(length) ?? 0) + 1);
  const [count] = [...frequency].reduce((most, next) => (next[1] > most[1] ? next : most), [0, 0]);
  return [...seen.values()].find(({ length }) => length === count) ?? [];
}

/** An event with all of its operands. */
interface Event {
  cpu: number;
  name: string;
  operands: bigint[];
}

/** What order events that stand for a gap come in. */
const GAP_EVENTS = ['mm_create', 'user_pud_alloc', 'user_pud_free', 'ctx_switch', 'mm_destroy'];
const NAMES = new Map(EVENTS.map(({ kind, name }) => [kind, name]));
const KINDS = new Map(EVENTS.map(({ kind, name }) => [name, kind]));

/** What the address spaces do in rows that do not stay, without those that begin and end there. */
class Gap {
  private events: Event[] = [];

  constructor(private readonly running: Map<number, bigint>) {}

  add(event: Event): void {
    const [first, second] = event.operands;
    if (
      event.name === 'mm_destroy' &&
      this.events.some(({ name, operands }) => name === 'mm_create' && operands[0] === first)
    ) {
      this.events = this.events.filter(({ name, operands }) => operands[name.startsWith('user_') ? 1 : 0] !== first);
    } else if (event.name === 'ctx_switch') {
      this.events = this.events.filter(({ name, cpu }) => name !== 'ctx_switch' || cpu !== event.cpu);
      this.events.push({ ...event, operands: [first, second, this.running.get(event.cpu) ?? 0n] });
    } else if (GAP_EVENTS.includes(event.name)) this.events.push(event);
  }

  /** What is left of it. */
  rest(): Event[] {
    return this.events
      .filter(({ name, cpu, operands }) => name !== 'ctx_switch' || this.running.get(cpu) !== operands[0])
      .sort((a, b) => GAP_EVENTS.indexOf(a.name) - GAP_EVENTS.indexOf(b.name));
  }
}

/** The events of a batch; one whose operands go on in the next batch is not expected, as batches here end between events. */
function* eventsOf({ rows, cpu, kind, va, arg }: Batch): Generator<Event> {
  let event: Event | null = null;
  for (let i = 0; i < rows; i++) {
    if (kind[i] === OPERANDS) event?.operands.push(va[i], arg![i]);
    else {
      if (event) yield event;
      const name = NAMES.get(kind[i]);
      event = name === undefined ? null : { cpu: cpu[i], name, operands: [va[i], arg![i]] };
    }
  }
  if (event) yield event;
}

function toBatch(events: readonly Event[]): Batch {
  const all = events.flatMap(({ cpu, name, operands }) =>
    Array.from({ length: Math.ceil(operands.length / 2) }, (_, i) => ({
      ...{ cpu, kind: i === 0 ? KINDS.get(name)! : OPERANDS, va: operands[2 * i], arg: operands[2 * i + 1] ?? 0n },
    })),
  );
  const rows = all.length;
  return {
    ...{ rows, cpu: Uint16Array.from(all, (row) => row.cpu), kind: Uint8Array.from(all, (row) => row.kind) },
    ...{ va: BigUint64Array.from(all, (row) => row.va), arg: BigUint64Array.from(all, (row) => row.arg) },
    ...{ pa: new BigUint64Array(rows).fill(PA_UNKNOWN), mode: new Uint8Array(rows).fill(MODE_KERNEL) },
    ...{ size: new Uint16Array(rows), insns: new Uint8Array(rows) },
  };
}

/** The rows that stay, and between them what is left of the events that do not. */
async function* keptRows(reader: TraceReader, kept: readonly Kept[]): AsyncGenerator<Batch> {
  const running = new Map<number, bigint>();
  let done = 0;
  for (const { from, to } of kept) {
    if (from.row > done) {
      const gap = new Gap(running);
      for await (const batch of reader.batches({ from: done, to: from.row })) {
        for (const event of eventsOf(batch)) gap.add(event);
      }
      const rest = gap.rest();
      if (rest.length > 0) yield toBatch(rest);
      for (const { name, cpu, operands } of rest) if (name === 'ctx_switch') running.set(cpu, operands[0]);
    }
    for await (const batch of reader.batches({ from: from.row, to: to.row })) {
      for (const { name, cpu, operands } of eventsOf(batch)) if (name === 'ctx_switch') running.set(cpu, operands[0]);
      yield batch;
    }
    done = to.row;
  }
}

/** The number of a record of the capture in the sample; of one that does not stay, that of the next which does. */
function renumber(record: number, kept: readonly Kept[]): number {
  let base = 0;
  for (const { from, to } of kept) {
    if (record < to.record) return base + Math.max(0, record - from.record);
    base += to.record - from.record;
  }
  return base;
}

/** The stores with the sample's record numbers; of several in one gap to one entry, the last. */
function cutStores(stores: TableStores, kept: readonly Kept[]): Buffer {
  const inGap = (record: number) => !kept.some(({ from, to }) => record >= from.record && record < to.record);
  const chosen = new Map<string, number>();
  for (let i = 0; i < stores.count; i++) {
    const record = renumber(stores.record(i), kept);
    const key = inGap(stores.record(i)) ? `${record} ${stores.pa(i)}` : `#${i}`;
    chosen.delete(key);
    chosen.set(key, i);
  }
  const bytes = Buffer.alloc(24 * chosen.size);
  [...chosen.values()].forEach((i, n) => {
    bytes.writeBigUInt64LE(BigInt(renumber(stores.record(i), kept)), 24 * n);
    bytes.writeBigUInt64LE(BigInt(stores.pa(i)), 24 * n + 8);
    bytes.writeBigUInt64LE(stores.value(i), 24 * n + 16);
  });
  return bytes;
}

/** Writes the tables that belong to a sample. */
async function writeTables(capture: string, folder: string, kept: readonly Kept[]): Promise<number> {
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(capture, 'registers.json'), join(folder, 'registers.json'));
  const packed = gzipSync(cutStores((await readTableStores(capture))!, kept), { level: 9 });
  writeFileSync(join(folder, 'table_stores.bin.gz'), packed);
  let bytes = packed.length;
  for (const [n, { folder: from, fromRecord }] of (await readSnapshots(capture)).entries()) {
    const to = join(folder, `snap${n + 1}`);
    mkdirSync(to, { recursive: true });
    const registers = JSON.parse(readFileSync(join(from, 'registers.json'), 'utf8'));
    registers.marker_record_index = renumber(fromRecord, kept);
    writeFileSync(join(to, 'registers.json'), `${JSON.stringify(registers, null, 1)}\n`);
    copyFileSync(join(from, 'tablepages.csv'), join(to, 'tablepages.csv'));
    const pages = gzipSync(readFileSync(join(from, 'tablepages.bin')), { level: 9 });
    writeFileSync(join(to, 'tablepages.bin.gz'), pages);
    bytes += pages.length;
  }
  return bytes;
}

async function cut(sample: Sample, captures: string, output: string, folder: string): Promise<void> {
  const capture = join(captures, sample.capture);
  const whole = join(folder, `${sample.name}.arrow`);
  await convert([join(capture, 'trace.bin.xz')], whole, { warn: say });
  const reader = await TraceReader.open(whole);
  try {
    const { kept, loops } = await findCut(reader, sample);
    const counts = noRows();
    const counted = async function* () {
      for await (const batch of keptRows(reader, kept)) {
        countRows(batch, counts);
        yield batch;
      }
    };
    const original = reader.metadata ?? metadataWith();
    const metadata = () => ({
      ...original,
      source: { ...original.source, origin: `captures/${sample.capture}/trace.bin.xz` },
      phases: original.phases.map((phase) => ({ ...phase, ...loops.get(phase.number) })),
      filters: [...original.filters, describeCut(sample)],
      counts,
    });
    const path = join(output, `${sample.name}.arrow`);
    const { rows, bytes } = await writeTrace(path, reader.columns, counted(), metadata, { compress: 'lz4' });
    const tables = await writeTables(capture, join(output, sample.name), kept);
    say(`${path}: ${rows} rows, ${bytes} bytes, tables ${tables} bytes`);
    for (const [phase, { captured, iterations }] of loops)
      say(`  phase 0x${phase.toString(16)}: ${iterations} of ${captured} iterations`);
  } finally {
    await reader.close();
  }
}

function describeCut({ rows }: Sample): string {
  if (rows) return `kept the first ${rows} rows`;
  return 'kept the first iterations of the loops (phases[].iterations of phases[].captured), everything else whole';
}

function say(message: string): void {
  process.stderr.write(`${message}\n`);
}

async function main([captures, output = join('traces', 'samples', 'kernel-text')]: string[]): Promise<void> {
  if (!captures) {
    say('usage: node dist/tools/kernelText.js CAPTURES [OUTPUT]');
    process.exitCode = 2;
    return;
  }
  mkdirSync(output, { recursive: true });
  const folder = await mkdtemp(join(tmpdir(), 'nodewalk-kernel-text-'));
  try {
    for (const sample of SAMPLES) await cut(sample, captures, output, folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

await main(process.argv.slice(2));
