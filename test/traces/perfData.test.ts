// perf.data: real files against what perf itself prints of them, files made here byte by byte, what is refused, what is
// written and read again, and damage.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { zstdFrame } from './zstd.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Batch, type ColumnName } from '../../traces/batch.js';
import { InputError, UsageError } from '../../traces/errors.js';
import { perfData as exporter, perfDataOfSpe } from '../../traces/export/perfData.js';
import { perfData } from '../../traces/formats/perfData.js';
import { spe } from '../../traces/formats/spe.js';
import { metadataWith } from '../../traces/metadata.js';
import { encodeRecord, RECORD_BYTES, type SpeRecord } from '../../traces/spe/encode.js';
import { FUZZ_RUNS, mutate, random, readAs } from './perf.js';
import { batchOf, eachOf, scratch, type Row } from './support.js';

const path = scratch();
const FIXTURES = fileURLToPath(new URL('../fixtures/perf/', import.meta.url));
const fixture = (name: string) => readFileSync(FIXTURES + name);
const UNKNOWN = 2n ** 64n - 1n;
const hasPerf = spawnSync('perf', ['--version']).error === undefined;

/** u64 words, little-endian. */
const words = (...values: (number | bigint)[]) => {
  const bytes = Buffer.alloc(8 * values.length);
  values.forEach((value, i) => bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), 8 * i));
  return bytes;
};
/** Two u32 in a word. */
const pair = (low: number, high: number) => words(BigInt(low >>> 0) | (BigInt(high >>> 0) << 32n));

function record(type: number, misc: number, ...payload: Buffer[]): Buffer {
  const body = Buffer.concat(payload);
  const header = Buffer.alloc(8);
  header.writeUInt32LE(type);
  header.writeUInt16LE(misc, 4);
  header.writeUInt16LE(8 + body.length, 6);
  return Buffer.concat([header, body]);
}

const SAMPLE = 9;
const IP = 1;
const TID = 2;
const TIME = 4;
const ADDR = 8;
const CPU = 0x80;
const WEIGHT = 0x4000;
const DATA_SRC = 0x8000;
const IDENTIFIER = 0x10000;
const PHYS_ADDR = 0x80000;
const SAMPLE_ID_ALL = 1 << 18;

interface Event {
  type?: number;
  config?: number;
  period?: number;
  sampleType: number;
  readFormat?: number;
  flags?: number;
  branchType?: number;
  userRegisters?: number;
  interruptRegisters?: number;
}

/** struct perf_event_attr, 112 bytes as of version 5. */
function attributes({ type = 4, config = 1, period = 1, flags = 0, ...event }: Event): Buffer {
  return Buffer.concat([
    pair(type, 112),
    words(config, period, event.sampleType, event.readFormat ?? 0, flags, 0, 0, 0),
    words(event.branchType ?? 0, event.userRegisters ?? 0, 0, event.interruptRegisters ?? 0, 0),
  ]);
}

/** A perf.data: header, ids, attributes, data. */
function file(events: { event: Event; ids?: number[] }[], ...records: Buffer[]): Buffer {
  const ids = events.map((each) => words(...(each.ids ?? [])));
  const attrsAt = 104 + ids.reduce((sum, { length }) => sum + length, 0);
  const data = Buffer.concat(records);
  const dataAt = attrsAt + events.length * 128;
  let idsAt = 104;
  const entries = events.map(({ event }, i) => {
    const entry = Buffer.concat([attributes(event), words(idsAt, ids[i].length)]);
    idsAt += ids[i].length;
    return entry;
  });
  const header = words(104, 128, attrsAt, events.length * 128, dataAt, data.length, 0, 0, 0, 0, 0, 0);
  return Buffer.concat([Buffer.from('PERFILE2'), header, ...ids, ...entries, data]);
}

const piped = (...records: Buffer[]) => Buffer.concat([Buffer.from('PERFILE2'), words(16), ...records]);

const messageOf = async (bytes: Uint8Array) => {
  const error = await readAs(perfData, bytes).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(InputError);
  return (error as InputError).message;
};

