// Table images that are missing, damaged or odd, and the roots that registers describe.

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readCsv } from '../../../host/tables/csv.js';
import { openImage } from '../../../host/tables/image.js';
import { rootsOf } from '../../../host/tables/roots.js';
import { ARM_CPU, ARM_ENTRIES, writeImage, X86_CPU, X86_ENTRIES } from './handmade.js';

const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

function image(...args: Parameters<typeof writeImage>): string {
  const folder = writeImage(...args);
  folders.push(folder);
  return folder;
}
const x86 = () => image('x86-64', { 0: X86_CPU }, X86_ENTRIES);

describe('an image', () => {
  it('must be a folder', async () => {
    await expect(openImage('/nowhere')).rejects.toThrow(/\/nowhere: expected a table image: .*, found no such folder/);
    await expect(openImage(import.meta.filename)).rejects.toThrow(/found a file/);
  });

  it.each(['registers.json', 'tablepages.csv', 'tablepages.bin'])('must have %s', async (file) => {
    const folder = x86();
    rmSync(join(folder, file));
    await expect(openImage(folder)).rejects.toThrow(new RegExp(`${file}: expected .*, found no such file`));
  });

  it('must have all the bytes that its list of pages states', async () => {
    const folder = x86();
    const path = join(folder, 'tablepages.bin');
    writeFileSync(path, readFileSync(path).subarray(8));
    // Four pages: the tables of levels 4 to 1.
    await expect(openImage(folder)).rejects.toThrow(/expected 16384 bytes, the 4 pages of tablepages.csv, found 16376/);
  });

  it.each([
    ['0,0x1000,4096,\n0,0x2000,4096,', /line 3: expected index 1/],
    ['0,0x1000,8192,', /line 2: expected a page of 4096, 16384, 65536 bytes, found "8192"/],
    ['0,0x1008,4096,', /line 2: expected an address that is a multiple of 4096, found "0x1008"/],
    ['0,0x4000,4096,\n1,0x4000,4096,', /line 3: expected every page once, found "0x4000"/],
    ['0,4000,4096,', /line 2: expected a hexadecimal physical address/],
    ['0,0x4000,4096,cr3_cpu0', /line 2: expected roles such as cr3_cpu0:L4\+0x0\/4096, found "cr3_cpu0"/],
    ['0,0x4000,4096', /line 2: expected 4 fields, as in the header, found 3/],
  ])('refuses the list %j', async (rows, message) => {
    const folder = x86();
    writeFileSync(join(folder, 'tablepages.csv'), `index,pa,bytes,roles\n${rows}\n`);
    await expect(openImage(folder)).rejects.toThrow(message);
  });

  it.each([
    ['{', /registers.json: expected JSON, found/],
    ['{"arch":"riscv","cpus":{}}', /registers.json: arch: expected "arch" \(x86-64 or arm64\) and "cpus"/],
    ['{"arch":"arm64"}', /registers.json: cpus: expected/],
  ])('refuses the registers %j', async (text, message) => {
    const folder = x86();
    writeFileSync(join(folder, 'registers.json'), text);
    await expect(openImage(folder)).rejects.toThrow(message);
  });
});

describe('roots', () => {
  const names = async (cpus: Record<string, Record<string, string>>) =>
    [...rootsOf(await openImage(image('arm64', cpus, ARM_ENTRIES))).keys()].join(' ');
  const EL2 = { TCR_EL2: '0x19', TTBR0_EL2: '0x10000', TTBR1_EL2: '0x10000', SCTLR_EL2: '0x1' };
  const [VM, TGE, E2H] = [1n, 1n << 27n, 1n << 34n];
  const hcr = (bits: bigint) => ({ ...ARM_CPU, ...EL2, HCR_EL2: `0x${bits.toString(16)}` });

  it('without VHE: EL1, EL2, and the host stage 2 where there is one', async () => {
    expect(await names({ 0: hcr(VM) })).toBe('ttbr0_cpu0 ttbr1_cpu0 el2_cpu0 el2 s2_host');
    expect(await names({ 0: hcr(0n) })).toBe('ttbr0_cpu0 ttbr1_cpu0 el2_cpu0 el2');
  });

  it('el2 and s2_host are named once, CPUs in numerical order', async () => {
    expect(await names({ 10: hcr(VM), 9: hcr(VM) })).toBe(
      'ttbr0_cpu9 ttbr1_cpu9 el2_cpu9 el2 s2_host ttbr0_cpu10 ttbr1_cpu10 el2_cpu10',
    );
  });

  it('with VHE the kernel is at EL2, and no stage 2 applies to it', async () => {
    const folder = image('arm64', { 3: hcr(E2H | TGE | VM) }, ARM_ENTRIES);
    const regime = rootsOf(await openImage(folder)).get('ttbr0_cpu3')!();
    expect(regime).toMatchObject({ stage1: { single: false, bits: 39 }, stage2: undefined });
  });

  it('a VHE CPU that runs a guest has the roots of the guest; with the MMU off only its stage 2', async () => {
    expect(await names({ 2: hcr(E2H | VM) })).toBe('ttbr0_cpu2 ttbr1_cpu2 s2_guest_cpu2');
    expect(await names({ 2: { ...hcr(E2H | VM), SCTLR: '0x0' } })).toBe('s2_guest_cpu2');
  });

  it('roles tell a guest from the host without VHE, even while HCR_EL2.VM is off', async () => {
    const folder = image('arm64', { 0: hcr(0n) }, { '0x100000': 0x101003n });
    writeFileSync(join(folder, 'tablepages.csv'), 'index,pa,bytes,roles\n0,0x100000,4096,s2_guest_cpu0:L1+0x0/4096\n');
    expect([...rootsOf(await openImage(folder)).keys()]).toContain('s2_guest_cpu0');
  });
});

describe('CSV', () => {
  const rows = async (text: string) => {
    const path = join(x86(), 'input.csv');
    writeFileSync(path, text);
    const all: unknown[] = [];
    for await (const row of readCsv(path, { required: ['b'], optional: ['a', 'c'] })) all.push(row);
    return all;
  };

  it('columns are found by name, quotes and line ends are those of RFC 4180', async () => {
    expect(await rows('\uFEFFa,b\r\n"x, y","say ""hi"""\r\n\r\n1,')).toEqual([
      { line: 2, fields: ['say "hi"', 'x, y', undefined] },
      { line: 4, fields: ['', '1', undefined] },
    ]);
  });

  it.each([
    ['', /expected a header with b, found an empty file/],
    ['a,c\n', /line 1: expected a header with the column "b", found "a,c"/],
    ['a,b\n1\n', /line 2: expected 2 fields/],
    ['a,b\n1,"2\n', /line 2: expected fields in whole quotes/],
    ['a,b\n1,x"2"\n', /line 2: expected fields in whole quotes/],
  ])('refuses %j', async (text, message) => {
    await expect(rows(text)).rejects.toThrow(message);
  });

  it('a file that is not there is an error for the user', async () => {
    await expect(readCsv('/nowhere.csv', { required: ['va'] }).next()).rejects.toThrow(
      '/nowhere.csv: expected a CSV file, found no such file',
    );
    await expect(readCsv(tmpdir(), { required: ['va'] }).next()).rejects.toThrow(
      /expected a CSV file, found a directory/,
    );
  });
});
