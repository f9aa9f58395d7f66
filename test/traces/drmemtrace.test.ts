// DynamoRIO's traces: every rule of its reader on records put together here, a real capture against counts of its records,
// files packed in every way, folders, and what is refused.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import lz4 from 'lz4js';
import { describe, expect, it } from 'vitest';
import yazl from 'yazl';
import { convert } from '../../traces/convert.js';
import { FORMATS } from '../../traces/detect.js';
import { InputError, UsageError } from '../../traces/errors.js';
import { drmemtrace } from '../../traces/formats/drmemtrace.js';
import { type Input } from '../../traces/input.js';
import { type TraceMetadata } from '../../traces/metadata.js';
import { Threads } from '../../traces/threads.js';
import {
  cpuId,
  file,
  FOOTER,
  inputOf,
  instr,
  load,
  marker,
  narrow,
  pid,
  store,
  thread,
  timestamp,
  wide,
  X86,
  type Entry,
} from './drmemtraceFiles.js';
import { MUTANTS, readMutants } from './mutations.js';
import { OPTIONS, plainRows, rowsOf, scratch, type Row } from './support.js';

const path = scratch();
const FIXTURE = fileURLToPath(new URL('../fixtures/drmemtrace/drmemtrace.true.17446.5992.trace.zip', import.meta.url));
const UNKNOWN_PA = 2n ** 64n - 1n;

interface Read {
  rows: Row[];
  counts: Record<string, number>;
  metadata: Partial<TraceMetadata>;
  warnings: string[];
}

async function read(input: Input, set: Record<string, string> = {}, cpus: number | null = null): Promise<Read> {
  const warnings: string[] = [];
  const options = { ...OPTIONS, set, threads: new Threads(cpus), warn: (text: string) => void warnings.push(text) };
  const { batches, columns, metadata } = await drmemtrace.parse(input, options);
  const rows: Row[] = [];
  for await (const batch of batches) rows.push(...plainRows(batch, columns));
  return { rows, counts: metadata().counts!, metadata: metadata(), warnings };
}

const parse = (entries: readonly Entry[], set?: Record<string, string>) => read(inputOf(wide(entries)), set);

/** The columns named, of every row. */
async function columnsOf(entries: readonly Entry[], ...names: (keyof Row)[]): Promise<unknown[][]> {
  return (await parse(entries)).rows.map((row) => names.map((name) => row[name]));
}

