// Tables for a replay: those that belong to the samples and, where they are at hand, those of the full captures, held to the
// physical addresses that the traces recorded; and table images.

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { openCapturedTables, withRoot } from '../../../host/tables/captured.js';
import { convert } from '../../../traces/convert.js';
import { TraceReader } from '../../../traces/reader.js';
import { replayTables } from './replayTables.js';

const SAMPLES = fileURLToPath(new URL('../../../traces/samples/kernel-text/', import.meta.url));
const CAPTURES = fileURLToPath(new URL('../../../../shared/data/traces/', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'nodewalk-captured-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** Iterations that the samples keep of every loop, by type of phase. */
const LOOPS = { 0x12: 4, 0x13: 8, 0x14: 8, 0x15: 8, 0x16: 8 };

async function metadataOf(trace: string) {
  const reader = await TraceReader.open(trace);
  await reader.close();
  return reader.metadata!;
}

describe('the tables of a sample', () => {
  it.each(['x86-64', 'arm64', 'redis'])('translate every row as it was captured: %s', async (name) => {
    const tables = await openCapturedTables(join(SAMPLES, name));
    const found = await replayTables(join(SAMPLES, `${name}.arrow`), tables);
    expect(found.kernel.rows).toBeGreaterThan(800_000);
    expect(found.kernel.agree).toBe(found.kernel.rows);
    // Signal frames went to pages that were copied while nothing was recorded.
    expect(found.userMode.agree / found.userMode.rows).toBeGreaterThan(0.99);
  });

  it.each(['x86-64', 'arm64'])('belong to whole operations on both nodes: %s', async (name) => {
    const tables = await openCapturedTables(join(SAMPLES, name));
    const { phases, events } = await replayTables(join(SAMPLES, `${name}.arrow`), tables);
    const metadata = await metadataOf(join(SAMPLES, `${name}.arrow`));
    const numbers = [1, 2].flatMap((run) => [1, 2, 3, 4, 5, 6, 7, 8].map((b) => 0x100 + 16 * b + run - 1));
    expect(Object.keys(phases)).toEqual(numbers.map((number) => `0x${number.toString(16)}`));
    for (const { number, iterations } of metadata.phases) {
      const loop = LOOPS[(number >> 4) as keyof typeof LOOPS];
      expect(iterations).toBe(loop);
      const counts = phases[`0x${number.toString(16)}`];
      // fork/1 and fork/N: one address space comes and goes in every iteration, with its two top-level entries (program, stack).
      const forks = { 0x11: 1, 0x12: 4 }[number >> 4] ?? 0;
      const { mm_create = 0, mm_destroy = 0, user_pud_alloc = 0, user_pud_free = 0 } = counts;
      expect([mm_create, mm_destroy, user_pud_alloc, user_pud_free]).toEqual([forks, forks, 2 * forks, 2 * forks]);
      // One page is mapped and unmapped in every iteration that touches it.
      if ([0x14, 0x15].includes(number >> 4)) expect([counts.user_map, counts.user_unmap]).toEqual([8, 8]);
    }
    expect(events.mm_create).toBe(1 + events.mm_destroy);
  });

  it('have two segments on x86, each with the upper half of init', async () => {
    const { arch, pageBytes, kernel, user, hypervisor, segments, cpuRoots } = await openCapturedTables(
      join(SAMPLES, 'x86-64'),
    );
    expect([arch, pageBytes, hypervisor]).toEqual(['x86-64', 4096, null]);
    expect(segments.map(({ fromRecord }) => fromRecord)[0]).toBe(0);
    expect(segments.map(({ userRoots }) => userRoots)).toEqual([
      [{ name: 'init', pa: 0x4908000n }],
      [{ name: 'init', pa: 0x4908000n }],
    ]);
    expect(kernel.x86).toMatchObject({ root: 0x4908000n, levels: 4, noExecute: true });
    expect(user).toEqual(kernel);
    expect(cpuRoots.get('cr3_cpu1')!().x86!.root).toBe(0x4908000n);
  });

  it('have both address spaces of the server and the kernel apart on Arm', async () => {
    const { kernel, user, segments } = await openCapturedTables(join(SAMPLES, 'redis'));
    expect(segments[0].userRoots).toEqual([
      { name: 'client', pa: 0x4876d000n },
      { name: 'server', pa: 0x60c8b000n },
    ]);
    expect(kernel.stage1).toMatchObject({ root: 0x41858000n, high: true, pageShift: 12, bits: 48 });
    expect(user.stage1).toMatchObject({ root: 0x4876d000n, high: false });
    expect(withRoot(user, 0x60c8b000n).stage1).toEqual({ ...user.stage1, root: 0x60c8b000n });
  });
});

describe.skipIf(!existsSync(CAPTURES))('the tables of a full capture', () => {
  it.each(['x86_4l_nokaslr', 'arm64_4k_pkvm_trace'])('number records as the converted trace does: %s', async (name) => {
    const trace = join(directory, 'full.arrow');
    await convert([join(CAPTURES, name, 'trace.bin.xz')], trace, {});
    const tables = await openCapturedTables(join(CAPTURES, name));
    const found = await replayTables(trace, tables);
    // Every store of the list stands at the row that did it.
    expect(found.storesAtTheirRow).toBe(tables.stores.count);
    expect(found.kernel.agree).toBe(found.kernel.rows);
    expect(found.userMode.agree / found.userMode.rows).toBeGreaterThan(0.998);
  });

  it('have stage 2, the hypervisor and their stores under pKVM', async () => {
    const { kernel, user, hypervisor, stores } = await openCapturedTables(join(CAPTURES, 'arm64_4k_pkvm_trace'));
    // VTTBR_EL2 and TTBR0_EL2 of registers.json.
    expect(kernel.stage2!.root).toBe(0x7fa24000n);
    expect(user.stage2!.root).toBe(0x7fa24000n);
    expect(hypervisor!.stage1!.root).toBe(0x7f203000n);
    // 33,422 stores to tables of address spaces and 192 to others, none in both lists.
    expect(stores.count).toBe(33_422 + 192);
  });

  it('count a store once that is in both lists', async () => {
    // Both lists of this capture have the kernel's four stores.
    const { stores } = await openCapturedTables(join(CAPTURES, 'arm64_4k_nozva'));
    expect(stores.count).toBe(9_498);
  });
});

describe('a folder', () => {
  const registers = {
    arch: 'x86-64',
    cpus: { 0: { cr0: '0x80050033', cr3: '0x2000', cr4: '0x20', efer: '0xd01' }, 1: { cr0: '0x60000010' } },
  };

  it('with a table image is one segment without stores', async () => {
    const folder = join(directory, 'image');
    mkdirSync(folder);
    writeFileSync(join(folder, 'registers.json'), JSON.stringify(registers));
    writeFileSync(join(folder, 'tablepages.csv'), 'index,pa,bytes,roles\n0,0x2000,4096,cr3_cpu0:L4+0x0/4096\n');
    writeFileSync(join(folder, 'tablepages.bin'), new Uint8Array(4096).fill(7));
    const { segments, stores, user, kernel } = await openCapturedTables(folder);
    expect(stores.count).toBe(0);
    expect(segments).toEqual([
      {
        ...{ fromRecord: 0, kernelRoot: 0x2000n, userRoots: [{ name: 'cr3_cpu0', pa: 0x2000n }] },
        pages: [{ pa: 0x2000n, bytes: 4096, data: new Uint8Array(4096).fill(7) }],
      },
    ]);
    expect(user).toEqual(kernel);
  });

  it('with neither a capture nor an image is refused', async () => {
    await expect(openCapturedTables(directory)).rejects.toThrow(/expected a capture .* found a folder without snap1/);
    await expect(openCapturedTables(join(directory, 'none'))).rejects.toThrow(/found no such folder/);
  });

  it('with a snapshot that names no root is refused', async () => {
    const folder = join(directory, 'rootless');
    mkdirSync(join(folder, 'snap1'), { recursive: true });
    writeFileSync(join(folder, 'registers.json'), JSON.stringify(registers));
    writeFileSync(join(folder, 'snap1', 'registers.json'), '{"marker_record_index": 0}');
    writeFileSync(join(folder, 'snap1', 'tablepages.csv'), 'index,pa,bytes,roles\n0,0x2000,4096,\n');
    writeFileSync(join(folder, 'snap1', 'tablepages.bin'), new Uint8Array(4096));
    await expect(openCapturedTables(folder)).rejects.toThrow(
      /snap1\/registers.json: expected the root of an address space/,
    );
  });
});