describe('perf.data of a real recording', () => {
  /** What perf script printed, in the order of time. */
  const printed = (name: string): Row[] =>
    fixture(name)
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => {
        const [, tid, cpu, seconds, fraction, va] = /(\d+) \[(\d+)\] (\d+)\.(\d{9}): page-faults:\s+(\w+)/.exec(line)!;
        // Behind data_src: a weight where it was recorded, ip, phys_addr, a page size where it was recorded.
        const [ip, pa] = line
          .replace(/.*BLK +N\/A/, '')
          .trim()
          .split(/\s+/)
          .filter((word) => word.length > 1 && !/^(N\/A|[24][KM])$/.test(word))
          .concat('0');
        return {
          cpu: Number(cpu),
          kind: 1,
          va: BigInt(`0x${va}`),
          pa: pa === '0' ? UNKNOWN : BigInt(`0x${pa}`),
          mode: ip.startsWith('ffff') ? 1 : 0,
          tid: Number(tid),
          time: BigInt(seconds) * 1_000_000_000n + BigInt(fraction),
        };
      });
  const byTime = (rows: Row[]) => rows.sort((a, b) => Number((a.time as bigint) - (b.time as bigint)));

  it.each(['faults', 'faults-zstd', 'faults-pipe'])(
    'gives the samples of %s as perf script prints them',
    async (name) => {
      for (const chunkBytes of [1, 1000, 1 << 20]) {
        const { rows } = await readAs(perfData, fixture(`${name}.data`), {}, { chunkBytes });
        expect(byTime(rows)).toEqual(printed(`${name}.script.txt`));
      }
    },
  );

  it('says what is known of the machine and of the recording', async () => {
    const { metadata } = await readAs(perfData, fixture('faults.data'));
    expect(metadata).toMatchObject({
      source: { tool: 'perf 6.1.187', command: expect.stringMatching(/^\/usr\/bin\/perf record -e page-faults -c 1/) },
      arch: 'x86-64',
      cpus: 4,
      cpuNode: [0, 0, 0, 0],
      clock: 'ns',
    });
    expect(metadata.counts!.samples).toBe(printed('faults.script.txt').length);
    // Software, page faults.
    expect(metadata.notes).toContain('sampled: one in 1 of event 2 of PMU type 1');
  });
});

it('CPUs that are on more nodes than one are damage: they tell nothing', async () => {
  const nodesOf = async (list: string) => {
    const text = Buffer.from(`${list}\0`.padEnd(Math.ceil((list.length + 1) / 8) * 8, '\0'));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    // NUMA topology (14): one node, number 0, its total and free memory, its CPUs.
    const nodes = Buffer.concat([pair(1, 0), words(0, 0).subarray(0, 16), length, text]);
    const event = record(64, 0, attributes({ sampleType: IP | ADDR }));
    const sample = record(SAMPLE, 2, words(0x400000, 0x1000));
    return (await readAs(perfData, piped(event, record(80, 0, words(14), nodes), sample))).metadata.cpuNode;
  };
  expect(await nodesOf('0-3')).toEqual([0, 0, 0, 0]);
  // 65536 CPUs are the most: these are twice as many.
  expect(await nodesOf('0-65535,0-65535')).toBe(null);
});

