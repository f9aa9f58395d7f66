// The raw24 parser, on the start of a real capture and on records made here.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { convert, type ConvertOptions } from '../../traces/convert.js';
import { type TraceMetadata } from '../../traces/metadata.js';
import { FIXTURES, rowsOf, scratch, type Row } from './support.js';

const path = scratch();
const CAPTURE = join(FIXTURES, 'x86-1000.raw24');
const ALL_ONES = 2n ** 64n - 1n;

interface Made {
  va: bigint;
  pa?: bigint;
  cpu?: number;
  kind: number;
  log2size?: number;
  privilege?: number;
  /** Bits of the word at offset 16 besides the fields above. */
  flags?: number;
  last?: number;
}

const MMIO = 1 << 18;
const NO_PA = 1 << 19;

function record({ va, pa = 0n, cpu = 0, kind, log2size = 3, privilege = 1, flags = 0, last = 0 }: Made): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeBigUInt64LE(va, 0);
  bytes.writeBigUInt64LE(pa, 8);
  bytes.writeUInt32LE((cpu | (kind << 8) | (log2size << 12) | (privilege << 16) | flags) >>> 0, 16);
  bytes.writeUInt32LE(last >>> 0, 20);
  return bytes;
}

const marker = (number: number) => record({ va: BigInt(number), kind: 3, cpu: 3, log2size: 0, privilege: 0 });

async function converted(
  records: Buffer[],
  options: ConvertOptions = {},
): Promise<{ rows: Row[]; metadata: TraceMetadata }> {
  writeFileSync(path('made.bin'), Buffer.concat(records));
  const { metadata } = await convert([path('made.bin')], path('made.arrow'), { from: 'raw24', ...options });
  return { rows: await rowsOf(path('made.arrow')), metadata };
}

