// ChampSim: records to rows and back. Layout in the head of traces/formats/champsim.ts.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ColumnName } from '../../traces/batch.js';
import { convert } from '../../traces/convert.js';
import { openInput } from '../../traces/input.js';
import { metadataWith } from '../../traces/metadata.js';
import { writeTrace } from '../../traces/writer.js';
import { converter, fixture } from './converted.js';
import { batchOf, CAPTURES, eachOf, scratch, type Row } from './support.js';

const path = scratch();
const { ofFile, ofText } = converter(path);
const GZIP = fixture('champsim/gzip-100.champsimtrace');

/** A record of a ChampSim trace. */
function record(ip: bigint, taken: number, stores: readonly bigint[], loads: readonly bigint[]): Uint8Array {
  const bytes = Buffer.alloc(64);
  bytes.writeBigUInt64LE(ip, 0);
  bytes[8] = bytes[9] = taken;
  stores.forEach((va, i) => bytes.writeBigUInt64LE(va, 16 + 8 * i));
  loads.forEach((va, i) => bytes.writeBigUInt64LE(va, 32 + 8 * i));
  return bytes;
}

describe('a ChampSim trace', () => {
  it('gives a fetch, the loads and then the stores of each record', async () => {
    const { trace, metadata } = await ofText(
      Buffer.concat([
        record(0x401000n, 0, [0x7fff_0038n, 0n], [0x7fff_003cn, 0n, 0n, 0x6000n]),
        // 4 bytes on, so the first has 4; taken, so this one has 1 although the next is 2 bytes on.
        record(0x401004n, 1, [], []),
        record(0x401006n, 0, [0xffff_8000_0000_0000n, 1n], []),
      ]),
    );
    expect(trace).toEqual([
      { cpu: 0, kind: 0, va: 0x401000n, size: 4 },
      // 4 bytes are left of the line that ends at 0x7fff0040; 8 of any other.
      { cpu: 0, kind: 1, va: 0x7fff_003cn, size: 4 },
      { cpu: 0, kind: 1, va: 0x6000n, size: 8 },
      { cpu: 0, kind: 2, va: 0x7fff_0038n, size: 8 },
      { cpu: 0, kind: 0, va: 0x401004n, size: 1 },
      { cpu: 0, kind: 0, va: 0x401006n, size: 1 },
      { cpu: 0, kind: 2, va: 0xffff_8000_0000_0000n, size: 8 },
      { cpu: 0, kind: 2, va: 1n, size: 8 },
    ]);
    expect(metadata.source.tool).toBe('ChampSim');
  });

  it('of the real tool starts as a hex dump shows', async () => {
    const { trace, rows } = await ofFile(GZIP);
    // xxd: 70ab0104 with nothing; 73ab0104, taken, store 2807 00ff 1f; 70b70104 with store 2007 00ff 1f.
    expect(trace.slice(0, 5)).toEqual([
      { cpu: 0, kind: 0, va: 0x0401_ab70n, size: 3 },
      { cpu: 0, kind: 0, va: 0x0401_ab73n, size: 1 },
      { cpu: 0, kind: 2, va: 0x1f_ff00_0728n, size: 8 },
      { cpu: 0, kind: 0, va: 0x0401_b770n, size: expect.any(Number) },
      { cpu: 0, kind: 2, va: 0x1f_ff00_0720n, size: 8 },
    ]);
    const words = new BigUint64Array(new Uint8Array(readFileSync(GZIP)).buffer);
    const accesses = words.filter((word, i) => i % 8 >= 2 && word !== 0n).length;
    expect(rows).toBe(100 + accesses);
  });

  it('of CloudSuite has 96 bytes and address spaces', async () => {
    const { trace, metadata } = await ofFile(fixture('champsim/cloudsuite-3.bin'));
    // Load in slot 0, then two of the four store slots; asid bytes (1, 0), (1, 0), (2, 1) as a number: 1, 1, 258.
    expect(trace).toEqual([
      { cpu: 0, kind: 0, va: 0x10000n, size: 4, asid: 1 },
      { cpu: 0, kind: 1, va: 0x2003cn, size: 4, asid: 1 },
      { cpu: 0, kind: 0, va: 0x10004n, size: 1, asid: 1 },
      { cpu: 0, kind: 2, va: 0x20100n, size: 8, asid: 1 },
      { cpu: 0, kind: 2, va: 0x20200n, size: 8, asid: 1 },
      { cpu: 0, kind: 0, va: 0xffff_8000_0000_0000n, size: 1, asid: 258 },
    ]);
    expect(metadata.source.tool).toBe('ChampSim (CloudSuite)');
  });

  it('has the layout that the user names, whatever its addresses', async () => {
    const odd = record(0x1234_0000_0000_0000n, 0, [], []);
    await expect(ofText(odd)).rejects.toThrow(/expected one of the formats/);
    await expect(ofText(odd, { from: 'champsim' })).rejects.toThrow(/record 0: expected records of 64 bytes.*layout=/);
    const { trace } = await ofText(odd, { from: 'champsim', set: { layout: 'champsim' } });
    expect(trace).toEqual([{ cpu: 0, kind: 0, va: 0x1234_0000_0000_0000n, size: 1 }]);
    await expect(ofText(odd, { from: 'champsim', set: { layout: 'x' } })).rejects.toThrow(/champsim or cloudsuite/);
  });

  it('is told from CloudSuite by its length where both fit', async () => {
    // Addresses alone, everything else zero, can be read both ways: 192 bytes are 3 records of 64 and 2 of 96, 320 only 5 of 64.
    const five = Buffer.concat([1, 2, 3, 4, 5].map((n) => record(BigInt(0x1000 * n), 0, [], [])));
    expect((await ofText(five)).rows).toBe(5);
  });

  it('that is cut off says where', async () => {
    await expect(ofText(readFileSync(GZIP).subarray(0, 6400 - 10))).rejects.toThrow(
      /record 99: expected 64 bytes, found the end of the file after 54/,
    );
  });
});