describe('samples', () => {
  const LOAD = 2n;
  const STORE = 4n;
  const MISS = 4n << 26n;
  const HIT = 2n << 26n;
  const REMOTE = 1n << 37n;

  it('become rows: kind of data_src, mode of the record, physical address where there is one', async () => {
    const sampleType = IP | TID | TIME | ADDR | CPU | WEIGHT | DATA_SRC | PHYS_ADDR;
    const sample = (misc: number, ip: bigint, address: number, dataSrc: bigint, pa: number) =>
      record(SAMPLE, misc, words(ip), pair(10, 11), words(1000, address), pair(3, 0), words(200, dataSrc, pa));
    const bytes = file(
      [{ event: { sampleType, period: 50 } }],
      // misc: 2 user, 1 kernel, 3 hypervisor, 5 guest user, 0 unknown: then the half of the address space tells.
      sample(2, 0x400000n, 0x1000, LOAD | MISS, 0x8000),
      sample(1, 0xffff_ffff_8100_0000n, 0x2000, STORE | HIT | REMOTE, 0),
      sample(3, 0x1n, 0x3000, 16n, 0x9000),
      sample(5, 0x1n, 0x4000, 8n, 0x9000),
      sample(0, 0xffff_8000_0000_0000n, 0x5000, 1n, 0x9000),
      sample(2, 0x400000n, 0, LOAD, 0),
    );
    const { rows, metadata } = await readAs(perfData, bytes);
    const common = { cpu: 3, tid: 11, time: 1000n };
    expect(rows).toEqual([
      { ...common, kind: 1, va: 0x1000n, pa: 0x8000n, mode: 0 },
      { ...common, kind: 2, va: 0x2000n, pa: UNKNOWN, mode: 1 },
      { ...common, kind: 0, va: 0x3000n, pa: 0x9000n, mode: 2 },
      { ...common, kind: 1, va: 0x4000n, pa: 0x9000n, mode: 16 },
      { ...common, kind: 1, va: 0x5000n, pa: 0x9000n, mode: 1 },
    ]);
    expect(metadata.counts).toEqual({
      samples: 6,
      accesses: 5,
      noAddress: 1,
      unknownOperation: 1,
      unknownPa: 1,
      tlbAccess: 2,
      tlbWalk: 1,
      remoteAccess: 1,
      latencies: 5,
      latencyCycles: 1000,
    });
    // One walk and one remote access of five.
    expect(metadata.notes).toContain('20.00 % of the sampled accesses needed a table walk');
    expect(metadata.notes).toContain('20.00 % of the sampled accesses were remote');
    expect(metadata.notes).toContain('sampled: one in 50 of event 1 of PMU type 4');
  });

  it('add the instruction as a fetch row where that is asked for', async () => {
    const bytes = file(
      [{ event: { sampleType: IP | ADDR } }],
      record(SAMPLE, 2, words(0x400000, 0x1000)),
      record(SAMPLE, 2, words(0x400004, 0)),
    );
    const { rows } = await readAs(perfData, bytes, { fetch: 'true' });
    expect(rows.map(({ kind, va }) => [kind, va])).toEqual([
      [0, 0x400000n],
      [1, 0x1000n],
      [0, 0x400004n],
    ]);
    await expect(readAs(perfData, bytes, { fetch: 'yes' })).rejects.toThrow(UsageError);
  });

  it('are read past every field that may stand before the address of the data', async () => {
    // ID, STREAM_ID, PERIOD, READ of a group, CALLCHAIN, RAW, BRANCH_STACK, REGS_USER, STACK_USER, TRANSACTION, REGS_INTR.
    const sampleType =
      IDENTIFIER |
      IP |
      TID |
      TIME |
      ADDR |
      0x40 |
      CPU |
      0x100 |
      0x200 |
      0x10 |
      0x20 |
      0x400 |
      0x800 |
      0x1000 |
      0x2000 |
      WEIGHT |
      DATA_SRC |
      0x20000 |
      0x40000 |
      PHYS_ADDR;
    const event = { sampleType, readFormat: 15, branchType: 1 << 17, userRegisters: 5, interruptRegisters: 0xff };
    const sample = record(
      SAMPLE,
      2,
      words(7, 0x400000),
      pair(1, 2),
      words(3, 0x1000, 7, 8),
      pair(5, 0),
      words(9),
      // A group of 2: nr, two times, and { value, id } each.
      words(2, 0, 0, 1, 1, 2, 2),
      words(3, 1, 2, 3),
      // RAW: u32 size and as many bytes, 8 together.
      pair(4, 0xffff_ffff),
      // One branch, with the hardware's index before it.
      words(1, 0, 1, 2, 3),
      // ABI, and the two registers of the mask 5.
      words(2, 1, 2),
      // 16 bytes of stack, and how many of them count.
      words(16, 1, 2, 16),
      words(77, 2, 0),
      words(2, 1, 2, 3, 4, 5, 6, 7, 8),
      words(0xabcd000),
    );
    const { rows } = await readAs(perfData, file([{ event, ids: [7] }], sample));
    expect(rows).toEqual([{ cpu: 5, kind: 1, va: 0x1000n, pa: 0xabcd000n, mode: 0, tid: 2, time: 3n }]);
  });

  it('may have no registers and no stack, and lost counts with what was read', async () => {
    // IP, ADDR, READ, REGS_USER, STACK_USER, PHYS_ADDR; what was read: { value, id, lost } behind no times (format 4 | 16), in a group (8) of 2 or alone.
    const sampleType = IP | ADDR | 0x10 | 0x1000 | 0x2000 | PHYS_ADDR;
    for (const [readFormat, read] of [
      [4 | 16, words(9, 1, 0)],
      [4 | 8 | 16, words(2, 9, 1, 0, 9, 2, 0)],
    ] as const) {
      // ABI 0: no registers follow. A stack of no bytes: no count of them either.
      const sample = record(SAMPLE, 2, words(0x400000, 0x1000), read, words(0, 0, 0xabcd000));
      const { rows } = await readAs(perfData, file([{ event: { sampleType, readFormat, userRegisters: 5 } }], sample));
      expect(rows).toMatchObject([{ va: 0x1000n, pa: 0xabcd000n }]);
    }
  });

  it('are those of the event that their id names', async () => {
    const bytes = file(
      [
        { event: { sampleType: IDENTIFIER | ADDR }, ids: [1, 2] },
        { event: { sampleType: IDENTIFIER | TIME | ADDR }, ids: [3] },
      ],
      record(SAMPLE, 2, words(2, 0x1000)),
      record(SAMPLE, 2, words(3, 99, 0x2000)),
    );
    const { rows } = await readAs(perfData, bytes);
    expect(rows.map(({ va, time }) => [va, time])).toEqual([
      [0x1000n, 0n],
      [0x2000n, 99n],
    ]);
  });

  it('without a CPU run on one by order of their threads', async () => {
    const sample = (tid: number) => record(SAMPLE, 2, pair(1, tid), words(0x1000));
    const bytes = file([{ event: { sampleType: TID | ADDR } }], sample(70), sample(30), sample(70));
    const { rows, metadata } = await readAs(perfData, bytes);
    expect(rows.map(({ cpu }) => cpu)).toEqual([0, 1, 0]);
    expect(metadata.notes!.join()).toMatch(/thread k in order of appearance runs on CPU k/);
  });
});