describe('raw24', () => {
  it('gives the records of a real capture field by field', async () => {
    const bytes = readFileSync(CAPTURE);
    // Decoded here with BigInt, field by field as the head comment of the parser lays them out.
    const expected = Array.from({ length: bytes.length / 24 }, (_, i): Row => {
      const [va, pa] = [bytes.readBigUInt64LE(24 * i), bytes.readBigUInt64LE(24 * i + 8)];
      const [flags, last] = [bytes.readUInt32LE(24 * i + 16), bytes.readUInt32LE(24 * i + 20)];
      const kind = (flags >> 8) & 0xf;
      const cpu = flags & 0xff;
      // The capture starts with marker 1, the begin of phase 0x110 and marker 0xfffd.
      if (kind === 3) return { cpu, kind: va === 0x110n ? 16 : 18, va, pa: ALL_ONES, size: 0, insns: 0, mode: 1 };
      const insns = kind === 0 ? (last >> 16) & 0xff : 0;
      return { cpu, kind, va, pa, size: 2 ** ((flags >> 12) & 0xf), insns, mode: (flags >> 16) & 3 };
    });
    await convert([CAPTURE], path('capture.arrow'));
    expect(await rowsOf(path('capture.arrow'))).toEqual(expected);
    expect(expected.filter((row) => Number(row.kind) > 2).map((row) => row.va)).toEqual([1n, 0x110n, 0xfffdn]);
  });

  it('turns markers into phases: 0x100 to 0x7ff begin, 0x800 to 0xeff end the phase 0x700 below', async () => {
    const { rows, metadata } = await converted([1, 0xff, 0x100, 0x7ff, 0x800, 0x900, 0xeff, 0xf00, 0xfffc].map(marker));
    expect(rows.map((row) => [row.kind, Number(row.va)])).toEqual([
      [18, 1],
      [18, 0xff],
      [16, 0x100],
      [16, 0x7ff],
      [17, 0x100],
      [17, 0x200],
      [17, 0x7ff],
      [18, 0xf00],
      [18, 0xfffc],
    ]);
    expect(rows.every((row) => row.cpu === 3 && row.pa === ALL_ONES && row.size === 0 && row.mode === 1)).toBe(true);
    expect(metadata.phases.map((phase) => phase.number)).toEqual([0x100, 0x7ff]);
  });

  it('names the phases of the captures', async () => {
    const { metadata } = await converted([marker(0x161), marker(0x861)]);
    expect(metadata.phases).toEqual([{ number: 0x161, name: 'open+close, node 1' }]);
  });

  it('takes names of phases from beside the capture, and nothing else that is said about them', async () => {
    const phases = { [0x200]: 'of the file', [0x300]: { begin_marker_record: 1 } };
    writeFileSync(path('named.bin'), Buffer.concat([marker(0x200), marker(0x900), marker(0x300), marker(0xa00)]));
    writeFileSync(path('named.bin.json'), JSON.stringify({ arch: 'arm64', cpus: { 0: {} }, phases }));
    const { metadata } = await convert([path('named.bin')], path('named.arrow'));
    expect(metadata.phases.map(({ name }) => name)).toEqual(['of the file', 'phase 0x300']);
  });

  const access = { va: 0xffff_c900_0000_b0f0n, pa: 0xfed0_00f0n, kind: 1 };

  it('keeps accesses to devices and counts them', async () => {
    const { rows, metadata } = await converted([record(access), record({ ...access, flags: MMIO })]);
    expect(rows.length).toBe(2);
    expect(rows[1]).toEqual(rows[0]);
    expect(metadata.counts).toMatchObject({ load: 2, mmio: 1 });
    expect(metadata.filters).toEqual([]);
  });

  it('drops them on request and says so', async () => {
    const records = [record(access), record({ ...access, flags: MMIO }), record({ ...access, va: 1n })];
    const { rows, metadata } = await converted(records, { dropMmio: true });
    expect(rows.map((row) => row.va)).toEqual([access.va, 1n]);
    expect(metadata.filters).toEqual(['dropped 1 MMIO records']);
  });

  it('gives an unknown physical address all ones, whether flagged or written so', async () => {
    const { rows, metadata } = await converted([
      record({ ...access, flags: NO_PA }),
      record({ ...access, pa: ALL_ONES }),
    ]);
    expect(rows.map((row) => row.pa)).toEqual([ALL_ONES, ALL_ONES]);
    expect(metadata.counts.unknownPa).toBe(2);
  });

  it.each([
    ['a reserved bit', { flags: 1 << 21 }],
    ['the highest reserved bit', { flags: 1 << 31 }],
    ['an unknown kind', { kind: 4 }],
    ['an unknown privilege', { privilege: 3 }],
    ['a marker number beyond 32 bits', { kind: 3, va: 2n ** 32n }],
  ])('refuses a record with %s by its number', async (_, wrong) => {
    await expect(converted([record(access), record(access), record({ ...access, ...wrong })])).rejects.toThrow(
      /made.bin: record 2: expected a kind from 0 to 3/,
    );
  });

  it('refuses a file that ends inside a record', async () => {
    await expect(converted([record(access), Buffer.alloc(23)])).rejects.toThrow(
      /record 1: expected 24 bytes, found the end of the file after 23/,
    );
  });
});