async function zipOf(members: Record<string, Buffer>): Promise<Buffer> {
  const zip = new yazl.ZipFile();
  for (const [name, bytes] of Object.entries(members)) zip.addBuffer(bytes, name);
  zip.end();
  const parts: Buffer[] = [];
  for await (const part of zip.outputStream as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

describe('drmemtrace rows', () => {
  it('have thread, process, CPU and time of the records before them', async () => {
    const { rows, metadata } = await parse(
      file([
        timestamp(1000),
        cpuId(3),
        instr(0x40_1000n, 5),
        load(0x7ffc_88be_7458n),
        timestamp(1001),
        store(0x10n, 64),
      ]),
    );
    const first = { cpu: 3, asid: 50, tid: 100, time: 1000n };
    expect(rows).toEqual([
      { ...first, kind: 0, va: 0x40_1000n, size: 5 },
      { ...first, kind: 1, va: 0x7ffc_88be_7458n, size: 8 },
      { ...first, kind: 2, va: 0x10n, size: 64, time: 1001n },
    ]);
    expect(metadata).toMatchObject({ arch: 'x86-64', cpus: 4, clock: 'microseconds since 1601-01-01 UTC', notes: [] });
  });

  it('are fetches for every type of instruction that is fetched', async () => {
    const types = [10, 11, 12, 13, 14, 15, 16, 31, 48, 49];
    const rows = await columnsOf(file(types.map((type, i): Entry => [type, 2, BigInt(i)])), 'kind', 'va');
    expect(rows).toEqual(types.map((_, i) => [0, BigInt(i)]));
  });

  it('are none for instructions that are not fetched, whose accesses stay', async () => {
    const { rows, counts } = await parse(file([instr(0x1000n), load(0x2000n), [29, 4, 0x1000n], load(0x2008n)]));
    expect(rows.map((row) => row.va)).toEqual([0x1000n, 0x2000n, 0x2008n]);
    expect(counts.noFetch).toBe(1);
  });

  it('are none for an instruction of size 0, which only says where the access is from', async () => {
    const { rows, counts } = await parse(file([[10, 0, 0x1000n], load(0x2000n), [29, 0, 0x1000n]]));
    expect(rows.map((row) => row.kind)).toEqual([1]);
    expect(counts.noFetch).toBeUndefined();
  });

  it('are one fetch for a string instruction that may or may not be fetched each time', async () => {
    // 30: fetched unless the instruction before, fetched or not, is at the same address.
    const string: Entry = [30, 2, 0x1000n];
    const { rows, counts } = await parse(file([string, string, instr(0x1002n), string, string]));
    expect(rows.map((row) => row.va)).toEqual([0x1000n, 0x1002n, 0x1000n]);
    expect(counts.noFetch).toBe(2);
  });

  it('are the instructions of a bundle, one after another', async () => {
    // Lengths 3, 5, 1 in the address bytes, after an instruction of 4 bytes at the end of a 32-bit word.
    const entries = file([instr(0x1_ffff_fffcn), [17, 3, 0x01_0503n], [17, 1, 0x02n]]);
    expect(await columnsOf(entries, 'va', 'size')).toEqual([
      [0x1_ffff_fffcn, 4],
      [0x2_0000_0000n, 3],
      [0x2_0000_0003n, 5],
      [0x2_0000_0008n, 1],
      [0x2_0000_0009n, 2],
    ]);
  });

  it('count prefetches, flushes and code bytes, which are no accesses', async () => {
    const prefetches = [2, 3, 9, 27, 32, 46].map((type): Entry => [type, 1, 0x5000n]);
    // A flush is one record with a size, or two without.
    const flushes: Entry[] = [
      [18, 64, 0n],
      [18, 0, 0n],
      [19, 0, 0x2_0000n],
      [20, 8, 0n],
    ];
    // Code bytes in two records belong to one instruction.
    const encoded: Entry[] = [[47, 8, 1n], [47, 2, 2n], instr(0x1000n), [47, 4, 3n], [29, 4, 0x1000n], instr(0x1000n)];
    const { rows, counts } = await parse(file([...prefetches, ...flushes, ...encoded]));
    expect(rows.length).toBe(2);
    expect(counts).toMatchObject({ prefetches: 6, instructionFlushes: 2, dataFlushes: 1, encodings: 2, noFetch: 1 });
  });

  it('count markers as basic_counts does', async () => {
    const markers = [0, 1, 4, 5, 6, 6, 7, 25, 26, 32, 33, 43, 44, 46, 13, 100, 300].map((number) => marker(number, 0));
    const hidden = [22, 29].map((number) => marker(number, 0));
    const { counts } = await parse(file([...markers, ...hidden, timestamp(1), cpuId(0)], 0x4_0040));
    expect(counts).toEqual({
      kernelTransfers: 2,
      functionIds: 1,
      functionReturnAddresses: 1,
      functionArguments: 2,
      functionReturnValues: 1,
      systemCalls: 1,
      blockingSystemCalls: 1,
      waitMarkers: 1,
      idleMarkers: 1,
      hardwareTransfers: 2,
      skippedMemrefs: 1,
      timestampsAndCpuIds: 2,
      // VERSION, FILETYPE, PAGE_SIZE, RSEQ_ABORT (13) and two of a user's own.
      otherMarkers: 6,
    });
  });

  it('stay in order across batches, whatever the chunks of the file are', async () => {
    const many = Array.from({ length: 70_000 }, (_, i) => instr(BigInt(i)));
    const bundle: Entry = [17, 8, 0x0101_0101_0101_0101n];
    const entries = file([...many.slice(0, 65_530), bundle, bundle, ...many.slice(65_530)]);
    const { rows } = await read(inputOf(wide(entries), 12_345));
    expect(rows.length).toBe(70_016);
    const last = 65_529n + 4n;
    expect(rows.slice(65_530, 65_546).map((row) => row.va)).toEqual(
      Array.from({ length: 16 }, (_, i) => last + BigInt(i)),
    );
    expect(rows[65_546].va).toBe(65_530n);
    expect(rows[70_015].va).toBe(69_999n);
  });

  it('skip the timestamp and the CPU that a chunk repeats, and only these', async () => {
    const chunk: Entry[] = [marker(21, 1), marker(22, 9), timestamp(5), cpuId(1)];
    const begin: Entry[] = [timestamp(5), cpuId(1), instr(1n)];
    const end: Entry[] = [instr(2n), timestamp(6), cpuId(2), instr(3n)];
    const { counts } = await parse(file([marker(20, 1), ...begin, ...chunk, ...end]));
    expect(counts.timestampsAndCpuIds).toBe(4);
    // Without a number of instructions per chunk there are no chunks.
    expect((await parse(file([...begin, ...chunk, ...end]))).counts.timestampsAndCpuIds).toBe(6);
  });

  it('take the high half of a value from the record before', async () => {
    // 32-bit targets: SPLIT_VALUE has bits 63 to 32.
    const entries = file([marker(8, 0x2f_bf50n), timestamp(0x1526_f14b), cpuId(0), instr(0x1000n)], 0x10);
    const { rows, metadata } = await read(inputOf(narrow(entries)));
    expect(rows).toEqual([{ cpu: 0, kind: 0, va: 0x1000n, size: 4, asid: 50, tid: 100, time: 0x2f_bf50_1526_f14bn }]);
    expect(metadata.arch).toBeNull();
  });
});

describe('drmemtrace threads and CPUs', () => {
  const switching = file([
    cpuId(2),
    instr(1n),
    thread(200),
    pid(60),
    cpuId(5),
    instr(2n),
    thread(100),
    instr(3n),
    thread(200),
    instr(4n),
  ]);

  it('belong to the records after THREAD, with the process and CPU that the thread was last in', async () => {
    expect(await columnsOf(switching, 'tid', 'asid', 'cpu')).toEqual([
      [100, 50, 2],
      [200, 60, 5],
      [100, 50, 2],
      [200, 60, 5],
    ]);
  });

  it('are on the one core of a core-sharded file, whichever thread runs', async () => {
    const sharded = switching.map((entry): Entry => (entry[0] === 28 && entry[1] === 9 ? marker(9, 0x1_0040) : entry));
    const named = await read(inputOf(wide(sharded), 100, 'drmemtrace.core.000003.trace'));
    expect(named.rows.map((row) => [row.tid, row.cpu])).toEqual([100, 200, 100, 200].map((tid) => [tid, 3]));
    expect(named.metadata.cpus).toBe(4);
    // Without the core's number in the name, the last CPU_ID counts.
    const plain = await read(inputOf(wide(sharded)));
    expect(plain.rows.map((row) => row.cpu)).toEqual([2, 5, 5, 5]);
    await expect(read(inputOf(wide(sharded)), { cpu: 'thread' })).rejects.toThrow(UsageError);
  });

  it('follow the order of appearance where no CPU is known, modulo the CPUs', async () => {
    const unknown = cpuId(2n ** 64n - 1n);
    const three = file([unknown, instr(1n), thread(7), pid(50), instr(2n), thread(8), pid(50), instr(3n)]);
    const { rows, metadata } = await read(inputOf(wide(three)), {}, 2);
    expect(rows.map((row) => row.cpu)).toEqual([0, 1, 0]);
    expect(metadata.notes).toEqual([expect.stringContaining('no CPU is recorded')]);
  });

  it('follow it too where the user says so', async () => {
    const { rows } = await read(inputOf(wide(switching)), { cpu: 'thread' });
    expect(rows.map((row) => row.cpu)).toEqual([0, 1, 0, 1]);
    await expect(read(inputOf(wide(switching)), { cpu: 'core' })).rejects.toThrow(
      /--set cpu=core: expected recorded or/,
    );
  });

  it('leave out the node in the upper bits of a CPU number', async () => {
    expect(await columnsOf(file([cpuId(0x1007), instr(1n)]), 'cpu')).toEqual([[7]]);
  });

  it('of merged workloads are folded into 32 bits', async () => {
    // Workload 3, thread 5: bit 31, 3 << 22, 5.
    const { rows, metadata } = await parse(file([thread((3n << 32n) | 5n), pid(50), cpuId(0), instr(1n)]));
    expect(rows[0].tid).toBe(0x80c0_0005);
    expect(metadata.notes).toEqual([expect.stringContaining('workload << 22')]);
  });
});

describe('drmemtrace physical addresses', () => {
  const mapped = (va: bigint, pa: bigint) => [marker(15, pa), marker(17, va)];
  const missing = (va: bigint) => marker(16, va);

  it('hold for all of a page until they change', async () => {
    const entries = file([
      ...mapped(0x7f72_18f5_0b70n, 0x1_0347_0b70n),
      instr(0x7f72_18f5_0b70n),
      ...mapped(0x10_0000n, 0x1_0000_0000_0000n),
      load(0x10_0ffcn),
      instr(0x7f72_18f5_0fffn),
      ...mapped(0x7f72_18f5_0000n, 0x5000n),
      instr(0x7f72_18f5_0ff0n),
      missing(0x10_0123n),
      load(0x10_0000n),
      load(0x20_0000n),
    ]);
    const { rows, counts } = await parse(entries);
    expect(rows.map((row) => row.pa)).toEqual([
      0x1_0347_0b70n,
      0x1_0000_0000_0ffcn,
      0x1_0347_0fffn,
      0x5ff0n,
      UNKNOWN_PA,
      UNKNOWN_PA,
    ]);
    expect(counts).toMatchObject({ physicalPairs: 3, physicalUnavailable: 1, unknownPa: 2 });
  });

  it('are those of the page of the first byte of an access over two', async () => {
    const entries = file([...mapped(0x1000n, 0x9000n), ...mapped(0x2000n, 0x4000n), load(0x1ffcn, 8)]);
    expect(await columnsOf(entries, 'pa')).toEqual([[0x9ffcn]]);
  });

  it('are at the granularity of PAGE_SIZE', async () => {
    const entries = file([marker(18, 0x20_0000), ...mapped(0x4012_3456n, 0xc0_0000n), load(0x401f_ffffn)]);
    expect(await columnsOf(entries, 'pa')).toEqual([[0xdf_ffffn]]);
  });

  it('are those of the process', async () => {
    const other = [thread(7), pid(60), ...mapped(0x1000n, 0xb000n)];
    const entries = file([
      ...mapped(0x1000n, 0xa000n),
      load(0x1000n),
      ...other,
      load(0x1000n),
      thread(100),
      load(0x1008n),
    ]);
    expect(await columnsOf(entries, 'pa', 'asid')).toEqual([
      [0xa000n, 50],
      [0xb000n, 60],
      [0xa008n, 50],
    ]);
  });

  it('agree with a map of pages for any addresses', async () => {
    const page = fc.bigInt({ min: 0n, max: 2n ** 52n - 1n });
    const access = fc.record({ at: fc.nat(9), offset: fc.nat(4095), remap: fc.option(page), lose: fc.boolean() });
    const pages = fc.uniqueArray(page, { minLength: 10, maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(pages, fc.array(access), async (vpns, accesses) => {
        const model = new Map<bigint, bigint>();
        const expected: bigint[] = [];
        const entries: Entry[] = [missing(0n)];
        for (const { at, offset, remap, lose } of accesses) {
          const va = (vpns[at] << 12n) | BigInt(offset);
          if (remap !== null) {
            entries.push(...mapped(va, remap << 12n));
            model.set(vpns[at], remap);
          } else if (lose) {
            entries.push(missing(va));
            model.delete(vpns[at]);
          }
          entries.push(load(va));
          const frame = model.get(vpns[at]);
          expected.push(frame === undefined ? UNKNOWN_PA : (frame << 12n) | BigInt(offset));
        }
        expect((await parse(file(entries))).rows.map((row) => row.pa)).toEqual(expected);
      }),
    );
  });

  it('give a column when the user says so, and are refused when they come late', async () => {
    const late = file([
      ...Array.from({ length: 6000 }, () => instr(0x1000n)),
      ...mapped(0x1000n, 0x5000n),
      instr(0x1000n),
    ]);
    await expect(parse(late)).rejects.toThrow(/record 6007: expected no physical addresses.*--set pa=yes/);
    const { rows } = await parse(late, { pa: 'yes' });
    expect(rows[0].pa).toBe(UNKNOWN_PA);
    expect(rows[6000].pa).toBe(0x5000n);
  });
});

describe('drmemtrace modes', () => {
  const kernel = file(
    [
      instr(1n),
      marker(27, 0),
      instr(2n),
      marker(43, 0),
      instr(3n),
      marker(44, 0),
      instr(4n),
      marker(28, 0),
      instr(5n),
      marker(34, 0),
      instr(6n),
      marker(35, 0),
      instr(7n),
      marker(43, 0),
      marker(43, 0),
      marker(44, 0),
      instr(8n),
      marker(44, 0),
      instr(9n),
    ],
    0x4_0040,
  );

  it('are kernel within system calls, context switches and hardware events, nested or not', async () => {
    const modes = (await columnsOf(kernel, 'mode')).flat();
    expect(modes).toEqual([0, 1, 1, 1, 0, 1, 0, 1, 0]);
  });

  it('are a column only of files that say so; kernel code elsewhere is refused', async () => {
    expect((await parse(file([instr(1n)]))).rows[0].mode).toBeUndefined();
    const unsaid = kernel.map((entry): Entry => (entry[0] === 28 && entry[1] === 9 ? marker(9, X86) : entry));
    await expect(parse(unsaid)).rejects.toThrow(/record 7: expected no kernel code.*--set mode=yes/);
    expect((await parse(unsaid, { mode: 'yes' })).rows[1].mode).toBe(1);
  });
});

describe('drmemtrace files', () => {
  it('tell what their type leaves out', async () => {
    const filtered = await parse(file([instr(1n)], 0x2188));
    expect(filtered.metadata).toMatchObject({ arch: 'arm64' });
    expect(filtered.metadata.filters).toEqual([
      'fetches that hit a small cache left out, up to the marker FILTER_ENDPOINT',
      'data accesses that hit a small cache left out, up to the marker FILTER_ENDPOINT',
    ]);
    expect(filtered.warnings.length).toBe(2);
    const regdeps = await parse(file([instr(1n)], 0x2_0000));
    expect(regdeps.metadata.notes).toContainEqual(expect.stringContaining('DR_ISA_REGDEPS'));
    expect((await parse(file([instr(1n)], 0x100_0040))).warnings).toEqual([expect.stringContaining('0x1000000')]);
  });

  it.each([2, 3, 4, 5, 6, 7])('of version %i are read', async (version) => {
    expect((await parse(file([instr(1n)], X86, version))).rows.length).toBe(1);
  });

  it.each<[string, Entry[], RegExp]>([
    ['version 8', file([], X86, 8), /record 0: expected version 2 to 7 of the format, found version 8/],
    ['version 1', file([], X86, 1), /record 0: expected version 2 to 7/],
    ['another VERSION', file([marker(12, 9)]), /record 6: expected version 2 to 7 of the format, found version 9/],
    ['a type beyond all', file([[51, 0, 0n]]), /record 6: expected a type from 0 to 49, found 51/],
    ['a second HEADER', file([[25, 0, 7n]]), /record 6: expected one HEADER record at the start/],
    ['a bundle of too many', file([instr(1n), [17, 9, 0n]]), /record 7: .*found a bundle of 9/],
    ['a bundle without an instruction', file([[17, 1, 1n]]), /record 6: expected an instruction/],
    ['an empty instruction in a bundle', file([instr(1n), [17, 2, 1n]]), /record 7: .*found one of 0 bytes/],
    ['a virtual address alone', file([marker(17, 0x1000)]), /record 6: expected a PHYSICAL_ADDRESS before/],
    ['half a value', file([marker(8, 1), instr(1n), timestamp(1)]), /record 8: expected the marker whose/],
    ['an odd page size', file([marker(18, 5000)]), /record 6: expected a page size that is a power of two.*0x1388/],
    ['a page size of 1 KiB', file([marker(18, 1024)]), /record 6: expected a page size/],
    ['no FOOTER', file([instr(1n)]).slice(0, -1), /record 8: expected a FOOTER record.*truncated/],
    ['accesses of no thread', [[25, 0, 7n], marker(12, 7), instr(1n), FOOTER], /record 4: expected THREAD and PID/],
    ['a thread of no process', [[25, 0, 7n], thread(1), instr(1n), thread(2)], /record 3: expected THREAD and PID/],
  ])('with %s are refused', async (_, entries, message) => {
    const error = await parse(entries).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(InputError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toMatch(/^test\.trace: /);
  });

  it('cut within a record are refused', async () => {
    await expect(read(inputOf(wide(file([instr(1n)])).subarray(0, -5)))).rejects.toThrow(/record 8: expected 12 bytes/);
  });

  it('are recognised by their first two records, of either width, and others are not', () => {
    const entries = file([]);
    expect(drmemtrace.detect(wide(entries))).toBe(true);
    expect(drmemtrace.detect(narrow(entries))).toBe(true);
    // Older versions have no VERSION marker.
    expect(drmemtrace.detect(wide([[25, 0, 2n], thread(1), pid(1)]))).toBe(true);
    expect(drmemtrace.detect(wide(entries.slice(1)))).toBe(false);
    expect(drmemtrace.detect(wide([[25, 0, 0n], thread(1), pid(1)]))).toBe(false);
    expect(drmemtrace.detect(wide([[25, 0, 7n], instr(1n), pid(1)]))).toBe(false);
    expect(drmemtrace.detect(Buffer.alloc(0))).toBe(false);
  });

  it('are taken for no other format', () => {
    for (const bytes of [wide(file([instr(1n)])), narrow(file([instr(1n)])), readFileSync(FIXTURE)]) {
      const head = bytes.subarray(0, 65_536);
      // ChampSim's records have no magic: a few of these look like some, so the order of the formats decides.
      expect(FORMATS.find((format) => format.detect(head))!.name).toBe('drmemtrace');
    }
  });

  it('named by the user have to be of the format', async () => {
    await expect(read(inputOf(Buffer.from('I  00001000,2\n')))).rejects.toThrow(/record 0: expected a HEADER record/);
  });
});

describe('drmemtrace packed', () => {
  const first = file([marker(20, 1), timestamp(5), cpuId(1), instr(1n)]).slice(0, -2);
  const second: Entry[] = [marker(22, 9), timestamp(5), cpuId(1), instr(2n), [23, 4, 100n], FOOTER];
  const whole = wide([...first, marker(21, 0), ...second]);
  const chunks = () => ({ 'chunk.00000000': wide([...first, marker(21, 0)]), 'chunk.00000001': wide(second) });

  async function rowsFrom(bytes: Uint8Array): Promise<Row[]> {
    writeFileSync(path('packed'), bytes);
    const { format } = await convert([path('packed')], path('packed.arrow'));
    expect(format).toBe('drmemtrace');
    return rowsOf(path('packed.arrow'));
  }

  it('gives the same rows as plain', async () => {
    const plain = await rowsFrom(whole);
    expect(plain.map((row) => row.va)).toEqual([1n, 2n]);
    expect(await rowsFrom(gzipSync(whole))).toEqual(plain);
    expect(await rowsFrom(lz4.compress(whole))).toEqual(plain);
    expect(await rowsFrom(await zipOf(chunks()))).toEqual(plain);
  });

  it('in a zip has to have all chunks in order, intact', async () => {
    const { 'chunk.00000000': a, 'chunk.00000001': b } = chunks();
    await expect(rowsFrom(await zipOf({ 'chunk.0000': a, 'chunk.0002': b }))).rejects.toThrow(
      /member "chunk.0002": expected chunk.1 of a drmemtrace/,
    );
    const zip = await zipOf(chunks());
    await expect(rowsFrom(zip.subarray(0, -30))).rejects.toThrow(/expected intact zip-compressed data/);
    // A bit of the packed bytes: behind the local header (30 bytes) and the name (14).
    const damaged = Buffer.from(zip);
    damaged[60] ^= 0x10;
    await expect(rowsFrom(damaged)).rejects.toThrow(/expected intact zip-compressed data/);
    expect(drmemtrace.detect(await zipOf({ '1': a }))).toBe(false);
  });

  it('in a zip cannot come through a pipe', async () => {
    const input = { ...inputOf(await zipOf(chunks()), 100, '-'), seekable: () => path('none') } as Input;
    await expect(read(input)).rejects.toThrow(/expected a zip file, found no such file/);
  });
});

describe('drmemtrace folders', () => {
  const one = (tid: number, time: number) =>
    wide([
      [25, 0, 7n],
      marker(9, X86),
      thread(tid),
      pid(50),
      timestamp(time),
      instr(BigInt(tid)),
      timestamp(time + 10),
      instr(BigInt(tid)),
      FOOTER,
    ]);

  it('give the threads of a program by time, on CPUs in the order of the files', async () => {
    mkdirSync(path('app/trace'), { recursive: true });
    mkdirSync(path('app/aux'));
    writeFileSync(path('app/trace/drmemtrace.app.7.trace.gz'), gzipSync(one(7, 105)));
    writeFileSync(path('app/trace/drmemtrace.app.8.trace'), one(8, 100));
    writeFileSync(path('app/trace/cpu_schedule.bin.zip'), await zipOf({ '0': Buffer.alloc(32) }));
    writeFileSync(path('app/trace/serial_schedule.bin.gz'), gzipSync(Buffer.alloc(32)));
    writeFileSync(path('app/aux/v2p.textproto'), '');
    for (const folder of ['app', 'app/trace']) {
      const { metadata } = await convert([path(folder)], path('app.arrow'));
      const rows = await rowsOf(path('app.arrow'));
      expect(rows.map((row) => [row.time, row.tid, row.cpu])).toEqual([
        [100n, 8, 1],
        [105n, 7, 0],
        [110n, 8, 1],
        [115n, 7, 0],
      ]);
      expect(metadata.cpus).toBe(2);
      expect(metadata.counts.timestampsAndCpuIds).toBe(4);
      expect(metadata.source.input.map((input) => input.name)).toEqual([
        'drmemtrace.app.7.trace.gz',
        'drmemtrace.app.8.trace',
      ]);
    }
  });

  it('of the tracer alone are refused with what to do', async () => {
    mkdirSync(path('drmemtrace.app.dir/raw'), { recursive: true });
    writeFileSync(path('drmemtrace.app.dir/raw/app.1.raw.lz4'), '');
    const advice = new RegExp(`found the raw files.*drrun -t drmemtrace -indir ${path('drmemtrace.app.dir')},`);
    await expect(convert([path('drmemtrace.app.dir')], path('x.arrow'))).rejects.toThrow(advice);
    await expect(convert([path('drmemtrace.app.dir/raw')], path('x.arrow'))).rejects.toThrow(advice);
  });
});

describe('a capture of DynamoRIO', () => {
  it('has the records that count.py counts beside it', async () => {
    const { metadata } = await convert([FIXTURE], path('true.arrow'));
    const rows = await rowsOf(path('true.arrow'));
    const fetches = rows.filter((row) => row.kind === 0);
    expect(new Set(fetches.map((row) => row.va)).size).toBe(1180);
    expect(new Set(rows.map((row) => (row.pa as bigint) >> 12n)).size).toBe(18);
    expect(metadata.counts).toEqual({
      fetch: 23_731,
      load: 4439,
      store: 501,
      event: 0,
      insns: 23_731,
      noFetch: 51,
      encodings: 1180,
      timestampsAndCpuIds: 18,
      physicalPairs: 18,
      systemCalls: 1,
      // VERSION, FILETYPE, CACHE_LINE_SIZE, CHUNK_INSTR_COUNT, PAGE_SIZE.
      otherMarkers: 5,
    });
  });

  it('is read or refused when it is damaged, plain and zipped', async () => {
    const zip = readFileSync(FIXTURE);
    const small = wide(
      file([timestamp(1), cpuId(0), ...Array.from({ length: 300 }, (_, i) => load(BigInt(i * 4096)))]),
    );
    for (const bytes of [small, await zipOf({ 'chunk.0000': small }), zip.subarray(0, 3000)]) {
      const { read: whole, refused } = await readMutants(drmemtrace, bytes, path('mutant'));
      expect(whole + refused).toBe(MUTANTS);
      expect(refused).toBeGreaterThan(0);
    }
  }, 3_600_000);
});