/** Packets of records of 64 bytes. */
function packets(...records: SpeRecord[]): Buffer {
  const bytes = Buffer.alloc(records.length * RECORD_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  records.forEach((each, i) => encodeRecord(view, i * RECORD_BYTES, each));
  return bytes;
}
const auxtrace = (bytes: Buffer, cpu: number, { offset = 0, tid = -1, index = cpu } = {}) =>
  Buffer.concat([record(71, 0, words(bytes.length, offset, 0), pair(index, tid), pair(cpu, 0)), bytes]);
const SPE_EVENT = { event: { type: 8, period: 4096, sampleType: TID | TIME | CPU, flags: SAMPLE_ID_ALL } };
const SPE_INFO = record(70, 0, pair(4, 0), words(8, 1));
const LOAD_AT = (va: bigint, more: SpeRecord = {}): SpeRecord => ({ operationClass: 1, operation: 0, va, ...more });

describe('Arm SPE data', () => {
  it('becomes rows: CPU, thread, mode, physical address and time', async () => {
    const kernel = 0xffff_8000_0000_0000n;
    const bytes = file(
      [SPE_EVENT],
      // 10 ns a tick, which began at 500: shift 1, factor 20.
      record(79, 0, words(1, 20, 500)),
      SPE_INFO,
      auxtrace(
        packets(
          LOAD_AT(0x1000n, { pc: 0x400000n, el: 0, context: 42, pa: 0x8000n, timestamp: 7n }),
          // EL1, and EL2 of a host kernel: the upper half. EL2 of a hypervisor: the lower half.
          // A store of a vector register: bit 0 and bit 2.
          { operationClass: 1, operation: 5, va: 0x2000n, pc: kernel, el: 1, context: 42, timestamp: 8n },
          LOAD_AT(0x3000n, { pc: kernel, el: 2, context: 42, timestamp: 9n }),
          LOAD_AT(0x4000n, { pc: 0x1000n, el: 2, context: 42, timestamp: 10n }),
          // No PC: by the half of the data. No timestamp: as old as the last.
          LOAD_AT(kernel, { context: 42 }),
          // Not a load or store; no address.
          { operationClass: 2, operation: 0, pc: 0x400000n, timestamp: 11n },
          { operationClass: 1, operation: 0, pc: 0x400000n, timestamp: 11n },
        ),
        1,
      ),
    );
    const { rows, metadata } = await readAs(perfData, bytes);
    const common = { cpu: 1, kind: 1, pa: UNKNOWN, tid: 42 };
    expect(rows).toEqual([
      { ...common, va: 0x1000n, pa: 0x8000n, mode: 0, time: 570n },
      { ...common, kind: 2, va: 0x2000n, mode: 1, time: 580n },
      { ...common, va: 0x3000n, mode: 1, time: 590n },
      { ...common, va: 0x4000n, mode: 2, time: 600n },
      { ...common, va: kernel, mode: 1, time: 600n },
    ]);
    expect(metadata).toMatchObject({
      arch: 'arm64',
      clock: 'ns',
      counts: { samples: 7, accesses: 5, noAddress: 1, unknownPa: 4 },
    });
    expect(metadata.notes).toContain('sampled: one in 4096 operations (Arm SPE)');
  });

  it('is counted: walks, remote accesses, latencies, and data sources by core', async () => {
    // Version 2: header of 4 words, PMU type 8, 2 CPUs, each { magic, CPU, 3 words follow, MIDR, PMU type, interval }.
    const info = record(70, 0, pair(4, 0), words(2, 4, 8, 2, 1, 0, 3, 0x413fd0c1, 8, 256, 1, 1, 3, 0x480fd060, 8, 256));
    const walk = 1 << 5;
    const remote = 1 << 10;
    const bytes = file(
      [SPE_EVENT],
      info,
      auxtrace(
        packets(
          LOAD_AT(0x1000n, { events: 0x10, source: 0, total: 10, translation: 1 }),
          LOAD_AT(0x1000n, { events: 0x10 | walk | remote, source: 13, total: 490, translation: 80 }),
          // A store tells no data source.
          { operationClass: 1, operation: 1, va: 0x1000n, events: 0x10, source: 0 },
        ),
        0,
      ),
      auxtrace(packets(LOAD_AT(0x1000n, { events: 0x10, source: 9 })), 1),
    );
    const { metadata } = await readAs(perfData, bytes);
    expect(metadata.counts).toMatchObject({
      accesses: 4,
      tlbAccess: 4,
      tlbWalk: 1,
      remoteAccess: 1,
      latencies: 2,
      latencyCycles: 500,
      translations: 2,
      translationCycles: 81,
    });
    expect(metadata.notes).toContain('25.00 % of the sampled accesses needed a table walk');
    expect(metadata.notes).toContain('mean latency of a translation: 40.5 cycles');
    expect(metadata.notes!.find((note) => note.startsWith('sampled loads'))).toMatch(
      /l1 33.33 %.*remote chip 33.33 %.*remote dram 33.33 %/,
    );
  });

  it('of a CPU goes on from one record of the file to the next, and not across a gap', async () => {
    const whole = packets(LOAD_AT(0x1000n), LOAD_AT(0x2000n), LOAD_AT(0x3000n));
    const joined = file(
      [SPE_EVENT],
      SPE_INFO,
      auxtrace(whole.subarray(0, 72), 0),
      auxtrace(whole.subarray(72), 0, { offset: 72 }),
    );
    expect((await readAs(perfData, joined)).rows.map(({ va }) => va)).toEqual([0x1000n, 0x2000n, 0x3000n]);
    // 8 bytes are lost: the second record is cut, and the gap is noted where it began.
    const gap = file(
      [SPE_EVENT],
      SPE_INFO,
      auxtrace(whole.subarray(0, 72), 0),
      auxtrace(whole.subarray(128), 0, { offset: 128 }),
    );
    const { rows, metadata } = await readAs(perfData, gap);
    expect(rows.map(({ va }) => va)).toEqual([0x1000n, 0x3000n]);
    expect(metadata.notes).toContain('damaged SPE data in 1 places, first at bytes 64 of their streams');
  });

  it('of a thread has its number and the first CPU that is free', async () => {
    const bytes = file([SPE_EVENT], SPE_INFO, auxtrace(packets(LOAD_AT(0x1000n)), -1, { tid: 77, index: 0 }));
    expect((await readAs(perfData, bytes)).rows).toEqual([
      { cpu: 0, kind: 1, va: 0x1000n, pa: UNKNOWN, mode: 0, tid: 77, time: 0n },
    ]);
  });

  it('without contexts has the threads that ran by then, from context switches', async () => {
    // sample_id_all of { TID, TIME, CPU }; SWITCH_CPU_WIDE out at 100 to thread 5, in at 200 of thread 6, ITRACE_START of 4 at 50.
    const trailer = (tid: number, time: number) => Buffer.concat([pair(1, tid), words(time), pair(2, 0)]);
    const bytes = file(
      [SPE_EVENT],
      record(79, 0, words(0, 1, 0)),
      SPE_INFO,
      record(12, 0, pair(1, 4), trailer(4, 50)),
      record(15, 1 << 13, pair(1, 5), trailer(4, 100)),
      record(14, 0, trailer(6, 200)),
      auxtrace(packets(...[10n, 60n, 100n, 199n, 250n].map((timestamp) => LOAD_AT(0x1000n, { timestamp }))), 2),
    );
    expect((await readAs(perfData, bytes)).rows.map(({ tid }) => tid)).toEqual([0, 4, 5, 5, 6]);
  });

  it('says what is missing from it', async () => {
    // AUX { offset, size, flags }: truncated 1, partial 4, collision 8; LOST { id, lost }.
    const bytes = file(
      [SPE_EVENT],
      SPE_INFO,
      record(11, 0, words(0, 64, 1)),
      record(11, 0, words(64, 64, 9)),
      record(11, 0, words(128, 64, 4)),
      record(2, 0, words(1, 12)),
      auxtrace(packets(LOAD_AT(0x1000n)), 0),
    );
    const { notes } = (await readAs(perfData, bytes)).metadata;
    expect(notes).toContain('2 of 3 profiling buffers were full: samples are missing');
    expect(notes).toContain('1 of 3 profiling buffers have gaps');
    expect(notes).toContain('in 1 of 3 profiling buffers samples collided: some were dropped');
    expect(notes).toContain('perf lost 12 records');
  });

  it('that is wanted with its instructions has a fetch row before each access', async () => {
    const bytes = file(
      [SPE_EVENT],
      SPE_INFO,
      auxtrace(packets(LOAD_AT(0x1000n, { pc: 0x400000n }), { operationClass: 0, pc: 0x400004n }), 0),
    );
    const { rows } = await readAs(perfData, bytes, { fetch: 'true' });
    expect(rows.map(({ kind, va }) => [kind, va])).toEqual([
      [0, 0x400000n],
      [1, 0x1000n],
      [0, 0x400004n],
    ]);
  });
});

describe('compressed records', () => {
  const sample = (va: number) => record(SAMPLE, 2, words(va));
  const event = { event: { sampleType: ADDR } };
  const plain = Buffer.concat([sample(0x1000), sample(0x2000), sample(0x3000)]);

  it('of both kinds are one stream, which may cut records anywhere', async () => {
    const [first, second] = zstdFrame(plain.subarray(0, 21), plain.subarray(21));
    // COMPRESSED2 says its size and is padded.
    const padded = Buffer.concat([words(second.length), second, Buffer.alloc(-second.length & 7)]);
    const { rows } = await readAs(perfData, file([event], record(81, 0, first), record(83, 0, padded)));
    expect(rows.map(({ va }) => va)).toEqual([0x1000n, 0x2000n, 0x3000n]);
  });

  it('that are damaged or end inside a record are refused', async () => {
    const [whole] = zstdFrame(plain);
    const broken = Buffer.from(whole);
    // A block of the reserved type 3.
    broken[6] |= 6;
    expect(await messageOf(file([event], record(81, 0, broken)))).toMatch(
      /byte \d+: expected intact zstd-compressed records/,
    );
    const [cut] = zstdFrame(plain.subarray(0, 21));
    expect(await messageOf(file([event], record(81, 0, cut)))).toMatch(/expected whole compressed records/);
    const [large] = zstdFrame(plain);
    large[5] = 17 << 3;
    expect(await messageOf(file([event], record(81, 0, large)))).toMatch(/window of 134217728 bytes/);
  });
});

describe('a perf.data that is refused', () => {
  it('is big-endian, old or something else', async () => {
    expect(await messageOf(Buffer.concat([Buffer.from('2ELIFREP'), words(104)]))).toMatch(
      /found a big-endian one; .*perf script/,
    );
    expect(await messageOf(Buffer.concat([Buffer.from('PERFFILE'), words(104)]))).toMatch(/first version/);
    expect(await messageOf(Buffer.alloc(200, 1))).toMatch(/expected a little-endian perf.data/);
    expect(await messageOf(Buffer.from('PERFILE2'))).toMatch(/found the end of the file after 8 bytes/);
  });

  it('has trace data without addresses, or samples without them', async () => {
    const pt = file(
      [{ event: { sampleType: IP } }],
      record(70, 0, pair(1, 0), words(0)),
      auxtrace(Buffer.alloc(64), 0),
    );
    expect(await messageOf(pt)).toMatch(
      /found Intel PT data, which tells what code ran but not which data it used; record with/,
    );
    const cycles = file([{ event: { sampleType: IP } }], record(SAMPLE, 2, words(0x400000)));
    expect(await messageOf(cycles)).toMatch(
      /expected samples with data addresses, found 1 samples without them; record with/,
    );
  });

  it('is cut or has impossible sizes', async () => {
    const whole = file(
      [{ event: { sampleType: ADDR } }],
      record(SAMPLE, 2, words(0x1000)),
      record(SAMPLE, 2, words(0x1000)),
    );
    expect(await messageOf(whole.subarray(0, whole.length - 3))).toMatch(
      /byte 248: expected a record of 16 bytes, found the end of the file after 13/,
    );
    const small = Buffer.from(whole);
    small.writeUInt16LE(4, 232 + 6);
    expect(await messageOf(small)).toMatch(/byte 232: expected a record of at least 8 bytes, found 4/);
    const short = file([{ event: { sampleType: ADDR | TIME } }], record(SAMPLE, 2, words(0x1000)));
    expect(await messageOf(short)).toMatch(/byte 232: expected a sample as its event describes it/);
    const data = file([SPE_EVENT], SPE_INFO, auxtrace(Buffer.alloc(64), 0).subarray(0, 80));
    expect(await messageOf(data)).toMatch(/expected 64 bytes of data, found the end of the file 32 before/);
  });

  it('is not one that perf had no time to finish', async () => {
    const whole = file([{ event: { sampleType: ADDR } }], record(SAMPLE, 2, words(0x1000)));
    whole.writeBigUInt64LE(0n, 48);
    const { rows, metadata } = await readAs(perfData, whole);
    expect(rows.length).toBe(1);
    expect(metadata.notes!.join()).toMatch(/was not ended properly/);
  });
});

describe('a perf.data that is written', () => {
  const COLUMNS: readonly ColumnName[] = ['cpu', 'kind', 'va', 'pa', 'mode', 'tid', 'time'];

  async function written(
    batches: Batch[],
    set: Record<string, string> = {},
    cpus = 4,
  ): Promise<{ bytes: Buffer; warnings: string[] }> {
    const warnings: string[] = [];
    const pieces: Buffer[] = [];
    const options = {
      columns: COLUMNS,
      metadata: metadataWith({ cpus }),
      document: async () => metadataWith({ cpus }),
      output: path('out.data'),
      set,
      warn: (text: string) => void warnings.push(text),
    };
    for await (const piece of exporter.encode(eachOf(batches), options)) pieces.push(Buffer.from(piece));
    expect(readdirSync(dirname(path('x'))).filter((name) => name.includes('spool'))).toEqual([]);
    return { bytes: Buffer.concat(pieces), warnings };
  }

  const access = fc.record({
    cpu: fc.nat(3),
    kind: fc.integer({ min: 1, max: 2 }),
    va: fc.bigInt({ min: 0n, max: 2n ** 48n - 1n }),
    pa: fc.option(fc.bigInt({ min: 0n, max: 2n ** 52n - 1n }), { nil: UNKNOWN }),
    upper: fc.boolean(),
    tid: fc.integer({ min: 1, max: 1 << 22 }),
    time: fc.bigInt({ min: 1n, max: 2n ** 63n }),
  });

  it('gives the same loads and stores when it is read, in every field and the order of each CPU', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(access, { maxLength: 50 }),
        fc.integer({ min: 1, max: 20 }),
        async (accesses, batchRows) => {
          // Without fetches the mode is told by the half of the address space.
          const rows = accesses.map(({ upper, va, ...rest }): Row => ({
            ...rest,
            va: upper ? va | 0xffff_0000_0000_0000n : va & (2n ** 47n - 1n),
            mode: upper ? 1 : 0,
          }));
          const batches = Array.from({ length: Math.ceil(rows.length / batchRows) }, (_, i) =>
            batchOf(COLUMNS, rows.slice(i * batchRows, (i + 1) * batchRows)),
          );
          const read = await readAs(perfData, (await written(batches)).bytes, {}, { chunkBytes: 777 });
          for (let cpu = 0; cpu < 4; cpu++) {
            expect(read.rows.filter((row) => row.cpu === cpu)).toEqual(rows.filter((row) => row.cpu === cpu));
          }
          expect(read.metadata).toMatchObject({ arch: 'arm64', cpus: 4, clock: 'ns' });
        },
      ),
      { numRuns: 30 },
    );
  });

  it('keeps instructions and modes where the trace has fetches', async () => {
    const row = { cpu: 0, pa: UNKNOWN, tid: 9, time: 5n };
    const rows = [
      { ...row, kind: 0, va: 0xffff_8000_0000_1000n, mode: 1 },
      { ...row, kind: 1, va: 0x1000n, mode: 1 },
    ];
    const { bytes } = await written([batchOf(COLUMNS, rows)]);
    expect((await readAs(perfData, bytes, { fetch: 'true' })).rows).toEqual(rows);
    // With a record for the fetch itself there are two of it.
    const all = await written([batchOf(COLUMNS, rows)], { fetch: 'true' });
    expect((await readAs(perfData, all.bytes, { fetch: 'true' })).rows).toEqual([rows[0], ...rows]);
  });

  it('has the data of a CPU in pieces, each with its offset in the whole', async () => {
    const row = (va: bigint) => ({ cpu: 3, kind: 1, va, pa: UNKNOWN, mode: 0, tid: 9, time: 5n });
    const batches = [[row(1n), row(2n)], [row(3n)], [row(4n)]].map((rows) => batchOf(COLUMNS, rows));
    const { bytes } = await written(batches);
    const pieces: [size: number, offset: number][] = [];
    // AUXTRACE (71): size and offset of the packets that follow; other records stand before them.
    const { length } = bytes;
    for (let at = Number(bytes.readBigUInt64LE(40)); at + 8 <= length && bytes.readUInt32LE(at) >= 64;) {
      const size = bytes.readUInt16LE(at + 6);
      const isTrace = bytes.readUInt32LE(at) === 71;
      if (isTrace) pieces.push([Number(bytes.readBigUInt64LE(at + 8)), Number(bytes.readBigUInt64LE(at + 16))]);
      at += size + (isTrace ? pieces.at(-1)![0] : 0);
      if (pieces.length === batches.length) break;
    }
    expect(pieces).toEqual([
      [128, 0],
      [64, 128],
      [64, 192],
    ]);
  });

  it('leaves events out and says so, and takes what the file is to say', async () => {
    const rows = [
      { cpu: 0, kind: 1, va: 0x1000n, pa: 0x2000n, mode: 0, tid: 9, time: 5n },
      { cpu: 0, kind: 37, va: 1n, pa: UNKNOWN, mode: 0, tid: 9, time: 5n },
    ];
    const { bytes, warnings } = await written([batchOf(COLUMNS, rows)], { period: '1024', midr: '0x413fd0c1' });
    expect(warnings).toEqual(['1 events are left out: a perf.data of SPE cannot hold them']);
    const { rows: read, metadata } = await readAs(perfData, bytes);
    expect(read).toEqual(rows.slice(0, 1));
    expect(metadata.notes).toContain('sampled: one in 1024 operations (Arm SPE)');
    for (const set of [{ period: 'x' }, { midr: '41' }, { fetch: '1' }] as Record<string, string>[]) {
      await expect(written([], set)).rejects.toThrow(UsageError);
    }
  });

  it('of raw SPE data has the same records', async () => {
    const cpu0 = packets(LOAD_AT(0x1000n, { timestamp: 1n }), LOAD_AT(0x2000n, { timestamp: 3n }));
    const cpu5 = packets(LOAD_AT(0x3000n, { timestamp: 2n })).subarray(0, 35);
    const pieces: Buffer[] = [];
    const streams = [
      { cpu: 0, bytes: cpu0.length, chunks: [cpu0.subarray(0, 10), cpu0.subarray(10)] },
      { cpu: 5, bytes: cpu5.length, chunks: [cpu5] },
    ];
    const options = { cpus: 6, period: 64n, timestamps: true };
    for await (const piece of perfDataOfSpe(streams, options)) pieces.push(Buffer.from(piece));
    const read = await readAs(perfData, Buffer.concat(pieces));
    expect(read.rows.map(({ cpu, va, time }) => [cpu, va, time])).toEqual([
      [0, 0x1000n, 1n],
      [0, 0x2000n, 3n],
      [5, 0x3000n, 2n],
    ]);
    const short = perfDataOfSpe([{ cpu: 0, bytes: 64, chunks: [] }], options);
    await expect(
      (async () => {
        for await (const _ of short);
      })(),
    ).rejects.toThrow(/CPU 0: expected 64 bytes, found 0/);
  });

  it.skipIf(!hasPerf)('is read by perf: perf mem report prints its addresses', async () => {
    const rows = [
      { cpu: 0, kind: 1, va: 0x7f00_1000n, pa: 0x8000_1000n, mode: 0, tid: 5, time: 1000n },
      { cpu: 1, kind: 2, va: 0xffff_0000_1234_5678n, pa: UNKNOWN, mode: 1, tid: 77, time: 2000n },
    ];
    const { bytes } = await written([batchOf(COLUMNS, rows)]);
    writeFileSync(path('written.data'), bytes);
    const { stdout } = spawnSync('perf', ['mem', '-i', path('written.data'), 'report', '-D', '-x,', '--phys-data'], {
      encoding: 'utf8',
    });
    expect(stdout.split('\n').map((line) => line.split(',').slice(1, 5))).toEqual([
      [' TID', ' IP', ' ADDR', ' PHYS ADDR'],
      ['5', '0x0', '0x7f001000', '0x0000000080001000'],
      ['77', '0x0', '0xffff000012345678', '0x0000000000000000'],
      [],
    ]);
    const dump = spawnSync('perf', ['script', '-D', '-i', path('written.data')], { encoding: 'utf8' }).stdout;
    expect(dump.match(/ARM SPE data: size/g)?.length).toBe(2);
    expect(dump).not.toMatch(/Bad packet/);
    expect(dump).toMatch(/VA 0x7f001000/);
  });
});