describe('the machine of a capture', () => {
  const registers = {
    arch: 'x86-64',
    levels: 4,
    cpus: { 0: {}, 1: {}, 2: {}, 3: {} },
    symbols: { _stext: '0xffffffff81000000', _etext: '0xffffffff81001000' },
  };
  /** One access of CPU 0 and one of CPU 2 to the kernel's text in the first 512 MiB, one of CPU 2 above them. */
  const records = [
    marker(1),
    record({ va: 0xffff_ffff_8100_0040n, pa: 0x100_0040n, kind: 0, log2size: 6 }),
    record({ va: 0xffff_ffff_8100_0080n, pa: 0x100_0080n, kind: 0, cpu: 2, log2size: 6 }),
    record({ va: 0xffff_8880_2000_0000n, pa: 0x2000_0000n, kind: 2, cpu: 2 }),
  ];
  const accesses = {
    'cpu_node0->mem_node0': 1,
    'cpu_node0->mem_node1': 0,
    'cpu_node1->mem_node0': 1,
    'cpu_node1->mem_node1': 1,
  };

  async function describeIn(folder: string, stats: object | null, options: ConvertOptions = {}) {
    mkdirSync(path(folder));
    writeFileSync(join(path(folder), 'trace.bin'), Buffer.concat(records));
    writeFileSync(join(path(folder), 'registers.json'), JSON.stringify(registers));
    if (stats) writeFileSync(join(path(folder), 'stats.json'), JSON.stringify(stats));
    const warnings: string[] = [];
    const { metadata } = await convert([join(path(folder), 'trace.bin')], path('machine.arrow'), {
      warn: (message) => warnings.push(message),
      ...options,
    });
    return { metadata, warnings };
  }

  it('is a known one when its counts from node to node are those recorded', async () => {
    const { metadata, warnings } = await describeIn('proved', { accesses_vcpu_node_x_mem_node: accesses });
    expect(warnings).toEqual([]);
    expect(metadata).toMatchObject({ arch: 'x86-64', paging: { levels: 4 }, cpus: 4, cpuNode: [0, 0, 1, 1] });
    expect(metadata.nodes.map((node) => node.ranges[0].from)).toEqual(['0x0', '0x20000000']);
    expect(metadata.notes[0]).toContain('qemu-x86-2node');
    expect(metadata.regions).toEqual([
      { name: 'text', va: '0xffffffff81000000', pa: '0x1000000', bytes: 4096, pageSize: null, node: 0 },
    ]);
  });

  it('has the ranges of a kernel at its default address, and the linear map where its accesses are', async () => {
    mkdirSync(path('mapped'));
    const known = { ...registers, symbols: { ...registers.symbols, _text: '0xffffffff81000000' } };
    writeFileSync(join(path('mapped'), 'registers.json'), JSON.stringify(known));
    writeFileSync(join(path('mapped'), 'trace.bin'), Buffer.concat(records));
    const { metadata } = await convert([join(path('mapped'), 'trace.bin')], path('machine.arrow'), {});
    // mm.rst: "ffff888000000000 | -119.5 TB | ffffc87fffffffff | 64 TB | direct mapping of all physical memory".
    expect(metadata.regions.map(({ name }) => name)).toEqual([
      'text',
      'linear',
      'vmalloc',
      'vmemmap',
      'modules',
      'user',
    ]);
    expect(metadata.regions[1]).toEqual({
      ...{ name: 'linear', va: '0xffff888000000000', pa: '0x0', bytes: 64 * 2 ** 40, pageSize: null, node: null },
    });
    expect(metadata.regions[5]).toMatchObject({ va: '0x0', bytes: 128 * 2 ** 40, pa: null });
  });

  it('has the rodata that registers.json names', async () => {
    mkdirSync(path('rodata'));
    const named = { ...registers, kernel_rodata: ['0xffffffff81002000', '0xffffffff81003000'] };
    writeFileSync(join(path('rodata'), 'registers.json'), JSON.stringify(named));
    writeFileSync(join(path('rodata'), 'trace.bin'), Buffer.concat(records));
    const { metadata } = await convert([join(path('rodata'), 'trace.bin')], path('machine.arrow'), {});
    expect(metadata.regions[1]).toMatchObject({
      name: 'rodata',
      va: '0xffffffff81002000',
      pa: '0x1002000',
      bytes: 4096,
    });
  });

  it.each([
    ['counts differ', { accesses_vcpu_node_x_mem_node: { ...accesses, 'cpu_node1->mem_node1': 2 } }],
    ['there are no counts', null],
  ])('stays unknown, with a warning, when %s', async (name, stats) => {
    const { metadata, warnings } = await describeIn(name, stats);
    expect(warnings.length).toBe(1);
    expect(warnings[0]).toMatch(/--meta/);
    expect(metadata).toMatchObject({ arch: 'x86-64', cpus: 4, cpuNode: null, nodes: [] });
    expect(metadata.regions[0].node).toBeNull();
  });

  it('is what the user says', async () => {
    const nodes = [{ node: 7, ranges: [{ from: '0x0', to: '0x40000000' }] }];
    const { metadata, warnings } = await describeIn('told', null, { meta: { nodes, cpuNode: [7, 7, 7, 7] } });
    expect(warnings).toEqual([]);
    expect(metadata).toMatchObject({ arch: 'x86-64', nodes, cpuNode: [7, 7, 7, 7] });
    expect(metadata.regions[0].node).toBe(7);
  });

  it('is refused when registers.json is damaged', async () => {
    mkdirSync(path('damaged'));
    copyFileSync(CAPTURE, join(path('damaged'), 'trace.bin'));
    writeFileSync(join(path('damaged'), 'registers.json'), '{"arch": "mips"}');
    await expect(convert([join(path('damaged'), 'trace.bin')], path('x.arrow'))).rejects.toThrow(
      /registers.json: expected/,
    );
  });
});
