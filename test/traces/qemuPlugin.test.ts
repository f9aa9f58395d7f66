// Captures of the plugin in tools/capture/qemu: parts of real ones field by field, and records made here for what those
// parts do not have.

import { copyFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { convert } from '../../traces/convert.js';
import { openInput } from '../../traces/input.js';
import { rowsOf, scratch, type Row } from './support.js';

const path = scratch();
const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/qemu-plugin/${name}`, import.meta.url));
const ALL_ONES = 2n ** 64n - 1n;

const FETCH = 0;
const MARKER = 3;
const CONTROL = 4;

/** A record, decoded with BigInt as the head comment of the parser lays it out. */
interface Record24 {
  va: bigint;
  pa: bigint;
  cpu: number;
  kind: number;
  size: number;
  mode: number;
  noPa: boolean;
  insns: number;
  code: number;
}

async function recordsOf(file: string): Promise<Record24[]> {
  const input = await openInput(file);
  const chunks: Uint8Array[] = [];
  for await (const chunk of input.chunks) chunks.push(Uint8Array.from(chunk));
  const bytes = Buffer.concat(chunks);
  return Array.from({ length: bytes.length / 24 }, (_, i) => {
    const [flags, last] = [bytes.readUInt32LE(24 * i + 16), bytes.readUInt32LE(24 * i + 20)];
    return {
      ...{ va: bytes.readBigUInt64LE(24 * i), pa: bytes.readBigUInt64LE(24 * i + 8) },
      ...{ cpu: flags & 0xff, kind: (flags >> 8) & 15, size: 2 ** ((flags >> 12) & 15), mode: (flags >> 16) & 3 },
      ...{ noPa: ((flags >> 19) & 1) === 1, insns: (last >> 16) & 0xff, code: last >>> 16 },
    };
  });
}

describe('a capture of the plugin', () => {
  it.each(['x86-64', 'arm64'])('has its accesses in order, field by field: %s', async (name) => {
    const records = (await recordsOf(fixture(`${name}.raw24.xz`))).filter((record) => record.kind < MARKER);
    await convert([fixture(`${name}.raw24.xz`)], path('plugin.arrow'));
    const accesses = (await rowsOf(path('plugin.arrow'))).filter((row) => Number(row.kind) < 3);
    expect(
      accesses.map(({ cpu, kind, va, pa, size, mode, insns }) => ({ cpu, kind, va, pa, size, mode, insns })),
    ).toEqual(
      records.map(({ cpu, kind, va, pa, size, mode, noPa, insns }) => ({
        ...{ cpu, kind, va, pa: noPa ? ALL_ONES : pa, size, mode, insns: kind === FETCH ? insns : 0 },
      })),
    );
    expect(accesses.length).toBeGreaterThan(1000);
  });

  it('that could not read registers has control records as markers without an operand', async () => {
    await convert([fixture('x86-64.raw24.xz')], path('x86.arrow'));
    const events = (await rowsOf(path('x86.arrow'))).filter((row) => Number(row.kind) >= 16);
    // The fixture has marker 0x10001, the phase, one write of CR3 (code 1), the end of the phase 0x700 above.
    expect(events.map(({ kind, va, arg }) => [kind, va, arg])).toEqual([
      [18, 0x10001n, 0n],
      [16, 0x110n, 0n],
      [18, 0x20001n, ALL_ONES],
      [17, 0x110n, 0n],
    ]);
    expect(events[0]).not.toHaveProperty('asid');
  });

  it('that could read registers follows the address space of the CPU', async () => {
    await convert([fixture('arm64.raw24.xz')], path('arm.arrow'));
    const rows = await rowsOf(path('arm.arrow'));
    const cacheMaintenance = 0x8000;
    const isMaintenance = (row: Row) => row.kind === 18 && Number(row.va) >= 0x20000 + cacheMaintenance;
    const events = rows.filter((row) => Number(row.kind) >= 16 && !isMaintenance(row));
    // From the control records: the root at the beginning; TTBR0_EL1 := 0x41857000, and once more; TTBR1_EL1 with ASID 6;
    // TTBR0_EL1 := 0x43237000. Roots are numbered as they appear.
    expect(events.map(({ kind, va, arg }) => [kind, va, arg])).toEqual(
      [
        [18, 0x10003, 0],
        [16, 0x110, 0],
        [37, 0x42407000, 1],
        [19, 0, 0],
        [37, 0x41857000, 2],
        [19, 0x42407000, 0],
        [18, 0x20001, 0x41857000],
        [18, 0x20005, 0x6000041858001],
        [37, 0x43237000, 3],
        [19, 0x41857000, 0],
        [17, 0x110, 0],
      ].map(([kind, va, arg]) => [kind, BigInt(va), BigInt(arg)]),
    );
    // The only CPU of this part: asid changes with each switch and at no other row.
    const switches = rows.filter((row) => row.kind === 37).length;
    const changes = rows.filter((row, i) => i > 0 && row.asid !== rows[i - 1].asid);
    expect(changes.map((row) => row.kind)).toEqual(Array(switches).fill(37));
    // DC ZVA (op1 3, CRn 7, CRm 4, op2 1) clears a page: lines of 64 bytes, one after the other.
    const code = cacheMaintenance + (3 << 11) + (7 << 7) + (4 << 3) + 1;
    const cleared = rows
      .filter((row) => row.kind === 18 && Number(row.va) === 0x20000 + code)
      .map((row) => row.arg as bigint);
    expect(cleared.length).toBeGreaterThan(32);
    expect(cleared.every((line, i) => i === 0 || line === cleared[0] + 64n * BigInt(i))).toBe(true);
  });

  it('has the machine, the nodes and the image from the file beside it', async () => {
    const { metadata } = await convert([fixture('x86-64.raw24.xz')], path('machine.arrow'));
    expect(metadata).toMatchObject({ arch: 'x86-64', paging: { levels: 4 }, cpus: 4, cpuNode: [0, 0, 1, 1] });
    // 512 MiB each.
    expect(metadata.nodes).toEqual([
      { node: 0, ranges: [{ from: '0x0', to: '0x20000000' }] },
      { node: 1, ranges: [{ from: '0x20000000', to: '0x40000000' }] },
    ]);
    // CONFIG_PHYSICAL_START is 0x1000000, _text is at __START_KERNEL_map + that; mm.rst has the linear map.
    const at = Object.fromEntries(metadata.regions.map(({ name, va, pa, node }) => [name, [va, pa, node]]));
    expect(at.text).toEqual(['0xffffffff81000000', '0x1000000', 0]);
    expect(at.linear).toEqual(['0xffff888000000000', '0x0', null]);
  });
});

describe('a capture of a program without an operating system', () => {
  it('has every instruction and access of its source', async () => {
    await convert([fixture('bare.raw24.xz')], path('bare.arrow'));
    const rows = await rowsOf(path('bare.arrow'));
    const of = (cpu: number, kind: number) => rows.filter((row) => row.cpu === cpu && row.kind === kind);
    const insns = (cpu: number) => of(cpu, 0).reduce((sum, row) => sum + Number(row.insns), 0);
    // bare.S: 2 before the loop, 100 rounds of 4, 5 for the UART, 5 to start CPU 1, WFI; and 2, 10 rounds of 3, 3.
    expect([insns(0), insns(1)]).toEqual([2 + 100 * 4 + 5 + 5 + 1, 2 + 10 * 3 + 3]);
    // Rising words from 0x40200000 are stored and loaded; then two bytes go to the UART at 0x9000000.
    const words = Array.from({ length: 100 }, (_, i) => [BigInt(0x40200000 + 8 * i), 8]);
    const uart = [0x9000000n, 1];
    expect(of(0, 1).map(({ va, size }) => [va, size])).toEqual(words);
    expect(of(0, 2).map(({ va, size }) => [va, size])).toEqual([...words, uart, uart]);
    // QEMU 7.2 makes two stores of 8 bytes of each STP.
    expect(of(1, 2).map((row) => row.va)).toEqual(Array.from({ length: 20 }, (_, i) => BigInt(0x40300000 + 8 * i)));
    // The MMU is off: va is pa. Nothing marked where the code lies in memory.
    for (const { kind, va, pa } of rows.filter((row) => Number(row.kind) < 3))
      expect(pa).toBe(kind === 0 ? ALL_ONES : va);
  });
});

describe('a made capture', () => {
  function record({ va, pa = 0n, cpu = 0, kind, last = 0 }: Partial<Record24> & { last?: number }): Buffer {
    const bytes = Buffer.alloc(24);
    bytes.writeBigUInt64LE(va!, 0);
    bytes.writeBigUInt64LE(pa, 8);
    bytes.writeUInt32LE((cpu | (kind! << 8) | (1 << 16)) >>> 0, 16);
    bytes.writeUInt32LE(last >>> 0, 20);
    return bytes;
  }
  const announced = (bits: number) => record({ va: BigInt(0x10000 + bits), kind: MARKER });
  const root = (cpu: number, va: bigint, pa = 0xffff_ffff_8100_0000n) =>
    record({ va, pa, cpu, kind: CONTROL, last: 1 << 16 });
  const load = (cpu: number) => record({ va: 0x1000n, pa: 0x5000n, cpu, kind: 1 });

  async function rowsFrom(name: string, records: Buffer[]): Promise<Row[]> {
    writeFileSync(path(name), Buffer.concat(records));
    await convert([path(name)], path('made.arrow'));
    return rowsOf(path('made.arrow'));
  }

  it('keeps the address space of each CPU, and numbers one that several CPUs are in once', async () => {
    const rows = await rowsFrom('spaces.raw24', [
      ...[announced(3), load(0), root(0, 0x9000n), root(1, 0xa000n), load(0), load(1), root(1, 0x9000n), load(1)],
    ]);
    const loads = rows.filter((row) => row.kind === 1);
    expect(loads.map(({ cpu, asid }) => [cpu, asid])).toEqual([
      [0, 0],
      [0, 1],
      [1, 2],
      [1, 1],
    ]);
  });

  it('has no row for a root that is only told again', async () => {
    const rows = await rowsFrom('told.raw24', [announced(3), root(0, 0x9000n), root(0, 0x9000n, ALL_ONES), load(0)]);
    expect(rows.map((row) => row.kind)).toEqual([18, 37, 19, 1]);
  });

  it('is refused when it has a control record that its first record does not announce', async () => {
    for (const first of [announced(0), record({ va: 1n, kind: MARKER })]) {
      writeFileSync(path('bad.raw24'), Buffer.concat([first, root(0, 0x9000n)]));
      await expect(convert([path('bad.raw24')], path('bad.arrow'), { from: 'raw24' })).rejects.toThrow(
        /bad.raw24: record 1: expected a kind from 0 to 3/,
      );
    }
  });

  it('of more control records than a batch has rows is read whole', async () => {
    // Every record is a switch, two rows each, over two blocks of records.
    const switches = Array.from({ length: 70_000 }, (_, i) => root(0, BigInt(0x1000 * (1 + (i % 2)))));
    const rows = await rowsFrom('many.raw24', [announced(3), ...switches]);
    expect(rows.length).toBe(1 + 2 * 70_000);
    expect(rows.slice(1).every((row, i) => row.kind === (i % 2 === 0 ? 37 : 19))).toBe(true);
  });

  it('has the names of its phases from the file beside it, not those of other captures', async () => {
    writeFileSync(
      path('named.raw24.json'),
      JSON.stringify({ arch: 'x86-64', levels: 4, cpus: { 0: {} }, phases: { 0x110: 'boot' } }),
    );
    const begin = (phase: bigint) => record({ va: phase, kind: MARKER });
    writeFileSync(path('named.raw24'), Buffer.concat([announced(1), begin(0x110n), begin(0x120n)]));
    const { metadata } = await convert([path('named.raw24')], path('named.arrow'));
    expect(metadata.phases).toEqual([
      { number: 0x110, name: 'boot' },
      { number: 0x120, name: 'phase 0x120' },
    ]);
  });
});

describe('the packed name of a capture', () => {
  it('leads to the same file beside it', async () => {
    copyFileSync(fixture('arm64.raw24.xz'), path('a.raw24.xz'));
    copyFileSync(fixture('arm64.raw24.json'), path('a.raw24.json'));
    const { metadata } = await convert([path('a.raw24.xz')], path('a.arrow'));
    copyFileSync(path('a.raw24.xz'), path('a.raw24'));
    const plain = await convert([path('a.raw24')], path('plain.arrow'));
    expect(metadata.arch).toBe('arm64');
    expect(plain.metadata.nodes).toEqual(metadata.nodes);
  });
});