describe('raw SPE data', () => {
  const bytes = packets(
    LOAD_AT(0x1000n, { timestamp: 1n, pa: 0x3000n, context: 4 }),
    LOAD_AT(0x2000n, { timestamp: 3n }),
  );

  it('becomes rows of the CPU that the name or an option tells', async () => {
    const { rows, metadata } = await readAs(spe, bytes, {}, { name: 'run/cpu3.bin', chunkBytes: 50 });
    expect(rows).toEqual([
      { cpu: 3, kind: 1, va: 0x1000n, pa: 0x3000n, mode: 0, tid: 4, time: 1n },
      { cpu: 3, kind: 1, va: 0x2000n, pa: UNKNOWN, mode: 0, tid: 0, time: 3n },
    ]);
    expect(metadata.counts).toEqual({ samples: 2, accesses: 2, unknownPa: 1 });
    expect((await readAs(spe, bytes, { cpu: '9' })).rows[0].cpu).toBe(9);
    await expect(readAs(spe, bytes, { cpu: 'x' })).rejects.toThrow(UsageError);
  });

  it('is recognised by its packets', () => {
    expect(spe.detect(bytes)).toBe(true);
    expect(spe.detect(bytes.subarray(0, 100))).toBe(true);
    for (const other of [Buffer.alloc(4096), Buffer.from('I  04001000,3\n'), fixture('faults.data'), Buffer.alloc(0)]) {
      expect(spe.detect(other)).toBe(false);
    }
  });
});