/** A trace of these rows. */
async function traceOf(name: string, columns: readonly ColumnName[], rows: readonly Row[]): Promise<string> {
  await writeTrace(path(name), columns, eachOf([batchOf(columns, rows)]), () => metadataWith());
  return path(name);
}

describe('a trace as ChampSim records', () => {
  const exported = async (file: string, set = {}) => {
    const warnings: string[] = [];
    await convert([file], path('out.champsim'), { to: 'champsim', set, warn: (message) => warnings.push(message) });
    return { bytes: readFileSync(path('out.champsim')), warnings };
  };

  it('of the real tool are the same bytes again, but for the last branch', async () => {
    await convert([GZIP], path('gzip.arrow'));
    const { bytes, warnings } = await exported(path('gzip.arrow'));
    const original = readFileSync(GZIP);
    // Whether the last instruction jumps is told by the next one, which is not there.
    expect(bytes.subarray(0, 6400 - 64).equals(original.subarray(0, 6400 - 64))).toBe(true);
    expect(bytes.subarray(-56, -48).equals(Buffer.alloc(8))).toBe(true);
    expect(warnings).toEqual([]);
  });

  const shared = `${CAPTURES}formats/gzip-200k.champsimtrace.xz`;
  it.skipIf(!existsSync(shared))('of 200,000 instructions are the same bytes too', async () => {
    const original: Uint8Array[] = [];
    const input = await openInput(shared);
    for await (const chunk of input.chunks) original.push(Uint8Array.from(chunk));
    await convert([shared], path('shared.arrow'));
    const { bytes } = await exported(path('shared.arrow'));
    expect(bytes.length).toBe(200_000 * 64);
    expect(bytes.subarray(0, -64).equals(Buffer.concat(original).subarray(0, -64))).toBe(true);
  });

  it('come back as the rows they were, where a record can hold them', async () => {
    const address = fc.bigInt({ min: 1n, max: 2n ** 47n - 1n }).map((va) => (va & ~7n) | 8n);
    const instruction = fc.record({
      ip: address,
      loads: fc.array(address, { maxLength: 4 }),
      stores: fc.array(address, { maxLength: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(instruction, { minLength: 1, maxLength: 40 }), async (instructions) => {
        const rows = instructions.flatMap(({ ip, loads, stores }) => [
          { cpu: 3, kind: 0, va: ip, size: 1 },
          ...loads.map((va) => ({ cpu: 3, kind: 1, va, size: 8 })),
          ...stores.map((va) => ({ cpu: 3, kind: 2, va, size: 8 })),
        ]);
        const file = await traceOf('random.arrow', ['cpu', 'kind', 'va', 'size'], rows);
        const { bytes, warnings } = await exported(file);
        writeFileSync(path('again.bin'), bytes);
        const { trace } = await ofFile(path('again.bin'), { from: 'champsim', set: { layout: 'champsim' } });
        expect(trace.map(({ kind, va }) => ({ kind, va }))).toEqual(rows.map(({ kind, va }) => ({ kind, va })));
        expect(warnings).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  it('mark a taken branch where the next instruction does not follow, with ChampSim’s registers', async () => {
    const rows = [0x1000n, 0x1004n, 0x2000n].map((va) => ({ cpu: 0, kind: 0, va, size: 4 }));
    const { bytes } = await exported(await traceOf('jump.arrow', ['cpu', 'kind', 'va', 'size'], rows));
    const flags = [0, 1, 2].map((i) => bytes.subarray(64 * i + 8, 64 * i + 16).toString('hex'));
    // is_branch 1, branch_taken 1, destination 26 (0x1a), sources 26 and 25 (0x19).
    expect(flags).toEqual(['0000000000000000', '01011a001a190000', '0000000000000000']);
  });

  it('tell exactly what they cannot hold', async () => {
    const columns: ColumnName[] = ['cpu', 'kind', 'va', 'insns'];
    const row = (kind: number, va: number, insns = 0, cpu = 1) => ({ cpu, kind, va: BigInt(va), insns });
    const file = await traceOf('lossy.arrow', columns, [
      row(1, 0x500), // before any fetch
      row(0, 0x1000, 3), // stands for 3: 2 are lost
      row(1, 0), // address 0
      row(2, 0x2000),
      row(1, 0x3000), // a load after a store
      row(2, 0x2008),
      row(2, 0x2010), // a third store: the instruction once more
      row(18, 7), // a marker
      row(0, 0x9000, 1, 2), // another CPU
    ]);
    const { bytes, warnings } = await exported(file);
    // The put instruction, the fetch, its repetition.
    expect([0, 1, 2].map((i) => bytes.readBigUInt64LE(64 * i))).toEqual([0x40_0000n, 0x1000n, 0x1000n]);
    expect(bytes.length).toBe(3 * 64);
    expect(warnings.map((line) => line.replace(/^.*out.champsim: /, ''))).toEqual([
      '1 rows of other CPUs than 1 left out: a file is of one CPU; --set cpu=N names another',
      '1 rows of events left out',
      '1 accesses to address 0 left out: 0 is an empty slot',
      '1 accesses before any fetch are of an instruction put at 0x400000',
      '1 instructions repeated, for more loads or stores than a record has slots',
      '2 instructions left out: fetch rows stand for several',
      '1 instructions whose loads go before stores that came first',
    ]);
    const other = await exported(file, { cpu: '2' });
    expect(other.bytes.readBigUInt64LE(0)).toBe(0x9000n);
    await expect(exported(file, { cpu: 'x' })).rejects.toThrow(/--set cpu=x: expected the number of a CPU/);
  });
});
