// QEMU's execlog: from lines to rows, and one program under two tools.

import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { converter, fixture } from './converted.js';
import { CAPTURES, scratch, type Row } from './support.js';

const { ofFile, ofText } = converter(scratch());
const UNKNOWN = 2n ** 64n - 1n;

describe('execlog', () => {
  it('of a program gives each instruction and its accesses', async () => {
    const { trace, metadata } = await ofText(
      '0, 0x4014f5, 0xf2df1c5e, "popq %rsi", load, 0x4000800860\n' +
        '2, 0x402800, 0x87ff, "xchg, %eax, \\"x\\"", load, 0x00001000, store, 0x00001000\n',
    );
    expect(trace).toEqual([
      { cpu: 0, kind: 0, va: 0x4014f5n },
      { cpu: 0, kind: 1, va: 0x40_0080_0860n },
      { cpu: 2, kind: 0, va: 0x402800n },
      { cpu: 2, kind: 1, va: 0x1000n },
      { cpu: 2, kind: 2, va: 0x1000n },
    ]);
    expect(metadata).toMatchObject({ cpus: 3, source: { tool: 'QEMU execlog, user mode' } });
  });

  it('of a machine gives its fetches; data has physical addresses, is left out and counted', async () => {
    const { trace, metadata, warnings } = await ofFile(fixture('execlog/machine.txt'));
    expect(trace).toEqual([
      { cpu: 0, kind: 0, va: 0xffff_8000_10a3_c0d0n },
      { cpu: 1, kind: 0, va: 0xffff_8000_10a3_c0d4n },
      { cpu: 0, kind: 0, va: 0xffff_8000_10a3_c0d8n },
      { cpu: 1, kind: 0, va: 0xffff_8000_10a3_c0dcn },
    ]);
    expect(metadata.counts.physicalData).toBe(4);
    expect(metadata.source.tool).toBe('QEMU execlog, whole machine');
    expect(warnings.join()).toMatch(/dropped 4 accesses that have only a physical address/);
  });

  it('keeps the data of a machine where the user wants it', async () => {
    const { trace } = await ofFile(fixture('execlog/machine.txt'), { set: { physical: 'keep' } });
    expect(trace.slice(0, 4)).toEqual([
      { cpu: 0, kind: 0, va: 0xffff_8000_10a3_c0d0n, pa: UNKNOWN },
      { cpu: 0, kind: 2, va: 0x41bf_bec0n, pa: 0x41bf_bec0n },
      { cpu: 0, kind: 2, va: 0x41bf_bec8n, pa: 0x41bf_bec8n },
      { cpu: 1, kind: 0, va: 0xffff_8000_10a3_c0d4n, pa: UNKNOWN },
    ]);
  });

  it.each([
    '0, 0x1, 0x2',
    '0, 0x1, 0x2, "nop',
    '0, 1, 0x2, "nop"',
    '65536, 0x1, 0x2, "nop"',
    '0, 0x1, 0x2, "nop", fetch, 0x3',
    '0, 0x1, 0x2, "nop", load, 3',
    '0, 0x1, 0x2, "nop", x0 -> 3',
    '0, 0x1, 0x2, "nop", load',
    'talk',
  ])('refuses the line %j by its number', async (line) => {
    const error = await ofText(`0, 0x1, 0x2, "nop"\n${line}\n`, { from: 'execlog' }).catch((e: Error) => e);
    expect((error as Error).message).toMatch(/: line 2: expected a line of execlog/);
  });

  it('of real runs has as many fetches as the tool counted instructions', async () => {
    // test/fixtures/execlog/README.md: 9,081 in user mode; 413 and 35 on the two CPUs of the machine.
    expect((await ofFile(fixture('execlog/execlog-user.txt.zst'))).metadata.counts.fetch).toBe(9_081);
    const { trace } = await ofFile(fixture('execlog/execlog-system.txt.zst'));
    const fetches = (cpu: number) => trace.filter((row) => row.cpu === cpu && row.kind === 0).length;
    expect([fetches(0), fetches(1)]).toEqual([413, 35]);
  });

  const shared = `${CAPTURES}formats/execlog-hello.txt.zst`;
  it.skipIf(!existsSync(shared))('has 28,577 fetches in the shared capture', async () => {
    expect((await ofFile(shared)).metadata.counts.fetch).toBe(28_577);
  });
});

describe('one program under lackey and execlog', () => {
  const PAGE = 4096n;
  /** Pages of the rows of these kinds, except those of the stack. */
  const pages = (rows: readonly Row[], kinds: readonly number[], stack: bigint) => {
    const touched = rows.filter(({ kind }) => kinds.includes(kind as number)).map(({ va }) => (va as bigint) / PAGE);
    return [...new Set(touched)].filter((page) => page !== stack).sort((a, b) => Number(a - b));
  };

  it('touches the same pages', async () => {
    const lackey = await ofFile(fixture('twotools/lackey.txt.zst'));
    const execlog = await ofFile(fixture('twotools/execlog.txt.zst'));
    // The one exception: each tool puts the stack elsewhere, one page at 0x1fff000000 and one at 0x4000800000.
    const stacks = { lackey: 0x1f_ff00_0n, execlog: 0x40_0080_0n };
    expect(pages(lackey.trace, [0], 0n)).toEqual([0x401n]);
    expect(pages(execlog.trace, [0], 0n)).toEqual([0x401n]);
    for (const kinds of [[1], [2], [1, 2]]) {
      const ours = pages(lackey.trace, kinds, stacks.lackey);
      expect(ours).toEqual(pages(execlog.trace, kinds, stacks.execlog));
      // 0x403 to 0x413 lie within what the program loads and stores.
      expect(ours[0]).toBeGreaterThanOrEqual(0x403n);
      expect(ours.at(-1)).toBeLessThanOrEqual(0x413n);
    }
    expect(pages(lackey.trace, [1, 2], 0n)).toContain(stacks.lackey);
    expect(pages(execlog.trace, [1, 2], 0n)).toContain(stacks.execlog);
    // And as many instructions, loads and stores.
    const { fetch, load, store } = lackey.metadata.counts;
    expect({ fetch, load, store }).toEqual({ fetch: 110_346, load: 15_582, store: 9_320 });
    expect(execlog.metadata.counts).toMatchObject({ fetch, load, store });
  });
});