describe(`damage of any kind (${FUZZ_RUNS} mutations)`, () => {
  const wholes = [
    fixture('faults.data'),
    fixture('faults-zstd.data'),
    fixture('faults-pipe.data'),
    file(
      [SPE_EVENT],
      record(79, 0, words(1, 20, 500)),
      SPE_INFO,
      auxtrace(packets(LOAD_AT(1n), LOAD_AT(2n)), 0),
      auxtrace(packets(LOAD_AT(1n)), 1),
    ),
    piped(
      record(64, 0, attributes(SPE_EVENT.event), words(1)),
      SPE_INFO,
      auxtrace(packets(LOAD_AT(1n), LOAD_AT(2n)), 0),
    ),
  ];

  it('gives rows or an InputError, soon', async () => {
    const below = random(7_919);
    let refused = 0;
    for (let run = 0; run < FUZZ_RUNS; run++) {
      const bytes = mutate(wholes[run % wholes.length], below);
      const started = performance.now();
      const error = await readAs(perfData, bytes).then(
        ({ rows }) => void expect(rows.length).toBeLessThan(1e6),
        (e: unknown) => e,
      );
      if (error !== undefined) expect(error, `run ${run}: ${(error as Error).stack}`).toBeInstanceOf(InputError);
      if (error !== undefined) refused++;
      expect(performance.now() - started).toBeLessThan(2000);
    }
    // Some damage is not noticed, most is.
    expect(refused).toBeGreaterThan(FUZZ_RUNS / 10);
    expect(refused).toBeLessThan(FUZZ_RUNS);
  });
});
